//! What is loaded before anybody asks for it.

mod limits;

use std::sync::Mutex;

use tenancy::{
    Tenant,
    cache::{
        LoadError, Recipe, Warming, WarmingProgress, WarmingSettings,
        shared::{ScopeName, SharedLevel},
    },
    core::{TenantId, TenantStatus},
};
use tenancy_test::cache::BarrierLoader;

use super::*;

type Loader = BarrierLoader<String>;

/// Who was warmed, in the order in which recipes began.
#[derive(Clone, Default)]
struct Ran(Arc<Mutex<Vec<TenantId>>>);

impl Ran {
    fn note(&self, tenant: &Tenant) {
        self.0.lock().unwrap().push(tenant.id().clone());
    }

    fn ids(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(ToString::to_string).collect()
    }
}

async fn load(cache: &TenantCache, name: &str, loader: &Loader) -> Result<(), LoadError> {
    let loader = loader.clone();
    let (key, hour) = (TEXT.key((name,)), hour());
    let loading = cache.remember(&key, &hour, move || loader.load());
    loading.await.map(drop)
}

/// Loads a text of its name.
fn recipe(name: &'static str, ran: &Ran, loader: &Loader) -> Recipe {
    let (ran, loader) = (ran.clone(), loader.clone());
    Recipe::new(name, move |tenant: Tenant, cache: TenantCache| {
        ran.note(&tenant);
        let loader = loader.clone();
        async move { load(&cache, name, &loader).await }
    })
}

struct Warmed {
    process: Process,
    store: MemoryStore,
}

fn warmed(
    world: &World,
    tenants: &[&str],
    settings: CacheSettings,
    warming: WarmingSettings,
    recipes: impl IntoIterator<Item = Recipe>,
) -> Warmed {
    let node = world.level.node();
    let mut warmed = warmed_alone(
        &world.clock,
        tenants,
        settings.shared(node.clone()),
        warming,
        recipes,
    );
    warmed.process.node = Some(node);
    warmed
}

fn warmed_alone(
    clock: &Arc<ManualClock>,
    tenants: &[&str],
    settings: CacheSettings,
    warming: WarmingSettings,
    recipes: impl IntoIterator<Item = Recipe>,
) -> Warmed {
    let store = MemoryStore::of(tenants.iter().copied()).unwrap();
    let builder = Tenancy::builder(Subdomain::of("example.com").unwrap(), store.clone())
        .clock(Arc::clone(clock))
        .cache(settings.ttl_jitter(0.0))
        .warming(warming);
    let builder = recipes
        .into_iter()
        .fold(builder, |builder, recipe| builder.warm(recipe));
    let process = Process {
        tenancy: builder.build().unwrap(),
        node: None,
        clock: Arc::clone(clock),
    };
    Warmed { process, store }
}

impl Warmed {
    async fn tenant(&self, id: &str) -> Tenant {
        self.process.tenancy.enter(&id.parse().unwrap()).await.unwrap()
    }

    /// A request that asks for something that no recipe loads.
    async fn request(&self, tenant: &str) {
        remember(&self.process.cache_of(tenant).await, "asked for", "x").await;
    }
}

/// Of one process without a shared level.
fn one(recipes: impl IntoIterator<Item = Recipe>) -> Warmed {
    let clock = Arc::new(ManualClock::new());
    warmed_alone(
        &clock,
        &["acme", "globex"],
        CacheSettings::new(),
        WarmingSettings::new(),
        recipes,
    )
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

/// Long enough for all that looks around to have looked.
async fn a_while() {
    tokio::time::sleep(Duration::from_secs(10)).await;
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_tenant_is_warmed_when_it_is_used_first_and_nobody_else() {
    let (ran, loader) = (Ran::default(), Loader::new());
    let warmed = one([recipe("settings", &ran, &loader)]);
    a_while().await;
    assert!(ran.ids().is_empty(), "nobody is used");
    // The request has its answer before the recipe has.
    warmed.request("acme").await;
    loader.entered().await.answer("green".to_owned());
    let cache = warmed.process.cache_of("acme").await;
    until("warm", || cache.statistics().loads == 2).await;
    settle().await;
    let found = cache.get(&TEXT.key(("settings",))).await;
    assert_eq!(found.as_deref().map(String::as_str), Some("green"));
    a_while().await;
    assert_eq!((ran.ids(), loader.calls()), (vec!["acme".to_owned()], 1));
    assert!(
        warmed
            .process
            .tenancy
            .warm(&warmed.tenant("acme").await)
            .await
            .is_warm()
    );
    let counted = cache.statistics();
    assert_eq!(
        (counted.misses, counted.hits),
        (1, 1),
        "a recipe's questions count for nothing"
    );
}

#[tokio::test(start_paused = true)]
async fn of_two_processes_one_loads_and_the_other_takes_it_from_the_shared_level() {
    let world = World::new();
    let (ran, loader) = (Ran::default(), Loader::new());
    let make = || {
        warmed(
            &world,
            &["acme"],
            CacheSettings::new(),
            WarmingSettings::new(),
            [recipe("settings", &ran, &loader)],
        )
    };
    let (here, there) = (make(), make());
    here.request("acme").await;
    there.request("acme").await;
    let load = loader.entered().await;
    a_moment().await;
    assert_eq!((ran.ids().len(), loader.calls()), (1, 1), "the other one waits");
    load.answer("green".to_owned());
    until("both", || ran.ids().len() == 2).await;
    for warmed in [&here, &there] {
        let cache = warmed.process.cache_of("acme").await;
        until("warm", || cache.statistics().bytes > 600).await;
        assert_eq!(
            cache.get(&TEXT.key(("settings",))).await.unwrap().as_str(),
            "green"
        );
    }
    assert_eq!(loader.calls(), 1);
}

async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(500)).await;
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn those_used_most_are_warmed_first_also_by_another_process() {
    let world = World::new();
    let (ran, loader) = (Ran::default(), Loader::new());
    loader.open_with("x".to_owned());
    let make = || {
        warmed(
            &world,
            &["a", "b", "c", "d"],
            CacheSettings::new(),
            WarmingSettings::new().at_once(1),
            [recipe("settings", &ran, &loader)],
        )
    };
    let old = make();
    for (tenant, uses) in [("c", 5), ("b", 3), ("d", 1)] {
        for _ in 0..uses {
            old.request(tenant).await;
            world.clock.advance(Duration::from_millis(200));
        }
    }
    world.clock.advance(Duration::from_secs(61));
    let level = world.level.node();
    while level.hottest(1).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(old);
    ran.0.lock().unwrap().clear();
    let ended = make().process.tenancy.warm_hottest(3).finished().await;
    assert_eq!(
        (ran.ids(), ended.total),
        (vec!["c".to_owned(), "b".to_owned(), "d".to_owned()], 3)
    );
    ran.0.lock().unwrap().clear();
    let _ = make().process.tenancy.warm_all().finished().await;
    assert_eq!(ran.ids(), ["c", "b", "d", "a"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_suspended_or_removed_meanwhile_is_left_out() {
    let (ran, loader) = (Ran::default(), Loader::new());
    let clock = Arc::new(ManualClock::new());
    let warming = WarmingSettings::new().at_once(1);
    let made = warmed_alone(
        &clock,
        &["a", "b", "c"],
        CacheSettings::new(),
        warming,
        [recipe("settings", &ran, &loader), recipe("counts", &ran, &loader)],
    );
    let all = made.process.tenancy.warm_all();
    let load = loader.entered().await;
    made.store
        .set_status(&"b".parse().unwrap(), TenantStatus::Suspended)
        .await
        .unwrap();
    made.store.remove(&"c".parse().unwrap()).await.unwrap();
    let tenants = || made.process.tenancy.tenants();
    until("heard of", || {
        tenants().iter().filter(|tenant| tenant.is_served()).count() == 1
    })
    .await;
    load.answer("x".to_owned());
    loader.entered().await.answer("x".to_owned());
    let ended = all.finished().await;
    assert_eq!(
        (ran.ids(), ended.done, ended.gone),
        (vec!["a".to_owned(); 2], 1, 2)
    );
}

#[tokio::test(start_paused = true)]
async fn a_flush_of_everything_warms_again_once_in_every_process_that_uses_the_tenant() {
    let world = World::new();
    let loader = Loader::new();
    loader.open_with("x".to_owned());
    let runs = [Ran::default(), Ran::default(), Ran::default()];
    let make = |ran| {
        warmed(
            &world,
            &["acme"],
            CacheSettings::new(),
            WarmingSettings::new(),
            [recipe("settings", ran, &loader)],
        )
    };
    let [here, there, unused] = [make(&runs[0]), make(&runs[1]), make(&runs[2])];
    here.request("acme").await;
    there.request("acme").await;
    let counts = || [0, 1, 2].map(|at| runs[at].ids().len());
    until("warm", || counts() == [1, 1, 0]).await;
    a_while().await;
    // By its own flush, by a message, and by the renewal that finds what no message told.
    let cache = unused.process.cache_of("acme").await;
    here.process.cache_of("acme").await.flush().await;
    until("warm again", || counts() == [2, 2, 0]).await;
    a_while().await;
    assert_eq!(counts(), [2, 2, 0]);
    there.process.node.as_ref().unwrap().lose_subscriber();
    cache.flush().soft().await;
    until("by message", || counts()[0] == 3).await;
    there.request("acme").await;
    until("by asking", || counts()[1] == 3).await;
    a_while().await;
    assert_eq!(counts(), [3, 3, 0]);
    // By tag it is not known what was flushed.
    cache.flush_tags(["x"]).await;
    a_while().await;
    assert_eq!((counts(), loader.calls()), ([3, 3, 0], 3));
}

#[tokio::test(start_paused = true)]
async fn what_ends_is_loaded_anew_while_the_tenant_is_used() {
    let world = World::new();
    let (ran, loader) = (Ran::default(), Loader::new());
    loader.open_with("x".to_owned());
    let every = Duration::from_secs(3000);
    let made = warmed(
        &world,
        &["acme"],
        CacheSettings::new(),
        WarmingSettings::new(),
        [recipe("settings", &ran, &loader).refresh_every(every)],
    );
    made.request("acme").await;
    until("warm", || ran.ids().len() == 1).await;
    a_while().await;
    world.clock.advance(every);
    a_while().await;
    assert_eq!(
        (ran.ids().len(), loader.calls()),
        (1, 1),
        "nobody has used it since"
    );
    made.request("acme").await;
    until("refreshed", || ran.ids().len() == 2).await;
    a_while().await;
    assert_eq!(
        (ran.ids().len(), loader.calls()),
        (2, 2),
        "600 s were left, and it comes again after 3,000"
    );
    // What lives for longer than until then is only looked for.
    assert!(
        made.process
            .tenancy
            .warm(&made.tenant("acme").await)
            .await
            .is_warm()
    );
    assert_eq!(loader.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn without_recipes_there_is_nothing_to_do() {
    let made = one([]);
    let progress: WarmingProgress = made.process.tenancy.warm_all().finished().await;
    assert_eq!((progress.total, progress.done, progress.bytes), (2, 2, 0));
    let detached: Warming = made.process.tenancy.warm_these([made.tenant("acme").await]);
    detached.detach();
}

#[tokio::test(start_paused = true)]
async fn who_was_not_used_since_is_not_refreshed() {
    let world = World::new();
    let (ran, loader) = (Ran::default(), Loader::new());
    loader.open_with("x".to_owned());
    let every = Duration::from_secs(200);
    let made = warmed(
        &world,
        &["acme"],
        CacheSettings::new(),
        WarmingSettings::new(),
        [recipe("settings", &ran, &loader).refresh_every(every)],
    );
    made.request("acme").await;
    until("warm", || ran.ids().len() == 1).await;
    world.clock.advance(every);
    a_while().await;
    assert_eq!(ran.ids().len(), 1);
    made.request("acme").await;
    until("refreshed", || ran.ids().len() == 2).await;
    a_while().await;
    assert_eq!(
        (ran.ids().len(), loader.calls()),
        (2, 1),
        "it lives until the next time"
    );
}

#[tokio::test(start_paused = true)]
async fn a_recipe_is_added_before_the_cache_is_used() {
    let (ran, loader) = (Ran::default(), Loader::new());
    loader.open_with("x".to_owned());
    let made = one([recipe("settings", &ran, &loader)]);
    let tenancy = &made.process.tenancy;
    tenancy.add_recipe(recipe("counts", &ran, &loader)).unwrap();
    let taken = tenancy.add_recipe(recipe("counts", &ran, &loader)).unwrap_err();
    assert!(taken.to_string().contains("two recipes"), "{taken}");
    assert_eq!(
        tenancy.recipes().iter().map(Recipe::name).collect::<Vec<_>>(),
        ["settings", "counts"]
    );
    let late = tenancy.add_recipe(recipe("late", &ran, &loader)).unwrap_err();
    assert!(late.to_string().contains("too late"), "{late}");
}

#[test]
fn recipes_that_can_not_be_told_apart_are_refused() {
    let recipe =
        |name: &'static str| Recipe::new(name, async |_: Tenant, _: TenantCache| Ok::<_, Infallible>(()));
    let store = MemoryStore::of(["acme"]).unwrap();
    let error = Tenancy::builder(Subdomain::of("example.com").unwrap(), store)
        .warm(recipe("a"))
        .warm(recipe("a"))
        .warm(recipe("My settings").deadline(Duration::ZERO))
        .warming(WarmingSettings::new().at_once(0).share_of_bytes(f64::NAN))
        .build()
        .unwrap_err();
    assert_eq!(error.mistakes().len(), 5, "{error}");
}
