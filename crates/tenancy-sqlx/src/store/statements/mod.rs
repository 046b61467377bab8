//! The statements whose text differs between databases, or between a catalogue of its own and an adopted one. All others
//! stand where they are used, and read the log, which is the same everywhere.

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use super::StoreKind;
use crate::central::{Dialect, Statement};

pub(super) struct Statements {
    /// Tenants with their domains in one row, so that one statement is one consistent view without a transaction.
    /// The condition follows.
    pub(super) select: &'static str,
    /// The condition that finds the tenant of an active domain: what stands before and after the domain.
    pub(super) by_domain: (&'static str, &'static str),
    pub(super) count: &'static str,
    /// `number` and `floor` of the log, tenants by status, `domains`, `bytes` of the catalogue.
    pub(super) status: &'static str,
    /// `number` and `stamp` of the last change, and how many of an adoption's triggers are missing. Fails where tenants can
    /// not be read: a log that stands still says nothing then.
    pub(super) head: &'static str,
}

/// What differs between databases alone.
pub(super) struct Grammar {
    /// The condition that a text without spaces at its end is in a list: what stands before and after it, as a JSON text.
    in_list: (&'static str, &'static str),
    /// Reads the head's `number`, and keeps every other change from taking one until the transaction ends.
    pub(super) lock_head: &'static str,
    /// What of an adopted catalogue differs from the application's tables; the limit follows.
    pub(super) unseen: &'static str,
    /// How many of the two objects there are that `unseen` reads; in a column called `answer`.
    pub(super) has_unseen: &'static str,
}

impl Statements {
    pub(super) fn of(dialect: Dialect, kind: StoreKind) -> &'static Self {
        match (dialect, kind) {
            #[cfg(feature = "sqlite")]
            (Dialect::Sqlite, StoreKind::Adopted) => &sqlite::VIEWS,
            #[cfg(feature = "sqlite")]
            (Dialect::Sqlite, _) => &sqlite::OWN_TABLES,
            #[cfg(feature = "postgres")]
            (Dialect::Postgres, StoreKind::Adopted) => &postgres::VIEWS,
            #[cfg(feature = "postgres")]
            (Dialect::Postgres, _) => &postgres::OWN_TABLES,
            #[cfg(feature = "mysql")]
            (Dialect::MySql, StoreKind::Adopted) => &mysql::VIEWS,
            #[cfg(feature = "mysql")]
            (Dialect::MySql, _) => &mysql::OWN_TABLES,
        }
    }
}

impl Grammar {
    /// Follows a column.
    pub(super) fn push_in_list(&self, statement: &mut Statement, list: &[&str]) -> Result<(), sqlx::Error> {
        if let [only] = list {
            statement.push(" = ").push_bind(*only);
            return Ok(());
        }
        let list = serde_json::to_string(list).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let (before, after) = self.in_list;
        statement.push(before).push_bind(list).push(after);
        Ok(())
    }

    pub(super) fn of(dialect: Dialect) -> &'static Self {
        match dialect {
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => &sqlite::GRAMMAR,
            #[cfg(feature = "postgres")]
            Dialect::Postgres => &postgres::GRAMMAR,
            #[cfg(feature = "mysql")]
            Dialect::MySql => &mysql::GRAMMAR,
        }
    }
}
