use super::*;

async fn page() -> impl IntoResponse {
    ([("x-kept", "1"), ("content-type", "text/plain")], "the page")
}

#[tokio::test]
async fn a_page_is_made_once_and_says_so() {
    let process = Process::alone();
    let app = app(&process.tenancy, hour().vary(["accept-language"]), page);
    let first = ask(&app, to("acme")).await;
    assert_eq!((first.status, first.text()), (StatusCode::OK, "the page"));
    assert_eq!((first.told(), first.header("age")), ("fwd=miss; stored", ""));
    process.clock.advance(Duration::from_secs(7));
    let second = ask(&app, to("acme")).await;
    assert_eq!((second.status, second.text()), (StatusCode::OK, "the page"));
    assert_eq!((second.told(), second.header("age")), ("hit", "7"));
    for answer in [&first, &second] {
        assert_eq!(answer.header("cache-control"), "private, no-cache");
        assert_eq!(answer.header("vary"), "accept-language");
        assert_eq!(answer.header("x-kept"), "1");
        assert_eq!(answer.header("content-length"), "8");
    }
    assert_eq!(first.header("etag"), second.header("etag"));
    let other = ask(&app, to("acme").header("accept-language", "de")).await;
    assert_eq!(other.told(), "fwd=miss; stored");
}

#[tokio::test]
async fn who_has_the_page_already_gets_304() {
    let process = Process::alone();
    let app = app(&process.tenancy, hour(), page);
    let tag = ask(&app, to("acme")).await.header("etag").to_owned();
    for (none_match, status) in [
        (tag.clone(), 304),
        (format!("W/{tag}"), 304),
        (format!("\"x\", {tag}"), 304),
        ("*".to_owned(), 304),
        ("\"x\"".to_owned(), 200),
    ] {
        let answer = ask(&app, to("acme").header("if-none-match", &none_match)).await;
        assert_eq!(answer.status, status, "{none_match}");
        assert_eq!(answer.header("etag"), tag);
        assert_eq!(answer.told(), "hit");
        if status == 304 {
            assert_eq!(answer.text(), "");
            assert_eq!(answer.header("content-type"), "");
            assert_eq!(answer.header("content-length"), "8");
            assert_eq!(answer.header("cache-control"), "private, no-cache");
        }
    }
    // Also who is the first to ask here: the condition is the client's, not the page's.
    let process = Process::alone();
    let app = super::app(&process.tenancy, hour(), page);
    assert_eq!(
        ask(&app, to("acme").header("if-none-match", &tag)).await.status,
        304
    );
    assert_eq!(ask(&app, to("acme")).await.text(), "the page");
}

#[tokio::test]
async fn a_head_is_answered_from_the_page_and_makes_none() {
    let process = Process::alone();
    let app = app(&process.tenancy, hour(), page);
    let head = || to("acme").method("HEAD");
    assert_eq!(ask(&app, head()).await.told(), "fwd=miss");
    assert_eq!(ask(&app, head()).await.told(), "fwd=miss");
    assert_eq!(ask(&app, to("acme")).await.told(), "fwd=miss; stored");
    let answer = ask(&app, head()).await;
    assert_eq!((answer.told(), answer.text()), ("hit", ""));
    assert_eq!(answer.header("content-length"), "8");
    assert_eq!(answer.header("x-kept"), "1");
}

#[tokio::test]
async fn what_is_said_to_clients_can_be_chosen() {
    let process = Process::alone();
    let cache = hour()
        .cache_status(false)
        .client_cache_control(HeaderValue::from_static("private, max-age=5"));
    let app = app(&process.tenancy, cache, page);
    for _ in 0..2 {
        let answer = ask(&app, to("acme")).await;
        assert_eq!(answer.header("cache-control"), "private, max-age=5");
        assert_eq!(answer.header("cache-status"), "");
    }
}

#[tokio::test]
async fn other_statuses_are_kept_where_that_is_said() {
    let process = Process::alone();
    let cache = hour().also(StatusCode::NOT_FOUND, Duration::from_secs(5));
    let app = app(&process.tenancy, cache, async || (StatusCode::NOT_FOUND, "none"));
    assert_eq!(ask(&app, to("acme")).await.told(), "fwd=miss; stored");
    let again = ask(&app, to("acme").header("if-none-match", "*")).await;
    assert_eq!((again.status, again.told()), (StatusCode::NOT_FOUND, "hit"));
    process.clock.advance(Duration::from_secs(5));
    assert_ne!(ask(&app, to("acme")).await.told(), "hit");
}

#[tokio::test]
async fn chance_decides_once_who_makes_a_page_anew_before_its_end() {
    const PAGES: u64 = 300;
    let process = Process::alone();
    let clock = Arc::clone(&process.clock);
    let handler = async move || {
        clock.advance(Duration::from_secs(1));
        "page"
    };
    let app = app(
        &process.tenancy,
        ResponseCache::same_for_everybody(Duration::from_secs(10)),
        handler,
    );
    // It takes a second, and has 1.2 left: three of ten are made anew. Decided twice, it would be one of eleven.
    for page in 0..PAGES {
        let page = || to("acme").uri(format!("/report?page={page}"));
        ask(&app, page()).await;
        process.clock.advance(Duration::from_millis(8_800));
        assert_eq!(ask(&app, page()).await.told(), "hit");
        settle().await;
    }
    let anew = statistics(&process).await.early_refreshes;
    assert!(anew > PAGES * 19 / 100, "{anew}");
}

#[tokio::test]
async fn a_page_ends_with_its_time() {
    let process = Process::alone();
    let minute = ResponseCache::same_for_everybody(Duration::from_secs(10)).early_refresh(false);
    let app = app(&process.tenancy, minute, page);
    assert_eq!(ask(&app, to("acme")).await.told(), "fwd=miss; stored");
    process.clock.advance(Duration::from_secs(9));
    assert_eq!(ask(&app, to("acme")).await.told(), "hit");
    process.clock.advance(Duration::from_secs(1));
    assert_eq!(ask(&app, to("acme")).await.told(), "fwd=miss; stored");
}
