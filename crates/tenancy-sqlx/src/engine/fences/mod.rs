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

use std::time::Duration;

use sqlx::Database;

use super::Plot;

/// What the triggers are called, and what their names begin with.
const FENCE: &str = "tenancy_fence";

/// What somebody hears who writes nevertheless.
const REFUSAL: &str = "the tenant moves to another place, or did: nothing is written here any more";

/// How often it is tried to get in between those who write, and how long between.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// Not reachable from outside: it seals [`TenantEngine`](crate::TenantEngine).
pub trait Fences: Database {
    /// What keeps a home from being copied as it is.
    fn hindrance(
        plot: &Plot<'_, Self>,
    ) -> impl Future<Output = Result<Option<&'static str>, sqlx::Error>> + Send;

    /// Refuses all writes from now on. When it returns, those that were under way have ended. Any number of times.
    fn fence(plot: &Plot<'_, Self>) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Takes the fence away. Any number of times.
    fn lift_fence(plot: &Plot<'_, Self>) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

#[cfg(any(feature = "mysql", feature = "sqlite"))]
const WRITES: [&str; 3] = ["INSERT", "UPDATE", "DELETE"];

/// The name of the trigger of one table, where each needs its own.
#[cfg(any(feature = "mysql", feature = "sqlite"))]
fn name_of(table: usize, write: &str) -> String {
    format!("{FENCE}_{table}_{}", write.to_lowercase())
}
