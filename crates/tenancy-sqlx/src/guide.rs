//! Guides to the databases of tenants. Those to the stack are in the guides of `tenancy`.
//!
//! | guide | answers |
//! |---|---|
//! | [Choose an isolation](choose_an_isolation) | where the data of a tenant lives, and what keeps it from the others |
//! | [Connections and budgets](connections_and_budgets) | what is open, for whom and for how long, and what happens when it is not enough |
//! | [Migrate a fleet](migrate_a_fleet) | how the tables of all tenants change, how tenants come and go |

/// A database, a schema, rows or a file for each tenant.
#[doc = include_str!("../docs/choose-an-isolation.md")]
pub mod choose_an_isolation {}

/// One budget over all tenants, turns, resets, failures.
#[doc = include_str!("../docs/connections-and-budgets.md")]
pub mod connections_and_budgets {}

/// Migrations, new tenants, export and import.
#[doc = include_str!("../docs/migrate-a-fleet.md")]
pub mod migrate_a_fleet {}
