//! Clocks that jump. Redis's own is in the numbers that it gives, and nowhere else in what processes agree on: a server whose
//! clock has jumped by an hour is one whose numbers are an hour ahead of it, or behind. So these tests move the numbers, and
//! not the machine's clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use tenancy::{
    cache::shared::{Answer, Cell, FlushMode, Raise, SharedLevel},
    core::{Clock, SystemClock},
};
use tenancy_redis::RedisLevel;
use tenancy_test::servers::{Redis, RedisDatabase};

use crate::{
    joined::{Truth, builder, cache_of, process},
    place::{ask, database, eventually, hard, level, newest, raise, raise_of, scope, whole},
};

/// In numbers: milliseconds, and ten bits.
const HOUR: u64 = (60 * 60 * 1_000) << 10;

/// Numbers as after a flush while the server's clock was an hour ahead; it is right again.
async fn raise_an_hour_ahead(level: &RedisLevel) -> u64 {
    let acme = scope("acme");
    let raise = Raise {
        known: newest(level, &acme).await + HOUR,
        ..raise_of(&acme, &[Cell::Slot(7)], FlushMode::Hard)
    };
    level.raise(&raise).await.unwrap().number
}

/// All numbers become those of an hour ago.
async fn set_back(database: &RedisDatabase) {
    let number = database.number();
    let (v, n) = ("tenancy:{acme:1}:v", "tenancy:{acme:1}:n");
    let members = database
        .server()
        .command(format!("SELECT {number}\nZRANGE {v} 0 -1"))
        .await;
    let history = database
        .server()
        .command(format!("SELECT {number}\nLRANGE {n} 0 -1"))
        .await;
    let mut commands = vec![format!("SELECT {number}"), format!("DEL {n}")];
    commands.extend(
        members
            .iter()
            .map(|member| format!("ZINCRBY {v} -{HOUR} {member}")),
    );
    for number in history {
        let number: u64 = number.parse().unwrap();
        commands.push(format!("RPUSH {n} {}", number - HOUR));
    }
    database.server().command(commands.join("\n")).await;
}

#[tokio::test]
async fn after_the_servers_clock_went_back_an_hour_numbers_go_on_above_those_it_gave() {
    let database = database().await;
    let (level, acme) = (level(&database.url()), scope("acme"));
    let ahead = raise_an_hour_ahead(&level).await;
    let mut last = ahead;
    for slot in 0..5 {
        let raised = raise(&level, &acme, slot).await;
        assert!(raised.number > last && raised.previous == last);
        last = raised.number;
    }
    match ask(&level, &acme, ahead).await {
        Answer::Changed { number, levels } => assert_eq!((number, levels.len()), (last, 5)),
        answer => panic!("{answer:?}"),
    }
    // Who was told of nothing but the flush that was ahead teaches a server that lost it.
    let number = database.number();
    database
        .server()
        .command(format!("SELECT {number}\nFLUSHDB"))
        .await;
    assert_eq!(ask(&level, &acme, last).await, Answer::Behind);
    let (taught, _) = whole(level.teach(&acme, &[hard(Cell::Slot(7), ahead)]).await.unwrap());
    assert!(taught > ahead);
}

#[tokio::test]
async fn after_the_servers_clock_went_on_an_hour_numbers_are_above_and_nothing_is_forgotten() {
    let database = database().await;
    let (level, acme) = (level(&database.url()), scope("acme"));
    newest(&level, &acme).await;
    raise(&level, &acme, 1).await;
    set_back(&database).await;
    let before = newest(&level, &acme).await;
    let raised = raise(&level, &acme, 2).await;
    assert_eq!(raised.previous, before);
    assert!(raised.number > before + HOUR / 2, "the clock is in it");
    match ask(&level, &acme, before).await {
        Answer::Changed { number, levels } => {
            assert_eq!(
                (number, levels),
                (raised.number, vec![hard(Cell::Slot(2), raised.number)])
            );
        }
        answer => panic!("{answer:?}"),
    }
}

/// One process's wall clock; its other clock is right.
#[derive(Debug)]
struct JumpingClock {
    machine: SystemClock,
    seconds: AtomicI64,
}

impl JumpingClock {
    fn jump(&self, seconds: i64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for JumpingClock {
    fn monotonic(&self) -> Duration {
        self.machine.monotonic()
    }

    fn monotonic_coarse(&self) -> Duration {
        self.machine.monotonic_coarse()
    }

    fn unix_time(&self) -> Duration {
        let seconds = self.seconds.load(Ordering::SeqCst);
        let jump = Duration::from_secs(seconds.unsigned_abs());
        let now = self.machine.unix_time();
        if seconds < 0 { now - jump } else { now + jump }
    }
}

#[tokio::test]
async fn a_process_whose_wall_clock_jumps_by_hours_flushes_and_hears_of_flushes_as_before() {
    let server = Redis::start(&[]).await.unwrap();
    let clock = Arc::new(JumpingClock {
        machine: SystemClock::new(),
        seconds: AtomicI64::new(0),
    });
    let jumping = builder(&server.url()).clock(Arc::clone(&clock)).build().unwrap();
    let steady = process(&server.url());
    let (here, there) = (cache_of(&jumping, "acme").await, cache_of(&steady, "acme").await);
    let truth = Truth::default();
    for jump in [3_600, -7_200, 7_200, -3_600] {
        for is_away in [false, true] {
            for (flusher, other) in [(&here, &there), (&there, &here)] {
                let before = truth.read(other, 1).await;
                assert_eq!(truth.read(flusher, 1).await, before);
                clock.jump(jump / 4);
                if is_away {
                    // Then the number is the process's own, by its clock.
                    server.freeze().await;
                }
                let now = truth.write();
                let receipt = flusher.flush_tags(["numbers"]).await;
                assert_eq!(receipt.is_pending(), is_away);
                assert_eq!(truth.read(flusher, 1).await, now, "at once, here");
                server.thaw().await;
                receipt.everywhere().await.unwrap();
                if is_away {
                    // The bound holds for who reaches Redis.
                    eventually("the other has heard", async || truth.read(other, 1).await == now).await;
                }
                assert_eq!(truth.read(other, 1).await, now, "everywhere, {jump}");
                assert_eq!(truth.read(flusher, 1).await, now);
            }
        }
    }
}

#[tokio::test]
async fn a_server_whose_clock_went_back_an_hour_holds_up_no_flush() {
    let server = Redis::start(&[]).await.unwrap();
    let (one, two) = (process(&server.url()), process(&server.url()));
    let (here, there) = (cache_of(&one, "acme").await, cache_of(&two, "acme").await);
    let truth = Truth::default();
    truth.read(&here, 1).await;
    truth.read(&there, 1).await;
    raise_an_hour_ahead(&level(&server.url())).await;
    eventually("both have heard", async || {
        let asked = cache_of(&one, "acme").await.flush_tags(["other"]).await;
        asked.everywhere().await.is_ok()
    })
    .await;
    for (flusher, other) in [(&here, &there), (&there, &here)] {
        let now = truth.write();
        flusher.flush().barrier().await.unwrap();
        assert_eq!(truth.read(other, 1).await, now);
        assert_eq!(truth.read(flusher, 1).await, now);
    }
}
