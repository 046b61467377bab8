//! The ledger in a tenant's own database: sqlx's, so that what it applied before counts.

use std::time::Duration;

use sqlx::migrate::{Migrate, Migration};

use super::{Migrations, error::TenantFault, stepwise};
use crate::engine::Migrates;

pub(crate) const LEDGER: &str = "_sqlx_migrations";

/// Which way a tenant is brought to a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    Down,
}

/// The versions that a tenant has, compared with those of this program. Makes the ledger if it is missing.
pub(super) async fn applied<DB: Migrates>(
    connection: &mut DB::Connection,
    migrations: &Migrations,
    allows_unknown: bool,
) -> Result<Vec<i64>, TenantFault> {
    connection.ensure_migrations_table(LEDGER).await?;
    if let Some(version) = connection.dirty_version(LEDGER).await? {
        return Err(TenantFault::half_applied(version));
    }
    let mut versions = Vec::new();
    for applied in connection.list_applied_migrations(LEDGER).await? {
        let known = migrations
            .ups()
            .find(|migration| migration.version == applied.version);
        match known {
            Some(migration) if migration.checksum != applied.checksum => {
                return Err(TenantFault::changed(applied.version));
            }
            None if !allows_unknown => return Err(TenantFault::unknown(applied.version)),
            _ => versions.push(applied.version),
        }
    }
    Ok(versions)
}

/// Brings a tenant to a version, and returns how many migrations were run.
pub(super) async fn bring<DB: Migrates>(
    connection: &mut DB::Connection,
    migrations: &Migrations,
    applied: &[i64],
    direction: Direction,
    version: i64,
    lock_timeout: Duration,
) -> Result<usize, TenantFault> {
    DB::limit_lock_waits(connection, Some(lock_timeout)).await?;
    match direction {
        Direction::Up => up::<DB>(connection, migrations, applied, version, lock_timeout).await,
        Direction::Down => down::<DB>(connection, migrations, applied, version).await,
    }
}

async fn up<DB: Migrates>(
    connection: &mut DB::Connection,
    migrations: &Migrations,
    applied: &[i64],
    version: i64,
    lock_timeout: Duration,
) -> Result<usize, TenantFault> {
    let missing = migrations
        .ups()
        .filter(|migration| migration.version <= version && !applied.contains(&migration.version));
    let mut run = 0;
    for migration in missing {
        apply::<DB>(connection, migration, lock_timeout).await?;
        run += 1;
    }
    Ok(run)
}

async fn apply<DB: Migrates>(
    connection: &mut DB::Connection,
    migration: &Migration,
    lock_timeout: Duration,
) -> Result<(), TenantFault> {
    // A file of SQLite has no other connection that could mind, and its statements need no cutting.
    if DB::IS_ATOMIC && (!migration.no_tx || DB::IS_ONE_FILE) {
        connection.apply(LEDGER, migration).await?;
        return Ok(());
    }
    if !migration.no_tx {
        return stepwise::apply::<DB>(connection, migration).await;
    }
    // `CREATE INDEX CONCURRENTLY` waits for every transaction that was there before it, and harms nobody meanwhile.
    DB::limit_lock_waits(connection, None).await?;
    stepwise::apply::<DB>(connection, migration).await?;
    Ok(DB::limit_lock_waits(connection, Some(lock_timeout)).await?)
}

/// The newest one first. Nothing is run unless all of them can be taken back.
async fn down<DB: Migrates>(
    connection: &mut DB::Connection,
    migrations: &Migrations,
    applied: &[i64],
    version: i64,
) -> Result<usize, TenantFault> {
    let mut beyond: Vec<_> = applied
        .iter()
        .copied()
        .filter(|applied| *applied > version)
        .collect();
    beyond.sort_unstable_by(|one, other| other.cmp(one));
    let mut ways = Vec::new();
    for version in beyond {
        ways.push(
            migrations
                .way_back(version)
                .ok_or_else(|| TenantFault::no_way_back(version))?,
        );
    }
    for way in &ways {
        connection.revert(LEDGER, way).await?;
    }
    Ok(ways.len())
}
