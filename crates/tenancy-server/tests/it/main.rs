//! One binary for all integration tests of the crate.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that finds nothing where something must be has failed"
)]

mod databases;
mod seeds;
mod serve;
mod settings;
