//! The `tenancy` command.
