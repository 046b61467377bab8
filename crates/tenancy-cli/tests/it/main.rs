//! The binary as scripts and people use it, on catalogues in directories of their own.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets a surprise should stop there"
)]

mod cache;
mod catalogue;
mod completions;
mod databases;
mod domains;
mod embedding;
mod errors;
mod help;
mod looking;
mod maintenance;
mod servers;
mod support;
mod tenants;
