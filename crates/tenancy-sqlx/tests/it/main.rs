//! The catalogue against real SQLite files.
#![cfg(feature = "sqlite")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::field_reassign_with_default,
    reason = "in tests; helpers beside the test functions are not covered by clippy.toml"
)]

mod adopted;
mod adopted_everywhere;
mod adopted_stack;
mod bulk;
mod cancel;
mod changes;
mod conformance;
#[cfg(all(feature = "databases", feature = "postgres", feature = "mysql"))]
mod database;
#[cfg(feature = "domains")]
mod domains;
mod file;
#[cfg(feature = "handoff")]
mod handoffs;
#[cfg(all(feature = "databases", feature = "postgres", feature = "mysql"))]
mod lifecycle;
mod locks;
mod manage;
#[cfg(all(feature = "databases", feature = "postgres", feature = "mysql"))]
mod migrate;
mod model;
mod pages;
#[cfg(all(feature = "databases", feature = "postgres"))]
mod pool;
mod servers;
#[cfg(all(feature = "databases", feature = "postgres", feature = "mysql"))]
mod shares;
mod stack;
mod support;
#[cfg(all(feature = "databases", feature = "postgres", feature = "mysql"))]
mod transfer;
