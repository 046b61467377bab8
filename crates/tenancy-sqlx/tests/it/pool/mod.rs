//! The pool against real servers.

mod budget;
mod cancel;
mod dirt;
mod faults;
mod fixture;
mod moves;
mod server;
mod sqlite;
