//! The real program, in a process of its own, over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that finds nothing where something must be has failed"
)]

mod support;

mod cached;
mod catalogue;
mod ends;
mod hosts;
mod memory;
mod notes;
mod refused_starts;
mod report;
mod servers;
mod starts;
