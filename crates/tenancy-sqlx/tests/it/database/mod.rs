//! The databases of tenants, by each strategy, against real servers.

mod audit;
mod batch;
mod canary;
mod fixture;
mod homes;
mod http;
mod mysql;
mod placement;
mod pooler;
mod reads;
mod sqlite;
mod strategies;
mod sweep;
mod wire;
