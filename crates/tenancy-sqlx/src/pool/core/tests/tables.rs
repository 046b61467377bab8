use super::{
    super::*,
    world::{World, limits, ms},
};
use crate::pool::{breaker::FaultKind, target::Target};

/// Opens one connection for the tenant and leaves it idle.
fn warm(world: &mut World, tenant: usize) {
    world.ask(tenant);
    world.connected(0);
    world.poll_all();
    world.give_back(0);
}

#[test]
fn the_connection_that_was_used_last_is_given_out_first() {
    let mut world = World::new(limits(10), 1);
    for _ in 0..2 {
        world.ask(0);
    }
    while !world.tickets.is_empty() {
        world.connected(0);
    }
    world.poll_all();
    world.give_back(0);
    let last = world.lent[0].held.connection;
    world.give_back(0);
    world.ask(0);
    assert_eq!(world.lent[0].held.connection, last);
}

#[test]
fn a_thousand_who_ask_for_one_cold_tenant_open_its_maximum() {
    let mut world = World::new(limits(100), 1);
    let mut opened = 0;
    for _ in 0..1_000 {
        world.ask(0);
        while !world.tickets.is_empty() {
            world.connected(0);
            opened += 1;
        }
    }
    assert_eq!((opened, world.core.counts().waiting), (20, 980));
}

#[test]
fn there_are_never_more_connects_for_a_tenant_than_waiters() {
    let mut world = World::new(limits(100), 1);
    world.ask(0);
    assert_eq!(world.tickets.len(), 1);
    world.ask(0);
    assert_eq!(world.tickets.len(), 2);
    world.cancel(1);
    world.ask(0);
    assert_eq!(world.tickets.len(), 2, "the connect of the one that left is used");
}

#[test]
fn a_connection_that_is_in_use_is_not_taken_away() {
    let mut world = World::new(limits(1), 2);
    world.ask(0);
    world.connected(0);
    world.poll_all();
    world.ask(1);
    world.tick(Duration::from_secs(3_600));
    assert_eq!((world.closings.len(), world.lent.len()), (0, 1));
    world.give_back(0);
    world.closed(0);
    world.connected(0);
    assert_eq!(world.poll_all(), [1]);
}

#[test]
fn the_one_that_was_idle_for_longest_makes_room_when_it_has_settled() {
    let mut world = World::new(limits(2), 3);
    warm(&mut world, 0);
    world.now += ms(10);
    warm(&mut world, 1);
    world.now += ms(39);
    world.ask(2);
    assert!(world.closings.is_empty(), "49 ms are too short");
    world.tick(ms(1));
    assert_eq!(world.closings.len(), 1);
    assert_eq!(world.core.counts_of(&World::id(0)).unwrap().idle, 0);
    assert_eq!(world.core.counts_of(&World::id(1)).unwrap().idle, 1);
}

#[test]
fn a_tenant_keeps_what_comes_back_for_ten_requests_then_it_is_the_others_turn() {
    let mut world = World::new(limits(1), 2);
    world.ask(0);
    world.connected(0);
    world.poll_all();
    for _ in 0..30 {
        world.ask(0);
    }
    world.ask(1);
    let mut order = Vec::new();
    while !world.waiters.is_empty() {
        world.give_back(0);
        while !world.closings.is_empty() {
            world.closed(0);
        }
        while !world.tickets.is_empty() {
            world.connected(0);
        }
        order.extend(world.poll_all());
    }
    let turn = order.iter().position(|&tenant| tenant == 1).unwrap();
    assert_eq!(
        (turn, order.len()),
        (9, 31),
        "ten with the one that it was opened for"
    );
}

#[test]
fn a_flood_of_one_tenant_costs_each_other_tenant_one_round() {
    let mut world = World::new(limits(4), 100);
    for _ in 0..900 {
        world.ask(0);
    }
    for tenant in 1..100 {
        world.ask(tenant);
    }
    let mut served = Vec::new();
    while served.iter().filter(|&&tenant| tenant != 0).count() < 99 {
        while !world.tickets.is_empty() {
            world.connected(0);
        }
        served.extend(world.poll_all());
        while !world.lent.is_empty() {
            world.give_back(0);
        }
        while !world.closings.is_empty() {
            world.closed(0);
        }
    }
    let of_flood = served.iter().filter(|&&tenant| tenant == 0).count();
    assert!(
        of_flood <= 30,
        "{of_flood} of the flood before all others had one"
    );
}

/// As many as possible for one tenant, who all wait or are served, and as many more tenants as the rest is for.
fn flooded(budget: usize) -> World {
    let mut world = World::new(limits(budget), 1 + 2 * budget);
    for _ in 0..budget {
        world.ask(0);
        while !world.tickets.is_empty() {
            world.connected(0);
        }
    }
    world.poll_all();
    let most = world.lent.len();
    for tenant in 1..=budget - most {
        warm(&mut world, tenant);
    }
    world.tick(ms(100));
    world
}

/// Asks for a tenant that has no connection, and lets the first tenant give one back meanwhile.
fn ask_and_give_back(world: &mut World, tenant: usize) {
    world.ask(tenant);
    let of_first = world.lent.iter().position(|lent| lent.tenant == 0).unwrap();
    world.give_back(of_first);
    while !world.closings.is_empty() {
        world.closed(0);
    }
    while !world.tickets.is_empty() {
        world.connected(0);
    }
    world.poll_all();
    let other = world.lent.iter().position(|lent| lent.tenant == tenant).unwrap();
    world.give_back(other);
}

fn open_of_first(world: &World) -> usize {
    world.lent.iter().filter(|lent| lent.tenant == 0).count() + world.tickets.len()
}

#[test]
fn while_connections_are_short_one_tenant_gives_up_all_but_a_third_of_its_most() {
    let mut world = flooded(36);
    assert_eq!(open_of_first(&world), 9);
    let mut open = Vec::new();
    for tenant in 30..45 {
        ask_and_give_back(&mut world, tenant);
        open.push(open_of_first(&world));
    }
    // One for each idle one that was closed, so that the next who asks finds room.
    assert_eq!(open, [8, 8, 7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 3, 3, 3]);
}

#[test]
fn when_connections_are_short_no_longer_one_tenant_may_have_its_most_again() {
    let mut world = flooded(36);
    for tenant in 30..45 {
        ask_and_give_back(&mut world, tenant);
    }
    // Nobody else keeps a connection: still they count as short for a second.
    world.set_budget(72);
    world.tick(ms(900));
    assert_eq!(open_of_first(&world), 6, "a third of the larger budget's most");
    world.tick(ms(100));
    while !world.tickets.is_empty() {
        world.connected(0);
    }
    world.poll_all();
    assert_eq!(open_of_first(&world), 18);
}

#[test]
fn one_tenant_may_have_its_most_in_place_of_idle_connections_that_nobody_asks_for() {
    let mut world = World::new(limits(20), 30);
    for tenant in 1..=20 {
        warm(&mut world, tenant);
    }
    world.tick(ms(100));
    // Nothing is given back: each of these requests takes long.
    for _ in 0..10 {
        world.ask(0);
    }
    for _ in 0..60 {
        world.tick(ms(25));
        while !world.closings.is_empty() {
            world.closed(0);
        }
        while !world.tickets.is_empty() {
            world.connected(0);
        }
        world.poll_all();
    }
    assert_eq!(
        open_of_first(&world),
        5,
        "a quarter of the budget, within a second and a half"
    );
}

#[test]
fn where_nobody_lacks_any_one_tenant_keeps_what_it_has() {
    let mut world = flooded(36);
    for _ in 0..20 {
        world.give_back(0);
        world.poll_all();
        world.tick(ms(100));
    }
    assert_eq!((open_of_first(&world), world.core.counts().evictions), (9, 0));
}

#[test]
fn shared_connections_go_to_another_tenant_without_being_opened_anew() {
    let mut world = World::sharing(limits(1), 3);
    warm(&mut world, 0);
    for tenant in [1, 2, 0] {
        world.ask(tenant);
        assert_eq!(world.lent[0].tenant, tenant);
        world.give_back(0);
    }
    let counts = world.core.counts();
    assert_eq!((counts.opens, counts.re_points), (1, 3));
}

#[test]
fn a_shared_connection_is_closed_after_it_served_its_number_of_tenants() {
    let mut world = World::sharing(
        Limits {
            tenants_per_connection: 2,
            ..limits(1)
        },
        3,
    );
    warm(&mut world, 0);
    world.ask(1);
    world.give_back(0);
    world.ask(0);
    world.give_back(0);
    world.ask(2);
    assert!(world.lent.is_empty(), "it served two tenants");
    world.tick(ms(50));
    assert_eq!(world.closings.len(), 1);
    world.settle();
}

#[test]
fn a_tenant_beyond_the_most_takes_the_place_of_another_that_is_idle() {
    let mut world = World::new(
        Limits {
            max_tenants: 2,
            ..limits(10)
        },
        3,
    );
    warm(&mut world, 0);
    warm(&mut world, 1);
    world.ask(2);
    assert!(
        world.tickets.is_empty(),
        "the budget is not used up, the number of tenants is"
    );
    world.tick(ms(50));
    assert_eq!(world.closings.len(), 1);
    assert_eq!(world.tickets.len(), 1);
}

#[test]
fn after_a_move_nothing_leads_to_where_the_tenant_was() {
    let mut world = World::new(limits(10), 1);
    let old = world.targets[0].clone();
    warm(&mut world, 0);
    world.ask(0);
    world.ask(0);
    world.move_away(0, Target::database("new"));
    assert!(matches!(world.poll_all()[..], []));
    assert!(
        matches!(world.refused[..], [(0, Refusal::Moved)]),
        "{:?}",
        world.refused
    );
    world.connected(0);
    assert_eq!(world.closings.len(), 1, "opened for the old target");
    world.give_back(0);
    assert_eq!(world.closings.len(), 2, "lent before the move");
    world.ask(0);
    assert_eq!(world.tickets[0].target().database_name(), "new");
    assert!(matches!(world.ask_with(0, 1, &old), Some(Refusal::Moved)));
}

#[test]
fn one_tenants_missing_database_is_no_other_tenants_matter() {
    let mut world = World::new(limits(10), 2);
    for kind in [FaultKind::Missing, FaultKind::Refused] {
        world.ask(0);
        world.failed(0, kind);
        world.poll_all();
        assert!(
            matches!(world.refused.pop(), Some((0, Refusal::Failed { fault, .. })) if fault.kind == kind)
        );
        assert!(world.ask(0).is_some(), "remembered");
        assert!(world.ask(1).is_none());
        world.settle();
        world.now += Duration::from_secs(5);
    }
}

#[test]
fn a_newer_record_takes_a_remembered_answer_back() {
    let mut world = World::new(limits(10), 1);
    world.ask(0);
    world.failed(0, FaultKind::Missing);
    assert!(world.ask(0).is_some());
    world.move_away(0, Target::database("restored"));
    assert!(world.ask(0).is_none());
    assert_eq!(world.tickets.len(), 1);
}

#[test]
fn a_server_that_is_down_is_asked_once_each_time() {
    let mut world = World::new(limits(10), 10);
    for tenant in 0..4 {
        world.ask(tenant);
    }
    assert_eq!(world.tickets.len(), 4);
    for _ in 0..4 {
        world.failed(0, FaultKind::Unreachable);
    }
    world.poll_all();
    assert_eq!(world.refused.len(), 4);
    assert!((0..10).all(|tenant| world.ask(tenant).is_some()), "fails at once");
    world.now += ms(100);
    assert!(world.ask(0).is_none(), "the probe");
    assert!((1..10).all(|tenant| world.ask(tenant).is_some()), "fails at once");
    world.connected(0);
    assert!((1..10).all(|tenant| world.ask(tenant).is_none()));
}

#[test]
fn a_server_without_room_makes_nobody_fail() {
    let mut world = World::new(limits(10), 3);
    warm(&mut world, 0);
    world.ask(1);
    world.failed(0, FaultKind::Crowded);
    assert!(world.ask(2).is_none());
    assert!(world.tickets.is_empty(), "not tried again at once");
    world.tick(ms(100));
    assert_eq!(world.tickets.len(), 1, "one probe");
    world.settle();
    assert!(world.refused.is_empty());
}

#[test]
fn so_many_may_wait_for_a_tenant_and_no_more() {
    let mut world = World::new(
        Limits {
            max_waiting: 3,
            ..limits(1)
        },
        2,
    );
    for _ in 0..3 {
        assert!(world.ask(0).is_none());
    }
    assert!(matches!(world.ask(0), Some(Refusal::QueueFull)));
    assert!(world.ask(1).is_none(), "another tenant's queue is its own");
}

#[test]
fn a_smaller_budget_closes_idle_ones_at_once_and_others_when_they_come_back() {
    let mut world = World::new(limits(8), 2);
    for _ in 0..2 {
        world.ask(0);
        world.ask(1);
    }
    while !world.tickets.is_empty() {
        world.connected(0);
    }
    world.poll_all();
    world.give_back(0);
    world.set_budget(2);
    assert_eq!((world.closings.len(), world.lent.len()), (1, 3));
    world.give_back(0);
    assert_eq!(world.closings.len(), 2);
    world.give_back(0);
    assert_eq!((world.closings.len(), world.core.counts().idle), (2, 1));
}

#[test]
fn old_connections_go_and_long_idle_ones_must_answer_first() {
    let mut world = World::new(limits(8), 1);
    warm(&mut world, 0);
    for (idle, must_answer) in [(29, false), (30, true), (59, true)] {
        world.now += Duration::from_secs(idle);
        world.ask(0);
        assert_eq!(world.lent[0].must_answer, must_answer, "after {idle} s");
        world.give_back(0);
    }
    world.tick(Duration::from_secs(60));
    assert_eq!(world.closings.len(), 1, "idle for too long");
}

#[test]
fn when_one_is_found_dead_those_that_were_idle_must_answer() {
    let mut world = World::new(limits(8), 1);
    warm(&mut world, 0);
    world.now += ms(5);
    world.core.suspect_idle(world.now);
    world.ask(0);
    assert!(world.lent[0].must_answer);
    world.give_back(0);
    world.ask(0);
    assert!(!world.lent[0].must_answer, "it was used since");
}

#[test]
fn a_quarter_of_the_budget_is_opened_at_a_time_unless_set() {
    for (budget, connects) in [(1, 4), (40, 10), (100, 24), (1_000, 24)] {
        let limits = Limits {
            max_connects: None,
            ..limits(budget)
        };
        assert_eq!(limits.connects(), connects, "of {budget}");
    }
    assert_eq!(limits(100).connects(), 4);
}
