//! What warming may take, and what ends it.

use std::{collections::HashMap, future::pending};

use super::*;

#[tokio::test(start_paused = true)]
async fn who_has_claimed_and_does_not_end_holds_nobody_up_for_longer_than_the_deadline() {
    let world = World::new();
    let (ran, loader) = (Ran::default(), Loader::new());
    let made = warmed(
        &world,
        &["acme"],
        CacheSettings::new(),
        WarmingSettings::new(),
        [recipe("settings", &ran, &loader)],
    );
    let acme = made.tenant("acme").await;
    let dead = tenancy::cache::shared::Claim {
        scope: ScopeName::parse(&format!("acme:{}", acme.incarnation())).unwrap(),
        what: "warm:settings".to_owned(),
        by: 1,
    };
    assert!(
        world
            .level
            .node()
            .claim(&dead, Duration::from_secs(3600))
            .await
            .unwrap()
    );
    loader.open_with("green".to_owned());
    let began = tokio::time::Instant::now();
    assert!(made.process.tenancy.warm(&acme).await.is_warm());
    assert!(began.elapsed() >= Duration::from_secs(10) && began.elapsed() < Duration::from_secs(11));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_permit_has_claimed_nothing_yet() {
    let world = World::new();
    let (ran, loader) = (Ran::default(), Loader::new());
    let make = || {
        warmed(
            &world,
            &["acme", "globex"],
            CacheSettings::new(),
            WarmingSettings::new().at_once(1),
            [recipe("settings", &ran, &loader)],
        )
    };
    let (here, there) = (make(), make());
    let warming = |made: &Warmed, tenant: Tenant| {
        let tenancy = made.process.tenancy.clone();
        tokio::spawn(async move { tenancy.warm(&tenant).await })
    };
    let first = warming(&here, here.tenant("acme").await);
    let slow = loader.entered().await;
    let waits = warming(&here, here.tenant("globex").await);
    a_moment().await;
    let asked_at = tokio::time::Instant::now();
    let other = warming(&there, there.tenant("globex").await);
    loader.entered().await.answer("there".to_owned());
    assert!(other.await.unwrap().is_warm());
    assert!(asked_at.elapsed() < Duration::from_secs(1));
    slow.answer("here".to_owned());
    assert!(first.await.unwrap().is_warm());
    assert!(waits.await.unwrap().is_warm());
    assert_eq!(loader.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_more_run_at_once_than_there_are_permits_for() {
    let tenants: Vec<String> = (0..9).map(|number| format!("t{number}")).collect();
    let tenants: Vec<&str> = tenants.iter().map(String::as_str).collect();
    let (ran, loader) = (Ran::default(), Loader::new());
    let clock = Arc::new(ManualClock::new());
    let cheap = recipe("cheap", &ran, &loader);
    let two_at_once = {
        let loader = loader.clone();
        move |_: Tenant, cache: TenantCache| {
            let loader = loader.clone();
            async move { tokio::try_join!(load(&cache, "a", &loader), load(&cache, "b", &loader)).map(drop) }
        }
    };
    let dear = Recipe::new("dear", two_at_once).cost(2);
    let warming = WarmingSettings::new().at_once(3);
    let made = warmed_alone(&clock, &tenants, CacheSettings::new(), warming, [cheap, dear]);
    let all = made.process.tenancy.warm_all();
    let mut highest = 0;
    let mut loads = Vec::new();
    for _ in 0..27 {
        loads.push(loader.entered().await);
        a_moment().await;
        highest = highest.max(loader.waiting() + loads.len());
        loads.remove(0).answer("x".to_owned());
    }
    let ended = all.finished().await;
    assert_eq!(highest, 3);
    assert_eq!((ended.total, ended.done, ended.left), (9, 9, 0));
    assert!(ended.is_over && ended.bytes > 9 * 2 * 300, "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_recipe_that_fails_panics_or_never_ends_does_not_stop_the_others() {
    let (ran, loader) = (Ran::default(), Loader::new());
    loader.open_with("x".to_owned());
    let fails = Recipe::new("fails", async |_: Tenant, _: TenantCache| Err::<(), _>("no"));
    let panics = Recipe::new("panics", |_: Tenant, cache: TenantCache| {
        assert!(cache.tenant().id().as_str().is_empty(), "on purpose");
        async { Ok::<_, Infallible>(()) }
    });
    let hangs = Recipe::new("hangs", async |_: Tenant, _: TenantCache| {
        pending::<Result<(), Infallible>>().await
    });
    let made = one([fails, panics, hangs, recipe("settings", &ran, &loader)]);
    let outcome = made.process.tenancy.warm(&made.tenant("acme").await).await;
    let failed: HashMap<_, _> = outcome
        .failed
        .iter()
        .map(|failure| (failure.recipe.as_str(), failure.error.as_str()))
        .collect();
    assert_eq!(failed["fails"], "no");
    assert!(failed["panics"].contains("on purpose"), "{failed:?}");
    assert_eq!(failed["hangs"], "it took longer than 10s");
    assert_eq!((outcome.done, failed.len(), ran.ids().len()), (1, 3, 1));
    let all = made.process.tenancy.warm_all().finished().await;
    assert_eq!((all.done, all.failed), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_recipe_that_fails_is_tried_again_later_and_later() {
    let (ran, loader) = (Ran::default(), Loader::new());
    loader.open_with_error("no");
    let made = one([recipe("settings", &ran, &loader)]);
    made.request("acme").await;
    for tries in 1..5 {
        until("a try", || ran.ids().len() == tries).await;
        a_while().await;
        assert_eq!(ran.ids().len(), tries, "not before its pause is over");
        made.process
            .clock
            .advance(Duration::from_millis(999 << (tries - 1)));
        a_while().await;
        assert_eq!(ran.ids().len(), tries);
        made.process
            .clock
            .advance(Duration::from_millis(1 << (tries - 1)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_warming_that_is_dropped_ends() {
    let (ran, loader) = (Ran::default(), Loader::new());
    let clock = Arc::new(ManualClock::new());
    let warming = WarmingSettings::new().at_once(1);
    let made = warmed_alone(
        &clock,
        &["a", "b", "c"],
        CacheSettings::new(),
        warming,
        [recipe("settings", &ran, &loader)],
    );
    let mut all = made.process.tenancy.warm_all();
    loader.entered().await.answer("x".to_owned());
    let load = loader.entered().await;
    let progress = all.further().await.unwrap();
    assert_eq!((progress.total, progress.done, progress.left), (3, 1, 2));
    drop(all);
    settle().await;
    load.answer("x".to_owned());
    a_while().await;
    assert_eq!(ran.ids(), ["a", "b"]);
    // What was begun is there, and nobody holds a permit.
    assert!(made.process.tenancy.warm(&made.tenant("b").await).await.is_warm());
    assert_eq!(loader.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn half_of_a_tenants_loads_are_for_requests_alone() {
    let (warm, asked) = (Loader::new(), Loader::new());
    let all_at_once = {
        let warm = warm.clone();
        Recipe::new("many", move |_: Tenant, cache: TenantCache| {
            let warm = warm.clone();
            async move {
                let load = |name| load(&cache, name, &warm);
                tokio::try_join!(load("a"), load("b"), load("c"), load("d")).map(drop)
            }
        })
    };
    let clock = Arc::new(ManualClock::new());
    let settings = CacheSettings::new().loads_per_tenant(4);
    let made = warmed_alone(&clock, &["acme"], settings, WarmingSettings::new(), [all_at_once]);
    let all = made.process.tenancy.warm_all();
    let first = warm.entered().await;
    let second = warm.entered().await;
    a_moment().await;
    assert_eq!(warm.calls(), 2);
    let cache = made.process.cache_of("acme").await;
    let requests = ["x", "y", "d"].map(|name| {
        let (cache, asked) = (cache.clone(), asked.clone());
        tokio::spawn(async move { load(&cache, name, &asked).await })
    });
    let two = [asked.entered().await, asked.entered().await];
    asked.open_with("mine".to_owned());
    for load in two {
        load.answer("mine".to_owned());
    }
    for request in requests {
        request.await.unwrap().unwrap();
    }
    assert_eq!(
        (asked.calls(), warm.calls()),
        (3, 2),
        "also what a recipe would have loaded"
    );
    warm.open_with("warm".to_owned());
    first.answer("warm".to_owned());
    second.answer("warm".to_owned());
    assert_eq!(all.finished().await.done, 1);
    assert_eq!(warm.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn who_asks_while_a_tenant_is_warmed_gets_what_comes_of_that() {
    let (ran, loader) = (Ran::default(), Loader::new());
    let made = one([recipe("settings", &ran, &loader)]);
    let acme = made.tenant("acme").await;
    let tenancy = &made.process.tenancy;
    let answer = async {
        let load = loader.entered().await;
        a_moment().await;
        load.answer("x".to_owned());
    };
    let (one, other, ()) = tokio::join!(tenancy.warm(&acme), tenancy.warm(&acme), answer);
    assert_eq!((one == other, one.done, ran.ids().len()), (true, 1, 1));
    assert!(tenancy.warm(&acme).await.is_warm());
    assert_eq!(ran.ids().len(), 2, "who asks later is not answered with what was");
}

#[tokio::test(start_paused = true)]
async fn warming_stops_when_its_share_of_the_bytes_is_full() {
    let (ran, loader) = (Ran::default(), Loader::new());
    loader.open_with("x".repeat(1000));
    let clock = Arc::new(ManualClock::new());
    let settings = CacheSettings::new().max_bytes(20_000).max_entry_bytes(10_000);
    let warming = WarmingSettings::new().at_once(1).share_of_bytes(0.25);
    let tenants = ["a", "b", "c", "d", "e", "f"];
    let made = warmed_alone(
        &clock,
        &tenants,
        settings,
        warming,
        [recipe("settings", &ran, &loader).bytes(1500)],
    );
    let ended = made.process.tenancy.warm_all().finished().await;
    assert!(ended.is_out_of_room && ended.bytes <= 5000, "{ended:?}");
    assert_eq!((ended.done, ended.left, ran.ids().len()), (3, 3, 3), "{ended:?}");
    // What was brought has ended by then.
    clock.advance(Duration::from_secs(61));
    assert!(made.process.tenancy.warm(&made.tenant("f").await).await.is_warm());
}
