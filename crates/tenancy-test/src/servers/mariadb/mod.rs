//! MariaDB: see [`MariaDb`].

mod database;
mod options;
mod server;
mod wire;

pub use self::{database::MariaDbDatabase, options::MariaDbOptions, server::MariaDb};
