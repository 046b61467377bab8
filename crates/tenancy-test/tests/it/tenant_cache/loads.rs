use tenancy::scope;
use tenancy_test::cache::BarrierLoader;

use super::*;

#[tokio::test]
async fn four_hundred_that_hang_up_cost_one_load_and_no_panic() {
    let process = Process::alone();
    let cache = process.cache_of("acme").await;
    let loader = BarrierLoader::<String>::new();
    for _ in 0..400 {
        let (cache, loader) = (cache.clone(), loader.clone());
        let caller = tokio::spawn(async move {
            let load = move || loader.load();
            cache.remember(&TEXT.key(("a",)), &hour(), load).await
        });
        settle().await;
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
    }
    assert_eq!(loader.calls(), 1);
    loader.open_with("done".to_owned());
    assert_eq!(remember(&cache, "a", "again").await, "done");
}

#[tokio::test]
async fn who_asks_at_the_same_time_waits_for_one_load() {
    let process = Process::alone();
    let cache = process.cache_of("acme").await;
    let loader = BarrierLoader::<String>::new();
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let (cache, loader) = (cache.clone(), loader.clone());
            tokio::spawn(async move {
                let load = move || loader.load();
                cache.remember(&TEXT.key(("a",)), &hour(), load).await.unwrap()
            })
        })
        .collect();
    loader.entered().await.answer("one".to_owned());
    for caller in callers {
        assert_eq!(caller.await.unwrap().as_str(), "one");
    }
    assert_eq!(loader.calls(), 1);
    assert_eq!(cache.statistics().coalesced, 99);
}

#[tokio::test]
async fn a_load_runs_in_its_tenants_scope() {
    let process = Process::alone();
    let cache = process.cache_of("acme").await;
    let load = async || {
        let tenant = scope::current_tenant().map(|tenant| tenant.id().to_string());
        Ok::<_, Infallible>(tenant.unwrap_or_default())
    };
    let of = cache.remember(&TEXT.key(("a",)), &hour(), load).await.unwrap();
    assert_eq!(of.as_str(), "acme");
    let central = process.tenancy.central_cache();
    let load = async || Ok::<_, Infallible>(format!("{:?}", scope::current()));
    let of = central.remember(&TEXT.key(("a",)), &hour(), load).await.unwrap();
    assert_eq!(of.as_str(), "Some(Central)");
}

#[tokio::test]
async fn where_loading_fails_what_is_too_old_is_served_and_what_was_flushed_is_not() {
    let process = Process::alone();
    let cache = process.cache_of("acme").await;
    let options = EntryOptions::new()
        .ttl(Duration::from_secs(10))
        .stale_for(Duration::from_secs(100));
    let fail = async || Err::<String, _>("the database is away");
    remember_with(&cache, "a", "old", &options).await;
    process.clock.advance(Duration::from_secs(11));
    assert_eq!(cache.get(&TEXT.key(("a",))).await, None);
    let stale = cache.remember(&TEXT.key(("a",)), &options, fail).await.unwrap();
    assert_eq!(stale.as_str(), "old");
    assert_eq!(cache.statistics().stale, 1);
    let _ = cache.flush().await;
    let error = cache
        .remember(&TEXT.key(("a",)), &options, fail)
        .await
        .unwrap_err();
    assert!(error.is_failed());
    assert_eq!(error.to_string(), "text could not be loaded");
}

#[tokio::test]
async fn what_was_flushed_while_it_was_loaded_is_not_served_when_that_fails() {
    let process = Process::alone();
    let cache = process.cache_of("acme").await;
    let options = EntryOptions::new()
        .ttl(Duration::from_secs(10))
        .stale_for(Duration::from_secs(100));
    remember_with(&cache, "a", "old", &options).await;
    process.clock.advance(Duration::from_secs(11));
    let loader = BarrierLoader::<String>::new();
    let caller = tokio::spawn({
        let (cache, options, loader) = (cache.clone(), options.clone(), loader.clone());
        async move {
            let load = move || loader.load();
            cache.remember(&TEXT.key(("a",)), &options, load).await
        }
    });
    let loading = loader.entered().await;
    let _ = cache.flush().await;
    loading.fail("away");
    assert!(caller.await.unwrap().unwrap_err().is_failed());
}

#[tokio::test(start_paused = true)]
async fn a_slow_load_is_waited_for_where_what_there_was_is_flushed_meanwhile() {
    let process = Process::alone();
    let cache = process.cache_of("acme").await;
    let options = EntryOptions::new()
        .ttl(Duration::from_secs(10))
        .stale_for(Duration::from_secs(100));
    remember_with(&cache, "a", "old", &options).await;
    process.clock.advance(Duration::from_secs(11));
    let loader = BarrierLoader::<String>::new();
    let caller = tokio::spawn({
        let (cache, options, loader) = (cache.clone(), options.clone(), loader.clone());
        async move {
            let load = move || loader.load();
            cache.remember(&TEXT.key(("a",)), &options, load).await
        }
    });
    let loading = loader.entered().await;
    let _ = cache.flush().await;
    // Longer than a stale value is waited beside.
    tokio::time::sleep(Duration::from_secs(1)).await;
    loading.answer("new".to_owned());
    assert_eq!(caller.await.unwrap().unwrap().as_str(), "new");
}

#[tokio::test(start_paused = true)]
async fn a_slow_load_is_not_waited_for_where_there_is_something_to_serve() {
    let process = Process::alone();
    let cache = process.cache_of("acme").await;
    let options = EntryOptions::new()
        .ttl(Duration::from_secs(10))
        .stale_for(Duration::from_secs(100));
    remember_with(&cache, "a", "old", &options).await;
    process.clock.advance(Duration::from_secs(11));
    let loader = BarrierLoader::<String>::new();
    let load = {
        let loader = loader.clone();
        move || loader.load()
    };
    let served = cache.remember(&TEXT.key(("a",)), &options, load).await.unwrap();
    assert_eq!(served.as_str(), "old");
    loader.entered().await.answer("new".to_owned());
    settle().await;
    assert_eq!(remember_with(&cache, "a", "newer", &options).await, "new");
}

#[tokio::test(start_paused = true)]
async fn a_load_that_never_ends_is_an_error_in_time_and_another_is_tried() {
    let process = Process::alone();
    let cache = process.cache_of("acme").await;
    let hanging = BarrierLoader::<String>::new();
    let first = tokio::spawn({
        let (cache, hanging) = (cache.clone(), hanging.clone());
        async move {
            let load = move || hanging.load();
            cache.remember(&TEXT.key(("a",)), &hour(), load).await
        }
    });
    hanging.entered().await.never_end();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(remember(&cache, "a", "second").await, "second");
    // The second's value is everybody's.
    assert_eq!(first.await.unwrap().unwrap().as_str(), "second");

    let load = async || std::future::pending::<Result<String, Infallible>>().await;
    let error = cache
        .remember(&TEXT.key(("b",)), &hour(), load)
        .await
        .unwrap_err();
    assert!(error.is_timed_out(), "{error}");
}

#[tokio::test]
async fn a_panic_in_a_load_is_an_error_of_those_who_wait_and_the_next_one_loads() {
    let process = Process::alone();
    let cache = process.cache_of("acme").await;
    let load = async || -> Result<String, Infallible> { panic!("a mistake") };
    let error = cache
        .remember(&TEXT.key(("a",)), &hour(), load)
        .await
        .unwrap_err();
    assert!(error.is_panicked(), "{error}");
    assert_eq!(remember(&cache, "a", "fine").await, "fine");
}

#[tokio::test]
async fn one_of_many_callers_loads_anew_before_the_end() {
    let process = Process::alone();
    let cache = process.cache_of("acme").await;
    let options = EntryOptions::new().ttl(Duration::from_secs(10));
    let clock = Arc::clone(&process.clock);
    let slow = async move || {
        clock.advance(Duration::from_secs(2));
        Ok::<_, Infallible>("old".to_owned())
    };
    cache.remember(&TEXT.key(("a",)), &options, slow).await.unwrap();
    // Far from the end nobody does: e^-4 of the callers would, at 8 s before it.
    let mut served = Vec::new();
    for _ in 0..1000 {
        process.clock.advance(Duration::from_millis(9));
        served.push(remember_with(&cache, "a", "new", &options).await);
        settle().await;
    }
    let changed_at = served.iter().position(|value| value == "new").unwrap();
    // Nobody waited for it: the one who loaded it was served the old one.
    assert_eq!(served[changed_at - 1], "old");
    assert_eq!(cache.statistics().misses, 1);
    assert!(cache.statistics().early_refreshes >= 1);
}

#[tokio::test(start_paused = true)]
async fn loads_may_remember_other_things_when_every_turn_is_taken() {
    let world = World::new();
    let process = world.process_with(CacheSettings::new().loads_per_tenant(1));
    let cache = process.cache_of("acme").await;
    let pages = (0..20).map(|page: u32| {
        let (cache, inner) = (cache.clone(), cache.clone());
        async move {
            let load = async move || {
                let settings = remember(&inner, "settings", "blue").await;
                Ok::<_, Infallible>(format!("page {page} in {settings}"))
            };
            let key = page.to_string();
            cache.remember(&TEXT.key((&key,)), &hour(), load).await.unwrap()
        }
    });
    for (page, text) in futures_util::future::join_all(pages).await.iter().enumerate() {
        assert_eq!(**text, format!("page {page} in blue"));
    }
    assert_eq!(cache.statistics().loads, 21);
}
