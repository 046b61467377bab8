//! What changes do inside of their transaction. Checks come before the first write, so that a refused edit
//! leaves the transaction as it found it.

use tenancy_core::{Maintenance, TenantId, TenantRecord, TenantStatus};

use super::{
    StoreKind,
    change::Change,
    create::{domain_taken, slug_taken},
    row::{self, logged_domain, logged_keys, logged_slug},
};
#[cfg(feature = "mysql")]
use crate::central::Dialect;
use crate::{CatalogueError, TenantDetails, TenantPatch, central::sql};

impl Change {
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

    async fn id_of_slug(&mut self, slug: &str) -> Result<Option<String>, CatalogueError> {
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
