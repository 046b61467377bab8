//! Guides: how an application's tests use this crate.
//!
//! Their examples are compiled and run with the tests of this crate.

/// One changed line in the tests that you have, and what else there is to test.
#[doc = include_str!("../docs/test-your-handlers.md")]
pub mod test_your_handlers {}
