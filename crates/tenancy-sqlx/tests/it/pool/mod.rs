//! The pool against real servers.

mod budget;
mod cancel;
mod dirt;
mod faults;
mod files;
pub(crate) mod fixture;
mod keys;
mod moves;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "mysql")]
mod outages;
mod server;
mod sqlite;
mod storms;
