use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tenancy_core::{BoxError, TenantId, TenantRecord, TenantStatus};
use tokio::{sync::OnceCell, task::JoinSet};

use super::{
    FailedTenant, FleetSettings, MigrationError, MigrationEvent, MigrationPlace, MigrationReport, Migrations,
    RunOutcome,
    error::TenantFault,
    ledger::Direction,
    tenant::{self, Errand},
};
use crate::{
    database::{TenantDatabases, TenantHomes},
    engine::TenantEngine,
    store::{
        SqlStore,
        journal::{Begun, Claim, Claimed, Goal, MigrationJournal, NewRun, RunState},
    },
};

type Place<DB> = dyn Fn(&TenantRecord) -> Result<MigrationPlace<DB>, BoxError> + Send + Sync;
type Observe = dyn Fn(MigrationEvent<'_>) + Send + Sync;

/// How often a tenant is begun whose migration ended the process that ran it.
const MOST_ATTEMPTS: u64 = 5;

/// Migrates the databases or schemas of all tenants. See the [module](super). Cloning copies a pointer.
pub struct FleetMigrator<DB: TenantEngine>(Arc<Fleet<DB>>);

struct Fleet<DB: TenantEngine> {
    journal: MigrationJournal,
    migrations: Migrations,
    place: Box<Place<DB>>,
    observe: Box<Observe>,
    served: Option<TenantDatabases<DB>>,
    settings: FleetSettings,
}

/// What one run is for.
#[derive(Clone)]
struct Task {
    direction: Direction,
    goal: Goal,
    /// Tells a way up to a version from a way down to it.
    name: Box<str>,
    shared: Arc<SharedPlaces>,
}

/// What became of places that tenants share, in one run of this process.
type SharedPlaces = Mutex<HashMap<Box<str>, Arc<OnceCell<Result<(), String>>>>>;

impl Task {
    fn new(direction: Direction, goal: Goal) -> Self {
        let sign = match direction {
            Direction::Up => '+',
            Direction::Down => '-',
        };
        Self {
            direction,
            name: format!("{sign}{}", goal.checksum).into(),
            goal,
            shared: Arc::default(),
        }
    }
}

impl<DB: TenantEngine> FleetMigrator<DB> {
    /// Begins to set up migrations of the tenants of a catalogue, managed or adopted. `place` says where a tenant's
    /// migrations run, from its newest record; an error of it is that tenant's failure.
    pub fn builder(
        store: &SqlStore,
        migrations: Migrations,
        place: impl Fn(&TenantRecord) -> Result<MigrationPlace<DB>, BoxError> + Send + Sync + 'static,
    ) -> FleetMigratorBuilder<DB> {
        FleetMigratorBuilder {
            store: store.clone(),
            migrations,
            place: Box::new(place),
            observe: Box::new(|_| {}),
            served: None,
            settings: FleetSettings::new(),
        }
    }

    /// The same where [`TenantHomes`] say where tenants are: each is migrated as the owner of what it has, and tables that
    /// tenants share are migrated once.
    pub fn of_homes(
        store: &SqlStore,
        migrations: Migrations,
        homes: &TenantHomes<DB>,
    ) -> FleetMigratorBuilder<DB> {
        let homes = homes.clone();
        Self::builder(store, migrations, move |record| {
            Ok(MigrationPlace::of(&homes, record)?)
        })
    }

    /// Brings every tenant that is not deleted to the newest version.
    ///
    /// Joins the run of other processes with the same migrations, takes over from those that died, and returns when
    /// nobody works on it any more. Where every tenant is up to date, it is one look at the catalogue. Dropped half-way,
    /// what was begun is taken back, and the next run goes on.
    ///
    /// # Errors
    /// When the catalogue fails, or other migrations are under way. Tenants that fail are in the report.
    pub async fn migrate(&self) -> Result<MigrationReport, MigrationError> {
        let goal = self.0.migrations.goal(i64::MAX);
        self.run(Task::new(Direction::Up, goal)).await
    }

    /// Takes every tenant that is not deleted back to a version, by the `.down.sql` of what came after it; 0 is before the
    /// first. As [`migrate`](Self::migrate) otherwise.
    ///
    /// On MySQL and MariaDB, a way back that fails half-way is not taken up again: it has to be repaired by hand.
    ///
    /// # Errors
    /// As [`migrate`](Self::migrate); and when there is no such version, or it is the newest one.
    pub async fn roll_back(&self, version: i64) -> Result<MigrationReport, MigrationError> {
        self.run(self.way_back(version)?).await
    }

    /// Brings one tenant to the newest version, whether or not a run is under way, and returns how many migrations it
    /// took. Nothing is connected to where the journal says that it is up to date.
    ///
    /// # Errors
    /// When the catalogue fails, or the tenant [can not be migrated](MigrationError::is_tenants).
    pub async fn migrate_tenant(&self, record: &TenantRecord) -> Result<usize, MigrationError> {
        let goal = self.0.migrations.goal(i64::MAX);
        if self.0.journal.is_at(record, &goal).await? {
            return Ok(0);
        }
        self.run_for(record, Task::new(Direction::Up, goal)).await
    }

    /// Takes one tenant back to a version, and returns how many migrations were taken back.
    ///
    /// # Errors
    /// As [`migrate_tenant`](Self::migrate_tenant) and [`roll_back`](Self::roll_back).
    pub async fn roll_back_tenant(
        &self,
        record: &TenantRecord,
        version: i64,
    ) -> Result<usize, MigrationError> {
        let task = self.way_back(version)?;
        self.run_for(record, task).await
    }

    /// Forgets what is known of a tenant's schema, so that the next run looks at it: after it was changed by hand, or a
    /// backup was restored.
    ///
    /// # Errors
    /// When the catalogue fails.
    pub async fn look_again(&self, tenant: &TenantId) -> Result<(), MigrationError> {
        Ok(self.0.journal.forget(tenant).await?)
    }

    /// Closes the connection to the catalogue, of clones too.
    pub async fn close(&self) {
        self.0.journal.close().await;
    }

    /// The state that [`migrate`](Self::migrate) leads to.
    pub(crate) fn goal(&self) -> Goal {
        self.0.migrations.goal(i64::MAX)
    }

    /// Brings a home to the newest version that is no tenant's yet, so that nothing is noted of it.
    pub(crate) async fn bring_home(&self, of_nobody: &TenantRecord) -> Result<(), MigrationError> {
        let brought = self
            .0
            .bring(of_nobody, &Task::new(Direction::Up, self.goal()))
            .await;
        brought.map(drop).map_err(MigrationError::of_tenant)
    }

    fn way_back(&self, version: i64) -> Result<Task, MigrationError> {
        let migrations = &self.0.migrations;
        let is_known = version == 0 || migrations.knows(version);
        if !is_known || version >= migrations.newest() {
            return Err(MigrationError::no_such_version(version));
        }
        Ok(Task::new(Direction::Down, migrations.goal(version)))
    }

    async fn run_for(&self, record: &TenantRecord, task: Task) -> Result<usize, MigrationError> {
        // Should this end half-way, the next run must look.
        self.0.journal.forget(&record.id).await?;
        let run = self
            .0
            .bring(record, &task)
            .await
            .map_err(MigrationError::of_tenant)?;
        self.0.journal.note(record, &task.goal).await?;
        self.0.end_use(record, run);
        Ok(run)
    }

    async fn run(&self, task: Task) -> Result<MigrationReport, MigrationError> {
        let clock = self.0.journal.clock();
        let started = clock.monotonic();
        let settings = &self.0.settings;
        let mut joined = None;
        loop {
            let new = NewRun {
                name: &task.name,
                goal: &task.goal,
                canaries: settings.canaries,
                named_canaries: &settings.named_canaries,
                lease: settings.lease,
            };
            let (run, is_joined, up_to_date) = match self.0.journal.join_or_begin(&new).await? {
                Begun::Other => return Err(MigrationError::busy()),
                Begun::UpToDate { tenants } => {
                    let elapsed = clock.monotonic().saturating_sub(started);
                    // What the run that was joined did is what is to be told.
                    return Ok(joined.unwrap_or_else(|| nothing_to_do(&task, tenants, elapsed)));
                }
                Begun::Run {
                    run,
                    is_joined,
                    total,
                    up_to_date,
                } => {
                    (self.0.observe)(MigrationEvent::Begun {
                        tenants: total,
                        up_to_date,
                    });
                    (run, is_joined, up_to_date)
                }
            };
            self.work(&run, &task).await?;
            let report = self
                .report(&run, &task, up_to_date, clock.monotonic().saturating_sub(started))
                .await?;
            // Tenants may have come since others began the run that was joined.
            if !is_joined || !report.is_complete() {
                return Ok(report);
            }
            joined = Some(report);
        }
    }

    /// Until nothing is left, for this process and for all others.
    async fn work(&self, run: &Arc<str>, task: &Task) -> Result<(), MigrationError> {
        let mut workers = JoinSet::new();
        for _ in 0..self.0.settings.workers {
            let (fleet, run, task) = (Arc::clone(&self.0), Arc::clone(run), task.clone());
            workers.spawn(async move { fleet.work(&run, &task).await });
        }
        let mut beats = JoinSet::new();
        let (fleet, of_run) = (Arc::clone(&self.0), Arc::clone(run));
        beats.spawn(async move { fleet.beat(&of_run).await });
        while let Some(ended) = workers.join_next().await {
            // The others go with the set.
            ended.map_err(|_| MigrationError::shut_down())??;
        }
        Ok(())
    }

    async fn report(
        &self,
        run: &str,
        task: &Task,
        up_to_date: u64,
        elapsed: Duration,
    ) -> Result<MigrationReport, MigrationError> {
        let summary = self.0.journal.summary(run).await?;
        let failed: Vec<_> = summary
            .failed
            .into_iter()
            .map(|(tenant, reason)| FailedTenant { tenant, reason })
            .collect();
        let tried = summary.done + failed.len() as u64;
        Ok(MigrationReport {
            outcome: match summary.state {
                RunState::Open | RunState::Done => RunOutcome::Done,
                RunState::CanaryFailed => RunOutcome::CanaryFailed,
                RunState::TooManyFailed => RunOutcome::TooManyFailed,
                RunState::Abandoned => RunOutcome::Abandoned,
            },
            version: task.goal.version,
            up_to_date,
            migrated: summary.done,
            failed,
            not_tried: summary.total.saturating_sub(tried),
            elapsed,
        })
    }
}

fn nothing_to_do(task: &Task, tenants: u64, elapsed: Duration) -> MigrationReport {
    MigrationReport {
        outcome: RunOutcome::Done,
        version: task.goal.version,
        up_to_date: tenants,
        migrated: 0,
        failed: Vec::new(),
        not_tried: 0,
        elapsed,
    }
}

impl<DB: TenantEngine> Fleet<DB> {
    /// One worker: a tenant after the other.
    async fn work(&self, run: &str, task: &Task) -> Result<(), MigrationError> {
        loop {
            match self.journal.claim(run, self.settings.lease).await? {
                Claim::Ended => return Ok(()),
                Claim::Wait => tokio::time::sleep(self.settings.lease.min(Duration::from_millis(100))).await,
                Claim::Tenant(claimed) => self.serve(run, &claimed, task).await?,
            }
        }
    }

    async fn serve(&self, run: &str, claimed: &Claimed, task: &Task) -> Result<(), MigrationError> {
        let tenant = &claimed.tenant;
        let found = self.journal.store().get(tenant).await?;
        // One that was deleted meanwhile has nothing that waits for it.
        let Some(record) = found
            .map(|details| details.record)
            .filter(|record| record.status != TenantStatus::Deleted)
        else {
            return Ok(self.journal.drop_from(run, claimed).await?);
        };
        let brought = match claimed.attempts {
            attempts if attempts > MOST_ATTEMPTS => Err(TenantFault::new(format!(
                "{MOST_ATTEMPTS} processes that migrated it ended before it was done"
            ))),
            _ => self.bring(&record, task).await,
        };
        match brought {
            Ok(migrations) => {
                self.journal.finish(run, claimed, &record, &task.goal).await?;
                self.end_use(&record, migrations);
                (self.observe)(MigrationEvent::Migrated { tenant, migrations });
            }
            Err(fault) => {
                let reason = fault.reason();
                self.journal
                    .fail(run, claimed, &reason, self.settings.stop)
                    .await?;
                (self.observe)(MigrationEvent::Failed {
                    tenant,
                    reason: &reason,
                });
            }
        }
        Ok(())
    }

    /// Connections remember statements and types as they were before.
    fn end_use(&self, record: &TenantRecord, migrations: usize) {
        if let Some(served) = self.served.as_ref().filter(|_| migrations > 0) {
            served.forget_record(record);
        }
    }

    async fn bring(&self, record: &TenantRecord, task: &Task) -> Result<usize, TenantFault> {
        let place = (self.place)(record).map_err(|error| TenantFault::no_place(&error))?;
        let Some(shared) = &place.shared else {
            return self.bring_place(&place, task).await;
        };
        let cell = {
            let mut places = task.shared.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(places.entry(shared.clone()).or_default())
        };
        let mut migrations = 0;
        let brought = cell.get_or_init(async || {
            let brought = self.bring_place(&place, task).await;
            brought
                .map(|run| migrations = run)
                .map_err(|fault| fault.reason())
        });
        let brought = brought.await.clone();
        brought.map(|()| migrations).map_err(TenantFault::new)
    }

    async fn bring_place(&self, place: &MigrationPlace<DB>, task: &Task) -> Result<usize, TenantFault> {
        let errand = Errand {
            migrations: &self.migrations,
            direction: task.direction,
            version: task.goal.version,
        };
        tenant::bring(place, &errand, &self.settings).await
    }

    /// For ever: ends with the run.
    async fn beat(&self, run: &str) {
        loop {
            tokio::time::sleep(self.settings.lease / 4).await;
            if let Err(error) = self.journal.beat(run).await {
                tracing::warn!(
                    ?error,
                    "the journal of migrations does not answer; if it stays so, others take over"
                );
            }
        }
    }
}

impl<DB: TenantEngine> Clone for FleetMigrator<DB> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<DB: TenantEngine> fmt::Debug for FleetMigrator<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetMigrator")
            .field("migrations", &self.0.migrations)
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}

/// Sets up a [`FleetMigrator`].
pub struct FleetMigratorBuilder<DB: TenantEngine> {
    store: SqlStore,
    migrations: Migrations,
    place: Box<Place<DB>>,
    observe: Box<Observe>,
    served: Option<TenantDatabases<DB>>,
    settings: FleetSettings,
}

impl<DB: TenantEngine> FleetMigratorBuilder<DB> {
    /// How to migrate. The defaults unless set.
    #[must_use]
    pub fn settings(mut self, settings: FleetSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Calls this for what happens. It must not block.
    #[must_use]
    pub fn observe(mut self, observe: impl Fn(MigrationEvent<'_>) + Send + Sync + 'static) -> Self {
        self.observe = Box::new(observe);
        self
    }

    /// Where this process serves tenants from: connections to one that was migrated are closed, since they remember
    /// statements and types as they were. Those of other processes find out by
    /// [`transaction`](crate::database::TenantDb::transaction), or when they are old.
    #[must_use]
    pub fn serving(mut self, databases: &TenantDatabases<DB>) -> Self {
        self.served = Some(databases.clone());
        self
    }

    /// Opens a connection to the catalogue's database, and makes the journal's tables there if they are missing. No
    /// tenant is connected to.
    ///
    /// # Errors
    /// When the catalogue was opened read-only, can not be reached, or its role may not make tables.
    pub async fn build(self) -> Result<FleetMigrator<DB>, MigrationError> {
        let journal = self.store.migration_journal().await?;
        Ok(self.build_on(journal))
    }

    pub(crate) fn build_on(self, journal: MigrationJournal) -> FleetMigrator<DB> {
        FleetMigrator(Arc::new(Fleet {
            journal,
            migrations: self.migrations,
            place: self.place,
            observe: self.observe,
            served: self.served,
            settings: self.settings,
        }))
    }
}

impl<DB: TenantEngine> fmt::Debug for FleetMigratorBuilder<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetMigratorBuilder")
            .field("migrations", &self.migrations)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
