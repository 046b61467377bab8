//! Adopted tables on each database: one application, changed by plain SQL alone.

use tenancy_core::{TenantKey, TenantStatus, TenantStore as _};
use tenancy_sqlx::{
    adopt::{AdoptedData, Adoption, DomainsTable, Removal},
    store::{SqlStore, StoreKind},
};

use crate::support::{Backend, Follower, Place, followed, id, keys, list, on_every_database};

on_every_database!(
    what_is_there_is_found_by_every_key,
    every_change_by_plain_sql_is_followed,
    what_is_rolled_back_or_not_read_takes_no_number,
    a_name_of_two_leads_to_neither_until_one_gives_it_up,
    a_row_made_anew_is_another_tenant,
    adopting_again_keeps_incarnations_and_removal_leaves_nothing,
    a_managed_catalogue_and_a_wrong_column_are_refused_and_nothing_is_made,
    names_that_look_like_sql_are_names,
    the_tables_of_stancl_are_read_as_they_are,
    triggers_that_are_missing_are_noticed,
    a_table_that_is_emptied_at_once_is_noticed,
);

const TABLES: &str = "
    CREATE TABLE customers (id INTEGER PRIMARY KEY, subdomain VARCHAR(80), state VARCHAR(20), plan VARCHAR(20),
        name VARCHAR(80), seen INTEGER, created_at BIGINT);
    CREATE TABLE customer_domains (host VARCHAR(200), customer_id INTEGER);
    INSERT INTO customers VALUES (1, 'Acme', 'live', 'pro', 'Acme \"Ltd\"', 0, 1700000000),
        (2, 'globex', 'late', NULL, NULL, 0, NULL);
    INSERT INTO customer_domains VALUES ('Shop.Acme.example', 1)";

fn adoption() -> Adoption {
    let mut customers = Adoption::new("customers", "id");
    customers.slug = Some("subdomain".into());
    customers.status = Some("state".into());
    customers.status_map = vec![
        ("live".into(), TenantStatus::Active),
        ("late".into(), TenantStatus::Suspended),
        ("it's \\ odd".into(), TenantStatus::Pending),
        (String::new(), TenantStatus::Pending),
    ];
    customers.plan = Some("plan".into());
    customers.created_at = Some("created_at".into());
    customers.data = AdoptedData::Columns(vec!["name".into(), "plan".into()]);
    customers.domains = Some(DomainsTable::new("customer_domains", "host", "customer_id"));
    customers
}

async fn read(place: &Place) -> SqlStore {
    SqlStore::open(place.options().adopted()).await.unwrap()
}

async fn adopted(place: &Place) -> SqlStore {
    place.run(TABLES).await;
    adoption().apply_at(&place.url()).await.unwrap();
    read(place).await
}

async fn slug_of(store: &SqlStore, slug: &str) -> Option<String> {
    let found = store.find(&TenantKey::slug(slug).unwrap()).await.unwrap();
    found.map(|record| record.id.to_string())
}

async fn domain_of(store: &SqlStore, domain: &str) -> Option<String> {
    let found = store.find(&TenantKey::domain(domain).unwrap()).await.unwrap();
    found.map(|record| record.id.to_string())
}

async fn what_is_there_is_found_by_every_key(place: Place) {
    let store = adopted(&place).await;
    assert_eq!(store.kind(), StoreKind::Adopted);
    assert_eq!(store.count().await.unwrap(), 2);
    let acme = store.get(&id("1")).await.unwrap().unwrap();
    assert_eq!(acme.record.slug(), "acme");
    assert_eq!(acme.record.status, TenantStatus::Active);
    assert_eq!(acme.record.plan.as_deref(), Some("pro"));
    assert_eq!(acme.record.created_at_ms, 1_700_000_000_000);
    let data = acme.record.attachment().unwrap().json().unwrap();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(data, serde_json::json!({"name": "Acme \"Ltd\"", "plan": "pro"}));
    assert_eq!(slug_of(&store, "acme").await.as_deref(), Some("1"));
    assert_eq!(domain_of(&store, "shop.acme.example").await.as_deref(), Some("1"));
    let globex = store.get(&id("2")).await.unwrap().unwrap().record;
    assert_eq!((globex.status, globex.plan), (TenantStatus::Suspended, None));
    assert_eq!(slug_of(&store, "2").await, None);
    assert!(
        store
            .create(tenancy_sqlx::NewTenant::new("x"))
            .await
            .unwrap_err()
            .is_read_only()
    );
    assert_eq!(store.faults(10).await.unwrap(), []);
    let status = store.status().await.unwrap();
    assert_eq!((status.active, status.suspended, status.domains), (1, 1, 1));
}

async fn every_change_by_plain_sql_is_followed(place: Place) {
    let store = adopted(&place).await;
    let mut follower = Follower::start(&store).await;
    let mut other = place.other().await;
    for sql in [
        "INSERT INTO customers (id, subdomain, state) VALUES (3, 'initech', 'live'), (4, 'umbrella', 'live')",
        "UPDATE customers SET plan = 'PRO' WHERE id = 1",
        "UPDATE customers SET state = 'it''s \\ odd' WHERE id = 1",
        "UPDATE customers SET state = 'live'",
        "UPDATE customers SET subdomain = 'acme-shop' WHERE id = 1",
        "UPDATE customers SET id = 11 WHERE id = 4",
        "INSERT INTO customer_domains VALUES ('b.example', 3), ('c.example', 3), ('d.example', 2)",
        "UPDATE customer_domains SET customer_id = 2 WHERE host = 'b.example'",
        "UPDATE customer_domains SET host = 'e.example' WHERE host = 'c.example'",
        "DELETE FROM customer_domains WHERE customer_id = 2",
        "DELETE FROM customers WHERE id IN (2, 3)",
        "DELETE FROM customers WHERE id = 99",
        "INSERT INTO customers (id, subdomain, state) VALUES (2, 'globex', 'live')",
        "UPDATE customers SET state = NULL WHERE id = 2",
    ] {
        let sql = match place.backend() {
            // There a backslash escapes.
            Backend::MariaDb => sql.replace('\\', "\\\\"),
            _ => sql.to_owned(),
        };
        other.run(&sql).await;
        let before = follower.mark;
        follower.follow(&store, 2).await;
        assert_eq!(follower.entries, list(&store, 10).await, "{sql}");
        assert_eq!(follower.mark, store.head().await.unwrap());
        assert_eq!(follower.mark == before, sql.contains("99"), "{sql}");
    }
    let ids: Vec<String> = follower.entries.keys().map(ToString::to_string).collect();
    assert_eq!(ids, ["1", "11", "2"]);
    assert_eq!(follower.entries[&id("2")].record.status, TenantStatus::Pending);
    assert_eq!(store.faults(10).await.unwrap(), []);
}

async fn what_is_rolled_back_or_not_read_takes_no_number(place: Place) {
    let store = adopted(&place).await;
    let start = store.head().await.unwrap();
    let mut other = place.other().await;
    other.run("UPDATE customers SET seen = seen + 1").await;
    other.run("UPDATE customers SET plan = plan").await;
    other.begin().await;
    other.run("DELETE FROM customer_domains").await;
    other.run("DELETE FROM customers").await;
    assert_eq!(
        store.head().await.unwrap(),
        start,
        "nobody sees what is not committed"
    );
    assert_eq!(store.count().await.unwrap(), 2);
    other.run("ROLLBACK").await;
    assert_eq!(store.head().await.unwrap(), start);

    other.run("UPDATE customers SET plan = 'free' WHERE id = 1").await;
    let (_, changes, _) = followed(store.changes(start, 10).await.unwrap());
    assert_eq!(changes.len(), 1);
    assert_eq!(keys(&changes[0]), ["slug:acme", "domain:shop.acme.example"]);
}

async fn a_name_of_two_leads_to_neither_until_one_gives_it_up(place: Place) {
    let store = adopted(&place).await;
    let mut follower = Follower::start(&store).await;
    let mut other = place.other().await;
    other
        .run("UPDATE customers SET subdomain = 'acme' WHERE id = 2")
        .await;
    other
        .run("INSERT INTO customer_domains VALUES ('shop.acme.example', 2)")
        .await;
    follower.follow(&store, 10).await;
    assert_eq!(slug_of(&store, "acme").await, None);
    assert_eq!(domain_of(&store, "shop.acme.example").await, None);
    assert!(follower.entries.values().all(|entry| entry.keys.is_empty()));
    let faults = store.faults(10).await.unwrap();
    assert_eq!(faults.len(), 4, "{faults:?}");

    other
        .run("UPDATE customers SET subdomain = 'globex' WHERE id = 2")
        .await;
    other
        .run("DELETE FROM customer_domains WHERE customer_id = 2")
        .await;
    follower.follow(&store, 10).await;
    assert_eq!(slug_of(&store, "acme").await.as_deref(), Some("1"));
    assert_eq!(domain_of(&store, "shop.acme.example").await.as_deref(), Some("1"));
    assert_eq!(follower.entries[&id("1")].keys.len(), 2);
    assert_eq!(follower.entries, list(&store, 10).await);
}

async fn a_row_made_anew_is_another_tenant(place: Place) {
    let store = adopted(&place).await;
    let before = store.get(&id("1")).await.unwrap().unwrap().record;
    let mut other = place.other().await;
    other.begin().await;
    other.run("DELETE FROM customers WHERE id = 1").await;
    other
        .run("INSERT INTO customers (id, subdomain, state) VALUES (1, 'acme', 'live')")
        .await;
    other.run("COMMIT").await;
    let after = store.get(&id("1")).await.unwrap().unwrap().record;
    assert!(after.incarnation > before.incarnation);
    other.run("UPDATE customers SET plan = 'pro' WHERE id = 1").await;
    let changed = store.get(&id("1")).await.unwrap().unwrap().record;
    assert_eq!(changed.incarnation, after.incarnation);
    assert!(changed.epoch > after.epoch);
}

async fn objects(place: &Place) -> i64 {
    let count = match place.backend() {
        Backend::Sqlite => "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'tenancy%'",
        Backend::Postgres => {
            "SELECT (SELECT count(*) FROM pg_class WHERE relname LIKE 'tenancy%')
                + (SELECT count(*) FROM pg_proc WHERE proname LIKE 'tenancy%')
                + (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'tenancy%')"
        }
        Backend::MariaDb => {
            "SELECT (SELECT count(*) FROM information_schema.tables
                     WHERE table_schema = database() AND table_name LIKE 'tenancy%')
                + (SELECT count(*) FROM information_schema.routines
                     WHERE routine_schema = database() AND routine_name LIKE 'tenancy%')
                + (SELECT count(*) FROM information_schema.triggers
                     WHERE trigger_schema = database() AND trigger_name LIKE 'tenancy%')"
        }
    };
    place.ask(count).await
}

async fn adopting_again_keeps_incarnations_and_removal_leaves_nothing(place: Place) {
    let store = adopted(&place).await;
    let before = list(&store, 10).await;
    let start = store.head().await.unwrap();
    let made = objects(&place).await;

    adoption().apply_at(&place.url()).await.unwrap();
    assert_eq!(objects(&place).await, made);
    assert!(
        crate::support::is_reload(&store.changes(start, 10).await.unwrap()),
        "the log begins anew"
    );

    Adoption::take_out_at(&place.url(), Removal::KeepNumbers)
        .await
        .unwrap();
    assert!(objects(&place).await > 0);
    place
        .run("UPDATE customers SET plan = 'while nobody looked' WHERE id = 1")
        .await;
    adoption().apply_at(&place.url()).await.unwrap();
    let again = list(&read(&place).await, 10).await;
    for (id, entry) in &before {
        assert_eq!(again[id].record.incarnation, entry.record.incarnation);
    }

    Adoption::take_out_at(&place.url(), Removal::Everything)
        .await
        .unwrap();
    assert_eq!(objects(&place).await, 0);
    Adoption::take_out_at(&place.url(), Removal::Everything)
        .await
        .unwrap();
    place.run("UPDATE customers SET plan = NULL").await;
    let error = SqlStore::open(place.options().adopted()).await.unwrap_err();
    assert!(error.is_wrong_shape(), "{error:?}");

    adoption().apply_at(&place.url()).await.unwrap();
    let newest = before
        .values()
        .map(|entry| entry.record.incarnation)
        .max()
        .unwrap();
    for entry in list(&read(&place).await, 10).await.values() {
        assert!(entry.record.incarnation > newest, "no incarnation is given twice");
    }
}

async fn a_managed_catalogue_and_a_wrong_column_are_refused_and_nothing_is_made(place: Place) {
    place.run(TABLES).await;
    let mut wrong = adoption();
    wrong.plan = Some("no such column".into());
    let error = wrong.apply_at(&place.url()).await.unwrap_err();
    assert!(error.is_invalid(), "{error:?}");
    place.run("UPDATE customers SET plan = 'still works'").await;
    if place.backend() != Backend::MariaDb {
        assert_eq!(objects(&place).await, 0);
    }
    Adoption::take_out_at(&place.url(), Removal::Everything)
        .await
        .unwrap();

    let managed = place.open().await;
    managed
        .create(tenancy_sqlx::NewTenant::new("acme"))
        .await
        .unwrap();
    assert!(adoption().apply_at(&place.url()).await.unwrap_err().is_invalid());
    let removed = Adoption::take_out_at(&place.url(), Removal::Everything).await;
    assert!(removed.unwrap_err().is_invalid());
    managed
        .create(tenancy_sqlx::NewTenant::new("globex"))
        .await
        .unwrap();
    assert!(
        SqlStore::open(place.options().adopted())
            .await
            .unwrap_err()
            .is_wrong_shape()
    );

    Adoption::new("customers", "id").sqlite().unwrap();
}

async fn names_that_look_like_sql_are_names(place: Place) {
    let table = "cust'omers\"; DROP TABLE `x` -- $$ \\";
    let column = "sl'ug\"`; $$ \\";
    let (quoted, quoted_column) = match place.backend() {
        Backend::MariaDb => (table.replace('`', "``"), column.replace('`', "``")),
        _ => (table.replace('"', "\"\""), column.replace('"', "\"\"")),
    };
    let quote = if place.backend() == Backend::MariaDb {
        '`'
    } else {
        '"'
    };
    let (quoted, quoted_column) = (
        format!("{quote}{quoted}{quote}"),
        format!("{quote}{quoted_column}{quote}"),
    );
    place
        .run(&format!(
            "CREATE TABLE {quoted} (id VARCHAR(40) PRIMARY KEY, {quoted_column} VARCHAR(40))"
        ))
        .await;
    let mut odd = Adoption::new(table, "id");
    odd.slug = Some(column.into());
    odd.data = AdoptedData::Columns(vec![column.into()]);
    odd.apply_at(&place.url()).await.unwrap();
    let store = read(&place).await;
    let mut follower = Follower::start(&store).await;
    place
        .run(&format!("INSERT INTO {quoted} VALUES ('a', 'acme'), ('B!', 'x')"))
        .await;
    follower.follow(&store, 10).await;
    assert_eq!(slug_of(&store, "acme").await.as_deref(), Some("a"));
    assert_eq!(follower.entries.len(), 1, "what is no id is left out");
    place
        .run(&format!(
            "UPDATE {quoted} SET {quoted_column} = 'new' WHERE id = 'a'"
        ))
        .await;
    follower.follow(&store, 10).await;
    assert_eq!(follower.entries[&id("a")].record.slug(), "new");
    assert_eq!(store.faults(10).await.unwrap().len(), 1);
}

async fn the_tables_of_stancl_are_read_as_they_are(place: Place) {
    let json = match place.backend() {
        Backend::Postgres | Backend::MariaDb => "json",
        Backend::Sqlite => "text",
    };
    place
        .run(&format!(
            "CREATE TABLE tenants (id VARCHAR(191) PRIMARY KEY, created_at TIMESTAMP NULL, updated_at TIMESTAMP NULL,
                 data {json} NULL);
             CREATE TABLE domains (id INTEGER PRIMARY KEY, domain VARCHAR(191) NOT NULL, tenant_id VARCHAR(191) NOT NULL);
             INSERT INTO tenants VALUES ('foo', '2024-01-02 03:04:05', NULL,
                 '{{\"plan\":\"pro\",\"tenancy_db_name\":\"tenant_foo\",\"tenancy_db_password\":\"hunter2\",\"name\":\"Foo\"}}');
             INSERT INTO domains VALUES (1, 'foo-sub', 'foo'), (2, 'foo.example', 'foo')"
        ))
        .await;
    Adoption::stancl().apply_at(&place.url()).await.unwrap();
    let store = read(&place).await;
    let tenant = store.get(&id("foo")).await.unwrap().unwrap();
    assert_eq!(tenant.record.slug(), "foo-sub");
    assert_eq!(tenant.record.plan.as_deref(), Some("pro"));
    assert_eq!(&*tenant.record.placement.as_ref().unwrap().database, "tenant_foo");
    assert_eq!(tenant.record.created_at_ms, 1_704_164_645_000);
    assert_eq!(tenant.domains.len(), 1);
    let data = tenant.record.attachment().unwrap().json().unwrap();
    assert!(data.contains("Foo") && !data.contains("hunter2"), "{data}");

    let mut follower = Follower::start(&store).await;
    place
        .run("UPDATE tenants SET data = '{\"maintenance_mode\":{\"retry\":120}}' WHERE id = 'foo'")
        .await;
    follower.follow(&store, 10).await;
    let record = &follower.entries[&id("foo")].record;
    assert_eq!(record.maintenance.as_ref().unwrap().retry_after, 120);
    assert_eq!(record.placement, None);
    place
        .run("UPDATE domains SET domain = 'bar-sub' WHERE id = 1")
        .await;
    follower.follow(&store, 10).await;
    assert_eq!(follower.entries[&id("foo")].record.slug(), "bar-sub");
    assert_eq!(follower.entries, list(&store, 10).await);
}

async fn triggers_that_are_missing_are_noticed(place: Place) {
    let store = adopted(&place).await;
    let start = store.head().await.unwrap();
    place
        .run(match place.backend() {
            Backend::Postgres => "ALTER TABLE customers DISABLE TRIGGER tenancy_on_tenant_delete",
            _ => "DROP TRIGGER tenancy_on_tenant_delete",
        })
        .await;
    if place.backend() != Backend::MariaDb {
        assert!(store.changes(start, 10).await.unwrap_err().is_unavailable());
    }
    let error = SqlStore::open(place.options().adopted()).await.unwrap_err();
    assert!(error.is_wrong_shape(), "{error:?}");
    place.run("DELETE FROM customers WHERE id = 2").await;
    assert_eq!(store.faults(10).await.unwrap().len(), 1);
    adoption().apply_at(&place.url()).await.unwrap();
    assert_eq!(read(&place).await.faults(10).await.unwrap(), []);
}

async fn a_table_that_is_emptied_at_once_is_noticed(place: Place) {
    let store = adopted(&place).await;
    let mut follower = Follower::start(&store).await;
    let sql = match place.backend() {
        Backend::Sqlite => "DELETE FROM customers",
        _ => "TRUNCATE TABLE customers",
    };
    place.run(sql).await;
    if place.backend() == Backend::MariaDb {
        // No trigger runs for it.
        assert_eq!(store.faults(10).await.unwrap().len(), 2);
        return;
    }
    follower.follow(&store, 10).await;
    assert!(follower.entries.is_empty());
    assert_eq!(store.count().await.unwrap(), 0);
    place.run("DELETE FROM customer_domains").await;
    follower.follow(&store, 10).await;
}
