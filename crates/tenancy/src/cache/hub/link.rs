//! The shared level behind a breaker: while it does not answer, nobody waits for it.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tenancy_core::Clock;
use tokio::time::timeout;

use super::account::nanoseconds;
use crate::cache::shared::{SharedError, SharedLevel};

/// So many calls in a row must fail before it is left alone.
const FAILURES: u32 = 3;
/// For so long at first, then twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

pub(crate) struct Link {
    pub(crate) level: Arc<dyn SharedLevel>,
    clock: Arc<dyn Clock>,
    /// Until when nobody asks, in nanoseconds; 0: everybody may.
    open_until: AtomicU64,
    /// In a row. Written under the breaker's lock.
    failures: AtomicU32,
    breaker: Mutex<Breaker>,
}

#[derive(Default)]
struct Breaker {
    pause: Duration,
    /// One asks whether it is back.
    is_probed: bool,
}

/// Why a call brought nothing.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// It was not asked.
    LeftAlone,
    Failed(SharedError),
}

impl Unanswered {
    /// For who asked for nothing else.
    pub(crate) fn into_error(self) -> SharedError {
        match self {
            Self::Failed(error) => error,
            Self::LeftAlone => SharedError::message(
                "the shared level did not answer lately, and is left alone for some seconds",
            ),
        }
    }
}

/// Allows one call, and ends a probe however the call ends.
struct Permit<'a> {
    link: &'a Link,
    is_probe: bool,
}

impl Link {
    pub(crate) fn new(level: Arc<dyn SharedLevel>, clock: Arc<dyn Clock>) -> Self {
        Self {
            level,
            clock,
            open_until: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            breaker: Mutex::default(),
        }
    }

    /// Whether it is being left alone. One load, as good as always.
    #[inline]
    pub(crate) fn is_away(&self) -> bool {
        self.open_until.load(Ordering::Acquire) != 0
    }

    /// Asks, unless it is left alone. Cancel-safe: a call that is dropped counts as nothing.
    pub(crate) async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, SharedError>>,
    ) -> Result<T, Unanswered> {
        let permit = self.permit().ok_or(Unanswered::LeftAlone)?;
        let answer = self.in_time(call).await;
        // An answer in good times is nothing to note, and takes no lock.
        if answer.is_err() || permit.is_probe || self.failures.load(Ordering::Relaxed) > 0 {
            self.note(answer.is_ok(), permit.is_probe);
        }
        answer.map_err(Unanswered::Failed)
    }

    /// As [`call`](Self::call), for what nobody waits for: a server that is full refuses to store, and answers all the same. Its
    /// failure says nothing, and it is no probe.
    pub(crate) async fn call_aside<T>(
        &self,
        call: impl Future<Output = Result<T, SharedError>>,
    ) -> Result<T, Unanswered> {
        if self.is_away() {
            return Err(Unanswered::LeftAlone);
        }
        self.in_time(call).await.map_err(Unanswered::Failed)
    }

    /// Levels limit their time themselves. One that does not must not hold up requests for ever.
    async fn in_time<T>(&self, call: impl Future<Output = Result<T, SharedError>>) -> Result<T, SharedError> {
        timeout(self.level.patience(), call)
            .await
            .unwrap_or_else(|_| Err(SharedError::message("no answer in time")))
    }

    /// It was reached by another way: the next call asks whether it answers again.
    pub(crate) fn end_pause(&self) {
        // Away still, until a time that is over.
        let ended = |until| (until > 1).then_some(1);
        let _ = self
            .open_until
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, ended);
    }

    fn permit(&self) -> Option<Permit<'_>> {
        let open_until = self.open_until.load(Ordering::Acquire);
        if open_until == 0 {
            return Some(Permit {
                link: self,
                is_probe: false,
            });
        }
        if nanoseconds(self.clock.monotonic_coarse()) < open_until {
            return None;
        }
        let is_first = !std::mem::replace(&mut self.breaker().is_probed, true);
        is_first.then_some(Permit {
            link: self,
            is_probe: true,
        })
    }

    fn note(&self, is_answered: bool, is_probe: bool) {
        let mut breaker = self.breaker();
        if is_answered {
            if self.open_until.swap(0, Ordering::AcqRel) != 0 {
                tracing::info!("the shared cache level answers again");
            }
            self.failures.store(0, Ordering::Relaxed);
            breaker.pause = Duration::ZERO;
            return;
        }
        let is_away = self.is_away();
        // Calls that were under way together fail together: that says no more than one of them.
        if is_away && !is_probe {
            return;
        }
        let failures = self.failures.load(Ordering::Relaxed).saturating_add(1);
        self.failures.store(failures, Ordering::Relaxed);
        if failures < FAILURES {
            return;
        }
        if !is_away {
            tracing::warn!("the shared cache level does not answer; it is left alone for a while");
        }
        breaker.pause = (breaker.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        let until = self.clock.monotonic_coarse() + breaker.pause;
        self.open_until
            .store(nanoseconds(until).max(1), Ordering::Release);
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            self.link.breaker().is_probed = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, future::BoxFuture, stream::BoxStream};
    use tenancy_core::ManualClock;

    use super::*;
    use crate::cache::shared::{
        Answer, Ask, EntryName, Fetched, Level, Message, Raise, Raised, ScopeName, StoredEntry,
    };

    /// Never asked: the calls are given.
    #[derive(Debug)]
    struct Nothing;

    impl SharedLevel for Nothing {
        fn renew<'a>(&'a self, _: &'a [Ask]) -> BoxFuture<'a, Result<Vec<Answer>, SharedError>> {
            Box::pin(async { Ok(Vec::new()) })
        }
        fn fetch<'a>(
            &'a self,
            _: &'a Ask,
            _: &'a [EntryName],
        ) -> BoxFuture<'a, Result<Fetched, SharedError>> {
            Box::pin(async { Err(SharedError::message("none")) })
        }
        fn store<'a>(
            &'a self,
            _: &'a ScopeName,
            _: &'a [StoredEntry],
        ) -> BoxFuture<'a, Result<(), SharedError>> {
            Box::pin(async { Ok(()) })
        }
        fn raise<'a>(&'a self, _: &'a Raise) -> BoxFuture<'a, Result<Raised, SharedError>> {
            Box::pin(async { Err(SharedError::message("none")) })
        }
        fn teach<'a>(
            &'a self,
            _: &'a ScopeName,
            _: &'a [Level],
        ) -> BoxFuture<'a, Result<Answer, SharedError>> {
            Box::pin(async { Err(SharedError::message("none")) })
        }
        fn discard<'a>(
            &'a self,
            _: &'a ScopeName,
            _: &'a [EntryName],
        ) -> BoxFuture<'a, Result<(), SharedError>> {
            Box::pin(async { Ok(()) })
        }
        fn listen(&self) -> BoxStream<'static, Message> {
            Box::pin(futures_util::stream::pending())
        }
    }

    fn link() -> (Link, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new());
        let link = Link::new(Arc::new(Nothing), Arc::clone(&clock) as Arc<dyn Clock>);
        (link, clock)
    }

    async fn fail(link: &Link) -> Result<(), Unanswered> {
        link.call(async { Err(SharedError::message("away")) }).await
    }

    #[tokio::test]
    async fn it_is_left_alone_after_three_failures_in_a_row() {
        let (link, _) = link();
        for _ in 0..2 {
            assert!(matches!(fail(&link).await, Err(Unanswered::Failed(_))));
        }
        link.call(async { Ok(()) }).await.unwrap();
        for _ in 0..3 {
            assert!(!link.is_away());
            assert!(matches!(fail(&link).await, Err(Unanswered::Failed(_))));
        }
        assert!(link.is_away());
        assert!(matches!(
            link.call(async { Ok(()) }).await,
            Err(Unanswered::LeftAlone)
        ));
    }

    #[tokio::test]
    async fn many_that_fail_together_are_left_alone_no_longer_than_three() {
        let (link, clock) = link();
        let away = futures_util::future::join_all((0..100).map(|_| {
            link.call(async {
                tokio::task::yield_now().await;
                Err::<(), _>(SharedError::message("away"))
            })
        }));
        assert!(
            away.await
                .iter()
                .all(|answer| matches!(answer, Err(Unanswered::Failed(_))))
        );
        clock.advance(FIRST_PAUSE);
        link.call(async { Ok(()) }).await.unwrap();
    }

    #[tokio::test]
    async fn one_asks_whether_it_is_back_and_a_dropped_question_is_none() {
        let (link, clock) = link();
        for _ in 0..3 {
            assert!(fail(&link).await.is_err());
        }
        clock.advance(FIRST_PAUSE);
        let mut dropped = Box::pin(link.call(std::future::pending::<Result<(), _>>()));
        assert!(dropped.as_mut().now_or_never().is_none());
        assert!(matches!(
            link.call(async { Ok(()) }).await,
            Err(Unanswered::LeftAlone)
        ));
        drop(dropped);
        link.call(async { Ok(()) }).await.unwrap();
        assert!(!link.is_away());
        assert!(matches!(fail(&link).await, Err(Unanswered::Failed(_))));
        assert!(!link.is_away());
    }

    #[tokio::test]
    async fn who_was_reached_by_another_way_is_asked_at_once() {
        let (link, clock) = link();
        clock.advance(Duration::from_millis(1));
        link.end_pause();
        assert!(!link.is_away());
        for _ in 0..3 {
            assert!(fail(&link).await.is_err());
        }
        link.end_pause();
        assert!(link.is_away());
        link.call(async { Ok(()) }).await.unwrap();
        assert!(!link.is_away());
    }

    #[tokio::test]
    async fn a_probe_that_fails_makes_the_pause_longer() {
        let (link, clock) = link();
        for _ in 0..3 {
            assert!(fail(&link).await.is_err());
        }
        clock.advance(FIRST_PAUSE);
        assert!(matches!(fail(&link).await, Err(Unanswered::Failed(_))));
        clock.advance(FIRST_PAUSE);
        assert!(matches!(fail(&link).await, Err(Unanswered::LeftAlone)));
        clock.advance(FIRST_PAUSE);
        link.call(async { Ok(()) }).await.unwrap();
    }
}
