//! What changes a tenant's record and the journal of homes, in one transaction: nobody ever sees the one without the other.

use tenancy_core::{Placement, TenantId, TenantRecord, TenantStatus};

use super::{
    Goal, Home, HomePlace, HomeStage,
    homes::{COLUMNS, moved, push_place, read_home},
    lock_clause, note_of,
};
use crate::{
    CatalogueError, NewTenant, TenantDetails, TenantPatch,
    central::{Statement, sql},
    store::{SqlStore, change::Change, create::CheckedTenant},
};

/// A pending home as one is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) server: Box<str>,
    pub(crate) isolation: Box<str>,
    /// Homes in another state of the schema are not given.
    pub(crate) goal: Option<Goal>,
    /// Whether the tenant is not to be served yet, for its home is not ready.
    pub(crate) is_unfinished: bool,
}

impl SqlStore {
    /// Creates a tenant in a home that is being made, and notes that it is the tenant's.
    ///
    /// # Errors
    /// As [`create`](Self::create); and conflict where another process has taken the home back.
    pub(crate) async fn create_in_home(
        &self,
        new: NewTenant,
        place: HomePlace,
    ) -> Result<TenantDetails, CatalogueError> {
        self.check_is_writable()?;
        let checked = CheckedTenant::check(new, &self.inner.options.reserved)?;
        self.change(move |change| {
            Box::pin(async move {
                let created = change.create(&checked).await?;
                let mut give = sql("UPDATE tenancy_homes SET tenant_id = ?").bind(created.record.id.as_str());
                push_place(&mut give, &place);
                give.push(" AND stage = ").push_bind(HomeStage::Making.as_str());
                change.only_if(give).await?;
                Ok(created)
            })
        })
        .await
    }

    /// A home is ready: its tenant gets the status that was asked for.
    pub(crate) async fn open_home(
        &self,
        tenant: &TenantId,
        place: HomePlace,
        status: TenantStatus,
    ) -> Result<TenantDetails, CatalogueError> {
        let tenant = tenant.clone();
        self.change(move |change| {
            Box::pin(async move {
                let made = moved(&place, HomeStage::Making, HomeStage::Made, change.now_ms);
                change.only_if(made).await?;
                change.keep_without_number();
                let kind = match status {
                    TenantStatus::Suspended => "suspend",
                    _ => "resume",
                };
                if status != TenantStatus::Pending {
                    change.set_living_status(&tenant, status, kind).await?;
                }
                change.details(&tenant).await
            })
        })
        .await
    }

    /// Creates a tenant in a pending home, if there is one.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub(crate) async fn create_in_pending(
        &self,
        mut new: NewTenant,
        wanted: Wanted,
    ) -> Result<Option<(TenantDetails, HomePlace)>, CatalogueError> {
        self.check_is_writable()?;
        CheckedTenant::check(new.clone(), &self.inner.options.reserved)?;
        let reserved = self.inner.options.reserved.clone();
        self.change(move |change| {
            Box::pin(async move {
                let Some(home) = change.pending_home(&wanted).await? else {
                    return Ok(None);
                };
                let asked = new.placement.take().unwrap_or_default();
                new.placement = Some(placed(asked, &home.place));
                if wanted.is_unfinished {
                    new.status = TenantStatus::Pending;
                }
                let created = change.create(&CheckedTenant::check(new, &reserved)?).await?;
                change.give_pending(&home, &created.record.id, &wanted);
                change.note(&created.record, wanted.goal.as_ref());
                Ok(Some((created, home.place)))
            })
        })
        .await
    }

    /// Leads a tenant from one home to another that is ready. The old one is nobody's, and to be dropped.
    pub(crate) async fn switch_home(
        &self,
        tenant: &TenantId,
        old: HomePlace,
        new: HomePlace,
        goal: Option<Goal>,
    ) -> Result<TenantDetails, CatalogueError> {
        let tenant = tenant.clone();
        self.change(move |change| {
            Box::pin(async move {
                let mut leave = sql("UPDATE tenancy_homes SET stage = 'dropping', tenant_id = '', at_ms = ?")
                    .bind(change.now_ms);
                push_place(&mut leave, &old);
                leave
                    .push(" AND stage = 'made' AND tenant_id = ")
                    .push_bind(tenant.as_str());
                change.only_if(leave).await?;
                let mut enter = sql("UPDATE tenancy_homes SET stage = 'made', tenant_id = ?, at_ms = ?")
                    .bind(tenant.as_str())
                    .bind(change.now_ms);
                push_place(&mut enter, &new);
                enter.push(" AND stage = 'making'");
                change.only_if(enter).await?;
                let before = change.details(&tenant).await?.record.placement;
                let before = before.map(|placement| *placement).unwrap_or_default();
                change.lead_to(&tenant, placed(before, &new)).await?;
                let details = change.details(&tenant).await?;
                change.note(&details.record, goal.as_ref());
                Ok(details)
            })
        })
        .await
    }

    /// Deletes a tenant softly, and begins to drop its home.
    pub(crate) async fn delete_with_home(
        &self,
        tenant: &TenantId,
        place: HomePlace,
    ) -> Result<TenantDetails, CatalogueError> {
        let tenant = tenant.clone();
        self.change(move |change| {
            Box::pin(async move {
                let mut drop =
                    sql("UPDATE tenancy_homes SET stage = 'dropping', at_ms = ?").bind(change.now_ms);
                push_place(&mut drop, &place);
                drop.push(" AND tenant_id = ").push_bind(tenant.as_str());
                change.only_if(drop).await?;
                change.keep_without_number();
                change.delete(&tenant).await?;
                change.details(&tenant).await
            })
        })
        .await
    }

    /// A home is dropped: so is what was known of it, and its tenant's record.
    pub(crate) async fn end_home_with_tenant(
        &self,
        place: HomePlace,
        tenant: Option<TenantId>,
    ) -> Result<(), CatalogueError> {
        self.change(move |change| {
            Box::pin(async move {
                let mut end = sql("DELETE FROM tenancy_homes");
                push_place(&mut end, &place);
                end.push(" AND stage = 'dropping'");
                change.execute(end).await?;
                change.keep_without_number();
                let Some(tenant) = tenant else { return Ok(()) };
                let note = sql("DELETE FROM tenancy_migrations WHERE tenant_id = ?").bind(tenant.as_str());
                change.execute(note).await?;
                match change.purge(&tenant, true).await {
                    // Somebody else did.
                    Err(error) if error.is_not_found() => Ok(()),
                    purged => purged,
                }
            })
        })
        .await
    }
}

impl Change {
    pub(super) async fn lead_to(
        &mut self,
        tenant: &TenantId,
        placement: Placement,
    ) -> Result<(), CatalogueError> {
        let patch = TenantPatch {
            placement: Some(Some(placement)),
            ..TenantPatch::default()
        };
        self.update(tenant, patch).await
    }

    /// Goes on only if the statement changes a row.
    pub(super) async fn only_if(&mut self, statement: Statement) -> Result<(), CatalogueError> {
        match self.execute_counted(statement).await? {
            0 => Err(CatalogueError::conflict(
                "the tenant's home is in other hands",
                "another process took it back, or is at it; what it was about is tried again later",
            )),
            _ => Ok(()),
        }
    }

    /// The state of the schema, if there are migrations.
    pub(super) fn note(&mut self, record: &TenantRecord, goal: Option<&Goal>) {
        if let Some(goal) = goal {
            self.defer(note_of(self.dialect(), record, goal, self.now_ms));
        }
    }

    /// Nobody else moves it until this change ends: its row is locked.
    async fn pending_home(&mut self, wanted: &Wanted) -> Result<Option<Home>, CatalogueError> {
        let checksum = wanted.goal.as_ref().map_or("", |goal| &*goal.checksum);
        let mut one = sql(COLUMNS);
        one.push(" WHERE stage = 'pending' AND server = ")
            .push_bind(&*wanted.server);
        one.push(" AND isolation = ").push_bind(&*wanted.isolation);
        one.push(" AND checksum = ").push_bind(checksum);
        one.push(" ORDER BY at_ms LIMIT 1");
        one.push(lock_clause(self.dialect()));
        let found = self.find(one).await?;
        let home = found.as_ref().map(read_home).transpose();
        home.map_err(CatalogueError::from_sqlx)
    }

    fn give_pending(&mut self, home: &Home, tenant: &TenantId, wanted: &Wanted) {
        let stage = if wanted.is_unfinished {
            HomeStage::Making
        } else {
            HomeStage::Made
        };
        let mut give = sql("UPDATE tenancy_homes SET stage = ?, tenant_id = ?, at_ms = ?")
            .bind(stage.as_str())
            .bind(tenant.as_str())
            .bind(self.now_ms);
        push_place(&mut give, &home.place);
        give.push(" AND stage = 'pending'");
        self.defer(give);
    }
}

/// The server stays as it was named, or not named.
pub(super) fn placed(mut asked: Placement, place: &HomePlace) -> Placement {
    asked.database = place.name.clone();
    asked.isolation = place.isolation.clone();
    asked
}
