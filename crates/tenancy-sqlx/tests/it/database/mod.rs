//! The databases of tenants, by each strategy, against real servers.

mod audit;
mod fixture;
mod http;
mod placement;
mod pooler;
mod reads;
mod sqlite;
mod strategies;
mod wire;
