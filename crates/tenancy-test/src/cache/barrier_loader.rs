//! A loader that stops in the middle of each load, until the test lets it go on.

use std::{
    collections::VecDeque,
    error::Error,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::future;
use tokio::sync::{Notify, oneshot};

/// A loader that waits at a barrier inside of each load, until the test says what it comes to.
///
/// Clones are the same loader. A load has begun when its future was polled first.
///
/// ```
/// # async fn example() {
/// use tenancy_test::cache::BarrierLoader;
///
/// let loader = BarrierLoader::new();
/// // In a test of yours: a cache that loads by `loader.load()`.
/// let loading = tokio::spawn(loader.load());
///
/// let load = loader.entered().await;
/// // Now the loader has read the old state, and has not answered: flush here.
/// load.answer("old");
///
/// assert_eq!(loading.await.unwrap().unwrap(), "old");
/// assert_eq!(loader.calls(), 1);
/// # }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(example());
/// ```
pub struct BarrierLoader<V> {
    shared: Arc<Shared<V>>,
}

impl<V: Send + 'static> BarrierLoader<V> {
    /// Each load waits, until it is told what it comes to.
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    calls: 0,
                    waiting: VecDeque::new(),
                    outcome: None,
                }),
                entered: Notify::new(),
            }),
        }
    }

    /// One load: what your loader does in the test.
    ///
    /// # Errors
    /// When the test says so, and for loads that nobody can answer any more.
    ///
    /// # Panics
    /// When the test says so.
    pub fn load(&self) -> impl Future<Output = Result<V, LoaderFailure>> + Send + use<V> {
        let shared = Arc::clone(&self.shared);
        async move {
            let outcome = match shared.begin() {
                Begun::Open(outcome) => outcome(),
                Begun::Waits(outcome) => {
                    shared.entered.notify_waiters();
                    drop(shared);
                    let Ok(outcome) = outcome.await else {
                        return Err(LoaderFailure::new("the test has ended"));
                    };
                    outcome
                }
            };
            outcome.come_true().await
        }
    }

    /// The oldest load that waits and was not handed out yet; waits for one. Loads that were dropped are passed over.
    pub async fn entered(&self) -> WaitingLoad<V> {
        loop {
            let changed = self.shared.entered.notified();
            let waiting = self.shared.state().next_waiting();
            match waiting {
                Some(load) => return load,
                None => changed.await,
            }
        }
    }

    /// How many loads have begun until now, those included that failed or were dropped.
    pub fn calls(&self) -> usize {
        self.shared.state().calls
    }

    /// How many loads wait now, and were not handed out by [`entered`](Self::entered).
    pub fn waiting(&self) -> usize {
        let state = self.shared.state();
        state.waiting.iter().filter(|load| !load.is_dropped()).count()
    }

    /// From now on loads wait, as at the start.
    pub fn shut(&self) {
        self.shared.state().outcome = None;
    }

    /// From now on loads fail at once, those included that wait and were not handed out.
    pub fn open_with_error(&self, message: &'static str) {
        self.open(move || Outcome::Fails(LoaderFailure::new(message)));
    }

    /// From now on loads panic at once, those included that wait and were not handed out.
    pub fn open_with_panic(&self) {
        self.open(|| Outcome::Panics);
    }

    fn open(&self, outcome: impl Fn() -> Outcome<V> + Send + Sync + 'static) {
        let outcome: MakeOutcome<V> = Arc::new(outcome);
        let waiting = {
            let mut state = self.shared.state();
            state.outcome = Some(Arc::clone(&outcome));
            std::mem::take(&mut state.waiting)
        };
        for load in waiting {
            load.comes_to(outcome());
        }
    }
}

impl<V: Clone + Send + Sync + 'static> BarrierLoader<V> {
    /// From now on loads answer this at once, those included that wait and were not handed out.
    pub fn open_with(&self, value: V) {
        self.open(move || Outcome::Answers(value.clone()));
    }
}

impl<V: Send + 'static> Default for BarrierLoader<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> Clone for BarrierLoader<V> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<V> fmt::Debug for BarrierLoader<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state();
        f.debug_struct("BarrierLoader")
            .field("calls", &state.calls)
            .field("is_open", &state.outcome.is_some())
            .finish_non_exhaustive()
    }
}

/// A load that waits at the barrier. Dropped without a word, it fails.
#[must_use = "say what the load comes to"]
pub struct WaitingLoad<V> {
    outcome: oneshot::Sender<Outcome<V>>,
}

impl<V> WaitingLoad<V> {
    /// The load comes to this.
    pub fn answer(self, value: V) {
        self.comes_to(Outcome::Answers(value));
    }

    /// The load fails, with a [`LoaderFailure`] of this message.
    pub fn fail(self, message: &'static str) {
        self.comes_to(Outcome::Fails(LoaderFailure::new(message)));
    }

    /// The load panics.
    pub fn panic(self) {
        self.comes_to(Outcome::Panics);
    }

    /// The load never ends.
    pub fn never_end(self) {
        self.comes_to(Outcome::NeverEnds);
    }

    /// Whether the load was given up: its future is gone.
    pub fn is_dropped(&self) -> bool {
        self.outcome.is_closed()
    }

    fn comes_to(self, outcome: Outcome<V>) {
        // A load that was given up comes to nothing.
        let _ = self.outcome.send(outcome);
    }
}

impl<V> fmt::Debug for WaitingLoad<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitingLoad")
            .field("is_dropped", &self.is_dropped())
            .finish()
    }
}

/// The error of a [`BarrierLoader`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoaderFailure {
    message: &'static str,
}

impl LoaderFailure {
    fn new(message: &'static str) -> Self {
        Self { message }
    }
}

impl fmt::Display for LoaderFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)
    }
}

impl Error for LoaderFailure {}

enum Outcome<V> {
    Answers(V),
    Fails(LoaderFailure),
    Panics,
    NeverEnds,
}

impl<V> Outcome<V> {
    async fn come_true(self) -> Result<V, LoaderFailure> {
        match self {
            Self::Answers(value) => Ok(value),
            Self::Fails(failure) => Err(failure),
            Self::Panics => panic!("the test lets this load panic"),
            Self::NeverEnds => future::pending().await,
        }
    }
}

type MakeOutcome<V> = Arc<dyn Fn() -> Outcome<V> + Send + Sync>;

struct Shared<V> {
    state: Mutex<State<V>>,
    /// A load waits.
    entered: Notify,
}

struct State<V> {
    calls: usize,
    waiting: VecDeque<WaitingLoad<V>>,
    /// What loads come to while the barrier is open.
    outcome: Option<MakeOutcome<V>>,
}

enum Begun<V> {
    Open(MakeOutcome<V>),
    Waits(oneshot::Receiver<Outcome<V>>),
}

impl<V> Shared<V> {
    fn state(&self) -> MutexGuard<'_, State<V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> Begun<V> {
        let mut state = self.state();
        state.calls += 1;
        if let Some(outcome) = &state.outcome {
            return Begun::Open(Arc::clone(outcome));
        }
        let (sender, outcome) = oneshot::channel();
        state.waiting.push_back(WaitingLoad { outcome: sender });
        Begun::Waits(outcome)
    }
}

impl<V> State<V> {
    fn next_waiting(&mut self) -> Option<WaitingLoad<V>> {
        while let Some(load) = self.waiting.pop_front() {
            if !load.is_dropped() {
                return Some(load);
            }
        }
        None
    }
}
