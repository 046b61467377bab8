//! Homes that are made and dropped on real servers.

mod create;
mod fixture;
mod strategies;
