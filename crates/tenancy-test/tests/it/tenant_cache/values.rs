use tenancy::cache::{EntryOptions, Keys};

use super::*;

#[tokio::test]
async fn nothing_false_or_empty_is_a_miss() {
    const NUMBER: Keys<(), u32> = Keys::new("number", 1);
    const NAME: Keys<(), String> = Keys::new("name", 1);
    const MAYBE: Keys<(), Option<u32>> = Keys::new("maybe", 1);
    const LIST: Keys<(), Vec<u32>> = Keys::new("list", 1);
    const UNIT: Keys<(), ()> = Keys::new("unit", 1);

    let world = World::new();
    let (one, two) = (world.process(), world.process());
    let cache = one.cache_of("acme").await;
    cache.put(&NUMBER.key(()), 0, &hour()).await;
    cache.put(&NAME.key(()), String::new(), &hour()).await;
    cache.put(&MAYBE.key(()), None, &hour()).await;
    cache.put(&LIST.key(()), Vec::new(), &hour()).await;
    cache.put(&UNIT.key(()), (), &hour()).await;
    for cache in [cache, two.cache_of("acme").await] {
        assert_eq!(cache.get(&NUMBER.key(())).await.as_deref(), Some(&0));
        assert_eq!(cache.get(&NAME.key(())).await.as_deref(), Some(&String::new()));
        assert_eq!(cache.get(&MAYBE.key(())).await.as_deref(), Some(&None));
        assert_eq!(cache.get(&LIST.key(())).await.as_deref(), Some(&Vec::new()));
        assert_eq!(cache.get(&UNIT.key(())).await.as_deref(), Some(&()));
    }
}

#[tokio::test]
async fn tenants_never_see_each_others_values() {
    let world = World::new();
    let (one, two) = (world.process(), world.process());
    assert_eq!(
        remember(&one.cache_of("acme").await, "a", "acme's").await,
        "acme's"
    );
    assert_eq!(
        remember(&one.cache_of("globex").await, "a", "globex's").await,
        "globex's"
    );
    settle().await;
    for process in [&one, &two] {
        assert_eq!(
            remember(&process.cache_of("acme").await, "a", "?").await,
            "acme's"
        );
        assert_eq!(
            remember(&process.cache_of("globex").await, "a", "?").await,
            "globex's"
        );
        let central = process.tenancy.central_cache();
        assert_eq!(central.get(&TEXT.key(("a",))).await, None);
    }
}

#[tokio::test]
async fn what_one_process_loads_another_finds_with_one_question() {
    let world = World::new();
    let (one, two) = (world.process(), world.process());
    remember(&one.cache_of("acme").await, "a", "first").await;
    settle().await;
    let cache = two.cache_of("acme").await;
    assert_eq!(remember(&cache, "a", "second").await, "first");
    let calls = two.node.as_ref().unwrap().calls().total();
    for _ in 0..10 {
        assert_eq!(remember(&cache, "a", "second").await, "first");
    }
    assert_eq!(two.node.as_ref().unwrap().calls().total(), calls);
    assert_eq!(cache.statistics().hits, 10);
    assert_eq!(cache.statistics().shared_hits, 1);
    assert_eq!((cache.statistics().loads, cache.statistics().misses), (0, 0));
}

#[tokio::test]
async fn an_entry_ends_with_its_time_to_live_in_every_process() {
    let world = World::new();
    let (one, two) = (world.process(), world.process());
    let options = EntryOptions::new()
        .ttl(Duration::from_secs(10))
        .stale_for(Duration::ZERO);
    remember_with(&one.cache_of("acme").await, "a", "old", &options).await;
    settle().await;
    world.clock.advance(Duration::from_secs(9));
    let second = two.cache_of("acme").await;
    assert_eq!(remember_with(&second, "a", "new", &options).await, "old");
    world.clock.advance(Duration::from_secs(1));
    // In the second process it was for one second, and had one left.
    assert_eq!(second.get(&TEXT.key(("a",))).await, None);
    assert_eq!(remember_with(&second, "a", "new", &options).await, "new");
}

#[tokio::test]
async fn there_is_none_is_remembered_for_its_own_time() {
    const USER: Keys<(u32,), Option<String>> = Keys::new("user", 1);
    let process = Process::alone();
    let cache = process.cache_of("acme").await;
    let options = hour().none_ttl(Duration::from_secs(5)).stale_for(Duration::ZERO);
    let find = async |found: Option<&str>| {
        let found = found.map(str::to_owned);
        let load = async move || Ok::<_, Infallible>(found);
        cache
            .remember_found(&USER.key((7,)), &options, load)
            .await
            .unwrap()
    };
    assert_eq!(*find(None).await, None);
    assert_eq!(*find(Some("eve")).await, None);
    process.clock.advance(Duration::from_secs(5));
    assert_eq!(*find(Some("eve")).await, Some("eve".to_owned()));
    process.clock.advance(Duration::from_secs(30));
    assert_eq!(*find(None).await, Some("eve".to_owned()));
}

#[tokio::test]
async fn many_are_loaded_with_one_call_for_what_is_missing() {
    let world = World::new();
    let (one, two) = (world.process(), world.process());
    remember(&one.cache_of("acme").await, "b", "had").await;
    settle().await;
    let cache = two.cache_of("acme").await;
    let keys = ["a", "b", "c"].map(|name| TEXT.key((name,)));
    let load = async |missing: Vec<usize>| {
        let loaded = missing.iter().map(|place| format!("loaded {place}"));
        Ok::<_, Infallible>(loaded.collect())
    };
    let values = cache.remember_many(&keys, &hour(), load).await.unwrap();
    let values: Vec<_> = values.iter().map(|value| value.as_str()).collect();
    assert_eq!(values, ["loaded 0", "had", "loaded 2"]);
    let again = cache.get_many(&keys).await;
    assert!(again.iter().all(Option::is_some));
    assert_eq!(cache.statistics().loads, 1);

    let wrong = async |_: Vec<usize>| Ok::<Vec<String>, Infallible>(Vec::new());
    let error = cache
        .remember_many(&[TEXT.key(("d",))], &hour(), wrong)
        .await
        .unwrap_err();
    assert!(error.is_failed(), "{error}");
}

#[tokio::test]
async fn what_is_too_large_is_handed_out_and_not_kept() {
    let world = World::new();
    let process = world.process_with(CacheSettings::new().max_entry_bytes(1000));
    let cache = process.cache_of("acme").await;
    assert_eq!(remember(&cache, "a", &"x".repeat(2000)).await.len(), 2000);
    settle().await;
    assert_eq!(cache.get(&TEXT.key(("a",))).await, None);
    assert_eq!(cache.statistics().bytes, 0);
}

#[tokio::test]
async fn another_type_under_the_same_name_is_a_miss() {
    const OTHER: Keys<(&str,), u32> = Keys::new("text", 1);
    let world = World::new();
    let (one, two) = (world.process(), world.process());
    let cache = one.cache_of("acme").await;
    remember(&cache, "a", "text").await;
    settle().await;
    for process in [&one, &two] {
        let cache = process.cache_of("acme").await;
        assert_eq!(cache.get(&OTHER.key(("a",))).await, None);
    }
    assert_eq!(two.cache_of("acme").await.statistics().unreadable, 1);
    assert_eq!(cache.get(&TEXT.key(("a",))).await.unwrap().as_str(), "text");
}

#[tokio::test]
async fn no_time_to_live_is_too_long() {
    let world = World::new();
    let options = EntryOptions::new()
        .ttl(Duration::MAX)
        .stale_for(Duration::MAX)
        .none_ttl(Duration::MAX);
    for process in [world.process(), Process::alone()] {
        let cache = process.cache_of("acme").await;
        assert_eq!(remember_with(&cache, "a", "first", &options).await, "first");
        cache.put(&TEXT.key(("b",)), "put".to_owned(), &options).await;
        settle().await;
        process.clock.advance(Duration::from_secs(59));
        assert_eq!(remember_with(&cache, "a", "again", &options).await, "first");
        assert_eq!(remember_with(&cache, "b", "again", &options).await, "put");
    }
}

#[tokio::test]
async fn an_entry_counts_for_what_it_is_said_to() {
    let world = World::new();
    for process in [world.process(), Process::alone()] {
        let cache = process.cache_of("acme").await;
        let mut before = 0;
        for (name, said, counted) in [("a", Some(50_000), 50_000..60_000), ("b", None, 1..10_000)] {
            let options = said.map_or(hour(), |bytes| hour().size(bytes));
            remember_with(&cache, name, "value", &options).await;
            let bytes = cache.statistics().bytes - before;
            assert!(counted.contains(&bytes), "{name} counts for {bytes}");
            before += bytes;
        }
        // More than one entry may have, by default 1 MiB.
        remember_with(&cache, "c", "first", &hour().size(2 << 20)).await;
        assert_eq!(remember(&cache, "c", "second").await, "second");
    }
}
