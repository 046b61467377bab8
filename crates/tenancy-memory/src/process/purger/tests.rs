use std::{sync::Arc, time::Duration};

use tenancy_core::ManualClock;

use super::*;
use crate::process::{Allocator, ProcessMemory, RequestCount};

const SECOND: Duration = Duration::from_secs(1);

fn terms(over: Option<u64>, after_requests: Option<u64>) -> Terms {
    Terms {
        over,
        after_requests,
        min_interval: 60 * SECOND,
    }
}

fn memory(beyond_live: Reading, requests: u64) -> ProcessMemory {
    ProcessMemory {
        beyond_live,
        requests,
        ..ProcessMemory::read(Allocator::Unknown)
    }
}

fn purge(reason: PurgeReason, given_back: u64) -> Purge {
    Purge {
        reason,
        resident_before: Reading::Unavailable,
        resident_after: Reading::Unavailable,
        given_back: Reading::Bytes(given_back),
        took_us: 0,
        done_at_ms: 0,
    }
}

#[test]
fn it_is_time_when_more_is_free_than_allowed_and_never_when_nobody_says() {
    let plan = Plan::new(terms(Some(1_000), None));
    let due = |beyond| plan.due(SECOND, &memory(beyond, 0));
    assert_eq!(due(Reading::Bytes(1_000)), None);
    assert_eq!(due(Reading::Bytes(1_001)), Some(PurgeReason::Threshold));
    assert_eq!(due(Reading::Unavailable), None);
    let off = Plan::new(terms(None, None));
    assert_eq!(off.due(SECOND, &memory(Reading::Bytes(u64::MAX), u64::MAX)), None);
}

#[test]
fn it_is_time_after_so_many_requests_and_again_after_as_many() {
    let mut plan = Plan::new(terms(None, Some(1_000)));
    let due = |plan: &Plan, at: u32, requests| plan.due(at * SECOND, &memory(Reading::Bytes(0), requests));
    assert_eq!(due(&plan, 0, 999), None);
    assert_eq!(due(&plan, 0, 1_000), Some(PurgeReason::Requests));
    plan.done(Duration::ZERO, 1_000, &purge(PurgeReason::Requests, 0));
    assert_eq!(due(&plan, 100, 1_999), None);
    assert_eq!(due(&plan, 59, 2_000), None);
    assert_eq!(due(&plan, 60, 2_000), Some(PurgeReason::Requests));
}

#[test]
fn purges_in_vain_become_rarer_until_one_is_worth_it() {
    let mut plan = Plan::new(terms(Some(1_000), None));
    let is_due = |plan: &Plan, at| plan.due(at, &memory(Reading::Bytes(5_000), 0)).is_some();
    let mut now = Duration::ZERO;
    for pause in [120, 240, 480, 960, 1_920, 3_600, 3_600] {
        plan.done(now, 0, &purge(PurgeReason::Threshold, 99));
        assert!(!is_due(&plan, now + (pause - 1) * SECOND), "{pause}");
        now += pause * SECOND;
        assert!(is_due(&plan, now), "{pause}");
    }
    plan.done(now, 0, &purge(PurgeReason::Threshold, 100));
    assert!(is_due(&plan, now + 60 * SECOND));
}

#[test]
fn any_interval_may_be_given() {
    for min_interval in [Duration::ZERO, Duration::MAX] {
        let mut plan = Plan::new(Terms {
            min_interval,
            ..terms(Some(0), Some(1))
        });
        plan.done(Duration::MAX, u64::MAX, &purge(PurgeReason::Threshold, 0));
        let _ = plan.due(Duration::MAX, &memory(Reading::Bytes(1), 0));
        assert!(!plan.may(Duration::ZERO));
    }
}

#[test]
fn a_second_is_between_any_two_purges() {
    let mut plan = Plan::new(Terms {
        min_interval: Duration::ZERO,
        ..terms(Some(1), Some(1))
    });
    for reason in [PurgeReason::Threshold, PurgeReason::Requests] {
        plan.done(SECOND, 0, &purge(reason, 5));
        let due = |at| plan.due(at, &memory(Reading::Bytes(2), 1));
        assert_eq!(due(2 * SECOND - Duration::from_nanos(1)), None);
        assert!(due(2 * SECOND).is_some());
    }
}

#[test]
fn a_purger_that_can_do_nothing_says_so() {
    let (seen, unseen) = (memory(Reading::Bytes(0), 0), memory(Reading::Unavailable, 0));
    let by_threshold = Plan::new(terms(Some(1), None));
    let by_requests = Plan::new(terms(None, Some(1)));
    assert!(by_threshold.hopeless(Allocator::Unknown, &seen).is_some());
    assert!(by_requests.hopeless(Allocator::Unknown, &unseen).is_some());
    assert_eq!(by_threshold.hopeless(Allocator::Glibc, &seen), None);
    // mimalloc says what it has, and not what is live.
    assert!(by_threshold.hopeless(Allocator::Mimalloc, &unseen).is_some());
    assert_eq!(by_requests.hopeless(Allocator::Mimalloc, &unseen), None);
}

#[test]
fn who_asks_twice_in_a_second_is_refused_the_second_time() {
    let clock = Arc::new(ManualClock::new());
    let sampler = MemorySampler::builder().start().unwrap();
    if sampler.allocator() == Allocator::Unknown {
        // Feature `glibc` is off: asked of the program in `tests/purging.rs`.
        return;
    }
    let purger = Purger::builder().clock(clock.clone()).start(&sampler).unwrap();
    assert_eq!(purger.purge().unwrap().reason, PurgeReason::Command);
    assert_eq!(purger.purge(), Err(PurgeRefused::TooSoon));
    clock.advance(SECOND);
    assert!(purger.purge().is_ok());
    assert_eq!(purger.state().purges, 2);
}

/// A clock that stands still until somebody lets it go on, so that a purge is under way for as long.
#[derive(Debug)]
struct Gate {
    arrived: std::sync::mpsc::SyncSender<()>,
    go_on: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl Clock for Gate {
    fn monotonic(&self) -> Duration {
        let _ = self.arrived.send(());
        let _ = self.go_on.lock().unwrap().recv();
        Duration::ZERO
    }

    fn unix_time(&self) -> Duration {
        Duration::ZERO
    }
}

#[test]
fn who_asks_while_a_purge_is_under_way_is_refused_at_once() {
    let (arrived, has_arrived) = std::sync::mpsc::sync_channel(0);
    let (let_go_on, go_on) = std::sync::mpsc::channel();
    let gate = Gate {
        arrived,
        go_on: Mutex::new(go_on),
    };
    let sampler = MemorySampler::builder()
        .allocator(Allocator::Unknown)
        .start()
        .unwrap();
    let purger = Purger::builder()
        .look_every(Duration::from_secs(3_600))
        .clock(Arc::new(gate))
        .start(&sampler)
        .unwrap();
    let other = purger.clone();
    let first = std::thread::spawn(move || other.purge());
    has_arrived.recv().unwrap();
    for _ in 0..1_000 {
        assert_eq!(purger.purge(), Err(PurgeRefused::UnderWay));
        // Nothing queues up behind the first.
        purger.request();
    }
    // From now on nobody waits at the gate.
    drop((let_go_on, has_arrived));
    assert_eq!(first.join().unwrap(), Err(PurgeRefused::UnknownAllocator));
    assert_eq!(purger.purge(), Err(PurgeRefused::UnknownAllocator));
}

#[test]
fn of_an_unknown_allocator_nothing_is_asked_and_the_refusal_says_what_to_do() {
    let requests = RequestCount::new();
    let sampler = MemorySampler::builder()
        .allocator(Allocator::Unknown)
        .requests(&requests)
        .start()
        .unwrap();
    assert_eq!(sampler.latest().heap.allocated, Reading::Unavailable);
    let purger = Purger::builder().start(&sampler).unwrap();
    let refused = purger.purge().unwrap_err();
    assert_eq!(refused, PurgeRefused::UnknownAllocator);
    assert!(refused.to_string().contains("feature `jemalloc`"));
    assert_eq!(purger.state(), PurgerState::default());
}

#[test]
fn its_thread_ends_with_the_last_handle() {
    let sampler = MemorySampler::builder().start().unwrap();
    let purger = Purger::builder().start(&sampler).unwrap();
    let state = Arc::downgrade(&purger.inner.state);
    let other = purger.clone();
    drop(purger);
    assert!(state.upgrade().is_some());
    drop(other);
    assert!(state.upgrade().is_none());
}
