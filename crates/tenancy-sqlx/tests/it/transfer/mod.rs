//! Tenants' data that is taken out and put in elsewhere, on real servers.

mod fixture;
mod hostile;
mod memory;
mod mysql;
mod postgres;
mod rows;
mod sqlite;
