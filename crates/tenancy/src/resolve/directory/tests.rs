//! One live block for each tenant, whatever leads to it.

use tenancy_core::TenantStatus;

use super::*;
use crate::tenant::tests::home;

fn record(id: &str, epoch: u64) -> TenantRecord {
    let mut record = TenantRecord::new(TenantId::new(id).unwrap());
    record.epoch = epoch;
    record
}

fn load(directory: &Directory, entries: Vec<TenantEntry>) {
    let mut rebuild = directory.rebuild();
    for entry in entries {
        rebuild.add(vec![entry]);
    }
    rebuild.finish();
}

fn slug(value: &str) -> TenantKey<'static> {
    TenantKey::slug(value.to_owned()).unwrap()
}

fn entry(id: &str, epoch: u64, keys: &[&str]) -> TenantEntry {
    TenantEntry {
        record: record(id, epoch),
        keys: keys.iter().map(|key| slug(key)).collect(),
    }
}

#[test]
fn the_snapshot_is_written_with_the_primary_domain_first() {
    let directory = Directory::new(home());
    let domains = ["b.test", "a.test", "c.test"];
    let mut listed = entry("acme", 1, &["acme"]);
    listed
        .keys
        .extend(domains.map(|domain| TenantKey::domain(domain).unwrap()));
    load(&directory, vec![listed]);
    for _ in 0..2 {
        let written = directory.entries();
        let primary = written[0].keys.iter().find(|key| key.kind() == KeyKind::Domain);
        assert_eq!(primary.map(TenantKey::value), Some("b.test"));
        let tenant = directory.find(KeyKind::Slug, "acme").unwrap();
        assert_eq!(directory.primary_domain(&tenant).as_deref(), Some("b.test"));
        load(&directory, written);
    }
}

fn changed(current: TenantEntry, touched: &[&str]) -> TenantChange {
    TenantChange {
        id: current.record.id.clone(),
        keys_touched: touched.iter().map(|key| slug(key)).collect(),
        current: Some(current),
    }
}

#[test]
fn keys_of_one_tenant_share_one_block_through_every_change() {
    let directory = Directory::new(home());
    load(&directory, vec![entry("acme", 1, &["acme", "acme-shop"])]);
    let first = directory.find(KeyKind::Slug, "acme").unwrap();
    assert_eq!(Some(first.clone()), directory.find(KeyKind::Slug, "acme-shop"));
    assert_eq!(Some(first.clone()), directory.find(KeyKind::Id, "acme"));

    let mut suspended = entry("acme", 2, &["acme"]);
    suspended.record.status = TenantStatus::Suspended;
    directory.apply(vec![changed(suspended, &["acme", "acme-shop"])]);
    assert_eq!(
        first.status(),
        TenantStatus::Suspended,
        "the handle that is out sees the change"
    );
    assert_eq!(directory.find(KeyKind::Slug, "acme-shop"), None);
    load(&directory, vec![entry("acme", 3, &["acme"])]);
    assert_eq!(Some(first), directory.find(KeyKind::Slug, "acme"));
}

#[test]
fn a_record_read_before_an_invalidation_is_not_adopted_after_it() {
    let directory = Directory::new(home());
    let read_at = directory.generation();
    directory.forget(&TenantId::new("acme").unwrap());
    assert!(
        directory
            .adopt(record("acme", 1), read_at, |_| panic!("remembered"))
            .is_none()
    );
    directory.remember_absence(read_at, || panic!("remembered"));
}

#[test]
fn a_stray_block_is_found_again_while_it_is_held_and_enters_the_snapshot() {
    let directory = Directory::new(home());
    let held = directory
        .adopt(record("acme", 1), directory.generation(), |_| ())
        .unwrap();
    let again = directory
        .adopt(record("acme", 1), directory.generation(), |_| ())
        .unwrap();
    assert_eq!(held, again);
    load(&directory, vec![entry("acme", 2, &["acme"])]);
    assert_eq!(directory.find(KeyKind::Slug, "acme"), Some(held));
}

#[test]
fn purge_retires_the_block_and_frees_the_name() {
    let directory = Directory::new(home());
    load(&directory, vec![entry("acme", 1, &["acme"])]);
    let old = directory.find(KeyKind::Slug, "acme").unwrap();
    directory.apply(vec![
        TenantChange {
            id: old.id().clone(),
            keys_touched: vec![slug("acme")],
            current: None,
        },
        changed(entry("acme-2", 3, &["acme"]), &["acme"]),
    ]);
    assert_eq!(old.status(), TenantStatus::Deleted);
    let new = directory.find(KeyKind::Slug, "acme").unwrap();
    assert_eq!(new.id().as_str(), "acme-2");
    assert_eq!(directory.find(KeyKind::Id, "acme"), None);
}

#[test]
fn a_name_that_moved_is_not_taken_away_by_the_late_news_of_its_former_owner() {
    let directory = Directory::new(home());
    load(&directory, vec![entry("a", 1, &["shop"]), entry("b", 1, &[])]);
    // The batch is ordered by tenant, not by key: b's gain may stand before a's loss.
    directory.apply(vec![
        changed(entry("b", 3, &["shop"]), &["shop"]),
        changed(entry("a", 2, &[]), &["shop"]),
    ]);
    assert_eq!(directory.find(KeyKind::Slug, "shop").unwrap().id().as_str(), "b");
}

#[test]
fn a_tenant_of_another_incarnation_gets_a_block_of_its_own() {
    let directory = Directory::new(home());
    load(&directory, vec![entry("acme", 1, &["acme"])]);
    let former = directory.find(KeyKind::Slug, "acme").unwrap();
    let mut recreated = entry("acme", 5, &["acme"]);
    recreated.record.incarnation = 5;
    directory.apply(vec![changed(recreated.clone(), &["acme"])]);
    let present = directory.find(KeyKind::Slug, "acme").unwrap();
    assert_eq!(directory.find(KeyKind::Id, "acme"), Some(present.clone()));
    assert_ne!(former, present);
    assert_eq!(
        former.status(),
        TenantStatus::Deleted,
        "whoever holds it is refused"
    );
    assert_eq!((former.incarnation(), present.incarnation()), (0, 5));

    directory.apply(vec![changed(entry("acme", 9, &["acme"]), &["acme"])]);
    assert_eq!(
        directory.find(KeyKind::Slug, "acme"),
        Some(present.clone()),
        "late news of the former one change nothing"
    );
    let again = directory.adopt(recreated.record, directory.generation(), |_| ());
    assert_eq!(again, Some(present));
}

#[test]
fn a_page_of_the_list_does_not_take_back_what_was_read_since_the_list_was_begun() {
    let directory = Directory::new(home());
    let mut rebuild = directory.rebuild();
    let mut suspended = record("acme", 7);
    suspended.status = TenantStatus::Suspended;
    let held = directory
        .adopt(suspended, directory.generation(), |_| ())
        .unwrap();
    rebuild.add(vec![entry("acme", 6, &["acme"])]);
    rebuild.finish();
    assert_eq!(directory.find(KeyKind::Slug, "acme"), Some(held.clone()));
    assert_eq!(held.status(), TenantStatus::Suspended);

    load(&directory, vec![entry("acme", 6, &["acme"])]);
    assert_eq!(
        held.status(),
        TenantStatus::Active,
        "the next list has the last word"
    );
}

#[test]
fn the_list_ends_held_blocks_of_tenants_that_it_does_not_have() {
    let directory = Directory::new(home());
    let adopt = |id| {
        directory
            .adopt(record(id, 1), directory.generation(), |_| ())
            .unwrap()
    };
    let purged = adopt("purged");
    let mut rebuild = directory.rebuild();
    let created = adopt("created");
    rebuild.add(vec![entry("acme", 1, &[])]);
    rebuild.finish();
    assert_eq!(purged.status(), TenantStatus::Deleted);
    assert_eq!(
        created.status(),
        TenantStatus::Active,
        "its page was read before it was"
    );
    directory.apply(vec![changed(entry("created", 1, &["created"]), &["created"])]);
    assert_eq!(directory.find(KeyKind::Slug, "created"), Some(created));
}

#[test]
fn a_forgotten_tenant_takes_an_older_record_once() {
    let directory = Directory::new(home());
    let adopt = |epoch| directory.adopt(record("acme", epoch), directory.generation(), |_| ());
    let held = adopt(9).unwrap();
    assert_eq!(adopt(4).map(|tenant| tenant.epoch()), Some(9));
    directory.forget(held.id());
    assert_eq!(adopt(4).map(|tenant| tenant.epoch()), Some(4));
    assert_eq!(adopt(3).map(|tenant| tenant.epoch()), Some(4));
    assert_eq!(held.epoch(), 4);
}

#[test]
fn a_restored_catalogue_wins_over_newer_records() {
    let directory = Directory::new(home());
    let mut newer = entry("acme", 9, &["acme"]);
    newer.record.status = TenantStatus::Suspended;
    load(&directory, vec![newer]);
    load(&directory, vec![entry("acme", 4, &["acme"])]);
    assert_eq!(
        directory.find(KeyKind::Slug, "acme").unwrap().status(),
        TenantStatus::Active
    );
}
