//! The look-up machinery, from a request to its answer, against stores that fail, lie and change.

mod absent;
mod budget;
mod chains;
mod dev_tenant;
mod explained;
mod flights;
mod followed;
mod follower;
mod identity;
mod keys;
mod races;
mod snapshot_file;
mod stale;
mod stores;

use std::{fmt, future::Future, pin::pin, sync::Arc, task::Poll, time::Duration};

use axum::{
    Extension, Router,
    body::Body,
    extract::Request,
    http::{StatusCode, header::RETRY_AFTER},
    response::IntoResponse,
};
use tenancy::{
    Tenancy, Tenant,
    core::{Clock, Identify, ManualClock, TenantId, TenantKey, TenantStore},
    resolve::{Resolution, ResolveSettings, Subdomain},
    routes::TenancyApp,
    stack::TenancyBuilder,
};

use crate::support::{get, send};

/// A clock that the test moves and the stack reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hand(Arc<ManualClock>);

impl Hand {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.advance(by);
    }
}

impl Clock for Hand {
    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn unix_time(&self) -> Duration {
        self.0.unix_time()
    }
}

/// Of each property. Each case builds stacks, which are slow to build unoptimised.
const CASES: u32 = if cfg!(debug_assertions) { 64 } else { 512 };
const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn id(id: &str) -> TenantId {
    TenantId::new(id).unwrap()
}

fn slug(slug: &str) -> TenantKey<'static> {
    TenantKey::slug(slug.to_owned()).unwrap()
}

fn domain(domain: &str) -> TenantKey<'static> {
    TenantKey::domain(domain.to_owned()).unwrap()
}

/// A stack over one store, with a handler that answers every path.
#[derive(Clone)]
struct Service {
    tenancy: Tenancy,
    app: TenancyApp,
}

impl Service {
    /// Tenants are named by subdomain of `example.com`.
    fn new(store: impl TenantStore, settings: ResolveSettings, clock: &Hand) -> Self {
        Self::with(Subdomain::of("example.com").unwrap(), store, settings, clock)
    }

    fn with(
        identifier: impl Identify,
        store: impl TenantStore,
        settings: ResolveSettings,
        clock: &Hand,
    ) -> Self {
        Self::built(
            Tenancy::builder(identifier, store)
                .resolve_settings(settings)
                .clock(clock.clone()),
        )
    }

    fn built(builder: TenancyBuilder) -> Self {
        let tenancy = builder.build().unwrap();
        let app = tenancy
            .routes()
            .tenant(Router::new().fallback(tell))
            .central(Router::new().fallback(|| async { "central" }))
            .build();
        Self { tenancy, app }
    }

    async fn send(&self, request: Request) -> Seen {
        Seen::of(&send(&self.app, request).await)
    }

    async fn ask(&self, host: &str) -> Seen {
        self.send(get(host, "/")).await
    }

    /// The same, as a line: status, tenant and source of what was let in; the wait of what could not be told.
    async fn line(&self, host: &str) -> String {
        self.ask(host).await.to_string()
    }

    /// Begins to ask, and goes on with the test.
    fn asking(&self, host: &str) -> tokio::task::JoinHandle<Seen> {
        let (service, host) = (self.clone(), host.to_owned());
        tokio::spawn(async move { service.ask(&host).await })
    }
}

/// Hands the resolution to the test, in the response's extensions.
async fn tell(resolution: Resolution) -> impl IntoResponse {
    Extension(resolution)
}

/// What a client and the handler saw of one request.
#[derive(Clone, Debug)]
struct Seen {
    status: StatusCode,
    retry_after: Option<u64>,
    resolution: Option<Resolution>,
}

impl Seen {
    fn of(response: &http::Response<Body>) -> Self {
        let retry_after = response.headers().get(RETRY_AFTER);
        Self {
            status: response.status(),
            retry_after: retry_after.map(|value| value.to_str().unwrap().parse().unwrap()),
            resolution: response.extensions().get::<Resolution>().cloned(),
        }
    }

    fn tenant(&self) -> Tenant {
        self.resolution.as_ref().unwrap().tenant().unwrap().clone()
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status.as_u16())?;
        if let Some(resolution) = &self.resolution
            && let (Some(tenant), Some(source)) = (resolution.tenant(), resolution.source())
        {
            write!(f, " {tenant} {}", source.as_str())?;
        }
        match self.retry_after {
            Some(wait) => write!(f, " retry {wait}"),
            None => Ok(()),
        }
    }
}

/// Lets everything run that can run without time passing.
async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// Whether the future is still waiting after one poll.
async fn waits(future: impl Future) -> bool {
    let mut future = pin!(future);
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

/// Room for any number of look-ups.
fn without_budget() -> ResolveSettings {
    let mut settings = ResolveSettings::default();
    settings.misses_per_second = 1_000_000;
    settings.miss_burst = 1_000_000;
    settings.max_flights = 1_000_000;
    settings
}
