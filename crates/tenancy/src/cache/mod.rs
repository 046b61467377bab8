//! The tenant's part of a cache: names that no other tenant can have.
//!
//! * [`CacheScope`] is extracted in handlers, behind the cache-scope stage, and can be had in no other way.
//! * [`CacheScope::key`] turns a name of yours into a name for a shared cache. Different tenants, and different
//!   incarnations of one name, never get the same.
//!
//! **Caveats.** This is naming, not a cache: bring one.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use tenancy::{MemoryStore, Tenancy, cache::CacheScope, resolve::Subdomain};
//! use tower::ServiceExt;
//!
//! let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme", "globex"])?);
//! let app = tenancy.wrap(Router::new().route("/", get(|scope: CacheScope| async move { scope.key("settings") })));
//! let key = async |host| {
//!     let request = Request::get("/").header("host", host).body(Body::empty()).unwrap();
//!     let response = app.clone().oneshot(request).await.unwrap();
//!     axum::body::to_bytes(response.into_body(), 1000).await.unwrap()
//! };
//! assert_ne!(key("acme.example.com").await, key("globex.example.com").await);
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! ```
//! use tenancy::{Tenancy, stack::Stage};
//!
//! /// The stage as a layer of its own, for a stack that is composed by hand. It needs the resolve stage outside of it.
//! fn cache_scope(tenancy: &Tenancy) -> tenancy::stack::StageLayer {
//!     tenancy.stage(Stage::CacheScope)
//! }
//! ```

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

fn scoped_key(id: &str, incarnation: u64, name: &str) -> String {
    format!("t:{id}:{incarnation}:{name}")
}

impl<S: Sync> FromRequestParts<S> for CacheScope {
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ExtractRejection> {
        let tenant = <Tenant as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        // The request says whose it is; the scope says that the stage has run, and must agree.
        let open = with_current(|current| {
            current
                .is_some_and(|current| current.cache_scope && current.scope == Scope::Tenant(tenant.clone()))
        });
        if open {
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
