//! The catalogue below the stack: two stores on one file are two processes.

use std::{fs, path::Path, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use sqlx::Connection as _;
use tenancy::{Tenancy, Tenant, resolve::DomainOrSubdomain, routes::TenancyApp, stack::CatalogueState};
use tenancy_core::{Maintenance, TenantStatus};
use tenancy_sqlx::{NewTenant, TenantPatch, store::SqlStore};
use tower::ServiceExt;

use crate::support::{Place, id, run, with_domains};

/// One process: its store, its stack, and its application.
struct Process {
    store: SqlStore,
    tenancy: Tenancy,
    app: TenancyApp,
}

impl Process {
    async fn start(place: &Place) -> Self {
        Self::over(place.open().await).await
    }

    async fn over(store: SqlStore) -> Self {
        let who = DomainOrSubdomain::of("example.com").unwrap();
        let tenancy = Tenancy::new(who, store.clone());
        let app = tenancy.wrap(Router::new().fallback(|tenant: Tenant| async move { tenant.to_string() }));
        tenancy.ready().await;
        Self { store, tenancy, app }
    }

    async fn status(&self, host: &str) -> StatusCode {
        let request = Request::get("/")
            .header("host", host)
            .body(Body::empty())
            .unwrap();
        self.app.clone().oneshot(request).await.unwrap().status()
    }

    async fn tenant(&self, host: &str) -> String {
        let request = Request::get("/")
            .header("host", host)
            .body(Body::empty())
            .unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{host}");
        let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    /// Waits until the next request would see what the poll brings. A poll is due each half second.
    async fn until(&self, host: &str, expected: u16) {
        let seen = async {
            while self.status(host).await != expected {
                assert_eq!(
                    self.tenancy.status().catalogue,
                    CatalogueState::Followed,
                    "a change of another process is no reason to lose the list"
                );
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(60), seen).await;
        assert!(in_time.is_ok(), "{host} never became {expected}");
    }
}

#[tokio::test]
async fn a_change_is_seen_by_the_very_next_request_here_and_by_the_poll_elsewhere() {
    let place = Place::new();
    let (a, b) = (Process::start(&place).await, Process::start(&place).await);
    let acme = a
        .store
        .create(with_domains("acme", &["shop.acme.test"]))
        .await
        .unwrap();
    let acme = acme.record.id;
    for host in ["acme.example.com", "shop.acme.test"] {
        assert_eq!(a.tenant(host).await, "acme");
        b.until(host, 200).await;
    }

    a.store.suspend(&acme).await.unwrap();
    assert_eq!(a.status("acme.example.com").await, 403);
    b.until("acme.example.com", 403).await;

    b.store.resume(&acme).await.unwrap();
    assert_eq!(b.status("acme.example.com").await, 200);
    a.until("acme.example.com", 200).await;

    a.store
        .set_maintenance(&acme, Some(Maintenance::default()))
        .await
        .unwrap();
    assert_eq!(a.status("acme.example.com").await, 503);
    b.until("acme.example.com", 503).await;
    a.store.set_maintenance(&acme, None).await.unwrap();
    assert_eq!(a.status("acme.example.com").await, 200);

    a.store.remove_domain(&acme, "shop.acme.test").await.unwrap();
    assert_eq!(a.status("shop.acme.test").await, 404);
    b.until("shop.acme.test", 404).await;

    let mut patch = TenantPatch::default();
    patch.slug = Some("new-acme".into());
    b.store.update(&acme, patch).await.unwrap();
    assert_eq!(b.status("acme.example.com").await, 404);
    assert_eq!(b.tenant("new-acme.example.com").await, "acme");
    a.until("new-acme.example.com", 200).await;
    assert_eq!(a.status("acme.example.com").await, 404);
}

#[tokio::test]
async fn a_hundred_changes_are_each_seen_by_the_very_next_request() {
    let place = Place::new();
    let a = Process::start(&place).await;
    let acme = a.store.create(NewTenant::new("acme")).await.unwrap().record.id;
    for _ in 0..50 {
        a.store.suspend(&acme).await.unwrap();
        assert_eq!(a.status("acme.example.com").await, 403);
        a.store.resume(&acme).await.unwrap();
        assert_eq!(a.status("acme.example.com").await, 200);
    }
}

#[tokio::test]
async fn after_a_purge_nothing_leads_to_the_tenant_and_its_slug_leads_to_the_next() {
    let place = Place::new();
    let (a, b) = (Process::start(&place).await, Process::start(&place).await);
    let acme = a
        .store
        .create(with_domains("acme", &["shop.acme.test"]))
        .await
        .unwrap();
    b.until("shop.acme.test", 200).await;
    let held = b.tenancy.enter(&acme.record.id).await.unwrap();

    a.store.delete(held.id()).await.unwrap();
    assert_eq!(a.status("acme.example.com").await, 404);
    a.store.purge(held.id()).await.unwrap();
    assert_eq!(a.status("shop.acme.test").await, 404);
    b.until("shop.acme.test", 404).await;
    b.until("acme.example.com", 404).await;
    assert_eq!(held.status(), TenantStatus::Deleted);
    assert!(b.tenancy.enter(held.id()).await.is_err());

    a.store.create(NewTenant::new("acme")).await.unwrap();
    assert_eq!(a.tenant("acme.example.com").await, "acme-2");
    b.until("acme.example.com", 200).await;
    assert_eq!(b.tenant("acme.example.com").await, "acme-2");
    assert_eq!(held.status(), TenantStatus::Deleted, "another tenant");
}

/// Replaces what is in the file in one transaction, as a restore under running processes has to.
async fn restore_in_place(place: &Place, backup: &Path) {
    let mut connection = place.raw().await;
    let attach = sqlx::query("ATTACH ? AS backup").bind(backup.to_str().unwrap());
    attach.execute(&mut connection).await.unwrap();
    // `table_info` leaves generated columns out.
    let tables: Vec<(String, String)> = sqlx::query_as(
        "SELECT t.name, group_concat(c.name) FROM backup.sqlite_schema t, pragma_table_info(t.name) c
         WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' GROUP BY t.name",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let mut sql = String::from("PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE;");
    for (table, columns) in &tables {
        sql += &format!(
            "DELETE FROM main.{table};
             INSERT INTO main.{table} ({columns}) SELECT {columns} FROM backup.{table};"
        );
    }
    sql += "COMMIT;";
    let restore = sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
    restore.execute(&mut connection).await.unwrap();
}

#[tokio::test]
async fn a_restored_backup_is_taken_whole_by_a_process_that_runs() {
    let place = Place::new();
    let backup = place.path().with_extension("backup");
    let a = Process::start(&place).await;
    a.store.create(NewTenant::new("acme")).await.unwrap();
    a.store.create(NewTenant::new("globex")).await.unwrap();
    a.store.suspend(&id("globex")).await.unwrap();
    let mut connection = place.raw().await;
    sqlx::query("VACUUM INTO ?")
        .bind(backup.to_str().unwrap())
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();

    a.store.resume(&id("globex")).await.unwrap();
    for n in 0..5 {
        a.store.create(NewTenant::new(format!("late-{n}"))).await.unwrap();
    }
    a.store.suspend(&id("acme")).await.unwrap();
    let late = a.tenancy.enter(&id("late-0")).await.unwrap();
    assert_eq!(a.status("acme.example.com").await, 403);
    let number = a.tenancy.status().change_number;

    restore_in_place(&place, &backup).await;
    a.until("acme.example.com", 200).await;
    assert!(a.tenancy.status().change_number < number);
    assert_eq!(a.status("globex.example.com").await, 403, "as it was then");
    assert_eq!(a.status("late-0.example.com").await, 404, "not created then");
    assert_eq!(late.status(), TenantStatus::Deleted);

    a.store.suspend(&id("acme")).await.unwrap();
    assert_eq!(a.status("acme.example.com").await, 403, "and changes go on");
    a.store.create(NewTenant::new("new")).await.unwrap();
    assert_eq!(a.tenant("new.example.com").await, "new");
}

#[tokio::test]
async fn changes_that_wait_behind_an_open_transaction_are_missed_by_nobody() {
    let place = Place::new();
    let (a, b) = (Process::start(&place).await, Process::start(&place).await);
    a.store.create(NewTenant::new("acme")).await.unwrap();
    b.until("acme.example.com", 200).await;

    // Another program takes the next change number and commits late.
    let mut other = place.raw().await;
    let mut held = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    run(
        &mut held,
        "UPDATE tenants SET status = 'suspended', epoch = 3 WHERE id = 'acme';
         UPDATE tenancy_change_head SET number = number + 1;
         INSERT INTO tenancy_changes (number, stamp, tenant_id, kind, keys, at_ms)
             SELECT number, 42, 'acme', 'suspend', '[]', 0 FROM tenancy_change_head",
    )
    .await;
    let later = ["globex", "initech"].map(|slug| {
        let store = if slug == "globex" {
            a.store.clone()
        } else {
            b.store.clone()
        };
        tokio::spawn(async move { store.create(NewTenant::new(slug)).await })
    });
    tokio::time::sleep(Duration::from_millis(700)).await;
    for process in [&a, &b] {
        assert_eq!(process.status("acme.example.com").await, 200, "not committed");
        assert_eq!(process.status("globex.example.com").await, 404);
        assert_eq!(process.tenancy.status().catalogue, CatalogueState::Followed);
    }
    held.commit().await.unwrap();
    for created in later {
        created.await.unwrap().unwrap();
    }
    assert_eq!(a.status("globex.example.com").await, 200);
    assert_eq!(
        a.status("acme.example.com").await,
        403,
        "the earlier number is not skipped"
    );
    for process in [&a, &b] {
        for (host, status) in [("acme", 403), ("globex", 200), ("initech", 200)] {
            process.until(&format!("{host}.example.com"), status).await;
        }
    }
}

#[tokio::test]
async fn a_catalogue_that_goes_away_leaves_its_tenants_and_unknown_hosts_are_could_not_tell() {
    let place = Place::new();
    let a = Process::start(&place).await;
    a.store.create(NewTenant::new("acme")).await.unwrap();
    a.store.close().await;
    let away = async {
        while a.tenancy.status().catalogue != CatalogueState::Stale {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), away).await.unwrap();
    assert_eq!(a.tenant("acme.example.com").await, "acme");
    assert_eq!(a.status("nobody.example.com").await, 503);
    assert!(fs::exists(place.path()).unwrap());
}
