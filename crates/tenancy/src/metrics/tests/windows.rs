//! What windows say, and what they take.

use std::time::Duration;

use super::{Fixture, TEN_SECONDS, now, tenants};
use crate::{
    metrics::{CENTRAL, MemoryWindowStore, MetricSpec, Metrics, TenantSlots, UNRESOLVED},
    scope,
    tenant::tests::tenant,
};

const MIB: usize = 1024 * 1024;

fn with_checkouts() -> Fixture {
    Fixture::new(|builder| {
        builder
            .metric(MetricSpec::seconds("checkout.duration"))
            .metric(MetricSpec::number("basket.items"))
    })
}

#[tokio::test]
async fn own_figures_are_the_current_tenants() {
    let fixture = with_checkouts();
    let metrics = &fixture.metrics;
    let acme = tenant("acme");
    scope::run(&acme, async { metrics.record("checkout.duration", 0.25) }).await;
    scope::central(async { metrics.record("checkout.duration", 0.5) }).await;
    metrics.record_error("checkout.duration", 1.0);
    for (label, value) in [("acme", 0.25), (CENTRAL, 0.5), (UNRESOLVED, 1.0)] {
        let window = metrics.last(TEN_SECONDS).metric("checkout.duration");
        let stats = window.label(label).stats().unwrap();
        assert_eq!((stats.samples(), stats.average()), (1, Some(value)));
        let name = format!("checkout_duration_seconds{{tenant={label}}}");
        assert_eq!(fixture.recorded.value(&name), Some(value));
    }
    let all = metrics.last(TEN_SECONDS).metric("checkout.duration");
    assert_eq!(all.stats().unwrap().error_ratio(), Some(1.0 / 3.0));
}

#[test]
fn what_nobody_registered_and_what_is_no_figure_is_dropped_and_counted() {
    let fixture = with_checkouts();
    let before = fixture.recorded.names();
    for name in [
        "nobody.registered.this",
        "",
        "http.request.duration",
        "checkout.duration\n",
    ] {
        fixture.metrics.record(name, 1.0);
    }
    for value in [f64::NAN, f64::INFINITY, -1.0, f64::NEG_INFINITY] {
        fixture.metrics.record("basket.items", value);
    }
    assert_eq!(fixture.recorded.value("metrics_unknown_names_total{}"), Some(4.0));
    assert_eq!(
        fixture.recorded.value("metrics_unusable_values_total{}"),
        Some(4.0)
    );
    assert_eq!(fixture.recorded.names(), before, "and there is no new series");
    fixture.metrics.record("basket.items", -0.0);
    let stats = fixture
        .metrics
        .last(TEN_SECONDS)
        .metric("basket.items")
        .stats()
        .unwrap();
    assert_eq!((stats.samples(), stats.max()), (1, Some(0.0)));
}

#[tokio::test]
async fn an_average_lies_between_the_smallest_and_the_largest_value() {
    let fixture = with_checkouts();
    let metrics = &fixture.metrics;
    for value in [1e-9, 0.000_130, 1e12] {
        let acme = tenant("acme");
        scope::run(&acme, async { metrics.record("basket.items", value) }).await;
        let stats = metrics.last(TEN_SECONDS).metric("basket.items").stats().unwrap();
        assert_eq!(stats.average(), Some(value), "of one value it is that one");
        fixture.pass(TEN_SECONDS * 3);
    }
    let none = metrics.last(TEN_SECONDS).metric("basket.items").stats().unwrap();
    assert_eq!(none.average(), None);
}

#[test]
fn a_window_has_what_it_covers_and_says_how_old_it_is() {
    let fixture = with_checkouts();
    let acme = tenant("acme");
    for _ in 0..30 {
        fixture.request(&acme, 0.1);
        fixture.pass(TEN_SECONDS);
    }
    let last = |seconds| {
        fixture
            .metrics
            .last(Duration::from_secs(seconds))
            .stats()
            .unwrap()
    };
    assert_eq!(last(60).samples(), 5, "and the ten seconds that have begun");
    assert_eq!(last(300).samples(), 29);
    assert_eq!(last(7200).samples(), 30);
    assert_eq!(
        last(7200).covered(),
        now(&fixture.clock),
        "no longer than there was anything"
    );
    assert!((last(7200).rate() - 0.1).abs() < 1e-9);
    assert_eq!(last(60).staleness(), Some(Duration::ZERO));
    fixture.pass(Duration::from_secs(30));
    assert_eq!(last(60).staleness(), Some(Duration::from_secs(30)));
    fixture.pass(Duration::from_secs(600));
    assert_eq!((last(60).samples(), last(60).staleness()), (0, None));
    assert_eq!(last(7200).samples(), 30);
    fixture.pass(Duration::from_secs(3 * 3600));
    assert_eq!(last(7200).samples(), 0);
}

#[test]
fn a_rate_is_right_for_windows_of_any_length() {
    let fixture = with_checkouts();
    let acme = tenant("acme");
    for _ in 0..180 {
        fixture.request(&acme, 0.1);
        fixture.pass(TEN_SECONDS);
    }
    for seconds in [60, 300, 600, 700, 710, 1000, 1050, 1790, 7200] {
        let stats = fixture
            .metrics
            .last(Duration::from_secs(seconds))
            .stats()
            .unwrap();
        let samples = u32::try_from(stats.samples()).unwrap();
        assert_eq!(stats.covered(), TEN_SECONDS * samples, "of {seconds} seconds");
    }
}

#[test]
fn the_newest_values_are_seen_before_their_ten_seconds_are_over() {
    let fixture = with_checkouts();
    let acme = tenant("acme");
    fixture.request(&acme, 0.1);
    assert_eq!(fixture.samples(Some("acme")), 1);
    fixture.request(&acme, 0.1);
    assert_eq!(fixture.samples(Some("acme")), 2);
}

#[test]
fn questions_end_ten_seconds_too() {
    let fixture = with_checkouts();
    let acme = tenant("acme");
    fixture.request(&acme, 0.1);
    fixture.clock.advance(Duration::from_secs(20));
    let last = |seconds| {
        fixture
            .metrics
            .last(Duration::from_secs(seconds))
            .stats()
            .unwrap()
    };
    assert_eq!((last(10).samples(), last(60).samples()), (0, 1));
}

#[test]
fn a_window_of_any_length_can_be_asked_for() {
    let fixture = with_checkouts();
    fixture.request(&tenant("acme"), 0.1);
    for length in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        assert_eq!(fixture.metrics.last(length).stats().unwrap().samples(), 1);
    }
    fixture.pass(Duration::from_secs(u64::from(u32::MAX)));
    assert_eq!(fixture.metrics.last(Duration::MAX).stats().unwrap().samples(), 0);
}

#[test]
fn what_is_not_kept_is_said_to_be() {
    let fixture = with_checkouts();
    let window = fixture.metrics.last(TEN_SECONDS);
    let unknown = window.clone().metric("no.such").stats().unwrap_err();
    assert!(unknown.is_unknown_metric() && !unknown.is_not_kept());
    let without = window.tenant(tenant("acme").id()).stats().map(drop).unwrap_err();
    assert!(without.is_not_kept());
}

#[tokio::test]
async fn a_tenant_is_never_told_the_figures_of_a_plan_or_of_all_others() {
    let with = |slots| Fixture::new(|builder| builder.slots(slots).store(MemoryWindowStore::new(), "node"));
    let by_plan = with(TenantSlots::by_plan(5));
    let mut record = (*tenant("acme").record()).clone();
    record.plan = Some("gold".into());
    let acme = tenant("acme");
    acme.block().replace(record);
    by_plan.request(&acme, 0.1);
    assert_eq!(by_plan.samples(Some("gold")), 1, "the plan has it");
    let by_id = with(TenantSlots::all(5));
    for name in tenants(["_other", "_central", "_none"]) {
        by_id.request(&name, 0.1);
    }
    assert_eq!(by_id.samples(Some("_other")), 3);
    let asked = [
        (&by_plan, "gold"),
        (&by_id, "_other"),
        (&by_id, "_central"),
        (&by_id, "_none"),
    ];
    for (fixture, id) in asked {
        let name = tenant(id);
        let window = fixture.metrics.last(TEN_SECONDS).tenant(name.id());
        assert!(window.stats().unwrap_err().is_not_kept(), "{id}");
        assert!(
            window.stats_of_all_nodes().await.unwrap_err().is_not_kept(),
            "{id}"
        );
        let by_label = window.label(id);
        assert!(by_label.stats().is_ok(), "{id} as a label");
        assert!(by_label.stats_of_all_nodes().await.is_ok(), "{id} as a label");
    }
}

#[test]
fn impossible_settings_are_refused_all_at_once() {
    let error = Metrics::builder()
        .metric(MetricSpec::seconds("Upper"))
        .metric(MetricSpec::number("fine"))
        .metric(MetricSpec::number("fine"))
        .metric(MetricSpec::number("odd").from_lowest(f64::NAN))
        .metric(MetricSpec::number("tenant.requests.total"))
        .slots(TenantSlots::top(usize::MAX))
        .build()
        .unwrap_err();
    assert_eq!(error.mistakes().len(), 6, "{error}");
    let small = Metrics::builder().max_bytes(1000).build().unwrap_err();
    assert!(small.to_string().contains("1000 bytes are too few"), "{small}");
}

/// The worst there is: each value in a bucket of its own.
fn spread(fixture: &Fixture, number: u64) {
    let metrics = &fixture.metrics;
    let state = metrics.inner().state();
    let series: Vec<_> = state.places.iter().map(|place| place.series.clone()).collect();
    drop(state);
    for series in series {
        for (metric, live) in series.live.iter().enumerate() {
            for bucket in 0..32 {
                let value = f64::from(bucket - 15).exp2() * (1.0 + 0.125 * (number % 8) as f64);
                metrics.inner().engine.record(live, metric, value, false);
            }
        }
    }
}

#[test]
fn a_hundred_slots_take_no_more_than_32_mib_whatever_is_recorded() {
    // The most metrics for which there is room; a twentieth of the labels, and of the bytes, is filled.
    let with = |slots: usize, bytes: usize| {
        Fixture::new(|mut builder| {
            for number in 0..8 {
                builder = builder.metric(MetricSpec::number(format!("own.m{number}")));
            }
            builder.slots(TenantSlots::all(slots)).max_bytes(bytes)
        })
    };
    let most = 32 * MIB * 5 / 103;
    let fixture = with(2, most);
    let whole = with(100, 32 * MIB);
    let limit = |fixture: &Fixture| fixture.metrics.inner().engine.limit;
    assert_eq!(limit(&whole), limit(&fixture), "so it is the same for each label");
    for name in tenants(["t0", "t1"]) {
        fixture.request(&name, 0.1);
    }
    let mut taken = 0;
    // Not each ten seconds of two hours, but minutes that have one and those that have six.
    for step in 0..190_u64 {
        spread(&fixture, step);
        fixture.pass(if step < 100 { TEN_SECONDS * 6 } else { TEN_SECONDS });
        taken = taken.max(fixture.metrics.bytes_of_windows());
    }
    assert!(taken <= most, "{taken} bytes of {most}");
    assert!(taken > most / 4, "{taken} bytes of {most}: they were filled");
    let newest = fixture.metrics.last(Duration::from_secs(600)).stats().unwrap();
    assert!(newest.relative_error() < 0.35, "{}", newest.relative_error());
}
