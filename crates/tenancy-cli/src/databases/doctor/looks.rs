use std::{collections::HashSet, time::Duration};

use futures_util::StreamExt as _;
use sqlx::Connection as _;
use tenancy::core::{TenantRecord, TenantStatus};
use tenancy_sqlx::{
    TenantDetails,
    database::{Login, TenantHomes},
    migrate::{LedgerComparison, MigrationPlace, Migrations},
};

use super::finding::Findings;
use crate::databases::{
    engine::CliEngine,
    homes::{reason_of, reason_of_any},
    progress::Progress,
};

/// How long connecting to one tenant may take.
const CONNECT: Duration = Duration::from_secs(10);

/// What was seen of one tenant.
struct Seen {
    record: TenantRecord,
    /// Why the application's role can not connect, and whether it is for want of a database, schema or file.
    refusal: Option<(String, bool)>,
    drift: Option<Result<LedgerComparison, String>>,
}

/// Connects to each tenant, as the application and as the owner, and returns how many places were looked at. What tenants
/// share is looked at once.
pub(super) async fn examine<DB: CliEngine>(
    homes: &TenantHomes<DB>,
    everybody: &[TenantDetails],
    migrations: Option<&Migrations>,
    parallel: usize,
    findings: &mut Findings,
) -> usize {
    let records = to_look_at(homes, everybody);
    let is_without_owner = records
        .first()
        .is_some_and(|record| homes.client(record, Login::Owner).is_err());
    if is_without_owner {
        findings.warn(
            "drift",
            "databases.owner_url",
            "the server has no owner's URL, so that nobody can tell who is behind",
            "give the URL of the role that owns what tenants have",
        );
    }
    let progress = Progress::new(records.len() as u64);
    let total = records.len();
    let one = |record| look(homes, record, migrations.filter(|_| !is_without_owner));
    let mut looks = futures_util::stream::iter(records).map(one).buffered(parallel);
    while let Some(seen) = looks.next().await {
        if tell(&seen, findings) {
            progress.done();
        } else {
            progress.failed();
        }
    }
    progress.clear();
    total
}

/// Who is led somewhere; of those that share tables, the first.
fn to_look_at<DB: CliEngine>(homes: &TenantHomes<DB>, everybody: &[TenantDetails]) -> Vec<TenantRecord> {
    let mut shared = HashSet::new();
    let living = everybody.iter().map(|details| &details.record);
    living
        .filter(|record| record.status != TenantStatus::Deleted)
        .filter(|record| match homes.locate(record) {
            Ok((server, target)) if target.is_shared_database() => {
                shared.insert((server.to_owned(), target.database_name().to_owned()))
            }
            Ok(_) => true,
            Err(_) => false,
        })
        .cloned()
        .collect()
}

async fn look<DB: CliEngine>(
    homes: &TenantHomes<DB>,
    record: TenantRecord,
    migrations: Option<&Migrations>,
) -> Seen {
    let refusal = match homes.connect(&record, Login::Application, true).await {
        Ok(connection) => {
            // It was opened to see whether it can be.
            drop(connection.close().await);
            None
        }
        // The audit has connected to the database that all share.
        Err(error) if error.is_guarded() || error.is_behind_pooler() => None,
        Err(error) => Some((reason_of(&error), error.is_missing_database())),
    };
    // What the application can not reach, the owner sees nothing new of.
    let drift = match migrations {
        Some(migrations) if refusal.is_none() => Some(drift(homes, &record, migrations).await),
        _ => None,
    };
    Seen {
        record,
        refusal,
        drift,
    }
}

async fn drift<DB: CliEngine>(
    homes: &TenantHomes<DB>,
    record: &TenantRecord,
    migrations: &Migrations,
) -> Result<LedgerComparison, String> {
    let place = MigrationPlace::of(homes, record).map_err(|error| reason_of(&error))?;
    let compared = place.compare(migrations, CONNECT).await;
    compared.map_err(|error| reason_of_any(&error))
}

/// Whether all is well.
fn tell(seen: &Seen, findings: &mut Findings) -> bool {
    let id = seen.record.id.as_str();
    match (&seen.refusal, &seen.drift) {
        (Some((reason, true)), _) if seen.record.status == TenantStatus::Pending => {
            findings.warn(
                "databases",
                id,
                reason,
                "the tenant is pending: it may be made yet",
            );
        }
        (Some((reason, true)), _) => {
            let remedy = "make it, restore it, or correct the tenant's placement";
            findings.problem("databases", id, reason, remedy);
        }
        (Some((reason, false)), _) => {
            let remedy = "see whether the server runs, and what it grants to the application's role";
            findings.problem("databases", id, reason, remedy);
        }
        (None, None) => return true,
        (None, Some(Err(reason))) => {
            let remedy = "see what the owner's role may do there";
            findings.problem("drift", id, reason, remedy);
        }
        (None, Some(Ok(ledger))) if ledger.is_equal() => return true,
        (None, Some(Ok(ledger))) if ledger.differs() => {
            let remedy = "use the migrations that it was made with, or repair it by hand; `migrate` does not";
            findings.problem("drift", id, &ledger.to_string(), remedy);
        }
        (None, Some(Ok(ledger))) => {
            findings.warn(
                "drift",
                id,
                &ledger.to_string(),
                "`migrate` brings it to the newest version",
            );
        }
    }
    false
}
