//! One function for each fuzz target. Each compares what the crates do with a plain second way to tell, and panics
//! where they differ.

mod authority;
mod cache_entry;
mod head;
mod identifiers;
mod request;
mod settings;
mod tenants_file;

pub use authority::authority;
pub use cache_entry::cache_entry;
pub use identifiers::identifiers;
pub use request::Stacks;
pub use settings::settings;
pub use tenants_file::tenants_file;
