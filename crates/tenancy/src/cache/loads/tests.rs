use std::{
    error::Error,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, future::join_all};
use tokio::{
    runtime,
    sync::{Notify, oneshot},
    time::{advance, sleep, timeout},
};

use super::{Flight, FlightKey, LoadError, LoadFuture, LoadSettings, Loads};
use crate::cache::{key::Keys, versions::Stamp};

const NOTES: Keys<u32, u64> = Keys::new("notes", 1);

fn stamp(base: u64) -> Stamp {
    Stamp::from_parts(base, &[(3, 1)]).unwrap()
}

fn key(number: u32) -> FlightKey {
    FlightKey::new(&NOTES.key(number), stamp(1))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn small() -> LoadSettings {
    LoadSettings {
        deadline: seconds(30),
        takeover_after: seconds(5),
        at_once: 4,
        most: 8,
    }
}

/// A loader that counts its calls, waits for a sign, and loads how often it was called.
#[derive(Clone, Default)]
struct Source {
    calls: Arc<AtomicUsize>,
    sign: Arc<Notify>,
}

impl Source {
    fn load(&self) -> LoadFuture<u64> {
        let Self { calls, sign } = self.clone();
        async move {
            let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
            sign.notified().await;
            Ok(call as u64)
        }
        .boxed()
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

fn loaded(number: u64) -> LoadFuture<u64> {
    async move { Ok(number) }.boxed()
}

fn never() -> LoadFuture<u64> {
    std::future::pending().boxed()
}

fn fails(after: Duration) -> LoadFuture<u64> {
    async move {
        sleep(after).await;
        Err(io::Error::new(io::ErrorKind::NotFound, "no such note").into())
    }
    .boxed()
}

/// Lets all other tasks go on until they wait.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

fn spawned(flight: Flight<u64>) -> tokio::task::JoinHandle<Result<u64, LoadError>> {
    tokio::spawn(flight.outcome())
}

#[tokio::test(start_paused = true)]
async fn all_who_ask_at_the_same_time_share_one_load() {
    let (loads, source) = (Loads::new(small()), Source::default());
    let flights: Vec<_> = (0..50)
        .map(|_| spawned(loads.join(key(1), || source.load())))
        .collect();
    settle().await;
    source.sign.notify_one();
    for outcome in join_all(flights).await {
        assert_eq!(outcome.unwrap().unwrap(), 1);
    }
    assert_eq!(source.calls(), 1);
    assert_eq!(loads.aloft(), 0);
}

#[tokio::test(start_paused = true)]
async fn four_hundred_who_hang_up_neither_stop_nor_repeat_a_load() {
    let (loads, source) = (Loads::new(small()), Source::default());
    for caller in 0..400 {
        let flight = loads.join(key(1), || source.load());
        match caller % 3 {
            0 => drop(flight),
            1 => assert!(flight.outcome().now_or_never().is_none()),
            _ => {
                let waiting = spawned(flight);
                settle().await;
                waiting.abort();
            }
        }
    }
    let last = spawned(loads.join(key(1), || source.load()));
    settle().await;
    source.sign.notify_one();
    assert_eq!(last.await.unwrap().unwrap(), 1);
    assert_eq!(source.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_value_is_loaded_when_nobody_waits_any_more() {
    let (loads, (sender, receiver)) = (Loads::new(small()), oneshot::channel());
    drop(loads.join(key(1), || {
        async move {
            sleep(seconds(1)).await;
            sender.send(()).unwrap();
            Ok(1)
        }
        .boxed()
    }));
    receiver.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_comes_after_a_flush_does_not_join_what_began_before() {
    let loads = Loads::new(small());
    let source = Source::default();
    let before = spawned(loads.join(key(1), || source.load()));
    settle().await;
    let after = loads.join(FlightKey::new(&NOTES.key(1), stamp(2)), || loaded(99));
    assert_eq!(after.outcome().await.unwrap(), 99);
    source.sign.notify_one();
    assert_eq!(before.await.unwrap().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn keys_of_other_values_or_types_are_other_loads() {
    let same_name: Keys<u32, String> = Keys::new("notes", 1);
    let all = [
        key(1),
        key(2),
        FlightKey::new(&same_name.key(1), stamp(1)),
        FlightKey::new(&NOTES.key(1), stamp(2)),
    ];
    let loads = Loads::new(small());
    for (at, key) in all.iter().enumerate() {
        drop(loads.join(key.clone(), never));
        assert_eq!(loads.aloft(), at + 1);
    }
    drop(loads.join(key(1), || panic!("there is one already")));
}

#[tokio::test(start_paused = true)]
async fn an_error_is_told_to_all_and_not_kept() {
    let loads = Loads::new(small());
    let flights: Vec<_> = (0..3)
        .map(|_| loads.join(key(1), || fails(seconds(1))).outcome())
        .collect();
    for error in join_all(flights).await {
        let error = error.unwrap_err();
        assert!(error.is_failed());
        assert!(!(error.is_timed_out() || error.is_panicked() || error.is_busy() || error.is_abandoned()));
        assert_eq!(
            error.downcast_ref::<io::Error>().unwrap().kind(),
            io::ErrorKind::NotFound
        );
        assert!(error.downcast_ref::<std::fmt::Error>().is_none());
        assert_eq!(error.source().unwrap().to_string(), "no such note");
        assert_eq!(
            (error.to_string().as_str(), error.kind()),
            ("notes could not be loaded", "notes")
        );
    }
    assert_eq!(loads.join(key(1), || loaded(2)).outcome().await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_told_to_all_and_leaves_nothing_behind() {
    let loads = Loads::new(LoadSettings {
        at_once: 1,
        ..small()
    });
    let flights: Vec<_> = (0..3)
        .map(|_| {
            let load = || async { panic!("no table {}", "notes") }.boxed();
            loads.join(key(1), load).outcome()
        })
        .collect();
    for error in join_all(flights).await {
        let error = error.unwrap_err();
        assert!(error.is_panicked() && error.source().is_none());
        assert_eq!(error.to_string(), "loading notes panicked: no table notes");
    }
    assert_eq!(loads.aloft(), 0);
    assert_eq!(loads.join(key(1), || loaded(2)).outcome().await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_panics_leaves_nobody_waiting() {
    let loads = Loads::<u64>::new(small());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        loads.join(key(1), || panic!("not even started"))
    }));
    assert!(panicked.is_err());
    assert_eq!(loads.aloft(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_never_returns_ends_at_its_deadline() {
    let loads = Loads::new(LoadSettings {
        at_once: 1,
        ..small()
    });
    let hung = spawned(loads.join(key(1), never));
    settle().await;
    advance(seconds(29)).await;
    settle().await;
    assert!(!hung.is_finished());
    advance(seconds(1)).await;
    assert!(hung.await.unwrap().unwrap_err().is_timed_out());
    assert_eq!(loads.aloft(), 0);
    assert_eq!(
        loads.join(key(2), || loaded(2)).outcome().await.unwrap(),
        2,
        "its turn is given back"
    );
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_seems_to_hang_gets_another_beside_it() {
    let (loads, source) = (Loads::new(small()), Source::default());
    let first = spawned(loads.join(key(1), never));
    settle().await;
    advance(Duration::from_millis(4999)).await;
    let joined = spawned(loads.join(key(1), || panic!("not yet")));
    settle().await;
    advance(Duration::from_millis(1)).await;
    let second = spawned(loads.join(key(1), || source.load()));
    settle().await;
    advance(seconds(20)).await;
    let third = spawned(loads.join(key(1), || panic!("two are the most")));
    settle().await;
    source.sign.notify_one();
    for waiting in [first, joined, second, third] {
        assert_eq!(waiting.await.unwrap().unwrap(), 1);
    }
    assert_eq!(source.calls(), 1);
    assert_eq!(loads.aloft(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_waits_for_its_turn_is_not_taken_over() {
    let loads = Loads::new(LoadSettings {
        at_once: 1,
        ..small()
    });
    drop(loads.join(key(1), never));
    settle().await;
    drop(loads.join(key(2), || loaded(2)));
    settle().await;
    advance(seconds(20)).await;
    drop(loads.join(key(2), || panic!("it would only wait too")));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_one_of_two_loaders_waits_for_the_other() {
    let loads = Loads::new(small());
    let first = spawned(loads.join(key(1), || fails(seconds(8))));
    settle().await;
    advance(seconds(6)).await;
    let source = Source::default();
    let second = spawned(loads.join(key(1), || source.load()));
    settle().await;
    advance(seconds(3)).await;
    settle().await;
    assert!(!first.is_finished() && !second.is_finished());
    source.sign.notify_one();
    assert_eq!(first.await.unwrap().unwrap(), 1);
    assert_eq!(second.await.unwrap().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_error_of_the_last_of_two_loaders_ends_the_wait() {
    let loads = Loads::new(small());
    let first = spawned(loads.join(key(1), || fails(seconds(8))));
    settle().await;
    advance(seconds(6)).await;
    let second = spawned(loads.join(key(1), || async { panic!("too") }.boxed()));
    settle().await;
    assert!(!second.is_finished());
    advance(seconds(2)).await;
    assert!(first.await.unwrap().unwrap_err().is_failed());
    assert!(second.await.unwrap().unwrap_err().is_failed());
    assert_eq!(loads.aloft(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_ends_late_leaves_a_later_load_alone() {
    let (loads, late) = (Loads::new(small()), Source::default());
    drop(loads.join(key(1), || late.load()));
    settle().await;
    advance(seconds(5)).await;
    assert_eq!(loads.join(key(1), || loaded(2)).outcome().await.unwrap(), 2);

    let source = Source::default();
    let later = spawned(loads.join(key(1), || source.load()));
    settle().await;
    late.sign.notify_one();
    settle().await;
    assert!(!later.is_finished());
    assert_eq!(loads.aloft(), 1);
    source.sign.notify_one();
    assert_eq!(later.await.unwrap().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_more_loaders_run_at_once_than_the_scope_may_have() {
    let loads = Loads::new(LoadSettings { most: 100, ..small() });
    let (running, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let flights: Vec<_> = (0..40)
        .map(|number| {
            let (running, peak) = (Arc::clone(&running), Arc::clone(&peak));
            let load = async move {
                peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                sleep(seconds(1)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(u64::from(number))
            };
            loads.join(key(number), || load.boxed()).outcome()
        })
        .collect();
    for (number, outcome) in join_all(flights).await.into_iter().enumerate() {
        assert_eq!(outcome.unwrap(), number as u64);
    }
    assert_eq!(peak.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn whose_turn_does_not_come_is_busy() {
    let loads = Loads::new(small());
    for number in 0..4 {
        drop(loads.join(key(number), never));
    }
    settle().await;
    // The four end at the same moment; this one would have had its turn right then.
    let error = loads
        .join(key(4), || panic_when_polled("not its turn"))
        .outcome()
        .await
        .unwrap_err();
    assert!(error.is_busy() && !error.is_timed_out(), "{error}");
}

fn panic_when_polled(why: &'static str) -> LoadFuture<u64> {
    async move { panic!("{why}") }.boxed()
}

#[tokio::test(start_paused = true)]
async fn more_than_a_scope_may_load_are_busy_at_once() {
    let loads = Loads::new(small());
    for number in 0..8 {
        drop(loads.join(key(number), never));
    }
    let refused = loads.join(key(8), || panic!("there is no place"));
    assert!(refused.outcome().now_or_never().unwrap().unwrap_err().is_busy());
    assert_eq!(loads.aloft(), 8);
    let joined = loads.join(key(7), || panic!("it is there"));
    assert!(
        joined.outcome().now_or_never().is_none(),
        "who joins needs no place"
    );
}

#[test]
fn a_runtime_that_ends_leaves_nobody_waiting() {
    let loads = Loads::new(small());
    let of_one_thread = || {
        runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
    };
    let ending = of_one_thread();
    let flight = ending.block_on(async {
        let flight = loads.join(key(1), never);
        drop(loads.join(key(2), || loaded(1)));
        settle().await;
        flight
    });
    drop(ending);
    let waiting = async { timeout(seconds(100), flight.outcome()).await };
    let error = of_one_thread().block_on(waiting).unwrap().unwrap_err();
    assert!(error.is_abandoned(), "{error}");
    assert_eq!(loads.aloft(), 0);
}

#[test]
fn a_load_on_a_runtime_that_has_ended_is_abandoned() {
    let loads = Loads::<u64>::new(small());
    let ended = runtime::Builder::new_current_thread().build().unwrap();
    let handle = ended.handle().clone();
    drop(ended);
    let _entered = handle.enter();
    let outcome = loads.join(key(1), never).outcome().now_or_never();
    assert!(outcome.unwrap().unwrap_err().is_abandoned());
    assert_eq!(loads.aloft(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_never_load_one_value_twice_at_once() {
    let loads = Arc::new(Loads::new(LoadSettings::default()));
    let running: Arc<Vec<AtomicUsize>> = Arc::new((0..4).map(|_| AtomicUsize::new(0)).collect());
    let callers = (0..8).map(|caller| {
        let (loads, running) = (Arc::clone(&loads), Arc::clone(&running));
        tokio::spawn(async move {
            for turn in 0..300_u32 {
                let number = (turn * 7 + caller) % 4;
                let running = Arc::clone(&running);
                let load = async move {
                    let here = &running[number as usize];
                    assert_eq!(here.fetch_add(1, Ordering::SeqCst), 0);
                    tokio::task::yield_now().await;
                    here.fetch_sub(1, Ordering::SeqCst);
                    Ok(u64::from(number))
                };
                let flight = loads.join(key(number), || load.boxed());
                if turn % 5 != 0 {
                    assert_eq!(flight.outcome().await.unwrap(), u64::from(number));
                }
            }
        })
    });
    for caller in join_all(callers).await {
        caller.unwrap();
    }
}

/// Loads `outer`, whose loader joins `inner`.
fn nested(loads: &Arc<Loads<u64>>, outer: u32, inner: u32, source: &Source) -> Flight<u64> {
    let (within, source) = (Arc::clone(loads), source.clone());
    loads.join(key(outer), move || {
        async move {
            let found = within.join(key(inner), || source.load()).outcome().await;
            found.map_err(Into::into)
        }
        .boxed()
    })
}

#[tokio::test(start_paused = true)]
async fn a_load_within_a_load_needs_no_turn_of_its_own() {
    let loads = Arc::new(Loads::new(LoadSettings {
        at_once: 1,
        ..small()
    }));
    let source = Source::default();
    let outer = nested(&loads, 1, 2, &source);
    source.sign.notify_one();
    assert_eq!(timeout(seconds(1), outer.outcome()).await.unwrap().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_kept_by_who_waits_for_a_load_that_has_none() {
    let loads = Arc::new(Loads::new(LoadSettings {
        at_once: 1,
        ..small()
    }));
    let source = Source::default();
    let go_on = Arc::new(Notify::new());
    let (within, inner, told) = (Arc::clone(&loads), source.clone(), Arc::clone(&go_on));
    let outer = loads.join(key(1), move || {
        async move {
            told.notified().await;
            let found = within.join(key(2), || inner.load()).outcome().await;
            found.map_err(Into::into)
        }
        .boxed()
    });
    sleep(seconds(1)).await;
    let waiting = loads.join(key(2), || source.load());
    sleep(seconds(1)).await;
    assert_eq!(source.calls.load(Ordering::SeqCst), 0, "the one turn is taken");
    go_on.notify_one();
    source.sign.notify_one();
    for flight in [waiting, outer] {
        assert_eq!(timeout(seconds(1), flight.outcome()).await.unwrap().unwrap(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_that_asks_for_itself_is_an_error_at_once() {
    let loads = Arc::new(Loads::new(small()));
    let source = Source::default();
    let within = Arc::clone(&loads);
    let outer = loads.join(key(1), move || {
        async move { nested(&within, 2, 1, &source).outcome().await.map_err(Into::into) }.boxed()
    });
    let error = timeout(seconds(1), outer.outcome()).await.unwrap().unwrap_err();
    let inner = error.downcast_ref::<LoadError>().unwrap();
    let innermost = inner.downcast_ref::<LoadError>().unwrap();
    assert!(innermost.is_circular(), "{innermost}");
    assert_eq!(loads.aloft(), 0);
}
