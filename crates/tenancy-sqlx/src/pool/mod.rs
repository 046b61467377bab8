//! Connections to the databases of tenants: one pool for each server, with one budget over all of its tenants.

pub(crate) mod breaker;
mod control;
mod core;
mod error;
mod figures;
mod janitor;
mod lease;
mod open;
mod pools;
mod server;
mod settings;
mod target;

pub use self::{
    error::DatabaseError,
    figures::{PoolFigures, TenantFigures},
    lease::Lease,
    pools::{TenantPools, TenantPoolsBuilder},
    settings::PoolSettings,
    target::{Sharing, Target},
};
