mod recorder;
mod requests;
mod served;
mod slots;
mod stores;
mod windows;

use std::{sync::Arc, time::Duration};

use tenancy_core::{Clock, ManualClock};

use self::recorder::Recorded;
use super::{Metrics, MetricsBuilder};
use crate::{Tenant, tenant::tests::tenant};

const TEN_SECONDS: Duration = Duration::from_secs(10);

/// Metrics whose clock is moved by hand, and what they export.
struct Fixture {
    clock: Arc<ManualClock>,
    recorded: Recorded,
    metrics: Metrics,
}

impl Fixture {
    fn new(set: impl FnOnce(MetricsBuilder) -> MetricsBuilder) -> Self {
        let clock = Arc::new(ManualClock::new());
        let recorded = Recorded::default();
        let builder = Metrics::builder()
            .clock(Arc::clone(&clock))
            .recorder(recorded.clone());
        Self {
            metrics: set(builder).build().unwrap(),
            clock,
            recorded,
        }
    }

    fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.metrics.rotate();
    }

    /// As a request that takes this long.
    fn request(&self, tenant: &Tenant, seconds: f64) {
        let series = self.metrics.inner().series_of(tenant);
        self.metrics
            .inner()
            .engine
            .record(&series.live[0], 0, seconds, false);
    }

    fn samples(&self, label: Option<&str>) -> u64 {
        let window = self.metrics.last(Duration::from_secs(7200));
        let window = match label {
            Some(label) => window.label(label),
            None => window,
        };
        window.stats().unwrap().samples()
    }
}

fn tenants(names: impl IntoIterator<Item = impl Into<String>>) -> Vec<Tenant> {
    names.into_iter().map(|name| tenant(&name.into())).collect()
}

fn now(clock: &ManualClock) -> Duration {
    clock.monotonic()
}
