//! Scopes outside of requests.

use std::{fmt, panic::AssertUnwindSafe, pin::Pin};

use futures_util::{FutureExt, StreamExt, stream};
use tokio::task::JoinHandle;

use super::{
    current::{Scope, Slot, StaleMark, current},
    future::Scoped,
};
use crate::{Tenant, memory::Metering};

/// Runs a future for a tenant. Scopes nest: afterwards, the outer one is current again.
///
/// What the future registers with [`put`](super::put) and [`on_exit`](super::on_exit) ends with it.
pub fn run<F: Future>(tenant: &Tenant, future: F) -> Scoped<F> {
    let slot = Slot::new(Scope::Tenant(tenant.clone()), None);
    Scoped::new(future, slot)
}

/// Runs a load of the cache, with a mark of its own. A tenant's part of the cache is open, as behind the cache-scope stage.
pub(crate) fn run_load<F: Future>(scope: Scope, future: F) -> Scoped<F> {
    let is_of_tenant = scope.tenant().is_some();
    let mut slot = Slot::new(scope, None).with_stale_mark(StaleMark::new());
    if is_of_tenant {
        slot.open_cache_scope();
    }
    Scoped::new(future, slot)
}

/// Polls a future in the scope that is current then, with a part of an account of its own.
pub(crate) fn metered<F: Future>(future: F, metering: Metering) -> Scoped<F> {
    Scoped::metered(future, Slot::default(), metering)
}

/// Runs a future for no tenant, also inside of a tenant's scope.
pub fn central<F: Future>(future: F) -> Scoped<F> {
    Scoped::new(future, Slot::new(Scope::Central, None))
}

/// Takes the current scope along: into a spawned task, a stream that lives on. What is called back later, such as a
/// WebSocket's `on_upgrade`, takes [`carry_callback`].
///
/// Outside of every scope, the future has none. What the request has put away stays behind: it ends with the
/// request, and this future may not.
pub fn carry<F: Future>(future: F) -> Scoped<F> {
    let slot = match current() {
        Some(scope) => Slot::new(scope, None),
        None => Slot::default(),
    };
    Scoped::metered(future, slot, Metering::carried())
}

/// Takes the current scope along into what is called later, by somebody who has none: a WebSocket's `on_upgrade`.
///
/// The scope is that of the code which calls this, not of the code which calls the callback. Besides that as
/// [`carry`].
///
/// ```
/// use axum::{extract::ws::{WebSocket, WebSocketUpgrade}, response::Response};
/// use tenancy::scope;
///
/// async fn connect(upgrade: WebSocketUpgrade) -> Response {
///     upgrade.on_upgrade(scope::carry_callback(talk))
/// }
///
/// async fn talk(socket: WebSocket) {
///     let tenant = scope::current_tenant();
///     // …
/// }
/// ```
pub fn carry_callback<A, F, Fut>(callback: F) -> impl FnOnce(A) -> Scoped<Fut> + use<A, F, Fut>
where
    F: FnOnce(A) -> Fut,
    Fut: Future,
{
    let (scope, stale) = (current(), StaleMark::current());
    let mut metering = Metering::carried();
    move |argument| {
        let mut slot = match scope {
            Some(scope) => Slot::new(scope, None).with_stale_mark(stale),
            None => Slot::default(),
        };
        let future = metering.run(|| {
            let _entered = slot.enter();
            callback(argument)
        });
        Scoped::metered(future, slot, metering)
    }
}

/// Spawns a task that runs in the current scope. A plain `tokio::spawn` runs in none.
///
/// # Panics
/// Outside of a tokio runtime, as `tokio::spawn` does.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(carry(future))
}

/// Runs something that blocks on a thread for such work, in the current scope. A plain `tokio::task::spawn_blocking` runs in none.
///
/// # Panics
/// Outside of a tokio runtime, as `tokio::task::spawn_blocking` does.
pub fn spawn_blocking<F, R>(run: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let mut slot = match current() {
        Some(scope) => Slot::new(scope, None),
        None => Slot::default(),
    };
    let mut metering = Metering::carried();
    tokio::task::spawn_blocking(move || {
        metering.run(|| {
            let entered = slot.enter();
            let result = run();
            drop(entered);
            slot.close();
            result
        })
    })
}

/// Runs something for each of many tenants, some at a time. Await it, or give it a progress callback first.
///
/// One tenant's panic is that tenant's outcome; the others run on. Dropping it drops what runs.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use tenancy::{MemoryStore, Tenancy, resolve::Subdomain, scope};
///
/// let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme", "globex"])?);
/// let tenants = [tenancy.enter(&"acme".parse()?).await?, tenancy.enter(&"globex".parse()?).await?];
///
/// let outcomes = scope::run_for_many(tenants, 8, |tenant| async move { tenant.id().as_str().len() })
///     .on_progress(|done, all| println!("{done}/{all}"))
///     .await;
/// assert_eq!(*outcomes[1].result.as_ref().unwrap(), 6);
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
/// ```
pub fn run_for_many<I, F, Fut>(tenants: I, concurrency: usize, each: F) -> RunForMany<F>
where
    I: IntoIterator<Item = Tenant>,
    F: Fn(Tenant) -> Fut,
    Fut: Future,
{
    RunForMany {
        tenants: tenants.into_iter().collect(),
        concurrency: concurrency.max(1),
        each,
        progress: None,
    }
}

/// What [`run_for_many`] returns: await it.
#[must_use = "nothing runs before it is awaited"]
pub struct RunForMany<F> {
    tenants: Vec<Tenant>,
    concurrency: usize,
    each: F,
    progress: Option<Box<dyn Fn(usize, usize) + Send + Sync>>,
}

/// What became of one tenant.
#[derive(Debug)]
#[non_exhaustive]
pub struct TenantOutcome<T> {
    /// The tenant.
    pub tenant: Tenant,
    /// What the future returned, unless it panicked.
    pub result: Result<T, Panicked>,
}

/// The future of one tenant panicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked {
    message: String,
}

impl Panicked {
    /// The panic's message, where it has one.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.message)
    }
}

impl std::error::Error for Panicked {}

impl<F> RunForMany<F> {
    /// Is called with how many are done and how many there are, after each.
    pub fn on_progress(mut self, progress: impl Fn(usize, usize) + Send + Sync + 'static) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }
}

impl<F> fmt::Debug for RunForMany<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunForMany")
            .field("tenants", &self.tenants.len())
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}

impl<F, Fut> IntoFuture for RunForMany<F>
where
    F: Fn(Tenant) -> Fut + Send + Sync + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: Send + 'static,
{
    type Output = Vec<TenantOutcome<Fut::Output>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let all = self.tenants.len();
            let each = &self.each;
            let mut running = stream::iter(self.tenants.into_iter().enumerate())
                .map(|(at, tenant)| async move {
                    let future = run(&tenant, async { each(tenant.clone()).await });
                    let result = AssertUnwindSafe(future).catch_unwind().await;
                    let result = result.map_err(|panic| Panicked {
                        message: panic_message(&*panic),
                    });
                    (at, TenantOutcome { tenant, result })
                })
                .buffer_unordered(self.concurrency);
            let mut outcomes = Vec::with_capacity(all);
            while let Some(outcome) = running.next().await {
                outcomes.push(outcome);
                if let Some(progress) = &self.progress {
                    progress(outcomes.len(), all);
                }
            }
            outcomes.sort_by_key(|(at, _)| *at);
            outcomes.into_iter().map(|(_, outcome)| outcome).collect()
        })
    }
}

pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("(no message)").to_owned()
}
