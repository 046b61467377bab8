//! Takes a body into memory, up to a cap. What does not fit goes on to the client as if nobody had looked.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Error,
    body::{Body, Bytes, HttpBody},
};
use bytes::BytesMut;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::{task::coop::consume_budget, time::timeout};

/// What became of a body.
pub(super) enum Collected {
    Whole(Bytes),
    /// It is too large, has trailers, or takes too long to end: all of it, with what was taken.
    TooMuch(Body),
    /// It broke off: all of it, with the error.
    Broken(Body),
}

/// Collects at most `cap` bytes, for at most this long; the rest of a body that is slower is sent as it comes.
pub(super) async fn collect(body: Body, cap: usize, within: Duration) -> Collected {
    if body.size_hint().lower() > cap as u64 {
        return Collected::TooMuch(body);
    }
    let mut partial = Partial {
        ahead: VecDeque::new(),
        len: 0,
        rest: Some(body),
        last: None,
    };
    // Nothing is lost where the wait ends: what was taken is in `partial`.
    let ended = timeout(within, partial.take(cap)).await;
    match (ended, &partial.last) {
        (Ok(true), None) => Collected::Whole(partial.joined()),
        (Ok(_), Some(Err(_))) => Collected::Broken(Body::new(partial)),
        _ => Collected::TooMuch(Body::new(partial)),
    }
}

/// A body of which some was taken.
struct Partial {
    ahead: VecDeque<Bytes>,
    /// Bytes of `ahead`.
    len: usize,
    /// `None` once it has ended.
    rest: Option<Body>,
    /// Trailers, or why it broke off.
    last: Option<Result<Frame<Bytes>, Error>>,
}

impl Partial {
    /// Whether it has ended within the cap.
    async fn take(&mut self, cap: usize) -> bool {
        while let Some(rest) = &mut self.rest {
            match rest.frame().await {
                None => self.rest = None,
                Some(Ok(frame)) => match frame.into_data() {
                    // They are no part of the body, and there may be no end of them.
                    Ok(data) if data.is_empty() => consume_budget().await,
                    Ok(data) => {
                        self.len = self.len.saturating_add(data.len());
                        self.ahead.push_back(data);
                        if self.len > cap {
                            return false;
                        }
                    }
                    Err(trailers) => {
                        self.last = Some(Ok(trailers));
                        self.rest = None;
                    }
                },
                Some(Err(error)) => {
                    self.last = Some(Err(error));
                    self.rest = None;
                }
            }
        }
        true
    }

    fn joined(mut self) -> Bytes {
        if self.ahead.len() <= 1 {
            return self.ahead.pop_front().map(without_its_buffer).unwrap_or_default();
        }
        let mut joined = BytesMut::with_capacity(self.len);
        for part in &self.ahead {
            joined.extend_from_slice(part);
        }
        joined.freeze()
    }
}

/// A piece of a buffer keeps all of it. Whether it is one can be seen only where nobody else has a part of it.
fn without_its_buffer(body: Bytes) -> Bytes {
    match body.try_into_mut() {
        Ok(alone) if alone.capacity() <= 2 * alone.len() => alone.freeze(),
        Ok(alone) => Bytes::copy_from_slice(&alone),
        Err(shared) => Bytes::copy_from_slice(&shared),
    }
}

impl HttpBody for Partial {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if let Some(data) = this.ahead.pop_front() {
            this.len = this.len.saturating_sub(data.len());
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match &mut this.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(this.last.take()),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.last.is_none() && self.rest.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let rest = match &self.rest {
            Some(rest) => rest.size_hint(),
            None => SizeHint::with_exact(0),
        };
        let ahead = self.len as u64;
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(ahead)) {
            hint.set_upper(upper);
        }
        hint.set_lower(rest.lower().saturating_add(ahead));
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures_util::{StreamExt, stream};
    use http::HeaderMap;
    use http_body_util::StreamBody;

    use super::*;

    const LONG: Duration = Duration::from_secs(1);

    fn of(parts: &[&'static str]) -> Body {
        let parts: Vec<_> = parts.iter().map(|part| Ok::<_, io::Error>(*part)).collect();
        Body::from_stream(stream::iter(parts))
    }

    async fn text(body: Body) -> String {
        let bytes = body.collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_body_is_taken_up_to_the_cap_and_one_that_grows_past_it_goes_on_whole() {
        for (parts, is_whole) in [
            (&[][..], true),
            (&["1234"], true),
            (&["12", "34"], true),
            (&["12", "345"], false),
            (&["12345"], false),
            (&["1", "2", "3", "4", "5", "6", "7"], false),
        ] {
            match collect(of(parts), 4, LONG).await {
                Collected::Whole(bytes) => {
                    assert!(is_whole, "{parts:?}");
                    assert_eq!(bytes, parts.concat());
                }
                Collected::TooMuch(body) => {
                    assert!(!is_whole, "{parts:?}");
                    assert_eq!(text(body).await, parts.concat());
                }
                Collected::Broken(_) => panic!("{parts:?} broke off"),
            }
        }
        let known = collect(Body::from("12345"), 4, LONG).await;
        assert!(matches!(known, Collected::TooMuch(_)));
    }

    #[tokio::test]
    async fn a_body_without_bytes_and_without_an_end_is_passed_on() {
        let mut frames = 0;
        let nothing = stream::repeat_with(move || {
            frames += 1;
            match frames {
                0..1_000_000 => Ok(Bytes::new()),
                _ => Err(io::Error::other("nobody ended it")),
            }
        });
        let collected = collect(Body::from_stream(nothing), 100, Duration::ZERO).await;
        assert!(matches!(collected, Collected::TooMuch(_)));
    }

    #[tokio::test]
    async fn what_is_kept_of_a_buffer_is_the_body_alone() {
        let buffer = Bytes::from(vec![b'a'; 10_000]);
        let Collected::Whole(body) = collect(Body::from(buffer.slice(..10)), 100, LONG).await else {
            panic!("it has ended");
        };
        assert!(buffer.is_unique());
        assert_eq!(body, "a".repeat(10));

        let mut roomy = BytesMut::with_capacity(10_000);
        roomy.extend_from_slice(b"body");
        let body = without_its_buffer(roomy.freeze()).try_into_mut().unwrap();
        assert!(body.capacity() < 100, "{}", body.capacity());
        let exact = Bytes::from(b"body".to_vec());
        let place = exact.as_ptr();
        assert_eq!(without_its_buffer(exact).as_ptr(), place);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_passed_on_after_a_while_with_all_that_came() {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Result<&str, io::Error>>();
        let stream = stream::unfold(receiver, async |mut receiver| {
            receiver.recv().await.map(|part| (part, receiver))
        });
        sender.send(Ok("first ")).unwrap();
        let Collected::TooMuch(body) = collect(Body::from_stream(stream), 100, LONG).await else {
            panic!("it has not ended");
        };
        sender.send(Ok("second")).unwrap();
        drop(sender);
        assert_eq!(text(body).await, "first second");
    }

    #[tokio::test]
    async fn trailers_and_errors_come_after_what_was_taken() {
        let trailers = HeaderMap::from_iter([(http::header::ETAG, "a".parse().unwrap())]);
        let frames = [
            Ok::<_, io::Error>(Frame::data(Bytes::from("1"))),
            Ok(Frame::trailers(trailers)),
        ];
        let body = Body::new(StreamBody::new(stream::iter(frames)));
        let Collected::TooMuch(body) = collect(body, 100, LONG).await else {
            panic!("trailers are not kept");
        };
        let collected = body.collect().await.unwrap();
        assert!(collected.trailers().is_some());
        assert_eq!(collected.to_bytes(), "1");

        let broken = stream::iter([Ok("1"), Err(io::Error::other("oh"))]);
        let Collected::Broken(body) = collect(Body::from_stream(broken), 100, LONG).await else {
            panic!("it broke off");
        };
        assert!(!body.is_end_stream());
        let mut frames = body.into_data_stream();
        assert_eq!(frames.next().await.unwrap().unwrap(), "1");
        assert!(frames.next().await.unwrap().is_err());
    }
}
