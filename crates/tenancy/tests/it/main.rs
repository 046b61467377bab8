//! One binary for all integration tests of the crate.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail their test by panicking"
)]

mod support;

mod budgets;
mod changes;
mod credentials;
mod gates;
mod handoffs;
mod hosts;
#[cfg(feature = "log")]
mod logs;
mod lookups;
mod proofs;
mod rollouts;
mod routers;
mod scopes;
mod stacks;
#[cfg(feature = "memory")]
mod unmetered;
mod urls;
