use tenancy_core::{TenantId, TenantRecord};

use super::{Inner, LifecycleAction, LifecycleError, place::Spot};
use crate::{
    engine::TenantEngine,
    store::journal::{Home, HomePlace, HomeStage},
};

impl<DB: TenantEngine> Inner<DB> {
    pub(super) async fn remove(&self, tenant: &TenantId) -> Result<(), LifecycleError> {
        let record = self.details(tenant).await?.record;
        let spot = self.spot_of(&record)?;
        let home = self.own_home(&record, &spot).await?;
        self.before(LifecycleAction::Drop, record.slug(), Some(&record))
            .await?;
        let deleted = self.store.delete_with_home(tenant, home.place.clone()).await?;
        self.end_use(&deleted.record);
        self.at_work_on(&home.place, self.drop_home(&home.place)).await?;
        self.after(LifecycleAction::Drop, record.slug(), Some(&record))
            .await;
        Ok(())
    }

    /// The home that is this tenant's, and that may be dropped.
    pub(super) async fn own_home(
        &self,
        record: &TenantRecord,
        spot: &Spot<'_, DB>,
    ) -> Result<Home, LifecycleError> {
        if !spot.is_own() {
            self.check_can_empty(spot)?;
            if let Some(home) = self.home_of(record, spot).await? {
                return Ok(home);
            }
            // Its rows are its own, whoever made it.
            let begun =
                self.journal
                    .begin_home(&spot.place, record.slug(), Some(&record.id), HomeStage::Made);
            begun.await?;
        }
        let home = self.home_of(record, spot).await?;
        let home = home
            .filter(|home| home.tenant.as_ref() == Some(&record.id))
            .ok_or_else(|| LifecycleError::not_ours("it was not made here, or for another tenant"))?;
        if spot.is_own() && self.is_named_by_others(Some(&record.id), spot).await? {
            return Err(LifecycleError::not_ours(
                "the placement of another tenant leads there",
            ));
        }
        Ok(home)
    }

    /// Than this tenant, if it is somebody's.
    pub(super) async fn is_named_by_others(
        &self,
        tenant: Option<&TenantId>,
        spot: &Spot<'_, DB>,
    ) -> Result<bool, LifecycleError> {
        let server = &*spot.place.server;
        // Placements that name no server mean the first one.
        let unnamed = self.homes.servers().next() == Some(server);
        let others = self.journal.is_named_by_others(
            tenant,
            [server, if unnamed { "" } else { server }],
            &spot.place.name,
        );
        Ok(others.await?)
    }

    /// What the journal knows of where a tenant lives.
    pub(super) async fn home_of(
        &self,
        record: &TenantRecord,
        spot: &Spot<'_, DB>,
    ) -> Result<Option<Home>, LifecycleError> {
        if spot.is_own() {
            return Ok(self.journal.home(&spot.place).await?);
        }
        let homes = self.journal.homes_of(&record.id).await?;
        let is_there = |home: &Home| {
            home.place.server == spot.place.server && home.place.isolation == spot.place.isolation
        };
        Ok(homes.into_iter().find(is_there))
    }

    /// Before anything is done that would have to be taken back.
    pub(super) fn check_can_empty(&self, spot: &Spot<'_, DB>) -> Result<(), LifecycleError> {
        if spot.has_policies() || self.remove_rows.is_some() {
            Ok(())
        } else {
            Err(LifecycleError::not_emptied())
        }
    }

    /// Drops what the journal says is to be dropped, and purges the record of its tenant. The home first: as long as it may be
    /// there, the journal says where.
    pub(super) async fn drop_home(&self, place: &HomePlace) -> Result<(), LifecycleError> {
        let home = self.journal.home(place).await?;
        let Some(home) = home.filter(|home| home.stage == HomeStage::Dropping) else {
            return Ok(());
        };
        let spot = self.spot_at(place, home.tenant.as_ref())?;
        if spot.is_own() {
            DB::drop_home(&spot.plot())
                .await
                .map_err(LifecycleError::server)?;
        } else if let Some(tenant) = &home.tenant {
            // Its rows are there even if its record was purged by hand.
            let found = self.store.get(tenant).await?.map(|details| details.record);
            let record = found.unwrap_or_else(|| TenantRecord::new(tenant.clone()));
            self.empty(&spot, &record).await?;
        }
        Ok(self
            .store
            .end_home_with_tenant(place.clone(), home.tenant)
            .await?)
    }

    /// Takes back what was begun for a tenant that is not made after all, or for nobody.
    pub(super) async fn take_back(&self, place: &HomePlace) -> Result<(), LifecycleError> {
        for stage in [HomeStage::Making, HomeStage::Filling] {
            self.journal.move_home(place, stage, HomeStage::Dropping).await?;
        }
        self.drop_home(place).await
    }

    pub(super) async fn take_back_or_log(&self, place: &HomePlace) {
        if let Err(left) = self.take_back(place).await {
            tracing::error!(error = ?left, "what a failed step left is taken back later, by `recover`");
        }
    }

    pub(super) async fn recover(&self) -> Result<usize, LifecycleError> {
        let (mut recovered, mut first_error) = (0, None);
        for home in self.journal.broken_off_homes(self.patience_ms()).await? {
            // Several processes recover at once when they start.
            if !self.journal.take_over_home(&home, self.patience_ms()).await? {
                continue;
            }
            match self.at_work_on(&home.place, self.go_on_with(&home)).await {
                Ok(()) => recovered += 1,
                Err(error) => {
                    tracing::error!(?error, "a step that was broken off could not be gone on with");
                    first_error.get_or_insert(error);
                }
            }
        }
        for home in self
            .journal
            .left_homes(super::milliseconds(self.keep_left))
            .await?
        {
            match self.drop_left(&home.place).await {
                Ok(was_dropped) => recovered += usize::from(was_dropped),
                Err(error) => {
                    tracing::error!(?error, "a home that was left could not be dropped");
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.map_or(Ok(recovered), Err)
    }

    async fn go_on_with(&self, home: &Home) -> Result<(), LifecycleError> {
        match (home.stage, &home.tenant) {
            (HomeStage::Emptying, Some(tenant)) => self.refill_rows(tenant, &home.place).await,
            (HomeStage::Adding, Some(tenant)) => {
                let record = self.details(tenant).await?.record;
                self.finish_home(&self.spot_at(&home.place, Some(tenant))?, &record)
                    .await
            }
            (HomeStage::Leaving | HomeStage::Returning, Some(_)) => self.return_to(home).await,
            _ => self.take_back(&home.place).await,
        }
    }
}
