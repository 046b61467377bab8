//! What is counted of requests.

mod body;
mod handles;
mod layer;
mod watch;

pub(super) use self::handles::RequestHandles;
pub use self::layer::{RequestMetrics, RequestMetricsFuture, RequestMetricsLayer};
