//! What is done with the databases of tenants, on real servers and files.

mod doctor;
mod fixture;
mod life;
mod migrate;
mod psql;
mod run;
