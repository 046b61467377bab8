//! Who has series of its own, and whose figures they are.

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use tenancy_core::TenantId;

use super::{Fixture, TEN_SECONDS, tenants};
use crate::{
    metrics::{OTHER, TenantSlots},
    tenant::tests::tenant,
};

const HOUR: Duration = Duration::from_secs(3600);

fn label_of(fixture: &Fixture, name: &crate::Tenant) -> String {
    fixture.metrics.inner().series_of(name).label().to_string()
}

#[test]
fn only_those_that_are_allowed_have_one() {
    let fixture = Fixture::new(|builder| builder.slots(TenantSlots::allow([TenantId::new("acme").unwrap()])));
    for name in tenants(["acme", "globex", "acme-2"]) {
        let expected = if name.id() == "acme" { "acme" } else { OTHER };
        assert_eq!(label_of(&fixture, &name), expected);
        assert_eq!(
            label_of(&fixture, &name),
            expected,
            "and from the control block too"
        );
    }
    assert_eq!(fixture.metrics.labels(), ["acme"]);
}

#[test]
fn nobody_has_one_where_it_is_off() {
    let fixture = Fixture::new(|builder| builder.slots(TenantSlots::off()));
    assert_eq!(label_of(&fixture, &tenant("acme")), OTHER);
    assert!(fixture.metrics.labels().is_empty());
}

#[test]
fn plans_have_one_as_many_as_there_may_be_and_a_change_of_plan_is_seen() {
    let fixture = Fixture::new(|builder| builder.slots(TenantSlots::by_plan(2)));
    let names = tenants(["a", "b", "c", "d", "e"]);
    let set_plan = |place: usize, plan: Option<&str>| {
        let mut record = (*names[place].record()).clone();
        record.plan = plan.map(Into::into);
        names[place].block().replace(record);
    };
    let plans = [Some("free"), Some("pro"), Some("free"), Some("late"), None];
    for (place, plan) in plans.into_iter().enumerate() {
        set_plan(place, plan);
    }
    let labels: Vec<String> = names.iter().map(|name| label_of(&fixture, name)).collect();
    assert_eq!(labels, ["free", "pro", "free", OTHER, OTHER]);
    for (plan, expected) in [
        (Some("pro"), "pro"),
        (Some("_central"), OTHER),
        (Some("a\nb"), OTHER),
    ] {
        set_plan(0, plan);
        fixture.pass(TEN_SECONDS);
        assert_eq!(label_of(&fixture, &names[0]), expected);
    }
}

#[test]
fn an_id_that_looks_like_a_built_in_label_is_none() {
    let fixture = Fixture::new(|builder| builder.slots(TenantSlots::all(10)));
    for name in tenants(["_central", "_none", "_other", "_x"]) {
        assert_eq!(label_of(&fixture, &name), OTHER);
    }
    assert!(fixture.metrics.labels().is_empty());
}

#[test]
fn more_than_there_is_room_for_share_one() {
    let fixture = Fixture::new(|builder| builder.slots(TenantSlots::all(3)));
    for name in tenants((0..50).map(|number| format!("t{number}"))) {
        fixture.request(&name, 0.1);
    }
    assert_eq!(fixture.metrics.labels(), ["t0", "t1", "t2"]);
    assert_eq!((fixture.samples(Some(OTHER)), fixture.samples(None)), (47, 50));
    assert_eq!(fixture.recorded.value("tenant_overflow_total{}"), Some(47.0));
    fixture.pass(TEN_SECONDS);
    assert_eq!(fixture.recorded.value("tenant_slots_in_use{}"), Some(3.0));
}

#[test]
fn the_busiest_takes_the_place_of_the_least_busy_one_but_not_before_its_time() {
    let fixture = Fixture::new(|builder| builder.slots(TenantSlots::top(2).held_for(HOUR)));
    let names = tenants(["quiet", "busy", "newcomer"]);
    let (quiet, busy, newcomer) = (&names[0], &names[1], &names[2]);
    let minute = |newcomers: usize| {
        fixture.request(quiet, 0.1);
        (0..50).for_each(|_| fixture.request(busy, 0.1));
        (0..newcomers).for_each(|_| fixture.request(newcomer, 0.1));
        fixture.pass(Duration::from_secs(60));
    };
    for _ in 0..59 {
        minute(100);
        assert_eq!(fixture.metrics.labels(), ["busy", "quiet"], "an hour is not over");
    }
    minute(100);
    assert_eq!(fixture.metrics.labels(), ["busy", "newcomer"]);
    assert_eq!(label_of(&fixture, quiet), OTHER);
    assert_eq!(label_of(&fixture, newcomer), "newcomer");
    assert_eq!(fixture.samples(None), 60 * 151, "totals stay");
    assert_eq!(
        fixture.samples(Some("newcomer")),
        0,
        "what the former one had is not the new one's"
    );
}

#[test]
fn one_that_is_hardly_busier_takes_no_place() {
    let fixture = Fixture::new(|builder| builder.slots(TenantSlots::top(1).held_for(Duration::ZERO)));
    let names = tenants(["incumbent", "rival"]);
    for _ in 0..50 {
        (0..160).for_each(|_| fixture.request(&names[0], 0.1));
        (0..200).for_each(|_| fixture.request(&names[1], 0.1));
        fixture.pass(TEN_SECONDS);
    }
    assert_eq!(fixture.metrics.labels(), ["incumbent"]);
}

#[test]
fn what_a_request_counts_that_began_before_its_tenant_lost_the_place_is_not_the_next_ones() {
    let fixture = Fixture::new(|builder| builder.slots(TenantSlots::top(1).held_for(Duration::ZERO)));
    let names = tenants(["first", "second"]);
    let began = fixture.metrics.inner().series_of(&names[0]);
    fixture.request(&names[1], 0.1);
    (0..200).for_each(|_| fixture.request(&names[1], 0.1));
    fixture.pass(TEN_SECONDS);
    assert_eq!(fixture.metrics.labels(), ["second"]);
    fixture.request(&names[1], 0.1);
    // Now it ends, under the label that it began with.
    fixture
        .metrics
        .inner()
        .engine
        .record(&began.live[0], 0, 5.0, false);
    assert_eq!(began.label().as_ref(), "first");
    drop(began);
    assert_eq!(fixture.samples(Some("second")), 1);
    assert_eq!(fixture.samples(None), 203);
    for _ in 0..20 {
        fixture.pass(TEN_SECONDS);
        assert_eq!((fixture.samples(Some("second")), fixture.samples(None)), (1, 203));
    }
    assert!(
        fixture.metrics.inner().state().retired.is_empty(),
        "its cells are given back"
    );
}

#[test]
fn a_window_of_a_tenant_that_took_a_place_covers_what_was_since_then() {
    let fixture = Fixture::new(|builder| builder.slots(TenantSlots::top(1).held_for(Duration::ZERO)));
    let names = tenants(["first", "second"]);
    fixture.request(&names[0], 0.1);
    fixture.pass(HOUR);
    (0..200).for_each(|_| fixture.request(&names[1], 0.1));
    fixture.pass(TEN_SECONDS);
    assert_eq!(fixture.metrics.labels(), ["second"]);
    (0..40).for_each(|_| fixture.request(&names[1], 0.1));
    fixture.pass(TEN_SECONDS * 2);
    let covered = |window: crate::metrics::Window<'_>| window.stats().unwrap().covered();
    let half_an_hour = fixture.metrics.last(HOUR / 2);
    assert_eq!(covered(half_an_hour.clone().label("second")), TEN_SECONDS * 2);
    assert!(covered(half_an_hour.clone()) >= HOUR / 2);
    assert_eq!(half_an_hour.label("second").stats().unwrap().rate(), 2.0);
}

#[test]
fn no_more_former_series_are_kept_than_there_are_places() {
    let fixture = Fixture::new(|builder| builder.slots(TenantSlots::top(1).held_for(Duration::ZERO)));
    let names = tenants(["first", "second", "third"]);
    // A request that lasts.
    let began = fixture.metrics.inner().series_of(&names[0]);
    (0..200).for_each(|_| fixture.request(&names[1], 0.1));
    fixture.pass(TEN_SECONDS);
    assert_eq!(fixture.metrics.labels(), ["second"]);
    let third_comes_often = || {
        (0..500).for_each(|_| fixture.request(&names[2], 0.1));
        fixture.pass(TEN_SECONDS);
    };
    for _ in 0..20 {
        third_comes_often();
        assert_eq!(fixture.metrics.labels(), ["second"], "until there is room");
        assert_eq!(fixture.metrics.inner().state().retired.len(), 1);
    }
    drop(began);
    third_comes_often();
    third_comes_often();
    assert_eq!(fixture.metrics.labels(), ["third"]);
    assert_eq!(fixture.samples(None), 200 + 22 * 500, "totals stay");
}

#[test]
fn a_tenant_that_has_two_of_these_is_counted_by_each() {
    let (one, other) = (
        Fixture::new(|builder| builder.slots(TenantSlots::all(1))),
        Fixture::new(|builder| builder.slots(TenantSlots::off())),
    );
    let acme = tenant("acme");
    for _ in 0..3 {
        assert_eq!(label_of(&one, &acme), "acme");
        assert_eq!(label_of(&other, &acme), OTHER);
    }
}

#[test]
fn threads_that_come_at_once_get_no_more_slots_than_there_are() {
    let fixture = Arc::new(Fixture::new(|builder| builder.slots(TenantSlots::all(5))));
    let names = tenants((0..40).map(|number| format!("t{number}")));
    std::thread::scope(|threads| {
        for offset in 0..4 {
            let (fixture, names) = (Arc::clone(&fixture), &names);
            threads.spawn(move || {
                for round in 0..names.len() {
                    fixture.request(&names[(round + offset * 10) % names.len()], 0.1);
                    fixture.metrics.rotate();
                }
            });
        }
    });
    assert_eq!(fixture.metrics.labels().len(), 5);
    assert_eq!(fixture.samples(None), 160);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whoever_comes_whenever_no_value_is_lost_and_no_label_too_many(
        steps in proptest::collection::vec((0_usize..8, 1_usize..40, any::<bool>()), 1..60),
    ) {
        let fixture = Fixture::new(|builder| builder.slots(TenantSlots::top(2).held_for(Duration::from_secs(30))));
        let names = tenants((0..8).map(|number| format!("t{number}")));
        let mut counted = 0;
        for (who, requests, passes) in steps {
            (0..requests).for_each(|_| fixture.request(&names[who], 0.1));
            counted += requests as u64;
            if passes {
                fixture.pass(TEN_SECONDS);
            }
            prop_assert!(fixture.metrics.labels().len() <= 2);
            let labels = fixture.metrics.labels();
            let by_label: u64 = labels.iter().map(|label| fixture.samples(Some(label))).sum();
            prop_assert_eq!(by_label + fixture.samples(Some(OTHER)), counted);
            prop_assert_eq!(fixture.samples(None), counted);
        }
    }
}
