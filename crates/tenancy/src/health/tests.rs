use std::{
    convert::Infallible,
    io::{self, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use axum::{Router, body::Body, routing::get};
use http::{HeaderMap, Method, Request, StatusCode, header};
use serde_json::Value;
use tenancy_core::{Clock, ManualClock, StoreError, TenantKey, TenantRecord, TenantStore};
use tokio::time::sleep;
use tower::{Layer, ServiceExt};

use super::{checks::PoolLoad, *};
use crate::{MemoryStore, Tenancy, resolve::Subdomain};

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn kind(&self) -> &str {
        self.headers[header::CONTENT_TYPE].to_str().unwrap()
    }
}

async fn send<S>(service: S, request: Request<Body>) -> Answer
where
    S: tower::Service<Request<Body>, Response = http::Response<Body>, Error = Infallible>,
{
    let (head, body) = service.oneshot(request).await.unwrap().into_parts();
    let body = axum::body::to_bytes(body, 1_000_000).await.unwrap();
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

async fn ask(router: Router, path: &str) -> Answer {
    send(router, Request::get(path).body(Body::empty()).unwrap()).await
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("never: {what}");
}

/// A check that is as the switch says, and how often it ran.
fn switched(name: &str) -> (Check, Arc<AtomicBool>, Arc<AtomicUsize>) {
    let (is_up, runs) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (switch, count) = (Arc::clone(&is_up), Arc::clone(&runs));
    let check = Check::new(name, move || {
        count.fetch_add(1, Ordering::SeqCst);
        let is_up = switch.load(Ordering::SeqCst);
        async move {
            match is_up {
                true => Ok(()),
                false => Err(io::Error::other("postgres://app:hunter2@db.internal/x refused")),
            }
        }
    });
    (check, is_up, runs)
}

fn status_of(health: &Health, check: &str) -> CheckStatus {
    let report = health.report();
    let found = report.checks.iter().find(|report| &*report.name == check);
    found.unwrap().status
}

fn output_of(health: &Health, check: &str) -> String {
    let report = health.report();
    let found = report.checks.iter().find(|report| &*report.name == check);
    found.unwrap().output.as_deref().unwrap_or_default().to_owned()
}

fn mistakes(builder: HealthBuilder) -> Vec<String> {
    let error = builder.build().unwrap_err();
    error.mistakes().iter().map(ToString::to_string).collect()
}

#[test]
fn all_mistakes_are_named_at_once() {
    let check = |name: &str| switched(name).0;
    let named = mistakes(
        Health::builder()
            .check(check("database"))
            .check(check("database"))
            .check(check("Bad Name"))
            .check(check(""))
            .check(check("lost").in_group("workers"))
            .check(check("hasty").interval(Duration::ZERO))
            .check(check("instant").timeout(Duration::ZERO))
            .check(check("young").max_age(Duration::from_secs(11)))
            .group(READINESS)
            .group("a".repeat(49))
            .readiness(["databse"])
            .startup_step(&StartupStep::new("one"))
            .startup_step(&StartupStep::new("one")),
    );
    for expected in [
        r#"there are two of check "database""#,
        r#"check "Bad Name": a name is"#,
        r#"check "": a name is"#,
        r#"there are two of group "readiness""#,
        r#"group "aaaa"#,
        r#"there are two of start-up step "one""#,
        r#"readiness is to depend on check "databse", which there is not"#,
        r#"check "lost" is to be in group "workers", which is not declared"#,
        r#"check "hasty": its interval is zero"#,
        r#"check "instant": its timeout is zero"#,
        r#"check "young": its max_age is below"#,
    ] {
        assert!(
            named.iter().any(|mistake| mistake.starts_with(expected)),
            "{expected} in {named:#?}"
        );
    }
    assert_eq!(named.len(), 11, "{named:#?}");
}

#[tokio::test(start_paused = true)]
async fn extreme_settings_are_no_panic() {
    let forever = switched("forever")
        .0
        .interval(Duration::MAX)
        .timeout(Duration::MAX);
    let health = Health::builder()
        .check(
            forever
                .failures_to_down(0)
                .successes_to_up(0)
                .max_age(Duration::MAX),
        )
        .most_silence(Duration::ZERO)
        .event_loop(Duration::MAX)
        .build()
        .unwrap();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(health.status(), HealthStatus::Healthy);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_probes_run_no_check() {
    let (check, _, runs) = switched("database");
    let health = Health::builder().check(check).build().unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    for at in 0..1_000 {
        let path = ["/livez", "/readyz", "/startupz", "/health", "/health?verbose"][at % 5];
        assert_eq!(ask(health.routes(), path).await.status, 200);
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    sleep(Duration::from_secs(100)).await;
    let runs = runs.load(Ordering::SeqCst);
    assert!((9..=12).contains(&runs), "every ten seconds: {runs}");
}

#[tokio::test(start_paused = true)]
async fn before_its_first_result_a_check_counts_as_down() {
    let endless = Check::new("endless", || async {
        std::future::pending::<()>().await;
        Ok::<_, Infallible>(())
    });
    let health = Health::builder()
        .check(endless)
        .readiness(["endless"])
        .build()
        .unwrap();
    assert_eq!(status_of(&health, "endless"), CheckStatus::Unknown);
    assert_eq!(ask(health.routes(), "/health").await.status, 503);
    assert_eq!(health.readiness(), Readiness::Unready);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_or_panics_has_failed_and_holds_no_other_up() {
    let begun = Arc::new(AtomicUsize::new(0));
    let ended = Arc::new(AtomicUsize::new(0));
    struct Ends(Arc<AtomicUsize>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (counted, ends) = (Arc::clone(&begun), Arc::clone(&ended));
    let hangs = Check::new("hangs", move || {
        counted.fetch_add(1, Ordering::SeqCst);
        let ends = Ends(Arc::clone(&ends));
        async move {
            std::future::pending::<()>().await;
            drop(ends);
            Ok::<_, Infallible>(())
        }
    });
    let panics = Check::new("panics", || async {
        if true {
            panic!("out of cheese");
        }
        Ok::<_, Infallible>(())
    });
    let panics_at_once = Check::new(
        "panics_at_once",
        || -> std::future::Ready<Result<(), Infallible>> { panic!("before it began") },
    );
    let (well, _, runs) = switched("well");
    let health = Health::builder()
        .check(hangs)
        .check(panics)
        .check(panics_at_once)
        .check(well);
    let health = health.build().unwrap();
    sleep(Duration::from_secs(60)).await;
    for (check, output) in [
        ("hangs", "no answer within 2s"),
        ("panics", "panicked: out of cheese"),
        ("panics_at_once", "panicked: before it began"),
    ] {
        assert_eq!(status_of(&health, check), CheckStatus::Unhealthy, "{check}");
        assert_eq!(output_of(&health, check), output);
    }
    assert_eq!(status_of(&health, "well"), CheckStatus::Healthy);
    assert!(runs.load(Ordering::SeqCst) >= 5);
    let (begun, ended) = (begun.load(Ordering::SeqCst), ended.load(Ordering::SeqCst));
    assert!(
        begun >= 4 && begun - ended <= 1,
        "one at a time: {begun} began, {ended} ended"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_check_that_blocks_its_thread_is_not_begun_again_until_it_ends() {
    let (release, blocked) = mpsc::channel::<()>();
    let (blocked, begun) = (Arc::new(Mutex::new(blocked)), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&begun);
    let blocks = Check::new("blocks", move || {
        counted.fetch_add(1, Ordering::SeqCst);
        let blocked = Arc::clone(&blocked);
        async move {
            let _ = blocked.lock().unwrap().recv();
            Ok::<_, Infallible>(())
        }
    });
    let soon = Duration::from_millis(5);
    let health = Health::builder()
        .check(blocks.interval(soon).timeout(soon))
        .build()
        .unwrap();
    until("down", || status_of(&health, "blocks") == CheckStatus::Unhealthy).await;
    until("told", || output_of(&health, "blocks").contains("still blocks")).await;
    assert_eq!(begun.load(Ordering::SeqCst), 1);
    drop(release);
    until("up", || status_of(&health, "blocks") == CheckStatus::Healthy).await;
    assert!(begun.load(Ordering::SeqCst) >= 2);
}

#[tokio::test(start_paused = true)]
async fn one_failure_does_not_make_it_flap() {
    let (check, is_up, _) = switched("database");
    let check = check.failures_to_down(3).successes_to_up(2);
    let health = Health::builder().check(check).build().unwrap();
    let mut seen = Vec::new();
    for up in [
        true, true, false, false, true, false, false, false, true, false, true, true, false,
    ] {
        is_up.store(up, Ordering::SeqCst);
        // Each run is at most eleven seconds after the one before, and two are at least eighteen apart.
        let before = health.report().checks[0].observed_at;
        while health.report().checks[0].observed_at == before {
            sleep(Duration::from_millis(100)).await;
        }
        seen.push(health.status() == HealthStatus::Healthy);
    }
    let (yes, no) = (true, false);
    assert_eq!(seen, [no, yes, yes, yes, yes, yes, yes, no, no, no, no, yes, yes]);
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_too_old_counts_as_a_failure() {
    let clock = Arc::new(ManualClock::new());
    let (check, _, _) = switched("database");
    let health = Health::builder()
        .check(check.max_age(Duration::from_secs(30)))
        .readiness(["database"])
        .clock(Arc::clone(&clock))
        .build()
        .unwrap();
    sleep(Duration::from_millis(1)).await;
    clock.advance(Duration::from_millis(29_999));
    assert_eq!(ask(health.routes(), "/health").await.status, 200);
    clock.advance(Duration::from_millis(1));
    assert_eq!(ask(health.routes(), "/health").await.status, 503);
    assert_eq!(health.readiness(), Readiness::Unready);
    assert_eq!(output_of(&health, "database"), "no result within 30s");
    sleep(Duration::from_secs(11)).await;
    assert_eq!(
        ask(health.routes(), "/health").await.status,
        200,
        "it was checked again"
    );
}

#[tokio::test]
async fn checks_that_nobody_runs_any_more_show() {
    let clock = Arc::new(ManualClock::new());
    let health = std::thread::spawn({
        let clock = Arc::clone(&clock);
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let health = Health::builder()
                    .check(switched("database").0)
                    .clock(clock)
                    .build()
                    .unwrap();
                until("up", || health.status() == HealthStatus::Healthy).await;
                health
            })
        }
    });
    let health = health.join().unwrap();
    assert_eq!(health.status(), HealthStatus::Healthy);
    clock.advance(Duration::from_secs(31));
    assert_eq!(health.status(), HealthStatus::Unhealthy);
    assert!(!health.is_alive(), "that runtime runs nothing");
}

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
async fn readiness_depends_on_nothing_that_was_not_named() {
    let (database, is_up, _) = switched("database");
    is_up.store(false, Ordering::SeqCst);
    let health = Health::builder().check(database).build().unwrap();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(health.status(), HealthStatus::Unhealthy);
    assert_eq!(health.readiness(), Readiness::Ready);
}

#[tokio::test(start_paused = true)]
async fn what_a_failure_means_is_the_checks_to_say() {
    for (criticality, status, code) in [
        (Criticality::Critical, "unhealthy", 503),
        (Criticality::Degrades, "degraded", 200),
        (Criticality::Info, "healthy", 200),
    ] {
        let (check, is_up, _) = switched("redis");
        is_up.store(false, Ordering::SeqCst);
        let health = Health::builder()
            .check(check.criticality(criticality))
            .build()
            .unwrap();
        sleep(Duration::from_secs(60)).await;
        let answer = ask(health.routes(), "/health").await;
        assert_eq!((answer.status, &answer.json()["status"]), (code, &status.into()));
    }
    let warns = Check::new("disk", || async {
        Ok::<_, Infallible>(Finding::of(7.0, "bytes").warn("few"))
    });
    let health = Health::builder().check(warns).build().unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(health.status(), HealthStatus::Degraded);
    assert_eq!(output_of(&health, "disk"), "few");
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

#[tokio::test(start_paused = true)]
async fn it_is_not_alive_while_no_task_gets_its_turn() {
    let clock = Arc::new(ManualClock::new());
    let health = Health::builder()
        .clock(Arc::clone(&clock))
        .event_loop(Duration::from_millis(500));
    let health = health.build().unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(ask(health.routes(), "/livez").await.status, 200);
    assert_eq!(status_of(&health, "event_loop"), CheckStatus::Healthy);
    clock.advance(Duration::from_secs(11));
    let answer = ask(health.routes(), "/livez").await;
    assert_eq!(
        (answer.status, &answer.json()["status"]),
        (503, &"stalled".into())
    );
    sleep(Duration::from_millis(300)).await;
    assert_eq!(ask(health.routes(), "/livez").await.status, 200);
    for _ in 0..20 {
        sleep(Duration::from_secs(1)).await;
        clock.advance(Duration::from_millis(900));
    }
    assert_eq!(status_of(&health, "event_loop"), CheckStatus::Unhealthy);
    assert_eq!(health.status(), HealthStatus::Degraded);
}

#[test]
fn one_that_is_built_outside_of_a_runtime_begins_with_the_first_probe() {
    let (check, _, runs) = switched("database");
    let health = Health::builder().check(check).build().unwrap();
    assert!(health.is_alive());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        assert_eq!(
            ask(health.routes(), "/health").await.status,
            503,
            "not checked yet"
        );
        until("up", || health.status() == HealthStatus::Healthy).await;
    });
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn checks_end_with_the_last_handle() {
    let (check, _, runs) = switched("database");
    let health = Health::builder().check(check).build().unwrap();
    let routes = health.routes();
    drop(health);
    sleep(Duration::from_secs(60)).await;
    assert!(runs.load(Ordering::SeqCst) > 3, "the routes hold it");
    drop(routes);
    sleep(Duration::from_millis(1)).await;
    let before = runs.load(Ordering::SeqCst);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(runs.load(Ordering::SeqCst), before);
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn each_change_is_logged_once_and_without_secrets() {
    let lines = Lines::default();
    let written = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || written.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let (check, is_up, _) = switched("database");
    let health = Health::builder().check(check).build().unwrap();
    for up in [true, false, true] {
        is_up.store(up, Ordering::SeqCst);
        sleep(Duration::from_secs(120)).await;
    }
    drop(health);
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let log: Vec<&str> = log.lines().filter(|line| line.contains("health check")).collect();
    assert_eq!(log.len(), 3, "{log:#?}");
    assert!(
        log[0].contains("INFO") && log[0].contains(r#"to="healthy""#),
        "{log:#?}"
    );
    assert!(
        log[1].contains("WARN") && log[1].contains("db.internal"),
        "{log:#?}"
    );
    assert!(log.iter().all(|line| !line.contains("hunter2")), "{log:#?}");
}

async fn run(check: &Check) -> Result<Finding, String> {
    (check.run)().await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn the_tenancy_check_says_whether_the_canary_is_served() {
    let store = MemoryStore::of(["canary"]).unwrap();
    let tenancy = Tenancy::new(Subdomain::of("app.test").unwrap(), store.clone());
    tenancy.ready().await;
    let check = checks::tenancy(&tenancy, "canary".parse().unwrap());
    assert_eq!(run(&check).await, Ok(Finding::of(1.0, "tenants")));
    assert_eq!(
        run(&checks::catalogue(&tenancy)).await,
        Ok(Finding::of(1.0, "tenants"))
    );
    assert!(run(&checks::shared_cache(&tenancy)).await.is_ok());
    let canary = "canary".parse().unwrap();
    store
        .set_status(&canary, tenancy_core::TenantStatus::Suspended)
        .await
        .unwrap();
    assert!(run(&check).await.is_err());
}

#[tokio::test]
async fn memory_pools_and_disks_are_judged_by_their_limits() {
    let memory = |used| checks::memory(checks::DEFAULT_MEMORY_LIMIT, move || used);
    assert!(run(&memory(Some(200 * 1024 * 1024))).await.is_ok());
    assert!(
        run(&memory(Some(200 * 1024 * 1024 + 1)))
            .await
            .unwrap_err()
            .contains("209715201 bytes")
    );
    assert!(run(&memory(None)).await.is_err());
    assert_eq!(memory(None).criticality, Criticality::Degrades);
    let resident = checks::resident_memory();
    assert!(!cfg!(target_os = "linux") || resident.is_some_and(|bytes| bytes > 1_000_000));

    let load = |in_use, waiting| {
        Some(PoolLoad {
            in_use,
            most: 10,
            waiting,
        })
    };
    let pool = |load| checks::pool("pool", move || load);
    assert!(run(&pool(load(10, 0))).await.is_ok());
    assert!(run(&pool(load(9, 3))).await.is_ok());
    assert!(run(&pool(load(10, 1))).await.is_err());
    assert!(run(&pool(None)).await.is_err());

    let folder = tempfile::tempdir().unwrap();
    assert!(run(&checks::disk(folder.path(), 1)).await.is_ok());
    assert!(
        run(&checks::disk(folder.path(), u64::MAX))
            .await
            .unwrap_err()
            .contains("bytes are free")
    );
    assert!(run(&checks::disk(folder.path().join("none"), 1)).await.is_err());
}

#[tokio::test]
async fn the_control_groups_memory_is_judged_without_pages_that_can_be_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let check = checks::cgroup_memory_in(folder.path().to_owned(), 0.9);
    assert!(run(&check).await.is_err(), "there is nothing to read");
    write("memory.current", "1000\n");
    write("memory.max", "1000\n");
    write("memory.stat", "anon 5\ninactive_file 100\n");
    assert_eq!(run(&check).await, Ok(Finding::of(900.0, "bytes")));
    write("memory.stat", "anon 5\ninactive_file 99\n");
    assert!(run(&check).await.is_err());
    write("memory.max", "max\n");
    assert!(run(&check).await.is_ok());
    write("memory.current", "lots");
    assert!(run(&check).await.is_err());
}

#[test]
fn an_errors_text_is_shown_without_what_logs_in() {
    use super::report::presentable;
    for (text, expected) in [
        ("no url", "no url"),
        (
            "redis://:pw@h:1/0 and postgres://u:p@w@h2",
            "redis://h:1/0 and postgres://h2",
        ),
        ("mysql://u:p/w@h/x \"a://b:c@d\" e@f", "mysql://h/x \"a://d\" e@f"),
        ("two\nlines\u{1b}[31m", "two lines [31m"),
        ("://", "://"),
        ("", ""),
    ] {
        assert_eq!(&*presentable(text), expected);
    }
    assert_eq!(presentable(&"ä".repeat(1_000)).chars().count(), 300);
}

#[test]
fn handles_can_be_shared() {
    fn check<T: Clone + Send + Sync + 'static>() {}
    check::<Health>();
    check::<HealthService<Router>>();
    check::<TenantHealth>();
    check::<StartupStep>();
    assert_eq!(StatusCode::SERVICE_UNAVAILABLE.as_u16(), 503);
    assert_eq!(ManualClock::new().monotonic(), Duration::ZERO);
}
