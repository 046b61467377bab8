//! What every store of tenants and every shared cache level must do, as plain async functions to run against yours.
//!
//! * Write a [`StoreHarness`]: how the checks change the store, and what else can be done to it.
//! * [`tenant_store`] runs all checks, each against a store of its own, and returns a [`Report`]. Every check is a
//!   function too, to be run alone.
//! * A [`Failure`] says what was expected, what was seen, and why it matters: what goes wrong in production with such a
//!   store.
//! * [`shared_level`] does the same for a [`SharedLevel`](tenancy::cache::shared::SharedLevel), with a [`LevelHarness`]; its
//!   checks are in [`level`].
//!
//! **Caveats.** What the harness does not offer is not checked, and the report says so: read
//! [`Report::not_offered`] once. A store that cannot be watched (no [`signal`](TenantStore::signal)) is checked for what
//! it finds alone. The checks run on a tokio runtime with time enabled; none of them sleeps, and those that wait for a
//! signal give up after a minute.
//!
//! ```
//! # async fn example() {
//! use tenancy::MemoryStore;
//! use tenancy_core::{BoxError, TenantEntry, TenantId};
//! use tenancy_test::conformance::{self, StoreHarness};
//!
//! struct InMemory(MemoryStore);
//!
//! impl StoreHarness for InMemory {
//!     type Store = MemoryStore;
//!
//!     fn store(&self) -> &MemoryStore {
//!         &self.0
//!     }
//!
//!     async fn put(&self, entry: TenantEntry) -> Result<(), BoxError> {
//!         Ok(self.0.upsert(entry).await.map(drop)?)
//!     }
//!
//!     async fn purge(&self, id: &TenantId) -> Result<(), BoxError> {
//!         Ok(self.0.remove(id).await.map(drop)?)
//!     }
//! }
//!
//! let report = conformance::tenant_store(|| async { InMemory(MemoryStore::new()) }).await;
//! println!("{report}");
//! report.assert_passed();
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example());
//! ```
//!
//! ```
//! # use tenancy::MemoryStore;
//! # use tenancy_core::{BoxError, StoreError, TenantEntry, TenantId, TenantKey, TenantRecord, TenantStore};
//! # async fn example() {
//! use tenancy_test::conformance::{self, StoreHarness};
//!
//! /// Finds everybody for everyone.
//! struct Broken(MemoryStore);
//!
//! impl TenantStore for Broken {
//!     async fn find(&self, _: &TenantKey<'_>) -> Result<Option<TenantRecord>, StoreError> {
//!         Ok(self.0.list(None, 1).await?.entries.pop().map(|entry| entry.record))
//!     }
//! }
//! # impl StoreHarness for Broken {
//! #     type Store = Self;
//! #     fn store(&self) -> &Self { self }
//! #     async fn put(&self, entry: TenantEntry) -> Result<(), BoxError> {
//! #         Ok(self.0.upsert(entry).await.map(drop)?)
//! #     }
//! #     async fn purge(&self, id: &TenantId) -> Result<(), BoxError> { Ok(self.0.remove(id).await.map(drop)?) }
//! # }
//!
//! // One check alone, while the store is being written.
//! let mut harness = Broken(MemoryStore::new());
//! let failure = conformance::unknown_keys_find_nothing(&mut harness).await.unwrap_err();
//! assert_eq!(failure.expected(), "Ok(None) for id:initech");
//! println!("{failure}");
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example());
//! ```

mod changes;
mod find;
mod harness;
pub mod level;
mod life;
mod list;
mod report;

use std::future::Future;

#[cfg(doc)]
use tenancy_core::TenantStore;

pub use self::{
    changes::{
        a_change_tells_every_key_and_the_present_state, a_place_that_is_not_in_the_log_reloads,
        a_write_wakes_the_readers_and_waits_for_them, changes_in_portions_lose_nothing,
        numbers_grow_with_every_change,
    },
    find::{
        a_key_that_was_taken_away_leads_nowhere, every_key_finds_its_tenant, every_status_is_found,
        kinds_of_keys_do_not_meet, trouble_is_never_absence, unknown_keys_find_nothing,
    },
    harness::{Commit, Offered, StoreHarness},
    level::{LevelHarness, shared_level},
    life::{
        a_purged_tenant_is_gone_and_its_id_is_another, a_restored_backup_is_not_taken_for_growth,
        an_uncommitted_change_is_not_skipped,
    },
    list::{a_list_read_while_tenants_change_misses_none, the_list_is_complete_and_in_order},
    report::{CheckResult, Failure, Report, Verdict},
};

/// Runs every check, each against a store that `new_harness` makes for it, without tenants.
///
/// Runs all of them, whatever fails: see [`Report::assert_passed`].
pub async fn tenant_store<F, H>(new_harness: impl Fn() -> F) -> Report
where
    F: Future<Output = H>,
    H: StoreHarness,
{
    let mut report = Report::of("store");
    let new = async || new_harness().await;

    report.add(
        "every_key_finds_its_tenant",
        every_key_finds_its_tenant(&mut new().await).await,
    );
    report.add(
        "unknown_keys_find_nothing",
        unknown_keys_find_nothing(&mut new().await).await,
    );
    report.add(
        "kinds_of_keys_do_not_meet",
        kinds_of_keys_do_not_meet(&mut new().await).await,
    );
    report.add(
        "every_status_is_found",
        every_status_is_found(&mut new().await).await,
    );
    let result = a_key_that_was_taken_away_leads_nowhere(&mut new().await).await;
    report.add("a_key_that_was_taken_away_leads_nowhere", result);
    report.add(
        "trouble_is_never_absence",
        trouble_is_never_absence(&mut new().await).await,
    );

    let result = the_list_is_complete_and_in_order(&mut new().await).await;
    report.add("the_list_is_complete_and_in_order", result);
    let result = a_list_read_while_tenants_change_misses_none(&mut new().await).await;
    report.add("a_list_read_while_tenants_change_misses_none", result);

    let result = a_place_that_is_not_in_the_log_reloads(&mut new().await).await;
    report.add("a_place_that_is_not_in_the_log_reloads", result);
    let result = a_change_tells_every_key_and_the_present_state(&mut new().await).await;
    report.add("a_change_tells_every_key_and_the_present_state", result);
    let result = changes_in_portions_lose_nothing(&mut new().await).await;
    report.add("changes_in_portions_lose_nothing", result);
    let result = numbers_grow_with_every_change(&mut new().await).await;
    report.add("numbers_grow_with_every_change", result);
    let result = a_write_wakes_the_readers_and_waits_for_them(&mut new().await).await;
    report.add("a_write_wakes_the_readers_and_waits_for_them", result);

    let result = a_purged_tenant_is_gone_and_its_id_is_another(&mut new().await).await;
    report.add("a_purged_tenant_is_gone_and_its_id_is_another", result);
    let result = a_restored_backup_is_not_taken_for_growth(&mut new().await).await;
    report.add("a_restored_backup_is_not_taken_for_growth", result);
    let result = an_uncommitted_change_is_not_skipped(&mut new().await).await;
    report.add("an_uncommitted_change_is_not_skipped", result);
    report
}
