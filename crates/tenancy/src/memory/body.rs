//! A response body that is polled in its request's account.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tenancy_memory::Part;

/// Counts until the body ends or is dropped.
pub(super) struct MeteredBody {
    /// `Option` so that it can be dropped in the account.
    inner: Option<Body>,
    /// `None` once the body has ended.
    part: Option<Part>,
    /// Bytes that are still to come, where the headers say how many there are.
    left: Option<u64>,
}

impl MeteredBody {
    pub(super) fn new(inner: Body, part: Part, length: Option<u64>) -> Self {
        Self {
            inner: Some(inner),
            part: Some(part),
            left: length,
        }
    }

    fn end(&mut self, is_complete: bool) {
        let Some(mut part) = self.part.take() else { return };
        let inner = self.inner.take();
        part.run(|| drop(inner));
        if is_complete && let Some(account) = part.account() {
            account.meter().set_complete();
        }
    }
}

impl HttpBody for MeteredBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let (Some(inner), Some(part)) = (&mut this.inner, &mut this.part) else {
            return Poll::Ready(None);
        };
        let polled = part.run(|| Pin::new(inner).poll_frame(cx));
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    let length = data.len() as u64;
                    this.left = this.left.and_then(|left| left.checked_sub(length));
                    if let Some(account) = part.account() {
                        account.meter().add_escaped(length);
                    }
                }
                // `Content-Length` bodies are not asked again after their last byte.
                if this.inner.as_ref().is_some_and(HttpBody::is_end_stream) {
                    this.end(true);
                }
            }
            Poll::Ready(None) => this.end(true),
            Poll::Ready(Some(Err(_))) => this.end(false),
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

impl Drop for MeteredBody {
    fn drop(&mut self) {
        // Asked for no further than its end, which nobody had to see: a connection of HTTP/1 counts by itself.
        let is_complete = self.left == Some(0) || self.inner.as_ref().is_some_and(HttpBody::is_end_stream);
        self.end(is_complete);
    }
}

impl fmt::Debug for MeteredBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeteredBody").finish_non_exhaustive()
    }
}
