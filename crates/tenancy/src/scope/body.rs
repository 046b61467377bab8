//! A response body that is polled in its request's scope.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::current::Slot;

/// The one wrapper around a response's body. Ends the scope when the body ends or is dropped.
pub(crate) struct ScopedBody {
    /// `Option` so that it can be dropped in the scope.
    inner: Option<Body>,
    slot: Slot,
}

impl ScopedBody {
    pub(crate) fn new(inner: Body, slot: Slot) -> Self {
        Self {
            inner: Some(inner),
            slot,
        }
    }

    fn end(&mut self) {
        let entered = self.slot.enter();
        self.inner = None;
        drop(entered);
        self.slot.close();
    }
}

impl HttpBody for ScopedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let entered = this.slot.enter();
        let polled = match &mut this.inner {
            Some(inner) => Pin::new(inner).poll_frame(cx),
            None => Poll::Ready(None),
        };
        drop(entered);
        // `Content-Length` bodies are not asked again after their last byte, so the end may show here already.
        let ended = match &polled {
            Poll::Ready(None | Some(Err(_))) => true,
            Poll::Ready(Some(Ok(_))) => this.inner.as_ref().is_some_and(HttpBody::is_end_stream),
            Poll::Pending => false,
        };
        if ended {
            this.end();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for ScopedBody {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for ScopedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedBody").finish_non_exhaustive()
    }
}
