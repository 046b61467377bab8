//! Windows over several processes, and stores that are away.

use std::{
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::body::Bytes;
use futures_util::future::{BoxFuture, FutureExt, ready};
use tenancy_core::ManualClock;

use super::{Fixture, recorder::Recorded};
use crate::{
    metrics::{MemoryWindowStore, Metrics, NodeMinute, REQUEST_DURATION, WindowStore, WindowStoreError},
    tenant::tests::tenant,
};

const MINUTE: Duration = Duration::from_secs(60);

/// Two processes whose clocks go together.
fn nodes(store: &MemoryWindowStore) -> [Fixture; 2] {
    let clock = Arc::new(ManualClock::new());
    ["one", "other"].map(|name| node(store, &clock, name))
}

fn node(store: &MemoryWindowStore, clock: &Arc<ManualClock>, name: &str) -> Fixture {
    let recorded = Recorded::default();
    let metrics = Metrics::builder()
        .clock(Arc::clone(clock))
        .recorder(recorded.clone())
        .store(store.clone(), name)
        .build()
        .unwrap();
    Fixture {
        clock: Arc::clone(clock),
        recorded,
        metrics,
    }
}

#[tokio::test]
async fn a_window_over_all_nodes_covers_what_any_was_there_for_and_no_minute_that_goes_on() {
    let (store, clock) = (MemoryWindowStore::new(), Arc::new(ManualClock::new()));
    // To the beginning of a minute.
    clock.advance(Duration::from_secs(20));
    let old = node(&store, &clock, "old");
    for _ in 0..5 {
        old.pass(MINUTE);
        assert!(old.metrics.flush().await);
    }
    let young = node(&store, &clock, "young");
    young.request(&tenant("acme"), 0.1);
    old.pass(MINUTE);
    assert!(old.metrics.flush().await);
    young.metrics.rotate();
    young.request(&tenant("acme"), 0.1);
    clock.advance(Duration::from_secs(30));
    young.request(&tenant("acme"), 0.1);
    for (length, minutes) in [(10, 6), (3, 3), (1, 1)] {
        let window = young.metrics.last(MINUTE * length);
        let stats = window.stats_of_all_nodes().await.unwrap();
        assert_eq!(
            stats.covered(),
            MINUTE * minutes,
            "of {length}, though one of them was idle"
        );
        assert_eq!(stats.samples(), 1);
    }
    let alone = young.metrics.last(MINUTE * 10).stats().unwrap();
    assert_eq!(alone.samples(), 3, "of this one the newest are known");
}

#[tokio::test]
async fn figures_of_all_nodes_are_added_up_and_none_twice() {
    let store = MemoryWindowStore::new();
    let [one, other] = nodes(&store);
    for _ in 0..3 {
        (0..2).for_each(|_| one.request(&tenant("acme"), 0.1));
        (0..5).for_each(|_| other.request(&tenant("acme"), 0.4));
        other.request(&tenant("globex"), 0.4);
        one.clock.advance(MINUTE);
        for node in [&one, &other] {
            node.metrics.rotate();
            assert!(node.metrics.flush().await && node.metrics.flush().await);
        }
    }
    let window = one.metrics.last(10 * MINUTE);
    let acme = tenant("acme");
    assert_eq!(window.clone().tenant(acme.id()).stats().unwrap().samples(), 6);
    let all = window
        .clone()
        .tenant(acme.id())
        .stats_of_all_nodes()
        .await
        .unwrap();
    assert_eq!((all.samples(), all.min(), all.max()), (21, Some(0.1), Some(0.4)));
    assert_eq!(window.stats_of_all_nodes().await.unwrap().samples(), 24);
    let globex = window.label("globex").stats_of_all_nodes().await.unwrap();
    assert_eq!(globex.samples(), 3, "which this node does not know");
}

/// What there is in the store of all metrics and labels together.
async fn written(store: &MemoryWindowStore, reader: &Fixture) -> u64 {
    assert!(!store.read(0..=u32::MAX).await.unwrap().is_empty());
    let window = reader.metrics.last(10 * MINUTE);
    window.stats_of_all_nodes().await.unwrap().samples()
}

#[tokio::test]
async fn flushing_ends_a_minute_that_is_over() {
    let store = MemoryWindowStore::new();
    let [one, other] = nodes(&store);
    other.request(&tenant("acme"), 0.1);
    other.clock.advance(MINUTE);
    assert!(other.metrics.flush().await);
    assert_eq!(written(&store, &one).await, 1);
}

#[tokio::test]
async fn a_process_that_closes_leaves_the_minute_that_has_begun_and_counts_on() {
    let store = MemoryWindowStore::new();
    let [one, other] = nodes(&store);
    // The clock begins 40 seconds into a minute.
    other.pass(Duration::from_secs(20));
    other.request(&tenant("acme"), 0.1);
    other.pass(Duration::from_secs(10));
    other.request(&tenant("acme"), 0.1);
    assert!(other.metrics.close().await && other.metrics.close().await);
    other.request(&tenant("acme"), 0.1);
    assert_eq!(other.samples(None), 3);
    one.clock.advance(Duration::from_secs(50));
    assert_eq!(written(&store, &one).await, 2);
    assert!(other.metrics.flush().await);
    assert_eq!(
        written(&store, &one).await,
        3,
        "the whole in the place of the part"
    );
}

#[tokio::test]
async fn what_is_no_figure_is_passed_over_and_counted() {
    let store = MemoryWindowStore::new();
    let [one, other] = nodes(&store);
    other.request(&tenant("acme"), 0.1);
    other.pass(MINUTE);
    assert!(other.metrics.flush().await);
    let minutes = store.read(0..=u32::MAX).await.unwrap();
    let minute = minutes[0].minute;
    for (node, bytes) in [("junk", &b"\x01\x7fjunk"[..]), ("newer", &[9, 9]), ("empty", &[])] {
        store.put(minute, node, bytes).await.unwrap();
    }
    let window = one.metrics.last(10 * MINUTE);
    assert_eq!(window.stats_of_all_nodes().await.unwrap().samples(), 1);
    let unreadable = one.recorded.value("metrics_minutes_unreadable_total{}");
    assert_eq!(unreadable, Some(3.0));
}

/// A store that fails while it is told to.
#[derive(Clone, Debug)]
struct Away {
    kept: MemoryWindowStore,
    is_away: Arc<AtomicBool>,
    panics: bool,
}

impl WindowStore for Away {
    fn put<'a>(
        &'a self,
        minute: u32,
        node: &'a str,
        figures: &'a [u8],
    ) -> BoxFuture<'a, Result<(), WindowStoreError>> {
        if !self.is_away.load(Ordering::SeqCst) {
            return self.kept.put(minute, node, figures);
        }
        assert!(!self.panics, "the store panics");
        ready(Err(WindowStoreError::new("away"))).boxed()
    }

    fn read(&self, minutes: RangeInclusive<u32>) -> BoxFuture<'_, Result<Vec<NodeMinute>, WindowStoreError>> {
        if self.is_away.load(Ordering::SeqCst) {
            return ready(Err(WindowStoreError::new("away"))).boxed();
        }
        self.kept.read(minutes)
    }
}

#[tokio::test]
async fn a_store_that_is_away_costs_the_oldest_minutes_and_nothing_else() {
    for panics in [false, true] {
        let store = Away {
            kept: MemoryWindowStore::new(),
            is_away: Arc::new(AtomicBool::new(true)),
            panics,
        };
        let fixture = Fixture::new(|builder| builder.store(store.clone(), "node"));
        for _ in 0..13 {
            fixture.request(&tenant("acme"), 0.1);
            fixture.pass(MINUTE);
            assert!(!fixture.metrics.flush().await);
        }
        assert_eq!(
            fixture.recorded.value("metrics_minutes_dropped_total{}"),
            Some(3.0)
        );
        let window = fixture.metrics.last(20 * MINUTE);
        assert!(window.stats_of_all_nodes().await.unwrap_err().is_store_away());
        assert_eq!(window.stats().unwrap().samples(), 13);
        store.is_away.store(false, Ordering::SeqCst);
        assert!(fixture.metrics.flush().await);
        assert_eq!(store.kept.read(0..=u32::MAX).await.unwrap().len(), 10);
    }
}

/// A minute with one value of each label, in this bucket.
fn minute_with(labels: &[&str], bucket: u16) -> Bytes {
    let mut sketch = vec![1, 0, 1, 0];
    for _ in ["sum", "min", "max"] {
        sketch.extend(0.125_f64.to_le_bytes());
    }
    sketch.extend([1, bucket as u8 | 0x80, (bucket >> 7) as u8, 1]);
    let mut bytes = vec![1];
    for label in labels {
        for part in [label.as_bytes(), REQUEST_DURATION.as_bytes(), &sketch] {
            bytes.push(part.len() as u8);
            bytes.extend(part);
        }
    }
    bytes.into()
}

/// Answers with what nobody asked for.
#[derive(Debug)]
struct Hostile;

impl WindowStore for Hostile {
    fn put<'a>(&'a self, _: u32, _: &'a str, _: &'a [u8]) -> BoxFuture<'a, Result<(), WindowStoreError>> {
        ready(Ok(())).boxed()
    }

    fn read(&self, minutes: RangeInclusive<u32>) -> BoxFuture<'_, Result<Vec<NodeMinute>, WindowStoreError>> {
        // Of an eighth of a second, and of less than a microsecond.
        let (known, unknown) = (8160, 8000);
        let minute = |minute: u32, node: &str, figures: Bytes| NodeMinute {
            minute,
            node: node.to_owned(),
            figures,
        };
        let last = *minutes.end();
        ready(Ok(vec![
            minute(last, "fine", minute_with(&["acme", "globex"], known)),
            minute(last, "fine", minute_with(&["acme", "globex"], known)),
            minute(last + 1, "early", minute_with(&["acme"], known)),
            minute(*minutes.start() - 1, "late", minute_with(&["acme"], known)),
            minute(last, "twice", minute_with(&["acme", "acme"], known)),
            minute(last, "elsewhere", minute_with(&["acme"], unknown)),
        ]))
        .boxed()
    }
}

#[tokio::test]
async fn what_a_store_makes_up_is_passed_over_and_counted() {
    let fixture = Fixture::new(|builder| builder.store(Hostile, "node"));
    fixture.pass(MINUTE);
    let window = fixture.metrics.last(10 * MINUTE);
    assert_eq!(window.stats_of_all_nodes().await.unwrap().samples(), 2);
    let unreadable = fixture.recorded.value("metrics_minutes_unreadable_total{}");
    assert_eq!(unreadable, Some(5.0));
}

#[derive(Debug)]
struct Panics {
    at_once: bool,
}

impl WindowStore for Panics {
    fn put<'a>(&'a self, _: u32, _: &'a str, _: &'a [u8]) -> BoxFuture<'a, Result<(), WindowStoreError>> {
        ready(Ok(())).boxed()
    }

    fn read(&self, _: RangeInclusive<u32>) -> BoxFuture<'_, Result<Vec<NodeMinute>, WindowStoreError>> {
        assert!(!self.at_once, "the store panics");
        async { panic!("the store panics later") }.boxed()
    }
}

#[tokio::test]
async fn a_store_that_panics_is_one_that_does_not_answer() {
    for at_once in [true, false] {
        let fixture = Fixture::new(|builder| builder.store(Panics { at_once }, "node"));
        let window = fixture.metrics.last(10 * MINUTE);
        assert!(window.stats_of_all_nodes().await.unwrap_err().is_store_away());
    }
}

#[tokio::test]
async fn without_a_store_there_are_no_other_nodes() {
    let fixture = Fixture::new(|builder| builder);
    assert!(fixture.metrics.flush().await);
    let error = fixture
        .metrics
        .last(MINUTE)
        .stats_of_all_nodes()
        .await
        .unwrap_err();
    assert!(error.is_no_store());
    let error = Metrics::builder()
        .store(MemoryWindowStore::new(), "a node")
        .build()
        .unwrap_err();
    assert!(
        error.to_string().contains("\"a node\" is no name of a node"),
        "{error}"
    );
}
