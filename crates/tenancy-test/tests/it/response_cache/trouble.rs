//! What becomes of answers that are no pages.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::{StreamExt, stream};

use super::*;

#[tokio::test]
async fn a_body_above_the_cap_is_passed_on_whole_and_not_kept() {
    let process = Process::alone();
    let handler = async || {
        let parts = (0..100).map(|_| Ok::<_, io::Error>("0123456789"));
        Body::from_stream(stream::iter(parts))
    };
    let app = app(&process.tenancy, hour().max_body(999), handler);
    for told in ["fwd=miss", "fwd=bypass"] {
        let answer = ask(&app, to("acme")).await;
        assert_eq!((answer.text().len(), answer.told()), (1000, told));
    }
    let process = Process::alone();
    let app = super::app(&process.tenancy, hour().max_body(1000), handler);
    for told in ["fwd=miss; stored", "hit"] {
        let answer = ask(&app, to("acme")).await;
        assert_eq!((answer.text().len(), answer.told()), (1000, told));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_goes_on_is_passed_on_as_it_comes() {
    let process = Process::alone();
    let handler = async || {
        let slowly = stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_secs(10)).await;
            Some((Ok::<_, io::Error>("x"), ()))
        });
        Body::from_stream(slowly)
    };
    let app = app(&process.tenancy, hour(), handler);
    let request = to("acme").body(Body::empty()).unwrap();
    let answer = app.oneshot(request).await.unwrap();
    assert_eq!(answer.headers()["cache-status"], "tenancy; fwd=miss");
    let mut body = answer.into_body().into_data_stream();
    for _ in 0..3 {
        assert_eq!(body.next().await.unwrap().unwrap(), "x");
    }
}

/// Answers 200, or what it is told to.
struct Moody {
    calls: Arc<AtomicUsize>,
    status: Arc<AtomicUsize>,
}

impl Moody {
    fn new() -> Self {
        Self {
            calls: Arc::default(),
            status: Arc::new(AtomicUsize::new(200)),
        }
    }

    fn app(&self, process: &Process) -> TenancyApp {
        let (calls, status) = (Arc::clone(&self.calls), Arc::clone(&self.status));
        let cache = ResponseCache::same_for_everybody(Duration::from_secs(10))
            .early_refresh(false)
            .stale_for(Duration::from_secs(60));
        app(&process.tenancy, cache, async move || {
            let call = calls.fetch_add(1, Ordering::SeqCst);
            let status = status.load(Ordering::SeqCst);
            assert_ne!(status, 0, "the handler panics");
            let status = StatusCode::from_u16(status as u16).unwrap();
            (status, [("x-call", call.to_string())], format!("call {call}"))
        })
    }

    fn answers(&self, status: usize) {
        self.status.store(status, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn where_the_handler_fails_the_stale_page_is_served_and_else_its_failure_to_its_own_client() {
    for failure in [500, 503, 0] {
        let process = Process::alone();
        let moody = Moody::new();
        let app = moody.app(&process);
        assert_eq!(ask(&app, to("acme")).await.text(), "call 0");
        moody.answers(failure);
        process.clock.advance(Duration::from_secs(10));
        let stale = ask(&app, to("acme")).await;
        assert_eq!((stale.text(), stale.told()), ("call 0", "hit; detail=stale"));
        assert_eq!(stale.header("age"), "10");
        // Other tenants have none.
        for _ in 0..2 {
            let answer = ask(&app, to("globex")).await;
            assert_eq!(usize::from(answer.status.as_u16()), failure.max(500));
        }
        process.clock.advance(Duration::from_secs(60));
        let gone = ask(&app, to("acme")).await;
        assert_eq!(usize::from(gone.status.as_u16()), failure.max(500));
        moody.answers(200);
        assert_eq!(ask(&app, to("acme")).await.told(), "fwd=miss; stored");
    }
}

#[tokio::test]
async fn what_goes_wrong_for_one_is_nobody_elses_answer() {
    for failure in ["error", "panic"] {
        let process = Process::alone();
        let loader = BarrierLoader::<String>::new();
        let app = app(&process.tenancy, hour(), from_barrier(&loader));
        let asking = || {
            let app = app.clone();
            tokio::spawn(async move { ask(&app, to("acme")).await })
        };
        let first = asking();
        let load = loader.entered().await;
        let second = asking();
        settle().await;
        match failure {
            "error" => load.fail("oh"),
            _ => load.panic(),
        }
        assert_eq!(first.await.unwrap().status, 500, "{failure}");
        loader.entered().await.answer("mine".to_owned());
        let second = second.await.unwrap();
        assert_eq!(
            (second.text(), second.told()),
            ("mine", "fwd=bypass"),
            "{failure}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_does_not_end_is_503_for_all_who_wait() {
    let world = World::new();
    let process = world.process_with(CacheSettings::new().load_timeout(Duration::from_secs(3)));
    let loader = BarrierLoader::<String>::new();
    let app = app(&process.tenancy, hour(), from_barrier(&loader));
    let asking: Vec<_> = (0..2)
        .map(|_| {
            let app = app.clone();
            tokio::spawn(async move { ask(&app, to("acme")).await })
        })
        .collect();
    loader.entered().await.never_end();
    for asked in asking {
        let answer = asked.await.unwrap();
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("retry-after"), "1");
        assert!(!answer.text().contains("load"), "{}", answer.text());
    }
}

/// What is kept of the other's answer says only that it is for one client.
#[tokio::test(start_paused = true)]
async fn who_is_overtaken_by_an_answer_for_one_client_gets_the_own_one() {
    let world = World::new();
    let process = world.process_with(CacheSettings::new().takeover_after(Duration::from_secs(1)));
    let loader = BarrierLoader::<String>::new();
    let handler = {
        let loader = loader.clone();
        async move || {
            let text = loader.load().await.unwrap();
            let headers = (text == "for one").then_some([("set-cookie", "a=b")]);
            (headers.map(axum::response::AppendHeaders), text)
        }
    };
    let app = app(&process.tenancy, hour(), handler);
    let asking = || {
        let app = app.clone();
        tokio::spawn(async move { ask(&app, to("acme")).await })
    };
    let first = asking();
    let slow = loader.entered().await;
    tokio::time::advance(Duration::from_secs(2)).await;
    let second = asking();
    loader.entered().await.answer("for one".to_owned());
    assert_eq!(second.await.unwrap().header("set-cookie"), "a=b");
    // Nor is the page kept.
    let _ = process.cache_of("acme").await.flush().await;
    slow.answer("page".to_owned());
    let first = first.await.unwrap();
    assert_eq!(first.status, StatusCode::OK);
    assert_eq!((first.text(), first.told()), ("page", "fwd=miss"));
    assert_eq!(first.header("age"), "");
}

#[tokio::test]
async fn a_page_that_is_too_large_for_the_cache_is_not_said_to_be_stored() {
    let world = World::new();
    let settings = CacheSettings::new().max_entry_bytes(2000);
    let process = world.process_with(settings);
    let handler = async || ([("x-long", "a".repeat(1500))], "a".repeat(1000));
    let app = app(&process.tenancy, hour().max_body(2000), handler);
    for _ in 0..2 {
        let answer = ask(&app, to("acme")).await;
        assert_eq!((answer.text().len(), answer.told()), (1000, "fwd=miss"));
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_kept() {
    let process = Process::alone();
    let calls = Arc::new(AtomicUsize::new(0));
    let handler = {
        let calls = Arc::clone(&calls);
        async move || {
            let last = match calls.fetch_add(1, Ordering::SeqCst) {
                0 => Err(io::Error::other("oh")),
                _ => Ok("."),
            };
            Body::from_stream(stream::iter([Ok("page"), last]))
        }
    };
    let app = app(&process.tenancy, hour(), handler);
    let request = to("acme").body(Body::empty()).unwrap();
    let broken = app.clone().oneshot(request).await.unwrap();
    assert_eq!(broken.headers()["cache-status"], "tenancy; fwd=miss");
    assert!(axum::body::to_bytes(broken.into_body(), 100).await.is_err());
    assert_eq!(ask(&app, to("acme")).await.text(), "page.");
    assert_eq!(ask(&app, to("acme")).await.told(), "hit");
}

#[tokio::test]
async fn a_load_error_is_an_answer_without_what_is_inside() {
    use tenancy::cache::{EntryOptions, TenantCache};
    let process = Process::alone();
    let handler = async |cache: TenantCache| {
        let key = crate::tenant_cache::TEXT.key(("a",));
        let load = async || Err::<String, _>(io::Error::other("password is 1234"));
        cache
            .remember(&key, &EntryOptions::new(), load)
            .await
            .map(|text| text.to_string())
    };
    let app = process
        .tenancy
        .wrap(Router::new().route("/report", on_get(handler)));
    let answer = ask(&app, to("acme")).await;
    assert_eq!(answer.status, 500);
    assert!(!answer.text().contains("1234"));
    assert_eq!(answer.header("cache-control"), "no-store");
}
