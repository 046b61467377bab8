//! What differs between databases for the homes of tenants: how one is made, whom it lets in, and how it is dropped.

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use sqlx::Database;

use super::Options;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use crate::isolation::Identifier;
use crate::pool::Target;

/// The place of a home, and who comes there.
#[expect(missing_debug_implementations, reason = "options hold passwords")]
#[cfg_attr(
    not(feature = "postgres"),
    allow(dead_code, reason = "other databases ask for less")
)]
pub struct Plot<'a, DB: Database> {
    /// Whose it is to be.
    pub(crate) owner: &'a Options<DB>,
    /// Who serves from it, and owns nothing.
    pub(crate) app: &'a Options<DB>,
    pub(crate) target: &'a Target,
    /// Whether others live there, too.
    pub(crate) is_shared: bool,
    /// Whether it gets a ledger of migrations, which is not the application's business.
    pub(crate) is_migrated: bool,
    /// A database or file that new ones are copies of.
    pub(crate) template: Option<&'a str>,
}

/// Not reachable from outside: it seals [`TenantEngine`](crate::TenantEngine).
pub trait MakesHomes: Database {
    /// Whether homes can be copies of a template.
    const HAS_TEMPLATES: bool;

    fn home_is_there(plot: &Plot<'_, Self>) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;

    /// Makes an empty home, or a copy of the template, unless it is there. Returns whether it was made.
    fn make_home(plot: &Plot<'_, Self>) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;

    /// Lets the application in, and to whatever is made there from now on. Any number of times.
    fn let_in(plot: &Plot<'_, Self>) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Drops it with all that is in it. No error if it is gone.
    fn drop_home(plot: &Plot<'_, Self>) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Deletes the rows that policies leave to the tenant of the plot, from tables that it shares.
    fn empty_home(plot: &Plot<'_, Self>) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

#[cfg(any(feature = "postgres", feature = "mysql"))]
fn identifier(name: &str) -> Result<Identifier, sqlx::Error> {
    Identifier::new(name).map_err(|error| sqlx::Error::Configuration(error.into()))
}

/// Where there are no policies.
#[cfg(any(feature = "mysql", feature = "sqlite"))]
fn has_no_policies() -> sqlx::Error {
    sqlx::Error::Configuration("there are no policies that say which rows are the tenant's".into())
}
