//! Data and seams of tenancy: what a store, an identifier or a test kit needs, and nothing that serves requests.
//!
//! Applications depend on the `tenancy` crate, which re-exports all of this. Depend on this crate alone
//! when you publish a [`TenantStore`] or an [`Identify`] of your own: it is small and changes slowly.
//!
//! * [`TenantId`], [`TenantKey`], [`TenantRecord`] say who a tenant is and what is known of it.
//! * [`Identify`] reads a request head and yields a key, without I/O. [`Host`] is the validated host it may read.
//! * [`TenantStore`] turns a key into a record, with I/O. `Ok(None)` and `Err` never mean the same.
//! * [`Clock`] is where time comes from.
//!
//! A proof that a request belongs to a tenant (`tenancy::Tenant`) is not here: whatever could be built from
//! this crate could be forged by anybody.
//!
//! ```
//! use tenancy_core::{Identification, RequestHead, TenantKey, Identify};
//!
//! // A closure is an identifier.
//! let by_api_key = |head: &RequestHead<'_>| {
//!     let value = head.headers().get("x-api-key")?.to_str().ok()?;
//!     TenantKey::custom("api-key", value.to_owned()).ok()
//! };
//!
//! let request = http::Request::get("/").header("x-api-key", "k-1").body(()).unwrap();
//! let (parts, ()) = request.into_parts();
//! let Identification::Key(found) = by_api_key.identify(&RequestHead::new(&parts)) else { panic!() };
//! assert_eq!(found.key().value(), "k-1");
//! ```
//!
//! ```
//! use tenancy_core::{StoreError, TenantId, TenantKey, TenantRecord, TenantStore};
//!
//! struct OnlyAcme;
//!
//! impl TenantStore for OnlyAcme {
//!     async fn find(&self, key: &TenantKey<'_>) -> Result<Option<TenantRecord>, StoreError> {
//!         if key.value() != "acme" {
//!             return Ok(None);
//!         }
//!         Ok(Some(TenantRecord::new(TenantId::new("acme").map_err(StoreError::corrupt)?)))
//!     }
//! }
//! ```

mod attachment;
mod clock;
mod error;
mod host;
mod id;
mod identify;
mod key;
mod lock;
mod record;
mod signal;
mod store;

pub use attachment::Attachment;
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{BoxError, InvalidName, StoreError};
pub use host::{Host, HostForm, InvalidHost};
pub use id::TenantId;
pub use identify::{Identification, Identified, Identify, InvalidIdentifier, Reads, RequestHead};
pub use key::{KeyKind, TenantKey, is_domain, is_slug};
pub use lock::LockStore;
pub use record::{Maintenance, Placement, TenantRecord, TenantStatus};
pub use signal::{ChangeSignal, ChangeSubscription};
pub use store::{ChangeBatch, ChangeMark, TenantChange, TenantEntry, TenantPage, TenantStore};
