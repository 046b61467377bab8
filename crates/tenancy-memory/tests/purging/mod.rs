//! What is asked of each allocator that says what is live.

#![allow(
    clippy::unwrap_used,
    reason = "a test that finds nothing where something must be has failed"
)]

use std::{
    hint::black_box,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tenancy_memory::process::{Allocator, MemorySampler, Purger, RequestCount};

const MEBIBYTE: u64 = 1 << 20;

/// What is measured is the whole process.
static TURN: Mutex<()> = Mutex::new(());

/// 200 MiB, in blocks that come from the arenas and not from mappings of their own; among them some that stay, so that the
/// C library's heap does not end below what is free.
pub(crate) fn what_was_freed_is_resident_until_it_is_purged(allocator: Allocator) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let sampler = MemorySampler::builder().start().unwrap();
    assert_eq!(sampler.allocator(), allocator);
    let purger = Purger::builder().over(None).start(&sampler).unwrap();
    let start = sampler.look();

    let (mut freed, mut stays) = (Vec::new(), Vec::new());
    for at in 0..(200 * 64) {
        freed.push(black_box(vec![1_u8; 16 * 1024]));
        if at % 64 == 0 {
            stays.push(black_box(vec![1_u8; 64]));
        }
    }
    let full = sampler.look();
    let live = full.heap.allocated.beyond(start.heap.allocated).bytes().unwrap();
    assert!(live >= 199 * MEBIBYTE, "{live}");
    drop(freed);

    let purge = purger.purge().unwrap();
    let given_back = purge.given_back.bytes().unwrap();
    // glibc gives back by itself what is a heap of a thread, of 64 MiB, and empty.
    assert!(given_back >= 40 * MEBIBYTE, "{purge:?}");
    let after = sampler.latest();
    assert!(after.resident.bytes().unwrap() + 150 * MEBIBYTE <= full.resident.bytes().unwrap());
    // The kernel notes the peak a little late.
    let peak = after.peak.bytes().unwrap() + MEBIBYTE;
    assert!(peak >= full.resident.bytes().unwrap(), "{after:?}");
    assert_eq!(purger.state().given_back_bytes, given_back);
    drop(stays);
}

pub(crate) fn growth_is_seen_by_the_sampler() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let requests = RequestCount::new();
    let sampler = MemorySampler::builder()
        .requests(&requests)
        .warm_up(100)
        // Only when this test looks.
        .every(Duration::from_secs(3_600))
        .start()
        .unwrap();
    let mut leaked = Vec::new();
    for _ in 0..40 {
        for _ in 0..50 {
            requests.add_one();
            leaked.push(black_box(vec![1_u8; 64 * 1024]));
        }
        sampler.look();
    }
    let growth = sampler.latest().growth;
    let slope = growth.bytes_per_1000_requests.unwrap();
    assert!(slope >= 1_000 * 60 * 1024, "{growth:?}");
    assert!(growth.samples >= 30, "{growth:?}");
    drop(leaked);
}
