//! Memory of requests, in a program whose allocator is the meter.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail their test by panicking"
)]

mod accounts;
mod reports;
mod support;
mod tenants;

use std::alloc::System;

use tenancy::memory::{Metered, Owned};

#[global_allocator]
static ALLOCATOR: Metered<Owned<System>> = Metered::new(Owned::new(System));
