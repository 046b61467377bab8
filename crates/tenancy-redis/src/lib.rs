//! What processes share of tenancy's cache, in Redis: entries, and the numbers by which all agree on what is stale. And Redis for
//! the application's own use, in which every key is one tenant's.
//!
//! * [`RedisLevel::connect`] takes a URL of one server; [`RedisSettings`] also a master that Sentinel watches, or a Redis Cluster.
//!   Nothing is connected before the first call: a process starts without Redis.
//! * All of a tenant is in one slot of a cluster. A flush is one script and one round trip, whatever there is to flush.
//! * What is evicted, flushed by hand or lost in a failover is noticed, and makes misses: nothing that was flushed comes back.
//! * [`TenantRedis`] is extracted in handlers, and had for a [`Tenant`](tenancy::Tenant) elsewhere: values, [counters](RedisCounter),
//!   [locks](RedisLock), [messages](ScopedRedis::subscribe), and Redis's commands on other types by [`command`]. No name leads to another tenant's key, or to the cache's.
//!   [`CentralRedis`] is nobody's. [`Redis::erase`] leaves nothing of a tenant that is gone.
//! * Each call ends within some hundred milliseconds. A connection that does not answer is replaced, one that was closed is
//!   replaced within the call.
//!
//! **Caveats.** Redis 6.0.6 or newer, or Valkey. Set `maxmemory-policy` to one of the `volatile-…`: entries end by themselves,
//! while what is known of a tenant must stay; where Redis evicts that, the tenant's entries are lost with it. What a tenant
//! that is gone leaves are some kilobytes, and what the application kept without an end, until it is [erased](Redis::erase). Who can write to this Redis can write what your processes read: give it a
//! password and a network of its own. In a cluster [`renew`](tenancy::cache::shared::SharedLevel::renew) fails for all scopes
//! asked for together when the server of one does not answer. A level belongs to the runtime in which it is first used. Not offered to
//! applications: transactions, scripts and commands that wait.
//!
//! ```
//! use std::sync::Arc;
//! use tenancy::cache::shared::SharedLevel;
//! use tenancy_redis::RedisLevel;
//!
//! // Not there, or not yet: calls fail until it is.
//! let level: Arc<dyn SharedLevel> = Arc::new(RedisLevel::connect("redis://127.0.0.1:1")?);
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use tenancy::cache::shared::{Ask, ScopeName};
//!
//! let scope = ScopeName::parse(":central").unwrap();
//! let error = level.renew(&[Ask { scope, seen: 0 }]).await.unwrap_err();
//! assert_eq!(error.to_string(), "there is no connection to Redis");
//! # });
//! # Ok::<_, tenancy_redis::RedisSettingsError>(())
//! ```
//!
//! ```
//! use tenancy_redis::{RedisLevel, RedisSettings};
//!
//! /// Highly available: three Sentinels, which call the master `mymaster`.
//! fn level(password: &str) -> Result<RedisLevel, tenancy_redis::RedisSettingsError> {
//!     let sentinels = ["redis://10.0.0.1:26379", "redis://10.0.0.2:26379", "redis://10.0.0.3:26379"];
//!     RedisSettings::sentinel(sentinels, format!("redis://:{password}@mymaster/0"))
//!         .prefix("shop:")
//!         .build()
//! }
//! assert!(!format!("{:?}", level("hunter2")?).contains("hunter2"));
//! # Ok::<_, tenancy_redis::RedisSettingsError>(())
//! ```

//! Redis in handlers:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use axum::{Router, routing::post};
//! use tenancy::{MemoryStore, Tenancy, cache::CacheSettings, resolve::Subdomain};
//! use tenancy_redis::{RedisCallError, RedisLevel, TenantRedis, command};
//!
//! async fn order(redis: TenantRedis, cart: String) -> Result<String, RedisCallError> {
//!     redis.set("cart", &cart, Duration::from_secs(3600)).await?;
//!     let waiting: u64 = redis.run(command("LPUSH").key("orders").arg(&cart)).await?;
//!     let today = redis.counter("orders today").lasting(Duration::from_secs(86_400)).add(1).await?;
//!     Ok(format!("{waiting} of {} are waiting", today.value))
//! }
//!
//! fn app() -> Result<(), Box<dyn std::error::Error>> {
//!     let level = RedisLevel::connect("redis://:password@10.0.0.1/0")?;
//!     let redis = level.redis();
//!     let tenancy = Tenancy::builder(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?)
//!         .cache(CacheSettings::new().shared(level))
//!         .build()?;
//!     let app = tenancy.wrap(Router::new().route("/orders", post(order)).with_state(redis));
//! #   drop(app);
//!     Ok(())
//! }
//! ```
//!
//! Outside of requests, one job at a time of each tenant:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use tenancy::Tenancy;
//! use tenancy_redis::Redis;
//!
//! async fn import(tenancy: &Tenancy, redis: &Redis) -> Result<(), Box<dyn std::error::Error>> {
//!     let redis = redis.of(&tenancy.enter(&"acme".parse()?).await?);
//!     let Some(guard) = redis.lock("import", Duration::from_secs(30)).try_acquire().await? else {
//!         return Ok(()); // another process is at it
//!     };
//!     let work = async { /* whoever writes refuses a lower number than the last: */ guard.fence() };
//!     tokio::select! {
//!         _ = work => {}
//!         () = guard.lost() => {}
//!     }
//!     guard.release().await?;
//!     Ok(())
//! }
//! ```

mod command;
mod failure;
mod fetches;
mod keys;
mod level;
mod link;
mod listen;
mod message;
mod scoped;
mod script;
mod server;
mod servers;
mod settings;

/// The crate whose traits say what a value is, and what a reply can be read as.
pub use bb8_redis::redis;

pub use self::{
    level::RedisLevel,
    scoped::{
        CentralRedis, Counted, EraseProgress, Erased, Heard, Redis, RedisCallError, RedisCommand,
        RedisCounter, RedisErase, RedisGuard, RedisLock, ScopedRedis, TenantRedis, command,
    },
    settings::{RedisSettings, RedisSettingsError},
};

/// The examples of the README are compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
