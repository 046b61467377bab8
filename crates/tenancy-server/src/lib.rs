//! Settings and serving for tenancy: one settings file, checked as a whole, and an end that loses nothing.
//!
//! * [`settings`] reads defaults, a TOML file, the environment and overrides, in this order, and refuses what it does not
//!   know: with the key, and where it stands.
//! * [`serve`] serves an application until Ctrl-C or SIGTERM, then lets running requests end.
//! * [`log`] sets up the log.
//! * [`admin`] is what operators see, on an address of its own.
//! * `memory` (feature) looks after the memory of the process, as section `memory` says.

pub mod admin;
pub mod log;
#[cfg(feature = "memory")]
pub mod memory;
pub mod serve;
pub mod settings;
