//! The state of a shared level that can have a flaw, written from the words of the trait alone.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use tenancy::cache::shared::{
    Answer, Ask, Cell, EntryName, FlushMode, FoundEntry, Level, Message, ScopeName, SharedError,
};
use tenancy_test::{Clock, ManualClock};
use tokio::sync::mpsc::UnboundedSender;

use super::flaws::Flaw;

#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    pub(super) soft: BTreeMap<Cell, u64>,
    pub(super) hard: BTreeMap<Cell, u64>,
    /// The newest last.
    pub(super) given: Vec<u64>,
    told_behind: HashSet<u64>,
}

impl Scope {
    pub(super) fn newest(&self) -> u64 {
        self.given.last().copied().unwrap_or_default()
    }

    pub(super) fn level(&self, cell: Cell) -> Level {
        let of = |numbers: &BTreeMap<Cell, u64>| numbers.get(&cell).copied().unwrap_or_default();
        let (soft, hard) = (of(&self.soft), of(&self.hard));
        Level {
            cell,
            any: soft.max(hard),
            hard,
        }
    }

    pub(super) fn above(&self, seen: u64) -> Vec<Level> {
        let mut cells: Vec<_> = self.soft.keys().chain(self.hard.keys()).copied().collect();
        cells.sort();
        cells.dedup();
        let levels = cells.into_iter().map(|cell| self.level(cell));
        levels.filter(|level| level.any > seen).collect()
    }
}

pub(super) type EntryKey = (String, Vec<u8>);

#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) bytes: Bytes,
    pub(super) ttl: Duration,
    pub(super) expires: Duration,
}

#[derive(Debug)]
pub(super) struct Listening {
    pub(super) process: usize,
    pub(super) messages: UnboundedSender<Message>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) scopes: HashMap<String, Scope>,
    pub(super) entries: HashMap<EntryKey, Kept>,
    pub(super) backup: HashMap<String, Scope>,
    pub(super) listening: Vec<Listening>,
    pub(super) is_down: bool,
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) flaw: Flaw,
    pub(super) clock: ManualClock,
    pub(super) state: Mutex<State>,
}

impl Server {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    pub(super) fn key_of(&self, scope: &ScopeName) -> String {
        let text = scope.as_str();
        if self.is(Flaw::IncarnationsMeet) {
            return text.split(':').next().unwrap().to_owned();
        }
        text.to_owned()
    }

    pub(super) fn entry_key(&self, scope: &ScopeName, name: &EntryName) -> EntryKey {
        let (scope, name) = (self.key_of(scope), name.as_bytes());
        match self.flaw {
            Flaw::EntriesMeet => (String::new(), [scope.as_bytes(), name].concat()),
            Flaw::NamesAreText => (scope, String::from_utf8_lossy(name).into_owned().into_bytes()),
            Flaw::CutsNames => (scope, name[..name.len().min(256)].to_vec()),
            _ => (scope, name.to_vec()),
        }
    }

    pub(super) fn next(&self, stored: u64, known: u64) -> u64 {
        let mut time_ms = u64::try_from(self.clock.unix_time().as_millis()).unwrap();
        if self.is(Flaw::NoTimeInNumbers) {
            time_ms = 0;
        }
        let known = if self.is(Flaw::IgnoresKnown) { 0 } else { known };
        ((stored / 1024).max(known / 1024).max(time_ms) + 1) * 1024 + 5
    }

    /// The scope, made if it is missing, above `known`.
    pub(super) fn scope<'s>(&self, state: &'s mut State, scope: &ScopeName, known: u64) -> &'s mut Scope {
        let known = if self.is(Flaw::MakesBelowTheTaught) {
            0
        } else {
            known
        };
        state.scopes.entry(self.key_of(scope)).or_insert_with(|| {
            let base = self.next(0, known);
            let mut made = Scope {
                given: vec![base],
                ..Scope::default()
            };
            let kind = if self.is(Flaw::BaseIsSoft) {
                &mut made.soft
            } else {
                &mut made.hard
            };
            kind.insert(Cell::Base, base);
            made
        })
    }

    pub(super) fn set(&self, scope: &mut Scope, cells: &[Cell], mode: FlushMode, number: u64) {
        let is_hard = match self.flaw {
            Flaw::SoftIsHard => true,
            Flaw::HardIsSoft => false,
            _ => mode == FlushMode::Hard,
        };
        let most = if self.is(Flaw::CutsLongLists) {
            1000
        } else {
            usize::MAX
        };
        let numbers = if is_hard { &mut scope.hard } else { &mut scope.soft };
        numbers.extend(cells.iter().take(most).map(|cell| (*cell, number)));
    }

    pub(super) fn set_in(&self, scope: &ScopeName, cells: &[Cell], mode: FlushMode, number: u64) {
        let mut state = self.state();
        let scope = self.scope(&mut state, scope, 0);
        self.set(scope, cells, mode, number);
    }

    pub(super) fn answer(&self, state: &mut State, ask: &Ask) -> Answer {
        let scope = self.scope(state, &ask.scope, ask.seen);
        let (seen, newest) = (ask.seen, scope.newest());
        if self.is(Flaw::BaseForEachAsker) && seen == 0 {
            let number = self.next(newest, 0);
            scope.hard.insert(Cell::Base, number);
            scope.given.push(number);
        }
        let whole = Answer::Whole {
            number: scope.newest(),
            levels: scope.above(0),
        };
        let remembered = match self.flaw {
            Flaw::ForgetsEarly | Flaw::ForgetsQuietly => 32,
            _ => 128,
        };
        let ring = &scope.given[scope.given.len().saturating_sub(remembered)..];
        let mut changed = scope.above(seen);
        match self.flaw {
            Flaw::TellsNoBase => changed.retain(|level| level.cell != Cell::Base),
            Flaw::TellsTheLastOnly => changed.retain(|level| level.any == newest),
            Flaw::TellsEverything => changed = scope.above(0),
            Flaw::ForgetsQuietly => changed.retain(|level| level.any >= ring[0]),
            _ => {}
        }
        let is_known = match self.flaw {
            Flaw::ForgetsQuietly => scope.given.contains(&seen),
            Flaw::KnowsEveryNumberBelow => seen > 0 && seen <= newest,
            _ => ring.contains(&seen),
        };
        let is_newest = seen == newest || self.is(Flaw::KnowsEveryNumberBelow) && seen > newest;
        if is_newest && !self.is(Flaw::NeverSame) {
            return Answer::Same;
        }
        if is_known {
            return Answer::Changed {
                number: newest,
                levels: changed,
            };
        }
        let is_told = self.is(Flaw::BehindOnce) && !scope.told_behind.insert(seen);
        if seen == 0 || self.is(Flaw::UnknownIsWhole) || is_told {
            return whole;
        }
        Answer::Behind
    }

    pub(super) fn publish(&self, state: &mut State, process: usize, message: &Message) {
        let mut message = message.clone();
        if let Message::Raised {
            previous,
            cells,
            mode,
            ..
        } = &mut message
        {
            match self.flaw {
                Flaw::MessagesAreHard => *mode = FlushMode::Hard,
                Flaw::MessagesWithoutPrevious => *previous = 0,
                Flaw::CutsMessages => cells.truncate(1000),
                _ => {}
            }
        }
        let others_only = self.is(Flaw::HearsOthersOnly);
        let hears = |listening: &&Listening| !others_only || listening.process != process;
        for listening in state.listening.iter().filter(hears) {
            let _ = listening.messages.send(message.clone());
        }
    }

    pub(super) fn up(&self) -> Result<(), SharedError> {
        if self.state().is_down {
            return Err(SharedError::message("the test has taken it away"));
        }
        Ok(())
    }

    pub(super) fn found(&self, ask: &Ask, names: &[EntryName]) -> Vec<Option<FoundEntry>> {
        let (state, now) = (self.state(), self.clock.monotonic());
        let find = |name: &EntryName| {
            let kept = state.entries.get(&self.entry_key(&ask.scope, name))?;
            let is_gone = kept.expires <= now && !self.is(Flaw::NeverExpires);
            let is_hidden = kept.bytes.is_empty() && self.is(Flaw::EmptyIsNothing);
            let remaining = if self.is(Flaw::SaysTheWholeLife) {
                kept.ttl
            } else {
                kept.expires.saturating_sub(now)
            };
            (!is_gone && !is_hidden).then(|| FoundEntry {
                bytes: kept.bytes.clone(),
                remaining,
            })
        };
        let mut found: Vec<_> = names.iter().map(find).collect();
        if self.is(Flaw::FoundEntriesFirst) {
            found.sort_by_key(Option::is_none);
        }
        found
    }

    pub(super) fn refuses(&self, count: usize) -> Result<(), SharedError> {
        if count == 0 && self.is(Flaw::RefusesEmptyLists) || count > 5000 && self.is(Flaw::RefusesManyEntries)
        {
            return Err(SharedError::message("wrong number of arguments"));
        }
        Ok(())
    }
}
