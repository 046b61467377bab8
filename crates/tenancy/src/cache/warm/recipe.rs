use std::{borrow::Cow, fmt, future::Future, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tenancy_core::BoxError;

use crate::{Tenant, cache::TenantCache};

type Run = dyn Fn(Tenant, TenantCache) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync;

/// How to load what a tenant will ask for: see
/// [`TenancyBuilder::warm`](crate::stack::TenancyBuilder::warm), which takes it.
///
/// ```
/// use std::time::Duration;
/// use tenancy::{Tenant, cache::{EntryOptions, Keys, Recipe, TenantCache}};
///
/// const SETTINGS: Keys<(), String> = Keys::new("settings", 1);
///
/// # async fn load_settings(tenant: &Tenant) -> Result<String, std::io::Error> { Ok(String::new()) }
/// // The same function serves requests.
/// async fn settings(cache: &TenantCache) -> Result<String, tenancy::cache::LoadError> {
///     let tenant = cache.tenant().clone();
///     let load = async move || load_settings(&tenant).await;
///     let settings = cache.remember(&SETTINGS.key(()), &EntryOptions::new(), load).await?;
///     Ok(settings.to_string())
/// }
///
/// let recipe = Recipe::new("settings", async |_: Tenant, cache: TenantCache| settings(&cache).await.map(drop))
///     .refresh_every(Duration::from_secs(240));
/// ```
///
/// Its function runs in the tenant's scope, in a task without a request. One that needs the databases of tenants, which are made
/// of the stack, is added afterwards: [`Tenancy::add_recipe`](crate::Tenancy::add_recipe).
#[derive(Clone)]
#[must_use = "give it to the builder"]
pub struct Recipe {
    pub(super) name: Cow<'static, str>,
    pub(super) cost: u32,
    pub(super) bytes: u64,
    pub(super) refresh_every: Option<Duration>,
    pub(super) deadline: Duration,
    run: Arc<Run>,
}

impl Recipe {
    /// The recipe `name`: 1 to 64 characters of `a-z`, `0-9`, `_`, `.` and `-`; building the stack refuses others, and two of one
    /// name.
    ///
    /// `run` gets a handle of the tenant's cache that differs in some ways from that of a request: its questions count as no use
    /// of the cache, and it loads anew what ends before the next refresh. What it puts or flushes, it puts and flushes.
    pub fn new<Running, E>(
        name: impl Into<Cow<'static, str>>,
        run: impl Fn(Tenant, TenantCache) -> Running + Send + Sync + 'static,
    ) -> Self
    where
        Running: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        Self {
            name: name.into(),
            cost: 1,
            bytes: 0,
            refresh_every: None,
            deadline: Duration::from_secs(10),
            run: Arc::new(move |tenant, cache| {
                let running = run(tenant, cache);
                Box::pin(async move { running.await.map_err(Into::into) })
            }),
        }
    }

    /// How many database connections it uses at once, of [`at_once`](super::WarmingSettings::at_once). Default: 1. More than there
    /// are count as all.
    pub fn cost(mut self, connections: u32) -> Self {
        self.cost = connections;
        self
    }

    /// How many bytes it brings into level 1, about: room is kept for them while it runs. Default: 0, so that what it brought counts
    /// when it has ended.
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// Runs again after this long, while the tenant is used: choose it shorter than the time to live of what it loads, so that no
    /// request finds that ended. What will be there until the next time is not loaded.
    ///
    /// Default: never; requests keep what they use by
    /// [early refresh](super::super::EntryOptions::early_refresh). Without a shared level, at most three quarters of
    /// [`local_ttl`](super::super::CacheSettings::local_ttl). At least a second.
    pub fn refresh_every(mut self, interval: Duration) -> Self {
        self.refresh_every = Some(interval.max(Duration::from_secs(1)));
        self
    }

    /// After this long it is given up, and counts as failed. Default: 10 s. What it has begun to load goes on, within the cache's
    /// own limits.
    pub fn deadline(mut self, after: Duration) -> Self {
        self.deadline = after;
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn run(&self, tenant: Tenant, cache: TenantCache) -> BoxFuture<'static, Result<(), BoxError>> {
        (self.run)(tenant, cache)
    }

    /// What is wrong with these together, in words for the one who wrote them.
    pub(crate) fn mistakes(recipes: &[Self]) -> Vec<String> {
        let mut mistakes = Vec::new();
        for (at, recipe) in recipes.iter().enumerate() {
            let name = &recipe.name;
            if !crate::cache::key::is_kind_name(name) {
                mistakes.push(format!(
                    "a recipe can not be called {name:?}: 1 to 64 characters of a-z, 0-9, '_', '.' and '-'"
                ));
            }
            if recipes[..at].iter().any(|other| other.name == recipe.name) {
                mistakes.push(format!("two recipes are called {name:?}"));
            }
            if recipe.deadline.is_zero() {
                mistakes.push(format!("the recipe {name:?} has no time"));
            }
        }
        mistakes
    }
}

impl fmt::Debug for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipe")
            .field("name", &self.name)
            .field("cost", &self.cost)
            .field("bytes", &self.bytes)
            .field("refresh_every", &self.refresh_every)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
