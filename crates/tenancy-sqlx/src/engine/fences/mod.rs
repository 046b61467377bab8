//! What keeps everybody from writing to a home that its tenant leaves, also those who have not heard of it.
//!
//! A fence is triggers that refuse each write. They are put where the data is, and so hold for all who write there, whoever
//! they are, whatever they were granted, and whatever they know. To put one on a table, the server waits for those who write
//! to it: once it is there, all that was committed is there, and nothing is to come.

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(test)]
mod tests;

use std::time::Duration;

use sqlx::Database;
use tokio::time::Instant;

use super::Plot;

/// What the triggers are called, and what their names begin with.
const FENCE: &str = "tenancy_fence";

/// What somebody hears who writes nevertheless.
const REFUSAL: &str = "the tenant moves to another place, or did: nothing is written here any more";

/// How long it is tried to get in between those who write.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long between two tries. A try itself waits no longer than a second for a lock.
const PAUSE: Duration = Duration::from_millis(100);

/// Until when one fence is tried to be put or taken away, all of its tables together.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    until: Instant,
}

impl Patience {
    /// From now on.
    pub(crate) fn usual() -> Self {
        Self::of(PATIENCE)
    }

    fn of(time: Duration) -> Self {
        Self {
            until: Instant::now() + time,
        }
    }

    /// After a try that met somebody who writes: pauses and returns true, or returns false at once, for the time is over.
    async fn again(self) -> bool {
        if !self.lasts_at(Instant::now() + PAUSE) {
            return false;
        }
        tokio::time::sleep(PAUSE).await;
        true
    }

    fn lasts_at(self, moment: Instant) -> bool {
        moment < self.until
    }
}

/// Why a fence was not put, or not taken away.
#[derive(Debug)]
pub enum FenceError {
    /// Somebody had the home locked for as long as it was tried.
    InUse(sqlx::Error),
    Server(sqlx::Error),
}

impl From<sqlx::Error> for FenceError {
    fn from(error: sqlx::Error) -> Self {
        Self::Server(error)
    }
}

/// Not reachable from outside: it seals [`TenantEngine`](crate::TenantEngine).
pub trait Fences: Database {
    /// What keeps a home from being copied as it is.
    fn hindrance(
        plot: &Plot<'_, Self>,
    ) -> impl Future<Output = Result<Option<&'static str>, sqlx::Error>> + Send;

    /// Refuses all writes from now on. When it returns, those that were under way have ended. Any number of times.
    fn fence(
        plot: &Plot<'_, Self>,
        patience: Patience,
    ) -> impl Future<Output = Result<(), FenceError>> + Send;

    /// Takes the fence away. Any number of times.
    fn lift_fence(
        plot: &Plot<'_, Self>,
        patience: Patience,
    ) -> impl Future<Output = Result<(), FenceError>> + Send;
}

#[cfg(any(feature = "mysql", feature = "sqlite"))]
const WRITES: [&str; 3] = ["INSERT", "UPDATE", "DELETE"];

/// The name of the trigger of one table, where each needs its own.
#[cfg(any(feature = "mysql", feature = "sqlite"))]
fn name_of(table: usize, write: &str) -> String {
    format!("{FENCE}_{table}_{}", write.to_lowercase())
}
