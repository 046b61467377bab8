//! Connections to the databases of tenants: one pool for each server, with one budget over all of its tenants.

mod breaker;
mod core;
mod target;
