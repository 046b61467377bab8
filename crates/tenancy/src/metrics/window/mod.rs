//! What was measured in the last seconds, minutes and hours, kept in this process.
//!
//! * Each value is counted in one of 256 buckets, an eighth of an octave wide: a percentile is off by 5.9 % at most.
//!   Count, smallest and largest value, rate and share of errors are exact; the average is one of values that are rounded
//!   to a 16th of the [lowest](super::MetricSpec::from_lowest).
//! * A bucket lasts ten seconds, and is kept for ten minutes; after that one for each minute, for two hours.
//! * Recording takes some atomic instructions without order on cells that few threads share: no lock, no clock, and no
//!   memory but at a metric's and a label's first value.
//! * Memory is bounded ([`MetricsBuilder::max_bytes`](super::MetricsBuilder::max_bytes)): values that are spread so
//!   widely that they would take more are kept in wider buckets, and [`WindowStats::relative_error`] says so.
//!
//! * With a [store](WindowStore), each process leaves its minutes there, in the background, and
//!   [`Window::stats_of_all_nodes`] adds them up. A store that is away is tried again for ten minutes; minutes that are
//!   dropped then are counted (`metrics_minutes_dropped_total`). No request knows of it. A process that ends leaves its
//!   last minute with [`Metrics::close`](super::Metrics::close).
//!
//! **Caveats.** Values that come while ten seconds end are counted in the one bucket or in the next, and each of them
//! once; of one for each thread, the sum may be in the one and the count in the other. When nobody rotates (without
//! [`Metrics::start`](super::Metrics::start), between two questions), all values are counted in the ten seconds in which
//! rotation stopped, however long ago those are. A window that is longer than ten
//! minutes begins with a full minute, and one over all processes has only minutes that are over.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use tenancy::{MemoryStore, Tenancy, metrics::{MetricSpec, Metrics}, resolve::Subdomain, scope};
//!
//! let metrics = Metrics::builder().metric(MetricSpec::seconds("checkout.duration")).build()?;
//! let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?);
//! let acme = tenancy.enter(&"acme".parse()?).await?;
//! scope::run(&acme, async {
//!     metrics.record("checkout.duration", 0.120);
//!     metrics.record("checkout.duration", 0.080);
//! })
//! .await;
//!
//! let five_minutes = Duration::from_secs(300);
//! let checkouts = metrics.last(five_minutes).metric("checkout.duration").tenant(acme.id()).stats()?;
//! assert_eq!(checkouts.samples(), 2);
//! assert!((checkouts.average().unwrap() - 0.100).abs() < 1e-6);
//! assert!((checkouts.percentile(0.95).unwrap() - 0.120).abs() < 0.120 * checkouts.relative_error());
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```

mod cells;
mod engine;
mod gathered;
mod history;
mod live;
mod outbox;
mod query;
mod scale;
mod sketch;
mod store;
mod wire;

#[cfg(test)]
mod tests;

mod atomics {
    pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
}

pub(crate) use self::{
    engine::Engine,
    history::{History, TICK_SECONDS},
    live::Live,
    outbox::Outbox,
    sketch::Sketch,
};
pub use self::{
    query::{QueryError, Window, WindowStats},
    store::{MemoryWindowStore, NodeMinute, WindowStore, WindowStoreError},
};
