//! A response that is sent as it is made.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::watch::Watch;

pin_project! {
    /// Its request is active until it ends or is dropped.
    pub(super) struct WatchedBody<B> {
        #[pin]
        inner: B,
        watch: Option<Watch>,
        // Bytes of the announced length that are still to come. A server asks for no more than was announced.
        left: Option<u64>,
    }
}

impl<B> WatchedBody<B> {
    pub(super) fn new(inner: B, watch: Watch, announced: Option<u64>) -> Self {
        Self {
            inner,
            watch: Some(watch),
            left: announced,
        }
    }
}

/// Counts a frame. Returns whether nothing comes behind it that anybody asks for.
fn is_last(frame: &Frame<Bytes>, left: &mut Option<u64>) -> bool {
    let Some(data) = frame.data_ref() else {
        return frame.is_trailers();
    };
    *left = left.map(|left| left.saturating_sub(data.len() as u64));
    *left == Some(0)
}

impl<B: HttpBody<Data = Bytes>> HttpBody for WatchedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let polled = this.inner.as_mut().poll_frame(cx);
        // A body is not always asked again after its last frame.
        let has_ended = match &polled {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(frame))) => is_last(frame, this.left) || this.inner.is_end_stream(),
            Poll::Ready(Some(Err(_))) => false,
            Poll::Pending => false,
        };
        if has_ended {
            if let Some(watch) = this.watch.as_mut() {
                watch.end();
            }
            *this.watch = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
