//! A tenant alone is no proof that the cache-scope stage has run.

use tenancy::{Tenant, cache::CacheScope};

fn of(tenant: Tenant) -> CacheScope {
    CacheScope { tenant }
}

fn main() {}
