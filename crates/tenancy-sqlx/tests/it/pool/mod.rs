//! The pool against real servers.

mod budget;
mod cancel;
mod dirt;
mod faults;
mod fixture;
mod moves;
#[cfg(feature = "mysql")]
mod mysql;
mod server;
mod sqlite;
