use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use super::{core::Held, janitor, open, open::Link, server::ServerPool};
use crate::engine::TenantEngine;

/// A connection outside of the state machine. Dropped, it is closed: only who knows that it is clean gives it back.
pub(super) struct Checkout<DB: TenantEngine> {
    pool: Arc<ServerPool<DB>>,
    /// Always there but while it is dropped.
    held: Option<Held<Link<DB>>>,
}

impl<DB: TenantEngine> Checkout<DB> {
    pub(super) fn new(pool: Arc<ServerPool<DB>>, held: Held<Link<DB>>) -> Self {
        Self {
            pool,
            held: Some(held),
        }
    }

    pub(super) fn pool(&self) -> &Arc<ServerPool<DB>> {
        &self.pool
    }

    #[expect(
        clippy::expect_used,
        reason = "it is taken by methods that consume the checkout"
    )]
    pub(super) fn link(&mut self) -> &mut Link<DB> {
        &mut self
            .held
            .as_mut()
            .expect("a checkout has its connection")
            .connection
    }

    #[expect(
        clippy::expect_used,
        reason = "it is taken by methods that consume the checkout"
    )]
    fn connection(&self) -> &DB::Connection {
        let held = self.held.as_ref().expect("a checkout has its connection");
        &held.connection.connection
    }

    /// It carries nothing of its use.
    pub(super) fn give_back(mut self) {
        if let Some(held) = self.held.take() {
            self.pool
                .with_core(|core, now, effects| core.give_back(held, now, effects));
        }
    }

    /// With a good-bye, in a task of its own.
    pub(super) fn close(mut self) {
        if let Some(held) = self.held.take() {
            let (link, closing) = self
                .pool
                .with_core(|core, now, effects| core.discard(held, now, effects));
            let pool = Arc::clone(&self.pool);
            self.pool.spawn(open::close(pool, link, closing));
        }
    }

    /// Without one.
    pub(super) fn close_hard(self) {
        drop(self);
    }
}

impl<DB: TenantEngine> Drop for Checkout<DB> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            super::figures::Tallies::count(&self.pool.tallies.closed_hard);
            let (link, closing) = self
                .pool
                .with_core(|core, now, effects| core.discard(held, now, effects));
            let pool = Arc::clone(&self.pool);
            self.pool.spawn(open::close_hard(pool, link, closing));
        }
    }
}

/// A connection to one tenant's database, of a [`TenantPools`](super::TenantPools).
///
/// Derefs to sqlx's connection. From the first mutable use on it counts as dirty: when it is dropped it is reset in the
/// background, and nobody has it before the server has answered the reset. A statement that still runs is cancelled, and
/// a transaction that is open is rolled back. What can not be reset is closed.
///
/// A lease that was never used goes back at once. Dropping neither awaits nor blocks.
pub struct Lease<DB: TenantEngine> {
    checkout: Option<Checkout<DB>>,
    is_dirty: bool,
}

impl<DB: TenantEngine> Lease<DB> {
    pub(super) fn new(checkout: Checkout<DB>) -> Self {
        Self {
            checkout: Some(checkout),
            is_dirty: false,
        }
    }
}

impl<DB: TenantEngine> Deref for Lease<DB> {
    type Target = DB::Connection;

    #[expect(clippy::expect_used, reason = "it is taken by drop alone")]
    fn deref(&self) -> &DB::Connection {
        self.checkout
            .as_ref()
            .expect("a lease has its connection")
            .connection()
    }
}

impl<DB: TenantEngine> DerefMut for Lease<DB> {
    #[expect(clippy::expect_used, reason = "it is taken by drop alone")]
    fn deref_mut(&mut self) -> &mut DB::Connection {
        // Before the first await of whatever it is used for: that future may be dropped at any of them.
        self.is_dirty = true;
        let checkout = self.checkout.as_mut().expect("a lease has its connection");
        &mut checkout.link().connection
    }
}

impl<DB: TenantEngine> Drop for Lease<DB> {
    fn drop(&mut self) {
        if let Some(checkout) = self.checkout.take() {
            if self.is_dirty {
                janitor::clean(checkout);
            } else {
                checkout.give_back();
            }
        }
    }
}

impl<DB: TenantEngine> fmt::Debug for Lease<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("is_dirty", &self.is_dirty)
            .finish_non_exhaustive()
    }
}
