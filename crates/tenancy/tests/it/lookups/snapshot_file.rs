//! A process that starts while the store is away knows its tenants from a file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use tenancy::{
    MemoryStore,
    core::{TenantKey, TenantStatus},
    resolve::{ResolveSettings, named},
    stack::CatalogueState,
};

use super::{
    Hand, MILLISECOND, Service, id, seconds, settle,
    stores::{Silent, entry, resume, suspend, two_tenants},
};
use crate::support::faulty::FaultyStore;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("tenants.snapshot")
    }

    fn settings(&self) -> ResolveSettings {
        let mut settings = ResolveSettings::default();
        settings.snapshot_file = Some(self.path());
        settings
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(MILLISECOND).await;
    }
    panic!("never: {what}");
}

/// Lets one process read the list and leave its file behind.
async fn leave_file(place: &Place, tenants: &MemoryStore, clock: &Hand) {
    let service = Service::new(tenants.clone(), place.settings(), clock);
    service.tenancy.ready().await;
    until("the file is there", || place.path().exists()).await;
}

/// Starts another process, with the store away.
async fn start_without_store(
    place: &Place,
    tenants: &Silent,
    clock: &Hand,
) -> (FaultyStore<Silent>, Service) {
    let store = FaultyStore::new(tenants.clone());
    store.fail(true);
    let service = Service::new(store.clone(), place.settings(), clock);
    until("it has tried to read the file", || store.calls() > 0).await;
    tokio::time::sleep(seconds(1)).await;
    (store, service)
}

#[tokio::test(start_paused = true)]
async fn known_tenants_are_served_as_stale_and_unknown_ones_are_could_not_tell() {
    let (place, clock) = (Place::new(), Hand::default());
    let tenants = two_tenants();
    suspend(&tenants, "globex").await;
    leave_file(&place, &tenants, &clock).await;
    clock.advance(seconds(3600));
    let (_, service) = start_without_store(&place, &Silent::new(tenants), &clock).await;
    let status = service.tenancy.status();
    assert_eq!((status.catalogue, status.tenants), (CatalogueState::Stale, 2));
    assert_eq!(service.line("acme.example.com").await, "200 acme stale");
    assert_eq!(service.line("acme-shop.example.com").await, "200 acme stale");
    assert_eq!(service.line("globex.example.com").await, "403");
    assert_eq!(service.line("nobody.example.com").await, "503 retry 1");
    clock.advance(seconds(3600) + MILLISECOND);
    assert_eq!(service.line("acme.example.com").await, "503 retry 1", "too stale");
}

#[tokio::test(start_paused = true)]
async fn when_the_store_is_back_the_changes_since_the_file_are_enough() {
    let (place, clock) = (Place::new(), Hand::default());
    let tenants = two_tenants();
    leave_file(&place, &tenants, &clock).await;
    suspend(&tenants, "acme").await;
    tenants.insert(entry("new", &[])).await.unwrap();
    let (store, service) = start_without_store(&place, &Silent::new(tenants), &clock).await;
    let held = service.ask("acme.example.com").await.tenant();
    store.fail(false);
    service.tenancy.ready().await;
    assert_eq!(
        service.line("acme.example.com").await,
        "403",
        "suspended meanwhile"
    );
    assert_eq!(held.status(), TenantStatus::Suspended);
    assert_eq!(service.line("new.example.com").await, "200 new snapshot");
    assert_eq!(service.line("nobody.example.com").await, "404");
    assert_eq!(store.lists(), 0);
}

#[tokio::test(start_paused = true)]
async fn when_another_catalogue_is_back_it_is_read_whole() {
    let (place, clock) = (Place::new(), Hand::default());
    leave_file(&place, &two_tenants(), &clock).await;
    let other = MemoryStore::of(["acme"]).unwrap();
    suspend(&other, "acme").await;
    let (store, service) = start_without_store(&place, &Silent::new(other), &clock).await;
    assert_eq!(service.line("globex.example.com").await, "200 globex stale");
    store.fail(false);
    service.tenancy.ready().await;
    assert_eq!(store.lists(), 1);
    assert_eq!(service.line("globex.example.com").await, "404");
    assert_eq!(service.line("acme.example.com").await, "403");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_damaged_or_old_is_not_used() {
    let (place, clock) = (Place::new(), Hand::default());
    let tenants = Silent::new(two_tenants());
    leave_file(&place, &two_tenants(), &clock).await;
    let whole = fs::read(place.path()).unwrap();
    // Well formed still, and another tenant.
    let forged = String::from_utf8(whole.clone())
        .unwrap()
        .replace("globex", "gl0bex");
    for damaged in [
        forged.as_bytes(),
        &whole[..whole.len() / 2],
        b"",
        b"\n\n",
        b"{}\n",
    ] {
        fs::write(place.path(), damaged).unwrap();
        assert_unused(&place, &tenants, &clock).await;
    }
    fs::remove_file(place.path()).unwrap();
    assert_unused(&place, &tenants, &clock).await;

    fs::write(place.path(), &whole).unwrap();
    let (_, service) = start_without_store(&place, &tenants, &clock).await;
    assert_eq!(
        service.line("acme.example.com").await,
        "200 acme stale",
        "whole again"
    );
    clock.advance(seconds(24 * 3600 + 1));
    assert_unused(&place, &tenants, &clock).await;
}

async fn assert_unused(place: &Place, tenants: &Silent, clock: &Hand) {
    let (store, service) = start_without_store(place, tenants, clock).await;
    assert_eq!(service.tenancy.status().catalogue, CatalogueState::Loading);
    assert_eq!(service.line("acme.example.com").await, "503 retry 1");
    store.fail(false);
    assert_eq!(service.line("acme.example.com").await, "200 acme store");
}

#[tokio::test(start_paused = true)]
async fn keys_that_the_file_can_not_hold_are_found_again_when_the_store_is_back() {
    let (place, clock) = (Place::new(), Hand::default());
    let key = TenantKey::custom("api-key", "k-1").unwrap();
    let tenants = MemoryStore::from_entries([entry("acme", &[key])]).unwrap();
    leave_file(&place, &tenants, &clock).await;
    let store = FaultyStore::new(Silent::new(tenants));
    store.fail(true);
    let by_key = named("api key", |head: &tenancy::core::RequestHead<'_>| {
        let key = head.headers().get("x-api-key")?.to_str().ok()?;
        TenantKey::custom("api-key", key.to_owned()).ok()
    });
    let service = Service::with(by_key, store.clone(), place.settings(), &clock);
    until("it has read the file", || {
        service.tenancy.status().catalogue == CatalogueState::Stale
    })
    .await;
    let line = async || {
        let request = http::Request::get("/")
            .header("host", "example.com")
            .header("x-api-key", "k-1")
            .body(axum::body::Body::empty());
        service.send(request.unwrap()).await.to_string()
    };
    assert_eq!(line().await, "503 retry 1", "could not tell");
    store.fail(false);
    service.tenancy.ready().await;
    assert_eq!(line().await, "200 acme snapshot");
}

#[tokio::test(start_paused = true)]
async fn the_file_follows_the_changes() {
    let (place, clock) = (Place::new(), Hand::default());
    let tenants = two_tenants();
    let service = Service::new(tenants.clone(), place.settings(), &clock);
    service.tenancy.ready().await;
    until("the file is there", || place.path().exists()).await;
    let first = fs::read(place.path()).unwrap();
    suspend(&tenants, "acme").await;
    tokio::time::sleep(seconds(5)).await;
    assert_eq!(
        fs::read(place.path()).unwrap(),
        first,
        "not more often than each 30 s"
    );
    clock.advance(seconds(31));
    until("it is written again", || fs::read(place.path()).unwrap() != first).await;
    let (_, other) = start_without_store(&place, &Silent::new(tenants.clone()), &clock).await;
    assert_eq!(other.line("acme.example.com").await, "403");

    // A file that can not be written costs a line in the log.
    fs::remove_file(place.path()).unwrap();
    fs::create_dir(place.path()).unwrap();
    tenants.remove(&id("acme")).await.unwrap();
    clock.advance(seconds(31));
    tokio::time::sleep(seconds(1)).await;
    settle().await;
    assert_eq!(service.tenancy.status().catalogue, CatalogueState::Followed);
    assert!(Path::new(&place.path()).is_dir());
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn following_does_not_wait_for_the_file() {
    let (place, clock) = (Place::new(), Hand::default());
    let tenants = two_tenants();
    let service = Service::new(tenants.clone(), place.settings(), &clock);
    service.tenancy.ready().await;
    until("the file is there", || place.path().exists()).await;
    // Whoever opens a pipe to write waits until somebody reads.
    let pipe = place.path().with_extension("new");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    suspend(&tenants, "globex").await;
    clock.advance(seconds(31));
    resume(&tenants, "globex").await;
    for _ in 0..10 {
        suspend(&tenants, "acme").await;
        assert_eq!(service.line("acme.example.com").await, "403");
        resume(&tenants, "acme").await;
        assert_eq!(service.line("acme.example.com").await, "200 acme snapshot");
    }
    let written = tokio::task::spawn_blocking(move || fs::read(pipe)).await;
    assert!(written.unwrap().unwrap().starts_with(b"{"), "it was waiting");
}

#[tokio::test(start_paused = true)]
async fn a_file_does_not_take_back_what_this_process_has_seen() {
    let (place, clock) = (Place::new(), Hand::default());
    let tenants = two_tenants();
    leave_file(&place, &tenants, &clock).await;
    let file = fs::read(place.path()).unwrap();
    let store = FaultyStore::new(Silent::new(tenants.clone()));
    let dying = std::thread::spawn({
        let (store, settings, clock) = (store.clone(), place.settings(), clock.clone());
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            runtime.block_on(async {
                suspend(&tenants, "acme").await;
                let service = Service::new(store, settings, &clock);
                service.tenancy.ready().await;
                service
            })
        }
    });
    let service = dying.join().unwrap();
    fs::write(place.path(), file).unwrap();
    store.fail(true);
    assert_eq!(service.line("acme.example.com").await, "503 retry 1");
    until("another task follows", || {
        service.tenancy.status().catalogue == CatalogueState::Stale
    })
    .await;
    assert_eq!(
        service.line("acme.example.com").await,
        "403",
        "not what the older file says"
    );
    assert_eq!(service.line("globex.example.com").await, "200 globex stale");
}
