//! From rows to tenants.

use tenancy_core::{
    BoxError, KeyKind, Maintenance, Placement, TenantEntry, TenantId, TenantKey, TenantRecord, TenantStatus,
};

use super::{StoreKind, checks, statements::Statements};
use crate::{
    CatalogueError, DomainDetails, TenantDetails,
    central::{Dialect, Row, Statement, sql},
    names,
};

/// A tenant, and what of its row is not used.
pub(super) struct Decoded {
    pub(super) details: TenantDetails,
    /// Whether the slug leads to it: it is one, and no other tenant has it.
    pub(super) leads_by_slug: bool,
    /// Keys that lead nowhere, with the reason.
    pub(super) left_out: Vec<(String, &'static str)>,
}

/// Begins a query for tenants; the caller appends the condition.
pub(super) fn select_tenants(dialect: Dialect, kind: StoreKind) -> Statement {
    sql(Statements::of(dialect, kind).select)
}

/// The query of the tenant that a key leads to; `None` for kinds that the catalogue does not keep.
pub(super) fn select_by_key(dialect: Dialect, key: &TenantKey<'_>, kind: StoreKind) -> Option<Statement> {
    let mut query = select_tenants(dialect, kind);
    let value = key.value();
    match key.kind() {
        KeyKind::Id => query.push("t.id = ").push_bind(value),
        KeyKind::Slug => query.push("t.slug = ").push_bind(value),
        KeyKind::Domain => {
            let (before, after) = Statements::of(dialect, kind).by_domain;
            query.push(before).push_bind(value).push(after)
        }
        _ => return None,
    };
    Some(query)
}

pub(super) fn decode(row: &Row, kind: StoreKind) -> Result<Decoded, CatalogueError> {
    let decoded = match kind {
        StoreKind::Managed | StoreKind::ReadOnly => decode_managed(row),
        StoreKind::Adopted => decode_adopted(row),
    };
    decoded.map_err(|cause| {
        let id = row.text("id").unwrap_or_default();
        CatalogueError::corrupt(format!("the row of tenant {id:?} cannot be read: {cause}"), cause)
    })
}

/// Decodes what can be decoded: one broken row must not hide the others.
pub(super) fn decode_or_log(row: &Row, kind: StoreKind) -> Option<Decoded> {
    decode(row, kind)
        .inspect_err(|error| {
            tracing::error!(
                detail = error.operator_detail(),
                "a tenant of the catalogue cannot be read and is left out"
            );
        })
        .ok()
}

fn decode_managed(row: &Row) -> Result<Decoded, BoxError> {
    let record = decode_record(row)?;
    TenantKey::slug(record.slug())?;
    let domains = decode_domains(row)?;
    for domain in &domains {
        TenantKey::domain(domain.domain.as_str())?;
    }
    let updated_at_ms = row.int("updated_at_ms")?;
    Ok(Decoded {
        details: TenantDetails::new(record, domains, updated_at_ms),
        leads_by_slug: true,
        left_out: Vec::new(),
    })
}

/// Nobody checked these rows when they were written. A tenant with a value that could do harm further on is left out as
/// a whole; a name that is none, or that two tenants have, leads nowhere.
fn decode_adopted(row: &Row) -> Result<Decoded, BoxError> {
    let mut record = decode_record(row)?;
    // An id may be no slug; then it is one key less, and no mistake.
    if record.slug.is_some() {
        TenantKey::slug(record.slug())?;
    }
    check_adopted(&record).map_err(|error| error.operator_detail().unwrap_or_default().to_owned())?;
    if let Some(data) = row.optional_text("data")? {
        record.attach_json(data);
    }
    let mut left_out = Vec::new();
    let slug_is_shared = row.int("slug_is_shared")? != 0;
    if slug_is_shared {
        left_out.push((logged_slug(record.slug()), SHARED));
    }
    let mut domains = decode_domains(row)?;
    for domain in &mut domains {
        let is_valid = TenantKey::domain(domain.domain.as_str()).is_ok();
        if !is_valid {
            left_out.push((logged_domain(&domain.domain), NO_DOMAIN));
        } else if !domain.is_active {
            left_out.push((logged_domain(&domain.domain), SHARED));
        }
        domain.is_active &= is_valid;
    }
    Ok(Decoded {
        leads_by_slug: !slug_is_shared && TenantKey::slug(record.slug()).is_ok(),
        details: TenantDetails::new(record, domains, row.int("updated_at_ms")?),
        left_out,
    })
}

const SHARED: &str = "another tenant has it too";
const NO_DOMAIN: &str = "it is no domain: lower-case labels of a-z, 0-9 and inner '-' are, without a port; Unicode \
    ones as xn--…";

fn check_adopted(record: &TenantRecord) -> Result<(), CatalogueError> {
    names::check_word("plan", record.plan.as_deref())?;
    names::check_word("tenant type", record.tenant_type.as_deref())?;
    checks::check_placement(record.placement.as_deref())?;
    record
        .maintenance
        .as_deref()
        .map_or(Ok(()), checks::check_maintenance)
}

fn decode_record(row: &Row) -> Result<TenantRecord, BoxError> {
    let mut record = TenantRecord::new(TenantId::new(row.text("id")?)?);
    let slug: &str = row.text("slug")?;
    record.slug = (record.id != slug).then(|| slug.into());
    record.status = TenantStatus::parse(row.text("status")?)?;
    record.plan = optional_text(row, "plan")?;
    record.tenant_type = optional_text(row, "tenant_type")?;
    record.settings = optional_text(row, "settings")?;
    record.placement = decode_placement(row)?.map(Box::new);
    record.maintenance = decode_maintenance(row)?.map(Box::new);
    record.epoch = row.int("epoch")?.try_into()?;
    record.incarnation = row.int("incarnation")?.try_into()?;
    record.created_at_ms = row.int("created_at_ms")?;
    Ok(record)
}

fn optional_text(row: &Row, column: &str) -> Result<Option<Box<str>>, sqlx::Error> {
    Ok(row.optional_text(column)?.map(Into::into))
}

fn decode_placement(row: &Row) -> Result<Option<Placement>, sqlx::Error> {
    let server = optional_text(row, "placement_server")?;
    let database = optional_text(row, "placement_database")?;
    let isolation = optional_text(row, "placement_isolation")?;
    if server.is_none() && database.is_none() && isolation.is_none() {
        return Ok(None);
    }
    let mut placement = Placement::default();
    placement.server = server.unwrap_or_default();
    placement.database = database.unwrap_or_default();
    placement.isolation = isolation.unwrap_or_default();
    Ok(Some(placement))
}

/// NULL for the default, so that a placement without one stays as it was written before there were any.
pub(super) fn isolation_column(placement: Option<&Placement>) -> Option<&str> {
    placement
        .map(|placement| &*placement.isolation)
        .filter(|isolation| !isolation.is_empty())
}

fn decode_maintenance(row: &Row) -> Result<Option<Maintenance>, BoxError> {
    match row.optional_text("maintenance")? {
        Some(json) => Ok(Some(serde_json::from_str(json)?)),
        None => Ok(None),
    }
}

fn decode_domains(row: &Row) -> Result<Vec<DomainDetails>, BoxError> {
    let rows: Vec<(String, i64, i64, i64)> = serde_json::from_str(row.text("domains")?)?;
    let mut domains = Vec::with_capacity(rows.len());
    for (domain, is_active, is_primary, created_at_ms) in rows {
        domains.push(DomainDetails {
            domain,
            is_active: is_active != 0,
            is_primary: is_primary != 0,
            created_at_ms,
        });
    }
    sort_domains(&mut domains);
    Ok(domains)
}

pub(super) fn sort_domains(domains: &mut [DomainDetails]) {
    domains.sort_by(|a, b| (b.is_primary, &a.domain).cmp(&(a.is_primary, &b.domain)));
}

impl Decoded {
    /// What readers index: the record, its slug and its active domains. What leads nowhere is logged.
    pub(super) fn into_entry_or_log(self) -> TenantEntry {
        let record = self.details.record;
        for (key, reason) in &self.left_out {
            tracing::warn!(tenant = %record.id, key, reason, "a name of a tenant leads nowhere");
        }
        let slug = self.leads_by_slug.then(|| record.slug().to_owned());
        let domains = self.details.domains.into_iter().filter(|domain| domain.is_active);
        // All were checked when the row was decoded; what is no key could not lead anywhere.
        let keys = slug
            .map(TenantKey::slug)
            .into_iter()
            .chain(domains.map(|domain| TenantKey::domain(domain.domain)))
            .filter_map(Result::ok)
            .collect();
        TenantEntry { record, keys }
    }
}

/// Every key of a tenant, in the form that the change log keeps: `slug:acme`, `domain:acme.example`.
pub(super) fn logged_keys(details: &TenantDetails) -> Vec<String> {
    let mut keys = vec![logged_slug(details.record.slug())];
    keys.extend(details.domains.iter().map(|domain| logged_domain(&domain.domain)));
    keys
}

pub(super) fn logged_slug(slug: &str) -> String {
    format!("{}:{slug}", KeyKind::Slug)
}

pub(super) fn logged_domain(domain: &str) -> String {
    format!("{}:{domain}", KeyKind::Domain)
}

/// The key that was logged; `None` for a kind that a newer program logs and this one does not know.
pub(super) fn parse_logged_key(
    logged: &str,
) -> Result<Option<TenantKey<'static>>, tenancy_core::InvalidName> {
    match logged.split_once(':') {
        Some(("slug", slug)) => TenantKey::slug(slug.to_owned()).map(Some),
        Some(("domain", domain)) => TenantKey::domain(domain.to_owned()).map(Some),
        _ => Ok(None),
    }
}
