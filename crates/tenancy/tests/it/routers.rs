//! Separate routers for tenants, for central hosts and for both.

use std::panic::{AssertUnwindSafe, catch_unwind};

use axum::{
    Router,
    body::Body,
    extract::{MatchedPath, OriginalUri, Path, State},
    http::{Method, Request, StatusCode, Uri},
    response::IntoResponse,
    routing::{get, post},
};
use tenancy::{
    Central, MemoryStore, Tenancy, Tenant,
    cache::CacheScope,
    rejection::{REFERENCE_HEADER, Rejection, RejectionReason},
    resolve::{Header, PathSegment, Resolution, Subdomain},
    routes::TenancyApp,
    stack::Stage,
};
use tower::ServiceExt;

use crate::{
    gates::logs,
    scopes::{here, subdomains},
    support::{body, faulty::FaultyStore, get as of_host, send, text},
};

const TENANT: &str = "acme.app.test";
const CENTRAL: &str = "app.test";

fn tenancy() -> Tenancy {
    tenancy_with(MemoryStore::of(["acme", "globex"]).unwrap())
}

fn tenancy_with(store: impl tenancy::core::TenantStore) -> Tenancy {
    Tenancy::builder(subdomains(), store)
        .central_hosts(["app.test", "www.app.test", "127.0.0.1", "[::1]"])
        .build()
        .unwrap()
}

fn three_routers() -> TenancyApp {
    tenancy()
        .routes()
        .tenant(
            Router::new()
                .route("/", get(async |tenant: Tenant| format!("shop of {tenant}")))
                .route("/orders", get(async || "orders")),
        )
        .central(
            Router::new()
                .route("/", get(async |_: Central| "sign up"))
                .route("/admin", get(async || "admin")),
        )
        .universal(Router::new().route("/about", get(about)))
        .build()
}

async fn about(tenant: Option<Tenant>) -> String {
    tenant.map_or("about us".to_owned(), |tenant| format!("about {tenant}"))
}

async fn assert_answers(app: &TenancyApp, cases: &[(&str, &str, u16, &str)]) {
    for (host, path, status, expected) in cases {
        let response = send(app, of_host(host, path)).await;
        assert_eq!(response.status(), *status, "{host}{path}");
        assert_eq!(text(response).await, *expected, "{host}{path}");
    }
}

#[tokio::test]
async fn each_side_has_its_routes_and_the_universal_ones_and_no_others() {
    let cases = [
        (TENANT, "/", 200, "shop of acme"),
        ("globex.app.test", "/", 200, "shop of globex"),
        (CENTRAL, "/", 200, "sign up"),
        (TENANT, "/about", 200, "about acme"),
        (CENTRAL, "/about", 200, "about us"),
        (TENANT, "/orders", 200, "orders"),
        (CENTRAL, "/orders", 404, ""),
        (CENTRAL, "/admin", 200, "admin"),
        (TENANT, "/admin", 404, ""),
        (TENANT, "/nothing", 404, ""),
        (CENTRAL, "/nothing", 404, ""),
    ];
    assert_answers(&three_routers(), &cases).await;
}

#[tokio::test]
async fn a_path_of_the_other_side_looks_like_one_that_does_not_exist() {
    let app = three_routers();
    for (host, of_other_side) in [(TENANT, "/admin"), (CENTRAL, "/orders")] {
        let wrong = send(&app, of_host(host, of_other_side)).await;
        let missing = send(&app, of_host(host, "/nothing")).await;
        assert_eq!(wrong.headers(), missing.headers());
        assert_eq!(body(wrong).await, body(missing).await);
    }
}

#[tokio::test]
async fn several_routers_of_one_side_are_merged() {
    let one = |path: &'static str| Router::new().route(path, get(async move || path));
    let app = tenancy()
        .routes()
        .tenant(one("/a"))
        .central(one("/b"))
        .tenant(one("/c"))
        .universal(one("/d"))
        .universal(one("/e"))
        .build();
    let ok = |host, path| (host, path, 200, path);
    let cases = [
        ok(TENANT, "/a"),
        ok(TENANT, "/c"),
        ok(TENANT, "/d"),
        ok(CENTRAL, "/b"),
        ok(CENTRAL, "/d"),
        ok(CENTRAL, "/e"),
        (CENTRAL, "/c", 404, ""),
        (TENANT, "/b", 404, ""),
    ];
    assert_answers(&app, &cases).await;
}

async fn reason_of(app: &TenancyApp, request: Request<Body>) -> (StatusCode, Option<RejectionReason>) {
    let response = send(app, request).await;
    let reason = response.extensions().get::<Rejection>().map(Rejection::reason);
    (response.status(), reason)
}

#[tokio::test]
async fn extractors_refuse_the_side_that_is_not_theirs() {
    let router = Router::new()
        .route("/tenant", get(async |_: Tenant| ()))
        .route("/central", get(async |_: Central| ()))
        .route(
            "/either",
            get(async |tenant: Option<Tenant>| tenant.map_or("none".to_owned(), |t| t.to_string())),
        )
        .route(
            "/how",
            get(async |how: Resolution| format!("{:?}", how.identifier())),
        )
        .route(
            "/cache",
            get(async |cache: CacheScope| cache.key("k").starts_with("t:acme:").to_string()),
        );
    let app = tenancy().routes().universal(router).build();
    let unknown = Some(RejectionReason::UnknownTenant);
    for (host, path, status, reason) in [
        (TENANT, "/tenant", 200, None),
        (CENTRAL, "/tenant", 404, unknown),
        (TENANT, "/central", 404, unknown),
        (CENTRAL, "/central", 200, None),
        (CENTRAL, "/cache", 404, unknown),
    ] {
        let answer = reason_of(&app, of_host(host, path)).await;
        assert_eq!((answer.0.as_u16(), answer.1), (status, reason), "{host}{path}");
    }
    let cases = [
        (TENANT, "/either", 200, "acme"),
        (CENTRAL, "/either", 200, "none"),
        (TENANT, "/how", 200, "Some(\"subdomain of app.test\")"),
        (CENTRAL, "/how", 200, "None"),
        (TENANT, "/cache", 200, "true"),
    ];
    assert_answers(&app, &cases).await;
}

#[tokio::test]
async fn without_the_stack_extractors_answer_500_and_the_log_says_what_to_do() {
    let log = logs::capture();
    let router = Router::new()
        .route("/Tenant", get(async |_: Tenant| ()))
        .route("/OptionTenant", get(async |_: Option<Tenant>| ()))
        .route("/Central", get(async |_: Central| ()))
        .route("/Resolution", get(async |_: Resolution| ()))
        .route("/CacheScope", get(async |_: CacheScope| ()))
        .route(
            "/OptionResolution",
            get(async |how: Option<Resolution>| assert!(how.is_none())),
        );
    let ask = async |extractor: &str| {
        let uri = format!("/{}", extractor.replace(['<', '>'], ""));
        let response = router.clone().oneshot(of_host(TENANT, &uri)).await.unwrap();
        (response.status(), text(response).await)
    };
    for extractor in ["Tenant", "Option<Tenant>", "Central", "Resolution", "CacheScope"] {
        let before = log.text().len();
        let (status, body) = ask(extractor).await;
        assert_eq!(status, 500, "{extractor}");
        assert!(!body.contains("Tenancy"), "{body}");
        let logged = log.text()[before..].to_owned();
        let named = if extractor == "CacheScope" {
            "Tenant"
        } else {
            extractor
        };
        for part in [named, "ERROR", "Tenancy::wrap", "misbuilt_stack"] {
            assert!(logged.contains(part), "{part} in {logged}");
        }
    }
    assert_eq!(ask("Option<Resolution>").await.0, 200);
}

#[tokio::test]
async fn a_tenant_that_could_not_be_resolved_never_becomes_none() {
    let store = FaultyStore::new(MemoryStore::of(["acme"]).unwrap()).finding_only();
    let router = Router::new().fallback(async |tenant: Option<Tenant>| {
        let tenant = tenant.map_or("none".to_owned(), |tenant| tenant.to_string());
        format!("handler saw {tenant}")
    });
    let app = tenancy_with(store.clone()).routes().universal(router).build();
    store.fail(true);
    for (host, status) in [
        (TENANT, 503),
        ("unknown.app.test", 503),
        ("elsewhere.test", 404),
        ("ACME_.app.test", 404),
        ("a b", 400),
    ] {
        let response = send(&app, of_host(host, "/")).await;
        assert_eq!(response.status(), status, "{host}");
        assert!(!text(response).await.contains("handler saw"), "{host}");
    }
    let central = send(&app, of_host(CENTRAL, "/")).await;
    assert_eq!(text(central).await, "handler saw none");
}

#[tokio::test]
async fn each_side_uses_its_own_fallback() {
    let with_fallback =
        |text: &'static str| Router::new().fallback(async move || (StatusCode::IM_A_TEAPOT, text));
    let app = tenancy()
        .routes()
        .tenant(with_fallback("no such page in the shop"))
        .central(with_fallback("no such page"))
        .universal(Router::new().route("/about", get(about)))
        .build();
    let cases = [
        (TENANT, "/nothing", 418, "no such page in the shop"),
        (CENTRAL, "/nothing", 418, "no such page"),
        (TENANT, "/about", 200, "about acme"),
        (CENTRAL, "/about", 200, "about us"),
    ];
    assert_answers(&app, &cases).await;

    let app = tenancy()
        .routes()
        .tenant(Router::new().route("/", get(async || "shop")))
        .universal(with_fallback("nowhere"))
        .build();
    let cases = [
        (TENANT, "/", 200, "shop"),
        (TENANT, "/nothing", 418, "nowhere"),
        (CENTRAL, "/", 418, "nowhere"),
    ];
    assert_answers(&app, &cases).await;
}

#[tokio::test]
async fn what_merge_can_not_merge_panics_when_the_routers_are_put_together() {
    let route = || Router::new().route("/", get(async || ()));
    let fallback = || Router::new().fallback(async || ());
    let panics = |build: &dyn Fn() -> TenancyApp| catch_unwind(AssertUnwindSafe(build)).is_err();
    let routes = || tenancy().routes();
    assert!(panics(&|| routes().tenant(route()).universal(route()).build()));
    assert!(panics(&|| routes().central(route()).universal(route()).build()));
    assert!(panics(&|| routes().tenant(route()).tenant(route()).build()));
    assert!(panics(&|| routes()
        .tenant(fallback())
        .universal(fallback())
        .build()));
    assert!(panics(&|| routes()
        .central(fallback())
        .universal(fallback())
        .build()));
    assert!(panics(&|| routes()
        .central(fallback())
        .central(fallback())
        .build()));
    assert!(!panics(&|| routes().tenant(route()).central(route()).build()));
    assert!(!panics(&|| routes()
        .tenant(fallback())
        .central(fallback())
        .build()));
}

#[tokio::test]
async fn each_router_keeps_its_own_state() {
    async fn show(State(state): State<&'static str>) -> &'static str {
        state
    }
    async fn count(State(state): State<u32>) -> String {
        state.to_string()
    }
    let app = tenancy()
        .routes()
        .tenant(Router::new().route("/", get(show)).with_state("of tenants"))
        .central(Router::new().route("/", get(show)).with_state("of the centre"))
        .universal(Router::new().route("/count", get(count)).with_state(7))
        .build();
    let cases = [
        (TENANT, "/", 200, "of tenants"),
        (CENTRAL, "/", 200, "of the centre"),
        (TENANT, "/count", 200, "7"),
        (CENTRAL, "/count", 200, "7"),
    ];
    assert_answers(&app, &cases).await;
}

async fn route_of(path: MatchedPath, Path((a, b)): Path<(String, u32)>) -> String {
    format!("{} {a} {b}", path.as_str())
}

#[tokio::test]
async fn nested_routers_matched_paths_and_parameters_are_those_of_axum() {
    let inner = || Router::new().route("/items/{a}/{b}", get(route_of));
    for track_routes in [false, true] {
        let tenancy = Tenancy::builder(subdomains(), MemoryStore::of(["acme"]).unwrap())
            .central_hosts([CENTRAL])
            .track_routes(track_routes)
            .build()
            .unwrap();
        let app = tenancy
            .routes()
            .tenant(Router::new().nest("/api/v1", inner()))
            .central(Router::new().nest_service("/served", inner()))
            .universal(inner())
            .build();
        let cases = [
            (
                TENANT,
                "/api/v1/items/a%20b/7?q",
                200,
                "/api/v1/items/{a}/{b} a b 7",
            ),
            (TENANT, "/items/x/7", 200, "/items/{a}/{b} x 7"),
            (CENTRAL, "/items/x/7", 200, "/items/{a}/{b} x 7"),
            (CENTRAL, "/served/items/x/7", 200, "/served/items/{a}/{b} x 7"),
        ];
        assert_answers(&app, &cases).await;
        let bad = send(&app, of_host(TENANT, "/items/x/seven")).await;
        assert_eq!(bad.status(), 400);
    }
}

#[tokio::test]
async fn a_tenant_in_the_path_is_found_before_routing() {
    let tenancy = Tenancy::new(
        PathSegment::first().strip(true),
        MemoryStore::of(["acme"]).unwrap(),
    );
    let handler = async |tenant: Tenant, route: MatchedPath, uri: Uri, OriginalUri(original): OriginalUri| {
        format!("{tenant} {} {uri} {original}", route.as_str())
    };
    let app = tenancy.wrap(Router::new().route("/orders/{id}", get(handler)));
    let response = send(&app, of_host("any.test", "/acme/orders/7?x=1")).await;
    assert_eq!(
        text(response).await,
        "acme /orders/{id} /orders/7?x=1 /acme/orders/7?x=1"
    );
    assert_eq!(
        send(&app, of_host("any.test", "/other/orders/7")).await.status(),
        404
    );
}

#[tokio::test]
async fn a_method_that_is_not_allowed_is_405_with_allow_on_both_sides() {
    let app = tenancy()
        .routes()
        .tenant(Router::new().route("/", post(async || "posted")))
        .central(Router::new().route("/", get(async || "got")))
        .build();
    for (host, method, status, allow) in [
        (TENANT, Method::GET, 405, Some("POST")),
        (TENANT, Method::POST, 200, None),
        (CENTRAL, Method::POST, 405, Some("GET,HEAD")),
        (CENTRAL, Method::HEAD, 200, None),
    ] {
        let mut request = of_host(host, "/");
        *request.method_mut() = method.clone();
        let response = send(&app, request).await;
        assert_eq!(response.status(), status, "{host} {method}");
        let allowed = response
            .headers()
            .get("allow")
            .map(|value| value.to_str().unwrap());
        assert_eq!(allowed, allow, "{host} {method}");
    }
}

#[tokio::test]
async fn central_hosts_are_known_in_every_spelling_and_with_any_port() {
    let app = three_routers();
    for host in [
        "app.test",
        "APP.test",
        "app.test.",
        "app.test:8080",
        "www.app.test",
        "127.0.0.1",
        "127.0.0.1:3000",
        "[::1]",
        "[::1]:3000",
        "[0:0:0:0:0:0:0:1]:80",
    ] {
        assert_answers(&app, &[(host, "/", 200, "sign up")]).await;
    }
    for host in [
        "127.0.0.2",
        "[::2]",
        "xapp.test",
        "app.test.evil.test",
        "other.test",
    ] {
        assert_eq!(send(&app, of_host(host, "/")).await.status(), 404, "{host}");
    }
}

#[tokio::test]
async fn on_a_central_host_other_identifiers_may_still_name_a_tenant() {
    let tenancy = Tenancy::builder(
        Header::named("x-tenant").unwrap(),
        MemoryStore::of(["acme"]).unwrap(),
    )
    .central_hosts([CENTRAL])
    .build()
    .unwrap();
    let app = tenancy
        .routes()
        .universal(Router::new().route("/", get(about)))
        .build();
    let mut named = of_host(CENTRAL, "/");
    named.headers_mut().insert("x-tenant", "acme".parse().unwrap());
    assert_eq!(text(send(&app, named).await).await, "about acme");
    let mut unknown = of_host(CENTRAL, "/");
    unknown.headers_mut().insert("x-tenant", "other".parse().unwrap());
    assert_eq!(send(&app, unknown).await.status(), 404, "not central by mistake");
    assert_eq!(text(send(&app, of_host(CENTRAL, "/")).await).await, "about us");
}

#[tokio::test]
async fn wrap_serves_tenants_only() {
    let app = tenancy().wrap(
        Router::new()
            .route("/", get(async || here()))
            .fallback(async || "fallback"),
    );
    let cases = [
        (TENANT, "/", 200, "acme"),
        (TENANT, "/x", 200, "fallback"),
        (CENTRAL, "/", 404, ""),
    ];
    assert_answers(&app, &cases).await;
    for host in ["127.0.0.1", "[::1]", "unknown.app.test"] {
        assert_eq!(send(&app, of_host(host, "/")).await.status(), 404, "{host}");
    }
}

#[tokio::test]
async fn routers_without_routes_are_404_everywhere() {
    for track_routes in [false, true] {
        let tenancy = Tenancy::builder(subdomains(), MemoryStore::of(["acme"]).unwrap())
            .central_hosts([CENTRAL])
            .track_routes(track_routes)
            .build()
            .unwrap();
        let app = tenancy.routes().build();
        assert_answers(&app, &[(TENANT, "/", 404, ""), (CENTRAL, "/", 404, "")]).await;
    }
}

#[tokio::test]
async fn an_application_is_a_service_inside_of_another_router() {
    let probes = Router::new()
        .route("/livez", get(async || "alive"))
        .nest_service("/shop", three_routers())
        .fallback_service(three_routers());
    for (host, path, expected) in [
        ("no host at all", "/livez", "alive"),
        (TENANT, "/shop", "shop of acme"),
        (TENANT, "/shop/orders", "orders"),
        (TENANT, "/orders", "orders"),
        (CENTRAL, "/", "sign up"),
    ] {
        let response = probes.clone().oneshot(of_host(host, path)).await.unwrap();
        assert_eq!(text(response).await, expected, "{host}{path}");
    }
}

#[tokio::test]
async fn a_stack_as_a_router_layer_still_knows_the_tenant() {
    let tenancy = Tenancy::new(
        Subdomain::of("app.test").unwrap(),
        MemoryStore::of(["acme"]).unwrap(),
    );
    let app: Router = Router::new()
        .route(
            "/{page}",
            get(async |tenant: Tenant, Path(page): Path<String>| format!("{tenant} {page}")),
        )
        .layer(tenancy)
        .route("/outside", get(async || "outside"));
    for (path, expected) in [("/page", "acme page"), ("/outside", "outside")] {
        let response = app.clone().oneshot(of_host(TENANT, path)).await.unwrap();
        assert_eq!(text(response).await, expected);
    }
}

#[tokio::test]
async fn requests_of_other_body_types_are_taken_too() {
    let app = three_routers();
    let request = Request::get("/").header("host", TENANT);
    let request = request
        .body(http_body_util::Full::<bytes::Bytes>::default())
        .unwrap();
    let response = app.oneshot(request).await.unwrap();
    assert_eq!(text(response).await, "shop of acme");
}

#[tokio::test]
async fn what_extractors_refuse_is_answered_in_the_applications_own_words() {
    let tenancy = Tenancy::builder(
        Subdomain::of("example.com").unwrap(),
        MemoryStore::of(["acme"]).unwrap(),
    )
    .central_hosts(["example.com"])
    .disable(Stage::CacheScope)
    .on_rejection(|rejection: &Rejection| (rejection.status(), "our own words").into_response())
    .build()
    .unwrap();
    tenancy.ready().await;
    let router = Router::new()
        .route("/tenant", get(async |_: Tenant| ""))
        .route("/central", get(async |_: Central| ""))
        .route("/cache", get(async |_: CacheScope| ""));
    let app = tenancy.routes().universal(router).build();
    for (host, path, status) in [
        ("example.com", "/tenant", 404),
        ("acme.example.com", "/central", 404),
        ("acme.example.com", "/cache", 500),
        ("example.com", "/cache", 404),
    ] {
        let response = send(&app, of_host(host, path)).await;
        assert_eq!(response.status(), status, "{host}{path}");
        assert!(response.headers().contains_key(REFERENCE_HEADER));
        assert_eq!(text(response).await, "our own words", "{host}{path}");
    }
}
