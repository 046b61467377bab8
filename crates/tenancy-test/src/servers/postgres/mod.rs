//! PostgreSQL: see [`Postgres`].

mod database;
mod options;
mod server;
mod wire;

pub use self::{database::TestDatabase, options::PostgresOptions, server::Postgres};
