//! Redis for the application's own use.

mod commands;
mod counters;
mod deaf;
mod erase;
mod gone;
mod handlers;
mod heard;
mod locks;
mod names;
mod values;

use std::{sync::Arc, time::Duration};

use tenancy::{MemoryStore, Tenancy, resolve::Subdomain};
use tenancy_redis::{RedisLevel, TenantRedis};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn stack() -> Tenancy {
    let store = MemoryStore::of(["acme", "globex"]).unwrap();
    Tenancy::new(Subdomain::of("example.com").unwrap(), store)
}

/// What this tenant has, by this level's connections.
pub(crate) async fn redis_of(level: &RedisLevel, tenant: &str) -> TenantRedis {
    let tenant = stack().enter(&tenant.parse().unwrap()).await.unwrap();
    level.redis().of(&tenant)
}

pub(crate) async fn acme(level: &RedisLevel) -> Arc<TenantRedis> {
    Arc::new(redis_of(level, "acme").await)
}
