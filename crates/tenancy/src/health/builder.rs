//! From settings to a registry that runs; what can be wrong with them.

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use axum::body::Body;
use http::Request;
use tenancy_core::{Clock, SystemClock};

use super::{
    Health, READINESS,
    board::{Board, Group},
    check::Check,
    checks,
    startup::StartupStep,
    tenants::TenantHealth,
};

/// Whether who asks may see details.
pub(super) type Guard = Arc<dyn Fn(&Request<Body>) -> bool + Send + Sync>;

const LONGEST_NAME: usize = 48;

/// Collects checks and settings; [`build`](Self::build) says what is wrong with them, all at once, and begins to check.
#[must_use = "build it"]
pub struct HealthBuilder {
    checks: Vec<Check>,
    groups: Vec<Arc<str>>,
    readiness: Vec<Arc<str>>,
    steps: Vec<StartupStep>,
    clock: Option<Arc<dyn Clock>>,
    most_silence: Duration,
    shows_checks: bool,
    guard: Option<Guard>,
    lag_limit: Option<Duration>,
    tenants: Option<TenantHealth>,
}

impl HealthBuilder {
    pub(super) fn new() -> Self {
        Self {
            checks: Vec::new(),
            groups: Vec::new(),
            readiness: Vec::new(),
            steps: Vec::new(),
            clock: None,
            most_silence: Duration::from_secs(10),
            shows_checks: false,
            guard: None,
            lag_limit: None,
            tenants: None,
        }
    }

    /// Adds a check.
    pub fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// Declares a group, which checks join by [`Check::in_group`] and which is asked for at `/health/groups/{name}`.
    pub fn group(mut self, name: impl Into<Arc<str>>) -> Self {
        self.groups.push(name.into());
        self
    }

    /// Puts these checks into the group that `/readyz` asks. Default: none, for a database that all processes share would
    /// take all of them out at once.
    pub fn readiness(mut self, checks: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Self {
        self.readiness.extend(checks.into_iter().map(Into::into));
        self
    }

    /// `/startupz` and `/readyz` are 503 until this step is done.
    pub fn startup_step(mut self, step: &StartupStep) -> Self {
        self.steps.push(step.clone());
        self
    }

    /// Where time comes from. Default: the machine. Waiting is tokio's, whose clock tests pause.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// For how long the runtime may fail to run a task that wants to run four times a second, before `/livez` is 503.
    /// Default: 10 s; at least 1 s.
    pub fn most_silence(mut self, silence: Duration) -> Self {
        self.most_silence = silence.max(Duration::from_secs(1));
        self
    }

    /// Shows everybody the names of checks, and whether each is well. Default: the status of the whole alone.
    pub fn show_checks(mut self) -> Self {
        self.shows_checks = true;
        self
    }

    /// Who may see details by `?verbose` on the public routes, error texts among them. Default: nobody;
    /// [`admin_routes`](Health::admin_routes) show them. Must not block. One that panics has said no.
    pub fn details_for(mut self, guard: impl Fn(&Request<Body>) -> bool + Send + Sync + 'static) -> Self {
        self.guard = Some(Arc::new(guard));
        self
    }

    /// Adds the check `event_loop`: degraded when a task had to wait for longer than this for its turn, at worst since the
    /// check's last run. One such time is enough.
    pub fn event_loop(mut self, most_lag: Duration) -> Self {
        self.lag_limit = Some(most_lag);
        self
    }

    /// Adds the health of tenants to the admin routes, and the check `tenants`.
    pub fn tenants(mut self, tenants: &TenantHealth) -> Self {
        self.checks.push(tenants.check());
        self.tenants = Some(tenants.clone());
        self
    }

    /// Checks the settings, and begins to check what they name if a tokio runtime is there; else the first probe does.
    ///
    /// # Errors
    /// When names are taken twice, not allowed or unknown, or times are impossible: all of it at once.
    pub fn build(mut self) -> Result<Health, HealthConfigError> {
        let lag = Arc::default();
        if let Some(limit) = self.lag_limit {
            self.checks.push(checks::event_loop(&lag, limit));
        }
        let mistakes = self.mistakes();
        if !mistakes.is_empty() {
            return Err(HealthConfigError { mistakes });
        }
        for check in &mut self.checks {
            if self.readiness.contains(&check.name) {
                check.groups.push(READINESS.into());
            }
        }
        let mut groups = vec![Group::new(READINESS.into(), &self.checks)];
        groups.extend(
            self.groups
                .iter()
                .map(|name| Group::new(Arc::clone(name), &self.checks)),
        );
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let board = Board::new(clock, self.checks, groups, self.shows_checks, lag);
        let health = Health::assemble(board, self.steps, self.most_silence, self.guard, self.tenants);
        health.begin();
        Ok(health)
    }

    fn mistakes(&self) -> Vec<HealthMistake> {
        let mut mistakes = Vec::new();
        let checks = self.checks.iter().map(|check| &*check.name);
        let groups = self.groups.iter().map(|name| &**name).chain([READINESS]);
        let steps = self.steps.iter().map(StartupStep::name);
        find_bad_names("check", checks.clone(), &mut mistakes);
        find_bad_names("group", groups.clone(), &mut mistakes);
        find_bad_names("start-up step", steps, &mut mistakes);
        let checks: HashSet<&str> = checks.collect();
        let groups: HashSet<&str> = groups.collect();
        for name in self.readiness.iter().filter(|name| !checks.contains(&***name)) {
            mistakes.push(HealthMistake::UnknownCheck { name: cut(name) });
        }
        for check in &self.checks {
            let unknown = check.groups.iter().filter(|group| !groups.contains(&***group));
            mistakes.extend(unknown.map(|group| HealthMistake::UnknownGroup {
                check: cut(&check.name),
                group: cut(group),
            }));
            let reason = match check {
                check if check.interval.is_zero() => "its interval is zero",
                check if check.timeout.is_zero() => "its timeout is zero",
                check if check.ages_too_early() => "its max_age is below interval and timeout together",
                _ => continue,
            };
            let check = cut(&check.name);
            mistakes.push(HealthMistake::Times { check, reason });
        }
        mistakes
    }
}

fn find_bad_names<'a>(
    what: &'static str,
    names: impl Iterator<Item = &'a str>,
    mistakes: &mut Vec<HealthMistake>,
) {
    let mut seen = HashSet::new();
    for name in names {
        let is_allowed = (1..=LONGEST_NAME).contains(&name.len())
            && name
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
        if !is_allowed {
            mistakes.push(HealthMistake::Name {
                what,
                name: cut(name),
            });
        } else if !seen.insert(name) {
            mistakes.push(HealthMistake::Duplicate {
                what,
                name: cut(name),
            });
        }
    }
}

fn cut(name: &str) -> String {
    name.chars().take(64).collect()
}

impl fmt::Debug for HealthBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthBuilder")
            .field("checks", &self.checks)
            .field("groups", &self.groups)
            .field("readiness", &self.readiness)
            .finish_non_exhaustive()
    }
}

/// One thing that is wrong with the settings of health. Names are cut to 64 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthMistake {
    /// A name has other characters than `[a-z0-9_-]`, none, or more than 48.
    Name {
        /// Of what: `check`, `group` or `start-up step`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A name is taken twice.
    Duplicate {
        /// Of what.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Readiness is to depend on a check that there is not.
    UnknownCheck {
        /// Its name.
        name: String,
    },
    /// A check is to be in a group that nobody declared.
    UnknownGroup {
        /// The check.
        check: String,
        /// The group.
        group: String,
    },
    /// The times of a check do not fit.
    Times {
        /// The check.
        check: String,
        /// Why.
        reason: &'static str,
    },
}

impl fmt::Display for HealthMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { what, name } => {
                write!(f, "{what} {name:?}: a name is 1 to 48 of a-z, 0-9, _ and -")
            }
            Self::Duplicate { what, name } => write!(f, "there are two of {what} {name:?}"),
            Self::UnknownCheck { name } => {
                write!(f, "readiness is to depend on check {name:?}, which there is not")
            }
            Self::UnknownGroup { check, group } => write!(
                f,
                "check {check:?} is to be in group {group:?}, which is not declared"
            ),
            Self::Times { check, reason } => write!(f, "check {check:?}: {reason}"),
        }
    }
}

/// The settings of health are impossible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthConfigError {
    mistakes: Vec<HealthMistake>,
}

impl HealthConfigError {
    /// Everything that is wrong.
    pub fn mistakes(&self) -> &[HealthMistake] {
        &self.mistakes
    }
}

impl fmt::Display for HealthConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("health is not built right")?;
        for mistake in &self.mistakes {
            write!(f, "\n  - {mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for HealthConfigError {}
