//! From rows to tenants.

use sqlx::{QueryBuilder, Row, Sqlite, sqlite::SqliteRow};
use tenancy_core::{
    KeyKind, Maintenance, Placement, TenantEntry, TenantId, TenantKey, TenantRecord, TenantStatus,
};

use crate::{CatalogueError, DomainDetails, TenantDetails};

/// A tenant with its domains in one row, so that one statement is one consistent view without a transaction.
const SELECT: &str = "SELECT t.id, t.slug, t.status, t.tenant_type, t.plan, t.settings, t.placement_server, \
    t.placement_database, t.maintenance, t.epoch, t.incarnation, t.created_at_ms, t.updated_at_ms, \
    (SELECT json_group_array(json_array(d.domain, d.is_active, d.is_primary, d.created_at_ms)) \
       FROM domains d WHERE d.tenant_id = t.id) AS domains \
    FROM tenants t WHERE ";

/// Begins a query for tenants; the caller appends the condition.
pub(super) fn select_tenants() -> QueryBuilder<Sqlite> {
    QueryBuilder::new(SELECT)
}

/// The query of the tenant that a key leads to; `None` for kinds that the catalogue does not keep.
pub(super) fn select_by_key(key: &TenantKey<'_>) -> Option<QueryBuilder<Sqlite>> {
    let mut query = select_tenants();
    let value = key.value().to_owned();
    match key.kind() {
        KeyKind::Id => query.push("t.id = ").push_bind(value),
        KeyKind::Slug => query.push("t.slug = ").push_bind(value),
        KeyKind::Domain => query
            .push("t.id = (SELECT tenant_id FROM domains WHERE is_active = 1 AND domain = ")
            .push_bind(value)
            .push(")"),
        _ => return None,
    };
    Some(query)
}

pub(super) fn decode(row: &SqliteRow) -> Result<TenantDetails, CatalogueError> {
    decode_fields(row).map_err(|cause| {
        let id: String = row.try_get("id").unwrap_or_default();
        CatalogueError::corrupt(format!("the row of tenant {id:?} cannot be read: {cause}"), cause)
    })
}

/// Decodes what can be decoded: one broken row must not hide the others.
pub(super) fn decode_or_log(row: &SqliteRow) -> Option<TenantDetails> {
    decode(row)
        .inspect_err(|error| {
            tracing::error!(
                detail = error.operator_detail(),
                "a tenant of the catalogue cannot be read and is left out"
            );
        })
        .ok()
}

fn decode_fields(row: &SqliteRow) -> Result<TenantDetails, tenancy_core::BoxError> {
    let mut record = TenantRecord::new(TenantId::new(row.try_get("id")?)?);
    let slug: &str = row.try_get("slug")?;
    TenantKey::slug(slug)?;
    record.slug = (record.id != slug).then(|| slug.into());
    record.status = TenantStatus::parse(row.try_get("status")?)?;
    record.plan = optional_text(row, "plan")?;
    record.tenant_type = optional_text(row, "tenant_type")?;
    record.settings = optional_text(row, "settings")?;
    record.placement = decode_placement(row)?.map(Box::new);
    record.maintenance = decode_maintenance(row)?.map(Box::new);
    record.epoch = row.try_get::<i64, _>("epoch")?.try_into()?;
    record.incarnation = row.try_get::<i64, _>("incarnation")?.try_into()?;
    record.created_at_ms = row.try_get("created_at_ms")?;
    let domains = decode_domains(row.try_get("domains")?)?;
    Ok(TenantDetails::new(record, domains, row.try_get("updated_at_ms")?))
}

fn optional_text(row: &SqliteRow, column: &str) -> Result<Option<Box<str>>, sqlx::Error> {
    Ok(row.try_get::<Option<&str>, _>(column)?.map(Into::into))
}

fn decode_placement(row: &SqliteRow) -> Result<Option<Placement>, sqlx::Error> {
    let server = optional_text(row, "placement_server")?;
    let database = optional_text(row, "placement_database")?;
    if server.is_none() && database.is_none() {
        return Ok(None);
    }
    let mut placement = Placement::default();
    placement.server = server.unwrap_or_default();
    placement.database = database.unwrap_or_default();
    Ok(Some(placement))
}

fn decode_maintenance(row: &SqliteRow) -> Result<Option<Maintenance>, tenancy_core::BoxError> {
    match row.try_get::<Option<&str>, _>("maintenance")? {
        Some(json) => Ok(Some(serde_json::from_str(json)?)),
        None => Ok(None),
    }
}

fn decode_domains(json: &str) -> Result<Vec<DomainDetails>, tenancy_core::BoxError> {
    let rows: Vec<(String, i64, i64, i64)> = serde_json::from_str(json)?;
    let mut domains = Vec::with_capacity(rows.len());
    for (domain, is_active, is_primary, created_at_ms) in rows {
        TenantKey::domain(domain.as_str())?;
        domains.push(DomainDetails {
            domain,
            is_active: is_active != 0,
            is_primary: is_primary != 0,
            created_at_ms,
        });
    }
    domains.sort_by(|a, b| (b.is_primary, &a.domain).cmp(&(a.is_primary, &b.domain)));
    Ok(domains)
}

/// What readers index: the record, its slug and its active domains.
pub(super) fn into_entry(details: TenantDetails) -> TenantEntry {
    let slug = details.record.slug().to_owned();
    let domains = details.domains.into_iter().filter(|domain| domain.is_active);
    // All were checked when the row was decoded; what is no key could not lead anywhere.
    let keys = std::iter::once(TenantKey::slug(slug))
        .chain(domains.map(|domain| TenantKey::domain(domain.domain)))
        .filter_map(Result::ok)
        .collect();
    TenantEntry {
        record: details.record,
        keys,
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
