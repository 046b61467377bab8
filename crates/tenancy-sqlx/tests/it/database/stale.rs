//! A process that does not hear of a move, for what it hears through is cut.

use std::time::Duration;

use sqlx::Postgres;
use tenancy::{Tenancy, Tenant, resolve::Subdomain, stack::CatalogueState};
use tenancy_core::{Placement, TenantId};
use tenancy_sqlx::{
    NewTenant, TenantPatch,
    database::{DatabaseError, Server, TenantDatabases, TenantHomes},
    lifecycle::{Lifecycle, MoveTo},
    store::{SqlStore, SqlStoreOptions},
};
use tenancy_test::servers::{self, Fault, FaultProxy, Role, TestDatabase};

use super::fixture::{add, notes, run};
use crate::pool::fixture::patient;

/// A process: its view of the catalogue, and its connections to the tenants' databases.
struct Process {
    store: SqlStore,
    tenancy: Tenancy,
    databases: TenantDatabases<Postgres>,
}

impl Process {
    async fn start(catalogue: &str, tenants: String) -> Self {
        let options = SqlStoreOptions::url(catalogue)
            .unwrap()
            .connections(0..=4)
            .wait(Duration::from_secs(60));
        let store = SqlStore::open(options).await.unwrap();
        let tenancy = Tenancy::new(Subdomain::of("example.com").unwrap(), store.clone());
        tenancy.ready().await;
        let databases = TenantDatabases::builder(&tenancy)
            .server("main", Server::at(tenants).settings(patient(12)))
            .build()
            .await
            .unwrap();
        Self {
            store,
            tenancy,
            databases,
        }
    }

    async fn enter(&self, id: &TenantId) -> Tenant {
        loop {
            // A poll brings it.
            match self.tenancy.enter(id).await {
                Ok(tenant) => return tenant,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    async fn write(&self, tenant: &Tenant, text: &str) -> Result<(), DatabaseError> {
        let mut transaction = self.databases.of(tenant).begin().await?;
        add(&mut transaction, text).await?;
        transaction.commit().await
    }
}

/// Two processes, one of which hears of the catalogue through a proxy, and a tenant with two places to be at.
struct Scene {
    _catalogue: TestDatabase,
    central: TestDatabase,
    proxy: FaultProxy,
    near: Process,
    far: Process,
    id: TenantId,
}

impl Scene {
    async fn new(name: &str) -> Self {
        let server = servers::Postgres::shared().await;
        let catalogue = server.database("catalogue").await;
        let central = server.database(name).await;
        for place in ["old", "new"] {
            let database = format!("{}_{place}", central.name());
            server
                .sql(format!(
                    "CREATE DATABASE {database} OWNER owner STRATEGY file_copy"
                ))
                .await;
            run(
                &server.url(Role::Owner, &database),
                "CREATE TABLE notes (text text); GRANT SELECT, INSERT ON notes TO app",
            )
            .await;
        }
        let proxy = FaultProxy::start(server.address()).await.unwrap();
        let near = Process::start(&catalogue.owner_url(), central.app_url()).await;
        let far = Process::start(&proxy.url(&catalogue.owner_url()), central.app_url()).await;
        let mut new = NewTenant::new("acme");
        new.placement = Some(place(&central, "old"));
        let id = near.store.create(new).await.unwrap().record.id;
        Self {
            _catalogue: catalogue,
            central,
            proxy,
            near,
            far,
            id,
        }
    }

    async fn move_it(&self) {
        let mut patch = TenantPatch::default();
        patch.placement = Some(Some(place(&self.central, "new")));
        self.near.store.update(&self.id, patch).await.unwrap();
    }

    /// To a copy of the tables of the new place. Returns how many rows that were.
    async fn move_all(&self) -> u64 {
        let server = Server::at(self.central.app_url()).owner(self.central.owner_url());
        let homes = TenantHomes::<Postgres>::builder()
            .server("main", server)
            .build()
            .unwrap();
        let lifecycle = Lifecycle::builder(&self.near.store, &homes)
            .template(&*place(&self.central, "new").database)
            .build()
            .await
            .unwrap();
        let name = place(&self.central, "moved").database;
        let moved = lifecycle
            .move_home(&self.id, MoveTo::server("main").named(&name))
            .await;
        let moved = moved.unwrap();
        assert_eq!(moved.tables, 1);
        moved.rows
    }

    async fn notes_at(&self, place: &str) -> Vec<String> {
        let server = self.central.server();
        let url = server.url(Role::Owner, &format!("{}_{place}", self.central.name()));
        let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&url)
            .await
            .unwrap();
        notes(&mut connection).await.unwrap()
    }
}

fn place(central: &TestDatabase, place: &str) -> Placement {
    let mut placement = Placement::default();
    placement.database = format!("{}_{place}", central.name()).into();
    placement
}

/// Fails after a minute.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_cut_off_says_so_and_goes_where_the_tenant_is_when_it_hears_again() {
    let scene = Scene::new("cut_off").await;
    let (near, far) = (&scene.near, &scene.far);
    let (here, there) = (near.enter(&scene.id).await, far.enter(&scene.id).await);
    near.write(&here, "near, before").await.unwrap();
    far.write(&there, "far, before").await.unwrap();
    // One that began before the move, and ends after all of it.
    let mut held = far.databases.of(&there).begin().await.unwrap();
    add(&mut held, "far, begun before").await.unwrap();

    scene.proxy.set(Fault::Freeze);
    scene.move_it().await;
    // Who moved it is there with the very next transaction.
    near.write(&here, "near, after").await.unwrap();
    assert_eq!(scene.notes_at("new").await, ["near, after"]);
    // Who is cut off knows that it knows nothing.
    until("the process that is cut off says so", || {
        far.tenancy.status().catalogue == CatalogueState::Stale
    })
    .await;
    assert!(far.tenancy.status().unverified_for > Duration::ZERO);
    assert_eq!(near.tenancy.status().catalogue, CatalogueState::Followed);

    scene.proxy.set(Fault::Pass);
    until("it hears of the move", || there.epoch() == here.epoch()).await;
    far.write(&there, "far, after").await.unwrap();
    held.commit().await.unwrap();
    let seen = scene.notes_at("new").await;
    assert_eq!(seen, ["far, after", "near, after"]);
    assert_eq!(
        scene.notes_at("old").await,
        ["far, before", "far, begun before", "near, before"]
    );
    // What led to the old place is used by nobody any more.
    let figures = || far.databases.figures("main").unwrap();
    until("the old connections are closed", || {
        figures().open == figures().idle && figures().closes > 0
    })
    .await;
    let left: i64 = scene
        .central
        .server()
        .sql(format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}_old' AND usename = 'app'",
            scene.central.name()
        ))
        .await[0]
        .parse()
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_does_not_hear_of_a_move_does_not_write_to_the_old_place() {
    let scene = Scene::new("fenced").await;
    let (near, far) = (&scene.near, &scene.far);
    let (here, there) = (near.enter(&scene.id).await, far.enter(&scene.id).await);
    far.write(&there, "far, before").await.unwrap();
    // One that began before, and whose rows are to be moved, too.
    let mut held = far.databases.of(&there).begin().await.unwrap();
    add(&mut held, "far, begun before").await.unwrap();
    scene.proxy.set(Fault::Freeze);
    let (moved, ()) = tokio::join!(scene.move_all(), async {
        // It is waited for: by now, the tenant is in maintenance, or soon.
        tokio::time::sleep(Duration::from_millis(300)).await;
        held.commit().await.unwrap();
    });
    assert_eq!(moved, 2);
    near.write(&here, "near, after").await.unwrap();
    let refused = far.write(&there, "far, after").await.unwrap_err();
    let why = std::error::Error::source(&refused).unwrap().to_string();
    assert!(why.contains("the tenant moves to another place"), "{why}");
    let before = ["far, before", "far, begun before"];
    assert_eq!(scene.notes_at("old").await, before);

    scene.proxy.set(Fault::Pass);
    until("it hears of the move", || there.epoch() == here.epoch()).await;
    far.write(&there, "far, heard").await.unwrap();
    let all = [&before[..], &["far, heard", "near, after"]].concat();
    assert_eq!(scene.notes_at("moved").await, all);
    assert_eq!(
        scene.notes_at("old").await,
        before,
        "it was made elsewhere: it stays"
    );
}
