//! Stores: the one in memory, and the form in which the stack keeps any of them.

mod erased;
mod memory;

pub(crate) use erased::ErasedStore;
pub use memory::{MemoryStore, MemoryStoreError};
