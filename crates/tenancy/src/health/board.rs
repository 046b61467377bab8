//! What the checks have found, and the answers that are made of it when it changes.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};
use tenancy_core::Clock;

use super::{
    check::{Check, Finding},
    report::{CheckReport, CheckStatus, HealthReport, HealthStatus, Page, milliseconds, presentable, worst},
};

/// The worst time that a task had to wait for its turn since somebody asked, in milliseconds.
pub(super) type Lag = Arc<AtomicU64>;

pub(super) struct Board {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) checks: Box<[Check]>,
    groups: Box<[Group]>,
    shows_checks: bool,
    pub(super) lag: Lag,
    /// Of the clock that never goes back, in milliseconds.
    last_beat: AtomicU64,
    /// In the order of the checks. Its lock also orders what is published.
    states: Mutex<Box<[State]>>,
    snapshot: ArcSwap<Snapshot>,
}

/// Some checks, by position.
pub(super) struct Group {
    pub(super) name: Arc<str>,
    members: Box<[usize]>,
}

impl Group {
    pub(super) fn new(name: Arc<str>, checks: &[Check]) -> Self {
        let members = checks.iter().enumerate();
        let members = members.filter(|(_, check)| check.groups.contains(&name));
        Self {
            members: members.map(|(at, _)| at).collect(),
            name,
        }
    }
}

/// What is answered until something changes.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) report: Arc<HealthReport>,
    pub(super) whole: Page,
    /// In the order of the groups; readiness first.
    pub(super) groups: Box<[Page]>,
    /// From then on a result in it is too old, in milliseconds.
    valid_until: u64,
}

struct State {
    report: CheckReport,
    successes: u32,
    /// When the last run ended.
    at: Option<Duration>,
}

/// A check that came up, or went down.
struct Transition {
    name: Arc<str>,
    from: CheckStatus,
    to: CheckStatus,
    output: Option<Arc<str>>,
}

impl Board {
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        checks: Vec<Check>,
        groups: Vec<Group>,
        shows_checks: bool,
        lag: Lag,
    ) -> Self {
        let now = clock.unix_time();
        let states: Box<[State]> = checks.iter().map(|check| State::new(check, now)).collect();
        let snapshot = Snapshot::of(&states, &checks, &groups, shows_checks, now);
        Self {
            last_beat: AtomicU64::new(milliseconds(clock.monotonic())),
            clock,
            checks: checks.into(),
            groups: groups.into(),
            shows_checks,
            lag,
            states: Mutex::new(states),
            snapshot: ArcSwap::from_pointee(snapshot),
        }
    }

    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// What is answered now: one load and one look at the clock, unless a result has become too old.
    #[inline]
    pub(super) fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        let snapshot = self.snapshot.load();
        if milliseconds(self.clock.monotonic_coarse()) < snapshot.valid_until {
            return snapshot;
        }
        drop(snapshot);
        self.outdate();
        self.snapshot.load()
    }

    /// Nobody has checked for too long: that is found here, by who asks.
    #[cold]
    fn outdate(&self) {
        let (now, unix_now) = (self.clock.monotonic(), self.clock.unix_time());
        let transitions = self.change(unix_now, |states| {
            let outdated = states.iter_mut().zip(&self.checks);
            outdated
                .filter_map(|(state, check)| state.outdate(check, now, unix_now))
                .collect()
        });
        log(&transitions);
    }

    /// What the report says of the checks that readiness depends on.
    pub(super) fn of_readiness<'a>(&self, report: &'a HealthReport) -> Vec<&'a CheckReport> {
        let members = self.groups.first().map(|group| &*group.members);
        let members = members.unwrap_or_default().iter();
        members.filter_map(|at| report.checks.get(*at)).collect()
    }

    pub(super) fn record(&self, at: usize, took: Duration, outcome: Result<Finding, String>) {
        let (now, unix_now) = (self.clock.monotonic(), self.clock.unix_time());
        let transitions = self.change(unix_now, |states| {
            let recorded = states.get_mut(at).zip(self.checks.get(at));
            let recorded = recorded.map(|(state, check)| {
                state.at = Some(now);
                state.report.took = took;
                state.record(check, unix_now, outcome)
            });
            recorded.flatten().into_iter().collect()
        });
        log(&transitions);
    }

    fn change(
        &self,
        unix_now: Duration,
        change: impl FnOnce(&mut [State]) -> Vec<Transition>,
    ) -> Vec<Transition> {
        let mut states = self.states();
        let transitions = change(&mut states);
        let snapshot = Snapshot::of(&states, &self.checks, &self.groups, self.shows_checks, unix_now);
        self.snapshot.store(Arc::new(snapshot));
        transitions
    }

    fn states(&self) -> MutexGuard<'_, Box<[State]>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn beat(&self, lag: Duration) {
        self.lag.fetch_max(milliseconds(lag), Ordering::Relaxed);
        let now = milliseconds(self.clock.monotonic());
        self.last_beat.store(now, Ordering::Release);
    }

    /// For how long no task got its turn.
    pub(super) fn silence(&self) -> Duration {
        let now = milliseconds(self.clock.monotonic_coarse());
        let last = self.last_beat.load(Ordering::Acquire);
        Duration::from_millis(now.saturating_sub(last))
    }
}

impl Snapshot {
    fn of(states: &[State], checks: &[Check], groups: &[Group], shows_checks: bool, at: Duration) -> Self {
        let reports: Vec<&CheckReport> = states.iter().map(|state| &state.report).collect();
        let page_of = |group: &Group| {
            let members = group.members.iter().filter_map(|at| reports.get(*at).copied());
            Page::of(&members.collect::<Vec<_>>(), at, shows_checks)
        };
        let valid_until = states
            .iter()
            .zip(checks)
            .filter_map(|(state, check)| state.ages_at(check));
        Self {
            report: Arc::new(HealthReport {
                status: worst(reports.iter().copied()),
                checks: reports.iter().map(|report| (*report).clone()).collect(),
                at,
            }),
            whole: Page::of(&reports, at, shows_checks),
            groups: groups.iter().map(page_of).collect(),
            valid_until: valid_until.min().map_or(u64::MAX, milliseconds),
        }
    }

    /// Whether what readiness depends on can do its work.
    pub(super) fn readiness(&self) -> HealthStatus {
        self.groups
            .first()
            .map_or(HealthStatus::Unhealthy, |page| page.status)
    }
}

impl State {
    fn new(check: &Check, unix_now: Duration) -> Self {
        Self {
            report: CheckReport {
                name: Arc::clone(&check.name),
                status: CheckStatus::Unknown,
                criticality: check.criticality,
                since: unix_now,
                observed_at: None,
                took: Duration::ZERO,
                failures: 0,
                output: None,
                value: None,
                unit: "",
            },
            successes: 0,
            at: None,
        }
    }

    /// When its result is too old; never if it has none, which counts as down already.
    fn ages_at(&self, check: &Check) -> Option<Duration> {
        self.at.map(|at| at.saturating_add(check.longest_age()))
    }

    fn record(
        &mut self,
        check: &Check,
        unix_now: Duration,
        outcome: Result<Finding, String>,
    ) -> Option<Transition> {
        self.report.observed_at = Some(unix_now);
        match outcome {
            Ok(finding) => {
                self.report.failures = 0;
                self.successes = self.successes.saturating_add(1);
                let warns = finding.warning.is_some();
                self.report.found(&finding);
                let is_up = self.report.status.is_up() || self.successes >= check.successes_to_up;
                match (is_up, warns) {
                    (false, _) => None,
                    (true, false) => self.turn(CheckStatus::Healthy, unix_now),
                    (true, true) => self.turn(CheckStatus::Degraded, unix_now),
                }
            }
            Err(error) => {
                self.successes = 0;
                self.report.failures = self.report.failures.saturating_add(1);
                self.report.output = Some(presentable(&error));
                self.report.value = None;
                self.report.unit = "";
                let is_down = self.report.failures >= check.failures_to_down;
                is_down
                    .then(|| self.turn(CheckStatus::Unhealthy, unix_now))
                    .flatten()
            }
        }
    }

    fn outdate(&mut self, check: &Check, now: Duration, unix_now: Duration) -> Option<Transition> {
        if self.ages_at(check).is_none_or(|until| now < until) {
            return None;
        }
        // Said once: without a result there is nothing that could become too old.
        self.at = None;
        self.successes = 0;
        self.report.output = Some(format!("no result within {:?}", check.longest_age()).into());
        self.turn(CheckStatus::Unhealthy, unix_now)
    }

    fn turn(&mut self, to: CheckStatus, unix_now: Duration) -> Option<Transition> {
        let from = std::mem::replace(&mut self.report.status, to);
        if from == to {
            return None;
        }
        self.report.since = unix_now;
        Some(Transition {
            name: Arc::clone(&self.report.name),
            from,
            to,
            output: self.report.output.clone(),
        })
    }
}

/// Each change once. Outside of the lock: what listens to the log is code of others.
fn log(transitions: &[Transition]) {
    for Transition {
        name,
        from,
        to,
        output,
    } in transitions
    {
        let (check, from, to, output) = (&**name, from.as_str(), to.as_str(), output.as_deref());
        if to == CheckStatus::Healthy.as_str() {
            tracing::info!(check, from, to, "a health check is well");
        } else {
            tracing::warn!(check, from, to, output, "a health check is not well");
        }
    }
}
