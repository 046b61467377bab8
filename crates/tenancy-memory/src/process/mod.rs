//! The memory of the whole process: what is live, what is resident, whether it grows, and how to give back what is free.
//!
//! * [`MemorySampler`] looks every ten seconds, on a thread of its own, and keeps the latest [`ProcessMemory`].
//! * [`Growth`] says by how many bytes the live heap grows with a thousand requests.
//! * [`Purger`] makes the allocator return free pages to the system: when there are many, after so many requests, or when
//!   told to. Never on the way of a request.
//! * `HeapProfiler` (feature `profiling`) dumps who allocated what is live, for `pprof`.
//!
//! Nothing here needs a runtime, and nothing needs [`Metered`](crate::Metered): what is read is the allocator's own book
//! and the kernel's.
//!
//! # What it can not know
//!
//! * **C libraries.** With jemalloc or mimalloc as the allocator of Rust, C code such as SQLite still takes its memory from the
//!   C library. It is resident and not in the live heap.
//! * **`mmap`, stacks of threads, the program itself.** Resident, in no allocator's book.
//! * **Fragmentation.** A page with one live byte is resident. No purge gives it back.
//! * **mimalloc** does not say what is live unless it was built to count, which costs. Its live heap, and with it growth, are
//!   `unavailable`.
//! * **The C library's allocator** counts what its thread caches hold as live, some hundred KiB for each thread.
//!
//! What can not be read is [`Reading::Unavailable`], in JSON `"unavailable"`, and never zero.
//!
//! ```
//! use std::time::Duration;
//! use tenancy_memory::process::{MemorySampler, RequestCount};
//!
//! let requests = RequestCount::new();
//! let sampler = MemorySampler::builder().every(Duration::from_secs(10)).requests(&requests).start()?;
//! requests.add_one(); // for each request
//! let memory = sampler.latest();
//! println!("resident {}, live {}", memory.resident, memory.heap.allocated);
//! # Ok::<(), std::io::Error>(())
//! ```

mod allocator;
mod growth;
#[cfg(feature = "profiling")]
mod profile;
mod purger;
mod reading;
mod requests;
mod sample;
mod sampler;
mod system;

#[cfg(feature = "profiling")]
pub use profile::{HeapProfiler, ProfileError, ProfileState};

pub use self::{
    allocator::{Allocator, HeapStatistics},
    growth::{Growth, GrowthMeter},
    purger::{Purge, PurgeReason, PurgeRefused, Purger, PurgerBuilder, PurgerState},
    reading::{HumanBytes, Reading},
    requests::RequestCount,
    sample::{ControlGroup, ProcessMemory},
    sampler::{MemorySampler, MemorySamplerBuilder},
};
