use tenancy_core::{Maintenance, TenantId, TenantStatus};

use super::{SqlStore, checks, create::CheckedTenant};
use crate::{CatalogueError, NewTenant, TenantDetails, TenantPatch, names};

/// Changes. Each is one transaction with one change number, and returns once it is committed and seen by the
/// readers of this process. A change that would change nothing takes no number.
///
/// A change begun runs to its end, also if its future is dropped. Besides the errors named at each method, all
/// fail as unavailable when the file stays locked or the disk fails, and as read-only when it cannot be written or the
/// store was opened only to read ([`StoreKind`](super::StoreKind)).
impl SqlStore {
    /// Creates a tenant.
    ///
    /// # Errors
    /// Invalid when a value is not valid or a name reserved; conflict when slug, id or a domain is taken.
    pub async fn create(&self, new: NewTenant) -> Result<TenantDetails, CatalogueError> {
        self.check_is_writable()?;
        let checked = CheckedTenant::check(new, &self.inner.options.reserved)?;
        self.change(move |change| Box::pin(async move { change.create(&checked).await }))
            .await
    }

    /// Changes slug, plan, type, settings or placement.
    ///
    /// # Errors
    /// Not found; invalid when a value is not valid; conflict when the slug is taken or the tenant is deleted.
    pub async fn update(&self, id: &TenantId, patch: TenantPatch) -> Result<TenantDetails, CatalogueError> {
        self.check_is_writable()?;
        if let Some(slug) = &patch.slug {
            names::check_slug(slug, &self.inner.options.reserved)?;
        }
        names::check_word("plan", patch.plan.as_ref().and_then(Option::as_deref))?;
        names::check_word(
            "tenant type",
            patch.tenant_type.as_ref().and_then(Option::as_deref),
        )?;
        names::check_settings(patch.settings.as_ref().and_then(Option::as_deref))?;
        checks::check_placement(patch.placement.as_ref().and_then(Option::as_ref))?;
        let id = id.clone();
        self.change(move |change| {
            Box::pin(async move {
                change.update(&id, patch).await?;
                change.details(&id).await
            })
        })
        .await
    }

    /// Stops serving a tenant, until it is resumed.
    ///
    /// # Errors
    /// Not found; conflict when it is deleted.
    pub async fn suspend(&self, id: &TenantId) -> Result<TenantDetails, CatalogueError> {
        self.set_living_status(id, TenantStatus::Suspended, "suspend")
            .await
    }

    /// Serves a suspended or pending tenant.
    ///
    /// # Errors
    /// Not found; conflict when it is deleted.
    pub async fn resume(&self, id: &TenantId) -> Result<TenantDetails, CatalogueError> {
        self.set_living_status(id, TenantStatus::Active, "resume").await
    }

    async fn set_living_status(
        &self,
        id: &TenantId,
        status: TenantStatus,
        kind: &'static str,
    ) -> Result<TenantDetails, CatalogueError> {
        let id = id.clone();
        self.change(move |change| {
            Box::pin(async move {
                change.set_living_status(&id, status, kind).await?;
                change.details(&id).await
            })
        })
        .await
    }

    /// Puts a tenant into maintenance, or with `None` out of it.
    ///
    /// # Errors
    /// Not found; invalid when a field of `maintenance` is not valid; conflict when the tenant is deleted.
    pub async fn set_maintenance(
        &self,
        id: &TenantId,
        maintenance: Option<Maintenance>,
    ) -> Result<TenantDetails, CatalogueError> {
        self.check_is_writable()?;
        if let Some(maintenance) = &maintenance {
            checks::check_maintenance(maintenance)?;
        }
        let id = id.clone();
        self.change(move |change| {
            Box::pin(async move {
                change.set_maintenance(&id, maintenance.as_ref()).await?;
                change.details(&id).await
            })
        })
        .await
    }

    /// Deletes a tenant softly: it is not served, but its data, slug and domains stay taken until a purge.
    ///
    /// # Errors
    /// Not found.
    pub async fn delete(&self, id: &TenantId) -> Result<TenantDetails, CatalogueError> {
        let id = id.clone();
        self.change(move |change| {
            Box::pin(async move {
                change.delete(&id).await?;
                change.details(&id).await
            })
        })
        .await
    }

    /// Takes a deletion back. The tenant is suspended then, until it is resumed.
    ///
    /// # Errors
    /// Not found; conflict when it is not deleted.
    pub async fn restore(&self, id: &TenantId) -> Result<TenantDetails, CatalogueError> {
        let id = id.clone();
        self.change(move |change| {
            Box::pin(async move {
                change.restore(&id).await?;
                change.details(&id).await
            })
        })
        .await
    }

    /// Removes a deleted tenant and its domains for good. Slug and domains are free then; the id never is.
    ///
    /// # Errors
    /// Not found; conflict when it is not deleted.
    pub async fn purge(&self, id: &TenantId) -> Result<(), CatalogueError> {
        self.purge_if(id, false).await
    }

    /// As [`purge`](Self::purge), whatever the tenant's status.
    ///
    /// # Errors
    /// Not found.
    pub async fn force_purge(&self, id: &TenantId) -> Result<(), CatalogueError> {
        self.purge_if(id, true).await
    }

    async fn purge_if(&self, id: &TenantId, is_forced: bool) -> Result<(), CatalogueError> {
        let id = id.clone();
        self.change(move |change| Box::pin(async move { change.purge(&id, is_forced).await }))
            .await
    }

    /// Gives a domain to a tenant; Unicode is accepted. The first domain is the primary one, and so is one added
    /// with `is_primary`, in place of the one before. A domain that the tenant has already is no error.
    ///
    /// For operators: whoever calls it is trusted, and no proof is asked for. Where a tenant's users name the domain, let
    /// them claim it instead, and verify the claim (`tenancy::domains`; feature `domains`). All claims of the domain end.
    ///
    /// # Errors
    /// Not found; invalid when it is no domain; conflict when another tenant has it, even a deleted one, or this
    /// tenant is deleted.
    pub async fn add_domain(
        &self,
        id: &TenantId,
        domain: &str,
        is_primary: bool,
    ) -> Result<TenantDetails, CatalogueError> {
        self.check_is_writable()?;
        let domain = names::check_domain(domain)?;
        let id = id.clone();
        self.change(move |change| {
            Box::pin(async move {
                change.add_domain(&id, &domain, is_primary).await?;
                change.details(&id).await
            })
        })
        .await
    }

    /// Takes a domain from a tenant, also from a deleted one. No other becomes primary in its place.
    ///
    /// # Errors
    /// Not found when there is no such tenant or it has no such domain; invalid when it is no domain.
    pub async fn remove_domain(&self, id: &TenantId, domain: &str) -> Result<TenantDetails, CatalogueError> {
        self.check_is_writable()?;
        let domain = names::check_domain(domain)?;
        let id = id.clone();
        self.change(move |change| {
            Box::pin(async move {
                change.remove_domain(&id, &domain).await?;
                change.details(&id).await
            })
        })
        .await
    }
}
