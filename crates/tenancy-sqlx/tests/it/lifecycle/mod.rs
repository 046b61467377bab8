//! Homes that are made and dropped on real servers.

mod crash;
mod create;
mod existing;
mod fixture;
mod heartbeat;
mod hooks;
mod moves;
mod pending;
mod strategies;
