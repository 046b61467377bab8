//! The example server: three tenants under their own hosts, each with its notes in its own database.
//!
//! [`options`] is its command line, [`start`] what `main` does before it serves, [`routes`] the application, [`notes`] its data,
//! [`memory`] watches what it needs,
//! and [`homes`] gives each tenant the database, schema or file that its notes are in.

pub mod homes;
pub mod memory;
pub mod notes;
pub mod options;
mod roles;
pub mod routes;
pub mod start;
