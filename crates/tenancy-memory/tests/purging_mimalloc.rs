//! A program whose allocator is mimalloc: what it does not say is unavailable, and purges are asked of it.
#![cfg(feature = "mimalloc")]

use tenancy_memory::{
    Metered, MiMalloc,
    process::{Allocator, MemorySampler, Purger, Reading},
};

#[global_allocator]
static ALLOCATOR: Metered<MiMalloc> = Metered::new(MiMalloc);

#[test]
fn it_is_found_and_what_it_does_not_say_is_unavailable_and_not_zero() {
    let sampler = MemorySampler::builder().start().unwrap();
    assert_eq!(sampler.allocator(), Allocator::Mimalloc);
    let heap = sampler.latest().heap;
    assert_eq!(heap.allocated, Reading::Unavailable);
    assert_eq!(sampler.latest().growth.bytes_per_1000_requests, None);
    assert!(heap.active.bytes().unwrap() > 100_000, "{heap:?}");
    let purger = Purger::builder().start(&sampler).unwrap();
    assert!(purger.purge().is_ok());
}
