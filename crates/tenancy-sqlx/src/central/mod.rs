//! The central database: one small adapter over sqlx's three drivers.
//!
//! Statements are written once, with `?` for a value and `"…"` around a name that is a word of SQL. What differs
//! between databases stands beside what it is for, chosen by [`Dialect`]. Not sqlx's `Any`: that is one registry for the
//! whole process, and forgets the options of each driver. Not generics: the database is chosen when the program runs.
//!
//! A [`Connection`] that is dropped in the middle of a statement or a transaction is closed, never handed on.

mod connection;
mod pool;
mod row;
mod statement;

pub(crate) use connection::Connection;
pub(crate) use pool::Pool;
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) use pool::PoolLimits;
pub(crate) use row::Row;
pub(crate) use statement::{ForEach, Statement, Value, sql};

/// Whose SQL is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    #[cfg(feature = "sqlite")]
    Sqlite,
    #[cfg(feature = "postgres")]
    Postgres,
    #[cfg(feature = "mysql")]
    MySql,
}

/// Runs the same code on whichever driver there is.
macro_rules! on_driver {
    ($kind:ident, $driver:expr, $bound:pat => $body:expr) => {
        match $driver {
            #[cfg(feature = "sqlite")]
            $kind::Sqlite($bound) => $body,
            #[cfg(feature = "postgres")]
            $kind::Postgres($bound) => $body,
            #[cfg(feature = "mysql")]
            $kind::MySql($bound) => $body,
        }
    };
}
use on_driver;
