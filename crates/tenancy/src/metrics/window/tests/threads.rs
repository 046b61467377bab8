//! The cells once more, with a checker's atomics, in orders that the checker finds; and with those of the machine.

#[expect(clippy::duplicate_mod, reason = "the same code on other atomics")]
#[path = "../cells.rs"]
#[allow(dead_code, reason = "only what threads do at once is tried here")]
mod cells;

mod atomics {
    pub(super) use shuttle::sync::atomic::{AtomicU32, AtomicU64, Ordering};
}

use std::sync::atomic::{AtomicBool, Ordering};

use shuttle::check_random;

use self::cells::Stripe;
use super::super::{Live, gathered, gathered::Gathered, scale, scale::Scale};

#[test]
fn no_value_is_lost_or_counted_twice_while_counts_are_taken() {
    let schedule = || {
        let stripe = shuttle::sync::Arc::new(Stripe::default());
        let scale = Scale::from_power(0);
        let writers = [1.0, 1.0, 40.0].map(|value| {
            let stripe = shuttle::sync::Arc::clone(&stripe);
            shuttle::thread::spawn(move || stripe.record(&scale, value, value > 2.0))
        });
        let mut taken = Gathered::default();
        stripe.take(&mut taken);
        let early = taken.count;
        assert!(taken.errors <= taken.count);
        for writer in writers {
            writer.join().unwrap();
        }
        stripe.take(&mut taken);
        assert_eq!((taken.count, taken.errors), (3, 1), "{early} were taken early");
        assert_eq!(scale.value_of_units(taken.sum), 42.0);
        let mut rest = Gathered::default();
        stripe.take(&mut rest);
        assert_eq!(rest.count, 0);
    };
    check_random(schedule, 150);
}

#[test]
fn what_was_noted_for_the_next_time_does_not_move_the_ends() {
    let schedule = || {
        let stripe = shuttle::sync::Arc::new(Stripe::default());
        let scale = Scale::from_power(0);
        stripe.record(&scale, 4.0, false);
        let writer = {
            let stripe = shuttle::sync::Arc::clone(&stripe);
            shuttle::thread::spawn(move || stripe.record(&scale, 64.0, false))
        };
        let mut taken = Gathered::default();
        stripe.take(&mut taken);
        let count = taken.count;
        let sketch = taken.into_sketch(&scale);
        if count == 1 {
            assert!(sketch.max().unwrap() <= 4.5, "{sketch:?}");
        }
        writer.join().unwrap();
        if count == 1 {
            let mut later = Gathered::default();
            stripe.take(&mut later);
            let later = later.into_sketch(&scale);
            assert!(
                later.min().unwrap() >= 64.0 && later.max().unwrap() <= 72.0,
                "{later:?}"
            );
        }
    };
    check_random(schedule, 150);
}

#[test]
fn threads_of_this_machine_lose_nothing_either() {
    const EACH: u64 = 20_000;
    let (live, scale, done) = (Live::default(), Scale::from_power(-20), AtomicBool::new(false));
    let (mut count, mut errors) = (0, 0);
    std::thread::scope(|threads| {
        let writers: Vec<_> = (0..4)
            .map(|_| {
                threads.spawn(|| {
                    for number in 0..EACH {
                        live.record(&scale, 0.001 * number as f64, number % 4 == 0);
                    }
                })
            })
            .collect();
        let taker = threads.spawn(|| {
            let (mut count, mut errors) = (0, 0);
            while !done.load(Ordering::Acquire) {
                let taken = live.take(&scale);
                count += taken.count();
                errors += taken.errors();
            }
            (count, errors)
        });
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Release);
        (count, errors) = taker.join().unwrap();
    });
    let rest = live.take(&scale);
    assert_eq!(count + rest.count(), 4 * EACH);
    assert_eq!(errors + rest.errors(), EACH);
}
