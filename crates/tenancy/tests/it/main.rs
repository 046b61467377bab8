//! One binary for all integration tests of the crate.

mod support;

mod budgets;
mod catalogue;
mod gates;
mod hosts;
mod lookups;
mod proofs;
mod routers;
mod scopes;
mod stacks;
