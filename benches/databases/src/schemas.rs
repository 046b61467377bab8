//! What the server keeps in memory where tenants are schemas of one database.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, Connection, PgConnection, PgPool, Postgres,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tenancy_bench::{
    Extent, Failure,
    process::Process,
    report::{Report, Row, number},
};
use tenancy_sqlx::pool::{PoolSettings, Sharing, Target, TenantPools};
use tenancy_test::servers::Role;

use crate::{
    bed::{PgBed, SERVER, Tenants, name_of},
    sampler::until_quiet,
};

const SCHEMAS: usize = 1_000;
const TABLES: usize = 20;
const CONNECTIONS: usize = 20;
const TASKS: usize = 16;
/// So many that each connection of a pool that rotates has met most of the schemas.
const VISITS: usize = 24_000;
const DATABASE: &str = "schemas";
const EVERY: Duration = Duration::from_millis(500);
const BACKENDS: &str =
    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename = 'app'";

enum Contender {
    Pool(TenantPools<Postgres>, Tenants),
    Rotating(PgPool),
}

impl Contender {
    async fn visit(&self, tenant: usize, statement: &str) -> Result<(), Failure> {
        match self {
            Self::Pool(pools, tenants) => {
                let mut lease = pools.acquire(tenants.get(tenant)).await?;
                transaction(&mut lease, tenant, statement).await
            }
            Self::Rotating(pool) => transaction(&mut *pool.acquire().await?, tenant, statement).await,
        }
    }
}

/// What was seen of one contender.
struct Seen {
    /// The most that all backends together had for themselves.
    bytes: u64,
    backends: usize,
    says: String,
}

pub(crate) async fn measure(report: &mut Report, extent: Extent) -> Result<(), Failure> {
    if extent == Extent::Check {
        return Ok(());
    }
    eprintln!("databases schemas: making {SCHEMAS} schemas of {TABLES} tables");
    let bed = PgBed::start().await?;
    make_schemas(&bed).await?;
    let options = bed.options(Role::App, DATABASE)?;

    eprintln!("databases schemas: {VISITS} transactions, tenant pool");
    let pools = TenantPools::builder(|record| Target::part(DATABASE, record.id.as_str(), Sharing::Schemas))
        .server(SERVER, options.clone(), PoolSettings::new(CONNECTIONS))
        .build();
    let pool = Arc::new(Contender::Pool(pools, Tenants::new(SCHEMAS).await?));
    let mut ours = visit_all(&bed, &pool).await?;
    if let Contender::Pool(pools, _) = &*pool {
        if let Some(figures) = pools.figures(SERVER) {
            ours.says = format!("{} opened, {} re-pointed", figures.opens, figures.re_points);
        }
        pools.close().await;
    }
    until_quiet(&bed).await?;

    eprintln!("databases schemas: {VISITS} transactions, PgPool");
    let rotating = rotating(options).await?;
    let theirs = visit_all(&bed, &Arc::new(Contender::Rotating(rotating.clone()))).await?;
    rotating.close().await;

    let row = |name, seen: &Seen| {
        Row::shown(name, "MiB", seen.bytes as f64 / (1024.0 * 1024.0))
            .note(format!("of {} backends; {}", seen.backends, seen.says))
    };
    report.add(
        format!(
            "databases: {} schemas of {TABLES} tables, {CONNECTIONS} connections, {} transactions",
            number(SCHEMAS as f64),
            number(VISITS as f64)
        ),
        [
            row("private memory of all backends, tenant pool", &ours),
            row("the same, PgPool", &theirs),
            Row::shown(
                "tenant pool / PgPool",
                "ratio",
                ours.bytes as f64 / theirs.bytes as f64,
            )
            .at_most(0.2),
        ],
    );
    Ok(())
}

async fn rotating(options: PgConnectOptions) -> Result<PgPool, Failure> {
    Ok(PgPoolOptions::new()
        .min_connections(CONNECTIONS as u32)
        .max_connections(CONNECTIONS as u32)
        .connect_with(options)
        .await?)
}

async fn make_schemas(bed: &PgBed) -> Result<(), Failure> {
    bed.server().sql(format!("CREATE DATABASE {DATABASE}")).await;
    let tables: String = (0..TABLES)
        .map(|table| {
            format!(
                "CREATE TABLE x{table} (id int PRIMARY KEY, name text, made timestamptz DEFAULT now()); \
                 GRANT SELECT ON x{table} TO app; "
            )
        })
        .collect();
    let mut connection = PgConnection::connect_with(&bed.options(Role::Admin, DATABASE)?).await?;
    for schema in (0..SCHEMAS).map(name_of) {
        let make = format!(
            "CREATE SCHEMA {schema}; GRANT USAGE ON SCHEMA {schema} TO app; SET search_path TO {schema}; {tables}"
        );
        sqlx::raw_sql(AssertSqlSafe(make))
            .execute(&mut connection)
            .await?;
    }
    Ok(connection.close().await?)
}

async fn visit_all(bed: &PgBed, contender: &Arc<Contender>) -> Result<Seen, Failure> {
    let next = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (contender, next) = (Arc::clone(contender), Arc::clone(&next));
            tokio::spawn(async move { visit_some(&contender, &next, task as u64).await })
        })
        .collect();
    let mut observer = PgConnection::connect_with(&bed.options(Role::Admin, "postgres")?).await?;
    let mut seen = Seen {
        bytes: 0,
        backends: 0,
        says: String::new(),
    };
    while !tasks.iter().all(tokio::task::JoinHandle::is_finished) {
        look(&mut observer, &mut seen).await?;
        tokio::time::sleep(EVERY).await;
    }
    for task in tasks {
        task.await??;
    }
    // Once more with everything that was done.
    look(&mut observer, &mut seen).await?;
    Ok(seen)
}

async fn visit_some(contender: &Contender, next: &AtomicUsize, seed: u64) -> Result<(), Failure> {
    let statement = statement();
    let mut random = fastrand::Rng::with_seed(seed);
    while next.fetch_add(1, Ordering::Relaxed) < VISITS {
        contender.visit(random.usize(..SCHEMAS), &statement).await?;
    }
    Ok(())
}

/// Reads all tables of a tenant, whose names need no schema.
fn statement() -> String {
    let counts = (0..TABLES).map(|table| format!("(SELECT count(*) FROM x{table} WHERE id = $1)"));
    format!("SELECT {}", counts.collect::<Vec<_>>().join(" + "))
}

async fn transaction(connection: &mut PgConnection, tenant: usize, statement: &str) -> Result<(), Failure> {
    let begin = format!("BEGIN; SET LOCAL search_path TO {}", name_of(tenant));
    let mut transaction = connection.begin_with(AssertSqlSafe(begin)).await?;
    let read = sqlx::query(AssertSqlSafe(statement.to_owned())).bind(7);
    read.execute(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}

async fn look(observer: &mut PgConnection, seen: &mut Seen) -> Result<(), Failure> {
    let backends: Vec<i32> = sqlx::query_scalar(BACKENDS).fetch_all(observer).await?;
    let mut bytes = 0;
    for backend in &backends {
        // One that has ended meanwhile keeps nothing.
        bytes += Process::number(backend.cast_unsigned())
            .private()
            .unwrap_or_default();
    }
    if bytes > seen.bytes {
        seen.bytes = bytes;
        seen.backends = backends.len();
    }
    Ok(())
}
