use std::{future::Future, pin::Pin};

use tenancy_core::{BoxError, TenantEntry, TenantId, TenantStore};

/// How the checks reach a store: the store itself, and how its tenants are changed.
///
/// [`TenantStore`] only reads. What writes, an admin tool or raw SQL, is what a harness stands for. Its optional
/// methods offer what some stores can do and others cannot; a check that needs one of them is not run without it.
pub trait StoreHarness: Send + Sync {
    /// The store under test.
    type Store: TenantStore;

    /// The store.
    fn store(&self) -> &Self::Store;

    /// Makes this the state of a tenant: creates it, or replaces its slug, status, plan and keys. The keys are domains; the slug
    /// is in the record. Epoch, incarnation and time of creation are the store's own, whatever the record says.
    ///
    /// # Errors
    /// When the store refuses.
    fn put(&self, entry: TenantEntry) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Removes a tenant for good. Its keys are free afterwards.
    ///
    /// # Errors
    /// When the store refuses.
    fn purge(&self, id: &TenantId) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Makes the store unable to tell: closes its connections, takes its server away. Nothing else is done with it
    /// afterwards but reading.
    ///
    /// # Errors
    /// When that could not be done.
    fn break_down(&mut self) -> impl Future<Output = Result<Offered, BoxError>> + Send {
        async { Ok(Offered::No) }
    }

    /// Keeps a copy of the store as it is now, for [`restore`](Self::restore).
    ///
    /// # Errors
    /// When that could not be done.
    fn back_up(&mut self) -> impl Future<Output = Result<Offered, BoxError>> + Send {
        async { Ok(Offered::No) }
    }

    /// Puts the copy in the place of the store, as an operator would after a loss. Called only if
    /// [`back_up`](Self::back_up) was offered.
    ///
    /// # Errors
    /// When that could not be done.
    fn restore(&mut self) -> impl Future<Output = Result<(), BoxError>> + Send {
        async { Ok(()) }
    }

    /// Creates a tenant in a transaction that has done everything but commit, and returns what commits it.
    /// `None` if the store has no such thing.
    ///
    /// # Errors
    /// When that could not be done.
    fn put_held_open(
        &self,
        entry: TenantEntry,
    ) -> impl Future<Output = Result<Option<Commit>, BoxError>> + Send {
        let _ = entry;
        async { Ok(None) }
    }
}

/// Whether a harness has done what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It has.
    Yes,
    /// It can not: the check is left out.
    No,
}

/// Commits a transaction that was held open.
pub type Commit = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;
