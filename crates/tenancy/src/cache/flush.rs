use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
};

use super::{
    Cache, FlushAbandoned, FlushReceipt,
    shared::{Cell, FlushMode},
};

/// A flush, done when it is awaited. Hard, unless it says otherwise.
#[must_use = "a flush does nothing unless it is awaited"]
pub struct Flush<'a> {
    cache: &'a Cache,
    cells: Vec<Cell>,
    mode: FlushMode,
}

impl<'a> Flush<'a> {
    pub(super) fn new(cache: &'a Cache, cells: Vec<Cell>) -> Self {
        Self {
            cache,
            cells,
            mode: FlushMode::Hard,
        }
    }

    /// What is flushed is still served, for [`soft_flush_grace`](super::CacheSettings::soft_flush_grace), while it is loaded
    /// anew: nobody waits, and the database sees a few loads at once rather than all.
    pub fn soft(mut self) -> Self {
        self.mode = FlushMode::Soft;
        self
    }

    /// Flushes, and waits until that is in effect everywhere: see [`FlushReceipt::everywhere`].
    ///
    /// # Errors
    /// When the cache ended before the shared level had heard of it.
    pub async fn barrier(self) -> Result<FlushReceipt, FlushAbandoned> {
        let receipt = self.await;
        receipt.everywhere().await?;
        Ok(receipt)
    }
}

impl<'a> IntoFuture for Flush<'a> {
    type Output = FlushReceipt;
    type IntoFuture = Pin<Box<dyn Future<Output = FlushReceipt> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.cache.raise(self.cells, self.mode))
    }
}

impl fmt::Debug for Flush<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flush")
            .field("cells", &self.cells)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}
