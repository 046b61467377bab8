//! The state machine below tasks that ask, leave, use and give back at once, in orders that a checker chooses.
//!
//! What is around the lock in `server.rs` is here again, with the checker's lock and tasks: the step under the lock, what
//! follows from it outside, the place in the queue. A waker that is lost is a task that never ends, which the checker calls a
//! deadlock.

use std::{
    collections::HashSet,
    future::Future,
    pin::Pin,
    sync::{Mutex as Notes, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use shuttle::{
    Config, Runner,
    future::{JoinHandle, block_on, spawn, yield_now},
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
    sync::{Arc, Mutex},
};
use tenancy_core::TenantId;

use super::{
    super::*,
    world::{limits, ms},
};
use crate::pool::{
    breaker::{Fault, FaultKind},
    target::{Sharing, Target},
};

const NOW: Duration = ms(1_000);

struct Pool {
    core: Mutex<Core<u64>>,
    /// Not the checker's: what the test itself knows is no part of what it checks.
    known: Notes<Known>,
}

#[derive(Default)]
struct Known {
    opened: u64,
    lent: HashSet<u64>,
    work: Vec<JoinHandle<()>>,
}

impl Pool {
    fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            core: Mutex::new(Core::new(limits, fastrand::Rng::with_seed(7))),
            known: Notes::default(),
        })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_core<R>(
        self: &Arc<Self>,
        step: impl FnOnce(&mut Core<u64>, Duration, &mut Effects<u64>) -> R,
    ) -> R {
        let mut effects = Effects::new();
        let result = {
            let mut core = self.core.lock().unwrap();
            let result = step(&mut core, NOW, &mut effects);
            assert!(core.open <= core.limits.budget, "over the budget");
            result
        };
        drop(effects.let_go);
        for waker in effects.wake {
            waker.wake();
        }
        for work in effects.work {
            let task = match work {
                Work::Open(ticket) => spawn(open(Arc::clone(self), ticket)),
                Work::Close(socket, closing) => spawn(close(Arc::clone(self), socket, closing)),
            };
            self.known().work.push(task);
        }
        result
    }

    fn take(&self, grant: Grant<u64>) -> Held<u64> {
        let is_new = self.known().lent.insert(grant.held.connection);
        assert!(is_new, "two hold one connection");
        grant.held
    }

    fn let_go(&self, held: &Held<u64>) {
        self.known().lent.remove(&held.connection);
    }
}

async fn open(pool: Arc<Pool>, ticket: Ticket) {
    yield_now().await;
    let number = {
        let mut known = pool.known();
        known.opened += 1;
        known.opened
    };
    if number % 5 == 3 {
        let fault = Fault::new(FaultKind::Abandoned);
        pool.with_core(|core, now, effects| core.connect_failed(ticket, &fault, now, effects));
    } else {
        pool.with_core(|core, now, effects| core.connected(ticket, number, now, effects));
    }
}

async fn close(pool: Arc<Pool>, socket: u64, closing: Closing) {
    assert!(
        !pool.known().lent.contains(&socket),
        "a connection in use was closed"
    );
    yield_now().await;
    pool.with_core(|core, now, effects| core.closed(closing, now, effects));
}

/// As in `server.rs`.
struct Place {
    pool: Arc<Pool>,
    waiter: Option<usize>,
}

impl Future for Place {
    type Output = Result<Grant<u64>, Refusal>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(waiter) = self.waiter else {
            return Poll::Pending;
        };
        let mut waker = Some(context.waker().clone());
        let answer = self.pool.core.lock().unwrap().poll(waiter, &mut waker);
        if answer.is_ready() {
            self.waiter = None;
        }
        answer
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter {
            self.pool
                .with_core(|core, now, effects| core.cancel(waiter, now, effects));
        }
    }
}

/// What one does with a connection.
#[derive(Clone, Copy)]
enum Use {
    GiveBack,
    Discard,
    /// Leaves the queue after so many looks.
    Leave(usize),
}

async fn visit(pool: Arc<Pool>, tenant: usize, target: Target, way: Use) {
    let id = TenantId::new(&format!("t{tenant}")).unwrap();
    let ask = Ask {
        tenant: &id,
        version: Version::default(),
        target: &target,
    };
    let grant = match pool.with_core(|core, now, effects| core.ask(&ask, now, effects)) {
        Asked::Ready(grant) => grant,
        Asked::Refused(refusal) => panic!("{refusal:?}"),
        Asked::Queued(waiter) => {
            let mut place = Place {
                pool: Arc::clone(&pool),
                waiter: Some(waiter),
            };
            if let Use::Leave(looks) = way {
                for _ in 0..looks {
                    if let Poll::Ready(answer) = futures_util::poll!(&mut place) {
                        let held = pool.take(answer.unwrap());
                        return give_back(&pool, held).await;
                    }
                    yield_now().await;
                }
                return;
            }
            place.await.unwrap()
        }
    };
    let held = pool.take(grant);
    match way {
        Use::GiveBack | Use::Leave(_) => give_back(&pool, held).await,
        Use::Discard => {
            yield_now().await;
            pool.let_go(&held);
            let (socket, closing) = pool.with_core(|core, now, effects| core.discard(held, now, effects));
            close(pool, socket, closing).await;
        }
    }
}

async fn give_back(pool: &Arc<Pool>, held: Held<u64>) {
    yield_now().await;
    pool.let_go(&held);
    pool.with_core(|core, now, effects| core.give_back(held, now, effects));
}

fn scene(limits: &Limits, are_shared: bool) {
    let pool = Pool::new(limits.clone());
    let target = |tenant: usize| match are_shared {
        true => Target::part("app", &format!("s{tenant}"), Sharing::Schemas),
        false => Target::database(&format!("db{tenant}")),
    };
    let ways = [Use::GiveBack, Use::Leave(1), Use::Discard, Use::Leave(3)];
    let visits: Vec<_> = (0..8)
        .map(|number| {
            let tenant = number % 3;
            spawn(visit(
                Arc::clone(&pool),
                tenant,
                target(tenant),
                ways[number % ways.len()],
            ))
        })
        .collect();
    block_on(async {
        for visit in visits {
            visit.await.unwrap();
        }
        loop {
            let Some(work) = pool.known().work.pop() else {
                break;
            };
            work.await.unwrap();
        }
    });
    let core = pool.core.lock().unwrap();
    let rest = (core.opening, core.closing, core.waiting, core.waiters.len());
    assert_eq!(rest, (0, 0, 0, 0), "something is on its way for ever");
    assert_eq!(core.open, core.idle, "a permit was lost");
    let idle: usize = core.entries.iter().map(|(_, entry)| entry.idle.len()).sum();
    assert_eq!(core.idle, idle, "a connection was lost");
}

fn check(scheduler: impl Scheduler + 'static, are_shared: bool) {
    let limits = Limits {
        max_per_tenant: Some(2),
        max_connects: Some(1),
        hand_overs: 2,
        settle: Duration::ZERO,
        ..limits(2)
    };
    let mut config = Config::new();
    // Frames are large where nothing is optimised.
    config.stack_size = 1 << 18;
    Runner::new(scheduler, config).run(move || scene(&limits, are_shared));
}

#[test]
fn whoever_leaves_while_a_connection_is_handed_over_loses_none() {
    check(RandomScheduler::new(300), false);
    check(PctScheduler::new(3, 150), false);
}

#[test]
fn whoever_leaves_while_a_shared_connection_is_handed_over_loses_none() {
    check(RandomScheduler::new(300), true);
    check(PctScheduler::new(3, 150), true);
}
