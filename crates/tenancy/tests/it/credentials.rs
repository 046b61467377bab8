//! Credentials that cross over: what was given out for one tenant is no good for another.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderValue, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use tenancy::{
    MemoryStore, Tenancy, Tenant, TenantRef,
    core::{StoreError, TenantEntry, TenantKey, TenantRecord, TenantStatus, TenantStore},
    credential::{BindCredential, CredentialClaim, CredentialRefused},
    event::Event,
    rejection::{Rejection, RejectionReason},
    resolve::{Chain, Claim, ConflictPolicy, Subdomain},
    routes::TenancyApp,
    stack::{Order, Stage},
};
use tower::{Layer, ServiceExt};

use crate::{
    gates::logs,
    scopes::{Recorder, builder, enter, id, subdomains},
    support::{self, send, text},
};

/// What the test's authentication leaves: whom the token is for, in the token's own words.
#[derive(Clone)]
struct Token(String);

async fn authenticate(mut request: Request, next: Next) -> Response {
    let token = request.headers().get("authorization");
    if let Some(token) = token.map(|token| Token(token.to_str().unwrap().to_owned())) {
        request.extensions_mut().insert(token);
    }
    next.run(request).await
}

fn claim_of(token: Option<&Token>) -> CredentialClaim {
    match token {
        None => CredentialClaim::Absent,
        Some(Token(operator)) if operator == "operator" => CredentialClaim::Unbound,
        Some(Token(text)) => CredentialClaim::from_text(text),
    }
}

fn bound(tenancy: &Tenancy) -> BindCredential {
    tenancy.bind_credential(|head| claim_of(head.extensions().get()))
}

/// `/open` checks what is there, `/demands` demands it.
fn app(tenancy: &Tenancy) -> TenancyApp {
    let routes = Router::new()
        .route("/open", get(async || "in").route_layer(bound(tenancy)))
        .route(
            "/demands",
            get(async || "in").route_layer(bound(tenancy).demand()),
        )
        .layer(middleware::from_fn(authenticate));
    tenancy.routes().universal(routes).build()
}

fn with_token(host: &str, path: &str, token: &str) -> Request {
    let mut request = support::get(host, path);
    if !token.is_empty() {
        let token = HeaderValue::from_str(token).unwrap();
        request.headers_mut().insert("authorization", token);
    }
    request
}

fn reason(response: &Response) -> Option<RejectionReason> {
    response.extensions().get().map(Rejection::reason)
}

#[tokio::test]
async fn a_token_of_one_tenant_is_refused_by_every_other_and_on_central_hosts() {
    let tenancy = builder().build().unwrap();
    let app = app(&tenancy);
    let acme = enter(&tenancy, "acme").await.reference().to_string();
    let former = TenantRef::new(id("acme"), 999).to_string();
    // Whose host, the token, and the answers of a route that checks and of one that demands.
    for (host, token, open, demands) in [
        ("acme.app.test", acme.as_str(), 200, 200),
        ("acme.app.test", "acme", 200, 200),
        ("acme.app.test", "operator", 200, 403),
        ("acme.app.test", "", 200, 401),
        ("acme.app.test", &former, 403, 403),
        ("acme.app.test", "not readable", 403, 403),
        ("globex.app.test", &acme, 403, 403),
        ("globex.app.test", "acme", 403, 403),
        ("app.test", &acme, 403, 403),
        ("app.test", "acme", 403, 403),
        ("app.test", "not readable", 403, 403),
        ("app.test", "operator", 200, 200),
        ("app.test", "", 200, 401),
    ] {
        for (path, expected) in [("/open", open), ("/demands", demands)] {
            let response = send(&app, with_token(host, path, token)).await;
            assert_eq!(response.status(), expected, "{host}{path} {token:?}");
            let challenged = response.headers().contains_key("www-authenticate");
            assert_eq!(challenged, expected == 401, "{host}{path} {token:?}");
        }
    }
}

#[tokio::test]
async fn the_log_says_which_tenants_were_meant_and_the_client_learns_nothing() {
    let recorder = Recorder::default();
    let tenancy = builder().listener(recorder.clone()).build().unwrap();
    let app = app(&tenancy);
    tenancy.ready().await;
    recorder.take();
    let acme = enter(&tenancy, "acme").await.reference().to_string();
    let globex = enter(&tenancy, "globex").await.reference().to_string();

    let captured = logs::capture();
    let response = send(&app, with_token("globex.app.test", "/open", &acme)).await;
    assert_eq!(reason(&response), Some(RejectionReason::WrongTenant));
    assert_eq!(response.headers()["cache-control"], "no-store");
    let logged = captured.text();
    assert!(logged.contains(&acme) && logged.contains(&globex), "{logged}");
    let answered = format!("{:?} {}", response.headers().clone(), text(response).await);
    for name in ["acme", "globex"] {
        assert!(!answered.contains(name), "{answered}");
    }
    let refused = recorder.take().into_iter().find_map(|event| match event {
        Event::CredentialRefused { tenant, reason } => Some((tenant?.id().to_string(), reason)),
        _ => None,
    });
    assert_eq!(refused, Some(("globex".to_owned(), RejectionReason::WrongTenant)));
}

#[tokio::test]
async fn a_refusal_is_answered_in_the_words_of_the_application() {
    let tenancy = builder()
        .on_rejection(|rejection| (rejection.status(), "sorry").into_response())
        .build()
        .unwrap();
    async fn require(tenant: Tenant, token: axum::Extension<Token>) -> Result<(), CredentialRefused> {
        tenant.require(token.0.0.as_str())
    }
    let alone = || BindCredential::new(|head| claim_of(head.extensions().get()));
    let routes = Router::new()
        .route("/require", get(require))
        .route("/alone", get(async || "in").route_layer(alone()))
        .route("/demands", get(async || "in").route_layer(alone().demand()))
        .layer(middleware::from_fn(authenticate));
    let own = tenancy.wrap(routes);
    let demanded = Request::get("/demands").header("host", "acme.app.test");
    let demanded = demanded.body(Body::empty()).unwrap();
    for (app, request, status) in [
        (app(&tenancy), with_token("acme.app.test", "/open", "globex"), 403),
        (
            own.clone(),
            with_token("acme.app.test", "/require", "globex"),
            403,
        ),
        (own.clone(), with_token("acme.app.test", "/alone", "globex"), 403),
        (own, demanded, 401),
    ] {
        let path = request.uri().path().to_owned();
        let response = send(&app, request).await;
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{path}");
        assert_eq!(
            response.headers().contains_key("www-authenticate"),
            status == 401,
            "{path}"
        );
        assert_eq!(text(response).await, "sorry", "{path}");
    }
}

#[tokio::test]
async fn a_request_that_nobody_resolved_is_refused_whatever_it_carries() {
    let tenancy = builder().build().unwrap();
    let inner = || {
        tower::service_fn(async |_: Request| Ok::<_, std::convert::Infallible>(Response::new(Body::empty())))
    };
    for layer in [
        bound(&tenancy),
        bound(&tenancy).demand(),
        BindCredential::new(|_| CredentialClaim::Absent),
    ] {
        let request = with_token("acme.app.test", "/", "acme");
        let response = layer.layer(inner()).oneshot(request).await.unwrap();
        assert_eq!(response.status(), 500);
        assert_eq!(reason(&response), Some(RejectionReason::MisbuiltStack));
    }
}

#[tokio::test]
async fn a_handler_checks_what_it_was_handed() {
    async fn accept(tenant: Tenant, token: axum::Extension<Token>) -> Response {
        match tenant.require(token.0.0.as_str()) {
            Ok(()) => "welcome".into_response(),
            Err(refused) => refused.into_response(),
        }
    }
    let tenancy = builder().build().unwrap();
    let routes = Router::new()
        .route("/accept", get(accept))
        .layer(middleware::from_fn(authenticate));
    let app = tenancy.wrap(routes);
    let acme = enter(&tenancy, "acme").await;
    assert!(acme.require(acme.reference()).is_ok());
    assert!(acme.require(acme.id()).is_ok());
    assert!(acme.require(CredentialClaim::Unbound).is_err());
    assert!(acme.require(CredentialClaim::Absent).is_err());
    let reference = acme.reference().to_string();
    for (host, expected) in [
        ("acme.app.test", StatusCode::OK),
        ("globex.app.test", StatusCode::FORBIDDEN),
    ] {
        let response = send(&app, with_token(host, "/accept", &reference)).await;
        assert_eq!(response.status(), expected, "{host}");
    }
}

/// A catalogue of somebody's own, which gives an id again.
#[derive(Clone)]
struct Reusing(Arc<Mutex<Option<TenantRecord>>>);

impl TenantStore for Reusing {
    async fn find(&self, key: &TenantKey<'_>) -> Result<Option<TenantRecord>, StoreError> {
        let record = self.0.lock().unwrap().clone();
        Ok(record.filter(|record| key.value() == record.id.as_str()))
    }
}

fn acme_created_at(change: u64) -> Option<TenantRecord> {
    let mut record = TenantRecord::new(id("acme"));
    (record.epoch, record.incarnation) = (change, change);
    Some(record)
}

#[tokio::test]
async fn what_was_made_for_a_tenant_does_not_reach_one_that_was_recreated_under_its_id() {
    let catalogue = Reusing(Arc::new(Mutex::new(acme_created_at(1))));
    let tenancy = Tenancy::builder(subdomains(), catalogue.clone()).build().unwrap();
    let app = app(&tenancy);
    let former = enter(&tenancy, "acme").await.reference();
    assert_eq!(tenancy.enter_ref(&former).await.unwrap().reference(), former);
    let token = former.to_string();
    let open = || with_token("acme.app.test", "/open", &token);
    assert_eq!(send(&app, open()).await.status(), 200);

    catalogue.0.lock().unwrap().take();
    tenancy.forget(&id("acme"));
    assert!(tenancy.enter_ref(&former).await.unwrap_err().is_unknown());
    assert_eq!(send(&app, open()).await.status(), 404);

    *catalogue.0.lock().unwrap() = acme_created_at(5);
    tenancy.forget(&id("acme"));
    let error = tenancy.enter_ref(&former).await.unwrap_err();
    assert!(error.is_another_incarnation() && !error.is_unknown(), "{error}");
    assert_eq!(send(&app, open()).await.status(), 403);
    let present = enter(&tenancy, "acme").await;
    assert!(present.require(&former).is_err());
    assert!(
        present.require(former.id()).is_ok(),
        "an id says less, as documented"
    );
}

#[tokio::test]
async fn what_was_made_for_a_tenant_does_not_reach_one_that_took_over_its_slug() {
    let store = MemoryStore::of(["acme"]).unwrap();
    let tenancy = Tenancy::builder(subdomains(), store.clone()).build().unwrap();
    let app = app(&tenancy);
    let former = enter(&tenancy, "acme").await.reference();
    store.remove(&id("acme")).await.unwrap();

    let mut record = TenantRecord::new(id("acme-2"));
    record.slug = Some("acme".into());
    let keys = vec![TenantKey::slug("acme").unwrap()];
    store.insert(TenantEntry { record, keys }).await.unwrap();
    let present = enter(&tenancy, "acme-2").await.reference();
    for (token, expected) in [(&former, 403), (&present, 200)] {
        let request = with_token("acme.app.test", "/open", &token.to_string());
        assert_eq!(send(&app, request).await.status(), expected, "{token}");
    }
    assert!(tenancy.enter_ref(&former).await.unwrap_err().is_unknown());
}

#[tokio::test]
async fn a_job_of_a_tenant_that_is_not_served_is_not_entered() {
    let store = MemoryStore::of(["acme"]).unwrap();
    let tenancy = Tenancy::builder(subdomains(), store.clone()).build().unwrap();
    let reference = enter(&tenancy, "acme").await.reference();
    for status in [
        TenantStatus::Suspended,
        TenantStatus::Pending,
        TenantStatus::Deleted,
    ] {
        store.set_status(&id("acme"), status).await.unwrap();
        assert!(
            tenancy.enter_ref(&reference).await.unwrap_err().is_not_served(),
            "{status}"
        );
    }
    store.set_status(&id("acme"), TenantStatus::Active).await.unwrap();
    assert!(
        tenancy.enter_ref(&reference).await.is_ok(),
        "the same incarnation"
    );
}

fn by_token() -> Claim {
    Claim::new("token", |extensions| claim_of(extensions.get()))
}

fn store() -> impl TenantStore {
    MemoryStore::of(["acme", "globex"]).unwrap()
}

#[test]
fn a_claim_identifies_only_behind_authentication() {
    let auth = || middleware::from_fn(authenticate);
    let builder = || Tenancy::builder(by_token(), store());
    let error = builder().build().unwrap_err().to_string();
    assert!(error.contains("claim token"), "{error}");
    for too_late in [Stage::Resolve, Stage::Gate, Stage::CacheScope] {
        assert!(
            builder().insert_after(too_late, auth()).build().is_err(),
            "{too_late}"
        );
    }
    assert!(builder().insert_before(Stage::Gate, auth()).build().is_err());
    assert!(builder().insert_before(Stage::Resolve, auth()).build().is_ok());
    assert!(builder().insert_before(Stage::PanicCatch, auth()).build().is_ok());
    assert!(builder().insert_after(Stage::Maintenance, auth()).build().is_ok());
    assert!(builder().auth_stands_outside().build().is_ok());

    let resolve_first = Order::new([Stage::Resolve, Stage::Maintenance, Stage::Gate]).unwrap();
    let late = builder()
        .order(resolve_first)
        .insert_after(Stage::Maintenance, auth());
    assert!(late.build().is_err(), "the order in force counts");
}

#[tokio::test]
async fn a_claim_leads_to_its_tenant_and_must_agree_with_the_host() {
    let chain = Chain::new(ConflictPolicy::AgreeOrRefuse)
        .with(Subdomain::of("app.test").unwrap())
        .unwrap()
        .with(by_token())
        .unwrap();
    let tenancy = Tenancy::builder(chain, store())
        .central_hosts(["api.test"])
        .insert_before(Stage::Resolve, middleware::from_fn(authenticate))
        .build()
        .unwrap();
    let who =
        get(async |tenant: Option<Tenant>| tenant.map_or("nobody".to_owned(), |tenant| tenant.to_string()));
    let app = tenancy.routes().universal(Router::new().route("/", who)).build();
    for (host, token, expected) in [
        ("api.test", "acme", Ok("acme")),
        ("api.test", "", Ok("nobody")),
        ("api.test", "operator", Ok("nobody")),
        ("acme.app.test", "acme", Ok("acme")),
        ("acme.app.test", "", Ok("acme")),
        ("globex.app.test", "acme", Err(400)),
        ("api.test", "not readable", Err(400)),
        ("api.test", "initech", Err(404)),
    ] {
        let response = send(&app, with_token(host, "/", token)).await;
        match expected {
            Ok(tenant) => assert_eq!(text(response).await, tenant, "{host} {token:?}"),
            Err(status) => assert_eq!(response.status(), status, "{host} {token:?}"),
        }
    }
}

#[tokio::test]
async fn a_stack_that_checks_nothing_refuses_every_request_rather_than_miss_a_claim() {
    let tenancy = Tenancy::new(by_token(), store());
    let app = tenancy.wrap(Router::new().route("/", get(async || "in")));
    for token in ["", "acme"] {
        let mut request = with_token("acme.app.test", "/", token);
        request.extensions_mut().insert(Token("acme".to_owned()));
        assert_eq!(send(&app, request).await.status(), 400);
    }
}
