//! Catalogues of 10,000 tenants, and what makes more of them.

use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection, Postgres as Pg, SqlSafeStr as _, Sqlite,
    SqliteConnection,
    migrate::{Migration, MigrationType, Migrator},
};
use tempfile::TempDir;
use tenancy_bench::Failure;
use tenancy_sqlx::{
    NewTenant, TenantEngine,
    database::{Server, TenantHomes},
    isolation::Isolation,
    lifecycle::Lifecycle,
    migrate::Migrations,
    store::{SqlStore, SqlStoreOptions},
};
use tenancy_test::servers::Role;

use crate::bed::PgBed;

pub(crate) const TENANTS: u64 = 10_000;

/// Tenants and their rows of the journal, as the one that was made has them. Each by itself would take longer than all else.
const OTHERS: &str = "
    INSERT INTO tenants (id, slug, status, epoch, incarnation, created_at_ms, updated_at_ms, placement_server,
            placement_database, placement_isolation)
        SELECT 'f' || n, 'f' || n, 'active', 1000000 + n, 1000000 + n, 0, 0, t.placement_server,
            t.placement_database, t.placement_isolation
        FROM tenants t, NUMBERS WHERE t.id = 'first';
    INSERT INTO tenancy_migrations (tenant_id, incarnation, server, place, isolation, version, checksum, at_ms)
        SELECT 'f' || n, 1000000 + n, m.server, m.place, m.isolation, m.version, m.checksum, m.at_ms
        FROM tenancy_migrations m, NUMBERS WHERE m.tenant_id = 'first'";

/// A catalogue with all its tenants, and the ground that their homes are made on.
pub(crate) struct Crowd<DB: TenantEngine, Ground> {
    pub(crate) place: &'static str,
    pub(crate) store: SqlStore,
    pub(crate) lifecycle: Lifecycle<DB>,
    pub(crate) ground: Ground,
}

impl Crowd<Pg, PgBed> {
    pub(crate) async fn on_postgres() -> Result<Self, Failure> {
        let bed = PgBed::start().await?;
        for database in ["catalogue", "homes"] {
            bed.server()
                .sql(format!("CREATE DATABASE {database} OWNER owner"))
                .await;
        }
        let url = |role, database| bed.server().socket_url(role, database);
        let catalogue = url(Role::Owner, "catalogue");
        let store = SqlStore::open(SqlStoreOptions::url(&catalogue)?).await?;
        let homes = TenantHomes::<Pg>::builder()
            .server(
                "main",
                Server::at(url(Role::App, "homes")).owner(url(Role::Owner, "homes")),
            )
            .isolation(Isolation::schema())
            .build()?;
        let lifecycle = begin(&store, &homes).await?;
        let numbers = format!("generate_series(1, {}) AS n", TENANTS - 1);
        make_others(PgConnection::connect(&catalogue).await?, &numbers).await?;
        Ok(Self {
            place: "a catalogue and schemas on PostgreSQL",
            store,
            lifecycle,
            ground: bed,
        })
    }
}

impl Crowd<Sqlite, TempDir> {
    pub(crate) async fn on_files() -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let catalogue = folder.path().join("catalogue.db");
        let tenants = folder.path().join("tenants");
        std::fs::create_dir(&tenants)?;
        let store = SqlStore::connect(&catalogue).await?;
        let homes = TenantHomes::<Sqlite>::builder()
            .server(
                "files",
                Server::at(format!("sqlite://{}?mode=rwc", tenants.display())),
            )
            .build()?;
        let lifecycle = begin(&store, &homes).await?;
        let numbers = format!(
            "(WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < {}) SELECT n FROM up)",
            TENANTS - 1
        );
        let connection = SqliteConnection::connect(&format!("sqlite://{}", catalogue.display())).await?;
        make_others(connection, &numbers).await?;
        Ok(Self {
            place: "a catalogue and tenants in files of SQLite",
            store,
            lifecycle,
            ground: folder,
        })
    }
}

/// With the tenant that all others are like.
async fn begin<DB: TenantEngine>(
    store: &SqlStore,
    homes: &TenantHomes<DB>,
) -> Result<Lifecycle<DB>, Failure> {
    let lifecycle = lifecycle(store, homes).await?;
    lifecycle.create(NewTenant::new("first")).await?;
    Ok(lifecycle)
}

/// All tenants but the one that was made. `numbers` is a table of their numbers, in the catalogue's SQL.
async fn make_others<C: Connection>(mut catalogue: C, numbers: &str) -> Result<(), Failure>
where
    for<'c> &'c mut C: Executor<'c>,
{
    let others = OTHERS.replace("NUMBERS", numbers);
    catalogue.execute(sqlx::raw_sql(AssertSqlSafe(others))).await?;
    Ok(catalogue.close().await?)
}

pub(crate) async fn lifecycle<DB: TenantEngine>(
    store: &SqlStore,
    homes: &TenantHomes<DB>,
) -> Result<Lifecycle<DB>, Failure> {
    let text = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)".into_sql_str();
    let notes = Migration::new(1, "notes".into(), MigrationType::Simple, text, false);
    let migrations = Migrations::new(&Migrator::with_migrations(vec![notes]));
    let lifecycle = Lifecycle::builder(store, homes).migrations(migrations);
    Ok(lifecycle.build().await?)
}
