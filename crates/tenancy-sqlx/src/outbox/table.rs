//! The table, and the statements on it.

use sqlx::{AssertSqlSafe, Database};
use tenancy::cache::FlushPlan;
use tenancy_core::TenantId;

use crate::{
    database::{DatabaseError, TenantTransaction},
    engine::TenantEngine,
    isolation::EngineKind,
};

/// Read, and taken away, at once.
pub(super) const PAGE: usize = 500;

pub(super) const fn statement(engine: EngineKind) -> &'static str {
    match engine {
        EngineKind::Postgres => {
            "CREATE TABLE tenancy_cache_flushes (\
             tenant_id text NOT NULL, id text NOT NULL, plan text NOT NULL, \
             noted_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (tenant_id, id))"
        }
        EngineKind::MySql => {
            "CREATE TABLE tenancy_cache_flushes (\
             tenant_id VARCHAR(63) CHARACTER SET ascii NOT NULL, id CHAR(32) CHARACTER SET ascii NOT NULL, \
             plan TEXT CHARACTER SET ascii NOT NULL, noted_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, \
             PRIMARY KEY (tenant_id, id))"
        }
        EngineKind::Sqlite => {
            "CREATE TABLE tenancy_cache_flushes (\
             tenant_id TEXT NOT NULL, id TEXT NOT NULL, plan TEXT NOT NULL, \
             noted_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (tenant_id, id))"
        }
    }
}

/// One row.
pub(super) struct Note {
    pub(super) id: String,
    plan: String,
}

impl Note {
    /// One round trip.
    pub(super) async fn write<DB: TenantEngine>(
        transaction: &mut TenantTransaction<DB>,
        tenant: &TenantId,
        plan: &FlushPlan,
    ) -> Result<Self, DatabaseError> {
        let note = Self {
            id: random_id()?,
            plan: plan.to_string(),
        };
        let places = places(DB::KIND, 1..=3);
        let sql = format!("INSERT INTO tenancy_cache_flushes (id, tenant_id, plan) VALUES ({places})");
        let values = [note.id.as_str(), tenant.as_str(), note.plan.as_str()];
        run::<DB>(transaction, sql, &values).await?;
        Ok(note)
    }

    /// Some of a tenant's, without any order: flushes have none.
    pub(super) async fn read<DB: TenantEngine>(
        transaction: &mut TenantTransaction<DB>,
        tenant: &TenantId,
    ) -> Result<Vec<Self>, DatabaseError> {
        let place = places(DB::KIND, 1..=1);
        let sql =
            format!("SELECT id, plan FROM tenancy_cache_flushes WHERE tenant_id = {place} LIMIT {PAGE}");
        let arguments = arguments::<DB>(&[tenant.as_str()])?;
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
        let rows = DB::fetch_all(transaction, query).await?;
        let note = |row: &DB::Row| {
            Ok(Self {
                id: DB::text_of(row, 0)?,
                plan: DB::text_of(row, 1)?,
            })
        };
        Ok(rows.iter().map(note).collect::<Result<_, sqlx::Error>>()?)
    }

    /// Those that are gone already are no error. How many were there.
    pub(super) async fn forget<DB: TenantEngine>(
        transaction: &mut TenantTransaction<DB>,
        tenant: &TenantId,
        notes: &[Self],
    ) -> Result<u64, DatabaseError> {
        let mut deleted = 0;
        for page in notes.chunks(PAGE) {
            let (own, ids) = (places(DB::KIND, 1..=1), places(DB::KIND, 2..=page.len() + 1));
            let sql = format!("DELETE FROM tenancy_cache_flushes WHERE tenant_id = {own} AND id IN ({ids})");
            let ids = page.iter().map(|note| note.id.as_str());
            let values: Vec<_> = [tenant.as_str()].into_iter().chain(ids).collect();
            deleted += run::<DB>(transaction, sql, &values).await?;
        }
        Ok(deleted)
    }

    /// What nobody can read flushes everything.
    pub(super) fn plan(&self) -> FlushPlan {
        self.plan.parse().unwrap_or_else(|_| FlushPlan::everything())
    }
}

/// Marks for values, by their numbers.
fn places(engine: EngineKind, numbers: impl Iterator<Item = usize>) -> String {
    let mark = |number| match engine {
        EngineKind::Postgres => format!("${number}"),
        EngineKind::MySql | EngineKind::Sqlite => "?".to_owned(),
    };
    numbers.map(mark).collect::<Vec<_>>().join(", ")
}

fn arguments<DB: TenantEngine>(values: &[&str]) -> Result<<DB as Database>::Arguments, sqlx::Error> {
    let mut arguments = DB::Arguments::default();
    for value in values {
        DB::bind_text(&mut arguments, value).map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

async fn run<DB: TenantEngine>(
    transaction: &mut TenantTransaction<DB>,
    sql: String,
    values: &[&str],
) -> Result<u64, DatabaseError> {
    let query = sqlx::query_with(AssertSqlSafe(sql), arguments::<DB>(values)?);
    let done = DB::execute(transaction, query).await?;
    Ok(DB::rows_affected(&done))
}

/// The same notes are there again.
pub(super) fn not_deleted() -> sqlx::Error {
    let text = "rows of tenancy_cache_flushes can not be deleted: the application's role needs DELETE, and a policy that lets it";
    sqlx::Error::Configuration(text.into())
}

/// 128 random bits in hexadecimal: no two processes need agree on numbers.
fn random_id() -> Result<String, sqlx::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| sqlx::Error::Io(std::io::Error::other(error.to_string())))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
