//! The order in force is the order in which requests pass.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::{FromRequestParts, Request},
    http::Response,
    middleware::{Next, from_fn},
    routing::get as on_get,
};
use proptest::prelude::*;
use tenancy::{
    MemoryStore, Tenancy,
    cache::CacheScope,
    core::{Maintenance, TenantStatus},
    resolve::{Chain, ConflictPolicy},
    scope::current,
    stack::{ConfigError, ConfigMistake, Order, OrderMistake, Stage},
};

use tower::{Layer, ServiceExt, layer::util::Identity};

use super::Trace;
use crate::{
    scopes::{caught, id, subdomains},
    support::{self, get, send},
};

/// A subset of the stages in an order that makes sense, and where layers of the user's stand.
fn arrangement() -> impl Strategy<Value = (Vec<Stage>, Vec<(bool, Stage)>)> {
    let stages = proptest::sample::subsequence(Stage::ALL.to_vec(), 1..=Stage::ALL.len());
    let valid = stages.prop_shuffle().prop_map(|mut stages| {
        let place = |stages: &[Stage], stage| stages.iter().position(|present| *present == stage);
        match place(&stages, Stage::Resolve) {
            None => stages.retain(|stage| !matches!(stage, Stage::Gate | Stage::CacheScope)),
            Some(at) => {
                // What depends on the tenant goes to the inside.
                let (inner, outer): (Vec<_>, Vec<_>) = stages[..at]
                    .iter()
                    .partition(|stage| matches!(stage, Stage::Gate | Stage::CacheScope));
                stages = [&outer[..], &stages[at..], &inner[..]].concat();
            }
        }
        stages
    });
    valid
        .prop_filter("something is left", |stages| !stages.is_empty())
        .prop_flat_map(|stages| {
            let place = (any::<bool>(), proptest::sample::select(stages.clone()));
            (Just(stages), proptest::collection::vec(place, 0..5))
        })
}

/// Every layer's name, and the whole order as it should be printed: layers before and after their stage, in the
/// order in which they were added.
fn expected_order(stages: &[Stage], layers: &[(bool, Stage)]) -> Vec<Result<Stage, String>> {
    let mut order = Vec::new();
    let put = |order: &mut Vec<_>, before: bool, stage: Stage| {
        let here = layers
            .iter()
            .enumerate()
            .filter(|(_, layer)| **layer == (before, stage));
        order.extend(here.map(|(number, _)| Err(format!("layer-{number}"))));
    };
    for stage in stages {
        put(&mut order, true, *stage);
        order.push(Ok(*stage));
        put(&mut order, false, *stage);
    }
    order
}

struct Probe {
    tenancy: Tenancy,
    store: MemoryStore,
    trace: Trace,
}

impl Probe {
    fn new(order: Order, layers: &[(bool, Stage)]) -> Self {
        let (trace, store) = (Trace::default(), MemoryStore::of(["acme", "closed"]).unwrap());
        let mut builder = Tenancy::builder(subdomains(), store.clone())
            .order(order)
            .body_limit(10)
            .deadline(Duration::from_secs(1));
        for (number, (before, stage)) in layers.iter().enumerate() {
            let layer = trace.layer(&format!("layer-{number}"));
            builder = if *before {
                builder.insert_before(*stage, layer)
            } else {
                builder.insert_after(*stage, layer)
            };
        }
        let tenancy = builder.build().unwrap();
        Self {
            tenancy,
            store,
            trace,
        }
    }

    /// Sends a request that the stage answers or changes. What the layers have seen.
    async fn provoke(&self, stage: Option<Stage>) -> Vec<String> {
        let handler = async |request: Request| match request.uri().path() {
            "/panic" => panic!("as told"),
            "/slow" => tokio::time::sleep(Duration::from_secs(5)).await,
            _ => {}
        };
        // Not a router of the stack's: it would refuse where nothing is resolved.
        let app = self.tenancy.layer(Router::new().fallback(handler));
        let mut request = match stage {
            Some(Stage::PanicCatch) => get("acme.app.test", "/panic"),
            Some(Stage::Resolve) => get("unknown.app.test", "/"),
            Some(Stage::Gate) => get("closed.app.test", "/"),
            Some(Stage::Deadline) => get("acme.app.test", "/slow"),
            _ => get("acme.app.test", "/"),
        };
        if stage == Some(Stage::BodyLimit) {
            *request.body_mut() = Body::from("more than ten");
        }
        if stage == Some(Stage::Maintenance) {
            self.tenancy
                .maintenance()
                .enable(&Maintenance::default())
                .unwrap();
        }
        self.store
            .set_status(&id("closed"), TenantStatus::Suspended)
            .await
            .unwrap();
        let answered = caught(app.oneshot(request)).await;
        assert_eq!(
            answered.is_err(),
            stage == Some(Stage::PanicCatch) && !self.has(Stage::PanicCatch)
        );
        self.tenancy.maintenance().disable();
        self.trace.take()
    }

    fn has(&self, stage: Stage) -> bool {
        self.tenancy.order().contains(stage)
    }
}

/// What the layers see when `stage` ends the request with `status`: those outside of it the request and the answer,
/// those inside of it nothing or, where the handler was called, the request only.
fn expected_trace(
    order: &[Result<Stage, String>],
    stage: Stage,
    status: u16,
    handler_is_called: bool,
) -> Vec<String> {
    let at = order.iter().position(|part| *part == Ok(stage)).unwrap();
    let names = |parts: &[Result<Stage, String>]| -> Vec<String> {
        parts.iter().filter_map(|part| part.clone().err()).collect()
    };
    let (outside, inside) = (names(&order[..at]), names(&order[at..]));
    let way_out: Vec<String> = outside
        .iter()
        .rev()
        .map(|name| format!("{name} {status}"))
        .collect();
    let inside = if handler_is_called { inside } else { Vec::new() };
    [outside, inside, way_out].concat()
}

const PROVOKED: [(Stage, u16, bool); 6] = [
    (Stage::PanicCatch, 500, true),
    (Stage::Maintenance, 503, false),
    (Stage::Resolve, 404, false),
    (Stage::Gate, 403, false),
    (Stage::BodyLimit, 413, false),
    (Stage::Deadline, 504, true),
];

async fn assert_order_is_observed(stages: &[Stage], layers: &[(bool, Stage)]) {
    let names = stages.iter().map(|stage| stage.as_str());
    let order = Order::from_names(names).unwrap();
    assert_eq!(order, Order::new(stages.iter().copied()).unwrap());
    let probe = Probe::new(order, layers);
    probe.tenancy.ready().await;
    let expected = expected_order(stages, layers);

    let in_force: Vec<_> = probe.tenancy.order().stages().collect();
    let of_expected: Vec<_> = expected.iter().map(|part| part.clone().ok()).collect();
    assert_eq!(in_force, of_expected);
    let printed: Vec<_> = of_expected
        .iter()
        .map(|part| part.map_or("(layer)", Stage::as_str))
        .collect();
    assert_eq!(
        probe.tenancy.order().to_string(),
        [&printed[..], &["your router"]].concat().join(" · ")
    );

    let layers: Vec<String> = expected.iter().filter_map(|part| part.clone().err()).collect();
    let out = layers.iter().rev().map(|name| format!("{name} 200"));
    let all: Vec<String> = layers.iter().cloned().chain(out).collect();
    assert_eq!(probe.provoke(None).await, all, "{}", probe.tenancy.order());
    for (stage, status, handler_is_called) in PROVOKED {
        if probe.has(stage) {
            let seen = probe.provoke(Some(stage)).await;
            let wanted = expected_trace(&expected, stage, status, handler_is_called);
            assert_eq!(seen, wanted, "{stage} in {}", probe.tenancy.order());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn requests_pass_stages_and_layers_in_the_order_in_force((stages, layers) in arrangement()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(assert_order_is_observed(&stages, &layers));
    }
}

#[tokio::test(start_paused = true)]
async fn the_default_order_with_a_layer_at_every_place_is_observed() {
    let everywhere: Vec<_> = Stage::ALL
        .into_iter()
        .flat_map(|stage| [(true, stage), (false, stage)])
        .collect();
    assert_order_is_observed(&Stage::ALL, &everywhere).await;
}

#[tokio::test]
async fn layers_inside_of_resolve_see_the_tenant_and_those_inside_of_cache_scope_its_cache() {
    let app_with = |order: Order, watched: Stage, before: bool| {
        let watch = from_fn(async |request: Request, next: Next| {
            let whose = current().is_some();
            let (mut parts, body) = request.into_parts();
            let cached = CacheScope::from_request_parts(&mut parts, &()).await.is_ok();
            let response = next.run(Request::from_parts(parts, body)).await;
            ([("x-saw", format!("{whose} {cached}"))], response)
        });
        let builder = Tenancy::builder(subdomains(), MemoryStore::of(["acme"]).unwrap()).order(order);
        let builder = if before {
            builder.insert_before(watched, watch)
        } else {
            builder.insert_after(watched, watch)
        };
        builder.build().unwrap().wrap(Router::new().fallback(async || ()))
    };
    for (watched, before, expected) in [
        (Stage::Resolve, true, "false false"),
        (Stage::Resolve, false, "true false"),
        (Stage::CacheScope, true, "true false"),
        (Stage::CacheScope, false, "true true"),
    ] {
        let app = app_with(Order::default(), watched, before);
        let response = send(&app, get("acme.app.test", "/")).await;
        assert_eq!(response.headers()["x-saw"], expected, "{watched} {before}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_words() {
    let error = Tenancy::builder(Chain::new(ConflictPolicy::default()), MemoryStore::new())
        .disable(Stage::Resolve)
        .disable(Stage::BodyLimit)
        .insert_after(Stage::BodyLimit, Identity::new())
        .insert_before(Stage::Resolve, Identity::new())
        .central_hosts(["app.test", "a b", "app.test:80", ""])
        .deadline(Duration::ZERO)
        .build()
        .unwrap_err();
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1 + error.mistakes().len(), "{text}");
    assert_eq!(lines[0], "the tenancy stack is not built right");
    for (line, expected) in lines[1..].iter().zip([
        "  - gate needs resolve, which is not there: the gate judges the tenant that was found",
        "  - cache_scope needs resolve, which is not there: a cache that is opened before the tenant is known would be shared by all",
        "  - a layer is to stand beside body_limit, which is not in the order",
        "  - a layer is to stand beside resolve, which is not in the order",
        "  - central host \"a b\" is not valid: ",
        "  - central host \"app.test:80\" is not valid: ports play no part in who a request is for; leave it out",
        "  - central host \"\" is not valid: ",
        "  - the deadline is zero; disable the deadline stage instead",
        "  - the chain has no identifier, so no request would have a tenant",
    ]) {
        assert!(line.starts_with(expected), "{line}");
    }
    assert_eq!(error.mistakes().len(), 9);
}

#[test]
fn each_mistake_alone_is_refused_and_named() {
    let build = |change: fn(tenancy::stack::TenancyBuilder) -> tenancy::stack::TenancyBuilder| {
        change(Tenancy::builder(subdomains(), MemoryStore::new())).build()
    };
    let only = |result: Result<Tenancy, ConfigError>| {
        let mistakes = result.unwrap_err().mistakes().to_vec();
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        mistakes[0].clone()
    };
    assert!(matches!(
        only(build(|builder| builder
            .disable(Stage::CacheScope)
            .disable(Stage::Resolve))),
        ConfigMistake::Order(OrderMistake::Missing {
            needed: Stage::Resolve,
            by: Stage::Gate,
            ..
        })
    ));
    assert_eq!(
        only(build(|builder| builder
            .disable(Stage::Gate)
            .insert_after(Stage::Gate, Identity::new()))),
        ConfigMistake::LayerWithoutStage { stage: Stage::Gate }
    );
    assert_eq!(
        only(build(|builder| builder.deadline(Duration::ZERO))),
        ConfigMistake::ZeroDeadline
    );
    assert!(build(|builder| builder.deadline(Duration::ZERO).disable(Stage::Deadline)).is_ok());
    let long = only(build(|builder| builder.central_hosts(["x".repeat(500)]))).to_string();
    assert!(long.len() < 200, "{long}");
}

#[test]
fn orders_from_settings_name_every_mistake() {
    let text = Order::from_names(["cache_scope", "Resolve", "gate", "resolve", "gate", ""])
        .unwrap_err()
        .to_string();
    for expected in [
        "the order of stages is not valid",
        "there is no stage \"Resolve\"; known are panic_catch, maintenance, resolve, gate, body_limit, deadline, cache_scope",
        "there is no stage \"\"",
        "gate is there twice",
        "resolve must come before gate: the gate judges the tenant that was found",
        "resolve must come before cache_scope: a cache",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert_eq!(text.lines().count(), 6, "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_disabled_stage_does_nothing() {
    let with = |disabled: &[Stage]| {
        let store = MemoryStore::of(["acme"]).unwrap();
        let mut builder = Tenancy::builder(subdomains(), store.clone())
            .body_limit(1)
            .deadline(Duration::from_secs(1));
        for stage in disabled {
            builder = builder.disable(*stage);
        }
        (builder.build().unwrap(), store)
    };
    let handler = async |request: Request| -> Response<Body> {
        match request.uri().path() {
            "/panic" => panic!("as told"),
            "/slow" => tokio::time::sleep(Duration::from_secs(60)).await,
            _ => {}
        }
        Response::new(request.into_body())
    };
    let router = Router::new()
        .fallback(handler)
        .route("/cache", on_get(async |_: CacheScope| ()));
    let ask = async |tenancy: &Tenancy, path: &str| {
        let mut request = get("acme.app.test", path);
        *request.body_mut() = Body::from("twelve bytes");
        caught(send(&tenancy.wrap(router.clone()), request))
            .await
            .map(|response| response.status().as_u16())
    };
    let (all, store) = with(&[]);
    assert_eq!(ask(&all, "/").await, Ok(413));
    let (tenancy, _) = with(&[Stage::BodyLimit]);
    assert_eq!(ask(&tenancy, "/").await, Ok(200));
    assert_eq!(ask(&tenancy, "/slow").await, Ok(504));
    assert_eq!(ask(&tenancy, "/panic").await, Ok(500));
    let (tenancy, _) = with(&[Stage::BodyLimit, Stage::Deadline]);
    assert_eq!(ask(&tenancy, "/slow").await, Ok(200));
    let (tenancy, _) = with(&[Stage::BodyLimit, Stage::PanicCatch]);
    assert_eq!(ask(&tenancy, "/panic").await, Err("as told".to_owned()));
    let (tenancy, _) = with(&[Stage::BodyLimit, Stage::CacheScope]);
    assert_eq!(ask(&tenancy, "/cache").await, Ok(500));
    let (tenancy, _) = with(&[Stage::BodyLimit, Stage::Maintenance]);
    tenancy.maintenance().enable(&Maintenance::default()).unwrap();
    assert_eq!(ask(&tenancy, "/").await, Ok(200));
    let (tenancy, suspended) = with(&[Stage::BodyLimit, Stage::Gate]);
    suspended
        .set_status(&id("acme"), TenantStatus::Suspended)
        .await
        .unwrap();
    assert_eq!(ask(&tenancy, "/").await, Ok(200));
    store
        .set_status(&id("acme"), TenantStatus::Suspended)
        .await
        .unwrap();
    assert_eq!(ask(&all, "/").await, Ok(403));
}

#[tokio::test]
async fn with_every_stage_disabled_routers_refuse_and_the_log_says_why() {
    let log = crate::gates::logs::capture();
    let mut builder = Tenancy::builder(subdomains(), MemoryStore::of(["acme"]).unwrap());
    for stage in Stage::ALL {
        builder = builder.disable(stage);
    }
    let tenancy = builder.build().unwrap();
    assert_eq!(tenancy.order().to_string(), "your router");
    let app = tenancy.wrap(Router::new().fallback(async || "never"));
    let response = send(&app, get("acme.app.test", "/")).await;
    assert_eq!(response.status(), 500);
    assert!(!support::text(response).await.contains("never"));
    assert!(
        log.text().contains("the resolve stage is disabled"),
        "{}",
        log.text()
    );
}
