use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, Notify, watch},
    task::JoinHandle,
};

use super::{
    Inner, Lifecycle, LifecycleAction, LifecycleError,
    place::{Spot, default_record, of_nobody},
    run_to_its_end,
    seed::Seeds,
};
use crate::{
    NewTenant, TenantDetails,
    engine::TenantEngine,
    store::journal::{Goal, Home, HomePlace, HomeStage, Wanted},
};

/// How often the background task looks whether other processes have taken homes.
const LOOK: Duration = Duration::from_secs(5);
/// How long it waits after a failure: doubled with each one that follows.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Homes that are made, migrated and seeded before anybody asks, so that a sign-up takes a few statements on the catalogue and
/// none on a server of tenants. Cloning copies a pointer.
///
/// * They are made where a tenant would live of whom nothing is known: on the first server, kept apart in the default way. A
///   tenant that is to live elsewhere is made there by [`claim`](Self::claim), which takes as long as
///   [`create`](Lifecycle::create).
/// * The number is one for all processes, which never count at the same time. A home is given once.
/// * A home in an older state of the schema is migrated before it is given; one of a newer program is left to that.
/// * A [`seed`](super::LifecycleBuilder::seed) asks who the tenant is, and is run when a home is claimed. Files of seeds are run
///   before.
/// * What a killed process left half-made is dropped by [`recover`](Lifecycle::recover).
pub struct PendingHomes<DB: TenantEngine>(Arc<Handle<DB>>);

/// Dropped with the last clone: the task hears that nobody is there who could tell it to go on.
struct Handle<DB: TenantEngine> {
    keeper: Arc<Keeper<DB>>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Keeper<DB: TenantEngine> {
    lifecycle: Lifecycle<DB>,
    wanted: u64,
    one_is_gone: Notify,
}

/// How many homes there are for whoever comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingStatus {
    /// How many there shall be.
    pub wanted: u64,
    /// How many can be claimed.
    pub ready: u64,
    /// How many are in another state of the schema than this program's.
    pub outdated: u64,
    /// How many are being made or migrated, or were by a process that has ended.
    pub unfinished: u64,
}

/// What a refill did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingRefill {
    /// Homes that were made.
    pub made: u64,
    /// Homes that were migrated.
    pub migrated: u64,
}

impl<DB: TenantEngine> Lifecycle<DB> {
    /// Homes for those who come. Nothing fills them but [`PendingHomes::refill_once`].
    pub fn pending(&self, wanted: u64) -> PendingHomes<DB> {
        PendingHomes::new(self, wanted)
    }

    /// The same, with a task that makes a home for each one that is taken, until [`stop`](PendingHomes::stop) or until the last
    /// clone is dropped. After a failure it waits for a second, and up to a minute after more of them.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn keep_pending(&self, wanted: u64) -> PendingHomes<DB> {
        let homes = PendingHomes::new(self, wanted);
        let task = tokio::spawn(keep(Arc::clone(&homes.0.keeper), homes.0.stop.subscribe()));
        if let Ok(mut running) = homes.0.task.try_lock() {
            *running = Some(task);
        }
        homes
    }
}

impl<DB: TenantEngine> PendingHomes<DB> {
    fn new(lifecycle: &Lifecycle<DB>, wanted: u64) -> Self {
        Self(Arc::new(Handle {
            keeper: Arc::new(Keeper {
                lifecycle: lifecycle.clone(),
                wanted,
                one_is_gone: Notify::new(),
            }),
            stop: watch::Sender::new(false),
            task: Mutex::default(),
        }))
    }

    /// Makes a tenant in a home that is ready: one transaction of the catalogue. Where none is, or the tenant is to live
    /// elsewhere, it is [created](Lifecycle::create).
    ///
    /// # Errors
    /// As [`create`](Lifecycle::create).
    pub async fn claim(&self, new: NewTenant) -> Result<TenantDetails, LifecycleError> {
        let inner = Arc::clone(&self.0.keeper.lifecycle.0);
        let claimed = run_to_its_end(Box::pin(async move { inner.claim(new).await })).await;
        self.0.keeper.one_is_gone.notify_one();
        claimed
    }

    /// How many there are now.
    ///
    /// # Errors
    /// When the catalogue fails.
    pub async fn status(&self) -> Result<PendingStatus, LifecycleError> {
        let keeper = &self.0.keeper;
        keeper.lifecycle.0.pending_status(keeper.wanted).await
    }

    /// Migrates those that are outdated, and makes as many as are missing.
    ///
    /// # Errors
    /// When a home can not be migrated or made; it is dropped then, and what was done before stays.
    pub async fn refill_once(&self) -> Result<PendingRefill, LifecycleError> {
        let keeper = Arc::clone(&self.0.keeper);
        run_to_its_end(Box::pin(async move { keeper.refill(|| true).await })).await
    }

    /// Drops all that nobody has taken, and returns how many that were. Stop what refills them before.
    ///
    /// # Errors
    /// When the catalogue or the server fails.
    pub async fn drain(&self) -> Result<u64, LifecycleError> {
        let inner = Arc::clone(&self.0.keeper.lifecycle.0);
        run_to_its_end(Box::pin(async move { inner.drain().await })).await
    }

    /// Ends the background task, of clones too, when the home that it makes is made.
    pub async fn stop(&self) {
        self.0.stop.send_replace(true);
        let task = self.0.task.lock().await.take();
        if let Some(Err(error)) = match task {
            Some(task) => Some(task.await),
            None => None,
        } {
            tracing::debug!(%error, "the task that makes homes ahead did not end by itself");
        }
    }
}

async fn keep<DB: TenantEngine>(keeper: Arc<Keeper<DB>>, mut stop: watch::Receiver<bool>) {
    let mut pause = FIRST_PAUSE;
    loop {
        // Changed is also what nobody can change any more.
        let goes_on = || !stop.has_changed().unwrap_or(true);
        let refilled = keeper.refill(goes_on).await;
        let nap = match refilled {
            Ok(_) => {
                pause = FIRST_PAUSE;
                LOOK
            }
            Err(error) => {
                tracing::warn!(
                    ?error,
                    ?pause,
                    "homes could not be made ahead; sign-ups take longer meanwhile"
                );
                let nap = pause;
                pause = (pause * 2).min(LONGEST_PAUSE);
                nap
            }
        };
        let is_well = nap == LOOK;
        // Several processes shall not look at the same time for ever.
        let nap = nap.mul_f64(0.9 + 0.2 * fastrand::f64());
        tokio::select! {
            _ = stop.changed() => return,
            () = keeper.one_is_gone.notified(), if is_well => {}
            () = tokio::time::sleep(nap) => {}
        }
    }
}

impl<DB: TenantEngine> Keeper<DB> {
    async fn refill(&self, goes_on: impl Fn() -> bool + Send) -> Result<PendingRefill, LifecycleError> {
        let inner = &self.lifecycle.0;
        let mut refill = PendingRefill::default();
        let Some(first) = inner.pending_spot()? else {
            return Ok(refill);
        };
        for home in inner.outdated(&first.place).await? {
            if !goes_on() {
                return Ok(refill);
            }
            refill.migrated += u64::from(inner.renew(&home).await?);
        }
        while goes_on() && inner.make_pending(self.wanted).await? {
            refill.made += 1;
        }
        Ok(refill)
    }
}

impl<DB: TenantEngine> Inner<DB> {
    /// Where the next one would be made; `None` where there is nothing to be made.
    fn pending_spot(&self) -> Result<Option<Spot<'_, DB>>, LifecycleError> {
        let spot = self.new_spot(&default_record()?, "pending")?;
        Ok(spot.is_own().then_some(spot))
    }

    fn goal(&self) -> Option<Goal> {
        self.fleet.as_ref().map(|fleet| fleet.goal())
    }

    async fn claim(&self, new: NewTenant) -> Result<TenantDetails, LifecycleError> {
        let own = self.spot_for(&new)?;
        let wanted = Wanted {
            server: own.place.server.clone(),
            isolation: own.place.isolation.clone(),
            goal: self.goal(),
            is_unfinished: self.asks_who_it_is(),
        };
        if !own.is_own() {
            return self.create(new).await;
        }
        let (slug, status) = (new.slug.clone(), new.status);
        self.before(LifecycleAction::Claim, &slug, None).await?;
        let Some((mut claimed, place)) = self.store.create_in_pending(new.clone(), wanted).await? else {
            return self.create(new).await;
        };
        if self.asks_who_it_is() {
            let id = &claimed.record.id;
            let finished = async {
                let spot = self.spot_at(&place, Some(id))?;
                self.fill(&spot, &claimed.record, Seeds::OfTenant).await?;
                Ok(self.store.open_home(id, place.clone(), status).await?)
            };
            match self.at_work_on(&place, finished).await {
                Ok(finished) => claimed = finished,
                Err(error) => {
                    self.take_back_or_log(&place).await;
                    return Err(error);
                }
            }
        }
        self.after(LifecycleAction::Claim, &slug, Some(&claimed.record))
            .await;
        Ok(claimed)
    }

    async fn pending_status(&self, wanted: u64) -> Result<PendingStatus, LifecycleError> {
        let mut status = PendingStatus {
            wanted,
            ..PendingStatus::default()
        };
        let Some(spot) = self.pending_spot()? else {
            return Ok(status);
        };
        let goal = self.goal();
        for home in self.pending_homes(&spot.place).await? {
            *match home.stage {
                HomeStage::Pending if is_at(&home, goal.as_ref()) => &mut status.ready,
                HomeStage::Pending => &mut status.outdated,
                _ => &mut status.unfinished,
            } += 1;
        }
        Ok(status)
    }

    async fn pending_homes(&self, like: &HomePlace) -> Result<Vec<Home>, LifecycleError> {
        Ok(self.journal.pending_homes(&like.server, &like.isolation).await?)
    }

    /// Those that this program can bring to its state of the schema: not those of a newer one.
    async fn outdated(&self, like: &HomePlace) -> Result<Vec<Home>, LifecycleError> {
        let Some(goal) = self.goal() else {
            return Ok(Vec::new());
        };
        let mut homes = self.pending_homes(like).await?;
        homes.retain(|home| {
            home.stage == HomeStage::Pending && !is_at(home, Some(&goal)) && home.version <= goal.version
        });
        Ok(homes)
    }

    /// Whether the home was still there, and is at the newest version now.
    async fn renew(&self, home: &Home) -> Result<bool, LifecycleError> {
        let taken = self
            .journal
            .move_home(&home.place, HomeStage::Pending, HomeStage::Filling);
        if !taken.await? {
            return Ok(false);
        }
        let renewed = async { self.migrate_for_nobody(&home.place).await };
        self.end_filling(&home.place, renewed).await
    }

    /// Makes one more, unless there are as many as are wanted.
    async fn make_pending(&self, wanted: u64) -> Result<bool, LifecycleError> {
        let Some(spot) = self.pending_spot()? else {
            return Ok(false);
        };
        if !self.journal.begin_pending(&spot.place, wanted).await? {
            return Ok(false);
        }
        let furnished = async {
            self.build(&spot).await?;
            self.migrate_for_nobody(&spot.place).await?;
            self.fill(&spot, &of_nobody(&spot.place)?, Seeds::OfAll).await
        };
        self.end_filling(&spot.place, furnished).await
    }

    async fn migrate_for_nobody(&self, place: &HomePlace) -> Result<(), LifecycleError> {
        let Some(fleet) = &self.fleet else { return Ok(()) };
        self.before(LifecycleAction::Migrate, "", None).await?;
        fleet.bring_home(&of_nobody(place)?).await?;
        self.after(LifecycleAction::Migrate, "", None).await;
        Ok(())
    }

    async fn end_filling(
        &self,
        place: &HomePlace,
        work: impl Future<Output = Result<(), LifecycleError>> + Send,
    ) -> Result<bool, LifecycleError> {
        let ended = async {
            work.await?;
            Ok(self.journal.ready_home(place, self.goal().as_ref()).await?)
        };
        let ended = self.at_work_on(place, ended).await;
        if ended.is_err() {
            self.take_back_or_log(place).await;
        }
        ended
    }

    async fn drain(&self) -> Result<u64, LifecycleError> {
        let mut dropped = 0;
        let Some(spot) = self.pending_spot()? else {
            return Ok(dropped);
        };
        for home in self.pending_homes(&spot.place).await? {
            let taken = self
                .journal
                .move_home(&home.place, HomeStage::Pending, HomeStage::Dropping);
            if taken.await? {
                self.at_work_on(&home.place, self.drop_home(&home.place)).await?;
                dropped += 1;
            }
        }
        Ok(dropped)
    }
}

fn is_at(home: &Home, goal: Option<&Goal>) -> bool {
    home.checksum == goal.map(|goal| goal.checksum.clone()).unwrap_or_default()
}

impl<DB: TenantEngine> Clone for PendingHomes<DB> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<DB: TenantEngine> fmt::Debug for PendingHomes<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingHomes")
            .field("wanted", &self.0.keeper.wanted)
            .field("lifecycle", &self.0.keeper.lifecycle)
            .finish_non_exhaustive()
    }
}
