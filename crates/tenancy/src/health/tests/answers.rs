use super::*;

#[tokio::test(start_paused = true)]
async fn readiness_follows_the_start_the_checks_and_the_end() {
    let (database, is_up, _) = switched("database");
    let (extra, _, _) = switched("extra");
    let (first, second) = (StartupStep::new("migrations"), StartupStep::new("tenants"));
    let health = Health::builder()
        .check(database)
        .check(extra.info())
        .readiness(["database"])
        .startup_step(&first)
        .startup_step(&second)
        .build()
        .unwrap();
    sleep(Duration::from_secs(1)).await;
    let probes = async || {
        let (started, ready) = (
            ask(health.routes(), "/startupz").await,
            ask(health.routes(), "/readyz").await,
        );
        (
            started.status,
            ready.status,
            ready.json()["status"].as_str().unwrap().to_owned(),
        )
    };
    assert_eq!(probes().await, (503, 503, "starting".to_owned()));
    first.done();
    assert_eq!(probes().await, (503, 503, "starting".to_owned()));
    second.done();
    assert_eq!(probes().await, (200, 200, "ready".to_owned()));
    is_up.store(false, Ordering::SeqCst);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(probes().await, (200, 503, "unready".to_owned()));
    assert_eq!(
        ask(health.routes(), "/livez").await.status,
        200,
        "it is no reason to restart"
    );
    is_up.store(true, Ordering::SeqCst);
    sleep(Duration::from_secs(15)).await;
    assert_eq!(probes().await, (200, 200, "ready".to_owned()));
    health.drain();
    assert_eq!(probes().await, (200, 503, "draining".to_owned()));
    assert_eq!(ask(health.routes(), "/livez").await.status, 200);
    assert_eq!(ask(health.routes(), "/health").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn details_of_readiness_say_that_it_starts_or_drains_though_all_checks_are_well() {
    let (first, second) = (StartupStep::new("migrations"), StartupStep::new("tenants"));
    let health = Health::builder()
        .check(switched("database").0)
        .check(switched("extra").0)
        .readiness(["database"])
        .startup_step(&first)
        .startup_step(&second)
        .build()
        .unwrap();
    sleep(Duration::from_secs(1)).await;
    let details = async || {
        let answer = ask(health.admin_routes(), "/readyz?verbose").await;
        let body = answer.json();
        assert_eq!(body["checks"]["database"]["status"], "healthy");
        assert_eq!(
            body["checks"].get("extra"),
            None,
            "readiness does not depend on it"
        );
        (answer.status, body["status"].clone(), body["steps_left"].clone())
    };
    let starting = |steps: Value| (503, "starting".into(), steps);
    assert_eq!(
        details().await,
        starting(serde_json::json!(["migrations", "tenants"]))
    );
    first.done();
    assert_eq!(details().await, starting(serde_json::json!(["tenants"])));
    let request = Request::get("/readyz?verbose").header("accept", "application/health+json");
    let request = request.body(Body::empty()).unwrap();
    let ietf = send(health.admin_routes(), request).await.json();
    assert_eq!(
        (&ietf["status"], &ietf["output"], &ietf["notes"]),
        (
            &"fail".into(),
            &"starting".into(),
            &serde_json::json!(["tenants"])
        )
    );
    second.done();
    assert_eq!(details().await, (200, "healthy".into(), Value::Null));
    health.drain();
    assert_eq!(details().await, (503, "draining".into(), Value::Null));
    // Who sees no details is told no more than before.
    let public = ask(health.routes(), "/readyz?verbose").await;
    assert_eq!(public.body, r#"{"status":"draining"}"#);
}

#[tokio::test(start_paused = true)]
async fn readiness_depends_on_nothing_that_was_not_named() {
    let (database, is_up, _) = switched("database");
    is_up.store(false, Ordering::SeqCst);
    let health = Health::builder().check(database).build().unwrap();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(health.status(), HealthStatus::Unhealthy);
    assert_eq!(health.readiness(), Readiness::Ready);
}

#[tokio::test(start_paused = true)]
async fn everybody_sees_the_status_and_operators_see_why() {
    let (check, is_up, _) = switched("database");
    is_up.store(false, Ordering::SeqCst);
    let health = Health::builder().check(check).build().unwrap();
    sleep(Duration::from_secs(60)).await;
    for path in [
        "/health",
        "/health?verbose",
        "/readyz?verbose",
        "/health/groups/readiness?verbose=1",
    ] {
        let answer = ask(health.routes(), path).await;
        for secret in ["database", "db.internal", "hunter2", "refused", "checks"] {
            assert!(!answer.body.contains(secret), "{path}: {}", answer.body);
        }
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    }
    let answer = ask(health.admin_routes(), "/health").await;
    assert_eq!(answer.status, 503);
    let body = answer.json();
    assert_eq!(body["status"], "unhealthy");
    let check = &body["checks"]["database"];
    assert_eq!(
        (&check["status"], &check["criticality"]),
        (&"unhealthy".into(), &"critical".into())
    );
    assert_eq!(
        check["output"], "postgres://db.internal/x refused",
        "without the password"
    );
    assert!(!answer.body.contains("hunter2") && !answer.body.contains("app:"));
    for time in [&body["timestamp"], &check["since"], &check["observed_at"]] {
        humantime::parse_rfc3339(time.as_str().unwrap()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_guard_decides_who_sees_details_and_one_that_panics_says_no() {
    let guard = |request: &Request<Body>| match request.headers().get("token") {
        Some(token) if token == "panic" => panic!("in a guard"),
        token => token.is_some_and(|token| token == "right"),
    };
    let health = Health::builder()
        .check(switched("database").0)
        .details_for(guard)
        .build()
        .unwrap();
    sleep(Duration::from_secs(1)).await;
    let ask = async |path: &str, token: &str| {
        let request = Request::get(path)
            .header("token", token)
            .body(Body::empty())
            .unwrap();
        send(health.routes(), request).await.body.contains("database")
    };
    assert!(ask("/health?verbose", "right").await);
    assert!(!ask("/health", "right").await, "nobody asked for it");
    assert!(!ask("/health?verbose", "wrong").await);
    assert!(!ask("/health?verbose", "panic").await);
}

#[tokio::test(start_paused = true)]
async fn checks_are_shown_as_yes_and_no_where_that_is_wanted() {
    let (database, is_up, _) = switched("database");
    is_up.store(false, Ordering::SeqCst);
    let health = Health::builder()
        .check(database)
        .check(switched("redis").0)
        .show_checks()
        .build()
        .unwrap();
    sleep(Duration::from_secs(60)).await;
    let body = ask(health.routes(), "/health").await.json();
    let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["checks", "status", "timestamp"]);
    assert_eq!(
        body["checks"],
        serde_json::json!({"database": false, "redis": true})
    );
}

#[tokio::test(start_paused = true)]
async fn the_ietf_form_is_sent_to_who_names_it() {
    let health = Health::builder().check(switched("database").0.degrades());
    let health = health.check(Check::new("heap", || async {
        Ok::<_, Infallible>(Finding::of(7.0, "bytes"))
    }));
    let health = health.build().unwrap();
    sleep(Duration::from_secs(1)).await;
    let ask = async |router: Router, accept: &[u8]| {
        let request = Request::get("/health").header("accept", accept);
        send(router, request.body(Body::empty()).unwrap()).await
    };
    let answer = ask(health.routes(), b"application/health+json").await;
    assert_eq!(
        (answer.kind(), &*answer.body),
        ("application/health+json", r#"{"status":"pass"}"#)
    );
    assert_eq!(answer.headers[header::VARY], "accept");
    let answer = ask(health.admin_routes(), b"text/html, application/health+json").await;
    let heap = &answer.json()["checks"]["heap"][0];
    assert_eq!(
        (&heap["status"], &heap["observedValue"]),
        (&"pass".into(), &7.0.into())
    );
    assert_eq!(heap["observedUnit"], "bytes");
    for hostile in [
        &b"\xff\xfe"[..],
        b"application/health+json;q=0",
        b";;;,,,q=",
        b"*/*",
    ] {
        assert_eq!(ask(health.routes(), hostile).await.kind(), "application/json");
    }
}

#[tokio::test(start_paused = true)]
async fn head_is_get_without_its_body_and_other_methods_are_refused() {
    let health = Health::builder().build().unwrap();
    let app = health.layer(Router::new());
    for path in [
        "/livez",
        "/readyz",
        "/startupz",
        "/health",
        "/health/groups/readiness",
    ] {
        let request = |method: Method| {
            Request::builder()
                .method(method)
                .uri(path)
                .body(Body::empty())
                .unwrap()
        };
        for whole in [
            send(app.clone(), request(Method::GET)).await,
            ask(health.routes(), path).await,
        ] {
            for head in [
                send(app.clone(), request(Method::HEAD)).await,
                send(health.routes(), request(Method::HEAD)).await,
            ] {
                assert_eq!((head.status, &*head.body), (whole.status, ""), "{path}");
                assert_eq!(head.kind(), whole.kind());
                assert_eq!(
                    head.headers[header::CONTENT_LENGTH],
                    whole.body.len().to_string(),
                    "{path}"
                );
            }
        }
        for refused in [
            send(app.clone(), request(Method::POST)).await,
            send(health.routes(), request(Method::POST)).await,
        ] {
            assert_eq!(refused.status, 405);
            assert_eq!(refused.headers[header::ALLOW], "GET,HEAD");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn groups_have_answers_of_their_own() {
    let (database, is_up, _) = switched("database");
    is_up.store(false, Ordering::SeqCst);
    let health = Health::builder()
        .check(database.in_group("storage"))
        .check(switched("mail").0.in_group("outgoing"))
        .group("storage")
        .group("outgoing")
        .build()
        .unwrap();
    sleep(Duration::from_secs(60)).await;
    let app = health.layer(Router::new());
    for (group, expected) in [
        ("storage", 503),
        ("outgoing", 200),
        ("readiness", 200),
        ("none", 404),
    ] {
        let path = format!("/health/groups/{group}");
        assert_eq!(ask(health.routes(), &path).await.status, expected, "{group}");
        let request = Request::get(&path).body(Body::empty()).unwrap();
        assert_eq!(send(app.clone(), request).await.status, expected, "{group}");
    }
    let body = ask(health.admin_routes(), "/health/groups/outgoing").await.json();
    let checks: Vec<&String> = body["checks"].as_object().unwrap().keys().collect();
    assert_eq!(checks, ["mail"]);
}

/// A store that never says anything.
struct Away;

impl TenantStore for Away {
    async fn find(&self, _: &TenantKey<'_>) -> Result<Option<TenantRecord>, StoreError> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn probes_are_answered_while_the_store_is_away_and_no_host_leads_anywhere() {
    let tenancy = Tenancy::new(Subdomain::of("app.test").unwrap(), Away);
    let health = Health::builder()
        .check(checks::tenancy(&tenancy, "canary".parse().unwrap()))
        .build()
        .unwrap();
    let app = health.layer(tenancy.wrap(Router::new().route("/", get(|| async {}))));
    sleep(Duration::from_secs(60)).await;
    let ask = async |path: &str, host: &str| {
        let request = Request::get(path)
            .header("host", host)
            .body(Body::empty())
            .unwrap();
        send(app.clone(), request).await.status
    };
    for host in ["10.0.0.7:8000", "acme.app.test", "", "a b"] {
        assert_eq!(ask("/livez", host).await, 200, "{host}");
        assert_eq!(ask("/readyz", host).await, 200, "{host}");
        assert_eq!(ask("/health", host).await, 503, "{host}");
    }
    assert_eq!(
        ask("/", "acme.app.test").await,
        503,
        "all else is the application's"
    );
    assert_ne!(
        ask("/livez/", "10.0.0.7").await,
        200,
        "and so is what is not quite a probe"
    );
}
