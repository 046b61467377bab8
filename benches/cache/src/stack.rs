//! Stacks of which only the cache is used.

use tenancy::{
    MemoryStore, Tenancy,
    cache::{CacheSettings, TenantCache},
    resolve::Subdomain,
};
use tenancy_bench::Failure;

/// The caches of these tenants, of one process.
///
/// # Errors
/// A name is none, or the settings can not be.
pub(crate) async fn caches_of(
    tenants: &[String],
    settings: CacheSettings,
) -> Result<Vec<TenantCache>, Failure> {
    let store = MemoryStore::of(tenants.iter().map(String::as_str))?;
    let tenancy = Tenancy::builder(Subdomain::of("example.com")?, store)
        .cache(settings)
        .build()?;
    let mut caches = Vec::with_capacity(tenants.len());
    for tenant in tenants {
        let tenant = tenancy.enter(&tenant.parse()?).await?;
        caches.push(tenancy.cache_of(&tenant));
    }
    Ok(caches)
}

/// The cache of one tenant, `acme`.
///
/// # Errors
/// The settings can not be.
pub(crate) async fn cache_of_one(settings: CacheSettings) -> Result<TenantCache, Failure> {
    let caches = caches_of(&["acme".to_owned()], settings).await?;
    caches
        .into_iter()
        .next()
        .ok_or_else(|| "no cache was made".into())
}

/// Names of so many tenants.
pub(crate) fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("tenant-{number}")).collect()
}
