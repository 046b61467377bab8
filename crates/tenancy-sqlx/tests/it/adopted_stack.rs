//! The stack over an application's own tables.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use tenancy::{Tenancy, Tenant, resolve::DomainOrSubdomain, routes::TenancyApp, stack::CatalogueState};
use tenancy_core::{TenantKey, TenantStatus, TenantStore};
use tenancy_sqlx::{
    adopt::{AdoptedData, Adoption, Removal},
    store::SqlStore,
};
use tower::ServiceExt;

use crate::support::{Place, id, run, run_text};

/// As `php artisan migrate` of stancl/tenancy makes them on SQLite.
const LARAVEL: &str = r#"
    CREATE TABLE "tenants" ("id" varchar not null, "created_at" datetime, "updated_at" datetime, "data" text,
        primary key ("id"));
    CREATE TABLE "domains" ("id" integer primary key autoincrement not null, "domain" varchar not null,
        "tenant_id" varchar not null, "created_at" datetime, "updated_at" datetime,
        foreign key("tenant_id") references "tenants"("id") on delete cascade on update cascade);
    CREATE UNIQUE INDEX "domains_domain_unique" on "domains" ("domain");
    INSERT INTO tenants VALUES
        ('acme', '2024-05-01 10:00:00', '2024-05-01 10:00:00',
         '{"plan":"pro","tenancy_db_name":"tenantacme","tenancy_db_password":"s3cr3t","name":"Acme Ltd"}'),
        ('0b7c9a4e-5f0e-4c76-a3c7-3f1f6b1f2f5e', '2024-05-02 10:00:00', NULL, NULL);
    INSERT INTO domains (domain, tenant_id) VALUES
        ('shop.acme.test', 'acme'), ('globex', '0b7c9a4e-5f0e-4c76-a3c7-3f1f6b1f2f5e');
"#;

#[derive(Debug, serde::Deserialize)]
struct Customer {
    name: String,
}

struct Process {
    tenancy: Tenancy,
    app: TenancyApp,
}

impl Process {
    async fn start(place: &Place) -> Self {
        let store = SqlStore::open(place.options().adopted()).await.unwrap();
        let tenancy = Tenancy::new(DomainOrSubdomain::of("example.com").unwrap(), store);
        let app = tenancy.wrap(Router::new().fallback(|tenant: Tenant| async move { tenant.to_string() }));
        tenancy.ready().await;
        Self { tenancy, app }
    }

    async fn status(&self, host: &str) -> StatusCode {
        let request = Request::get("/")
            .header("host", host)
            .body(Body::empty())
            .unwrap();
        self.app.clone().oneshot(request).await.unwrap().status()
    }

    /// Waits until the poll has brought a change. A poll is due each half second.
    async fn until(&self, host: &str, expected: u16) {
        let seen = async {
            while self.status(host).await != expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(60), seen).await;
        assert!(in_time.is_ok(), "{host} never became {expected}");
    }
}

#[tokio::test]
async fn a_running_stack_follows_what_laravel_writes() {
    let place = Place::new();
    let mut laravel = place.raw_new().await;
    run(&mut laravel, LARAVEL).await;
    run_text(&mut laravel, Adoption::stancl().sqlite().unwrap()).await;
    let process = Process::start(&place).await;
    for (host, status) in [
        ("shop.acme.test", 200),
        ("acme.example.com", 200),
        ("globex.example.com", 200),
        ("0b7c9a4e-5f0e-4c76-a3c7-3f1f6b1f2f5e.example.com", 404),
    ] {
        assert_eq!(process.status(host).await, status, "{host}");
    }
    let acme = process.tenancy.enter(&id("acme")).await.unwrap();
    assert_eq!(acme.data::<Customer>().unwrap().name, "Acme Ltd");
    let record = acme.record();
    assert_eq!(record.plan.as_deref(), Some("pro"));
    assert_eq!(
        record.placement.as_ref().map(|placement| &*placement.database),
        Some("tenantacme")
    );
    assert_eq!(record.created_at_ms, 1_714_557_600_000);
    let text = record.attachment().and_then(|data| data.json()).unwrap();
    assert!(!text.contains("s3cr3t"), "a password is nobody's data");

    run(
        &mut laravel,
        r#"UPDATE tenants SET data = json_set(data, '$.name', 'ACME') WHERE id = 'acme'"#,
    )
    .await;
    run(
        &mut laravel,
        r#"UPDATE tenants SET data = '{"maintenance_mode":{"time":1,"retry":7}}' WHERE id LIKE '0b%'"#,
    )
    .await;
    process.until("globex.example.com", 503).await;
    assert_eq!(acme.data::<Customer>().unwrap().name, "ACME");
    run(
        &mut laravel,
        r#"UPDATE tenants SET data = '{"maintenance_mode":null}' WHERE id LIKE '0b%';
           UPDATE domains SET domain = 'initech' WHERE domain = 'globex'"#,
    )
    .await;
    process.until("initech.example.com", 200).await;
    assert_eq!(process.status("globex.example.com").await, 404);

    run(&mut laravel, "DELETE FROM tenants WHERE id = 'acme'").await;
    process.until("shop.acme.test", 404).await;
    assert_eq!(
        acme.status(),
        TenantStatus::Deleted,
        "whoever holds it is refused"
    );
    run(
        &mut laravel,
        "INSERT INTO tenants (id) VALUES ('acme'); INSERT INTO domains (domain, tenant_id) VALUES ('shop.acme.test', 'acme')",
    )
    .await;
    process.until("shop.acme.test", 200).await;
    let again = process.tenancy.enter(&id("acme")).await.unwrap();
    assert_eq!(acme.status(), TenantStatus::Deleted, "another tenant");
    assert_ne!(acme.incarnation(), again.incarnation());
    assert!(again.data::<Customer>().unwrap_err().is_missing());

    run(
        &mut laravel,
        "UPDATE tenants SET data = '{' WHERE id = 'acme'; DELETE FROM domains WHERE domain = 'initech'",
    )
    .await;
    process.until("initech.example.com", 404).await;
    let error = again.data::<Customer>().unwrap_err();
    assert!(
        error.is_unreadable() && error.to_string().contains("acme"),
        "{error}"
    );
}

#[tokio::test]
async fn an_adoption_that_is_taken_away_under_a_running_stack_is_no_empty_list() {
    let place = Place::new();
    let mut laravel = place.raw_new().await;
    run(&mut laravel, LARAVEL).await;
    run_text(&mut laravel, Adoption::stancl().sqlite().unwrap()).await;
    let process = Process::start(&place).await;
    run_text(&mut laravel, Adoption::removal(Removal::Everything)).await;
    let stale = async {
        while process.tenancy.status().catalogue != CatalogueState::Stale {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), stale)
        .await
        .unwrap();
    assert_eq!(process.status("shop.acme.test").await, 200, "what was known");
    assert_eq!(process.status("nobody.example.com").await, 503, "could not tell");
}

#[tokio::test]
async fn names_and_words_of_any_kind_stay_names_and_words() {
    let place = Place::new();
    let mut app = place.raw_new().await;
    run(
        &mut app,
        r#"CREATE TABLE "we""ird; DROP TABLE x --" ("the id'" TEXT, "select" TEXT, "a""b" TEXT, "state" TEXT);
           INSERT INTO "we""ird; DROP TABLE x --" VALUES ('acme', 'shop', 'own', 'it''s; live');
           CREATE TABLE x (y)"#,
    )
    .await;
    let mut adoption = Adoption::new("we\"ird; DROP TABLE x --", "the id'");
    adoption.slug = Some("select".into());
    adoption.status = Some("state".into());
    adoption.status_map = vec![("it's; live".into(), TenantStatus::Suspended)];
    adoption.data = AdoptedData::Columns(vec!["a\"b".into(), "the id'".into()]);
    run_text(&mut app, adoption.sqlite().unwrap()).await;
    let store = SqlStore::open(place.options().adopted()).await.unwrap();
    let found = store
        .find(&TenantKey::slug("shop").unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.id.as_str(), found.status),
        ("acme", TenantStatus::Suspended)
    );
    let data = found.attachment().and_then(|data| data.json()).unwrap();
    assert_eq!(data, r#"{"a\"b":"own","the id'":"acme"}"#);
    run(
        &mut app,
        r#"UPDATE "we""ird; DROP TABLE x --" SET "select" = 'b'; SELECT * FROM x"#,
    )
    .await;
    assert_eq!(store.find(&TenantKey::slug("shop").unwrap()).await.unwrap(), None);
}

#[test]
fn names_that_can_not_stand_in_sql_are_refused() {
    let refused = |edit: &dyn Fn(&mut Adoption)| {
        let mut adoption = Adoption::new("customers", "id");
        edit(&mut adoption);
        adoption.sqlite().unwrap_err().is_invalid()
    };
    assert!(refused(&|adoption| adoption.table = "a\0b".into()));
    assert!(refused(&|adoption| adoption.table = String::new()));
    assert!(refused(&|adoption| adoption.table = "tenancy_changes".into()));
    assert!(refused(&|adoption| adoption.id = "a\nb".into()));
    assert!(refused(&|adoption| adoption.plan = Some("data->a'b".into())));
    assert!(refused(
        &|adoption| adoption.status_map = vec![("a\0".into(), TenantStatus::Active)]
    ));
    assert!(refused(
        &|adoption| adoption.data = AdoptedData::Columns(vec![String::new()])
    ));
}

#[tokio::test]
async fn ids_that_are_blobs_and_columns_of_json_can_be_adopted() {
    let place = Place::new();
    let mut app = place.raw_new().await;
    run(
        &mut app,
        "CREATE TABLE accounts (uuid BLOB PRIMARY KEY, domain TEXT, info TEXT, created INTEGER);
         INSERT INTO accounts VALUES (x'0B7C9A4E5F0E4C76A3C73F1F6B1F2F5E', 'acme.example', '{\"state\":1}', 1714557600),
             (x'00', NULL, 'no JSON', NULL)",
    )
    .await;
    let mut adoption = Adoption::new("accounts", "uuid");
    adoption.status = Some("info->state".into());
    adoption.status_map = vec![
        ("1".into(), TenantStatus::Active),
        (String::new(), TenantStatus::Pending),
    ];
    adoption.created_at = Some("created".into());
    adoption.domains = Some(tenancy_sqlx::adopt::DomainsTable::new(
        "accounts", "domain", "uuid",
    ));
    run_text(&mut app, adoption.sqlite().unwrap()).await;
    let store = SqlStore::open(place.options().adopted()).await.unwrap();
    let key = TenantKey::domain("acme.example").unwrap();
    let found = store.find(&key).await.unwrap().unwrap();
    assert_eq!(found.id, "0b7c9a4e5f0e4c76a3c73f1f6b1f2f5e");
    assert_eq!(found.created_at_ms, 1_714_557_600_000);
    let other = store.get(&id("00")).await.unwrap().unwrap();
    assert_eq!(other.record.status, TenantStatus::Pending);
    run(
        &mut app,
        "UPDATE accounts SET domain = 'other.example' WHERE domain = 'acme.example'",
    )
    .await;
    assert_eq!(store.find(&key).await.unwrap(), None);
}
