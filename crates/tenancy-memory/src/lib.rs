//! What each request, job or tenant allocates, frees, holds and needs at most: a meter around the program's allocator.
//!
//! ```standalone_crate
//! use std::alloc::System;
//! use tenancy_memory::{Account, Metered};
//!
//! #[global_allocator]
//! static ALLOCATOR: Metered<System> = Metered::new(System);
//!
//! let account = Account::new();
//! let mut part = account.part();
//! let kept = part.run(|| {
//!     drop(vec![0_u8; 1_000]);
//!     vec![0_u8; 10]
//! });
//! drop(part);
//!
//! let usage = account.usage();
//! assert_eq!((usage.allocated, usage.freed, usage.peak), (1_010, 1_000, 1_000));
//! assert_eq!((usage.net(), usage.allocations), (10, 2));
//! # drop(kept);
//! ```
//!
//! * [`Metered`] counts in the thread, without a lock, an atomic or a lookup. It passes on all four methods of the allocator that it
//!   wraps, so that blocks still grow in place, and changes no block: it may be [switched](switch) off and on at any time.
//! * An [`Account`] is one request's, or whatever is to be counted together. A [`Part`] is what one task adds to it: it is entered for
//!   each poll ([`Part::run`]), and entering swaps the thread's counters. What runs in a part that is entered inside of another one
//!   counts for the inner one alone.
//! * [`charge_to`] counts what lives on purpose, such as a cache's entries, for a [`Purpose`] instead of a request.
//! * [`Owned`], which is opt-in, also writes into each block whose it is: [`Owner::live_bytes`] is exact whoever frees.
//! * [`process`] (feature) looks at the whole process: what is live and resident, whether it grows, and how to give back what is free.
//!
//! # What the figures mean
//!
//! | figure | means | exact |
//! |---|---|---|
//! | `allocated`, `freed` | bytes that were asked for (`Layout::size`) by code that ran in one of the account's parts. A block that is resized is freed in its old size and allocated in its new one | yes |
//! | `net` | `allocated` − `freed`; below 0 where what others allocated is freed | yes, as defined |
//! | `peak` | the highest `net` of the first part | yes |
//! | `peak_sum` | that, and the peaks of all other parts, as if they had been at one time | an upper bound |
//! | `escaped` | what whoever keeps the account says was handed to others, who free it later | as good as what is said |
//! | `retained` | `net` − `escaped` | an indication of what stays |
//! | [`Owner::live_bytes`] | all blocks that were allocated in parts of the owner and not freed yet, by whomever | yes |
//!
//! **What it cannot know.** Sizes are those that were asked for, not those of size classes, pages or resident memory. C libraries with an
//! allocator of their own, `mmap`, stacks and page cache are not seen. What is allocated outside of every part is
//! [`ProcessTotals::unattributed`]; threads that never end a part do not tell even that.
//!
//! # Cost
//!
//! No part entered: two counters are updated for each allocation, one for each release. The counters are thread-locals that need neither
//! initialisation nor a destructor, so that allocating works while a thread begins and ends.

mod account;
mod counters;
mod metered;
mod owned;
#[cfg(feature = "process")]
pub mod process;
mod purpose;
mod totals;

#[cfg(test)]
mod tests;

pub use account::{Account, AccountOwner, Meter, Part, Usage, current_account, with_current_owner};
pub use metered::{Metered, is_installed, is_on, switch};
pub use owned::{OWNERS, Owned, Owner, are_owners_kept};
pub use purpose::{PURPOSES, Purpose, PurposeUsage, charge_to, part_of_purpose, purposes};
pub use totals::{ProcessTotals, Totals, process_totals};

#[cfg(feature = "mimalloc")]
pub use mimalloc::MiMalloc;
#[cfg(feature = "jemalloc")]
pub use tikv_jemallocator::Jemalloc;
