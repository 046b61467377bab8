//! One tenant: connect, lock, look at the ledger, run what is missing.

use std::time::Duration;

use sqlx::{ConnectOptions as _, Connection as _};

use super::{
    FleetSettings, MigrationPlace, Migrations,
    error::TenantFault,
    ledger::{self, Direction},
};
use crate::engine::TenantEngine;

/// What is to become of a tenant.
pub(super) struct Errand<'a> {
    pub(super) migrations: &'a Migrations,
    pub(super) direction: Direction,
    pub(super) version: i64,
}

/// Brings a tenant to a version, and returns how many migrations were run. Tries again while what stands in the way may
/// pass.
pub(super) async fn bring<DB: TenantEngine>(
    place: &MigrationPlace<DB>,
    errand: &Errand<'_>,
    settings: &FleetSettings,
) -> Result<usize, TenantFault> {
    let mut pause = Duration::from_millis(50);
    let mut left = settings.patience;
    loop {
        match bring_once(place, errand, settings).await {
            Err(fault) if fault.is_passing::<DB>() && left > Duration::ZERO => {
                let nap = pause.min(left);
                tokio::time::sleep(nap).await;
                left -= nap;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
            outcome => return outcome,
        }
    }
}

async fn bring_once<DB: TenantEngine>(
    place: &MigrationPlace<DB>,
    errand: &Errand<'_>,
    settings: &FleetSettings,
) -> Result<usize, TenantFault> {
    let mut connection = match tokio::time::timeout(settings.connect, place.options.connect()).await {
        Ok(connected) => connected.map_err(TenantFault::connect)?,
        Err(_) => return Err(TenantFault::timed_out()),
    };
    // Whatever happens, the connection is used by nobody else: the lock, and what a migration set, end with it.
    let brought = on_connection(&mut connection, place, errand, settings).await;
    let closed = connection.close().await;
    if let (Ok(_), Err(error)) = (&brought, closed) {
        tracing::debug!(%error, "a connection that had migrated did not close well");
    }
    brought
}

async fn on_connection<DB: TenantEngine>(
    connection: &mut DB::Connection,
    place: &MigrationPlace<DB>,
    errand: &Errand<'_>,
    settings: &FleetSettings,
) -> Result<usize, TenantFault> {
    if !DB::point(connection, &place.search_path).await? {
        return Err(TenantFault::new("its schema is not there"));
    }
    if !DB::try_lock(connection, &place.search_path).await? {
        return Err(TenantFault::locked());
    }
    // Not before the lock is held: the ledger may have grown while somebody else had it.
    let allows_unknown = settings.ignore_unknown;
    let applied = ledger::applied::<DB>(connection, errand.migrations, allows_unknown).await?;
    let (direction, version, limit) = (errand.direction, errand.version, settings.lock_timeout);
    ledger::bring::<DB>(connection, errand.migrations, &applied, direction, version, limit).await
}
