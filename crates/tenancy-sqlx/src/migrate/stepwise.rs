//! Migrations that are no transaction: each statement is journaled in the tenant's own database, so that one that was
//! broken off goes on where it stood.

use sqlx::migrate::{Migrate, Migration};

use super::{error::TenantFault, ledger::LEDGER, set::checksum_of, statements::statements_of};
use crate::engine::{Fault, Migrates};

pub(crate) const TABLE: &str = "CREATE TABLE IF NOT EXISTS _tenancy_migration_steps (version BIGINT NOT NULL, step BIGINT NOT NULL, \
                     checksum VARCHAR(64) NOT NULL, is_done BIGINT NOT NULL, PRIMARY KEY (version, step))";

/// What the journal says of a statement.
struct Step {
    number: usize,
    is_done: bool,
    checksum: Box<str>,
}

/// Runs the statements of a migration that were not run before, and then notes it in the ledger.
pub(super) async fn apply<DB: Migrates>(
    connection: &mut DB::Connection,
    migration: &Migration,
) -> Result<(), TenantFault> {
    let version = migration.version;
    DB::run_made(connection, TABLE.into()).await?;
    let known = steps::<DB>(connection, version).await?;
    for (number, statement) in statements_of(migration.sql.as_str(), DB::GRAMMAR)
        .iter()
        .enumerate()
    {
        let checksum = checksum_of(statement);
        let known = known.iter().find(|step| step.number == number);
        match known {
            Some(step) if step.is_done && step.checksum == checksum => continue,
            Some(step) if step.is_done => return Err(TenantFault::half_applied(version)),
            Some(_) => DB::clear_after(connection, statement).await?,
            None => {}
        }
        let began = begin_step::<DB>(connection, version, number, &checksum).await;
        began.map_err(|error| TenantFault::statement(version, error))?;
        run_step::<DB>(connection, version, number, statement, known.is_some()).await?;
    }
    finish::<DB>(connection, migration).await
}

async fn steps<DB: Migrates>(
    connection: &mut DB::Connection,
    version: i64,
) -> Result<Vec<Step>, sqlx::Error> {
    let rows = DB::ask_made(
        connection,
        format!(
            "SELECT concat(step, ' ', is_done, ' ', checksum) FROM _tenancy_migration_steps WHERE version = {version}"
        ),
    )
    .await?;
    let step = |row: &String| {
        let mut words = row.split(' ');
        Some(Step {
            number: words.next()?.parse().ok()?,
            is_done: words.next()? == "1",
            checksum: words.next()?.into(),
        })
    };
    Ok(rows.iter().filter_map(step).collect())
}

/// Before the statement: one that is begun and not done may or may not have had its effect.
async fn begin_step<DB: Migrates>(
    connection: &mut DB::Connection,
    version: i64,
    number: usize,
    checksum: &str,
) -> Result<(), sqlx::Error> {
    forget_step::<DB>(connection, version, number).await?;
    let begin = format!("INSERT INTO _tenancy_migration_steps VALUES ({version}, {number}, '{checksum}', 0)");
    DB::run_made(connection, begin).await
}

async fn forget_step<DB: Migrates>(
    connection: &mut DB::Connection,
    version: i64,
    number: usize,
) -> Result<(), sqlx::Error> {
    let forget =
        format!("DELETE FROM _tenancy_migration_steps WHERE version = {version} AND step = {number}");
    DB::run_made(connection, forget).await
}

async fn run_step<DB: Migrates>(
    connection: &mut DB::Connection,
    version: i64,
    number: usize,
    statement: &str,
    was_begun: bool,
) -> Result<(), TenantFault> {
    match DB::run_made(connection, statement.to_owned()).await {
        Ok(()) => {}
        Err(error) if was_begun && DB::fault_of(&error) == Fault::DoneBefore => {}
        Err(error) => {
            if error.as_database_error().is_some() {
                // It surely had no effect: the next try is the first one again.
                DB::clear_after(connection, statement).await?;
                forget_step::<DB>(connection, version, number).await?;
            }
            return Err(TenantFault::statement(version, error));
        }
    }
    let done = format!(
        "UPDATE _tenancy_migration_steps SET is_done = 1 WHERE version = {version} AND step = {number}"
    );
    Ok(DB::run_made(connection, done).await?)
}

/// In one transaction: of a version that is in the ledger, no steps are known, should it be taken back and come again.
async fn finish<DB: Migrates>(
    connection: &mut DB::Connection,
    migration: &Migration,
) -> Result<(), TenantFault> {
    DB::run_made(connection, "BEGIN".into()).await?;
    connection.skip(LEDGER, migration).await?;
    let version = migration.version;
    DB::run_made(
        connection,
        format!("DELETE FROM _tenancy_migration_steps WHERE version = {version}"),
    )
    .await?;
    Ok(DB::run_made(connection, "COMMIT".into()).await?)
}
