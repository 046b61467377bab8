use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tenancy_sqlx::{
    TenantDetails,
    lifecycle::{HomeState, KnownHome},
    store::SqlStore,
};

use super::finding::Findings;
use crate::{CliError, databases::homes::reason_of_any};

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

/// How long making or dropping a home may take.
const UNDER_WAY: Duration = Duration::from_secs(600);

/// What the journal of homes knows, and how many wait for somebody.
pub(super) async fn examine_homes(
    store: &SqlStore,
    everybody: &[TenantDetails],
    findings: &mut Findings,
) -> Result<usize, CliError> {
    let ids: HashSet<_> = everybody.iter().map(|details| &details.record.id).collect();
    let homes = KnownHome::all(store)
        .await
        .map_err(|error| CliError::no_catalogue(reason_of_any(&error)))?;
    for home in &homes {
        let subject = format!("{} {}", home.isolation, home.name);
        match (home.state, &home.tenant) {
            (HomeState::Made, Some(id)) if !ids.contains(id) => {
                let what = format!("it was made for the tenant {id}, whom the catalogue does not know");
                findings.warn(
                    "homes",
                    &subject,
                    &what,
                    "keep its data if it is wanted, and drop it by hand",
                );
            }
            (HomeState::UnderWay, _) if home.age > UNDER_WAY => {
                let what = format!("what was done to it was broken off (slug {:?})", &*home.slug);
                let remedy = "`tenants recover` takes it back, or finishes it";
                findings.warn("homes", &subject, &what, remedy);
            }
            _ => {}
        }
    }
    Ok(homes
        .iter()
        .filter(|home| home.state == HomeState::Pending)
        .count())
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
