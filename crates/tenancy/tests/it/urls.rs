//! Addresses of tenants, and the list of tenants, over a real store.

use tenancy::{
    MemoryStore, Tenancy, Tenant,
    core::{TenantEntry, TenantId, TenantKey, TenantRecord, TenantStatus},
    resolve::DomainOrSubdomain,
    stack::ConfigMistake,
};

fn id(id: &str) -> TenantId {
    TenantId::new(id).unwrap()
}

fn domain(domain: &str) -> TenantKey<'static> {
    TenantKey::domain(domain.to_owned()).unwrap()
}

async fn stack(url: &str) -> (MemoryStore, Tenancy) {
    let store = MemoryStore::of(["acme", "globex", "under_score"]).unwrap();
    let tenancy = Tenancy::builder(DomainOrSubdomain::of("example.com").unwrap(), store.clone())
        .public_url(url)
        .build()
        .unwrap();
    tenancy.ready().await;
    (store, tenancy)
}

async fn tenant(tenancy: &Tenancy, name: &str) -> Tenant {
    tenancy.enter(&id(name)).await.unwrap()
}

#[tokio::test]
async fn a_link_is_made_of_the_primary_domain_or_of_the_slug() {
    let (store, tenancy) = stack("https://example.com:8443").await;
    let (acme, globex) = (tenant(&tenancy, "acme").await, tenant(&tenancy, "globex").await);
    let url = |tenant: &Tenant| tenant.url("/reset").unwrap();
    assert_eq!(url(&acme), "https://acme.example.com:8443/reset");

    store.add_key(acme.id(), domain("shop.acme.test")).await.unwrap();
    assert_eq!(url(&acme), "https://shop.acme.test:8443/reset");
    store.add_key(acme.id(), domain("acme.test")).await.unwrap();
    assert_eq!(
        url(&acme),
        "https://acme.test:8443/reset",
        "the first of the list"
    );
    assert_eq!(url(&globex), "https://globex.example.com:8443/reset");

    for name in ["acme.test", "shop.acme.test"] {
        store.remove_key(acme.id(), &domain(name)).await.unwrap();
    }
    store.add_key(globex.id(), domain("acme.test")).await.unwrap();
    assert_eq!(
        url(&acme),
        "https://acme.example.com:8443/reset",
        "the domain is another's now"
    );
    assert_eq!(url(&globex), "https://acme.test:8443/reset");

    store
        .update(acme.id(), |record| record.slug = Some("newname".into()))
        .await
        .unwrap();
    assert_eq!(url(&acme), "https://newname.example.com:8443/reset");
}

#[tokio::test]
async fn a_tenant_without_a_name_for_hosts_has_no_link_until_it_has_a_domain() {
    let (store, tenancy) = stack("http://example.com").await;
    let tenant = tenant(&tenancy, "under_score").await;
    assert!(tenant.url("/").unwrap_err().is_without_host());
    store.add_key(tenant.id(), domain("under.test")).await.unwrap();
    assert_eq!(tenant.url("/").unwrap(), "http://under.test/");
    let error = tenant.url("//evil.test").unwrap_err();
    assert!(
        error.is_invalid_path() && !error.to_string().contains("evil"),
        "{error}"
    );
}

#[tokio::test]
async fn a_stack_without_public_url_makes_no_links_and_a_wrong_one_is_refused() {
    let identifier = || DomainOrSubdomain::of("example.com").unwrap();
    let tenancy = Tenancy::new(identifier(), MemoryStore::of(["acme"]).unwrap());
    let acme = tenant(&tenancy, "acme").await;
    assert!(acme.url("/").unwrap_err().is_not_configured());

    let wrong = Tenancy::builder(identifier(), MemoryStore::new())
        .public_url("example.com/app")
        .max_resources(0)
        .build()
        .unwrap_err();
    assert!(matches!(
        wrong.mistakes(),
        [ConfigMistake::NoResources, ConfigMistake::PublicUrl { url, .. }] if url == "example.com/app"
    ));
}

#[tokio::test]
async fn all_tenants_are_listed_with_every_status_in_the_order_of_their_ids() {
    let (store, tenancy) = stack("https://example.com").await;
    let ids = || {
        let tenants = tenancy.tenants();
        tenants
            .iter()
            .map(|tenant| tenant.id().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(), ["acme", "globex", "under_score"]);
    store
        .set_status(&id("acme"), TenantStatus::Suspended)
        .await
        .unwrap();
    store.remove(&id("globex")).await.unwrap();
    let aardvark = TenantEntry {
        record: TenantRecord::new(id("aardvark")),
        keys: Vec::new(),
    };
    store.insert(aardvark).await.unwrap();
    assert_eq!(ids(), ["aardvark", "acme", "under_score"]);
    assert_eq!(tenancy.tenants()[1].status(), TenantStatus::Suspended);
}
