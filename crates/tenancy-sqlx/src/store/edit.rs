//! What changes do inside of their transaction. Checks come before the first write, so that a refused edit
//! leaves the transaction as it found it.

use std::collections::{HashMap, HashSet};

use tenancy_core::{Maintenance, TenantId, TenantRecord, TenantStatus};

use super::{
    StoreKind,
    change::Change,
    checks,
    row::{self, logged_domain, logged_keys, logged_slug},
    statements::Grammar,
};
#[cfg(feature = "mysql")]
use crate::central::Dialect;
use crate::{
    CatalogueError, DomainDetails, NewTenant, TenantDetails, TenantPatch,
    central::{Row, sql},
    names,
};

/// A new tenant whose values are checked and canonical.
#[derive(Clone)]
pub(super) struct CheckedTenant(NewTenant);

impl CheckedTenant {
    pub(super) fn check(mut new: NewTenant, reserved: &[Box<str>]) -> Result<Self, CatalogueError> {
        names::check_slug(&new.slug, reserved)?;
        if let Some(id) = &new.id {
            names::check_not_reserved(id.as_str(), reserved)?;
        }
        names::check_word("plan", new.plan.as_deref())?;
        names::check_word("tenant type", new.tenant_type.as_deref())?;
        names::check_settings(new.settings.as_deref())?;
        checks::check_placement(new.placement.as_ref())?;
        if new.status == TenantStatus::Deleted {
            return Err(CatalogueError::invalid(
                "the status is not valid",
                "a tenant cannot be created as deleted",
            ));
        }
        let mut seen = HashSet::new();
        for domain in &mut new.domains {
            *domain = names::check_domain(domain)?;
            if !seen.insert(domain.clone()) {
                return Err(CatalogueError::invalid(
                    "a domain is given twice",
                    format!("the domain {domain} is given twice"),
                ));
            }
        }
        Ok(Self(new))
    }

    pub(super) fn slug(&self) -> &str {
        &self.0.slug
    }

    /// As it is read once it is written.
    fn details(&self, id: TenantId, number: i64, now_ms: i64) -> TenantDetails {
        let Self(new) = self;
        let mut record = TenantRecord::new(id);
        record.slug = (record.id != *new.slug).then(|| new.slug.as_str().into());
        record.status = new.status;
        record.plan = new.plan.as_deref().map(Into::into);
        record.tenant_type = new.tenant_type.as_deref().map(Into::into);
        record.settings = new.settings.as_deref().map(Into::into);
        record.placement = new.placement.clone().map(Box::new);
        record.epoch = number.cast_unsigned();
        record.incarnation = number.cast_unsigned();
        record.created_at_ms = now_ms;
        let mut domains: Vec<_> = new
            .domains
            .iter()
            .enumerate()
            .map(|(index, domain)| DomainDetails {
                domain: domain.clone(),
                is_active: true,
                is_primary: index == 0,
                created_at_ms: now_ms,
            })
            .collect();
        row::sort_domains(&mut domains);
        TenantDetails::new(record, domains, now_ms)
    }
}

impl Change {
    /// Asks once, as a rule, and writes nothing at once.
    pub(super) async fn create(&mut self, tenant: &CheckedTenant) -> Result<TenantDetails, CatalogueError> {
        let CheckedTenant(new) = tenant;
        let first_id = match &new.id {
            Some(id) => id.clone(),
            None => numbered_id(&new.slug, 1)?,
        };
        let in_use = self.names_in_use(new, &first_id).await?;
        if let Some(owner) = &in_use.slug {
            return Err(slug_taken(&new.slug, owner));
        }
        if let Some((domain, owner)) = new
            .domains
            .iter()
            .find_map(|domain| in_use.domains.get_key_value(domain))
        {
            return Err(domain_taken(domain, owner));
        }
        let id = match &new.id {
            Some(id) if in_use.has_id => return Err(id_taken(id)),
            Some(id) => id.clone(),
            None if in_use.has_id || self.is_reserved(&first_id) => self.choose_id(&new.slug).await?,
            None => first_id,
        };
        let keys: Vec<String> = std::iter::once(logged_slug(&new.slug))
            .chain(new.domains.iter().map(|domain| logged_domain(domain)))
            .collect();
        let number = self.log(&id, "create", &keys)?;
        self.insert_tenant(&id, new, number);
        for (index, domain) in new.domains.iter().enumerate() {
            self.insert_domain(&id, domain, index == 0);
        }
        Ok(tenant.details(id, number, self.now_ms))
    }

    async fn names_in_use(&mut self, new: &NewTenant, id: &TenantId) -> Result<NamesInUse, CatalogueError> {
        let mut look = sql(
            "SELECT 'slug' AS kind, slug AS name, id AS owner FROM tenants WHERE slug = ?
             UNION ALL SELECT 'id', id, id FROM tenancy_used_ids WHERE id = ?",
        )
        .bind(&*new.slug)
        .bind(id.as_str());
        if !new.domains.is_empty() {
            look.push(" UNION ALL SELECT 'domain', domain, tenant_id FROM domains WHERE domain");
            Grammar::of(self.dialect())
                .push_in_list(&mut look, &new.domains)
                .map_err(CatalogueError::from_sqlx)?;
        }
        let rows = self.fetch_all(look).await?;
        NamesInUse::read(&rows).map_err(CatalogueError::from_sqlx)
    }

    fn is_reserved(&self, id: &TenantId) -> bool {
        self.reserved.iter().any(|name| **name == *id.as_str())
    }

    fn insert_tenant(&mut self, id: &TenantId, new: &NewTenant, number: i64) {
        let placement = new.placement.as_ref();
        let insert = sql(
            "INSERT INTO tenants (id, slug, status, tenant_type, plan, settings, placement_server,
                 placement_database, placement_isolation, epoch, incarnation, created_at_ms, updated_at_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(id.as_str())
        .bind(&*new.slug)
        .bind(new.status.as_str())
        .bind(new.tenant_type.as_deref())
        .bind(new.plan.as_deref())
        .bind(new.settings.as_deref())
        .bind(placement.map(|placement| &*placement.server))
        .bind(placement.map(|placement| &*placement.database))
        .bind(row::isolation_column(placement))
        .bind(number)
        .bind(number)
        .bind(self.now_ms)
        .bind(self.now_ms);
        self.defer(insert);
        let used = sql("INSERT INTO tenancy_used_ids (id, incarnation) VALUES (?, ?)")
            .bind(id.as_str())
            .bind(number);
        self.defer(used);
    }

    pub(super) fn insert_domain(&mut self, id: &TenantId, domain: &str, is_primary: bool) {
        let insert = sql(
            "INSERT INTO domains (domain, tenant_id, is_active, is_primary, created_at_ms) \
             VALUES (?, ?, 1, ?, ?)",
        )
        .bind(domain)
        .bind(id.as_str())
        .bind(is_primary)
        .bind(self.now_ms);
        #[cfg(feature = "mysql")]
        self.end_claims(domain);
        self.defer(insert);
    }

    /// However a domain is given, nobody can prove it any more. Elsewhere a trigger does it, whoever gives the domain; on
    /// MySQL, triggers ask for a right that most roles lack.
    #[cfg(feature = "mysql")]
    fn end_claims(&mut self, domain: &str) {
        if self.dialect() == Dialect::MySql {
            self.defer(sql("DELETE FROM tenancy_domain_claims WHERE domain = ?").bind(domain));
        }
    }

    /// Keeps whose domains were, before they are taken away: as [`end_claims`](Self::end_claims). `None` is all of them.
    #[cfg(feature = "mysql")]
    async fn remember_former(&mut self, id: &TenantId, domain: Option<&str>) -> Result<(), CatalogueError> {
        if self.dialect() != Dialect::MySql {
            return Ok(());
        }
        let former = sql("INSERT INTO tenancy_former_domains (domain, tenant_id)
             SELECT domain, tenant_id FROM domains WHERE tenant_id = ? AND domain = coalesce(?, domain)
             ON DUPLICATE KEY UPDATE tenant_id = VALUES(tenant_id)");
        self.execute(former.bind(id.as_str()).bind(domain)).await
    }

    pub(super) async fn id_of_slug(&mut self, slug: &str) -> Result<Option<String>, CatalogueError> {
        self.find_text(sql("SELECT id AS answer FROM tenants WHERE slug = ?").bind(slug))
            .await
    }

    async fn check_slug_is_free(&mut self, slug: &str) -> Result<(), CatalogueError> {
        match self.id_of_slug(slug).await? {
            None => Ok(()),
            Some(owner) => Err(slug_taken(slug, &owner)),
        }
    }

    pub(super) async fn owner_of(&mut self, domain: &str) -> Result<Option<String>, CatalogueError> {
        self.find_text(sql("SELECT tenant_id AS answer FROM domains WHERE domain = ?").bind(domain))
            .await
    }

    async fn was_used(&mut self, id: &str) -> Result<bool, CatalogueError> {
        let used = sql("SELECT id AS answer FROM tenancy_used_ids WHERE id = ?").bind(id);
        Ok(self.find(used).await?.is_some())
    }

    /// The slug with the lowest number that was never used.
    async fn choose_id(&mut self, slug: &str) -> Result<TenantId, CatalogueError> {
        for attempt in 2_u32..=100_000 {
            let id = numbered_id(slug, attempt)?;
            if !self.is_reserved(&id) && !self.was_used(id.as_str()).await? {
                return Ok(id);
            }
        }
        Err(CatalogueError::conflict(
            "no id is free for the slug",
            format!("give an id of your own: 100000 ids that begin with {slug} are used up"),
        ))
    }

    /// The tenant as this transaction sees it.
    pub(super) async fn details(&mut self, id: &TenantId) -> Result<TenantDetails, CatalogueError> {
        let mut query = row::select_tenants(self.dialect(), StoreKind::Managed);
        query.push("t.id = ").push_bind(id.as_str());
        match self.find(query).await? {
            Some(row) => row::decode(&row, StoreKind::Managed).map(|decoded| decoded.details),
            None => Err(CatalogueError::not_found(
                "there is no such tenant",
                format!("there is no tenant {id}"),
            )),
        }
    }

    pub(super) async fn details_of_living(&mut self, id: &TenantId) -> Result<TenantDetails, CatalogueError> {
        let details = self.details(id).await?;
        if details.record.status == TenantStatus::Deleted {
            return Err(CatalogueError::conflict(
                "the tenant is deleted",
                format!("the tenant {id} is deleted: restore it first"),
            ));
        }
        Ok(details)
    }

    pub(super) async fn update(&mut self, id: &TenantId, patch: TenantPatch) -> Result<(), CatalogueError> {
        let before = self.details_of_living(id).await?;
        let after = patched(before.record.clone(), patch);
        if after == before.record {
            return Ok(());
        }
        let mut keys = Vec::new();
        if after.slug() != before.record.slug() {
            self.check_slug_is_free(after.slug()).await?;
            keys = vec![logged_slug(before.record.slug()), logged_slug(after.slug())];
        }
        let number = self.log(id, "update", &keys)?;
        let statement = sql(
            "UPDATE tenants SET slug = ?, plan = ?, tenant_type = ?, settings = ?, placement_server = ?,
                 placement_database = ?, placement_isolation = ?, epoch = ?, updated_at_ms = ? WHERE id = ?",
        )
        .bind(after.slug())
        .bind(after.plan.as_deref())
        .bind(after.tenant_type.as_deref())
        .bind(after.settings.as_deref())
        .bind(after.placement.as_ref().map(|placement| &*placement.server))
        .bind(after.placement.as_ref().map(|placement| &*placement.database))
        .bind(row::isolation_column(after.placement.as_deref()))
        .bind(number)
        .bind(self.now_ms)
        .bind(id.as_str());
        self.defer(statement);
        Ok(())
    }

    /// Moves a living tenant to a status. Nothing happens if it is there already.
    pub(super) async fn set_living_status(
        &mut self,
        id: &TenantId,
        status: TenantStatus,
        kind: &'static str,
    ) -> Result<(), CatalogueError> {
        let details = self.details_of_living(id).await?;
        self.write_status(&details, status, kind)
    }

    pub(super) async fn delete(&mut self, id: &TenantId) -> Result<(), CatalogueError> {
        let details = self.details(id).await?;
        self.write_status(&details, TenantStatus::Deleted, "delete")
    }

    pub(super) async fn restore(&mut self, id: &TenantId) -> Result<(), CatalogueError> {
        let details = self.details(id).await?;
        if details.record.status != TenantStatus::Deleted {
            return Err(CatalogueError::conflict(
                "the tenant is not deleted",
                format!("the tenant {id} is {}", details.record.status),
            ));
        }
        self.write_status(&details, TenantStatus::Suspended, "restore")
    }

    fn write_status(
        &mut self,
        details: &TenantDetails,
        status: TenantStatus,
        kind: &'static str,
    ) -> Result<(), CatalogueError> {
        if details.record.status == status {
            return Ok(());
        }
        let id = &details.record.id;
        let number = self.log(id, kind, &logged_keys(details))?;
        let statement = sql("UPDATE tenants SET status = ?, epoch = ?, updated_at_ms = ? WHERE id = ?")
            .bind(status.as_str())
            .bind(number)
            .bind(self.now_ms)
            .bind(id.as_str());
        self.defer(statement);
        Ok(())
    }

    pub(super) async fn set_maintenance(
        &mut self,
        id: &TenantId,
        maintenance: Option<&Maintenance>,
    ) -> Result<(), CatalogueError> {
        let details = self.details_of_living(id).await?;
        if details.record.maintenance.as_deref() == maintenance {
            return Ok(());
        }
        let json = match maintenance.map(serde_json::to_string).transpose() {
            Ok(json) => json,
            Err(error) => {
                return Err(CatalogueError::invalid(
                    "the maintenance is not valid",
                    error.to_string(),
                ));
            }
        };
        let number = self.log(id, "maintenance", &[])?;
        let statement = sql("UPDATE tenants SET maintenance = ?, epoch = ?, updated_at_ms = ? WHERE id = ?")
            .bind(json)
            .bind(number)
            .bind(self.now_ms)
            .bind(id.as_str());
        self.defer(statement);
        Ok(())
    }

    pub(super) async fn add_domain(
        &mut self,
        id: &TenantId,
        domain: &str,
        is_primary: bool,
    ) -> Result<(), CatalogueError> {
        let details = self.details_of_living(id).await?;
        let held = match self.owner_of(domain).await? {
            Some(owner) if *id != owner.as_str() => return Err(domain_taken(domain, &owner)),
            held => held.is_some(),
        };
        let is_already_primary = details
            .domains
            .iter()
            .any(|held| held.is_primary && held.domain == domain);
        if held && (is_already_primary || !is_primary) {
            return Ok(());
        }
        let is_primary = is_primary || details.domains.is_empty();
        let number = self.log(id, "add_domain", &[logged_domain(domain)])?;
        if is_primary {
            let statement = sql(
                "UPDATE domains SET is_primary = CASE WHEN domain = ? THEN 1 ELSE 0 END WHERE tenant_id = ?",
            )
            .bind(domain)
            .bind(id.as_str());
            self.execute(statement).await?;
        }
        if !held {
            self.insert_domain(id, domain, is_primary);
        }
        self.touch(id, number);
        Ok(())
    }

    pub(super) async fn remove_domain(&mut self, id: &TenantId, domain: &str) -> Result<(), CatalogueError> {
        let details = self.details(id).await?;
        if !details.domains.iter().any(|held| held.domain == domain) {
            return Err(CatalogueError::not_found(
                "the tenant has no such domain",
                format!("the tenant {id} has no domain {domain}"),
            ));
        }
        let number = self.log(id, "remove_domain", &[logged_domain(domain)])?;
        #[cfg(feature = "mysql")]
        self.remember_former(id, Some(domain)).await?;
        let statement = sql("DELETE FROM domains WHERE domain = ? AND tenant_id = ?")
            .bind(domain)
            .bind(id.as_str());
        self.execute(statement).await?;
        self.touch(id, number);
        Ok(())
    }

    pub(super) fn touch(&mut self, id: &TenantId, number: i64) {
        let statement = sql("UPDATE tenants SET epoch = ?, updated_at_ms = ? WHERE id = ?")
            .bind(number)
            .bind(self.now_ms)
            .bind(id.as_str());
        self.defer(statement);
    }

    pub(super) async fn purge(&mut self, id: &TenantId, is_forced: bool) -> Result<(), CatalogueError> {
        let details = self.details(id).await?;
        if details.record.status != TenantStatus::Deleted && !is_forced {
            return Err(CatalogueError::conflict(
                "the tenant is not deleted",
                format!("the tenant {id} is {}: delete it first", details.record.status),
            ));
        }
        self.log(id, "purge", &logged_keys(&details))?;
        #[cfg(feature = "mysql")]
        self.remember_former(id, None).await?;
        for statement in [
            "DELETE FROM domains WHERE tenant_id = ?",
            "DELETE FROM tenants WHERE id = ?",
        ] {
            let statement = sql(statement).bind(id.as_str());
            self.execute(statement).await?;
        }
        Ok(())
    }
}

/// Whose the names are that a new tenant asks for.
#[derive(Default)]
struct NamesInUse {
    slug: Option<String>,
    has_id: bool,
    domains: HashMap<String, String>,
}

impl NamesInUse {
    fn read(rows: &[Row]) -> Result<Self, sqlx::Error> {
        let mut in_use = Self::default();
        for row in rows {
            let (name, owner) = (row.text("name")?, row.text("owner")?.to_owned());
            match row.text("kind")? {
                "slug" => in_use.slug = Some(owner),
                "id" => in_use.has_id = true,
                _ => drop(in_use.domains.insert(name.to_owned(), owner)),
            }
        }
        Ok(in_use)
    }
}

fn slug_taken(slug: &str, owner: &str) -> CatalogueError {
    CatalogueError::conflict(
        "the slug is taken",
        format!("the slug {slug} belongs to the tenant {owner:?}"),
    )
}

fn id_taken(id: &TenantId) -> CatalogueError {
    CatalogueError::conflict(
        "the id is taken",
        format!("the id {id} is or was a tenant's; an id is never given twice, also after a purge"),
    )
}

fn domain_taken(domain: &str, owner: &str) -> CatalogueError {
    CatalogueError::conflict(
        "the domain is taken",
        format!("the domain {domain} belongs to the tenant {owner:?}"),
    )
}

/// `slug` for 1, else `slug-2`, `slug-3`, …, the slug cut so that the whole has 48 characters at most.
fn numbered_id(slug: &str, attempt: u32) -> Result<TenantId, CatalogueError> {
    let id = if attempt == 1 {
        slug.to_owned()
    } else {
        let suffix = format!("-{attempt}");
        let room = TenantId::MAX_LEN - suffix.len();
        format!("{}{suffix}", slug.get(..room).unwrap_or(slug))
    };
    TenantId::new(&id).map_err(|error| CatalogueError::invalid_name("the slug makes no valid id", error))
}

fn patched(mut record: TenantRecord, patch: TenantPatch) -> TenantRecord {
    if let Some(slug) = patch.slug {
        record.slug = (record.id != *slug).then(|| slug.into());
    }
    if let Some(plan) = patch.plan {
        record.plan = plan.map(Into::into);
    }
    if let Some(tenant_type) = patch.tenant_type {
        record.tenant_type = tenant_type.map(Into::into);
    }
    if let Some(settings) = patch.settings {
        record.settings = settings.map(Into::into);
    }
    if let Some(placement) = patch.placement {
        record.placement = placement.map(Box::new);
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_ids_fit_and_differ() {
        let longest = "a".repeat(48);
        assert_eq!(numbered_id("acme", 1).unwrap(), "acme");
        assert_eq!(numbered_id("acme", 2).unwrap(), "acme-2");
        assert_eq!(numbered_id(&longest, 1).unwrap(), longest.as_str());
        assert_eq!(numbered_id(&longest, 12).unwrap().as_str().len(), 48);
        assert!(numbered_id(&longest, 12).unwrap().as_str().ends_with("a-12"));
    }
}
