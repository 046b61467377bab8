use std::time::Duration;

use tenancy_core::{
    Maintenance, ManualClock, Placement, TenantId, TenantKey, TenantRecord, TenantStatus, TenantStore,
};
use tenancy_sqlx::{NewTenant, RESERVED_NAMES, TenantPatch, store::SqlStore};

use crate::support::{Backend, Place, id, list, on_every_database, with_domains};

on_every_database!(
    a_placement_keeps_the_name_of_its_strategy,
    what_is_created_is_found_by_every_key_and_outlives_the_process,
    what_create_returns_is_what_is_read_later,
    an_inactive_domain_leads_nowhere_but_stays_taken,
    a_status_change_keeps_is_active_in_step_and_repeats_take_no_number,
    a_patch_changes_what_it_names_and_nothing_else,
    maintenance_is_set_kept_and_cleared,
    a_purged_slug_gets_a_new_id_and_incarnation,
    names_that_are_reserved_or_malformed_are_refused,
    domains_are_added_moved_and_removed,
    a_conflict_names_the_other_tenant_to_operators_only,
    of_many_that_want_one_name_one_wins,
    times_come_from_the_clock,
    the_log_says_who_did_what,
    the_status_counts,
    a_corrupt_row_breaks_itself_only,
);

async fn find(store: &SqlStore, key: TenantKey<'_>) -> Option<TenantRecord> {
    store.find(&key).await.unwrap()
}

async fn by_domain(store: &SqlStore, domain: &str) -> Option<TenantRecord> {
    find(store, TenantKey::domain(domain).unwrap()).await
}

async fn what_is_created_is_found_by_every_key_and_outlives_the_process(place: Place) {
    let store = place.open().await;
    let mut new = with_domains("acme", &["Shop.Acme.example", "acme.example"]);
    new.id = Some(id("t_1"));
    new.plan = Some("pro".into());
    new.tenant_type = Some("customer".into());
    new.settings = Some(r#"{"a": 1}"#.into());
    let mut placement = Placement::default();
    placement.server = "eu".into();
    new.placement = Some(placement.clone());
    let created = store.create(new).await.unwrap();
    store.close().await;

    let store = place.open().await;
    let expected = created.record;
    assert_eq!(expected.slug.as_deref(), Some("acme"));
    assert_eq!(expected.settings.as_deref(), Some(r#"{"a": 1}"#));
    assert_eq!(expected.placement.as_deref(), Some(&placement));
    assert_eq!((expected.epoch, expected.incarnation), (2, 2));
    let t_1 = id("t_1");
    for key in [
        TenantKey::id(&t_1),
        TenantKey::slug("acme").unwrap(),
        TenantKey::domain("acme.example").unwrap(),
        TenantKey::domain("shop.acme.example").unwrap(),
    ] {
        assert_eq!(find(&store, key.clone()).await.as_ref(), Some(&expected), "{key}");
    }
    for key in [
        TenantKey::domain("acme").unwrap(),
        TenantKey::slug("t-1").unwrap(),
        TenantKey::custom("api-key", "acme").unwrap(),
    ] {
        assert_eq!(find(&store, key.clone()).await, None, "{key}");
    }
    let details = store.get(&t_1).await.unwrap().unwrap();
    assert_eq!(details.domains[0].domain, "shop.acme.example");
    assert!(details.domains[0].is_primary && !details.domains[1].is_primary);
    assert_eq!(store.get_by_slug("acme").await.unwrap(), Some(details.clone()));
    assert_eq!(store.get_by_slug("No Slug").await.unwrap(), None);
    assert_eq!(store.get_by_domain("ACME.example.").await.unwrap(), Some(details));
}

/// It is not read again, so that nobody waits for that.
async fn what_create_returns_is_what_is_read_later(place: Place) {
    let store = place.open().await;
    let names: Vec<String> = (0..40).map(|n| format!("d{}.example", 97 - n)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut full = with_domains("full", &names);
    full.plan = Some("größer".into());
    full.tenant_type = Some(" customer ".into());
    full.settings = Some(r#"{"a": [1, null]}"#.into());
    full.status = TenantStatus::Suspended;
    let mut placement = Placement::default();
    placement.database = "Notes of \"acme\"".into();
    placement.isolation = "schema".into();
    full.placement = Some(placement);
    let mut named = NewTenant::new("named");
    named.id = Some(id("t_1"));
    named.placement = Some(Placement::default());
    for new in [full, named, NewTenant::new("plain")] {
        let created = store.create(new).await.unwrap();
        let read = store.get(&created.record.id).await.unwrap();
        assert_eq!(read.as_ref(), Some(&created));
    }
    assert_eq!(by_domain(&store, "d58.example").await.unwrap().id, "full");
    for taken in ["d97.example", "d58.example"] {
        let error = store
            .create(with_domains("other", &["free.example", taken]))
            .await
            .unwrap_err();
        assert!(error.operator_detail().unwrap().contains(taken), "{error:?}");
    }
}

async fn an_inactive_domain_leads_nowhere_but_stays_taken(place: Place) {
    let store = place.open().await;
    store.create(with_domains("acme", &["a.example"])).await.unwrap();
    place.run("UPDATE domains SET is_active = 0").await;
    assert_eq!(by_domain(&store, "a.example").await, None);
    let entries = list(&store, 10).await;
    assert_eq!(entries[&id("acme")].keys, [TenantKey::slug("acme").unwrap()]);
    let error = store
        .create(with_domains("globex", &["a.example"]))
        .await
        .unwrap_err();
    assert!(error.is_conflict());
}

async fn a_status_change_keeps_is_active_in_step_and_repeats_take_no_number(place: Place) {
    let store = place.open().await;
    let acme = store.create(NewTenant::new("acme")).await.unwrap().record.id;
    let is_active = async || place.ask("SELECT is_active FROM tenants").await == 1;
    assert!(is_active().await);

    let suspended = store.suspend(&acme).await.unwrap();
    assert_eq!(suspended.record.status, TenantStatus::Suspended);
    assert_eq!((suspended.record.epoch, suspended.record.incarnation), (3, 2));
    assert!(!is_active().await);
    assert_eq!(store.suspend(&acme).await.unwrap(), suspended);
    assert_eq!(store.head().await.unwrap().number, 3);

    assert_eq!(
        store.resume(&acme).await.unwrap().record.status,
        TenantStatus::Active
    );
    assert_eq!(
        store.delete(&acme).await.unwrap().record.status,
        TenantStatus::Deleted
    );
    assert!(store.resume(&acme).await.unwrap_err().is_conflict());
    assert!(store.suspend(&acme).await.unwrap_err().is_conflict());
    assert!(
        store
            .update(&acme, TenantPatch::default())
            .await
            .unwrap_err()
            .is_conflict()
    );
    assert!(
        store
            .add_domain(&acme, "a.example", false)
            .await
            .unwrap_err()
            .is_conflict()
    );
    assert_eq!(
        store.restore(&acme).await.unwrap().record.status,
        TenantStatus::Suspended
    );
    assert!(store.restore(&acme).await.unwrap_err().is_conflict());
    assert!(store.suspend(&id("nobody")).await.unwrap_err().is_not_found());
}

async fn a_patch_changes_what_it_names_and_nothing_else(place: Place) {
    let store = place.open().await;
    let mut new = NewTenant::new("acme");
    new.plan = Some("free".into());
    new.settings = Some("{}".into());
    let acme = store.create(new).await.unwrap().record.id;
    store.create(NewTenant::new("globex")).await.unwrap();

    let mut patch = TenantPatch::default();
    patch.slug = Some("acme-corp".into());
    patch.plan = Some(Some("pro".into()));
    patch.settings = Some(None);
    let record = store.update(&acme, patch).await.unwrap().record;
    assert_eq!(record.slug(), "acme-corp");
    assert_eq!(record.plan.as_deref(), Some("pro"));
    assert_eq!(record.settings, None);
    assert_eq!(find(&store, TenantKey::slug("acme").unwrap()).await, None);
    let logged = store.changes_since(3, 10).await.unwrap();
    assert_eq!(logged[0].keys, r#"["slug:acme","slug:acme-corp"]"#);

    let mut taken = TenantPatch::default();
    taken.slug = Some("globex".into());
    assert!(store.update(&acme, taken).await.unwrap_err().is_conflict());
    for bad in ["{", "", "{} x", "nan"] {
        let mut patch = TenantPatch::default();
        patch.settings = Some(Some(bad.into()));
        assert!(
            store.update(&acme, patch).await.unwrap_err().is_invalid(),
            "{bad:?}"
        );
    }
    let mut reserved = TenantPatch::default();
    reserved.slug = Some("www".into());
    assert!(store.update(&acme, reserved).await.unwrap_err().is_invalid());
    assert_eq!(store.head().await.unwrap().number, 4);
}

async fn maintenance_is_set_kept_and_cleared(place: Place) {
    let store = place.open().await;
    let acme = store.create(NewTenant::new("acme")).await.unwrap().record.id;
    let mut maintenance = Maintenance::default();
    maintenance.redirect = Some("/soon".into());
    store
        .set_maintenance(&acme, Some(maintenance.clone()))
        .await
        .unwrap();
    let found = find(&store, TenantKey::id(&acme)).await.unwrap();
    assert_eq!(found.maintenance.as_deref(), Some(&maintenance));
    store.set_maintenance(&acme, None).await.unwrap();
    assert_eq!(
        find(&store, TenantKey::id(&acme)).await.unwrap().maintenance,
        None
    );

    maintenance.redirect = Some("javascript:alert(1)".into());
    assert!(
        store
            .set_maintenance(&acme, Some(maintenance))
            .await
            .unwrap_err()
            .is_invalid()
    );
}

async fn a_purged_slug_gets_a_new_id_and_incarnation(place: Place) {
    let store = place.open().await;
    let first = store
        .create(with_domains("acme", &["a.example"]))
        .await
        .unwrap()
        .record;
    assert!(
        store.purge(&first.id).await.unwrap_err().is_conflict(),
        "not deleted yet"
    );
    store.delete(&first.id).await.unwrap();
    let taken = store
        .create(with_domains("globex", &["a.example"]))
        .await
        .unwrap_err();
    assert!(taken.is_conflict(), "a deleted tenant keeps its domains");
    assert!(
        store
            .create(NewTenant::new("acme"))
            .await
            .unwrap_err()
            .is_conflict()
    );
    store.purge(&first.id).await.unwrap();
    assert_eq!(find(&store, TenantKey::id(&first.id)).await, None);
    assert_eq!(by_domain(&store, "a.example").await, None);

    store.prune_changes(1).await.unwrap();
    let second = store
        .create(with_domains("acme", &["a.example"]))
        .await
        .unwrap()
        .record;
    assert_eq!(second.id, "acme-2");
    assert_eq!(second.slug(), "acme");
    assert!(second.incarnation > first.incarnation);

    let mut explicit = NewTenant::new("other");
    explicit.id = Some(first.id.clone());
    assert!(
        store.create(explicit).await.unwrap_err().is_conflict(),
        "an id is never given twice"
    );
    store.force_purge(&second.id).await.unwrap();
    assert_eq!(
        store.create(NewTenant::new("acme")).await.unwrap().record.id,
        "acme-3"
    );
}

async fn names_that_are_reserved_or_malformed_are_refused(place: Place) {
    let store = SqlStore::open(place.options().reserve(["billing"]))
        .await
        .unwrap();
    let long = "a".repeat(49);
    for slug in RESERVED_NAMES.iter().copied().chain([
        "billing",
        "",
        "Acme",
        "a'; DROP TABLE tenants; --",
        "a.b",
        "a_b",
        "-a",
        "../a",
        "a\0b",
        "ä",
        &long,
    ]) {
        let error = store.create(NewTenant::new(slug)).await.unwrap_err();
        assert!(error.is_invalid(), "{slug:?}");
    }
    for reserved in ["central", "billing"] {
        let mut new = NewTenant::new("fine");
        new.id = Some(id(reserved));
        assert!(store.create(new).await.unwrap_err().is_invalid());
    }
    for plan in ["", "a\nb", &"p".repeat(65)] {
        let mut new = NewTenant::new("fine");
        new.plan = Some(plan.into());
        assert!(store.create(new).await.unwrap_err().is_invalid(), "{plan:?}");
    }
    let mut deleted = NewTenant::new("fine");
    deleted.status = TenantStatus::Deleted;
    assert!(store.create(deleted).await.unwrap_err().is_invalid());
    let mut big = NewTenant::new("fine");
    big.settings = Some(format!("\"{}\"", "x".repeat(70_000)));
    assert!(store.create(big).await.unwrap_err().is_invalid());
    assert_eq!(store.count().await.unwrap(), 0);
    assert_eq!(store.head().await.unwrap().number, 1);
}

async fn domains_are_added_moved_and_removed(place: Place) {
    let store = place.open().await;
    let acme = store.create(NewTenant::new("acme")).await.unwrap().record.id;
    let globex = store.create(NewTenant::new("globex")).await.unwrap().record.id;

    let details = store.add_domain(&acme, "Bücher.example", false).await.unwrap();
    assert_eq!(details.domains[0].domain, "xn--bcher-kva.example");
    assert!(details.domains[0].is_primary, "the first one");
    assert_eq!(by_domain(&store, "xn--bcher-kva.example").await.unwrap().id, acme);
    assert_eq!(
        store
            .get_by_domain("bücher.EXAMPLE")
            .await
            .unwrap()
            .unwrap()
            .record
            .id,
        acme
    );

    let details = store.add_domain(&acme, "b.example", true).await.unwrap();
    let primary: Vec<_> = details
        .domains
        .iter()
        .map(|d| (d.domain.as_str(), d.is_primary))
        .collect();
    assert_eq!(primary, [("b.example", true), ("xn--bcher-kva.example", false)]);
    let head = store.head().await.unwrap();
    store.add_domain(&acme, "b.example", false).await.unwrap();
    store.add_domain(&acme, "b.example", true).await.unwrap();
    assert_eq!(store.head().await.unwrap(), head, "already so");

    assert!(
        store
            .add_domain(&globex, "b.example", true)
            .await
            .unwrap_err()
            .is_conflict()
    );
    assert!(
        store
            .remove_domain(&globex, "b.example")
            .await
            .unwrap_err()
            .is_not_found()
    );
    store.delete(&acme).await.unwrap();
    assert!(
        store
            .add_domain(&globex, "b.example", true)
            .await
            .unwrap_err()
            .is_conflict()
    );
    let left = store.remove_domain(&acme, "b.example").await.unwrap();
    assert!(!left.domains[0].is_primary);
    assert_eq!(by_domain(&store, "b.example").await, None);
    store.add_domain(&globex, "b.example", true).await.unwrap();
    assert_eq!(by_domain(&store, "b.example").await.unwrap().id, globex);

    for bad in ["127.0.0.1", "a.example:80", "[::1]", "*.example", "x' OR '1'='1"] {
        assert!(
            store
                .add_domain(&globex, bad, false)
                .await
                .unwrap_err()
                .is_invalid(),
            "{bad}"
        );
    }
    let twice = store
        .create(with_domains("third", &["c.example", "C.example."]))
        .await;
    assert!(twice.unwrap_err().is_invalid());
}

async fn a_conflict_names_the_other_tenant_to_operators_only(place: Place) {
    let store = place.open().await;
    store
        .create(with_domains("globex", &["g.example"]))
        .await
        .unwrap();
    for new in [with_domains("acme", &["g.example"]), NewTenant::new("globex")] {
        let error = store.create(new).await.unwrap_err();
        assert!(error.is_conflict());
        assert!(!error.to_string().contains("g.example") && !error.to_string().contains("globex"));
        assert!(error.operator_detail().unwrap().contains("globex"));
    }
}

async fn of_many_that_want_one_name_one_wins(place: Place) {
    let stores = [place.open().await, place.open().await];
    for by_slug in [true, false] {
        let tasks: Vec<_> = (0..16)
            .map(|n| {
                let store = stores[n % 2].clone();
                let new = if by_slug {
                    NewTenant::new("wanted")
                } else {
                    with_domains(&format!("t{n}"), &["wanted.example"])
                };
                tokio::spawn(async move { store.create(new).await })
            })
            .collect();
        let mut winners = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => winners += 1,
                Err(error) => assert!(error.is_conflict(), "{error:?}"),
            }
        }
        assert_eq!(winners, 1);
    }
    assert_eq!(stores[0].count().await.unwrap(), 2);
}

async fn times_come_from_the_clock(place: Place) {
    let clock = std::sync::Arc::new(ManualClock::new());
    let store = SqlStore::open(place.options().clock(clock.clone()))
        .await
        .unwrap();
    let acme = store.create(NewTenant::new("acme")).await.unwrap().record.id;
    clock.advance(Duration::from_secs(5));
    let details = store.suspend(&acme).await.unwrap();
    assert_eq!(details.record.created_at_ms, 1_000_000_000_000);
    assert_eq!(details.updated_at_ms, 1_000_000_005_000);
}

async fn the_log_says_who_did_what(place: Place) {
    let store = place.open().await;
    let acme = store
        .create(with_domains("acme", &["a.example"]))
        .await
        .unwrap()
        .record
        .id;
    store.acting_as("ops@example.com").suspend(&acme).await.unwrap();
    let log = store.changes_since(0, 10).await.unwrap();
    let kinds: Vec<_> = log
        .iter()
        .map(|change| (change.number, change.kind.as_str()))
        .collect();
    assert_eq!(kinds, [(1, "init"), (2, "create"), (3, "suspend")]);
    assert_eq!(log[1].actor, None);
    assert_eq!(log[2].actor.as_deref(), Some("ops@example.com"));
    assert_eq!(log[2].keys, r#"["slug:acme","domain:a.example"]"#);
    assert_eq!(store.changes_since(2, 1).await.unwrap(), log[2..]);
}

async fn the_status_counts(place: Place) {
    let store = place.open().await;
    for slug in ["a", "b", "c"] {
        store
            .create(with_domains(slug, &[&format!("{slug}.example")]))
            .await
            .unwrap();
    }
    let mut pending = NewTenant::new("d");
    pending.status = TenantStatus::Pending;
    store.create(pending).await.unwrap();
    store.suspend(&id("a")).await.unwrap();
    store.delete(&id("b")).await.unwrap();
    let status = store.status().await.unwrap();
    assert_eq!(
        (
            status.pending,
            status.active,
            status.suspended,
            status.deleted,
            status.domains
        ),
        (1, 1, 1, 1, 3)
    );
    assert_eq!((status.schema_version, status.oldest_reader), (3, 1));
    assert_eq!((status.change_number, status.oldest_change), (7, 1));
    assert!(status.file_bytes > 0);
}

async fn a_corrupt_row_breaks_itself_only(place: Place) {
    let store = place.open().await;
    for slug in ["a", "b", "c"] {
        store.create(NewTenant::new(slug)).await.unwrap();
    }
    for damage in [
        "UPDATE tenants SET status = 'bogus' WHERE id = 'b'",
        "UPDATE tenants SET status = 'active', maintenance = '{' WHERE id = 'b'",
        "UPDATE tenants SET maintenance = NULL, epoch = -1 WHERE id = 'b'",
        "UPDATE tenants SET epoch = 3, plan = x'ff00' WHERE id = 'b'",
        "UPDATE tenants SET plan = NULL, slug = 'B!' WHERE id = 'b'",
    ] {
        if damage.contains("x'ff00'") && place.backend() != Backend::Sqlite {
            // Servers keep columns to their type.
            continue;
        }
        place.run(damage).await;
        let error = store.find(&TenantKey::id(&id("b"))).await.unwrap_err();
        assert!(error.is_corrupt(), "{damage}: {error:?}");
        assert!(
            store
                .get(&id("b"))
                .await
                .unwrap_err()
                .operator_detail()
                .unwrap()
                .contains("\"b\"")
        );
        for page_size in [1, 2, 10] {
            let ids: Vec<TenantId> = list(&store, page_size).await.into_keys().collect();
            assert_eq!(ids, [id("a"), id("c")], "{damage}");
        }
        let page = store
            .page(&tenancy_sqlx::store::ListFilter::default())
            .await
            .unwrap();
        assert_eq!(page.tenants.len(), 2, "{damage}");
    }
}

async fn a_placement_keeps_the_name_of_its_strategy(place: Place) {
    let store = place.open().await;
    let mut placement = Placement::default();
    placement.isolation = "schema".into();
    let mut acme = NewTenant::new("acme");
    acme.placement = Some(placement.clone());
    let created = store.create(acme).await.unwrap();
    assert_eq!(created.record.placement.as_deref(), Some(&placement));

    placement.server = "eu".into();
    placement.isolation = Box::default();
    let mut patch = TenantPatch::default();
    patch.placement = Some(Some(placement.clone()));
    store.update(&id("acme"), patch).await.unwrap();
    let found = store.get(&id("acme")).await.unwrap().unwrap().record;
    assert_eq!(found.placement.as_deref(), Some(&placement));

    let mut patch = TenantPatch::default();
    placement.isolation = "no strategy; DROP".into();
    patch.placement = Some(Some(placement));
    assert!(store.update(&id("acme"), patch).await.unwrap_err().is_invalid());
}
