use std::{fs, time::Duration};

use tenancy_core::{ChangeMark, TenantKey, TenantStore};
use tenancy_sqlx::{NewTenant, store::SqlStore};

use crate::support::{
    Backend, Follower, Place, followed, id, is_reload, keys, on_every_database, with_domains,
};

on_every_database!(
    what_one_store_changes_the_other_follows,
    a_renamed_or_moved_key_is_touched_on_both_sides,
    a_limit_cuts_between_tenants_and_loses_nothing,
    a_place_that_is_not_in_the_log_reloads,
    a_cut_log_reloads_those_who_stand_before_the_cut,
    a_damaged_log_reloads_instead_of_skipping,
    a_changed_tenant_that_cannot_be_read_is_reported_as_gone,
    numbers_commit_in_order_while_another_process_writes,
    a_lock_held_for_too_long_is_unavailable_and_changes_nothing,
    a_change_returns_when_the_readers_have_applied_it,
    a_reader_that_hangs_holds_a_change_up_for_a_while_only,
    a_closed_store_is_unavailable,
);

async fn what_one_store_changes_the_other_follows(place: Place) {
    let (a, b) = (place.open().await, place.open().await);
    let start = b.head().await.unwrap();
    let acme = a
        .create(with_domains("acme", &["a.example"]))
        .await
        .unwrap()
        .record
        .id;
    a.suspend(&acme).await.unwrap();
    b.create(NewTenant::new("globex")).await.unwrap();

    let (mark, changes, more) = followed(b.changes(start, 10).await.unwrap());
    assert_eq!(mark, a.head().await.unwrap());
    assert!(!more);
    assert_eq!(changes.len(), 2);
    assert_eq!(changes[0].id, acme);
    assert_eq!(keys(&changes[0]), ["slug:acme", "domain:a.example"]);
    let current = changes[0].current.as_ref().unwrap();
    assert_eq!(current.record.epoch, 3);
    assert_eq!(current.keys.len(), 2);

    a.force_purge(&acme).await.unwrap();
    let (last, changes, _) = followed(b.changes(mark, 10).await.unwrap());
    assert!(changes[0].current.is_none());
    assert_eq!(keys(&changes[0]), ["slug:acme", "domain:a.example"]);
    let (same, changes, more) = followed(b.changes(last, 10).await.unwrap());
    assert!(same == last && changes.is_empty() && !more);
}

async fn a_renamed_or_moved_key_is_touched_on_both_sides(place: Place) {
    let store = place.open().await;
    let acme = store
        .create(with_domains("acme", &["a.example"]))
        .await
        .unwrap()
        .record
        .id;
    let start = store.head().await.unwrap();
    let mut patch = tenancy_sqlx::TenantPatch::default();
    patch.slug = Some("new-acme".into());
    store.update(&acme, patch).await.unwrap();
    store.remove_domain(&acme, "a.example").await.unwrap();
    let (_, changes, _) = followed(store.changes(start, 10).await.unwrap());
    assert_eq!(
        keys(&changes[0]),
        ["slug:acme", "slug:new-acme", "domain:a.example"]
    );
    let current = changes[0].current.as_ref().unwrap();
    assert_eq!(current.keys, [TenantKey::slug("new-acme").unwrap()]);
}

/// Its planner is shy of what it knows nothing about.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_does_not_read_all_tenants_to_tell_of_one() {
    let place = Place::on(Backend::Postgres).await;
    place.open().await.close().await;
    place
        .run(
            "INSERT INTO tenants (id, slug, status, epoch, incarnation, created_at_ms, updated_at_ms)
                 SELECT 'f' || n, 'f' || n, 'active', n, n, 0, 0 FROM generate_series(1000, 6000) n;
             INSERT INTO domains (domain, tenant_id, created_at_ms)
                 SELECT 'f' || n || '.example', 'f' || n, 0 FROM generate_series(1000, 6000) n",
        )
        .await;
    let store = place.open().await;
    let start = store.head().await.unwrap();
    store
        .create(with_domains("acme", &["a.example", "b.example"]))
        .await
        .unwrap();
    let (_, changes, _) = followed(store.changes(start, 10).await.unwrap());
    assert!(changes[0].current.is_some());
    store.close().await;
    // What a connection has read is counted when it ends.
    let others = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    while place.ask(others).await > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let read = "SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname IN ('tenants', 'domains')";
    assert!(place.ask(read).await < 5000);
}

async fn a_limit_cuts_between_tenants_and_loses_nothing(place: Place) {
    let store = place.open().await;
    let mut followers = vec![];
    for _ in 0..3 {
        followers.push(Follower::start(&store).await);
    }
    for n in 0..10 {
        store.create(NewTenant::new(format!("t{n}"))).await.unwrap();
    }
    for _ in 0..10 {
        store.suspend(&id("t0")).await.unwrap();
        store.resume(&id("t0")).await.unwrap();
    }
    let (_, changes, more) = followed(store.changes(followers[0].mark, 3).await.unwrap());
    assert!(changes.len() == 3 && more);
    for (follower, limit) in followers.iter_mut().zip([1, 3, 100]) {
        follower.follow(&store, limit).await;
        assert_eq!(follower.mark, store.head().await.unwrap());
        assert_eq!(follower.entries.len(), 10);
        assert_eq!(follower.entries[&id("t0")].record.epoch, 31);
    }
}

async fn a_place_that_is_not_in_the_log_reloads(place: Place) {
    let store = place.open().await;
    store.create(NewTenant::new("acme")).await.unwrap();
    let head = store.head().await.unwrap();
    let other_stamp = ChangeMark {
        stamp: head.stamp ^ 1,
        ..head
    };
    let ahead = ChangeMark {
        number: head.number + 1,
        ..head
    };
    let far = ChangeMark {
        number: u64::MAX,
        stamp: u64::MAX,
    };
    for mark in [ChangeMark::NONE, other_stamp, ahead, far] {
        assert!(is_reload(&store.changes(mark, 10).await.unwrap()), "{mark:?}");
    }
}

async fn a_cut_log_reloads_those_who_stand_before_the_cut(place: Place) {
    let store = place.open().await;
    let start = store.head().await.unwrap();
    let acme = store.create(NewTenant::new("acme")).await.unwrap().record.id;
    store.suspend(&acme).await.unwrap();
    let middle = store.head().await.unwrap();
    store.resume(&acme).await.unwrap();
    assert_eq!(store.prune_changes(2).await.unwrap(), 2);
    assert_eq!(store.status().await.unwrap().oldest_change, 3);
    assert!(is_reload(&store.changes(start, 10).await.unwrap()));
    assert_eq!(followed(store.changes(middle, 10).await.unwrap()).1.len(), 1);
    assert_eq!(
        store.prune_changes(0).await.unwrap(),
        1,
        "the newest always stays"
    );
    let head = store.head().await.unwrap();
    assert!(followed(store.changes(head, 10).await.unwrap()).1.is_empty());
}

async fn a_damaged_log_reloads_instead_of_skipping(place: Place) {
    let store = place.open().await;
    for (round, damage) in [
        "DELETE FROM tenancy_changes",
        "UPDATE tenancy_changes SET \"keys\" = 'x'",
        "UPDATE tenancy_changes SET \"keys\" = '[\"slug:NO\"]'",
        "UPDATE tenancy_changes SET tenant_id = '../x'",
    ]
    .into_iter()
    .enumerate()
    {
        let start = store.head().await.unwrap();
        for slug in ["a", "b", "c"] {
            store
                .create(NewTenant::new(format!("{slug}{round}")))
                .await
                .unwrap();
        }
        place
            .run(&format!("{damage} WHERE number = {}", start.number + 2))
            .await;
        assert!(is_reload(&store.changes(start, 10).await.unwrap()), "{damage}");
    }
}

async fn a_changed_tenant_that_cannot_be_read_is_reported_as_gone(place: Place) {
    let store = place.open().await;
    let acme = store.create(NewTenant::new("acme")).await.unwrap().record.id;
    store.create(NewTenant::new("globex")).await.unwrap();
    let start = store.head().await.unwrap();
    store.suspend(&acme).await.unwrap();
    store.suspend(&id("globex")).await.unwrap();
    place
        .run("UPDATE tenants SET status = 'bogus' WHERE id = 'acme'")
        .await;
    let (_, changes, _) = followed(store.changes(start, 10).await.unwrap());
    assert!(changes[0].current.is_none());
    assert!(changes[1].current.is_some());
}

#[tokio::test]
async fn a_restored_backup_reloads_even_if_the_log_has_grown_to_the_same_number() {
    let place = Place::new();
    let backup = place.path().with_extension("backup");
    let store = place.open().await;
    store.create(NewTenant::new("acme")).await.unwrap();
    let before = store.head().await.unwrap();
    store.close().await;
    fs::copy(place.path(), &backup).unwrap();

    let store = place.open().await;
    store.create(NewTenant::new("globex")).await.unwrap();
    store.suspend(&id("acme")).await.unwrap();
    let old = store.head().await.unwrap();
    store.close().await;

    fs::copy(&backup, place.path()).unwrap();
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", place.path().display()));
    }
    let store = place.open().await;
    assert!(
        is_reload(&store.changes(old, 10).await.unwrap()),
        "the log is shorter"
    );
    store.create(NewTenant::new("globex")).await.unwrap();
    store.suspend(&id("acme")).await.unwrap();
    let new = store.head().await.unwrap();
    assert_eq!(new.number, old.number);
    assert!(
        is_reload(&store.changes(old, 10).await.unwrap()),
        "another history"
    );
    let (_, changes, _) = followed(store.changes(before, 10).await.unwrap());
    assert_eq!(changes.len(), 2, "what both histories share is followed");
}

async fn numbers_commit_in_order_while_another_process_writes(place: Place) {
    let (a, b) = (place.open().await, place.open().await);
    let start = a.head().await.unwrap();
    let mut other = place.other().await;
    other.begin().await;
    other
        .run(
            "UPDATE tenancy_change_head SET number = 2;
             INSERT INTO tenancy_changes (number, stamp, tenant_id, kind, \"keys\", at_ms)
                 VALUES (2, 42, 'ghost', 'purge', '[]', 0)",
        )
        .await;
    let waiting: Vec<_> = [("acme", a.clone()), ("globex", b.clone())]
        .map(|(slug, store)| tokio::spawn(async move { store.create(NewTenant::new(slug)).await }))
        .into();
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(waiting.iter().all(|task| !task.is_finished()));
    assert_eq!(
        a.head().await.unwrap(),
        start,
        "readers do not wait, and see nothing uncommitted"
    );
    assert!(followed(a.changes(start, 10).await.unwrap()).1.is_empty());

    other.run("COMMIT").await;
    let mut epochs = vec![];
    for task in waiting {
        epochs.push(task.await.unwrap().unwrap().record.epoch);
    }
    epochs.sort_unstable();
    assert_eq!(epochs, [3, 4]);
    let (mark, changes, _) = followed(b.changes(start, 10).await.unwrap());
    assert_eq!(mark.number, 4);
    assert_eq!(changes[0].id, "ghost");
    assert_eq!(changes.len(), 3);
}

async fn a_lock_held_for_too_long_is_unavailable_and_changes_nothing(place: Place) {
    let store = SqlStore::open(place.options().wait(Duration::from_secs(3)))
        .await
        .unwrap();
    let mut other = place.other().await;
    other.begin().await;
    other.run("UPDATE tenancy_change_head SET number = number").await;
    let error = store.create(NewTenant::new("acme")).await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    assert_eq!(store.count().await.unwrap(), 0, "reads go on");
    other.run("ROLLBACK").await;
    store.create(NewTenant::new("acme")).await.unwrap();
}

async fn a_change_returns_when_the_readers_have_applied_it(place: Place) {
    let store = place.open().await;
    let mut follower = Follower::start(&store).await;
    let mut subscription = store.signal().unwrap().subscribe();
    let (applied, mut seen) = tokio::sync::watch::channel(0);
    let reader = tokio::spawn({
        let store = store.clone();
        async move {
            loop {
                subscription.changed().await;
                follower.follow(&store, 10).await;
                applied.send_replace(follower.mark.number);
                subscription.applied(follower.mark.number);
            }
        }
    });
    for n in 0..20 {
        let created = store.create(NewTenant::new(format!("t{n}"))).await.unwrap();
        assert!(
            *seen.borrow_and_update() >= created.record.epoch,
            "the next request would not see it"
        );
    }
    reader.abort();
}

async fn a_reader_that_hangs_holds_a_change_up_for_a_while_only(place: Place) {
    let store = SqlStore::open(place.options().announce(Duration::from_millis(20)))
        .await
        .unwrap();
    let hanging = store.signal().unwrap().subscribe();
    store.create(NewTenant::new("acme")).await.unwrap();
    drop(hanging);
}

async fn a_closed_store_is_unavailable(place: Place) {
    let store = place.open().await;
    store.ping().await.unwrap();
    store.close().await;
    assert!(store.ping().await.unwrap_err().is_unavailable());
    assert!(
        store
            .create(NewTenant::new("acme"))
            .await
            .unwrap_err()
            .is_unavailable()
    );
    assert!(
        store
            .find(&TenantKey::slug("acme").unwrap())
            .await
            .unwrap_err()
            .is_unavailable()
    );
    assert!(
        store
            .changes(ChangeMark::NONE, 1)
            .await
            .unwrap_err()
            .is_unavailable()
    );
    let report = store
        .create_many([NewTenant::new("a"), NewTenant::new("b")])
        .await;
    assert_eq!((report.failed.len(), report.not_attempted.len()), (1, 1));
}
