//! Whether a service grows with its requests.

use std::{convert::Infallible, fmt, panic::Location, pin::Pin};

use axum::body::{Body, HttpBody};
use futures_util::future::poll_fn;
use http::{Request, Response};
use tenancy_memory::process::{Allocator, Growth, GrowthMeter, HumanBytes};
use tower::ServiceExt as _;
use tower_service::Service;

/// So many samples are taken, evenly.
const SAMPLES: u64 = 64;

/// So often other tasks of the runtime get a turn before a sample, to end what requests have started.
const TURNS: usize = 32;

/// Sends requests to a router and fails unless its live heap grows by at most `limit` bytes with 1,000 of them.
///
/// As many requests again as a warm-up go before, so that what fills up once does not count. `request` makes them, numbered from 0:
/// spread them over tenants there. See [`GrowthCheck`] for another warm-up, and for what disturbs.
///
/// ```
/// # async fn example() {
/// use axum::{Router, body::Body, http::Request, routing::get};
/// use tenancy_test::{as_tenant, assert_growth};
///
/// let app = as_tenant(Router::new().route("/", get(|| async { "hello" })), "acme");
/// assert_growth(app, 2_000, 64 * 1024, |_| Request::get("/").body(Body::empty()).unwrap()).await;
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example());
/// ```
///
/// # Panics
/// When it grows by more, with the slope and the samples; and where the allocator does not say what is live.
#[track_caller]
pub fn assert_growth<S, B>(
    service: S,
    n: u64,
    limit: u64,
    request: impl FnMut(u64) -> Request<Body>,
) -> impl Future<Output = ()>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone,
    B: HttpBody<Error: fmt::Debug> + Unpin,
{
    let place = Location::caller();
    async move {
        let measured = GrowthCheck::new(n).measure(service, request).await;
        if let Err(failure) = measured.within(limit) {
            panic!("{failure}\n  asked at {place}");
        }
    }
}

/// How growth is measured.
///
/// What is measured is the whole process: another test that runs beside this one disturbs it. Put the test into a file of its own in
/// `tests/`, or give it a generous limit. Tasks that a request leaves behind get some turns to end before a sample is taken, on a
/// runtime of one thread; what takes longer counts as growth only if it piles up.
#[derive(Clone, Copy, Debug)]
pub struct GrowthCheck {
    requests: u64,
    warm_up: u64,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct MeasuredGrowth {
    growth: Growth,
    samples: Vec<(u64, u64)>,
}

/// It grows by more than it may, or nobody can say. Says so, with the samples.
#[derive(Debug)]
pub struct GrowsTooMuch(String);

impl GrowthCheck {
    /// So many requests, at least 8, after as many for warming up.
    pub fn new(requests: u64) -> Self {
        Self {
            requests,
            warm_up: requests,
        }
    }

    /// Another warm-up, in requests.
    pub fn warm_up(self, requests: u64) -> Self {
        Self {
            warm_up: requests,
            ..self
        }
    }

    /// Sends the requests, one after the other, and reads each answer's body to its end. Answers of any status count.
    ///
    /// # Panics
    /// Where the allocator does not say what is live: with mimalloc, or another one that is not known. When a body fails.
    pub async fn measure<S, B>(
        self,
        service: S,
        mut request: impl FnMut(u64) -> Request<Body>,
    ) -> MeasuredGrowth
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone,
        B: HttpBody<Error: fmt::Debug> + Unpin,
    {
        let allocator = Allocator::detect();
        let mut meter = GrowthMeter::new(0);
        // Of the samples themselves nothing may be seen.
        meter.reserve();
        let total = self.warm_up.saturating_add(self.requests);
        let every = (self.requests / SAMPLES).max(1);
        for number in 0..total {
            if number >= self.warm_up && (number - self.warm_up).is_multiple_of(every) {
                sample(&mut meter, allocator, number).await;
            }
            answer(service.clone(), request(number)).await;
        }
        sample(&mut meter, allocator, total).await;
        MeasuredGrowth {
            growth: meter.growth(),
            samples: meter.samples().collect(),
        }
    }
}

async fn answer<S, B>(service: S, request: Request<Body>)
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: HttpBody<Error: fmt::Debug> + Unpin,
{
    let Ok(response) = service.oneshot(request).await;
    let mut body = response.into_body();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Err(error) = frame {
            panic!("the body of an answer failed: {error:?}");
        }
    }
}

async fn sample(meter: &mut GrowthMeter, allocator: Allocator, requests: u64) {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
    let Some(live) = allocator.statistics().allocated.bytes() else {
        panic!(
            "the allocator of this program ({allocator:?}) does not say what is live: test with that of the GNU C library, or with \
             jemalloc and feature `jemalloc` of tenancy-memory"
        );
    };
    meter.record(requests, live);
}

impl MeasuredGrowth {
    /// Bytes for 1,000 requests.
    pub fn growth(&self) -> Growth {
        self.growth
    }

    /// Requests and live bytes, as they were measured.
    pub fn samples(&self) -> &[(u64, u64)] {
        &self.samples
    }

    /// Whether it grows by at most so many bytes with 1,000 requests.
    ///
    /// # Errors
    /// It grows by more, or there are too few samples to say.
    pub fn within(&self, limit: u64) -> Result<(), GrowsTooMuch> {
        match self.growth.bytes_per_1000_requests {
            Some(slope) if u64::try_from(slope).is_ok_and(|slope| slope > limit) => {
                Err(GrowsTooMuch(self.failure(slope.unsigned_abs(), limit)))
            }
            Some(_) => Ok(()),
            None => Err(GrowsTooMuch(format!(
                "{} samples are too few to tell whether memory grows: send at least 8 requests",
                self.samples.len()
            ))),
        }
    }

    fn failure(&self, slope: u64, limit: u64) -> String {
        let mut text = format!(
            "memory grows by {} ({slope} bytes) for 1,000 requests, and may by {} ({limit} bytes)\n  live heap, over {} requests \
             in {} samples:",
            HumanBytes(slope),
            HumanBytes(limit),
            self.growth.requests,
            self.growth.samples,
        );
        let step = self.samples.len().div_ceil(8).max(1);
        for (requests, live) in self.samples.iter().step_by(step) {
            text.push_str(&format!("\n    after {requests:>9} requests  {live:>13} bytes"));
        }
        text.push_str("\n  a map that only grows, or tasks that never end? Compare two heap profiles");
        text
    }
}

impl fmt::Display for GrowsTooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for GrowsTooMuch {}
