//! The example server: three tenants under their own hosts, from a catalogue in an embedded SQLite file.
//!
//! [`start`] is what `main` does before it serves, [`routes`] the application, [`notes`] its data.

pub mod notes;
pub mod routes;
pub mod start;
