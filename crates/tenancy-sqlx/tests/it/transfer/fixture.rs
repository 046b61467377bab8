use std::path::Path;

use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, Row};
use tenancy_core::{TenantId, TenantRecord};
use tenancy_sqlx::{
    database::{Server, TenantHomes},
    isolation::Isolation,
    transfer::TransferError,
};
use tenancy_test::servers::{self, Role, TestDatabase};

pub(super) fn record(id: &str) -> TenantRecord {
    TenantRecord::new(TenantId::new(id).unwrap())
}

/// Tenants of PostgreSQL with a database, or a schema, each.
pub(super) struct Homes {
    pub(super) database: TestDatabase,
    pub(super) homes: TenantHomes<Postgres>,
    kind: Kind,
    number: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Databases,
    Schemas,
    Rows,
}

pub(super) const LEDGER: &str = "
    CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL,
        installed_on TIMESTAMPTZ NOT NULL DEFAULT now(), success BOOLEAN NOT NULL, checksum BYTEA NOT NULL,
        execution_time BIGINT NOT NULL);
    INSERT INTO _sqlx_migrations VALUES (1, 'test', now(), true, '\\x0102', 0);";

impl Homes {
    pub(super) async fn new(kind: Kind, name: &str) -> Self {
        let database = servers::Postgres::shared().await.database(name).await;
        let number = database.name().split('_').next().unwrap().to_owned();
        Self::beside(kind, database, number)
    }

    pub(super) fn beside(kind: Kind, database: TestDatabase, number: String) -> Self {
        let isolation = match kind {
            Kind::Databases => Isolation::database(),
            Kind::Schemas => Isolation::schema(),
            Kind::Rows => Isolation::rows(),
        };
        let homes = TenantHomes::builder()
            .server("main", Server::at(database.app_url()).owner(database.owner_url()))
            .isolation(isolation)
            .build()
            .unwrap();
        Self {
            database,
            homes,
            kind,
            number,
        }
    }

    /// The same server, with tenants that are kept apart otherwise.
    pub(super) fn other(self, kind: Kind) -> Self {
        Self::beside(kind, self.database, self.number)
    }

    pub(super) fn tenant(&self, name: &str) -> TenantRecord {
        record(&format!("{}-{name}", self.number))
    }

    /// A home with a ledger and the tables that the text makes.
    pub(super) async fn make(&self, name: &str, sql: &str) -> TenantRecord {
        let tenant = self.tenant(name);
        let place = format!("tenant_{}", tenant.id);
        let schema = match self.kind {
            Kind::Databases => {
                let make = format!(r#"CREATE DATABASE "{place}" OWNER owner STRATEGY file_copy"#);
                self.database.server().sql(make).await;
                "public".to_owned()
            }
            Kind::Schemas => {
                let make = format!(r#"CREATE SCHEMA "{place}"; GRANT USAGE ON SCHEMA "{place}" TO app"#);
                self.run_at(&self.database.owner_url(), &make).await;
                place
            }
            Kind::Rows => panic!("nothing is made where tables are shared"),
        };
        let grant =
            format!(r#"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "{schema}" TO app"#);
        self.run(&tenant, &format!("{LEDGER} {sql}; {grant}")).await;
        tenant
    }

    fn url(&self, tenant: &TenantRecord) -> String {
        match self.kind {
            Kind::Databases => {
                let name = format!("tenant_{}", tenant.id);
                self.database.server().url(Role::Owner, &name)
            }
            Kind::Schemas => self.database.owner_url(),
            Kind::Rows => self.database.app_url(),
        }
    }

    /// A connection in the tenant's part.
    pub(super) async fn enter(&self, tenant: &TenantRecord) -> PgConnection {
        let mut connection = PgConnection::connect(&self.url(tenant)).await.unwrap();
        let enter = match self.kind {
            Kind::Databases => return connection,
            Kind::Schemas => format!(r#"SET search_path TO "tenant_{}""#, tenant.id),
            Kind::Rows => format!("SET app.tenant TO '{}'", tenant.id),
        };
        sqlx::raw_sql(AssertSqlSafe(enter))
            .execute(&mut connection)
            .await
            .unwrap();
        connection
    }

    pub(super) async fn run(&self, tenant: &TenantRecord, sql: &str) {
        let mut connection = self.enter(tenant).await;
        execute(&mut connection, sql).await;
        connection.close().await.unwrap();
    }

    pub(super) async fn run_at(&self, url: &str, sql: &str) {
        let mut connection = PgConnection::connect(url).await.unwrap();
        execute(&mut connection, sql).await;
        connection.close().await.unwrap();
    }

    /// The texts that a query returns.
    pub(super) async fn ask(&self, tenant: &TenantRecord, sql: &str) -> Vec<String> {
        let mut connection = self.enter(tenant).await;
        let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut connection).await;
        let rows = rows.unwrap_or_else(|error| panic!("{error}: {sql}"));
        connection.close().await.unwrap();
        rows.iter().map(|row| row.try_get(0).unwrap()).collect()
    }

    /// All rows of a table, whoever they belong to.
    pub(super) async fn dump(&self, tenant: &TenantRecord, table: &str) -> Vec<String> {
        let sql = format!("SELECT (to_jsonb(x) - 'tenant_id')::text FROM {table} x ORDER BY 1");
        self.ask(tenant, &sql).await
    }
}

async fn execute(connection: &mut PgConnection, sql: &str) {
    let ran = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
    if let Err(error) = ran {
        panic!("{error}: {sql}");
    }
}

/// What files have, all in one.
pub(super) fn text_of(directory: &Path) -> String {
    let mut text = String::new();
    for file in std::fs::read_dir(directory).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        text += &String::from_utf8_lossy(&bytes);
    }
    text
}

pub(super) fn names_in(directory: &Path) -> Vec<String> {
    let listing = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = listing
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Replaces what a file has, as somebody does who can write a manifest.
pub(super) fn forge(directory: &Path, file: &str, edit: impl FnOnce(&mut Vec<u8>)) {
    let path = directory.join(file);
    let mut bytes = std::fs::read(&path).unwrap();
    let sum = |bytes: &[u8]| -> String {
        Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    };
    let (old, old_length) = (sum(&bytes), bytes.len());
    edit(&mut bytes);
    std::fs::write(&path, &bytes).unwrap();
    edit_manifest(directory, |text| {
        let known = format!("\"bytes\": {old_length},\n        \"sha256\": \"{old}\"");
        let shallow = format!("\"bytes\": {old_length},\n    \"sha256\": \"{old}\"");
        assert!(text.contains(&known) || text.contains(&shallow), "{text}");
        let (length, new) = (bytes.len(), sum(&bytes));
        text.replace(
            &format!("\"bytes\": {old_length},\n"),
            &format!("\"bytes\": {length},\n"),
        )
        .replace(&old, &new)
    });
}

pub(super) fn edit_manifest(directory: &Path, edit: impl FnOnce(&str) -> String) {
    let path = directory.join("tenant.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let edited = edit(&text);
    assert_ne!(text, edited, "the edit does something");
    std::fs::write(&path, edited).unwrap();
}

/// Whether an attempt was not dropped, and not in the way of one that was: what the server has not noticed yet holds locks.
pub(super) fn went_through<T>(attempt: Option<Result<T, TransferError>>, may_be_locked: bool) -> bool {
    match attempt {
        None => false,
        Some(Ok(_)) => true,
        Some(Err(error)) if may_be_locked && (error.is_migrating() || error.is_server()) => false,
        Some(Err(error)) => panic!("{error:?}"),
    }
}
