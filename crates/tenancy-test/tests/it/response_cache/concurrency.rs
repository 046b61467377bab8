use std::{
    collections::HashSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::http::header;
use tokio::sync::Semaphore;

use super::*;

#[tokio::test]
async fn four_hundred_at_once_ask_the_handler_once() {
    let process = Process::alone();
    let loader = BarrierLoader::new();
    let app = app(&process.tenancy, hour(), from_barrier(&loader));
    let asking: Vec<_> = (0..400)
        .map(|_| {
            let app = app.clone();
            tokio::spawn(async move { ask(&app, to("acme")).await })
        })
        .collect();
    let load = loader.entered().await;
    settle().await;
    load.answer("page".to_owned());
    let mut told = Vec::new();
    for asked in asking {
        let answer = asked.await.unwrap();
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, "page"));
        told.push(answer.told().to_owned());
    }
    assert_eq!(loader.calls(), 1);
    told.sort();
    told.dedup();
    assert_eq!(told, ["fwd=miss; collapsed", "fwd=miss; stored"]);
}

/// The worst that a cache can do: one client's session in the hands of another.
#[tokio::test]
async fn a_cookie_that_is_set_reaches_its_own_client_alone_however_many_ask_at_once() {
    let process = Process::alone();
    let calls = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(Semaphore::new(0));
    let handler = {
        let (calls, gate) = (Arc::clone(&calls), Arc::clone(&gate));
        async move |headers: HeaderMap| {
            calls.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            let client = headers["x-client"].to_str().unwrap().to_owned();
            ([(header::SET_COOKIE, client.clone())], client)
        }
    };
    let app = app(&process.tenancy, hour(), handler);
    for round in 0..2 {
        let asking: Vec<_> = (0..400)
            .map(|client| {
                let app = app.clone();
                let client = format!("{round}-{client}");
                tokio::spawn(async move {
                    let answer = ask(&app, to("acme").header("x-client", &client)).await;
                    (client, answer)
                })
            })
            .collect();
        settle().await;
        // In the first round all wait for one; in the second it is known that nobody need.
        let at_the_handler = if round == 0 { 1 } else { 400 };
        assert_eq!(calls.swap(0, Ordering::SeqCst), at_the_handler);
        gate.add_permits(400);
        let mut clients = HashSet::new();
        for asked in asking {
            let (client, answer) = asked.await.unwrap();
            assert_eq!(answer.status, StatusCode::OK);
            let cookies: Vec<_> = answer.headers.get_all(header::SET_COOKIE).iter().collect();
            assert_eq!(cookies, [&client]);
            assert_eq!(answer.text(), client);
            assert!(clients.insert(client));
        }
        assert_eq!(calls.swap(0, Ordering::SeqCst) + at_the_handler, 400);
        assert_eq!(gate.available_permits(), 0);
    }
    // It is forgotten soon, so that one odd answer does not keep the page out.
    process.clock.advance(Duration::from_secs(5));
    gate.add_permits(1);
    assert_eq!(
        ask(&app, to("acme").header("x-client", "x")).await.told(),
        "fwd=miss"
    );
}

#[tokio::test]
async fn who_hangs_up_does_not_end_the_making_of_the_page() {
    let process = Process::alone();
    let loader = BarrierLoader::new();
    let app = app(&process.tenancy, hour(), from_barrier(&loader));
    let asking = || {
        let app = app.clone();
        tokio::spawn(async move { ask(&app, to("acme")).await })
    };
    let first = asking();
    let load = loader.entered().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let second = asking();
    settle().await;
    assert!(!load.is_dropped());
    load.answer("page".to_owned());
    assert_eq!(second.await.unwrap().text(), "page");
    assert_eq!(loader.calls(), 1);
}

#[tokio::test]
async fn an_answer_that_is_not_kept_for_one_who_hung_up_goes_to_nobody() {
    let process = Process::alone();
    let loader = BarrierLoader::<String>::new();
    let handler = {
        let loader = loader.clone();
        async move || {
            let text = loader.load().await.unwrap();
            ([(header::SET_COOKIE, text.clone())], text)
        }
    };
    let app = app(&process.tenancy, hour(), handler);
    let asking = || {
        let app = app.clone();
        tokio::spawn(async move { ask(&app, to("acme")).await })
    };
    let first = asking();
    let load = loader.entered().await;
    let second = asking();
    settle().await;
    first.abort();
    load.answer("first".to_owned());
    loader.entered().await.answer("second".to_owned());
    let second = second.await.unwrap();
    assert_eq!((second.text(), second.header("set-cookie")), ("second", "second"));
}

#[tokio::test]
async fn a_handler_that_uses_the_cache_itself_does_not_wait_for_its_own_turn() {
    let world = World::new();
    let process = world.process_with(CacheSettings::new().loads_per_tenant(1));
    let handler = async |cache: tenancy::cache::TenantCache| {
        let load = async || Ok::<_, std::convert::Infallible>("inner".to_owned());
        let key = crate::tenant_cache::TEXT.key(("inner",));
        cache
            .remember(&key, &tenancy::cache::EntryOptions::new(), load)
            .await
            .unwrap()
            .to_string()
    };
    let app = app(&process.tenancy, hour(), handler);
    let asking: Vec<_> = (0..20)
        .map(|page| {
            let app = app.clone();
            let request = to("acme").uri(format!("/report?page={page}"));
            tokio::spawn(async move { ask(&app, request).await })
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.await.unwrap().text(), "inner");
    }
}
