//! Made-up tenants.

use std::panic::catch_unwind;

use axum::http::Request;
use tenancy::{
    Tenancy, Tenant,
    core::{Maintenance, TenantKey, TenantRecord, TenantStatus, TenantStore},
    resolve::DomainOrSubdomain,
    scope,
};
use tenancy_test::{FakeTenant, IntoTenant, TenantDraft, TenantFactory, caught_up, fake, memory_store};

#[test]
fn a_fake_is_a_tenant_with_or_without_a_runtime() {
    let acme = Tenant::fake("acme");
    assert_eq!(
        (acme.id().as_str(), acme.status()),
        ("acme", TenantStatus::Active)
    );
    assert_ne!(acme, fake("acme"), "two handles of two stacks");
    assert_eq!(acme, (&acme).into_tenant());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let seen = runtime.block_on(async {
        let globex = fake("globex");
        scope::run(&globex, async { scope::current_tenant() }).await == Some(globex)
    });
    assert!(seen);
}

#[test]
fn what_is_no_tenant_id_fails_the_test_and_says_why() {
    for wrong in ["", "Acme", "../acme", "-a"] {
        let panic = catch_unwind(|| fake(wrong)).unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.starts_with("tenant id "), "{message}");
    }
    assert!(catch_unwind(|| TenantDraft::new("a").slug("A b")).is_err());
    assert!(catch_unwind(|| TenantDraft::new("a").domain("127.0.0.1")).is_err());
    assert!(catch_unwind(|| memory_store([TenantDraft::new("a"), TenantDraft::new("a")])).is_err());
}

#[test]
fn a_draft_becomes_what_it_says() {
    #[derive(serde::Deserialize)]
    struct Settings {
        seats: u8,
    }

    let draft = TenantDraft::new("acme")
        .slug("shop")
        .plan("pro")
        .tenant_type("trial")
        .status(TenantStatus::Suspended)
        .settings(serde_json::json!({"seats": 5}))
        .maintenance(Maintenance::default())
        .domain("shop.acme.example");
    let tenant = draft.tenant();
    let record = tenant.record();
    assert_eq!(*record, draft.clone().into_record());
    assert_eq!(
        (
            record.slug(),
            record.plan.as_deref(),
            record.tenant_type.as_deref()
        ),
        ("shop", Some("pro"), Some("trial"))
    );
    assert_eq!(tenant.status(), TenantStatus::Suspended);
    assert!(record.maintenance.is_some());
    assert_eq!(tenant.settings::<Settings>().unwrap().seats, 5);
    assert_eq!(
        draft.into_entry().keys,
        [TenantKey::domain("shop.acme.example").unwrap()]
    );
}

#[test]
fn a_record_keeps_its_numbers() {
    let mut record = TenantRecord::new("acme".parse().unwrap());
    (record.epoch, record.incarnation) = (9, 7);
    let tenant = record.into_tenant();
    assert_eq!((tenant.epoch(), tenant.incarnation()), (9, 7));
}

#[test]
fn a_factory_counts_by_itself() {
    let (a, b) = (TenantFactory::new(), TenantFactory::named("shop"));
    let ids = [a.next(), a.next(), b.next()].map(|draft| draft.into_record().id.to_string());
    assert_eq!(ids, ["tenant-1", "tenant-2", "shop-1"]);
}

#[tokio::test]
async fn a_store_of_drafts_is_found_and_followed() {
    let factory = TenantFactory::new();
    let store = memory_store([factory.next().domain("a.example"), factory.next().slug("second")]);
    let tenancy = Tenancy::new(DomainOrSubdomain::of("app.test").unwrap(), store.clone());
    caught_up(&tenancy, &store).await;
    assert_eq!(tenancy.status().tenants, 2);
    let second = TenantKey::slug("second").unwrap();
    assert_eq!(store.find(&second).await.unwrap().unwrap().id, "tenant-2");
    for host in ["a.example", "second.app.test"] {
        let request = Request::get("/").header("host", host).body(()).unwrap();
        assert!(tenancy.explain(&request).await.tenant.is_some(), "{host}");
    }
}
