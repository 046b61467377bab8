//! One budget of a server for several processes: each has a share of it, which it leases.

#[cfg(not(any(feature = "sqlite", feature = "postgres", feature = "mysql")))]
mod none;

use std::{
    fmt,
    pin::pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tenancy_core::Clock;
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

#[cfg(not(any(feature = "sqlite", feature = "postgres", feature = "mysql")))]
use self::none::{Share, ShareLedger, ShareRequest};
use super::{figures::Tallies, open::LINGER, server::ServerPool};
use crate::engine::TenantEngine;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
use crate::{
    CatalogueError,
    store::{
        SqlStore,
        shares::{Share, ShareLedger, ShareRequest},
    },
};

/// Lets processes share the budgets of servers, through the catalogue that they have in common.
///
/// Each process leases a part of each server's budget, at least one connection where there is one to have. What it needs
/// (connections that are open, and requests that wait) it gets as long as others need less; what all need together and is
/// not there, they have in even parts. A share that becomes smaller is free for others when its connections are closed. The
/// sum of all shares is never over the budget: it is checked by the transaction that writes one.
///
/// A process that can not renew its lease, because the catalogue is away, stops by itself before others may have its share:
/// after half of the lease it opens nothing more and closes what is idle; after three quarters it has the server end what
/// is still in use. One that is killed keeps its share until the lease is over.
///
/// All processes must say the same budget, and call the server by the same name. Time is the clock of the catalogue's
/// database, so that their own may differ; one that is set forward ends leases early. A process that is stopped and goes
/// on after its lease is over has its connections until it notices, which is at once.
///
/// Clones share one connection to the catalogue, apart from the store's.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use sqlx::{Sqlite, sqlite::SqliteConnectOptions};
/// use tenancy_sqlx::{pool::{BudgetShares, PoolSettings, Target, TenantPools}, store::SqlStore};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("catalogue.db");
/// let store = SqlStore::connect(&path).await?;
/// let shares = BudgetShares::through(&store).await?;
/// let pools = TenantPools::<Sqlite>::builder(|record| Target::database(&format!("data/{}.db", record.id)))
///     .server("files", SqliteConnectOptions::new(), PoolSettings::new(20))
///     .share_budgets(&shares)
///     .build();
///
/// let figures = pools.figures("files").ok_or("there is no such server")?;
/// assert_eq!(figures.shared_budget, Some(20));
/// assert!(figures.budget <= 20, "what this process may use of it at the moment");
/// // Gives the share back.
/// pools.close().await;
/// # Ok(())
/// # }
/// # #[cfg(feature = "sqlite")]
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(example()).unwrap();
/// ```
#[derive(Clone)]
pub struct BudgetShares {
    ledger: ShareLedger,
    lease: Duration,
    /// What tells the servers of one kind from those of another.
    suffix: &'static str,
}

/// How long a share is kept for a process that says nothing.
const LEASE: Duration = Duration::from_secs(15);
const SHORTEST_LEASE: Duration = Duration::from_secs(1);
/// So often in the time of a lease it is renewed.
const RENEWALS: u32 = 15;
/// Between two requests of one that waits for others to close what they have too much, at first.
const EAGER_PAUSE: Duration = Duration::from_millis(50);
/// While connections are closed that are too many.
const SHRINKING_PAUSE: Duration = Duration::from_millis(20);

impl BudgetShares {
    /// Makes the two tables of the shares beside the catalogue's if they are missing, those of an adopted catalogue too.
    /// The lease is 15 s.
    ///
    /// # Errors
    /// When the catalogue was opened read-only, can not be reached, or its role may not make tables.
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    pub async fn through(store: &SqlStore) -> Result<Self, CatalogueError> {
        Ok(Self {
            ledger: store.share_ledger().await?,
            lease: LEASE,
            suffix: "",
        })
    }

    /// For how long a share is a process's own though nothing is heard of it. 15 s unless set; at least 1 s. It is renewed
    /// fifteen times as often. The same in all processes.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(SHORTEST_LEASE);
        self
    }

    /// Of the servers that follow those of the same names.
    pub(crate) fn of_replicas(mut self) -> Self {
        self.suffix = "/replica";
        self
    }
}

impl fmt::Debug for BudgetShares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BudgetShares")
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

/// What a pool knows of its share.
pub(super) struct Sharing {
    /// Of all processes.
    budget: AtomicUsize,
    /// What this one may have open; 0 without a lease.
    pub(super) share: AtomicUsize,
    pub(super) lost: AtomicU64,
    /// Somebody waits for a connection, or nobody will any more.
    pub(super) changed: Notify,
    is_over: AtomicBool,
    /// Closed when the share is given back.
    ended: watch::Receiver<()>,
}

impl Sharing {
    pub(super) fn budget(&self) -> usize {
        self.budget.load(Ordering::Relaxed)
    }

    pub(super) fn set_budget(&self, budget: usize) {
        self.budget.store(budget, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// For when everything is closed. Waits until the share is given back, or can not be.
    pub(super) async fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.changed.notify_one();
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }
}

/// Renews one pool's share of one server for as long as the pool is there.
pub(super) struct Keeper<DB: TenantEngine> {
    pool: Weak<ServerPool<DB>>,
    sharing: Arc<Sharing>,
    shares: BudgetShares,
    clock: Arc<dyn Clock>,
    server: String,
    holder: String,
    /// When the request was sent that was granted last; `None` before the first one, and when the lease was given up.
    granted_at: Option<Duration>,
    pause: Duration,
    /// Whether the last request was in vain.
    fails: bool,
    _ended: watch::Sender<()>,
}

impl<DB: TenantEngine> Keeper<DB> {
    /// The pool has nothing until the keeper [runs](Self::run).
    pub(super) fn new(
        pool: Weak<ServerPool<DB>>,
        shares: &BudgetShares,
        server: &str,
        budget: usize,
        clock: Arc<dyn Clock>,
    ) -> (Self, Arc<Sharing>) {
        let (ends, ended) = watch::channel(());
        let sharing = Arc::new(Sharing {
            budget: AtomicUsize::new(budget),
            share: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
            changed: Notify::new(),
            is_over: AtomicBool::new(false),
            ended,
        });
        let keeper = Self {
            pool,
            sharing: Arc::clone(&sharing),
            shares: shares.clone(),
            clock,
            server: format!("{server}{}", shares.suffix),
            holder: String::new(),
            granted_at: None,
            pause: EAGER_PAUSE,
            fails: false,
            _ended: ends,
        };
        (keeper, sharing)
    }

    pub(super) async fn run(mut self) {
        // Two of one name would have one share, twice: without randomness nothing is opened.
        self.holder = loop {
            match getrandom::u64() {
                Ok(stamp) => break format!("{stamp:016x}"),
                Err(error) => tracing::error!(%error, "no name for this process in the shares of a budget"),
            }
            sleep(LEASE).await;
        };
        loop {
            self.stop_if_too_old().await;
            let asked = self.ask().await;
            let Some(pool) = self.pool.upgrade() else { break };
            if self.sharing.is_over.load(Ordering::Relaxed) {
                break;
            }
            let pause = match asked {
                Some(share) => self.apply(&pool, share),
                None => self.shares.lease / (RENEWALS * 2),
            };
            drop(pool);
            self.rest(pause).await;
        }
        // Those of a pool that was dropped are closed without anybody waiting for it.
        sleep(LINGER).await;
        if let Err(error) = self.shares.ledger.give_back(&self.server, &self.holder).await {
            tracing::warn!(server = %self.server, %error, "a share of a budget was not given back: it expires");
        }
    }

    /// `None` if there was no answer in time.
    async fn ask(&mut self) -> Option<Share> {
        let (keeps, wants) = {
            let pool = self.pool.upgrade()?;
            let keeps = pool.held_under(self.sharing.share.load(Ordering::Relaxed));
            (keeps, pool.held() + pool.figures().waiting)
        };
        let budget = self.sharing.budget();
        let asked_at = self.clock.monotonic();
        let request = ShareRequest {
            server: &self.server,
            holder: &self.holder,
            budget: budget as u64,
            keeps: keeps as u64,
            wants: wants.min(budget) as u64,
            lease: self.shares.lease,
        };
        let mut renewing = pin!(self.shares.ledger.renew(request));
        let mut answer = None;
        // One that is late is waited for, since another would be later, until its answer would be too old.
        for _ in 0..8 {
            answer = timeout(self.shares.lease / 16, &mut renewing).await.ok();
            if answer.is_some() {
                break;
            }
            self.stop_if_too_old().await;
        }
        // A process that was stopped meanwhile may have the answer when the lease is over.
        let age = self.clock.monotonic().saturating_sub(asked_at);
        let cause = match answer {
            Some(Ok(share)) if age < self.shares.lease / 2 => {
                self.granted_at = Some(asked_at);
                self.fails = false;
                return Some(share);
            }
            Some(Err(error)) => Some(error),
            Some(Ok(_)) | None => None,
        };
        if !std::mem::replace(&mut self.fails, true) {
            tracing::warn!(
                server = %self.server,
                cause = cause.as_ref().map(tracing::field::display),
                "the share of a budget is not renewed: it is tried again until the lease is over, and after"
            );
        }
        None
    }

    /// Returns how long to rest.
    fn apply(&mut self, pool: &Arc<ServerPool<DB>>, share: Share) -> Duration {
        let allowed = usize::try_from(share.granted.min(share.due)).unwrap_or(usize::MAX);
        let before = self.sharing.share.swap(allowed, Ordering::Relaxed);
        if allowed != before {
            pool.limit_to(allowed);
        }
        let often = self.shares.lease / RENEWALS;
        let figures = pool.figures();
        if share.granted > share.due {
            self.pause = EAGER_PAUSE;
            return SHRINKING_PAUSE;
        }
        let lacks = share.granted < share.due || (figures.waiting > 0 && pool.held() >= allowed);
        if allowed != before || !lacks {
            self.pause = EAGER_PAUSE;
        } else {
            // Others give back when they renew: asking more often is of little use.
            self.pause = (self.pause * 2).min(often);
        }
        if lacks { self.pause } else { often }
    }

    /// Until the time is over, or somebody begins to wait for what the share does not allow.
    async fn rest(&self, pause: Duration) {
        sleep(pause.min(EAGER_PAUSE)).await;
        let called = async {
            loop {
                self.sharing.changed.notified().await;
                if self.is_short() {
                    return;
                }
            }
        };
        let _ = timeout(pause.saturating_sub(EAGER_PAUSE), called).await;
    }

    fn is_short(&self) -> bool {
        let share = self.sharing.share.load(Ordering::Relaxed);
        self.sharing.is_over.load(Ordering::Relaxed)
            || self.pool.upgrade().is_none_or(|pool| {
                share < self.sharing.budget() && pool.figures().waiting > 0 && pool.held() >= share
            })
    }

    /// Nobody knows that this process is there: before its share is another's, it has nothing open any more.
    async fn stop_if_too_old(&self) {
        let (Some(granted_at), Some(pool)) = (self.granted_at, self.pool.upgrade()) else {
            return;
        };
        let age = self.clock.monotonic().saturating_sub(granted_at);
        if age < self.shares.lease / 2 {
            return;
        }
        if self.sharing.share.swap(0, Ordering::Relaxed) > 0 {
            Tallies::count(&self.sharing.lost);
            tracing::error!(
                server = %self.server,
                "the share of a budget could not be renewed: no connection is opened until the catalogue answers"
            );
            pool.limit_to(0);
        }
        if age >= self.shares.lease * 3 / 4 {
            let limit = self.shares.lease / 16;
            let _ = timeout(limit, pool.end_all()).await;
        }
    }
}
