//! Files of tenants in any object store, each tenant's under a prefix that no path can leave.
//!
//! * [`Files`] is one store for the process: a directory, memory, or with the features of the `object_store` crate a
//!   bucket of S3, Google Cloud or Azure.
//! * [`Files::of`] gives a tenant's part of it, for a [`Tenant`](tenancy::Tenant) and for nothing else. All of it lies
//!   under `t/{id}.{incarnation}/`: a tenant that gets the name of a purged one finds nothing.
//! * Paths are checked before the store sees them: what is absolute, climbs, hides in an escape or has an empty segment
//!   is refused, never repaired.
//!
//! **Caveats.** Who can write to the store by other ways can put symbolic links into a directory; these are followed.
//! A purge of a tenant does not delete its files: call [`TenantFiles::delete_all`] before.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use object_store::memory::InMemory;
//! use tenancy::{MemoryStore, Tenancy, resolve::Subdomain};
//! use tenancy_files::Files;
//!
//! let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme", "globex"])?);
//! let acme = tenancy.enter(&"acme".parse()?).await?;
//! let globex = tenancy.enter(&"globex".parse()?).await?;
//!
//! let files = Files::new(InMemory::new());
//! files.of(&acme).put("logos/small.png", "…").await?;
//! assert!(files.of(&acme).get("logos/small.png").await?.is_some());
//! assert!(files.of(&globex).get("logos/small.png").await?.is_none());
//! assert!(files.of(&globex).get("../acme.1/logos/small.png").await.is_err());
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use futures_util::TryStreamExt;
//! use object_store::memory::InMemory;
//! use tenancy::{MemoryStore, Tenancy, resolve::Subdomain};
//! use tenancy_files::Files;
//!
//! let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?);
//! let files = Files::new(InMemory::new()).of(&tenancy.enter(&"acme".parse()?).await?);
//! files.put("exports/2026/january.csv", "a;b").await?;
//! files.put("exports/2026/june.csv", "c;d").await?;
//!
//! let listed: Vec<_> = files.list("exports")?.try_collect().await?;
//! assert_eq!(listed.len(), 2);
//! assert_eq!(files.delete_all("exports/2026").await?, 2);
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```

mod error;
mod files;
mod path;

pub use error::FilesError;
pub use files::{FileEntry, Files, TenantFiles};
/// The crate whose stores are used.
pub use object_store;
