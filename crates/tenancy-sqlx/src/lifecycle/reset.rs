use tenancy_core::{TenantId, TenantRecord};

use super::{
    Inner, LifecycleAction, LifecycleError,
    place::{Spot, of_nobody},
    seed::Seeds,
};
use crate::{
    TenantDetails,
    engine::TenantEngine,
    store::journal::{HomePlace, HomeStage},
};

impl<DB: TenantEngine> Inner<DB> {
    pub(super) async fn reset(&self, tenant: &TenantId) -> Result<TenantDetails, LifecycleError> {
        let record = self.details(tenant).await?.record;
        let spot = self.spot_of(&record)?;
        let home = self.own_home(&record, &spot).await?;
        if home.stage != HomeStage::Made {
            return Err(LifecycleError::busy());
        }
        self.before(LifecycleAction::Reset, record.slug(), Some(&record))
            .await?;
        let reset = if spot.is_own() {
            self.move_to_new_home(&record, &home.place).await?
        } else {
            let begun = self
                .journal
                .move_home(&home.place, HomeStage::Made, HomeStage::Emptying);
            if !begun.await? {
                return Err(LifecycleError::busy());
            }
            self.at_work_on(&home.place, self.refill_rows(tenant, &home.place))
                .await?;
            self.details(tenant).await?
        };
        self.after(LifecycleAction::Reset, record.slug(), Some(&reset.record))
            .await;
        Ok(reset)
    }

    async fn move_to_new_home(
        &self,
        record: &TenantRecord,
        old: &HomePlace,
    ) -> Result<TenantDetails, LifecycleError> {
        let new = self.new_spot(record, record.slug())?;
        // Until it is the tenant's, it is nobody's: whoever takes it back leaves the tenant alone.
        self.journal
            .begin_home(&new.place, record.slug(), None, HomeStage::Making)
            .await?;
        let moved = async {
            self.furnish(&new, record).await?;
            let goal = self.fleet.as_ref().map(|fleet| fleet.goal());
            let switched = self
                .store
                .switch_home(&record.id, old.clone(), new.place.clone(), goal);
            Ok(switched.await?)
        };
        let moved: Result<TenantDetails, LifecycleError> = self.at_work_on(&new.place, moved).await;
        match &moved {
            Ok(details) => {
                self.end_use(&details.record);
                let dropped = self.at_work_on(old, self.drop_home(old)).await;
                if let Err(left) = dropped {
                    tracing::error!(error = ?left, "a home that was left is dropped later, by `recover`");
                }
            }
            Err(_) => self.take_back_or_log(&new.place).await,
        }
        moved
    }

    /// A home with its tables and seeds, that its tenant is not led to yet.
    async fn furnish(&self, new: &Spot<'_, DB>, record: &TenantRecord) -> Result<(), LifecycleError> {
        self.build(new).await?;
        self.bring(new, record).await?;
        self.fill(new, record, Seeds::Both).await
    }

    /// Migrates a home that its tenant is not led to yet.
    pub(super) async fn bring(
        &self,
        new: &Spot<'_, DB>,
        record: &TenantRecord,
    ) -> Result<(), LifecycleError> {
        if let Some(fleet) = &self.fleet {
            self.before(LifecycleAction::Migrate, record.slug(), Some(record))
                .await?;
            fleet.bring_home(&of_nobody(&new.place)?).await?;
            self.after(LifecycleAction::Migrate, record.slug(), Some(record))
                .await;
        }
        Ok(())
    }

    /// Any number of times: until the journal says that it is done.
    pub(super) async fn refill_rows(
        &self,
        tenant: &TenantId,
        place: &HomePlace,
    ) -> Result<(), LifecycleError> {
        let record = self.details(tenant).await?.record;
        let spot = self.spot_at(place, Some(tenant))?;
        self.empty(&spot, &record).await?;
        self.fill(&spot, &record, Seeds::Both).await?;
        self.journal
            .move_home(place, HomeStage::Emptying, HomeStage::Made)
            .await?;
        Ok(())
    }
}
