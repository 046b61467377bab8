//! The tenant cache as applications use it, over a shared level in memory that can be hurt.

mod explained;
mod flushes;
mod late_tags;
mod lifetimes;
mod loads;
mod outages;
mod schedules;
mod values;
mod warming;

use std::{convert::Infallible, sync::Arc, time::Duration};

use tenancy::{
    MemoryStore, Tenancy,
    cache::{CacheSettings, EntryOptions, Keys, TenantCache},
    core::{Clock, ManualClock},
    resolve::Subdomain,
};
use tenancy_test::cache::{MemoryLevel, MemoryNode};

pub(crate) const TEXT: Keys<(&str,), String> = Keys::new("text", 1);

pub(crate) fn hour() -> EntryOptions {
    EntryOptions::new()
        .ttl(Duration::from_secs(3600))
        .early_refresh(false)
}

/// Processes with one shared level and one clock, which the test moves.
pub(crate) struct World {
    pub(crate) level: MemoryLevel,
    pub(crate) clock: Arc<ManualClock>,
}

/// One of them.
pub(crate) struct Process {
    pub(crate) tenancy: Tenancy,
    pub(crate) node: Option<MemoryNode>,
    pub(crate) clock: Arc<ManualClock>,
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(ManualClock::new());
        Self {
            level: MemoryLevel::with_clock(Arc::clone(&clock) as Arc<dyn Clock>),
            clock,
        }
    }

    pub(crate) fn process(&self) -> Process {
        self.process_with(CacheSettings::new())
    }

    pub(crate) fn process_with(&self, settings: CacheSettings) -> Process {
        let node = self.level.node();
        Process {
            tenancy: tenancy(settings.shared(node.clone()), &self.clock),
            node: Some(node),
            clock: Arc::clone(&self.clock),
        }
    }

    /// Every lease ends.
    pub(crate) fn pass_the_bound(&self) {
        self.clock.advance(Duration::from_secs(2));
    }
}

impl Process {
    /// Without a shared level.
    pub(crate) fn alone() -> Self {
        let clock = Arc::new(ManualClock::new());
        Self {
            tenancy: tenancy(CacheSettings::new(), &clock),
            node: None,
            clock,
        }
    }

    pub(crate) async fn cache_of(&self, tenant: &str) -> TenantCache {
        let tenant = self.tenancy.enter(&tenant.parse().unwrap()).await.unwrap();
        self.tenancy.cache_of(&tenant)
    }
}

fn tenancy(settings: CacheSettings, clock: &Arc<ManualClock>) -> Tenancy {
    let store = MemoryStore::of(["acme", "globex"]).unwrap();
    Tenancy::builder(Subdomain::of("example.com").unwrap(), store)
        .clock(Arc::clone(clock))
        .cache(settings.ttl_jitter(0.0))
        .build()
        .unwrap()
}

/// What is cached as a text, or this, which is cached then.
pub(crate) async fn remember(cache: &TenantCache, name: &str, else_value: &str) -> String {
    remember_with(cache, name, else_value, &hour()).await
}

pub(crate) async fn remember_with(
    cache: &TenantCache,
    name: &str,
    else_value: &str,
    options: &EntryOptions,
) -> String {
    let value = else_value.to_owned();
    let load = async move || Ok::<_, Infallible>(value);
    let found = cache.remember(&TEXT.key((name,)), options, load).await;
    found.unwrap().to_string()
}

/// Lets tasks run that have something to do.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
