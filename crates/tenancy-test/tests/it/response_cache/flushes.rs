use std::{io, sync::Mutex};

use tenancy_test::cache::MessageFaults;

use super::*;

const BOUND: Duration = Duration::from_secs(2);

/// What pages are made of.
type Notes = Arc<Mutex<&'static str>>;

fn notes(tenancy: &Tenancy, notes: &Notes) -> TenancyApp {
    let notes = Arc::clone(notes);
    app(tenancy, hour().tag("layer"), async move || {
        let text = *notes.lock().unwrap();
        (CacheTags::new(["notes"]), text)
    })
}

#[tokio::test]
async fn a_flush_of_a_tag_flushes_the_pages_that_depend_on_it_in_every_process() {
    let world = World::new();
    let (one, two) = (world.process(), world.process());
    let content = Notes::new(Mutex::new("old"));
    let apps = [notes(&one.tenancy, &content), notes(&two.tenancy, &content)];
    assert_eq!(ask(&apps[0], to("acme")).await.told(), "fwd=miss; stored");
    settle().await;
    // In the shared level.
    assert_eq!(ask(&apps[1], to("acme")).await.told(), "hit");
    *content.lock().unwrap() = "new";
    assert_eq!(ask(&apps[0], to("acme")).await.text(), "old");
    let cache = one.cache_of("acme").await;
    let _ = one.cache_of("globex").await.flush().await;
    let _ = cache.flush_tags(["other"]).await;
    assert_eq!(ask(&apps[0], to("acme")).await.text(), "old");
    let receipt = cache.flush_tags(["notes"]).await;
    assert_eq!(ask(&apps[0], to("acme")).await.text(), "new");
    world.clock.advance(receipt.everywhere_within().unwrap());
    assert_eq!(ask(&apps[1], to("acme")).await.text(), "new");
    *content.lock().unwrap() = "newest";
    let _ = cache.flush_tags(["layer"]).await;
    assert_eq!(ask(&apps[0], to("acme")).await.text(), "newest");
}

#[tokio::test]
async fn a_flush_during_the_making_of_a_page_wins_wherever_it_comes_from() {
    for is_elsewhere in [false, true] {
        let world = World::new();
        let (one, two) = (world.process(), world.process());
        let loader = BarrierLoader::<String>::new();
        let handler = {
            let loader = loader.clone();
            async move || (CacheTags::new(["notes"]), loader.load().await.unwrap())
        };
        let app = app(&one.tenancy, hour(), handler);
        let node = one.node.as_ref().unwrap();
        node.harm_messages(MessageFaults::seeded(1).lost(100));
        let asking = || {
            let app = app.clone();
            tokio::spawn(async move { ask(&app, to("acme")).await })
        };
        let first = asking();
        let old = loader.entered().await;
        let flusher = if is_elsewhere { &two } else { &one };
        let receipt = flusher.cache_of("acme").await.flush_tags(["notes"]).await;
        settle().await;
        if !is_elsewhere {
            // Who comes after the flush does not wait for what was begun before it.
            let second = asking();
            settle().await;
            assert_eq!(loader.calls(), 2);
            loader.entered().await.answer("new".to_owned());
            assert_eq!(second.await.unwrap().text(), "new");
        }
        old.answer("old".to_owned());
        let first = first.await.unwrap();
        // Nobody knows yet of a flush elsewhere, and the page is kept until somebody does.
        let told = if is_elsewhere {
            "fwd=miss; stored"
        } else {
            "fwd=miss"
        };
        assert_eq!((first.text(), first.told()), ("old", told));
        settle().await;
        world
            .clock
            .advance(receipt.everywhere_within().unwrap().min(BOUND));
        loader.open_with("new".to_owned());
        assert_eq!(
            ask(&app, to("acme")).await.text(),
            "new",
            "elsewhere: {is_elsewhere}"
        );
    }
}

#[tokio::test]
async fn after_a_soft_flush_the_old_page_is_served_while_one_is_made() {
    let process = Process::alone();
    let content = Notes::new(Mutex::new("old"));
    let app = notes(&process.tenancy, &content);
    ask(&app, to("acme")).await;
    *content.lock().unwrap() = "new";
    let _ = process.cache_of("acme").await.flush_tags(["notes"]).soft().await;
    let stale = ask(&app, to("acme")).await;
    assert_eq!((stale.text(), stale.told()), ("old", "hit; detail=stale"));
    assert_eq!(stale.header("age"), "0");
    settle().await;
    let new = ask(&app, to("acme")).await;
    assert_eq!((new.text(), new.told()), ("new", "hit"));
}

#[tokio::test]
async fn a_page_that_is_made_of_a_stale_value_is_not_kept() {
    use crate::tenant_cache::{TEXT, remember_with};
    let process = Process::alone();
    let options = || crate::tenant_cache::hour().tag("notes");
    let handler = async move |cache: tenancy::cache::TenantCache| {
        let text = remember_with(&cache, "value", "new", &options()).await;
        (CacheTags::new(["notes"]), text)
    };
    let cache = process.cache_of("acme").await;
    remember_with(&cache, "value", "old", &options()).await;
    let app = app(&process.tenancy, hour(), handler);
    let _ = cache.flush_tags(["notes"]).soft().await;
    let stale = ask(&app, to("acme")).await;
    assert_eq!((stale.text(), stale.told()), ("old", "fwd=miss"));
    settle().await;
    assert_eq!(cache.get(&TEXT.key(("value",))).await.unwrap().as_str(), "new");
    let new = ask(&app, to("acme")).await;
    assert_eq!((new.text(), new.told()), ("new", "fwd=miss; stored"));
}

#[tokio::test]
async fn nor_is_one_whose_parts_are_made_at_the_same_time_in_tasks_of_their_own() {
    use crate::tenant_cache::{remember, remember_with};
    use tenancy::scope;
    let process = Process::alone();
    let options = || crate::tenant_cache::hour().tag("notes");
    let handler = async move |cache: tenancy::cache::TenantCache| {
        let other = cache.clone();
        let first = scope::spawn(async move { remember_with(&cache, "first", "new", &options()).await });
        let second = scope::spawn(async move { remember(&other, "second", "same").await });
        let (first, second) = tokio::join!(first, second);
        format!("{} {}", first.unwrap(), second.unwrap())
    };
    let cache = process.cache_of("acme").await;
    remember_with(&cache, "first", "old", &options()).await;
    let app = app(&process.tenancy, hour(), handler);
    let _ = cache.flush_tags(["notes"]).soft().await;
    let stale = ask(&app, to("acme")).await;
    assert_eq!((stale.text(), stale.told()), ("old same", "fwd=miss"));
    settle().await;
    let new = ask(&app, to("acme")).await;
    assert_eq!((new.text(), new.told()), ("new same", "fwd=miss; stored"));
}

#[tokio::test]
async fn nor_is_one_that_is_made_of_a_value_that_is_made_of_a_stale_value() {
    use crate::tenant_cache::{TEXT, remember, remember_with};
    let process = Process::alone();
    let options = || crate::tenant_cache::hour().tag("notes");
    let handler = async move |cache: tenancy::cache::TenantCache| {
        let inner = cache.clone();
        let load = async move || Ok::<_, io::Error>(remember_with(&inner, "inner", "new", &options()).await);
        let key = TEXT.key(("outer",));
        let outer = cache.remember(&key, &crate::tenant_cache::hour(), load).await;
        outer.unwrap().to_string()
    };
    let cache = process.cache_of("acme").await;
    remember_with(&cache, "inner", "old", &options()).await;
    let app = app(&process.tenancy, hour(), handler);
    let _ = cache.flush_tags(["notes"]).soft().await;
    let stale = ask(&app, to("acme")).await;
    assert_eq!((stale.text(), stale.told()), ("old", "fwd=miss"));
    settle().await;
    let new = ask(&app, to("acme")).await;
    assert_eq!((new.text(), new.told()), ("new", "fwd=miss; stored"));
    assert_eq!(remember(&cache, "outer", "another").await, "new");
}

#[tokio::test]
async fn pages_with_more_tags_than_an_entry_may_have_are_served_and_not_kept() {
    let process = Process::alone();
    let handler = async || {
        let tags = CacheTags::new((0..200).map(|tag| format!("tag:{tag}")));
        (tags, "page")
    };
    let app = app(&process.tenancy, hour(), handler);
    for _ in 0..2 {
        let answer = ask(&app, to("acme")).await;
        assert_eq!((answer.text(), answer.told()), ("page", "fwd=miss"));
    }
    assert_eq!(statistics(&process).await.hits, 0);
}
