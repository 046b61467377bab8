//! The databases of tenants, by each strategy, against real servers.

mod audit;
mod batch;
mod canary;
mod fixture;
mod homes;
mod http;
mod left;
mod mysql;
mod outbox;
mod paths;
mod placement;
mod pooler;
mod reads;
mod sqlite;
mod stale;
mod strategies;
mod sweep;
mod twins;
mod wire;
