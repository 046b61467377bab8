use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, Row};
use tenancy::{MemoryStore, Tenancy, Tenant, resolve::Subdomain};
use tenancy_core::{Placement, TenantRecord};
use tenancy_sqlx::{
    database::{DatabaseError, Server, TenantDatabases, TenantDb},
    isolation::{Isolation, SchemaPerTenant, SharedRows},
};
use tenancy_test::servers::{self, TestDatabase};

use crate::pool::fixture::patient;

/// What keeps the tenants of a world apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Databases,
    Schemas,
    Rows,
}

pub(super) const KINDS: [Kind; 3] = [Kind::Databases, Kind::Schemas, Kind::Rows];

impl Kind {
    pub(super) fn isolation(self) -> Isolation {
        match self {
            Self::Databases => Isolation::database(),
            Self::Schemas => Isolation::of(SchemaPerTenant::new()),
            Self::Rows => Isolation::of(SharedRows::new()),
        }
    }
}

/// Tenants with a table of notes, in which one says whose it is.
pub(super) struct World {
    pub(super) database: TestDatabase,
    pub(super) store: MemoryStore,
    pub(super) tenancy: Tenancy,
    pub(super) tenants: Vec<Tenant>,
    pub(super) databases: TenantDatabases<Postgres>,
}

impl World {
    pub(super) async fn new(kind: Kind, name: &str, tenants: usize) -> Self {
        Self::with(kind, name, tenants, |url| Server::at(url).settings(patient(6))).await
    }

    pub(super) async fn with(
        kind: Kind,
        name: &str,
        tenants: usize,
        server: impl FnOnce(String) -> Server,
    ) -> Self {
        let database = servers::Postgres::shared().await.database(name).await;
        // Databases of tenants are beside this one: names must be the test's own.
        let number = database.name().split('_').next().unwrap().to_owned();
        let ids: Vec<String> = (0..tenants).map(|tenant| format!("{number}-{tenant}")).collect();
        prepare(kind, &database, &ids).await;
        let store = MemoryStore::of(ids.iter().map(String::as_str)).unwrap();
        let (tenancy, tenants) = enter_all(&store, &ids).await;
        let databases = TenantDatabases::builder(&tenancy)
            .server("main", server(database.app_url()))
            .isolation(kind.isolation())
            .build()
            .await
            .unwrap();
        Self {
            database,
            store,
            tenancy,
            tenants,
            databases,
        }
    }

    pub(super) fn db(&self, tenant: usize) -> TenantDb<Postgres> {
        self.databases.of(&self.tenants[tenant])
    }

    pub(super) fn canary(&self, tenant: usize) -> String {
        canary_of(self.tenants[tenant].id().as_str())
    }

    /// Waits until the process knows the tenant's new record.
    pub(super) async fn edit(&self, tenant: usize, edit: impl FnOnce(&mut TenantRecord) + Send) {
        let tenant = &self.tenants[tenant];
        let before = tenant.epoch();
        self.store.update(tenant.id(), edit).await.unwrap();
        while tenant.epoch() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) async fn place(&self, tenant: usize, edit: impl FnOnce(&mut Placement) + Send) {
        self.edit(tenant, |record| {
            let mut placement = Placement::default();
            edit(&mut placement);
            record.placement = Some(Box::new(placement));
        })
        .await;
    }
}

pub(super) async fn enter_all(store: &MemoryStore, ids: &[String]) -> (Tenancy, Vec<Tenant>) {
    let tenancy = Tenancy::new(Subdomain::of("example.com").unwrap(), store.clone());
    tenancy.ready().await;
    let mut tenants = Vec::new();
    for id in ids {
        tenants.push(tenancy.enter(&id.parse().unwrap()).await.unwrap());
    }
    (tenancy, tenants)
}

pub(super) fn canary_of(id: &str) -> String {
    format!("canary of {id}")
}

async fn prepare(kind: Kind, database: &TestDatabase, ids: &[String]) {
    match kind {
        Kind::Databases => {
            let server = database.server();
            for id in ids {
                let name = format!("tenant_{id}");
                server
                    .sql(format!(
                        r#"CREATE DATABASE "{name}" OWNER owner STRATEGY file_copy"#
                    ))
                    .await;
                let url = server.url(servers::Role::Owner, &name);
                run(&url, &notes_of("public", id)).await;
            }
        }
        Kind::Schemas => {
            for id in ids {
                let schema = format!("tenant_{id}");
                make_schema(database, &schema, id).await;
            }
        }
        Kind::Rows => {
            run(&database.owner_url(), SHARED_NOTES).await;
            for id in ids {
                let canary = canary_of(id);
                run(
                    &database.admin_url(),
                    &format!("INSERT INTO notes VALUES ('{id}', '{canary}')"),
                )
                .await;
            }
        }
    }
}

pub(super) async fn make_schema(database: &TestDatabase, schema: &str, id: &str) {
    let quoted = schema.replace('"', "\"\"");
    let sql = format!(r#"CREATE SCHEMA "{quoted}"; GRANT USAGE ON SCHEMA "{quoted}" TO app; "#);
    run(&database.owner_url(), &format!("{sql} {}", notes_of(&quoted, id))).await;
}

fn notes_of(schema: &str, id: &str) -> String {
    let canary = canary_of(id);
    format!(
        r#"CREATE TABLE "{schema}".notes AS SELECT '{canary}' AS text;
           GRANT SELECT, INSERT, UPDATE, DELETE ON "{schema}".notes TO app"#
    )
}

pub(super) const SHARED_NOTES: &str = "
    CREATE TABLE notes (
        tenant_id text NOT NULL DEFAULT nullif(current_setting('app.tenant', true), ''),
        text text NOT NULL
    );
    ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
    ALTER TABLE notes FORCE ROW LEVEL SECURITY;
    CREATE POLICY of_tenant ON notes
        USING (tenant_id = nullif(current_setting('app.tenant', true), ''))
        WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), ''));
    GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO app";

pub(super) async fn run(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

/// All notes that a connection sees.
pub(super) async fn notes(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    let rows = sqlx::query("SELECT text FROM notes ORDER BY text")
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

pub(super) async fn add(connection: &mut PgConnection, text: &str) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO notes (text) VALUES ($1)")
        .bind(text)
        .execute(connection)
        .await?;
    Ok(())
}

/// All notes of a tenant, in a transaction of its own.
pub(super) async fn notes_in(db: &TenantDb<Postgres>) -> Result<Vec<String>, DatabaseError> {
    let mut transaction = db.begin().await?;
    let notes = notes(&mut transaction).await?;
    transaction.commit().await?;
    Ok(notes)
}
