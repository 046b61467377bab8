use std::fmt;
#[cfg(feature = "profiling")]
use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tenancy::{Tenancy, memory::MemoryTotals};
#[cfg(feature = "profiling")]
use tenancy_memory::process::HeapProfiler;
use tenancy_memory::process::{MemorySampler, ProcessMemory, PurgeRefused, Purger, PurgerState};

/// So many tenants are told of.
const MOST_TENANTS: usize = 1_000;

/// What operators see of memory, and can do about it.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use tenancy_memory::process::{MemorySampler, Purger};
/// use tenancy_server::{admin::{AdminServer, MemoryAdmin}, serve};
///
/// let sampler = MemorySampler::builder().start()?;
/// let purger = Purger::builder().start(&sampler)?;
/// let listener = serve::bind("127.0.0.1:2113".parse()?).await?;
/// let admin = AdminServer::start(listener, MemoryAdmin::new(&sampler).purger(&purger).routes())?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryAdmin {
    sampler: MemorySampler,
    purger: Option<Purger>,
    tenancy: Option<Tenancy>,
    #[cfg(feature = "profiling")]
    profiler: Arc<HeapProfiler>,
}

/// The answer of `GET /memory`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemoryReport {
    /// The process, as it was last seen.
    pub process: ProcessMemory,
    /// What was given back so far; `None` without a purger.
    pub purger: Option<PurgerState>,
    /// What tenants and routes needed; `None` where requests are not metered.
    #[serde(flatten)]
    pub tables: Option<MemoryTables>,
}

/// What requests needed, by whom they were for and by where they went.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MemoryTables {
    /// A row for each tenant that had requests; of more than 1,000, those that needed most at a time.
    pub tenants: Vec<MemoryRow>,
    /// A row for each route.
    pub routes: Vec<MemoryRow>,
}

/// What the requests of one tenant or of one route needed, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryRow {
    /// The tenant or the route.
    pub name: String,
    /// Requests that have ended.
    pub requests: u64,
    /// What they allocated altogether.
    pub allocated: u64,
    /// The most that one of them had at a time.
    pub peak: u64,
    /// What they left behind; below 0 where they freed what others had allocated.
    pub retained: i64,
}

impl MemoryAdmin {
    /// With what this sampler sees.
    pub fn new(sampler: &MemorySampler) -> Self {
        Self {
            sampler: sampler.clone(),
            purger: None,
            tenancy: None,
            #[cfg(feature = "profiling")]
            profiler: Arc::new(HeapProfiler::new()),
        }
    }

    /// `POST /memory/purge` asks this purger. Default: none, and 404.
    pub fn purger(self, purger: &Purger) -> Self {
        Self {
            purger: Some(purger.clone()),
            ..self
        }
    }

    /// With what the tenants and routes of this stack needed, where its memory stage is in the order and the meter is installed.
    pub fn tenancy(self, tenancy: &Tenancy) -> Self {
        Self {
            tenancy: Some(tenancy.clone()),
            ..self
        }
    }

    /// The routes, for an [`AdminServer`](super::AdminServer). Behind nothing else: they ask nobody who they are.
    pub fn routes(self) -> Router {
        Router::new()
            .route("/memory", get(report))
            .route("/memory/purge", post(purge))
            .route("/debug/pprof/heap", get(heap_profile))
            .with_state(self)
    }

    fn report(&self) -> MemoryReport {
        MemoryReport {
            process: ProcessMemory::clone(&self.sampler.latest()),
            purger: self.purger.as_ref().map(Purger::state),
            tables: self.tenancy.as_ref().and_then(MemoryTables::of),
        }
    }
}

impl MemoryTables {
    /// `None` where nobody counts. Looks at all tenants that this process knows.
    fn of(tenancy: &Tenancy) -> Option<Self> {
        let routes = tenancy.memory_by_route().ok()?;
        let routes = routes
            .into_iter()
            .map(|route| MemoryRow::of(route.route, &route.totals));
        let mut tenants: Vec<_> = tenancy
            .tenants()
            .into_iter()
            .filter_map(|tenant| Some((tenant.memory().ok()?, tenant)))
            .filter(|(totals, _)| totals.requests > 0)
            .collect();
        tenants.sort_by_key(|(totals, _)| std::cmp::Reverse(totals.largest));
        let largest = tenants.iter().take(MOST_TENANTS);
        Some(Self {
            tenants: largest
                .map(|(totals, tenant)| MemoryRow::of(tenant.id().to_string(), totals))
                .collect(),
            routes: routes.collect(),
        })
    }
}

impl MemoryRow {
    fn of(name: String, totals: &MemoryTotals) -> Self {
        Self {
            name,
            requests: totals.requests,
            allocated: totals.allocated,
            peak: totals.largest,
            retained: totals.retained,
        }
    }
}

impl fmt::Debug for MemoryAdmin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryAdmin")
            .field("sampler", &self.sampler)
            .field("purger", &self.purger)
            .finish_non_exhaustive()
    }
}

async fn report(State(admin): State<MemoryAdmin>) -> Response {
    apart(move || Json(admin.report()).into_response()).await
}

async fn purge(State(admin): State<MemoryAdmin>) -> Response {
    let Some(purger) = admin.purger else {
        return said(StatusCode::NOT_FOUND, "this server has no purger");
    };
    apart(move || match purger.purge() {
        Ok(purge) => Json(purge).into_response(),
        Err(refused) => refused_purge(refused),
    })
    .await
}

pub(super) fn refused_purge(refused: PurgeRefused) -> Response {
    let status = match refused {
        PurgeRefused::TooSoon | PurgeRefused::UnderWay => StatusCode::TOO_MANY_REQUESTS,
        PurgeRefused::UnknownAllocator => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = said(status, &refused.to_string());
    if status == StatusCode::TOO_MANY_REQUESTS {
        let second = header::HeaderValue::from_static("1");
        response.headers_mut().insert(header::RETRY_AFTER, second);
    }
    response
}

#[cfg(feature = "profiling")]
async fn heap_profile(State(admin): State<MemoryAdmin>) -> Response {
    apart(move || match admin.profiler.dump() {
        Ok(profile) => {
            let headers = [
                (header::CONTENT_TYPE, "application/octet-stream"),
                (header::CONTENT_DISPOSITION, "attachment; filename=\"heap.pb\""),
            ];
            (headers, profile).into_response()
        }
        Err(error) if error.is_inactive() => said(StatusCode::FORBIDDEN, &error.to_string()),
        Err(error) if error.is_busy() => said(StatusCode::TOO_MANY_REQUESTS, &error.to_string()),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(%error, cause, "no heap profile");
            said(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
        }
    })
    .await
}

#[cfg(not(feature = "profiling"))]
async fn heap_profile() -> Response {
    let advice = "heap profiling is not built in: make jemalloc the global allocator, and build tenancy-server with feature `profiling`";
    said(StatusCode::FORBIDDEN, advice)
}

/// On a thread that may block. Dropped: it goes on, and its answer is lost.
async fn apart(work: impl FnOnce() -> Response + Send + 'static) -> Response {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| said(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong here"))
}

fn said(status: StatusCode, text: &str) -> Response {
    (status, format!("{text}\n")).into_response()
}
