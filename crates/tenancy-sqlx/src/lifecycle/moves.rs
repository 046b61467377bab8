//! A tenant goes to another home, with all that it has.

use std::{fmt, path::PathBuf, time::Duration};

use sqlx::{ConnectOptions as _, Connection as _};
use tenancy_core::{TenantId, TenantRecord, TenantStatus};

use super::{
    Inner, LifecycleAction, LifecycleError,
    place::{Spot, of_nobody},
};
use crate::{
    TenantDetails,
    engine::{Patience, TenantEngine},
    pool::target::Session,
    store::journal::{Home, HomePlace, HomeStage, Leaving},
    transfer::{Export, Import, TransferProgress, remove_export},
};

/// Twice as long as it takes until other processes ask what changed, unless they were told otherwise.
const LET_END: Duration = Duration::from_secs(1);

/// Where a tenant is to [move](super::Lifecycle::move_home), and how.
///
/// ```no_run
/// # #[cfg(feature = "postgres")]
/// # async fn example(
/// #     lifecycle: tenancy_sqlx::lifecycle::Lifecycle<sqlx::Postgres>,
/// #     acme: tenancy_core::TenantId,
/// # ) -> Result<(), tenancy_sqlx::lifecycle::LifecycleError> {
/// use tenancy_sqlx::lifecycle::MoveTo;
///
/// let to = MoveTo::server("two").observe(|progress| eprintln!("{}: {} rows", progress.table, progress.rows));
/// let moved = lifecycle.move_home(&acme, to).await?;
/// println!("{} rows of {} tables", moved.rows, moved.tables);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is moved before `Lifecycle::move_home`"]
pub struct MoveTo {
    server: Box<str>,
    name: Option<Box<str>>,
    drops_left: bool,
    let_end: Duration,
    observe: Box<dyn FnMut(TransferProgress<'_>) + Send>,
}

impl MoveTo {
    /// To a server of this name, which may be the one that it is on, into a new home kept apart in the same way.
    pub fn server(name: &str) -> Self {
        Self {
            server: name.into(),
            name: None,
            drops_left: false,
            let_end: LET_END,
            observe: Box::new(|_| {}),
        }
    }

    /// The name of the new database, schema or file. Unless set, one is made of the slug and a random number.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Drops the home that is left at once, rather than when it was
    /// [left long enough ago](super::LifecycleBuilder::keep_left_homes). PostgreSQL waits for connections of other processes,
    /// which they close when they have been idle for a minute. A home that was not made here is never dropped.
    pub fn drop_left(mut self) -> Self {
        self.drops_left = true;
        self
    }

    /// How long requests that are under way get to end, between the maintenance and the fence. A second unless set.
    ///
    /// Another process asks the catalogue every half second, unless its
    /// [`poll_interval`](tenancy::resolve::ResolveSettings::poll_interval) is another, and hears of the maintenance then: give
    /// more time than that. Whoever has not heard of it when the fence comes gets errors of the database, and writes nothing.
    pub fn let_end(mut self, time: Duration) -> Self {
        self.let_end = time;
        self
    }

    /// Is called for each MiB of a table and when it is done, first when it is read and then when it is written. Must not
    /// block.
    pub fn observe(mut self, observe: impl FnMut(TransferProgress<'_>) + Send + 'static) -> Self {
        self.observe = Box::new(observe);
        self
    }
}

impl fmt::Debug for MoveTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MoveTo")
            .field("server", &self.server)
            .field("name", &self.name)
            .field("drops_left", &self.drops_left)
            .field("let_end", &self.let_end)
            .finish_non_exhaustive()
    }
}

/// What was moved.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MoveReport {
    /// The tenant, where it is now.
    pub tenant: TenantDetails,
    /// Tables, those without rows too.
    pub tables: usize,
    /// Rows of all tables.
    pub rows: u64,
}

/// A home that is left, and the one that its tenant goes to.
struct Ways<'a, DB: TenantEngine> {
    record: &'a TenantRecord,
    old: Spot<'a, DB>,
    was_made_here: bool,
    new: Spot<'a, DB>,
}

impl<DB: TenantEngine> Inner<DB> {
    pub(super) async fn move_home(
        &self,
        tenant: &TenantId,
        mut to: MoveTo,
    ) -> Result<MoveReport, LifecycleError> {
        let record = self.details(tenant).await?.record;
        let ways = self.ways(&record, &to.server, to.name.as_deref()).await?;
        self.before(LifecycleAction::Move, record.slug(), Some(&record))
            .await?;
        let begun = self
            .journal
            .begin_home(&ways.new.place, record.slug(), None, HomeStage::Making);
        if !begun.await? {
            return Err(LifecycleError::occupied());
        }
        let moved = self.at_work_on(&ways.new.place, self.furnish_and_move(&ways, &mut to));
        match moved.await {
            Ok(moved) => {
                self.end_use(&moved.tenant.record);
                if to.drops_left && ways.was_made_here {
                    self.drop_left_or_log(&ways.old.place).await;
                }
                self.after(LifecycleAction::Move, record.slug(), Some(&moved.tenant.record))
                    .await;
                Ok(moved)
            }
            Err(error) => {
                // Nothing of it is dropped if the tenant arrived there after all.
                self.take_back_or_log(&ways.new.place).await;
                Err(error)
            }
        }
    }

    /// All that can be said before anything is done.
    async fn ways<'a>(
        &'a self,
        record: &'a TenantRecord,
        server: &str,
        name: Option<&str>,
    ) -> Result<Ways<'a, DB>, LifecycleError> {
        let old = self.spot_of(record)?;
        if !old.is_own() {
            return Err(LifecycleError::not_movable(
                "it shares its tables with others: export its rows, import them for it into another catalogue or server, \
                 and lead it there",
            ));
        }
        self.store.check_is_writable()?;
        if record.status == TenantStatus::Deleted {
            return Err(LifecycleError::not_movable("it is deleted: restore it first"));
        }
        self.check_is_alone(record, &old).await?;
        let was_made_here = self.may_leave(record, &old).await?;
        let mut moved = record.clone();
        moved.placement.get_or_insert_default().server = server.into();
        let new = match name {
            Some(name) => self.spot_named(&moved, name.into())?,
            None => self.new_spot(&moved, record.slug())?,
        };
        self.check_is_alone(record, &new).await?;
        let is_there = DB::home_is_there(&new.plot()).await;
        if is_there.map_err(LifecycleError::server)? {
            return Err(LifecycleError::occupied());
        }
        let hindrance = DB::hindrance(&old.plot()).await;
        if let Some(hindrance) = hindrance.map_err(LifecycleError::server)? {
            return Err(LifecycleError::not_movable(hindrance));
        }
        Ok(Ways {
            record,
            old,
            was_made_here,
            new,
        })
    }

    /// Whether it was made here, if nobody is at it.
    async fn may_leave(&self, record: &TenantRecord, old: &Spot<'_, DB>) -> Result<bool, LifecycleError> {
        match self.home_of(record, old).await? {
            Some(home) if home.tenant.as_ref() != Some(&record.id) => {
                Err(LifecycleError::misplaced("another tenant lives there"))
            }
            Some(home) if home.stage == HomeStage::Made => Ok(true),
            Some(_) => Err(LifecycleError::busy()),
            None => {
                let is_there = DB::home_is_there(&old.plot()).await;
                if is_there.map_err(LifecycleError::server)? {
                    Ok(false)
                } else {
                    Err(LifecycleError::misplaced("it has no home: make it there"))
                }
            }
        }
    }

    async fn furnish_and_move(
        &self,
        ways: &Ways<'_, DB>,
        to: &mut MoveTo,
    ) -> Result<MoveReport, LifecycleError> {
        // Nobody migrates what is about to be copied.
        let locked = self.lock(&ways.old).await?;
        let made = DB::make_home(&ways.new.plot()).await;
        if !made.map_err(LifecycleError::server)? {
            // Somebody else was quicker, and it is theirs.
            self.journal.give_up_home(&ways.new.place).await?;
            return Err(LifecycleError::occupied());
        }
        self.let_in(&ways.new).await?;
        self.bring(&ways.new, ways.record).await?;
        check_lets_in(&ways.new).await?;
        let (old, from) = (&ways.old.place, ways.record.placement.as_deref());
        let left = self
            .store
            .begin_to_leave(&ways.record.id, old.clone(), from.cloned(), ways.was_made_here);
        let (_, leaving) = left.await?;
        let moved = self.at_work_on(old, self.leave(ways, &leaving, to)).await;
        if let Err(error) = &moved {
            tracing::warn!(?error, "a tenant stays where it is, for its move failed");
            if let Err(left) = self.turn_back(&leaving).await {
                tracing::error!(error = ?left, "a tenant that stays is served again later, by `recover`");
            }
        }
        close::<DB>(locked).await;
        moved
    }

    /// From the maintenance to its end.
    async fn leave(
        &self,
        ways: &Ways<'_, DB>,
        leaving: &Leaving,
        to: &mut MoveTo,
    ) -> Result<MoveReport, LifecycleError> {
        let record = ways.record;
        tokio::time::sleep(to.let_end).await;
        self.before(LifecycleAction::Fence, record.slug(), Some(record))
            .await?;
        // It may have taken so long that somebody took the home back, and nobody lifts the fence of one that is served.
        if !self.is_under_way(leaving).await? {
            return Err(LifecycleError::busy());
        }
        DB::fence(&ways.old.plot(), Patience::usual())
            .await
            .map_err(LifecycleError::fence)?;
        self.after(LifecycleAction::Fence, record.slug(), Some(record))
            .await;
        let (tables, rows) = self.copy(ways, leaving, to).await?;
        let goal = self.fleet.as_ref().map(|fleet| fleet.goal());
        let from = record.placement.as_deref().cloned();
        let arrived = self
            .store
            .arrive(leaving.clone(), ways.new.place.clone(), from, goal);
        Ok(MoveReport {
            tenant: arrived.await?,
            tables,
            rows,
        })
    }

    async fn copy(
        &self,
        ways: &Ways<'_, DB>,
        leaving: &Leaving,
        to: &mut MoveTo,
    ) -> Result<(usize, u64), LifecycleError> {
        let record = ways.record;
        let directory = self.directory_of(leaving);
        self.before(LifecycleAction::Export, record.slug(), Some(record))
            .await?;
        let export = Export::of(&self.homes, record)
            .by_the_owner()
            .observe(&mut to.observe);
        let exported = export.to(&directory).await?;
        self.after(LifecycleAction::Export, record.slug(), Some(record))
            .await;
        let imported = self.take_in(ways, leaving, to).await;
        self.clear_directory(leaving).await;
        imported?;
        Ok((exported.tables, exported.rows))
    }

    /// Counts the rows of each table when they are there, and takes nothing in unless they are as many as were read.
    async fn take_in(
        &self,
        ways: &Ways<'_, DB>,
        leaving: &Leaving,
        to: &mut MoveTo,
    ) -> Result<(), LifecycleError> {
        let mut arrived = ways.record.clone();
        arrived.placement = Some(Box::new(ways.new.place.placement()));
        self.before(LifecycleAction::Import, arrived.slug(), Some(&arrived))
            .await?;
        // A migration or a template may have made rows, which were in the old home too, or were deleted there.
        let import = Import::into(&self.homes, &arrived)
            .replace()
            .longest_row(u64::MAX)
            .observe(&mut to.observe);
        import.from(self.directory_of(leaving)).await?;
        self.after(LifecycleAction::Import, arrived.slug(), Some(&arrived))
            .await;
        Ok(())
    }

    async fn is_under_way(&self, leaving: &Leaving) -> Result<bool, LifecycleError> {
        let home = self.journal.home(&leaving.place).await?;
        Ok(home.is_some_and(|home| {
            home.stage == HomeStage::Leaving && Leaving::of(&home).as_ref() == Some(leaving)
        }))
    }

    /// The tenant stays, unless it has arrived.
    async fn turn_back(&self, leaving: &Leaving) -> Result<(), LifecycleError> {
        self.clear_directory(leaving).await;
        if self.journal.turn_back(leaving).await? {
            return self.end_return(leaving).await;
        }
        // Somebody else took the home back before the fence came.
        let home = self.journal.home(&leaving.place).await?;
        let stays = home.is_some_and(|home| {
            home.stage == HomeStage::Made && home.tenant.as_ref() == Some(&leaving.tenant)
        });
        if stays {
            self.lift_fence(&leaving.place).await?;
        }
        Ok(())
    }

    /// What a process left that was about to lead a tenant to another home.
    pub(super) async fn return_to(&self, home: &Home) -> Result<(), LifecycleError> {
        let Some(leaving) = Leaving::of(home) else {
            return Ok(());
        };
        self.clear_directory(&leaving).await;
        // First: from here on, nobody leads the tenant away.
        if home.stage == HomeStage::Leaving && !self.journal.turn_back(&leaving).await? {
            return Ok(());
        }
        self.end_return(&leaving).await
    }

    async fn end_return(&self, leaving: &Leaving) -> Result<(), LifecycleError> {
        self.lift_fence(&leaving.place).await?;
        Ok(self.store.end_return(leaving.clone()).await?)
    }

    async fn lift_fence(&self, place: &HomePlace) -> Result<(), LifecycleError> {
        let spot = self.spot_at(place, None)?;
        let lifted = DB::lift_fence(&spot.plot(), Patience::usual()).await;
        lifted.map_err(LifecycleError::fence)
    }

    /// Whether it was dropped, and not by somebody else.
    pub(super) async fn drop_left(&self, place: &HomePlace) -> Result<bool, LifecycleError> {
        if self.is_somebodys(place).await? {
            return Err(LifecycleError::not_ours(
                "a tenant was led back there by its placement",
            ));
        }
        let begun = self
            .journal
            .move_home(place, HomeStage::Left, HomeStage::Dropping);
        if !begun.await? {
            return Ok(false);
        }
        self.at_work_on(place, self.drop_home(place)).await?;
        Ok(true)
    }

    /// Whether a tenant is led there, whoever changed its placement.
    async fn is_somebodys(&self, place: &HomePlace) -> Result<bool, LifecycleError> {
        let nobody = of_nobody(place)?;
        if self.is_named_by_others(None, &self.spot_at(place, None)?).await? {
            return Ok(true);
        }
        let (strategy, _) = self.homes.place(&nobody)?;
        let Some(derived) = strategy.tenant_of(&place.name) else {
            return Ok(false);
        };
        let found = self.store.get(&derived).await?;
        Ok(found.is_some_and(|details| {
            let spot = self.spot_of(&details.record);
            spot.is_ok_and(|spot| spot.place == *place)
        }))
    }

    async fn drop_left_or_log(&self, place: &HomePlace) {
        if let Err(left) = self.drop_left(place).await {
            tracing::error!(error = ?left, "a home that was left is dropped later, by `recover`");
        }
    }

    /// The connection has the lock of those who migrate the home.
    async fn lock(&self, spot: &Spot<'_, DB>) -> Result<DB::Connection, LifecycleError> {
        let options = DB::only_existing(DB::at(spot.owner, spot.target.database_name()));
        let mut connection = options.connect().await.map_err(LifecycleError::server)?;
        let path: Vec<_> = match spot.target.session() {
            Session::SearchPath { schema, extra } => {
                std::iter::once(schema).chain(&**extra).cloned().collect()
            }
            _ => Vec::new(),
        };
        let locked = async {
            DB::point(&mut connection, &path).await?;
            DB::try_lock(&mut connection, &path).await
        };
        if locked.await.map_err(LifecycleError::server)? {
            return Ok(connection);
        }
        Err(LifecycleError::busy())
    }

    /// Where the data of one move lies.
    fn directory_of(&self, leaving: &Leaving) -> PathBuf {
        self.moves_through.join(format!("tenancy-move-{}", leaving.stamp))
    }

    /// On the machine that it was on.
    async fn clear_directory(&self, leaving: &Leaving) {
        let directory = self.directory_of(leaving);
        match remove_export(&directory).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let directory = directory.display();
                tracing::error!(%error, %directory, "the data of a tenant that moved was not removed from here");
            }
            _ => {}
        }
    }
}

/// Before anything of the old home is shut: the application's role comes into the new one.
async fn check_lets_in<DB: TenantEngine>(new: &Spot<'_, DB>) -> Result<(), LifecycleError> {
    let options = DB::only_existing(DB::at(new.app, new.target.database_name()));
    let connection = options.connect().await.map_err(LifecycleError::server)?;
    close::<DB>(connection).await;
    Ok(())
}

async fn close<DB: TenantEngine>(connection: DB::Connection) {
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "a connection to a home that was moved did not close well");
    }
}
