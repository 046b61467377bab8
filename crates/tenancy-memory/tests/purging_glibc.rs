//! A program with the allocator of the C library gives back what it does not need.
#![cfg(all(feature = "glibc", target_os = "linux", target_env = "gnu"))]

mod purging;

use tenancy_memory::process::Allocator;

#[test]
fn what_was_freed_is_resident_until_it_is_purged() {
    purging::what_was_freed_is_resident_until_it_is_purged(Allocator::Glibc);
}

#[test]
fn growth_is_seen_by_the_sampler() {
    purging::growth_is_seen_by_the_sampler();
}
