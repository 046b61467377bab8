use std::sync::PoisonError;

use tenancy_core::{TenantId, TenantRecord, TenantStatus};

use super::{
    Inner, LifecycleAction, LifecycleError,
    place::{Spot, provisional},
    seed::Seeds,
};
use crate::{NewTenant, TenantDetails, engine::TenantEngine, store::journal::HomeStage};

impl<DB: TenantEngine> Inner<DB> {
    pub(super) async fn create(&self, new: NewTenant) -> Result<TenantDetails, LifecycleError> {
        let slug = new.slug.clone();
        let spot = self.spot_for(&new)?;
        let asked = provisional(&new)?;
        self.before(LifecycleAction::Create, &slug, Some(&asked)).await?;
        self.journal
            .begin_home(&spot.place, &slug, None, HomeStage::Making)
            .await?;
        let made = self.at_work_on(&spot.place, self.make(new, &spot)).await;
        match &made {
            Ok(made) => {
                self.after(LifecycleAction::Create, &slug, Some(&made.record))
                    .await;
            }
            Err(_) => self.take_back_or_log(&spot.place).await,
        }
        made
    }

    async fn make(&self, mut new: NewTenant, spot: &Spot<'_, DB>) -> Result<TenantDetails, LifecycleError> {
        let status = std::mem::replace(&mut new.status, TenantStatus::Pending);
        if spot.is_own() {
            let placement = new.placement.get_or_insert_default();
            placement.database = spot.place.name.clone();
            placement.isolation = spot.place.isolation.clone();
        }
        let made = self.store.create_in_home(new, spot.place.clone()).await?;
        // Whose rows they are is known only now.
        let id = &made.record.id;
        let spot = &self.spot_at(&spot.place, Some(id))?;
        self.build(spot).await?;
        self.migrate(&made.record).await?;
        self.fill(spot, &made.record, Seeds::Both).await?;
        Ok(self.store.open_home(id, spot.place.clone(), status).await?)
    }

    /// Makes a home that the journal says was begun, or goes on with it.
    pub(super) async fn build(&self, spot: &Spot<'_, DB>) -> Result<(), LifecycleError> {
        if spot.is_own() {
            DB::make_home(&spot.plot())
                .await
                .map_err(LifecycleError::server)?;
        }
        self.let_in(spot).await
    }

    pub(super) async fn let_in(&self, spot: &Spot<'_, DB>) -> Result<(), LifecycleError> {
        let plot = spot.plot();
        if self.grants && (spot.is_own() || self.is_not_let_in_yet(&spot.place.server)) {
            DB::let_in(&plot).await.map_err(LifecycleError::server)?;
        }
        Ok(())
    }

    /// To tables that are shared, once is enough.
    fn is_not_let_in_yet(&self, server: &str) -> bool {
        let mut let_in = self.let_in.lock().unwrap_or_else(PoisonError::into_inner);
        let_in.insert(server.into())
    }

    pub(super) async fn migrate(&self, record: &TenantRecord) -> Result<(), LifecycleError> {
        let Some(fleet) = &self.fleet else { return Ok(()) };
        self.before(LifecycleAction::Migrate, record.slug(), Some(record))
            .await?;
        fleet.migrate_tenant(record).await?;
        self.after(LifecycleAction::Migrate, record.slug(), Some(record))
            .await;
        Ok(())
    }

    pub(super) async fn make_home(&self, tenant: &TenantId) -> Result<TenantDetails, LifecycleError> {
        let details = self.details(tenant).await?;
        let record = &details.record;
        let spot = self.spot_of(record)?;
        if !spot.is_own() {
            self.migrate(record).await?;
            return Ok(details);
        }
        self.check_is_alone(record, &spot).await?;
        match self.home_of(record, &spot).await? {
            Some(home) if home.tenant.as_ref() != Some(tenant) => {
                return Err(LifecycleError::misplaced("another tenant lives there"));
            }
            Some(home) if home.stage == HomeStage::Made => {
                self.migrate(record).await?;
                return Ok(details);
            }
            // Begun by somebody who may have ended.
            Some(home) if home.stage == HomeStage::Adding => {
                if !self.journal.take_over_home(&home, self.patience_ms()).await? {
                    return Err(LifecycleError::busy());
                }
            }
            Some(_) => return Err(LifecycleError::busy()),
            None if DB::home_is_there(&spot.plot())
                .await
                .map_err(LifecycleError::server)? =>
            {
                // It was made elsewhere: it is used, and never dropped here.
                self.migrate(record).await?;
                return Ok(details);
            }
            None => {
                let begun =
                    self.journal
                        .begin_home(&spot.place, record.slug(), Some(tenant), HomeStage::Adding);
                if !begun.await? {
                    return Err(LifecycleError::busy());
                }
            }
        }
        self.before(LifecycleAction::Create, record.slug(), Some(record))
            .await?;
        self.at_work_on(&spot.place, self.finish_home(&spot, record))
            .await?;
        self.after(LifecycleAction::Create, record.slug(), Some(record))
            .await;
        Ok(details)
    }

    /// What fails is gone on with by the next call: the tenant was there before, and stays.
    pub(super) async fn finish_home(
        &self,
        spot: &Spot<'_, DB>,
        record: &TenantRecord,
    ) -> Result<(), LifecycleError> {
        self.build(spot).await?;
        self.migrate(record).await?;
        self.fill(spot, record, Seeds::Both).await?;
        let made = self
            .journal
            .move_home(&spot.place, HomeStage::Adding, HomeStage::Made);
        if made.await? {
            Ok(())
        } else {
            Err(LifecycleError::busy())
        }
    }

    /// Refuses a home that another tenant's placement leads to, or that follows from the id of another tenant.
    pub(super) async fn check_is_alone(
        &self,
        record: &TenantRecord,
        spot: &Spot<'_, DB>,
    ) -> Result<(), LifecycleError> {
        let name = &spot.place.name;
        let taken = || LifecycleError::misplaced("another tenant lives there");
        if self.is_named_by_others(Some(&record.id), spot).await? {
            return Err(taken());
        }
        let (strategy, _) = self.homes.place(record)?;
        match strategy.tenant_of(name) {
            Some(other) if other != record.id && self.store.get(&other).await?.is_some() => Err(taken()),
            _ => Ok(()),
        }
    }

    pub(super) async fn seed(&self, tenant: &TenantId) -> Result<(), LifecycleError> {
        let record = self.details(tenant).await?.record;
        let spot = self.spot_of(&record)?;
        self.fill(&spot, &record, Seeds::Both).await
    }
}
