//! Values and clean-up that belong to one request.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, body::Body, routing::get};
use futures_util::stream;
use tenancy::{
    Central, Tenant,
    event::Event,
    scope::{self, NoScope, central, on_exit, put, run},
};

use super::{Notes, Recorder, builder, caught, dropped_after, enter, here, two_tenants, yields};
use crate::{
    gates::logs,
    support::{self, send},
};

#[derive(Clone, Copy, Debug)]
enum End {
    Success,
    Error,
    Panic,
    Cancel,
}

const ENDS: [End; 4] = [End::Success, End::Error, End::Panic, End::Cancel];

struct Noted(#[expect(dead_code, reason = "is there for its drop")] super::NoteOnDrop);

struct PanicsOnDrop(Notes);

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        self.0.note("bad value");
        panic!("the drop of a value");
    }
}

fn register_many(notes: &Notes) {
    let callback = |what: &'static str| {
        let notes = notes.clone();
        on_exit(move || notes.note(what)).unwrap();
    };
    callback("first");
    put(Noted(notes.on_drop("value"))).unwrap();
    let of_bad = notes.clone();
    on_exit(move || {
        of_bad.note("bad callback");
        panic!("a callback");
    })
    .unwrap();
    callback("middle");
    put(PanicsOnDrop(notes.clone())).unwrap();
    callback("last");
}

async fn leave_by(end: End, tenant: &Tenant, work: impl FnOnce()) {
    let future = run(tenant, async {
        work();
        yields(1).await;
        match end {
            End::Success => Ok(()),
            End::Error => Err("as told"),
            End::Panic => panic!("as told"),
            End::Cancel => std::future::pending().await,
        }
    });
    match end {
        End::Cancel => assert!(dropped_after(5, future).await.is_none()),
        End::Panic => assert!(caught(future).await.is_err()),
        End::Success => assert!(future.await.is_ok()),
        End::Error => assert!(future.await.is_err()),
    }
}

#[tokio::test]
async fn clean_up_runs_last_first_and_one_that_panics_skips_no_other_whatever_ended_the_scope() {
    for end in ENDS {
        let recorder = Recorder::default();
        let tenancy = builder().listener(recorder.clone()).build().unwrap();
        let acme = enter(&tenancy, "acme").await;
        let notes = Notes::default();
        leave_by(end, &acme, || register_many(&notes)).await;
        let expected = ["last", "bad value", "middle", "bad callback", "value", "first"];
        assert_eq!(
            notes.all(),
            expected.map(|what| format!("{what} for acme")),
            "{end:?}"
        );
        assert_eq!(here(), "nobody");
        let panicked = recorder.take().into_iter().filter(
            |event| matches!(event, Event::CleanupPanicked { tenant: Some(tenant) } if *tenant == "acme"),
        );
        assert_eq!(panicked.count(), 2, "{end:?}");
    }
}

#[tokio::test]
async fn a_callback_finds_the_values_that_were_put_away_before_it() {
    let (acme, _) = two_tenants().await;
    let seen = Arc::new(Mutex::new(None));
    run(&acme, async {
        put("early").unwrap();
        put(1_u8).unwrap();
        let of_callback = Arc::clone(&seen);
        on_exit(move || {
            *of_callback.lock().unwrap() = Some((scope::get::<&str>(), scope::get::<u8>()));
        })
        .unwrap();
        put(2_u8).unwrap();
    })
    .await;
    let seen = seen.lock().unwrap().take().unwrap();
    assert_eq!(seen, (Some(Arc::new("early")), Some(Arc::new(1))));
}

#[tokio::test]
async fn what_a_callback_registers_is_cleaned_up_before_what_was_there() {
    let (acme, _) = two_tenants().await;
    let notes = Notes::default();
    run(&acme, async {
        let (first, second, third) = (notes.clone(), notes.clone(), notes.clone());
        on_exit(move || first.note("first")).unwrap();
        on_exit(move || {
            second.note("second");
            put(Noted(third.on_drop("value"))).unwrap();
            on_exit(move || third.note("third")).unwrap();
        })
        .unwrap();
    })
    .await;
    let expected = ["second", "third", "value", "first"];
    assert_eq!(notes.all(), expected.map(|what| format!("{what} for acme")));
}

fn register_for_ever(count: Arc<AtomicUsize>) {
    on_exit(move || {
        count.fetch_add(1, Ordering::Relaxed);
        register_for_ever(count);
    })
    .unwrap();
}

#[tokio::test]
async fn callbacks_that_register_one_another_come_to_an_end_and_skip_none_that_was_there() {
    let (acme, _) = two_tenants().await;
    let (count, held, notes) = (Arc::new(AtomicUsize::new(0)), Arc::new(()), Notes::default());
    let log = logs::capture();
    run(&acme, async {
        put(Noted(notes.on_drop("value"))).unwrap();
        let held = Arc::clone(&held);
        on_exit(move || drop(held)).unwrap();
        register_for_ever(Arc::clone(&count));
    })
    .await;
    assert!(count.load(Ordering::Relaxed) > 1000);
    assert_eq!(Arc::strong_count(&count), 1, "what does not run is dropped");
    assert_eq!(Arc::strong_count(&held), 1);
    assert_eq!(notes.all(), ["value for acme"]);
    assert!(log.text().contains("without end"), "{}", log.text());
}

#[tokio::test]
async fn a_second_value_of_a_type_hides_the_first_and_both_are_dropped() {
    let (acme, _) = two_tenants().await;
    let dropped = Notes::default();
    run(&acme, async {
        assert_eq!(scope::get::<u8>(), None);
        put(1_u8).unwrap();
        put(1_u16).unwrap();
        let second = put(2_u8).unwrap();
        assert_eq!(*second, 2);
        assert_eq!(scope::get::<u8>(), Some(second));
        assert_eq!(scope::get::<u16>(), Some(Arc::new(1)));
        put(Noted(dropped.on_drop("one"))).unwrap();
        put(Noted(dropped.on_drop("two"))).unwrap();
    })
    .await;
    assert_eq!(dropped.all(), ["two for acme", "one for acme"]);
}

#[tokio::test]
async fn values_belong_to_one_scope_and_come_back_with_it() {
    let (acme, globex) = two_tenants().await;
    run(&acme, async {
        put("of acme").unwrap();
        run(&globex, async {
            assert_eq!(scope::get::<&str>(), None);
            put("of globex").unwrap();
        })
        .await;
        run(&acme, async {
            assert_eq!(scope::get::<&str>(), None, "another run of the same tenant");
        })
        .await;
        central(async { assert_eq!(scope::get::<&str>(), None) }).await;
        assert_eq!(scope::get::<&str>(), Some(Arc::new("of acme")));
    })
    .await;
}

#[tokio::test]
async fn outside_of_every_scope_nothing_is_kept_and_nothing_is_run() {
    let notes = Notes::default();
    let (held, of_callback) = (notes.on_drop("callback dropped"), notes.clone());
    let refused = on_exit(move || {
        of_callback.note("ran");
        drop(held);
    });
    assert_eq!(refused, Err(NoScope));
    assert_eq!(put(Noted(notes.on_drop("value dropped"))).err(), Some(NoScope));
    assert!(scope::get::<Noted>().is_none());
    assert_eq!(
        notes.all(),
        ["callback dropped for nobody", "value dropped for nobody"]
    );
    assert!(NoScope.to_string().contains("tokio::spawn"));
}

struct Leaked;

/// A handler keeps a value of its request in a place that outlives it. What was reported: type, route, tenant.
async fn reported(
    track_routes: bool,
    host: &str,
    path: &str,
) -> Vec<(&'static str, Option<String>, Option<String>)> {
    let kept: Arc<Mutex<Vec<Arc<Leaked>>>> = Arc::default();
    let keep = {
        let kept = Arc::clone(&kept);
        move || kept.lock().unwrap().push(put(Leaked).unwrap())
    };
    let (plain, of_tenant, of_central) = (keep.clone(), keep.clone(), keep);
    let router = Router::new()
        .route("/plain/{id}", get(async move || plain()))
        .route("/tenant/{id}", get(async move |_: Tenant| of_tenant()))
        .route("/central/{id}", get(async move |_: Central| of_central()));
    let recorder = Recorder::default();
    let tenancy = builder()
        .track_routes(track_routes)
        .listener(recorder.clone())
        .build()
        .unwrap();
    let app = tenancy.routes().universal(router).build();
    assert_eq!(send(&app, support::get(host, path)).await.status(), 200);
    let events = recorder.take().into_iter();
    events
        .filter_map(|event| match event {
            Event::ValueOutlivedRequest {
                type_name,
                route,
                tenant,
            } => Some((type_name, route, tenant.map(|tenant| tenant.to_string()))),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_value_that_outlives_its_request_is_reported_with_type_route_and_tenant() {
    let (acme, central) = ("acme.app.test", "app.test");
    for (track_routes, host, path, route) in [
        (true, acme, "/plain/7", Some("/plain/{id}")),
        (false, acme, "/plain/7", None),
        (true, acme, "/tenant/7", Some("/tenant/{id}")),
        (false, acme, "/tenant/7", Some("/tenant/{id}")),
        (true, central, "/plain/7", Some("/plain/{id}")),
        (false, central, "/central/7", Some("/central/{id}")),
    ] {
        let reported = reported(track_routes, host, path).await;
        let tenant = (host == acme).then(|| "acme".to_owned());
        let type_name = std::any::type_name::<Leaked>();
        assert_eq!(
            reported,
            [(type_name, route.map(str::to_owned), tenant)],
            "{track_routes} {path}"
        );
    }
}

#[tokio::test]
async fn survivors_are_in_the_log_also_where_nobody_listens() {
    let (acme, _) = two_tenants().await;
    let log = logs::capture();
    let kept = run(&acme, async { put(Leaked).unwrap() }).await;
    assert!(log.text().contains("outlived"), "{}", log.text());
    for part in [std::any::type_name::<Leaked>(), "tenant=acme"] {
        assert!(log.text().contains(part), "{part} in {}", log.text());
    }
    drop(kept);
}

#[tokio::test]
async fn what_ends_with_the_request_is_no_survivor() {
    let in_body = async || {
        let value = put(Leaked).unwrap();
        Body::from_stream(stream::once(async move {
            let _value = &value;
            Ok::<_, std::convert::Infallible>("body")
        }))
    };
    let in_handler = async || {
        let value = put(Leaked).unwrap();
        yields(1).await;
        assert!(Arc::strong_count(&value) > 1);
    };
    let in_another_value = async || {
        let first = put(Leaked).unwrap();
        put(Arc::clone(&first)).unwrap();
        put((1, first)).unwrap();
    };
    let in_a_callback = async || {
        on_exit(|| assert!(scope::get::<Leaked>().is_none())).unwrap();
        let value = put(Leaked).unwrap();
        on_exit(move || drop(value)).unwrap();
    };
    let in_the_panic = async || -> () {
        let _value = put(Leaked).unwrap();
        yields(1).await;
        panic!("as told")
    };
    let recorder = Recorder::default();
    let tenancy = builder().listener(recorder.clone()).build().unwrap();
    let router = Router::new()
        .route("/body", get(in_body))
        .route("/handler", get(in_handler))
        .route("/value", get(in_another_value))
        .route("/callback", get(in_a_callback))
        .route("/panic", get(in_the_panic));
    let app = tenancy.wrap(router);
    for path in ["/body", "/handler", "/value", "/callback", "/panic"] {
        let response = send(&app, support::get("acme.app.test", path)).await;
        support::body(response).await;
        let events = recorder.take_short();
        assert!(events.ends_with(&["left acme".to_owned()]), "{path}: {events:?}");
        assert!(
            !events
                .iter()
                .any(|event| event.starts_with("outlived") || event.contains("panicked")),
            "{path}: {events:?}"
        );
    }
}
