//! Tenants that move to another server, database, schema or file.

mod load;
mod refused;
mod scene;
mod whole;
