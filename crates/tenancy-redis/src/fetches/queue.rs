//! Who waits to be asked for, and in which order.

use std::{
    collections::{HashMap, VecDeque},
    fmt, mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tenancy::cache::shared::{EntryName, Fetched, ScopeName};
use tokio::{sync::oneshot, time::Instant};

use super::batch::{Group, Want};
use crate::failure::Failure;

/// While the server reads for one batch, this process reads what came of the other.
const AT_ONCE: usize = 2;

/// Entries of a batch: more would not make it cheaper.
const MOST: usize = 128;
const AT_FIRST: usize = 32;
/// Where entries are large, or the server was silent.
const FEWEST: usize = 4;

/// Bytes of a batch: where one comes to more, the next has fewer entries. It is had well within the time of a call.
const LARGE: usize = 256 << 10;

/// One call that waits.
pub(super) struct Call {
    pub(super) seen: u64,
    pub(super) names: Vec<EntryName>,
    pub(super) since: Instant,
    pub(super) reply: oneshot::Sender<Result<Fetched, Failure>>,
}

impl Call {
    /// One that asks for nothing but numbers is something, too.
    fn size(&self) -> usize {
        self.names.len().max(1)
    }

    /// Larger than a batch: it goes alone, so that nobody else waits for it, or fails with it.
    fn is_large(&self, most: usize) -> bool {
        self.size() > most
    }

    pub(super) fn answer(self, outcome: Result<Fetched, Failure>) {
        // Who is gone does not miss it.
        let _ = self.reply.send(outcome);
    }
}

/// The calls of one scope that are sent together.
pub(super) struct Taken {
    scope: ScopeName,
    pub(super) calls: Vec<Call>,
}

impl Taken {
    #[cfg(test)]
    pub(super) fn scope(&self) -> &ScopeName {
        &self.scope
    }

    /// Those that have waited for longer than they may. Those whose caller is gone go, too.
    pub(super) fn remove_late(&mut self, limit: Duration) -> Vec<Call> {
        self.calls.retain(|call| !call.reply.is_closed());
        self.calls
            .extract_if(.., |call| call.since.elapsed() > limit)
            .collect()
    }

    /// How many entries are asked for.
    pub(super) fn size(&self) -> usize {
        self.calls.iter().map(Call::size).sum()
    }

    pub(super) fn group(&self) -> Option<Group<'_>> {
        let wants = self.calls.iter().map(|call| Want {
            seen: call.seen,
            names: &call.names,
        });
        (!self.calls.is_empty()).then(|| Group::new(&self.scope, wants.collect()))
    }
}

/// The calls that wait for one server.
pub(crate) struct Queue {
    is_one_alone: AtomicBool,
    state: Mutex<State>,
}

struct State {
    /// Scopes that have calls, each once: whose turn is next.
    turns: VecDeque<ScopeName>,
    calls: HashMap<ScopeName, VecDeque<Call>>,
    senders: usize,
    /// One of them is about to take what there is.
    is_gathering: bool,
    /// How many entries a batch has.
    most: usize,
}

/// Says when it is over.
pub(super) struct Alone<'a>(&'a Queue);

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.is_one_alone.store(false, Ordering::Release);
    }
}

impl Queue {
    pub(crate) fn new() -> Self {
        Self {
            is_one_alone: AtomicBool::new(false),
            state: Mutex::new(State {
                turns: VecDeque::new(),
                calls: HashMap::new(),
                senders: 0,
                is_gathering: false,
                most: AT_FIRST,
            }),
        }
    }

    /// For the first of those who ask at the same time.
    pub(super) fn begin_alone(&self) -> Option<Alone<'_>> {
        let is_first =
            !self.is_one_alone.load(Ordering::Relaxed) && !self.is_one_alone.swap(true, Ordering::AcqRel);
        // Not made in vain: it would end the other's when it is dropped.
        is_first.then(|| Alone(self))
    }

    /// Whether the caller has to see to it that it is sent: with a sender of its own.
    pub(super) fn add(&self, scope: &ScopeName, call: Call) -> bool {
        let mut state = self.state();
        let State { turns, calls, .. } = &mut *state;
        match calls.get_mut(scope) {
            Some(calls) => calls.push_back(call),
            None => {
                turns.push_back(scope.clone());
                calls.insert(scope.clone(), VecDeque::from([call]));
            }
        }
        state.begin()
    }

    /// The same for what [`take`](Self::take) has left.
    pub(super) fn begin_another(&self) -> bool {
        let mut state = self.state();
        !state.turns.is_empty() && state.begin()
    }

    /// What is sent next; a sender who gets nothing has ended.
    pub(super) fn take(&self) -> Option<Vec<Taken>> {
        let mut state = self.state();
        state.is_gathering = false;
        let taken = state.take();
        if taken.is_empty() {
            state.senders = state.senders.saturating_sub(1);
            return None;
        }
        Some(taken)
    }

    /// A sender is about to take what there is.
    pub(super) fn gather(&self) {
        self.state().is_gathering = true;
    }

    fn take_all(&self) -> Vec<Call> {
        let mut state = self.state();
        state.turns.clear();
        let calls = mem::take(&mut state.calls);
        drop(state);
        calls.into_values().flatten().collect()
    }

    /// A sender has ended that was to go on. Who waits for nobody is told so, by what is dropped.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        state.senders = state.senders.saturating_sub(1);
        state.is_gathering = false;
        let is_last = state.senders == 0;
        drop(state);
        if is_last {
            drop(self.take_all());
        }
    }

    /// What a batch has brought.
    pub(super) fn note_size(&self, (entries, bytes): (usize, usize)) {
        let mut state = self.state();
        if bytes > LARGE {
            state.most = (state.most / 2).max(FEWEST);
        } else if entries >= state.most && bytes <= LARGE / 2 {
            state.most = (state.most * 2).min(MOST);
        }
    }

    /// A batch of so many entries was not answered. Says who fails with it.
    pub(super) fn note_silence(&self, entries: usize) -> Vec<Call> {
        self.state().most = FEWEST;
        if entries > FEWEST {
            // Perhaps it was too large. Those who wait may be answered.
            return Vec::new();
        }
        // Behind a server that does not answer: they have waited as long as they may, or would.
        self.take_all()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing between its changes can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begin(&mut self) -> bool {
        let begins = self.senders < AT_ONCE && !self.is_gathering;
        if begins {
            self.senders += 1;
            self.is_gathering = true;
        }
        begins
    }

    /// In turns: whoever asks for much does not hold up those who ask for little. A large call goes alone.
    fn take(&mut self) -> Vec<Taken> {
        let (mut room, mut taken) = (self.most, Vec::<Taken>::new());
        while room > 0 && !self.turns.is_empty() {
            let share = (room / self.turns.len()).max(1);
            for _ in 0..self.turns.len() {
                if room == 0 {
                    break;
                }
                let is_large = self.is_next_large();
                if is_large && !taken.is_empty() {
                    return taken;
                }
                let Some(turn) = self.take_turn(share.min(room)) else {
                    break;
                };
                if is_large {
                    return vec![turn];
                }
                room = room.saturating_sub(turn.size());
                match taken.iter_mut().find(|taken| taken.scope == turn.scope) {
                    Some(taken) => taken.calls.extend(turn.calls),
                    None => taken.push(turn),
                }
            }
        }
        taken
    }

    fn is_next_large(&self) -> bool {
        let waiting = self.turns.front().and_then(|scope| self.calls.get(scope));
        let first = waiting.and_then(VecDeque::front);
        first.is_some_and(|call| call.is_large(self.most))
    }

    /// Of the next scope, so many entries, or as many as its first call wants; no large call behind it.
    fn take_turn(&mut self, share: usize) -> Option<Taken> {
        let scope = self.turns.pop_front()?;
        let waiting = self.calls.get_mut(&scope)?;
        let (mut calls, mut entries) = (Vec::new(), 0);
        while entries < share
            && let Some(call) = waiting.pop_front_if(|call| entries == 0 || !call.is_large(self.most))
        {
            entries += call.size();
            calls.push(call);
        }
        if waiting.is_empty() {
            self.calls.remove(&scope);
        } else {
            self.turns.push_back(scope.clone());
        }
        Some(Taken { scope, calls })
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}
