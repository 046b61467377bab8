//! The pool of one server: the state machine with a clock, tasks and sockets.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use tenancy_core::{Clock, TenantId};
use tokio::{runtime::Handle, sync::Notify, time::timeout};

use super::{
    DatabaseError, PoolFigures, PoolSettings, TenantFigures,
    control::Control,
    core::{Ask, Asked, Core, Effects, Grant, Refusal, Version, Work},
    departures::Departures,
    figures::Tallies,
    lease::{Checkout, Lease},
    open::{self, Link},
    shares::{BudgetShares, Keeper, Sharing},
    target::Target,
};
use crate::engine::{Options, TenantEngine};

/// How often one looks again whether the connect that it waits for is still under way.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

pub(crate) struct ServerPool<DB: TenantEngine> {
    pub(super) name: Box<str>,
    pub(super) options: Options<DB>,
    pub(super) settings: PoolSettings,
    pub(super) tallies: Tallies,
    pub(super) control: Control<DB>,
    pub(super) departures: Departures<DB>,
    clock: Arc<dyn Clock>,
    /// Where connections are opened, cleaned and closed, wherever they are dropped.
    runtime: Handle,
    core: Mutex<Core<Link<DB>>>,
    /// Where several processes share the server's budget.
    sharing: Option<Arc<Sharing>>,
    /// Who is open, where the server may have to end them.
    sessions: Mutex<Vec<(Weak<DB::Session>, Target)>>,
    upkeep: Arc<Notify>,
    all_closed: Notify,
}

impl<DB: TenantEngine> ServerPool<DB> {
    /// Opens nothing. Spawns the task that looks after idle connections, which ends with the pool.
    pub(crate) fn new(
        name: &str,
        options: Options<DB>,
        settings: PoolSettings,
        clock: Arc<dyn Clock>,
        runtime: Handle,
        shares: Option<&BudgetShares>,
    ) -> Arc<Self> {
        let mut limits = settings.limits.clone();
        limits.cancels_by_control = DB::CANCELS_BY_CONTROL;
        let upkeep = Arc::new(Notify::new());
        let mut keeper = None;
        let pool = Arc::new_cyclic(|pool| {
            let sharing = shares.map(|shares| {
                // Nothing is this process's before it has a share.
                let budget = std::mem::take(&mut limits.budget);
                let (started, sharing) =
                    Keeper::<DB>::new(Weak::clone(pool), shares, name, budget, Arc::clone(&clock));
                keeper = Some(started);
                sharing
            });
            Self {
                name: name.into(),
                options,
                settings,
                tallies: Tallies::default(),
                control: Control::new(),
                departures: Departures::new(),
                clock,
                runtime,
                core: Mutex::new(Core::new(limits, fastrand::Rng::new())),
                sharing,
                sessions: Mutex::default(),
                upkeep: Arc::clone(&upkeep),
                all_closed: Notify::new(),
            }
        });
        pool.runtime.spawn(look_after(Arc::downgrade(&pool), upkeep));
        if let Some(keeper) = keeper {
            pool.runtime.spawn(keeper.run());
        }
        pool
    }

    /// A connection to where the asker's record leads.
    pub(crate) async fn acquire(self: &Arc<Self>, ask: Ask<'_>) -> Result<Lease<DB>, DatabaseError> {
        loop {
            let asked = self.with_core(|core, now, effects| core.ask(&ask, now, effects));
            let grant = match asked {
                Asked::Ready(grant) => grant,
                Asked::Queued(waiter) => self.wait(waiter).await?,
                Asked::Refused(refusal) => return Err(self.error_of(refusal)),
            };
            let must_answer = grant.must_answer;
            let mut checkout = Checkout::new(Arc::clone(self), grant.held);
            if !must_answer || self.answers(&mut checkout).await {
                return Ok(Lease::new(checkout));
            }
            checkout.close_hard();
        }
    }

    fn error_of(&self, refusal: Refusal) -> DatabaseError {
        DatabaseError::refused(refusal, self.settings.wait)
    }

    async fn wait(self: &Arc<Self>, waiter: usize) -> Result<Grant<Link<DB>>, DatabaseError> {
        let mut place = Place {
            pool: self,
            waiter: Some(waiter),
        };
        let last = self.clock.monotonic() + self.settings.wait + self.settings.connect;
        let mut limit = self.settings.wait;
        loop {
            if let Ok(answer) = timeout(limit, &mut place).await {
                return answer.map_err(|refusal| self.error_of(refusal));
            }
            let goes_on = self.lock().is_about_to_be_answered(waiter);
            // A connect has a limit of its own: giving up before it would open connections for nobody.
            if !goes_on || self.clock.monotonic() >= last {
                return Err(DatabaseError::wait_timeout(self.settings.wait));
            }
            limit = LOOK_AGAIN;
        }
    }

    async fn answers(&self, checkout: &mut Checkout<DB>) -> bool {
        let answer = timeout(self.settings.give_up, checkout.link().ping()).await;
        let lives = matches!(answer, Ok(Ok(())));
        if !lives {
            self.suspect_idle();
        }
        lives
    }

    pub(super) fn suspect_idle(&self) {
        let now = self.clock.monotonic();
        self.lock().suspect_idle(now);
    }

    /// Runs one step of the state machine, and then, without the lock, what follows from it.
    pub(super) fn with_core<R>(
        self: &Arc<Self>,
        step: impl FnOnce(&mut Core<Link<DB>>, Duration, &mut Effects<Link<DB>>) -> R,
    ) -> R {
        let mut effects = Effects::new();
        let now = self.clock.monotonic();
        let result = step(&mut self.lock(), now, &mut effects);
        self.perform(effects);
        result
    }

    fn perform(self: &Arc<Self>, effects: Effects<Link<DB>>) {
        drop(effects.let_go);
        for waker in effects.wake {
            waker.wake();
        }
        if effects.upkeep {
            self.upkeep.notify_one();
            if let Some(sharing) = &self.sharing {
                sharing.changed.notify_one();
            }
        }
        for work in effects.work {
            match work {
                Work::Open(ticket) => {
                    self.runtime.spawn(open::open(Arc::clone(self), ticket));
                }
                Work::Close(link, closing) => {
                    self.runtime.spawn(open::close(Arc::clone(self), link, closing));
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Core<Link<DB>>> {
        // No step panics half way through a change that matters more than losing the pool would.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    pub(super) fn note_if_all_closed(&self) {
        if self.lock().is_closed() {
            self.all_closed.notify_waiters();
        }
    }

    pub(crate) fn retire(self: &Arc<Self>, tenant: &TenantId, version: Version) {
        self.with_core(|core, now, effects| core.retire(tenant, version, now, effects));
    }

    /// That of all processes, where they share it.
    pub(crate) fn set_budget(self: &Arc<Self>, budget: usize) {
        match &self.sharing {
            Some(sharing) => sharing.set_budget(budget.max(1)),
            None => self.limit_to(budget.max(1)),
        }
    }

    /// What may be open from now on, whatever is.
    pub(super) fn limit_to(self: &Arc<Self>, connections: usize) {
        self.with_core(|core, now, effects| core.set_budget(connections, now, effects));
        if !self.has_control() {
            let pool = Arc::clone(self);
            self.spawn(async move { pool.control.close().await });
        }
    }

    /// What the server may count, with the connection for cancelling.
    pub(super) fn held(&self) -> usize {
        // First this one: no more of it is opened than the limit of before allowed.
        let control = usize::from(self.control.is_open());
        self.lock().counts().open + control
    }

    pub(super) fn remember(&self, session: &Arc<DB::Session>, target: &Target) {
        if self.sharing.is_some() {
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.retain(|(session, _)| session.strong_count() > 0);
            sessions.push((Arc::downgrade(session), target.clone()));
        }
    }

    /// Has the server end all connections, those in use too.
    pub(super) async fn end_all(&self) {
        let mut target = None;
        let sessions: Vec<_> = {
            let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            let living = sessions.iter().filter_map(|(session, leads_to)| {
                target = Some(leads_to.clone());
                session.upgrade()
            });
            living.collect()
        };
        if let Some(target) = target.filter(|_| !sessions.is_empty()) {
            self.control.end(self, &sessions, &target).await;
        }
    }

    pub(super) fn has_control(&self) -> bool {
        self.lock().has_control()
    }

    pub(crate) async fn close(self: &Arc<Self>) {
        self.with_core(|core, now, effects| core.shut_down(now, effects));
        loop {
            let closed = self.all_closed.notified();
            let mut closed = std::pin::pin!(closed);
            closed.as_mut().enable();
            if self.lock().is_closed() {
                break;
            }
            closed.await;
        }
        self.control.close().await;
        if let Some(sharing) = &self.sharing {
            sharing.end().await;
        }
    }

    pub(crate) fn figures(&self) -> PoolFigures {
        let counts = self.lock().counts();
        let mut figures = self.tallies.with(counts);
        if let Some(sharing) = &self.sharing {
            figures.shared_budget = Some(sharing.budget());
            figures.shares_lost = sharing.lost.load(Ordering::Relaxed);
        }
        figures
    }

    pub(crate) fn figures_of(&self, tenant: &TenantId) -> Option<TenantFigures> {
        self.lock().counts_of(tenant).map(TenantFigures::from)
    }
}

impl<DB: TenantEngine> Drop for ServerPool<DB> {
    fn drop(&mut self) {
        // Its task finds the pool gone.
        self.upkeep.notify_one();
    }
}

impl<DB: TenantEngine> fmt::Debug for ServerPool<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerPool")
            .field("name", &self.name)
            .field("figures", &self.figures())
            .finish_non_exhaustive()
    }
}

/// Expiry and second tries. Holds the pool for the time of a look only, so that it does not keep it alive.
async fn look_after<DB: TenantEngine>(pool: Weak<ServerPool<DB>>, upkeep: Arc<Notify>) {
    loop {
        let due = {
            let Some(pool) = pool.upgrade() else { return };
            pool.control.close_if_idle(pool.settings.limits.idle).await;
            pool.with_core(|core, now, effects| core.tick(now, effects))
        };
        match due {
            // Whether the time is over or somebody calls, it looks.
            Some(due) => drop(timeout(due, upkeep.notified()).await),
            None => upkeep.notified().await,
        }
    }
}

/// A place in the queue. Dropping it gives the place up, and with it what was given to it meanwhile.
struct Place<'a, DB: TenantEngine> {
    pool: &'a Arc<ServerPool<DB>>,
    waiter: Option<usize>,
}

impl<DB: TenantEngine> Future for Place<'_, DB> {
    type Output = Result<Grant<Link<DB>>, Refusal>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(waiter) = self.waiter else {
            return Poll::Pending;
        };
        let mut waker = Some(context.waker().clone());
        let answer = self.pool.lock().poll(waiter, &mut waker);
        if answer.is_ready() {
            self.waiter = None;
        }
        answer
    }
}

impl<DB: TenantEngine> Drop for Place<'_, DB> {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter {
            self.pool
                .with_core(|core, now, effects| core.cancel(waiter, now, effects));
        }
    }
}
