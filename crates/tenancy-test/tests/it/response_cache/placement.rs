//! Where the layer stands, and where it refuses to.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    task::{Context, Poll},
};

use tenancy::{
    Central, MemoryStore,
    resolve::Subdomain,
    stack::{Order, Stage},
};
use tower::{Layer, Service};

use super::*;

fn stack() -> tenancy::stack::TenancyBuilder {
    let store = MemoryStore::of(["acme", "globex"]).unwrap();
    Tenancy::builder(Subdomain::of("example.com").unwrap(), store).central_hosts(["example.com"])
}

#[tokio::test]
async fn a_stack_without_cache_scope_makes_no_response_cache() {
    let tenancy = stack().disable(Stage::CacheScope).build().unwrap();
    let error = tenancy.response_cache(hour()).unwrap_err().to_string();
    assert!(
        error.contains("cache_scope") && error.contains("add it"),
        "{error}"
    );
    let nothing = stack().order(Order::new([]).unwrap()).build().unwrap();
    assert_eq!(nothing.response_cache(hour()).unwrap_err().mistakes().len(), 2);
    let all = ResponseCache::same_for_everybody(Duration::ZERO)
        .vary(["cookie"])
        .max_body(usize::MAX);
    let error = tenancy.response_cache(all).unwrap_err();
    assert_eq!(error.mistakes().len(), 4, "{error}");
}

#[tokio::test]
async fn where_the_layer_can_not_work_nothing_is_served() {
    let tenancy = stack().build().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let route = |tenancy: &Tenancy| {
        let calls = Arc::clone(&calls);
        let handler = async move || {
            calls.fetch_add(1, Ordering::SeqCst);
            "page"
        };
        let cache = tenancy.response_cache(hour()).unwrap();
        Router::new().route("/report", on_get(handler).layer(cache))
    };
    let of_no_stack = route(&tenancy);
    let central = tenancy.routes().central(route(&tenancy)).build();
    let by_hand = route(&tenancy).layer(tenancy.stage(Stage::Resolve));
    for _ in 0..2 {
        let request = || to("acme").body(Body::empty()).unwrap();
        let to_central = Request::get("/report")
            .header("host", "example.com")
            .body(Body::empty());
        let answers = [
            of_no_stack.clone().oneshot(request()).await.unwrap(),
            central.clone().oneshot(to_central.unwrap()).await.unwrap(),
            by_hand.clone().oneshot(request()).await.unwrap(),
        ];
        for (at, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.status(), 500, "{at}");
            assert_eq!(answer.headers()["cache-control"], "no-store");
            let rejection = answer
                .extensions()
                .get::<tenancy::rejection::Rejection>()
                .unwrap();
            assert_eq!(rejection.reason().as_str(), "misbuilt_stack");
        }
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    // Composed by hand in the right order it works.
    let by_hand = route(&tenancy)
        .layer(tenancy.stage(Stage::CacheScope))
        .layer(tenancy.stage(Stage::Resolve));
    for told in ["tenancy; fwd=miss; stored", "tenancy; hit"] {
        let answer = by_hand
            .clone()
            .oneshot(to("acme").body(Body::empty()).unwrap())
            .await
            .unwrap();
        assert_eq!(answer.headers()["cache-status"], told);
    }
}

#[tokio::test]
async fn on_a_universal_route_central_requests_are_refused() {
    let tenancy = stack().build().unwrap();
    let cache = tenancy.response_cache(hour()).unwrap();
    let handler = async |_: Option<Tenant>| "both";
    let app = tenancy
        .routes()
        .universal(Router::new().route("/report", on_get(handler).layer(cache)))
        .central(Router::new().route("/", on_get(async |_: Central| "central")))
        .build();
    assert_eq!(ask(&app, to("acme")).await.text(), "both");
    let central = Request::get("/report").header("host", "example.com");
    assert_eq!(ask(&app, central).await.status, 500);
}

#[tokio::test]
async fn while_the_resolve_stage_only_observes_what_it_would_refuse_is_not_kept() {
    let tenancy = stack().observe().build().unwrap();
    let app = app(&tenancy, hour(), async || "page");
    for _ in 0..2 {
        assert_eq!(ask(&app, to("nobody")).await.told(), "fwd=bypass");
    }
    assert_eq!(ask(&app, to("acme")).await.told(), "fwd=miss; stored");
}

#[tokio::test]
async fn a_route_that_is_nested_under_a_parameter_has_pages_for_each() {
    let tenancy = stack().build().unwrap();
    let cache = tenancy.response_cache(hour()).unwrap();
    let handler = async |axum::extract::Path(user): axum::extract::Path<String>| user;
    let inner = Router::new().route("/profile", on_get(handler).layer(cache));
    let app = tenancy.wrap(Router::new().nest("/users/{user}", inner));
    for _ in 0..2 {
        for user in ["ada", "bob"] {
            let request = to("acme").uri(format!("/users/{user}/profile"));
            assert_eq!(ask(&app, request).await.text(), user);
        }
    }
}

#[tokio::test]
async fn what_matches_no_route_is_not_kept() {
    let tenancy = stack().build().unwrap();
    let cache = tenancy.response_cache(hour().also(StatusCode::NOT_FOUND, Duration::from_secs(60)));
    let router = Router::new()
        .route("/report", on_get(async || "page"))
        .fallback(async || (StatusCode::NOT_FOUND, "none"))
        .layer(cache.unwrap());
    let app = tenancy.wrap(router);
    for _ in 0..2 {
        let answer = ask(&app, to("acme").uri("/other")).await;
        assert_eq!(
            (answer.status, answer.told()),
            (StatusCode::NOT_FOUND, "fwd=bypass")
        );
    }
    assert_eq!(ask(&app, to("acme")).await.told(), "fwd=miss; stored");
}

/// As the test kit does it with routers of applications.
#[tokio::test]
async fn the_layer_keeps_pages_of_any_stacks_tenants_in_their_own_cache() {
    let (one, other) = (stack().build().unwrap(), stack().build().unwrap());
    let router = || {
        let cache = one.response_cache(hour()).unwrap();
        Router::new().route("/report", on_get(async || "page").layer(cache))
    };
    for tenancy in [&one, &other] {
        let app = tenancy.wrap(router());
        assert_eq!(ask(&app, to("acme")).await.told(), "fwd=miss; stored");
        assert_eq!(ask(&app, to("acme")).await.told(), "hit");
    }
}

/// Answers if it was asked whether it is ready.
struct NeedsReadiness {
    is_ready: AtomicBool,
    inner: axum::routing::Route,
}

impl Clone for NeedsReadiness {
    fn clone(&self) -> Self {
        Self {
            is_ready: AtomicBool::new(false),
            inner: self.inner.clone(),
        }
    }
}

impl Service<Request<Body>> for NeedsReadiness {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = axum::routing::future::RouteFuture<Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        *self.is_ready.get_mut() = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        assert!(
            std::mem::take(self.is_ready.get_mut()),
            "it was not asked whether it is ready"
        );
        self.inner.call(request)
    }
}

#[tokio::test]
async fn the_service_that_was_found_ready_is_the_one_that_is_called() {
    let tenancy = stack().build().unwrap();
    let cache = tenancy.response_cache(hour()).unwrap();
    let needs = tower::layer::layer_fn(|inner| NeedsReadiness {
        is_ready: AtomicBool::new(false),
        inner,
    });
    let both = tower::layer::layer_fn(move |inner| cache.layer(needs.layer(inner)));
    let app = tenancy.wrap(Router::new().route("/report", on_get(async || "page").layer(both)));
    for request in [
        to("acme"),
        to("acme").method("HEAD"),
        to("acme").header("range", "bytes=0-1"),
        to("globex"),
    ] {
        assert_eq!(ask(&app, request).await.status, 200);
    }
}
