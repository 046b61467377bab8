use std::{future::Future, time::Duration};

use crate::StoreError;

/// Where leases are kept: locks that end by themselves, so that a process that dies holds nothing up.
///
/// A name is free, or held by one holder until a moment. Several processes that share a store agree on it.
/// A holder is a random text, new for each time something is held. All futures may be dropped at any await; what was
/// acquired by a dropped future is free again when its time is over.
pub trait LockStore: Send + Sync + 'static {
    /// Takes `name` for `ttl` if nobody holds it, or whoever held it has run out of time. Returns whether `holder`
    /// holds it now; for a holder that holds it already, that is so, with the new time.
    ///
    /// # Errors
    /// When the store could not tell. Nothing may be done then.
    fn try_acquire(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Holds `name` for `ttl` from now, if `holder` holds it still. `false`: it was lost, to time or to another.
    ///
    /// # Errors
    /// When the store could not tell.
    fn renew(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Frees `name`, if `holder` holds it.
    ///
    /// # Errors
    /// When the store could not tell. It is free when its time is over.
    fn release(&self, name: &str, holder: &str) -> impl Future<Output = Result<(), StoreError>> + Send;
}
