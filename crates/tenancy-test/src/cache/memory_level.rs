//! A shared level in memory: what all nodes have in common.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tenancy::cache::shared::{
    Answer, Ask, Claim, EntryName, FlushMode, FoundEntry, Level, Message, ProcessReport, Raise, Raised,
    ScopeName, StoredEntry,
};
use tenancy_core::{Clock, SystemClock};

use super::{
    calls::{Counter, LevelCalls},
    memory_node::{MemoryNode, Node},
    numbers::{Lifted, Numbers, next_number},
    spared::Spared,
};

/// A shared level in memory, for several caches of one test that stand for several processes.
///
/// It does what Redis would do with `tenancy-redis`, without time-outs of its own. Each [`node`](Self::node) is one process's
/// way to it, with faults of its own; the faults of the whole are here. Clones are the same level.
///
/// What a caller must not do panics, with the reason: a flush of no cells, a slot that is none, an entry without life.
///
/// ```
/// # async fn example() {
/// use tenancy::cache::shared::{Ask, Cell, FlushMode, Raise, ScopeName, SharedLevel};
/// use tenancy_test::cache::MemoryLevel;
///
/// let level = MemoryLevel::new();
/// let (here, there) = (level.node(), level.node());
/// let scope = ScopeName::for_tests("acme:1");
/// let flush = Raise { scope: scope.clone(), cells: vec![Cell::Slot(7)], mode: FlushMode::Hard, known: 0 };
///
/// there.go_away();
/// assert!(there.raise(&flush).await.is_err());
/// let raised = here.raise(&flush).await.unwrap();
/// assert_eq!(level.levels(&scope).len(), 2, "the base, and what was raised");
/// assert!(raised.number > raised.previous);
/// # }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(example());
/// ```
#[derive(Clone)]
pub struct MemoryLevel {
    shared: Arc<Shared>,
}

impl MemoryLevel {
    /// An empty level that takes its time from the machine.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock::new()))
    }

    /// An empty level that takes its time from `clock`: its numbers, and how long entries are kept.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self {
            shared: Arc::new(Shared {
                clock,
                state: Mutex::default(),
                nodes: Mutex::default(),
                nodes_made: AtomicU64::new(0),
                calls: Counter::default(),
            }),
        }
    }

    /// Another process's way to this level, without faults. Clones of a node are the same process.
    ///
    /// With its last clone the process ends, and so do its [listeners](tenancy::cache::shared::SharedLevel::listen).
    pub fn node(&self) -> MemoryNode {
        let number = self.shared.nodes_made.fetch_add(1, Ordering::Relaxed) % 1024;
        let node = Arc::new(Node::new(Arc::clone(&self.shared), number));
        let mut nodes = lock(&self.shared.nodes);
        nodes.retain(|node| node.strong_count() > 0);
        nodes.push(Arc::downgrade(&node));
        MemoryNode { node }
    }

    /// Loses everything, entries and numbers, and tells nobody: `FLUSHDB`, or a restart without persistence.
    pub fn flush_db(&self) {
        let mut state = self.shared.state();
        state.kept = Kept::default();
        state.time_has_gone_on();
    }

    /// Loses the numbers of one scope, as if they were evicted. Its entries are still there, and must all be dead.
    pub fn forget_scope(&self, scope: &ScopeName) {
        let mut state = self.shared.state();
        state.kept.numbers.remove(scope);
        state.time_has_gone_on();
    }

    /// What a replica has that lags behind from now on.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint(self.shared.state().kept.clone())
    }

    /// Puts the replica in the place of the level: all that came after the checkpoint is lost, numbers and entries. Tells
    /// nobody; connections hold, which is the harder case: add [`MemoryNode::cut_subscriber`] for the other.
    pub fn fail_over_to(&self, checkpoint: &Checkpoint) {
        let mut state = self.shared.state();
        state.kept = checkpoint.0.clone();
        state.time_has_gone_on();
    }

    /// Lets the level's clock stand so much behind, as that of a replica that takes over may. It counts from now on, in place
    /// of what was set before.
    pub fn set_clock_back(&self, by: Duration) {
        self.shared.state().clock_is_behind_ms = millis(by);
    }

    /// The calls of all nodes, those included that have ended.
    pub fn calls(&self) -> LevelCalls {
        self.shared.calls.calls()
    }

    /// Every scope that has numbers or entries here.
    pub fn scopes(&self) -> Vec<ScopeName> {
        let state = self.shared.state();
        let mut scopes: Vec<_> = state
            .kept
            .numbers
            .keys()
            .chain(state.kept.entries.keys())
            .cloned()
            .collect();
        scopes.sort();
        scopes.dedup();
        scopes
    }

    /// The numbers of a scope, by cell; none if it is not there. Asks nobody and counts as no call.
    pub fn levels(&self, scope: &ScopeName) -> Vec<Level> {
        let state = self.shared.state();
        let numbers = state.kept.numbers.get(scope);
        numbers.map(|numbers| numbers.levels_above(0)).unwrap_or_default()
    }

    /// The names of the entries of a scope that have not expired, in order.
    pub fn entry_names(&self, scope: &ScopeName) -> Vec<EntryName> {
        let now = self.shared.clock.monotonic();
        let state = self.shared.state();
        let entries = state.kept.entries.get(scope).into_iter().flatten();
        let live = entries.filter(|(_, entry)| entry.expires > now);
        live.map(|(name, _)| name.clone()).collect()
    }
}

impl Default for MemoryLevel {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLevel")
            .field("scopes", &self.scopes())
            .finish_non_exhaustive()
    }
}

/// A [`MemoryLevel`] at one moment.
#[derive(Clone)]
pub struct Checkpoint(Kept);

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint")
            .field("scopes", &self.0.numbers.len())
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct KeptEntry {
    bytes: Bytes,
    expires: Duration,
}

/// What a server keeps, and loses.
#[derive(Clone, Default)]
struct Kept {
    numbers: HashMap<ScopeName, Numbers>,
    entries: HashMap<ScopeName, BTreeMap<EntryName, KeptEntry>>,
    spared: Spared,
}

#[derive(Default)]
struct State {
    kept: Kept,
    /// The highest number ever given, whatever was lost since.
    highest: u64,
    /// No number is given for an earlier time than this.
    earliest_ms: u64,
    clock_is_behind_ms: u64,
}

impl State {
    /// A loss takes a while, also where the clock of a test stands still: a server's time is past all it has given.
    fn time_has_gone_on(&mut self) {
        self.earliest_ms = self.highest / 1024;
    }

    fn number(&mut self, stored: u64, known: u64, now_ms: u64, node: u64) -> u64 {
        let time_ms = now_ms
            .max(self.earliest_ms)
            .saturating_sub(self.clock_is_behind_ms);
        let number = next_number(stored, known, time_ms, node);
        self.highest = self.highest.max(number);
        number
    }

    /// Makes the numbers of a scope that has none; `known` is a number that the fresh ones must be above.
    fn make(&mut self, scope: &ScopeName, known: u64, now_ms: u64, node: u64) {
        if !self.kept.numbers.contains_key(scope) {
            let base = self.number(0, known, now_ms, node);
            self.kept.numbers.insert(scope.clone(), Numbers::fresh(base));
        }
    }
}

/// What all nodes share.
pub(super) struct Shared {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    nodes: Mutex<Vec<Weak<Node>>>,
    nodes_made: AtomicU64,
    pub(super) calls: Counter,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn now_ms(&self) -> u64 {
        millis(self.clock.unix_time())
    }

    pub(super) fn answer(&self, ask: &Ask, node: u64) -> Answer {
        self.answer_within(&mut self.state(), ask, node)
    }

    fn answer_within(&self, state: &mut State, ask: &Ask, node: u64) -> Answer {
        state.make(&ask.scope, ask.seen, self.now_ms(), node);
        let numbers = state.kept.numbers.get(&ask.scope);
        numbers.map_or(Answer::Behind, |numbers| numbers.answer(ask.seen))
    }

    pub(super) fn fetch(
        &self,
        ask: &Ask,
        names: &[EntryName],
        node: u64,
    ) -> (Answer, Vec<Option<FoundEntry>>) {
        let now = self.clock.monotonic();
        let mut state = self.state();
        let answer = self.answer_within(&mut state, ask, node);
        let mut entries = state.kept.entries.get_mut(&ask.scope);
        let found = names.iter().map(|name| {
            let entries = entries.as_deref_mut()?;
            let entry = entries.get(name)?;
            if entry.expires <= now {
                entries.remove(name);
                return None;
            }
            Some(FoundEntry {
                bytes: entry.bytes.clone(),
                remaining: entry.expires - now,
            })
        });
        let found = found.collect();
        (answer, found)
    }

    pub(super) fn store(&self, scope: &ScopeName, stored: &[StoredEntry]) {
        let now = self.clock.monotonic();
        let mut state = self.state();
        let entries = state.kept.entries.entry(scope.clone()).or_default();
        for entry in stored {
            assert!(!entry.ttl.is_zero(), "an entry without life: {:?}", entry.name);
            let expires = now.saturating_add(entry.ttl);
            let bytes = entry.bytes.clone();
            entries.insert(entry.name.clone(), KeptEntry { bytes, expires });
        }
    }

    pub(super) fn discard(&self, scope: &ScopeName, names: &[EntryName]) {
        let mut state = self.state();
        if let Some(entries) = state.kept.entries.get_mut(scope) {
            for name in names {
                entries.remove(name);
            }
        }
    }

    pub(super) fn claim(&self, claim: &Claim, length: Duration) -> bool {
        let now = self.clock.monotonic();
        self.state().kept.spared.claim(claim, length, now)
    }

    pub(super) fn release(&self, claim: &Claim) {
        self.state().kept.spared.release(claim);
    }

    pub(super) fn heat(&self, uses: &[(ScopeName, u64)]) {
        let now = self.clock.monotonic();
        self.state().kept.spared.add_heat(uses, now);
    }

    pub(super) fn hottest(&self, most: usize) -> Vec<ScopeName> {
        self.state().kept.spared.hottest(most)
    }

    pub(super) fn report(&self, reports: &[ProcessReport], keep_for: Duration) {
        let now = self.clock.monotonic();
        self.state().kept.spared.report(reports, keep_for, now);
    }

    pub(super) fn reports(&self, scope: &ScopeName) -> Vec<ProcessReport> {
        let now = self.clock.monotonic();
        self.state().kept.spared.reports(scope, now)
    }

    pub(super) fn raise(&self, raise: &Raise, node: u64) -> Raised {
        check_raise(raise);
        let now_ms = self.now_ms();
        let mut state = self.state();
        let previous = state.kept.numbers.get(&raise.scope).map_or(0, Numbers::newest);
        state.make(&raise.scope, raise.known, now_ms, node);
        let stored = state.kept.numbers.get(&raise.scope).map_or(0, Numbers::newest);
        let number = state.number(stored, raise.known, now_ms, node);
        if let Some(numbers) = state.kept.numbers.get_mut(&raise.scope) {
            numbers.raise(&raise.cells, raise.mode, number);
        }
        self.publish(&Message::Raised {
            scope: raise.scope.clone(),
            previous,
            number,
            cells: raise.cells.clone(),
            mode: raise.mode,
        });
        Raised { number, previous }
    }

    pub(super) fn teach(&self, scope: &ScopeName, known: &[Level], node: u64) -> Answer {
        let now_ms = self.now_ms();
        let highest = known.iter().map(|level| level.any.max(level.hard)).max();
        let highest = highest.unwrap_or_default();
        let mut state = self.state();
        state.make(scope, highest, now_ms, node);
        let Some(numbers) = state.kept.numbers.get(scope) else {
            return Answer::Behind;
        };
        let (lifted, previous) = (numbers.lifted_by(known), numbers.newest());
        if lifted == Lifted::default() {
            return numbers.whole();
        }
        let number = state.number(previous, highest, now_ms, node);
        let Some(numbers) = state.kept.numbers.get_mut(scope) else {
            return Answer::Behind;
        };
        numbers.lift(&lifted, number);
        let whole = numbers.whole();
        self.publish_lifted(scope, previous, number, lifted);
        whole
    }

    /// A message is of one kind. Whoever hears only one of two must not think to know all up to their number: neither is told
    /// to follow what was before.
    fn publish_lifted(&self, scope: &ScopeName, previous: u64, number: u64, lifted: Lifted) {
        let is_mixed = !lifted.soft.is_empty() && !lifted.hard.is_empty();
        let previous = if is_mixed { number } else { previous };
        for (cells, mode) in [(lifted.soft, FlushMode::Soft), (lifted.hard, FlushMode::Hard)] {
            if !cells.is_empty() {
                self.publish(&Message::Raised {
                    scope: scope.clone(),
                    previous,
                    number,
                    cells,
                    mode,
                });
            }
        }
    }

    /// Called under the lock of the state, so that messages leave in the order of their numbers.
    fn publish(&self, message: &Message) {
        for node in lock(&self.nodes).iter().filter_map(Weak::upgrade) {
            node.hear(message);
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

fn check_raise(raise: &Raise) {
    let mut cells = raise.cells.clone();
    cells.sort();
    cells.dedup();
    assert!(!cells.is_empty(), "a flush of nothing");
    assert_eq!(cells.len(), raise.cells.len(), "a cell that is flushed twice");
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
