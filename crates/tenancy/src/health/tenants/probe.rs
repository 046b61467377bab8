//! Probes of active tenants: a few at a time, spread out, each in its tenant's scope.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use tokio::time::{sleep, timeout};

use super::{Probe, TenantHealth, TenantState};
use crate::{Tenant, health::run::around, scope};

/// By chance up to this long before each, so that they do not come at once.
const SPREAD: Duration = Duration::from_millis(50);

impl TenantHealth {
    /// Probes for as long as it is polled, if there is something to probe with.
    pub(in crate::health) fn probing(&self) -> Option<BoxFuture<'static, ()>> {
        let probe = self.settings.probe.clone()?;
        let health = self.clone();
        Some(Box::pin(async move {
            loop {
                sleep(around(health.settings.probe_interval)).await;
                health.probe_all(&probe).await;
            }
        }))
    }

    async fn probe_all(&self, probe: &Probe) {
        let recent = self.recent.iter().map(|(_, tenant)| tenant);
        let active = recent.filter(|tenant| tenant.is_served() && self.of(tenant).state != TenantState::Idle);
        let active: Vec<Tenant> = active.collect();
        let each = |tenant| self.probe_one(tenant, probe);
        stream::iter(active)
            .for_each_concurrent(self.settings.probes_at_once, each)
            .await;
    }

    async fn probe_one(&self, tenant: Tenant, probe: &Probe) {
        let most = SPREAD.as_millis() as u64;
        sleep(Duration::from_millis(fastrand::u64(..=most))).await;
        // In the scope, the call too.
        let asked = scope::run(&tenant, async { probe(tenant.clone()).await });
        let answer = timeout(
            self.settings.probe_timeout,
            AssertUnwindSafe(asked).catch_unwind(),
        )
        .await;
        let is_well = matches!(answer, Ok(Ok(Ok(()))));
        let failed_before = tenant.vitals().failed_probes();
        tenant.vitals().probed(is_well);
        // The first alone: what goes on is on the list.
        if !is_well && failed_before == 0 {
            let error = match answer {
                Ok(Ok(outcome)) => outcome
                    .err()
                    .map(|error| super::super::report::presentable(&error.to_string())),
                Ok(Err(panic)) => Some(scope::panic_message(&*panic).into()),
                Err(_) => Some("no answer in time".into()),
            };
            tracing::warn!(tenant = %tenant, error = error.as_deref(), "a probe of a tenant failed");
        }
    }
}
