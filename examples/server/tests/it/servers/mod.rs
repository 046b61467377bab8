//! Tenants on PostgreSQL and MariaDB: in databases, schemas and rows of their own.

mod place;
mod serving;
mod starting;
