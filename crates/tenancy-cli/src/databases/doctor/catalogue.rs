use std::collections::HashMap;

use tenancy_sqlx::{TenantDetails, store::SqlStore};

use super::finding::Findings;
use crate::CliError;

/// Enough to see a pattern.
const FAULTS: usize = 1000;

pub(super) async fn examine(
    store: &SqlStore,
    everybody: &[TenantDetails],
    findings: &mut Findings,
) -> Result<(), CliError> {
    for fault in store.faults(FAULTS).await.map_err(CliError::from_catalogue)? {
        let subject = match fault.key {
            Some(key) => format!("tenant {}, {key}", fault.tenant_id),
            None => format!("tenant {}", fault.tenant_id),
        };
        findings.problem(
            "catalogue",
            &subject,
            &format!("left out: {}", fault.reason),
            "correct the row",
        );
    }
    duplicate_domains(everybody, findings);
    Ok(())
}

/// A managed catalogue refuses them; tables of an application may have them.
fn duplicate_domains(everybody: &[TenantDetails], findings: &mut Findings) {
    let mut owners: HashMap<&str, Vec<&str>> = HashMap::new();
    for details in everybody {
        for domain in details.domains.iter().filter(|domain| domain.is_active) {
            owners
                .entry(&domain.domain)
                .or_default()
                .push(details.record.id.as_str());
        }
    }
    let mut several: Vec<_> = owners
        .into_iter()
        .filter(|(_, owners)| owners.len() > 1)
        .collect();
    several.sort_unstable();
    for (domain, owners) in several {
        let what = format!("the tenants {} have it", owners.join(", "));
        findings.problem("domains", domain, &what, "take it away from all but one");
    }
}
