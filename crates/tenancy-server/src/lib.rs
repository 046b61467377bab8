//! Settings and serving for tenancy.
