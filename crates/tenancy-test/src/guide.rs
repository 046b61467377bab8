//! Guides: how an application's tests use this crate.
//!
//! Their examples are compiled and run with the tests of this crate.

/// One changed line in the tests that you have, and what else there is to test.
#[doc = include_str!("../docs/test-your-handlers.md")]
pub mod test_your_handlers {}

/// PostgreSQL, MariaDB, Redis and PgBouncer for tests, and what can be done to them.
#[cfg(all(feature = "servers", target_os = "linux"))]
#[doc = include_str!("../docs/test-with-real-servers.md")]
pub mod test_with_real_servers {}
