//! Against real servers: one, a cluster, and a master that Sentinel watches.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that finds nothing where something must be has failed"
)]

mod clocks;
mod cluster;
mod conformance;
mod cost;
mod entries;
mod joined;
mod loss;
mod messages;
mod outage;
mod own;
mod paused;
mod place;
mod rights;
mod scopes;
mod sentinel;
#[cfg(feature = "tls")]
mod tls;
mod together;
