//! What is done with the databases of tenants: migrate, run, look into, examine.

pub(crate) mod clients;
pub(crate) mod doctor;
pub(crate) mod engine;
pub(crate) mod homes;
pub(crate) mod life;
pub(crate) mod migrate;
pub(crate) mod migrations;
pub(crate) mod moves;
pub(crate) mod pending;
pub(crate) mod places;
pub(crate) mod progress;
pub(crate) mod psql;
pub(crate) mod rollback;
pub(crate) mod run;
pub(crate) mod seed;
pub(crate) mod signals;
pub(crate) mod transfer;
