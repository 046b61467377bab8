//! What processes spare each other: claims, and how much scopes are used.

use std::{cmp::Ordering, collections::HashMap, time::Duration};

use tenancy::cache::shared::{Claim, HOTTEST, ProcessReport, ScopeName};

const DAY: f64 = 24.0 * 60.0 * 60.0;

#[derive(Clone, Default)]
pub(super) struct Spared {
    claims: HashMap<(ScopeName, String), (u64, Duration)>,
    heat: HashMap<ScopeName, f64>,
    cooled_at: Duration,
    reports: Vec<(Duration, ProcessReport)>,
}

impl Spared {
    pub(super) fn claim(&mut self, claim: &Claim, length: Duration, now: Duration) -> bool {
        self.claims.retain(|_, (_, ends)| *ends > now);
        let name = (claim.scope.clone(), claim.what.clone());
        let holder = self.claims.entry(name).or_insert((claim.by, Duration::ZERO));
        let is_granted = holder.0 == claim.by;
        if is_granted {
            holder.1 = now.saturating_add(length);
        }
        is_granted
    }

    pub(super) fn release(&mut self, claim: &Claim) {
        let name = (claim.scope.clone(), claim.what.clone());
        if self.claims.get(&name).is_some_and(|(by, _)| *by == claim.by) {
            self.claims.remove(&name);
        }
    }

    pub(super) fn add_heat(&mut self, uses: &[(ScopeName, u64)], now: Duration) {
        let days = now.saturating_sub(self.cooled_at).as_secs_f64() / DAY;
        self.cooled_at = now;
        self.heat
            .values_mut()
            .for_each(|heat| *heat *= 0.5_f64.powf(days));
        for (scope, uses) in uses {
            *self.heat.entry(scope.clone()).or_default() += *uses as f64;
        }
        let kept = self.hottest(HOTTEST);
        self.heat.retain(|scope, _| kept.contains(scope));
    }

    pub(super) fn report(&mut self, reports: &[ProcessReport], keep_for: Duration, now: Duration) {
        for report in reports {
            let is_other = |(ends, other): &(Duration, ProcessReport)| {
                *ends > now && (other.process != report.process || other.scope != report.scope)
            };
            self.reports.retain(is_other);
            self.reports.push((now.saturating_add(keep_for), report.clone()));
        }
    }

    pub(super) fn reports(&self, scope: &ScopeName, now: Duration) -> Vec<ProcessReport> {
        let live = self
            .reports
            .iter()
            .filter(|(ends, report)| *ends > now && report.scope == *scope);
        live.map(|(_, report)| report.clone()).collect()
    }

    pub(super) fn hottest(&self, most: usize) -> Vec<ScopeName> {
        let mut scopes: Vec<_> = self.heat.iter().collect();
        scopes.sort_by(|a, b| match b.1.total_cmp(a.1) {
            Ordering::Equal => a.0.cmp(b.0),
            order => order,
        });
        scopes
            .into_iter()
            .take(most)
            .map(|(scope, _)| scope.clone())
            .collect()
    }
}
