//! The `tenancy` command.
fn main() {}
