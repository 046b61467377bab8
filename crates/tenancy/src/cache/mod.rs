//! Cached values of each tenant, in this process and in a level that processes share, and flushes with a promised bound.
//!
//! * [`TenantCache`] is extracted in handlers behind the cache-scope stage; there is no way to another tenant's part. What is no
//!   tenant's is in [`CentralCache`], another type.
//! * [`Keys`] say the kind, the arguments and the type of a value. `0`, `""`, `None` and `[]` are values.
//! * [`Cache::remember`] gives what is cached or loads it: once for all who ask, in a task of its own.
//! * [`Cache::flush`] and [`Cache::flush_tags`] take one round trip, however many entries there are. In this process they are in
//!   effect when they return; everywhere else within
//!   [`staleness_bound`](CacheSettings::staleness_bound), 2 s by default, whatever messages are lost. A load that began before a
//!   flush does not bring the old value back.
//! * The memory of level 1 has one bound for all tenants. A tenant that asks for everything once does not push out what others
//!   ask for again and again.
//! * [`Recipe`]s load what a tenant will ask for, when it begins to be used, after a flush, and after a deploy.
//! * [`Cache::explain`] tells why a key is found or not: in this process, in the shared level, by which flush.
//! * [`CacheScope::key`] names things in a cache of your own.
//!
//! **Caveats.** Without [`CacheSettings::shared`] processes know nothing of each other, and an entry of one lives for up to
//! [`local_ttl`](CacheSettings::local_ttl) after another has flushed it. A value that is changed behind the application's back is
//! noticed at its end. A process that is stopped between its look at the clock and the use of a value may use it late, as with
//! every lease.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::{convert::Infallible, time::Duration};
//!
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use tenancy::{
//!     MemoryStore, Tenancy, Tenant,
//!     cache::{EntryOptions, Keys, TenantCache},
//!     resolve::Subdomain,
//! };
//! use tower::ServiceExt;
//!
//! const GREETING: Keys<(&str,), String> = Keys::new("greeting", 1);
//!
//! async fn greet(tenant: Tenant, cache: TenantCache) -> String {
//!     let options = EntryOptions::new().ttl(Duration::from_secs(60)).tag("texts");
//!     let load = async move || Ok::<_, Infallible>(format!("welcome to {}", tenant.id()));
//!     cache.remember(&GREETING.key(("en",)), &options, load).await.unwrap().to_string()
//! }
//!
//! let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme", "globex"])?);
//! let app = tenancy.wrap(Router::new().route("/", get(greet)));
//! for (host, text) in [("acme.example.com", "welcome to acme"), ("globex.example.com", "welcome to globex")] {
//!     let request = Request::get("/").header("host", host).body(Body::empty())?;
//!     let response = app.clone().oneshot(request).await?;
//!     assert_eq!(axum::body::to_bytes(response.into_body(), 1000).await?, text);
//! }
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! A job outside of requests flushes what it has changed:
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! # use tenancy::{MemoryStore, Tenancy, resolve::Subdomain};
//! # let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?);
//! let acme = tenancy.enter(&"acme".parse()?).await?;
//! let receipt = tenancy.cache_of(&acme).flush_tags(["texts"]).await;
//! assert!(!receipt.is_pending());
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! The stage is a layer of its own, too, for a stack that is composed by hand: see
//! [`Tenancy::stage`](crate::Tenancy::stage) and [`Stage::CacheScope`](crate::stack::Stage::CacheScope).

mod bulk;
mod codec;
mod envelope;
mod explain;
mod fill;
mod flush;
mod handle;
mod hub;
mod key;
mod level1;
mod load;
mod loaded;
mod loads;
mod look;
mod options;
mod plan;
mod receipt;
mod schema;
mod settings;
pub mod shared;
mod slots;
mod statistics;
mod versions;
mod warm;

pub use self::{
    codec::CacheCodec,
    explain::{
        CacheExplanation, CacheVerdict, DependencyExplained, DependencyState, EntryExplained, LeaseExplained,
        SharedExplained, TagExplained, WhatItDependsOn,
    },
    flush::Flush,
    handle::{Cache, CentralCache, TenantCache},
    key::{AnyKey, CacheKey, CacheValue, KeyArg, KeyTextError, KeyWriter, KeyWritten, Keys},
    loaded::Loaded,
    loads::LoadError,
    options::EntryOptions,
    plan::{FlushPlan, InvalidFlushPlan},
    receipt::{FlushAbandoned, FlushReceipt},
    settings::{CacheSettings, OnOutage},
    statistics::CacheStatistics,
    warm::{Recipe, RecipeFailure, TenantWarmed, Warming, WarmingProgress, WarmingSettings},
};
#[doc(hidden)]
pub use self::{envelope::bench::CacheEntry, level1::bench::MemoryLevel};
pub(crate) use self::{
    hub::{Account, Hub, LazyHub},
    load::{How, Remembered},
    warm::{Whom, Why},
};
use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::{
    Tenant,
    extract::ExtractRejection,
    scope::{Scope, with_current},
};

/// The proof that the cache-scope stage has run for this tenant.
#[derive(Clone, Debug)]
pub struct CacheScope {
    tenant: Tenant,
}

impl CacheScope {
    /// Whose part of the cache this is.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// A name for a shared cache: `t:{id}:{incarnation}:{name}`.
    ///
    /// Ids have no colon and incarnations are numbers, so that different (tenant, name) pairs give different names,
    /// whatever `name` is. Allocates once.
    pub fn key(&self, name: &str) -> String {
        scoped_key(self.tenant.id().as_str(), self.tenant.incarnation(), name)
    }
}

impl CacheScope {
    /// The request says whose it is; the scope says that the stage has run, and must agree.
    pub(crate) fn is_open_for(tenant: &Tenant) -> bool {
        with_current(|current| {
            current
                .is_some_and(|current| current.cache_scope && current.scope == Scope::Tenant(tenant.clone()))
        })
    }
}

fn scoped_key(id: &str, incarnation: u64, name: &str) -> String {
    format!("t:{id}:{incarnation}:{name}")
}

impl<S: Sync> FromRequestParts<S> for CacheScope {
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ExtractRejection> {
        let tenant = <Tenant as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        if Self::is_open_for(&tenant) {
            Ok(Self { tenant })
        } else {
            Err(ExtractRejection::missing_stage("cache_scope", tenant.home()))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::scoped_key;

    proptest! {
        #[test]
        fn names_of_different_tenants_never_meet(
            a in ("[a-z0-9_-]{1,4}", 0_u64..30, "[a-z0-9:_\\-]{0,6}"),
            b in ("[a-z0-9_-]{1,4}", 0_u64..30, "[a-z0-9:_\\-]{0,6}"),
        ) {
            let equal = scoped_key(&a.0, a.1, &a.2) == scoped_key(&b.0, b.1, &b.2);
            prop_assert_eq!(equal, a == b);
        }
    }
}
