use proptest::prelude::*;

use super::{
    super::*,
    world::{World, limits, ms},
};
use crate::pool::{
    breaker::FaultKind,
    target::{Sharing, Target},
};

#[derive(Clone, Debug)]
enum Step {
    Ask(usize),
    AskWithOldRecord(usize),
    GiveBack(usize),
    Discard(usize),
    Connected(usize),
    Failed(usize, u8),
    Closed(usize),
    Cancel(usize),
    Poll,
    Tick(u64),
    Move(usize),
    Budget(usize),
    Suspect,
}

const TENANTS: usize = 8;

fn step() -> impl Strategy<Value = Step> {
    let place = 0_usize..64;
    prop_oneof![
        12 => (0..TENANTS).prop_map(Step::Ask),
        1 => (0..TENANTS).prop_map(Step::AskWithOldRecord),
        8 => place.clone().prop_map(Step::GiveBack),
        1 => place.clone().prop_map(Step::Discard),
        8 => place.clone().prop_map(Step::Connected),
        2 => (place.clone(), 0_u8..5).prop_map(|(place, kind)| Step::Failed(place, kind)),
        8 => place.clone().prop_map(Step::Closed),
        4 => place.prop_map(Step::Cancel),
        4 => Just(Step::Poll),
        4 => prop_oneof![0_u64..200, 500_u64..40_000].prop_map(Step::Tick),
        1 => (0..TENANTS).prop_map(Step::Move),
        1 => (1_usize..8).prop_map(Step::Budget),
        1 => Just(Step::Suspect),
    ]
}

fn target(tenant: usize, moves: u64) -> Target {
    match tenant {
        0..3 => Target::database(&format!("db{tenant}-{moves}")),
        3..6 => Target::part(
            &format!("app{}", moves % 2),
            &format!("s{tenant}"),
            Sharing::Schemas,
        ),
        _ => Target::part("app", "rows", Sharing::Rows),
    }
}

fn run(world: &mut World, step: &Step) {
    // A place that is empty is no step.
    let at = |place: usize, len: usize| (len > 0).then(|| place % len);
    match *step {
        Step::Ask(tenant) => {
            world.ask(tenant);
        }
        Step::AskWithOldRecord(tenant) => {
            let epoch = world.epochs[tenant] - 1;
            let elsewhere = Target::database("where it was never");
            let refusal = world.ask_with(tenant, epoch, &elsewhere);
            // The pool may have forgotten the tenant, or never have known it: then the record is as new as any.
            if refusal.is_none() {
                world.epochs[tenant] += 1;
                world.move_away(tenant, target(tenant, world.epochs[tenant]));
            }
        }
        Step::GiveBack(place) => {
            if let Some(place) = at(place, world.lent.len()) {
                world.give_back(place);
            }
        }
        Step::Discard(place) => {
            if let Some(place) = at(place, world.lent.len()) {
                world.discard(place);
            }
        }
        Step::Connected(place) => {
            if let Some(place) = at(place, world.tickets.len()) {
                world.connected(place);
            }
        }
        Step::Failed(place, kind) => {
            if let Some(place) = at(place, world.tickets.len()) {
                world.failed(place, kind_of(kind));
            }
        }
        Step::Closed(place) => {
            if let Some(place) = at(place, world.closings.len()) {
                world.closed(place);
            }
        }
        Step::Cancel(place) => {
            if let Some(place) = at(place, world.waiters.len()) {
                world.cancel(place);
            }
        }
        Step::Poll => drop(world.poll_all()),
        Step::Tick(later) => world.tick(ms(later)),
        Step::Move(tenant) => world.move_away(tenant, target(tenant, world.epochs[tenant])),
        Step::Budget(budget) => world.set_budget(budget),
        Step::Suspect => world.core.suspect_idle(world.now),
    }
}

fn kind_of(number: u8) -> FaultKind {
    match number {
        0 => FaultKind::Missing,
        1 => FaultKind::Refused,
        2 => FaultKind::Crowded,
        3 => FaultKind::Unreachable,
        _ => FaultKind::Abandoned,
    }
}

fn small() -> Limits {
    Limits {
        max_tenants: 4,
        max_per_tenant: Some(3),
        max_waiting: 5,
        max_connects: Some(2),
        hand_overs: 2,
        tenants_per_connection: 2,
        lifetime: Duration::from_secs(20),
        ..limits(5)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// [`World::check`] runs after each step: the budget holds, nothing in use is closed, no permit is lost, nobody gets
    /// what leads elsewhere. At the end all who still wait are served and everything can be closed.
    #[test]
    fn whatever_happens_nothing_is_lost_and_nobody_waits_for_ever(steps in prop::collection::vec(step(), 1..250)) {
        let targets = (0..TENANTS).map(|tenant| target(tenant, 0)).collect();
        let mut world = World::of(small(), targets);
        for step in &steps {
            run(&mut world, step);
        }
        world.settle();
        let mut effects = Effects::new();
        world.core.shut_down(world.now, &mut effects);
        world.apply(effects);
        while !world.closings.is_empty() {
            world.closed(0);
        }
        prop_assert!(world.core.is_closed());
        world.tick(Duration::from_secs(3_600));
        world.tick(Duration::from_secs(3_600));
        prop_assert_eq!(world.core.entries.len(), 0, "an entry is never forgotten");
        prop_assert_eq!(world.core.waiters.len(), 0, "a waiter is never forgotten");
    }
}
