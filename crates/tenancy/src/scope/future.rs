//! A future that runs in a scope.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::current::Slot;
use crate::memory::Metering;

pin_project! {
    /// A future that runs in a scope: what [`run`](super::run), [`central`](super::central) and
    /// [`carry`](super::carry) return.
    ///
    /// The scope is current during each poll and during the drop of the inner future, and is put back after each
    /// of them, also by a panic. Dropping it early is safe at any await; clean-up runs then.
    #[must_use = "futures do nothing unless awaited"]
    pub struct Scoped<F> {
        // Outlives the future inside: `Option` so that it can be dropped in the scope.
        #[pin]
        inner: Option<F>,
        slot: Slot,
        metering: Metering,
    }

    impl<F> PinnedDrop for Scoped<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.metering.run(|| {
                let entered = this.slot.enter();
                this.inner.set(None);
                drop(entered);
                this.slot.close();
            });
        }
    }
}

impl<F> Scoped<F> {
    pub(crate) fn new(inner: F, slot: Slot) -> Self {
        Self::metered(inner, slot, Metering::default())
    }

    pub(crate) fn metered(inner: F, slot: Slot, metering: Metering) -> Self {
        Self {
            inner: Some(inner),
            slot,
            metering,
        }
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let polled = this.metering.run(|| {
            let entered = this.slot.enter();
            // A finished future is polled again only by mistake; it then never wakes, as `std::future::pending`.
            let Some(inner) = this.inner.as_mut().as_pin_mut() else {
                return Poll::Pending;
            };
            let Poll::Ready(output) = inner.poll(cx) else {
                return Poll::Pending;
            };
            this.inner.set(None);
            drop(entered);
            this.slot.close();
            Poll::Ready(output)
        });
        if polled.is_ready() {
            // What it has used is the account's when its output is seen.
            *this.metering = Metering::default();
        }
        polled
    }
}

impl<F> fmt::Debug for Scoped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scoped").finish_non_exhaustive()
    }
}
