//! Fleets of tenants on real servers, migrated, killed and migrated on.

mod apart;
mod crash;
mod fixture;
mod fleet;
mod ledger;
mod stops;
