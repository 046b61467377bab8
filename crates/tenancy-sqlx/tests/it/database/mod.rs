//! The databases of tenants, by each strategy, against real servers.

mod audit;
mod batch;
mod fixture;
mod http;
mod mysql;
mod placement;
mod pooler;
mod reads;
mod sqlite;
mod strategies;
mod wire;
