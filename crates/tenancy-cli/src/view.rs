//! Tenants as the command line shows them. Two differences to the record matter: the bypass key stays out, since who
//! has it can make bypass cookies; and of the application's own values there are the names alone, unless asked for.

use serde::Serialize;
use serde_json::value::RawValue;
use tenancy::core::{Attachment, Maintenance, Placement};
use tenancy_sqlx::{DomainDetails, TenantDetails, store::RowFault};

use crate::{
    CliError,
    output::{Output, moment},
    redact::Values,
};

#[derive(Serialize)]
pub(crate) struct TenantView<'a> {
    id: &'a str,
    slug: &'a str,
    status: &'static str,
    plan: Option<&'a str>,
    r#type: Option<&'a str>,
    domains: Vec<DomainView<'a>>,
    settings: Option<Box<RawValue>>,
    data: Option<Box<RawValue>>,
    placement: Option<&'a Placement>,
    maintenance: Option<MaintenanceView<'a>>,
    created_at: Option<String>,
    updated_at: Option<String>,
    epoch: u64,
    incarnation: u64,
}

#[derive(Serialize)]
pub(crate) struct DomainView<'a> {
    domain: &'a str,
    is_primary: bool,
    is_active: bool,
    created_at: Option<String>,
}

#[derive(Serialize)]
struct MaintenanceView<'a> {
    status: u16,
    retry_after: u32,
    redirect: Option<&'a str>,
    has_page: bool,
    has_bypass: bool,
}

impl<'a> From<&'a TenantDetails> for TenantView<'a> {
    fn from(details: &'a TenantDetails) -> Self {
        Self::new(details, Values::Hidden)
    }
}

impl<'a> TenantView<'a> {
    pub(crate) fn new(details: &'a TenantDetails, values: Values) -> Self {
        let record = &details.record;
        let printed = |json: &str| RawValue::from_string(values.of(json)).ok();
        Self {
            id: record.id.as_str(),
            slug: record.slug(),
            status: record.status.as_str(),
            plan: record.plan.as_deref(),
            r#type: record.tenant_type.as_deref(),
            domains: details.domains.iter().map(DomainView::from).collect(),
            settings: record.settings.as_deref().and_then(printed),
            data: adopted_data(details).and_then(printed),
            placement: record.placement.as_deref(),
            maintenance: record.maintenance.as_deref().map(MaintenanceView::from),
            created_at: moment(record.created_at_ms),
            updated_at: moment(details.updated_at_ms),
            epoch: record.epoch,
            incarnation: record.incarnation,
        }
    }
}

impl<'a> From<&'a DomainDetails> for DomainView<'a> {
    fn from(details: &'a DomainDetails) -> Self {
        Self {
            domain: &details.domain,
            is_primary: details.is_primary,
            is_active: details.is_active,
            created_at: moment(details.created_at_ms),
        }
    }
}

impl<'a> From<&'a Maintenance> for MaintenanceView<'a> {
    fn from(maintenance: &'a Maintenance) -> Self {
        Self {
            status: maintenance.status,
            retry_after: maintenance.retry_after,
            redirect: maintenance.redirect.as_deref(),
            has_page: maintenance.page.is_some(),
            has_bypass: maintenance.bypass_key.is_some(),
        }
    }
}

/// The application's own row of the tenant, as the views of an adopted catalogue give it.
fn adopted_data(details: &TenantDetails) -> Option<&str> {
    details.record.attachment().and_then(Attachment::json)
}

/// The names and values that `show` prints.
pub(crate) fn facts(details: &TenantDetails, values: Values) -> Vec<(&'static str, String)> {
    let record = &details.record;
    let or_none = |text: &Option<Box<str>>| text.as_deref().unwrap_or("-").to_owned();
    let mut facts = vec![
        ("id", record.id.to_string()),
        ("slug", record.slug().to_owned()),
        ("status", record.status.to_string()),
        ("plan", or_none(&record.plan)),
        ("type", or_none(&record.tenant_type)),
        ("domains", domain_lines(&details.domains)),
        (
            "settings",
            record
                .settings
                .as_deref()
                .map_or("-".to_owned(), |json| values.of(json)),
        ),
    ];
    if let Some(data) = adopted_data(details) {
        facts.push(("data", values.of(data)));
    }
    if let Some(placement) = &record.placement {
        facts.push(("placement", placement_text(placement)));
    }
    facts.extend([
        (
            "maintenance",
            record
                .maintenance
                .as_deref()
                .map_or("off".to_owned(), maintenance_text),
        ),
        (
            "created",
            moment(record.created_at_ms).unwrap_or_else(|| "-".to_owned()),
        ),
        (
            "changed",
            moment(details.updated_at_ms).unwrap_or_else(|| "-".to_owned()),
        ),
        ("epoch", record.epoch.to_string()),
    ]);
    facts
}

fn domain_lines(domains: &[DomainDetails]) -> String {
    if domains.is_empty() {
        return "-".to_owned();
    }
    let line = |domain: &DomainDetails| {
        let mut line = domain.domain.clone();
        if domain.is_primary {
            line.push_str(" (primary)");
        }
        if !domain.is_active {
            line.push_str(" (not active)");
        }
        line
    };
    domains.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn placement_text(placement: &Placement) -> String {
    let named = |name: &str, otherwise: &str| if name.is_empty() { otherwise } else { name }.to_owned();
    format!(
        "{} on {}",
        named(&placement.database, "the derived name"),
        named(&placement.server, "the default server")
    )
}

fn maintenance_text(maintenance: &Maintenance) -> String {
    let mut text = format!(
        "on, answers {} with Retry-After {} s",
        maintenance.status, maintenance.retry_after
    );
    if let Some(redirect) = &maintenance.redirect {
        text.push_str(&format!(", sends browsers to {redirect}"));
    }
    if maintenance.page.is_some() {
        text.push_str(", has a page of its own");
    }
    if maintenance.bypass_key.is_some() {
        text.push_str(", has a bypass");
    }
    text
}

/// The row that `list` prints: id, slug, status, plan, domains, created.
pub(crate) fn row(details: &TenantDetails) -> [String; 6] {
    let record = &details.record;
    let mut status = record.status.to_string();
    if record.maintenance.is_some() {
        status.push_str(" (maintenance)");
    }
    let domains = match details.domains.as_slice() {
        [] => "-".to_owned(),
        [only] => only.domain.clone(),
        [first, rest @ ..] => format!("{} +{}", first.domain, rest.len()),
    };
    [
        record.id.to_string(),
        record.slug().to_owned(),
        status,
        record.plan.as_deref().unwrap_or("-").to_owned(),
        domains,
        moment(record.created_at_ms).unwrap_or_else(|| "-".to_owned()),
    ]
}

pub(crate) const HEADING: [&str; 6] = ["ID", "SLUG", "STATUS", "PLAN", "DOMAINS", "CREATED"];

impl DomainView<'_> {
    /// The row that `domains list` prints.
    pub(crate) fn row(&self) -> [String; 4] {
        let yes_or_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        [
            self.domain.to_owned(),
            yes_or_no(self.is_primary),
            yes_or_no(self.is_active),
            self.created_at.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    }
}

/// A tenant or a name that the catalogue has and nobody gets.
#[derive(Serialize)]
pub(crate) struct FaultView {
    tenant: String,
    key: Option<String>,
    reason: String,
}

impl From<RowFault> for FaultView {
    fn from(fault: RowFault) -> Self {
        Self {
            tenant: fault.tenant_id,
            key: fault.key,
            reason: fault.reason,
        }
    }
}

impl FaultView {
    /// Writes those there are, a line each.
    pub(crate) fn write(faults: &[Self], out: &mut Output<'_>) -> Result<(), CliError> {
        if faults.is_empty() {
            return Ok(());
        }
        out.line("\nLeft out, since their rows break the rules:")?;
        for Self { tenant, key, reason } in faults {
            let what = match key {
                Some(key) => format!("{key} of tenant {tenant}"),
                None => format!("tenant {tenant}"),
            };
            // What a row holds is not ours: no line break and no colour of it reaches the terminal.
            out.line(format_args!(
                "  {}: {}",
                what.escape_debug(),
                reason.escape_debug()
            ))?;
        }
        Ok(())
    }
}
