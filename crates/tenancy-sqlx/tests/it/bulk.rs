use std::time::Duration;

use tenancy_core::TenantStore as _;
use tenancy_sqlx::{NewTenant, file::TenantsFile, store::SqlStore};

use crate::support::{Backend, Follower, Place, id, list, on_every_database, with_domains};

on_every_database!(
    ten_thousand_tenants_are_created_and_followed,
    a_refused_tenant_does_not_stop_the_others,
    a_store_that_fails_half_way_keeps_what_is_committed_and_says_what_was_not_done,
    registering_again_leaves_what_exists_alone,
);

async fn ten_thousand_tenants_are_created_and_followed(place: Place) {
    let tenants = 10_000;
    let store = place.open().await;
    let mut follower = Follower::start(&store).await;
    let report = store
        .create_many((0..tenants).map(|n| with_domains(&format!("t{n}"), &[&format!("t{n}.example")])))
        .await;
    assert!(report.is_complete(), "{:?}", report.failed.first());
    assert_eq!(report.created.len(), tenants);
    assert_eq!(store.count().await.unwrap(), tenants as u64);
    assert_eq!(store.head().await.unwrap().number, tenants as u64 + 1);
    follower.follow(&store, 1000).await;
    assert_eq!(follower.entries.len(), tenants);
    assert_eq!(follower.entries, list(&store, 5000).await);
    assert_eq!(store.signal().unwrap().newest(), tenants as u64 + 1);
}

async fn a_refused_tenant_does_not_stop_the_others(place: Place) {
    let store = place.open().await;
    store
        .create(with_domains("taken", &["taken.example"]))
        .await
        .unwrap();
    let report = store
        .create_many([
            NewTenant::new("a"),
            NewTenant::new("taken"),
            NewTenant::new("Not Valid"),
            with_domains("b", &["taken.example"]),
            NewTenant::new("a"),
            with_domains("c", &["c.example"]),
        ])
        .await;
    assert_eq!(report.created, [id("a"), id("c")]);
    let mut failed: Vec<_> = report
        .failed
        .iter()
        .map(|(slug, error)| (slug.as_str(), error.is_conflict()))
        .collect();
    failed.sort_unstable();
    assert_eq!(
        failed,
        [("Not Valid", false), ("a", true), ("b", true), ("taken", true)]
    );
    assert!(report.not_attempted.is_empty());
    assert_eq!(store.head().await.unwrap().number, 4, "refusals take no number");
}

async fn a_store_that_fails_half_way_keeps_what_is_committed_and_says_what_was_not_done(place: Place) {
    let store = SqlStore::open(place.options().wait(Duration::from_secs(3)))
        .await
        .unwrap();
    let full = match place.backend() {
        Backend::Sqlite => {
            "CREATE TRIGGER full BEFORE INSERT ON tenants WHEN NEW.slug = 't700' BEGIN
                 SELECT raise(FAIL, 'disk full'); END"
        }
        Backend::Postgres => {
            "CREATE FUNCTION is_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 RAISE 'disk full' USING ERRCODE = 'disk_full'; END $$;
             CREATE TRIGGER is_full BEFORE INSERT ON tenants FOR EACH ROW WHEN (NEW.slug = 't700')
                 EXECUTE FUNCTION is_full()"
        }
        Backend::MariaDb => {
            "CREATE TRIGGER is_full BEFORE INSERT ON tenants FOR EACH ROW BEGIN IF NEW.slug = 't700' THEN
                 SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'disk full'; END IF; END"
        }
    };
    place.run(full).await;
    let report = store
        .create_many((0..1500).map(|n| NewTenant::new(format!("t{n}"))))
        .await;
    assert_eq!(report.created.len(), 700);
    assert_eq!(report.failed.len(), 1);
    assert_eq!(report.failed[0].0, "t700");
    assert!(report.failed[0].1.is_unavailable());
    assert_eq!(report.not_attempted.len(), 799);
    assert_eq!(report.not_attempted[0], "t701");
    assert_eq!(store.count().await.unwrap(), 700);
    assert_eq!(store.head().await.unwrap().number, 701);
}

async fn registering_again_leaves_what_exists_alone(place: Place) {
    let store = place.open().await;
    let file = TenantsFile::parse(
        "[[tenant]]\nslug = \"acme\"\nplan = \"free\"\n[[tenant]]\nslug = \"globex\"\n",
        "t.toml",
    )
    .unwrap();
    let first = store.ensure_many(file.tenants.clone()).await;
    assert_eq!(first.created, [id("acme"), id("globex")]);
    let mut patch = tenancy_sqlx::TenantPatch::default();
    patch.plan = Some(Some("pro".into()));
    store.update(&id("acme"), patch).await.unwrap();
    store.delete(&id("globex")).await.unwrap();
    let head = store.head().await.unwrap();

    let second = store.ensure_many(file.tenants).await;
    assert!(second.is_complete() && second.created.is_empty());
    assert_eq!(second.existing, [id("acme"), id("globex")]);
    assert_eq!(store.head().await.unwrap(), head);
    assert_eq!(
        store
            .get(&id("acme"))
            .await
            .unwrap()
            .unwrap()
            .record
            .plan
            .as_deref(),
        Some("pro")
    );
}
