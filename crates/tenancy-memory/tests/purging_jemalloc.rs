//! A program whose allocator is jemalloc gives back what it does not need.
#![cfg(feature = "jemalloc")]

mod purging;

use tenancy_memory::{Jemalloc, Metered, process::Allocator};

#[global_allocator]
static ALLOCATOR: Metered<Jemalloc> = Metered::new(Jemalloc);

/// So that the purge has something to do: by itself jemalloc gives back what was free for ten seconds.
#[test]
fn what_was_freed_is_resident_until_it_is_purged() {
    purging::what_was_freed_is_resident_until_it_is_purged(Allocator::Jemalloc);
}

#[test]
fn growth_is_seen_by_the_sampler() {
    purging::growth_is_seen_by_the_sampler();
}
