//! A catalogue over an application's own tables, changed by raw SQL as the application does.

use std::collections::BTreeMap;

use sqlx::{Connection as _, SqliteConnection};
use tenancy_core::{ChangeBatch, TenantKey, TenantStatus, TenantStore};
use tenancy_sqlx::{
    CatalogueError, NewTenant, TenantPatch,
    adopt::{AdoptedData, Adoption, DomainsTable, Removal},
    store::{SqlStore, StoreKind},
};

use crate::support::{Follower, Place, id, list, run, run_text};

const TABLES: &str = "
    CREATE TABLE customers (
        id INTEGER PRIMARY KEY, subdomain TEXT UNIQUE, state TEXT, tier TEXT, name TEXT, photo BLOB, seen INTEGER);
    CREATE TABLE hosts (
        id INTEGER PRIMARY KEY, host TEXT, customer_id INTEGER REFERENCES customers (id) ON DELETE CASCADE);
    INSERT INTO customers VALUES
        (1, 'Acme', 'live', 'pro', 'Acme Ltd', x'00ff', 0), (2, 'globex', 'late', NULL, 'Globex', NULL, 0);
    INSERT INTO hosts (host, customer_id) VALUES ('Shop.Acme.example', 1), ('globex.example', 2);
";

fn customers() -> Adoption {
    let mut adoption = Adoption::new("customers", "id");
    adoption.slug = Some("subdomain".into());
    adoption.status = Some("state".into());
    adoption.status_map = vec![
        ("live".into(), TenantStatus::Active),
        ("late".into(), TenantStatus::Suspended),
        (String::new(), TenantStatus::Pending),
    ];
    adoption.plan = Some("tier".into());
    adoption.data = AdoptedData::Columns(vec!["name".into(), "photo".into()]);
    adoption.domains = Some(DomainsTable::new("hosts", "host", "customer_id"));
    adoption
}

/// An application's file with its catalogue, and a connection as the application has it.
async fn adopted(place: &Place, tables: &'static str, adoption: &Adoption) -> SqliteConnection {
    let mut app = place.raw_new().await;
    run(&mut app, tables).await;
    run_text(&mut app, adoption.sqlite().unwrap()).await;
    app
}

async fn open(place: &Place) -> SqlStore {
    SqlStore::open(place.options().adopted()).await.unwrap()
}

/// Which id each key leads to: what a process serves that has listed once and followed since.
fn keys(follower: &Follower) -> BTreeMap<String, String> {
    let entries = follower.entries.values();
    entries
        .flat_map(|entry| {
            entry
                .keys
                .iter()
                .map(|key| (key.to_string(), entry.record.id.to_string()))
        })
        .collect()
}

fn expected(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, id): &(&str, &str)| ((*key).to_owned(), (*id).to_owned());
    pairs.iter().map(owned).collect()
}

/// Runs SQL of the application and checks that following the log leads to what listing anew shows, with every key that
/// went away among the keys touched.
async fn change(app: &mut SqliteConnection, store: &SqlStore, follower: &mut Follower, sql: &'static str) {
    let before = keys(follower);
    run(app, sql).await;
    let ChangeBatch::Changes { changes, .. } = store.changes(follower.mark, 1000).await.unwrap() else {
        panic!("the log goes on after {sql}");
    };
    let touched: Vec<String> = changes
        .iter()
        .flat_map(|change| {
            change
                .keys_touched
                .iter()
                .map(|key| format!("{key} {}", change.id))
        })
        .collect();
    follower.follow(store, 2).await;
    assert_eq!(follower.entries, list(store, 3).await, "{sql}");
    let after = keys(follower);
    for (key, id) in before {
        if after.get(&key) != Some(&id) {
            assert!(
                touched.contains(&format!("{key} {id}")),
                "{sql}: {key} {id} in {touched:?}"
            );
        }
    }
}

#[tokio::test]
async fn rows_of_the_application_are_tenants() {
    let place = Place::new();
    adopted(&place, TABLES, &customers()).await;
    let store = open(&place).await;
    assert_eq!(store.kind(), StoreKind::Adopted);
    for key in [
        TenantKey::id(&id("1")),
        TenantKey::slug("acme").unwrap(),
        TenantKey::domain("shop.acme.example").unwrap(),
    ] {
        let record = store.find(&key).await.unwrap().unwrap();
        assert_eq!((record.id.as_str(), record.slug()), ("1", "acme"), "{key}");
        assert_eq!(record.status, TenantStatus::Active);
        assert_eq!(record.plan.as_deref(), Some("pro"));
        let data = record.attachment().and_then(|data| data.json()).unwrap();
        assert_eq!(data, r#"{"name":"Acme Ltd","photo":"00ff"}"#);
    }
    let globex = store.get(&id("2")).await.unwrap().unwrap();
    assert_eq!(globex.record.status, TenantStatus::Suspended);
    assert_eq!(globex.domains[0].domain, "globex.example");
    assert_ne!(globex.record.incarnation, 0);
    assert_eq!(store.count().await.unwrap(), 2);
    let status = store.status().await.unwrap();
    assert_eq!((status.active, status.suspended, status.domains), (1, 1, 2));
    let page = store
        .page(&tenancy_sqlx::store::ListFilter::default())
        .await
        .unwrap();
    let ids: Vec<&str> = page
        .tenants
        .iter()
        .map(|tenant| tenant.record.id.as_str())
        .collect();
    assert_eq!(ids, ["2", "1"]);
    assert_eq!(store.faults(10).await.unwrap(), []);
}

#[tokio::test]
async fn every_kind_of_change_by_raw_sql_is_followed() {
    let place = Place::new();
    let mut app = adopted(&place, TABLES, &customers()).await;
    let store = open(&place).await;
    let mut follower = Follower::start(&store).await;
    for sql in [
        "INSERT INTO customers (subdomain, state) VALUES ('initech', 'live')",
        "INSERT INTO customers (id, subdomain, state) VALUES (7, 'hooli', NULL), (8, 'umbrella', 'live')",
        "UPDATE customers SET subdomain = 'new-acme' WHERE id = 1",
        "UPDATE customers SET state = 'late'",
        "UPDATE customers SET state = 'live', tier = 'free' WHERE id < 3",
        "PRAGMA foreign_keys = OFF; UPDATE customers SET id = 20 WHERE id = 2",
        "UPDATE hosts SET host = 'moved.example' WHERE customer_id = 1",
        "INSERT INTO hosts (host, customer_id) VALUES ('a.example', 1), ('b.example', 1), ('c.example', 7)",
        "UPDATE hosts SET customer_id = 7 WHERE host = 'a.example'",
        "DELETE FROM hosts WHERE host = 'b.example'",
        "PRAGMA foreign_keys = ON; DELETE FROM customers WHERE id = 1",
        "PRAGMA foreign_keys = OFF; DELETE FROM customers WHERE id = 7",
        "INSERT INTO customers (id, subdomain, state) VALUES (7, 'hooli', 'live')",
        "REPLACE INTO customers (id, subdomain, state) VALUES (7, 'other', 'live')",
        "REPLACE INTO customers (id, subdomain, state) VALUES (30, 'other', 'live')",
        "INSERT INTO customers (id, subdomain) VALUES (30, 'again') ON CONFLICT (id) DO UPDATE SET subdomain = 'again'",
        "BEGIN; DELETE FROM customers; INSERT INTO customers (id, subdomain, state) VALUES (1, 'acme', 'live'); COMMIT",
        "DELETE FROM hosts",
        "DELETE FROM customers",
    ] {
        change(&mut app, &store, &mut follower, sql).await;
    }
    assert!(follower.entries.is_empty());
}

#[tokio::test]
async fn what_is_rolled_back_was_never_seen_and_what_is_not_read_changes_nothing() {
    let place = Place::new();
    let mut app = adopted(&place, TABLES, &customers()).await;
    let store = open(&place).await;
    let before = store.head().await.unwrap();
    run(
        &mut app,
        "BEGIN; DELETE FROM customers; DELETE FROM hosts; ROLLBACK",
    )
    .await;
    run(&mut app, "UPDATE customers SET seen = seen + 1").await;
    run(
        &mut app,
        "UPDATE customers SET state = state; UPDATE hosts SET host = host",
    )
    .await;
    assert_eq!(store.head().await.unwrap(), before);
    run(&mut app, "UPDATE customers SET name = 'ACME' WHERE id = 1").await;
    assert_eq!(store.head().await.unwrap().number, before.number + 1);
}

#[tokio::test]
async fn a_row_made_anew_is_another_tenant() {
    let place = Place::new();
    let mut app = adopted(&place, TABLES, &customers()).await;
    let store = open(&place).await;
    let mut known = Vec::new();
    for again in [
        "SELECT 1",
        "DELETE FROM customers WHERE id = 1; INSERT INTO customers (id, subdomain, state) VALUES (1, 'acme', 'live')",
        "BEGIN; DELETE FROM customers WHERE id = 1; INSERT INTO customers VALUES (1, 'acme', 'live', 0, 0, 0, 0); COMMIT",
        "REPLACE INTO customers (id, subdomain, state) VALUES (1, 'acme', 'live')",
        "UPDATE customers SET id = 9 WHERE id = 1; UPDATE customers SET id = 1 WHERE id = 9",
    ] {
        run(&mut app, again).await;
        let record = store
            .find(&TenantKey::slug("acme").unwrap())
            .await
            .unwrap()
            .unwrap();
        assert!(!known.contains(&record.incarnation), "{again}");
        known.push(record.incarnation);
    }
    run(
        &mut app,
        "UPDATE customers SET subdomain = 'b', state = 'late' WHERE id = 1",
    )
    .await;
    let changed = store.get(&id("1")).await.unwrap().unwrap().record;
    assert_eq!(
        Some(&changed.incarnation),
        known.last(),
        "a change makes no other tenant"
    );

    // Taken out and adopted anew, with the row made anew in between.
    run_text(&mut app, Adoption::removal(Removal::Everything)).await;
    run(
        &mut app,
        "DELETE FROM customers WHERE id = 1; INSERT INTO customers (id, subdomain, state) VALUES (1, 'acme', 'live')",
    )
    .await;
    run_text(&mut app, customers().sqlite().unwrap()).await;
    let anew = store.get(&id("1")).await.unwrap().unwrap().record;
    assert!(!known.contains(&anew.incarnation));
}

#[tokio::test]
async fn a_name_of_two_tenants_leads_to_neither_until_it_is_one_tenants_again() {
    let place = Place::new();
    let mut app = adopted(&place, TABLES, &customers()).await;
    let store = open(&place).await;
    let mut follower = Follower::start(&store).await;
    let both = [
        ("domain:globex.example", "2"),
        ("domain:shop.acme.example", "1"),
        ("slug:acme", "1"),
        ("slug:globex", "2"),
    ];
    assert_eq!(keys(&follower), expected(&both));

    let sql = "INSERT INTO hosts (host, customer_id) VALUES ('SHOP.acme.example', 2)";
    change(&mut app, &store, &mut follower, sql).await;
    assert_eq!(keys(&follower), expected(&[both[0], both[2], both[3]]));
    let shared = TenantKey::domain("shop.acme.example").unwrap();
    assert_eq!(store.find(&shared).await.unwrap(), None);
    let faults = store.faults(10).await.unwrap();
    let who: Vec<&str> = faults.iter().map(|fault| fault.tenant_id.as_str()).collect();
    assert_eq!(who, ["1", "2"]);
    assert_eq!(faults[0].key.as_deref(), Some("domain:shop.acme.example"));

    let sql = "DELETE FROM hosts WHERE customer_id = 2 AND host LIKE 'shop%'";
    change(&mut app, &store, &mut follower, sql).await;
    assert_eq!(keys(&follower), expected(&both));

    // SQL compares bytes, hosts are compared without case.
    let sql = "INSERT INTO customers (id, subdomain, state) VALUES (3, 'ACME', 'live')";
    change(&mut app, &store, &mut follower, sql).await;
    assert_eq!(keys(&follower), expected(&[both[0], both[1], both[3]]));
    assert_eq!(store.find(&TenantKey::slug("acme").unwrap()).await.unwrap(), None);
    change(
        &mut app,
        &store,
        &mut follower,
        "DELETE FROM customers WHERE id = 1",
    )
    .await;
    let rest = [both[0], ("slug:acme", "3"), both[3]];
    assert_eq!(keys(&follower), expected(&rest));
}

#[tokio::test]
async fn a_row_that_breaks_the_rules_is_left_out_and_stops_no_other() {
    let place = Place::new();
    let mut app = adopted(&place, TABLES, &customers()).await;
    let store = open(&place).await;
    let mut follower = Follower::start(&store).await;
    run(&mut app, "PRAGMA foreign_keys = OFF").await;
    for (sql, fault) in [
        (
            "UPDATE customers SET subdomain = 'not a slug' WHERE id = 2",
            "not a slug",
        ),
        ("UPDATE customers SET subdomain = NULL WHERE id = 2", "slug \"\""),
        (
            "UPDATE customers SET subdomain = 'b', state = 'gone' WHERE id = 2",
            "gone",
        ),
        (
            "UPDATE customers SET state = 'live', tier = 'a' || char(10) WHERE id = 2",
            "control",
        ),
        ("UPDATE customers SET tier = 'free', id = -2 WHERE id = 2", "-2"),
    ] {
        change(&mut app, &store, &mut follower, sql).await;
        assert_eq!(
            follower.entries.keys().map(|id| id.as_str()).collect::<Vec<_>>(),
            ["1"]
        );
        let faults = store.faults(10).await.unwrap();
        assert_eq!(faults.len(), 1, "{sql}");
        assert!(faults[0].reason.contains(fault), "{sql}: {}", faults[0].reason);
        assert_eq!(faults[0].key, None);
    }
    let sql = "UPDATE customers SET id = 2 WHERE id = -2; \
               INSERT INTO hosts (host, customer_id) VALUES ('b.example:443', 2), ('bücher.example', 2), ('', 2)";
    change(&mut app, &store, &mut follower, sql).await;
    assert_eq!(follower.entries.len(), 2);
    let faults = store.faults(10).await.unwrap();
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(faults.iter().all(|fault| fault.key.is_some()));
    assert_eq!(store.faults(2).await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_adopted_catalogue_is_not_changed_by_the_store() {
    let place = Place::new();
    adopted(&place, TABLES, &customers()).await;
    let store = open(&place).await;
    let one = id("1");
    let before = std::fs::read(place.path()).unwrap();
    let check = |error: CatalogueError| {
        assert!(error.is_read_only(), "{error:?}");
        assert!(
            error.operator_detail().unwrap().contains("your own tables"),
            "{error:?}"
        );
    };
    check(store.create(NewTenant::new("not a slug")).await.unwrap_err());
    check(store.update(&one, TenantPatch::default()).await.unwrap_err());
    check(store.suspend(&one).await.unwrap_err());
    check(store.resume(&one).await.unwrap_err());
    check(store.set_maintenance(&one, None).await.unwrap_err());
    check(store.delete(&one).await.unwrap_err());
    check(store.restore(&one).await.unwrap_err());
    check(store.purge(&one).await.unwrap_err());
    check(store.force_purge(&one).await.unwrap_err());
    check(store.add_domain(&one, "a.example", true).await.unwrap_err());
    check(store.remove_domain(&one, "a.example").await.unwrap_err());
    check(store.prune_changes(1).await.unwrap_err());
    for mut report in [
        store
            .create_many([NewTenant::new("a"), NewTenant::new("b")])
            .await,
        store
            .ensure_many([NewTenant::new("a"), NewTenant::new("b")])
            .await,
    ] {
        assert_eq!(report.not_attempted, ["b"]);
        check(report.failed.remove(0).1);
    }
    check(SqlStore::open(place.options()).await.unwrap_err());
    assert_eq!(std::fs::read(place.path()).unwrap(), before);
}

#[tokio::test]
async fn opening_says_by_name_what_is_missing() {
    let place = Place::new();
    let mut app = adopted(&place, TABLES, &customers()).await;
    for (sql, parts) in [
        (
            "DROP TRIGGER tenancy_on_tenant_update",
            &["triggers are missing"][..],
        ),
        ("DROP VIEW tenancy_domains", &["no view tenancy_domains"]),
        (
            "CREATE TABLE tenancy_domains (x)",
            &["tenancy_domains is a table, not a view"],
        ),
        (
            "DROP VIEW tenancy_tenants; CREATE VIEW tenancy_tenants AS SELECT 1 AS id, 2 AS slug, 3 AS status",
            &["tenancy_tenants has no column plan", "no column epoch"],
        ),
        (
            "DROP VIEW tenancy_tenants; CREATE VIEW tenancy_tenants AS SELECT id FROM nowhere",
            &["tenancy_tenants does not work", "nowhere"],
        ),
        ("DROP TABLE tenancy_changes", &["no table tenancy_changes"]),
    ] {
        run(&mut app, sql).await;
        let error = SqlStore::open(place.options().adopted()).await.unwrap_err();
        assert!(error.is_wrong_shape(), "{error:?}");
        let detail = error.operator_detail().unwrap();
        for part in parts.iter().chain(&["tenancy catalogue adopt"]) {
            assert!(detail.contains(part), "{sql}: {detail}");
        }
    }
}

#[tokio::test]
async fn a_catalogue_is_opened_as_what_it_is() {
    let place = Place::new();
    let error = SqlStore::open(place.options().read_only()).await.unwrap_err();
    assert!(error.is_unavailable() && !place.path().exists(), "{error:?}");
    let mut app = place.raw_new().await;
    run(&mut app, TABLES).await;
    for options in [place.options().read_only(), place.options().adopted()] {
        assert!(SqlStore::open(options).await.unwrap_err().is_wrong_shape());
    }
    run_text(&mut app, customers().sqlite().unwrap()).await;
    let store = SqlStore::open(place.options().read_only()).await.unwrap();
    assert_eq!(store.kind(), StoreKind::Adopted);

    let managed = Place::new();
    managed.open().await.create(NewTenant::new("acme")).await.unwrap();
    let store = SqlStore::open(managed.options().read_only()).await.unwrap();
    assert_eq!(
        (store.kind(), store.count().await.unwrap()),
        (StoreKind::ReadOnly, 1)
    );
    let refused = store.suspend(&id("acme")).await.unwrap_err();
    assert!(refused.is_read_only() && refused.operator_detail().unwrap().contains("`read_only`"));
    let error = SqlStore::open(managed.options().adopted()).await.unwrap_err();
    assert!(error.is_wrong_shape(), "{error:?}");
}

#[tokio::test]
async fn neither_script_runs_on_a_managed_catalogue() {
    let place = Place::new();
    let store = place.open().await;
    store.create(NewTenant::new("acme")).await.unwrap();
    for sql in [
        Adoption::stancl().sqlite().unwrap(),
        Adoption::removal(Removal::Everything),
    ] {
        let mut raw = place.raw().await;
        assert!(
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
                .execute(&mut raw)
                .await
                .is_err()
        );
        raw.close().await.unwrap();
    }
    store.suspend(&id("acme")).await.unwrap();
    assert_eq!(store.head().await.unwrap().number, 3);
}

async fn schema(app: &mut SqliteConnection) -> Vec<(String, Option<String>)> {
    sqlx::query_as("SELECT name, sql FROM sqlite_schema ORDER BY name")
        .fetch_all(app)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_adoption_may_run_twice_and_is_taken_out_whole() {
    let place = Place::new();
    let mut app = place.raw_new().await;
    run(&mut app, TABLES).await;
    let untouched = schema(&mut app).await;
    run_text(&mut app, Adoption::removal(Removal::Everything)).await;
    assert_eq!(schema(&mut app).await, untouched, "there is nothing to take out");

    run_text(&mut app, customers().sqlite().unwrap()).await;
    let first = schema(&mut app).await;
    let store = open(&place).await;
    let mut follower = Follower::start(&store).await;
    let entries = follower.entries.clone();
    run_text(&mut app, customers().sqlite().unwrap()).await;
    assert_eq!(schema(&mut app).await, first);
    assert_eq!(list(&store, 3).await, entries, "the same tenants");
    assert!(matches!(
        store.changes(follower.mark, 10).await.unwrap(),
        ChangeBatch::Reload { .. }
    ));
    follower = Follower::start(&store).await;
    change(
        &mut app,
        &store,
        &mut follower,
        "UPDATE customers SET subdomain = 'x' WHERE id = 1",
    )
    .await;

    // A rebuilt table loses its triggers: followers say so instead of standing still.
    run_text(&mut app, Adoption::removal(Removal::KeepNumbers)).await;
    assert!(store.changes(follower.mark, 10).await.is_err());
    run(
        &mut app,
        "PRAGMA foreign_keys = OFF; CREATE TABLE rebuilt AS SELECT * FROM customers; DROP TABLE customers;
         ALTER TABLE rebuilt RENAME TO customers",
    )
    .await;
    run_text(&mut app, customers().sqlite().unwrap()).await;
    assert_eq!(list(&store, 3).await, follower.entries, "the same incarnations");
    run_text(&mut app, Adoption::removal(Removal::Everything)).await;
    let left: Vec<String> = schema(&mut app).await.into_iter().map(|(name, _)| name).collect();
    assert!(left.iter().all(|name| !name.starts_with("tenancy")), "{left:?}");
}

#[tokio::test]
async fn a_name_that_a_replaced_row_shared_is_free_again() {
    let place = Place::new();
    let mut app = adopted(&place, TABLES, &customers()).await;
    // Else the lines of `hosts` go with their customer, and tell of it.
    run(&mut app, "PRAGMA foreign_keys = OFF").await;
    let store = open(&place).await;
    let mut follower = Follower::start(&store).await;
    for sql in [
        "INSERT INTO hosts (host, customer_id) VALUES ('shop.acme.example', 2)",
        "REPLACE INTO customers (id, subdomain, state) VALUES (3, 'globex', 'live')",
        "UPDATE hosts SET host = 'shop.acme.example', customer_id = 3 WHERE host = 'globex.example'",
        "UPDATE OR REPLACE customers SET subdomain = 'globex' WHERE id = 1",
        "INSERT INTO customers (id, subdomain, state) VALUES (4, 'initech', 'live')",
        "INSERT INTO hosts (host, customer_id) VALUES ('shop.acme.example', 4)",
        "UPDATE OR REPLACE customers SET id = 4 WHERE id = 1",
        "INSERT INTO customers (id, subdomain, state) VALUES (5, 'umbrella', 'live')",
        "INSERT INTO hosts (host, customer_id) VALUES ('umbrella.example', 4), ('umbrella.example', 5)",
        "UPDATE OR REPLACE customers SET id = 4, subdomain = 'acme' WHERE id = 5",
        // The one that takes the place shares a domain with the one that had it, and that one its slug with a third.
        "DELETE FROM customers; DELETE FROM hosts;
         INSERT INTO customers (id, subdomain, state) VALUES (1, 'acme', 'live'), (2, 'globex', 'live'), (3, 'Globex', 'live');
         INSERT INTO hosts (host, customer_id) VALUES ('shop.example', 1), ('shop.example', 2)",
        "UPDATE OR REPLACE customers SET id = 2 WHERE id = 1",
    ] {
        change(&mut app, &store, &mut follower, sql).await;
    }
}

#[tokio::test]
async fn the_log_is_kept_short_and_who_stands_before_it_lists_anew() {
    let place = Place::new();
    let mut app = adopted(&place, TABLES, &customers()).await;
    let store = open(&place).await;
    let follower = Follower::start(&store).await;
    run(
        &mut app,
        "INSERT INTO customers (subdomain, state)
         WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10050) SELECT 't' || n, 'live' FROM n",
    )
    .await;
    let status = store.status().await.unwrap();
    assert_eq!(status.change_number - status.oldest_change, 9999);
    let batch = store.changes(follower.mark, 10).await.unwrap();
    assert!(matches!(batch, ChangeBatch::Reload { .. }));
    assert_eq!(store.changes_since(0, 20_000).await.unwrap().len(), 10_000);
}

#[tokio::test]
async fn look_ups_read_no_table_of_the_application_whole() {
    let place = Place::new();
    let mut app = adopted(&place, TABLES, &customers()).await;
    for (what, sql) in [
        ("id", "SELECT * FROM tenancy_tenants WHERE id = 'x'"),
        ("slug", "SELECT * FROM tenancy_tenants WHERE slug = 'x'"),
        ("domain", "SELECT * FROM tenancy_domains WHERE domain = 'x'"),
        (
            "domains of a tenant",
            "SELECT * FROM tenancy_domains WHERE tenant_id = 'x'",
        ),
        (
            "a tenant as it is now",
            "SELECT * FROM tenancy_source WHERE id = (SELECT max(id) FROM tenancy_incarnations)",
        ),
        (
            "newest first",
            "SELECT * FROM tenancy_tenants WHERE incarnation < 9 ORDER BY incarnation DESC LIMIT 9",
        ),
        (
            "by id",
            "SELECT * FROM tenancy_tenants WHERE id > '' ORDER BY id LIMIT 9",
        ),
    ] {
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
                .fetch_all(&mut app)
                .await
                .unwrap();
        for (.., step) in plan {
            assert!(
                !step.contains("SCAN") && !step.contains("TEMP B-TREE"),
                "{what}: {step}"
            );
        }
    }
}

mod random {
    use proptest::prelude::*;

    use super::*;

    /// Statements over few ids, names and hosts, so that they meet: conflicts, moves, rows made anew, names of two.
    fn statement() -> impl Strategy<Value = String> {
        let (id, other) = (1..4_u8, 1..4_u8);
        let slug = prop::sample::select(vec!["'a'", "'A'", "'b'", "'c'", "'no slug'", "NULL"]);
        let host = prop::sample::select(vec![
            "'a.example'",
            "'A.example'",
            "'b.example'",
            "'b.example:1'",
            "NULL",
        ]);
        let state = prop::sample::select(vec!["'live'", "'late'", "'gone'", "NULL"]);
        (0..12_u8, id, other, slug, host, state).prop_map(|(kind, id, other, slug, host, state)| match kind {
            0 => format!(
                "INSERT OR IGNORE INTO customers (id, subdomain, state) VALUES ({id}, {slug}, {state})"
            ),
            1 => format!("REPLACE INTO customers (id, subdomain, state) VALUES ({id}, {slug}, {state})"),
            2 => format!("UPDATE OR IGNORE customers SET subdomain = {slug} WHERE id = {id}"),
            3 => format!("UPDATE customers SET state = {state}, tier = 'x' WHERE id = {id}"),
            4 => format!("UPDATE OR IGNORE customers SET id = {other} WHERE id = {id}"),
            10 => format!("UPDATE OR REPLACE customers SET id = {other}, subdomain = {slug} WHERE id = {id}"),
            11 => format!("UPDATE OR REPLACE customers SET subdomain = {slug} WHERE id = {id}"),
            5 => format!("DELETE FROM customers WHERE id = {id}"),
            6 => {
                format!("INSERT OR IGNORE INTO hosts (id, host, customer_id) VALUES ({other}, {host}, {id})")
            }
            7 => format!("UPDATE hosts SET host = {host}, customer_id = {id} WHERE id = {other}"),
            8 => format!("UPDATE hosts SET customer_id = {id} WHERE host = {host}"),
            _ => format!("DELETE FROM hosts WHERE id = {other}"),
        })
    }

    /// Statements of one transaction, and whether it commits.
    type Step = (Vec<String>, bool);

    async fn hold(steps: Vec<Step>) {
        let place = Place::new();
        let mut app = adopted(&place, TABLES, &customers()).await;
        run(&mut app, "PRAGMA foreign_keys = OFF").await;
        let store = open(&place).await;
        let mut follower = Follower::start(&store).await;
        for (statements, commits) in steps {
            let before = keys(&follower);
            let sql = statements.join("; ");
            let end = if commits { "COMMIT" } else { "ROLLBACK" };
            run_text(&mut app, format!("BEGIN; {sql}; {end}")).await;
            let ChangeBatch::Changes { changes, .. } = store.changes(follower.mark, 1000).await.unwrap()
            else {
                panic!("the log goes on after {sql}");
            };
            assert!(commits || changes.is_empty(), "{sql}");
            follower.follow(&store, 2).await;
            assert_eq!(follower.entries, list(&store, 3).await, "{sql}");
            let now = keys(&follower);
            for (key, id) in &before {
                let touched = changes.iter().any(|change| {
                    *change.id.as_str() == **id
                        && change
                            .keys_touched
                            .iter()
                            .any(|touched| touched.to_string() == *key)
                });
                assert!(touched || now.get(key) == Some(id), "{sql}: {key} of {id}");
            }
            for (key, id) in &now {
                let (kind, value) = key.split_once(':').unwrap();
                let key = match kind {
                    "slug" => TenantKey::slug(value).unwrap(),
                    _ => TenantKey::domain(value).unwrap(),
                };
                assert_eq!(store.find(&key).await.unwrap().unwrap().id, id.as_str(), "{sql}");
            }
            let unseen = store.faults(100).await.unwrap();
            assert!(
                unseen.iter().all(|fault| !fault.reason.contains("triggers")),
                "{sql}: {unseen:?}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn following_leads_where_listing_does_whatever_the_application_does(
            steps in prop::collection::vec((prop::collection::vec(statement(), 1..4), prop::bool::weighted(0.85)), 1..25)
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(hold(steps));
        }
    }
}
