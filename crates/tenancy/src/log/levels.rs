use std::{
    collections::HashMap,
    error::Error,
    fmt,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tenancy_core::{Clock, SystemClock, TenantId};
use tokio::{runtime::Handle, task::JoinHandle};
use tracing::{Level, level_filters::LevelFilter};
use tracing_core::callsite::rebuild_interest_cache;

use super::TenantFilter;
use crate::scope::with_current;

/// How long what is over may slow logging down at the most, where a runtime is there.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// The tenants whose log level is another one than the log's own. Clones share everything. See the [module](super).
///
/// Steers the logs that have a [`filter`](Self::filter) made of it.
#[derive(Clone)]
pub struct TenantLevels {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    /// How many tenants there are in `in_force`: without any, nothing else is read.
    count: AtomicUsize,
    in_force: ArcSwap<InForce>,
    /// Held while `in_force` is changed. The task takes out what is over.
    sweeper: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Clone, Default)]
struct InForce {
    rules: HashMap<TenantId, Rule>,
}

#[derive(Clone, Copy)]
struct Rule {
    effect: LevelEffect,
    level: LevelFilter,
    until: Duration,
}

/// What a tenant's level does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LevelEffect {
    /// Lets lines through that the log leaves out.
    Raised,
    /// Holds lines back that the log lets through.
    Quieted,
}

/// A tenant whose log level is another one than the log's own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TenantLevel {
    /// The tenant.
    pub tenant: TenantId,
    /// Whether it has more lines or fewer.
    pub effect: LevelEffect,
    /// The level.
    pub level: LevelFilter,
    /// How long it still lasts.
    pub remaining: Duration,
}

/// Whether a line of the current scope is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As the log says.
    AsEver,
    Let,
    HoldBack,
}

/// What some tenant may get more, or less.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) raised_to: LevelFilter,
    pub(super) quieted_to: LevelFilter,
}

impl TenantLevels {
    /// So many tenants can have a level of their own at once.
    pub const MAX_TENANTS: usize = 64;

    /// No tenant has a level of its own. Time is the machine's.
    pub fn new() -> Self {
        Self::with_clock(SystemClock::new())
    }

    /// As [`new`](Self::new), with another clock: one that a test moves.
    pub fn with_clock(clock: impl Clock) -> Self {
        Self::with_shared_clock(Arc::new(clock))
    }

    fn with_shared_clock(clock: Arc<dyn Clock>) -> Self {
        Self {
            shared: Arc::new(Shared {
                clock,
                count: AtomicUsize::new(0),
                in_force: ArcSwap::default(),
                sweeper: Mutex::new(None),
            }),
        }
    }

    /// Also writes this tenant's lines up to this level, whatever the log's own filter says of them, for as long as
    /// given. Replaces what was said of the tenant before.
    ///
    /// Lines of every library count that the tenant's code calls. What they write at `DEBUG` and `TRACE` may have
    /// secrets: statements with their values, headers.
    ///
    /// Never waits. Looks at every place in the program that logs, so it is nothing to do for each request.
    ///
    /// # Errors
    /// When [`MAX_TENANTS`](Self::MAX_TENANTS) others have a level of their own.
    pub fn raise(
        &self,
        tenant: &TenantId,
        level: impl Into<LevelFilter>,
        lasting: Duration,
    ) -> Result<(), TooManyLevels> {
        self.set(tenant, LevelEffect::Raised, level.into(), lasting)
    }

    /// Writes nothing of this tenant that is more detailed than this level, for as long as given: `LevelFilter::OFF`
    /// writes nothing at all, [`Duration::MAX`] lasts until it is [`reset`](Self::reset). Besides that as
    /// [`raise`](Self::raise).
    ///
    /// # Errors
    /// When [`MAX_TENANTS`](Self::MAX_TENANTS) others have a level of their own.
    pub fn quiet(
        &self,
        tenant: &TenantId,
        level: impl Into<LevelFilter>,
        lasting: Duration,
    ) -> Result<(), TooManyLevels> {
        self.set(tenant, LevelEffect::Quieted, level.into(), lasting)
    }

    /// Gives the tenant the log's own level back. Returns whether it had another.
    pub fn reset(&self, tenant: &TenantId) -> bool {
        self.change(|rules| rules.remove(tenant).is_some())
    }

    /// The tenants that have a level of their own now, in the order of their ids.
    pub fn in_force(&self) -> Vec<TenantLevel> {
        let now = self.now();
        let in_force = self.shared.in_force.load();
        let lasting = in_force.rules.iter().filter(|(_, rule)| now < rule.until);
        let mut levels: Vec<_> = lasting
            .map(|(tenant, rule)| TenantLevel {
                tenant: tenant.clone(),
                effect: rule.effect,
                level: rule.level,
                remaining: rule.until.saturating_sub(now),
            })
            .collect();
        levels.sort_unstable_by(|a, b| a.tenant.cmp(&b.tenant));
        levels
    }

    /// The filter of a log: what `base` says, but for the tenants that have a level of their own.
    ///
    /// Give it to a layer by `with_filter`. `base` must be the layer's filter, not one of the whole subscriber: what
    /// such a one holds back, nobody can let through.
    pub fn filter<F>(&self, base: F) -> TenantFilter<F> {
        TenantFilter::new(self.clone(), base)
    }

    fn set(
        &self,
        tenant: &TenantId,
        effect: LevelEffect,
        level: LevelFilter,
        lasting: Duration,
    ) -> Result<(), TooManyLevels> {
        let rule = Rule {
            effect,
            level,
            until: self.now().saturating_add(lasting),
        };
        self.change(|rules| {
            if rules.len() >= Self::MAX_TENANTS && !rules.contains_key(tenant) {
                return Err(TooManyLevels { _private: () });
            }
            rules.insert(tenant.clone(), rule);
            Ok(())
        })
    }

    /// Changes what is in force, without what is over.
    fn change<R>(&self, edit: impl FnOnce(&mut HashMap<TenantId, Rule>) -> R) -> R {
        let now = self.now();
        let answer = {
            let mut sweeper = self.shared.sweeper.lock().unwrap_or_else(PoisonError::into_inner);
            let mut in_force = InForce::clone(&self.shared.in_force.load());
            in_force.rules.retain(|_, rule| now < rule.until);
            let answer = edit(&mut in_force.rules);
            if in_force.rules.is_empty() {
                // It may sleep for a while, and the next one begins when a tenant has a level again.
                if let Some(sweeper) = sweeper.take() {
                    sweeper.abort();
                }
            } else if sweeper.as_ref().is_none_or(JoinHandle::is_finished)
                && let Ok(runtime) = Handle::try_current()
            {
                *sweeper = Some(runtime.spawn(sweep(Arc::downgrade(&self.shared))));
            }
            let count = in_force.rules.len();
            self.shared.in_force.store(Arc::new(in_force));
            self.shared.count.store(count, Ordering::Release);
            answer
        };
        // `tracing` remembers which places interest nobody, and how detailed the most detailed one is.
        rebuild_interest_cache();
        answer
    }

    fn now(&self) -> Duration {
        self.shared.clock.monotonic()
    }

    #[inline]
    fn has_any(&self) -> bool {
        self.shared.count.load(Ordering::Acquire) > 0
    }

    #[inline]
    pub(super) fn judge(&self, level: &Level) -> Verdict {
        if self.has_any() {
            self.judge_for_current(level)
        } else {
            Verdict::AsEver
        }
    }

    #[cold]
    fn judge_for_current(&self, level: &Level) -> Verdict {
        let in_force = self.shared.in_force.load();
        let rule = with_current(|current| {
            let tenant = current.as_ref()?.scope.tenant()?;
            in_force.rules.get(tenant.id()).copied()
        });
        let verdict = match rule {
            Some(rule) if rule.effect == LevelEffect::Raised && *level <= rule.level => Verdict::Let,
            Some(rule) if rule.effect == LevelEffect::Quieted && *level > rule.level => Verdict::HoldBack,
            _ => return Verdict::AsEver,
        };
        // The clock is asked last: most lines do not need it.
        match rule {
            Some(rule) if self.now() < rule.until => verdict,
            _ => Verdict::AsEver,
        }
    }

    /// `None` when no tenant has a level of its own.
    pub(super) fn bounds(&self) -> Option<Bounds> {
        if !self.has_any() {
            return None;
        }
        let in_force = self.shared.in_force.load();
        let levels = |effect| {
            let rules = in_force.rules.values().filter(move |rule| rule.effect == effect);
            rules.map(|rule| rule.level)
        };
        Some(Bounds {
            raised_to: levels(LevelEffect::Raised).max().unwrap_or(LevelFilter::OFF),
            quieted_to: levels(LevelEffect::Quieted).min().unwrap_or(LevelFilter::TRACE),
        })
    }

    /// How long until something is over; `None` if nothing is left to wait for.
    fn next_end(&self) -> Option<Duration> {
        let now = self.now();
        let in_force = self.shared.in_force.load();
        let ends = in_force.rules.values().map(|rule| rule.until);
        ends.min().map(|end| end.saturating_sub(now))
    }
}

/// Takes out what is over, so that logging costs no more than before. What is written never depends on it.
async fn sweep(shared: Weak<Shared>) {
    loop {
        let Some(shared) = shared.upgrade() else { return };
        let levels = TenantLevels { shared };
        let Some(mut next) = levels.next_end() else { return };
        if next.is_zero() {
            levels.change(|_| ());
            match levels.next_end() {
                Some(end) => next = end,
                None => return,
            }
        }
        drop(levels);
        tokio::time::sleep(next.min(LONGEST_SLEEP)).await;
    }
}

impl Default for TenantLevels {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TenantLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.in_force()).finish()
    }
}

impl fmt::Display for LevelEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Raised => "raised",
            Self::Quieted => "quieted",
        })
    }
}

/// As many tenants as can be have a log level of their own already.
#[derive(Clone, Debug)]
pub struct TooManyLevels {
    _private: (),
}

impl fmt::Display for TooManyLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = TenantLevels::MAX_TENANTS;
        write!(
            f,
            "{limit} tenants have a log level of their own already; reset one first"
        )
    }
}

impl Error for TooManyLevels {}

#[cfg(test)]
mod tests {
    use tenancy_core::ManualClock;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn id(number: usize) -> TenantId {
        TenantId::new(&format!("t{number}")).unwrap()
    }

    #[test]
    fn so_many_tenants_have_a_level_and_no_more() {
        let clock = Arc::new(ManualClock::new());
        let levels = TenantLevels::with_shared_clock(clock.clone());
        for number in 0..TenantLevels::MAX_TENANTS {
            levels.raise(&id(number), Level::DEBUG, MINUTE).unwrap();
        }
        let refused = levels.raise(&id(100), Level::DEBUG, MINUTE).unwrap_err();
        assert!(refused.to_string().contains("64"), "{refused}");
        // One that is there is replaced.
        levels.quiet(&id(3), LevelFilter::OFF, 2 * MINUTE).unwrap();
        assert_eq!(levels.in_force().len(), TenantLevels::MAX_TENANTS);
        clock.advance(MINUTE);
        let [left] = &levels.in_force()[..] else {
            panic!("{levels:?}")
        };
        assert_eq!(
            (&left.tenant, left.effect, left.remaining),
            (&id(3), LevelEffect::Quieted, MINUTE)
        );
        // What is over makes room.
        levels.raise(&id(100), Level::DEBUG, Duration::MAX).unwrap();
        clock.advance(1_000_000 * MINUTE);
        assert_eq!(levels.in_force().len(), 1, "the longest time does not end");
    }

    #[test]
    fn the_bounds_are_those_of_the_most_and_the_least_that_anybody_gets() {
        let levels = TenantLevels::with_clock(ManualClock::new());
        assert!(levels.bounds().is_none());
        levels.raise(&id(1), Level::DEBUG, MINUTE).unwrap();
        levels.raise(&id(2), Level::TRACE, MINUTE).unwrap();
        levels.quiet(&id(3), Level::ERROR, MINUTE).unwrap();
        levels.quiet(&id(4), Level::WARN, MINUTE).unwrap();
        let bounds = levels.bounds().unwrap();
        assert_eq!(
            (bounds.raised_to, bounds.quieted_to),
            (LevelFilter::TRACE, LevelFilter::ERROR)
        );
        for number in 1..5 {
            assert!(levels.reset(&id(number)));
        }
        assert!(levels.bounds().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_taken_out_by_itself() {
        let clock = Arc::new(ManualClock::new());
        let levels = TenantLevels::with_shared_clock(clock.clone());
        levels.raise(&id(1), Level::DEBUG, MINUTE).unwrap();
        levels.raise(&id(2), Level::DEBUG, 2 * MINUTE).unwrap();
        tokio::time::sleep(2 * LONGEST_SLEEP).await;
        assert!(levels.has_any());
        clock.advance(MINUTE);
        tokio::time::sleep(2 * LONGEST_SLEEP).await;
        assert_eq!(levels.shared.in_force.load().rules.len(), 1);
        clock.advance(MINUTE);
        tokio::time::sleep(2 * LONGEST_SLEEP).await;
        assert!(!levels.has_any());
        // And again, by another task.
        levels.raise(&id(1), Level::DEBUG, MINUTE).unwrap();
        clock.advance(MINUTE);
        tokio::time::sleep(2 * LONGEST_SLEEP).await;
        assert!(!levels.has_any());
    }
}
