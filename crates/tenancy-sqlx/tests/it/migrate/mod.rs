//! Fleets of tenants on real servers, migrated, killed and migrated on.

mod apart;
mod crash;
mod fixture;
mod fleet;
mod homes;
mod ledger;
mod stops;
