//! One check: what it asks, how often, and what its failure means.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tenancy_core::BoxError;

/// What is asked. Called in a task of its own for each run.
pub(super) type Run = Arc<dyn Fn() -> BoxFuture<'static, Result<Finding, BoxError>> + Send + Sync>;

/// What the failure of a check means for the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Criticality {
    /// The process can not do its work: unhealthy, 503.
    Critical,
    /// The process works, less well: degraded, 200.
    Degrades,
    /// Shown, and nothing else.
    Info,
}

/// What a check that did not fail has found: nothing to add, a figure, or something to be warned of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finding {
    pub(super) value: Option<f64>,
    pub(super) unit: &'static str,
    pub(super) warning: Option<String>,
}

impl Finding {
    /// A figure, shown in details.
    pub fn of(value: f64, unit: &'static str) -> Self {
        Self {
            value: Some(value),
            unit,
            warning: None,
        }
    }

    /// Degraded, whatever the check's criticality but [`Info`](Criticality::Info). The text is for operators.
    #[must_use]
    pub fn warn(mut self, text: impl Into<String>) -> Self {
        self.warning = Some(text.into());
        self
    }
}

impl From<()> for Finding {
    fn from((): ()) -> Self {
        Self::default()
    }
}

/// One check: what is asked, how often, and what its failure means. See the [module](super).
///
/// ```
/// use std::{io, time::Duration};
/// use tenancy::health::Check;
///
/// let mail = Check::new("mail", || async { Err::<(), _>(io::Error::other("no answer")) })
///     .degrades()
///     .interval(Duration::from_secs(30))
///     .timeout(Duration::from_secs(5));
/// assert_eq!(mail.name(), "mail");
/// ```
#[derive(Clone)]
#[must_use = "give it to a HealthBuilder"]
pub struct Check {
    pub(super) name: Arc<str>,
    pub(super) criticality: Criticality,
    pub(super) groups: Vec<Arc<str>>,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) failures_to_down: u32,
    pub(super) successes_to_up: u32,
    max_age: Option<Duration>,
    pub(super) run: Run,
}

impl Check {
    /// A critical check. Its name is `[a-z0-9_-]{1,48}` and no other check's.
    ///
    /// Each run is a task of its own, one at a time: a panic is a failure, and so is one that is not done in time; that
    /// one is aborted, and while it blocks its thread no other begins. The error's text is shown in details and in the
    /// log, without what stands between `://` and `@`: it should name no secrets.
    pub fn new<F, Fut, T, E>(name: impl Into<Arc<str>>, check: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<Finding>,
        E: Into<BoxError>,
    {
        let run: Run = Arc::new(move || {
            let asked = check();
            Box::pin(async move { asked.await.map(Into::into).map_err(Into::into) })
        });
        Self {
            name: name.into(),
            criticality: Criticality::Critical,
            groups: Vec::new(),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
            failures_to_down: 2,
            successes_to_up: 1,
            max_age: None,
            run,
        }
    }

    /// What its failure means. Default: [`Critical`](Criticality::Critical), but where a built-in check says otherwise.
    pub fn criticality(mut self, criticality: Criticality) -> Self {
        self.criticality = criticality;
        self
    }

    /// A failure makes the process unhealthy.
    pub fn critical(self) -> Self {
        self.criticality(Criticality::Critical)
    }

    /// A failure makes the process degraded.
    pub fn degrades(self) -> Self {
        self.criticality(Criticality::Degrades)
    }

    /// A failure is shown, and nothing else.
    pub fn info(self) -> Self {
        self.criticality(Criticality::Info)
    }

    /// Puts it into a group too: [`READINESS`](super::READINESS), or one that the builder declares.
    pub fn in_group(mut self, group: impl Into<Arc<str>>) -> Self {
        self.groups.push(group.into());
        self
    }

    /// Time from the end of a run to the next, give or take a tenth, so that processes do not ask together. Default: 10 s;
    /// above 0.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// After which a run has failed. Default: 2 s; above 0.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// So many runs in a row must fail before it is down. Default: 2; at least 1.
    pub fn failures_to_down(mut self, failures: u32) -> Self {
        self.failures_to_down = failures.max(1);
        self
    }

    /// So many runs in a row must succeed before it is up again. Default: 1; at least 1.
    pub fn successes_to_up(mut self, successes: u32) -> Self {
        self.successes_to_up = successes.max(1);
        self
    }

    /// A result that is older counts as a failure, so that a check that nobody runs shows. Default: three intervals, and
    /// room for two runs that take the whole time; at least an interval and a timeout.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn longest_age(&self) -> Duration {
        let room = self.interval.saturating_add(self.timeout.saturating_mul(2));
        self.max_age
            .unwrap_or_else(|| self.interval.saturating_mul(3).max(room))
    }

    /// A longest age that a check which is well would pass.
    pub(super) fn ages_too_early(&self) -> bool {
        self.max_age
            .is_some_and(|age| age < self.interval.saturating_add(self.timeout))
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("name", &self.name)
            .field("criticality", &self.criticality)
            .field("groups", &self.groups)
            .field("interval", &self.interval)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
