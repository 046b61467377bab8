use super::*;

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
    // That was one time, and one run of the check, ten seconds after the last one, says so.
    sleep(Duration::from_secs(12)).await;
    assert_eq!(status_of(&health, "event_loop"), CheckStatus::Unhealthy);
    assert!(output_of(&health, "event_loop").contains("waited for 10.75s"));
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

#[test]
fn handles_can_be_shared() {
    fn check<T: Clone + Send + Sync + 'static>() {}
    check::<Health>();
    check::<HealthService<Router>>();
    check::<TenantHealth>();
    check::<StartupStep>();
}
