//! A second shared level in memory, that can have a flaw: what processes ask of it, and what happens to it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use tenancy::cache::shared::{
    Answer, Ask, Cell, Claim, EntryName, Fetched, FlushMode, Level, Message, ProcessReport, Raise, Raised,
    ScopeName, SharedError, SharedLevel, StoredEntry,
};
use tenancy_core::BoxError;
use tenancy_test::{
    Clock, ManualClock,
    cache::{MemoryLevel, MemoryNode},
    conformance::{LevelHarness, Offered},
};
use tokio::{sync::mpsc::unbounded_channel, task::yield_now};

use super::{
    flaws::Flaw,
    server::{Kept, Listening, Server, State},
};

/// One process's way to it.
#[derive(Debug)]
struct Process {
    server: Arc<Server>,
    number: usize,
    /// Answers on a connection, for who asks next.
    on_the_way: Mutex<Vec<Fetched>>,
    /// Where claims and heat are.
    spared: MemoryNode,
}

impl Process {
    async fn renew_now(&self, asks: &[Ask]) -> Result<Vec<Answer>, SharedError> {
        let server = &self.server;
        if let Err(error) = server.up() {
            let same = server.is(Flaw::SameForTrouble);
            return if same {
                Ok(vec![Answer::Same; asks.len()])
            } else {
                Err(error)
            };
        }
        server.refuses(asks.len())?;
        let mut state = server.state();
        let mut asks: Vec<_> = asks.iter().collect();
        if server.is(Flaw::AnswersByName) {
            asks.sort_by_key(|ask| ask.scope.clone());
        }
        Ok(asks
            .into_iter()
            .map(|ask| server.answer(&mut state, ask))
            .collect())
    }

    async fn fetch_now(&self, ask: &Ask, names: &[EntryName]) -> Result<Fetched, SharedError> {
        let server = &self.server;
        if let Err(error) = server.up() {
            if server.is(Flaw::NothingForTrouble) {
                return Ok(Fetched {
                    answer: Answer::Behind,
                    entries: vec![None; names.len()],
                });
            }
            return Err(error);
        }
        let mut answer = server.answer(&mut server.state(), ask);
        if server.is(Flaw::ReadsNumbersFirst) {
            yield_now().await;
        }
        let entries = server.found(ask, names);
        if server.is(Flaw::FetchSaysSame) && ask.seen != 0 {
            answer = Answer::Same;
        }
        let fetched = Fetched { answer, entries };
        if !server.is(Flaw::LeavesAnswersBehind) {
            return Ok(fetched);
        }
        self.on_the_way.lock().unwrap().push(fetched);
        yield_now().await;
        Ok(self.on_the_way.lock().unwrap().remove(0))
    }

    async fn store_now(&self, scope: &ScopeName, entries: &[StoredEntry]) -> Result<(), SharedError> {
        let server = &self.server;
        server.up()?;
        server.refuses(entries.len())?;
        let (mut state, now) = (server.state(), server.clock.monotonic());
        for entry in entries {
            if server.is(Flaw::RefusesShortLives) && entry.ttl < Duration::from_millis(1) {
                return Err(SharedError::message("invalid expire time"));
            }
            let key = server.entry_key(scope, &entry.name);
            let before = state.entries.get(&key).cloned();
            let mut kept = Kept {
                bytes: entry.bytes.clone(),
                ttl: entry.ttl,
                expires: now + entry.ttl,
            };
            match (before, server.flaw) {
                (Some(before), Flaw::KeepsTheFirst) => kept = before,
                (Some(before), Flaw::KeepsTheFirstLife) => kept.expires = before.expires,
                _ => {}
            }
            state.entries.insert(key, kept);
        }
        if server.is(Flaw::StoringTakesANumber) {
            let scope = server.scope(&mut state, scope, 0);
            let number = server.next(scope.newest(), 0);
            scope.given.push(number);
        }
        Ok(())
    }

    async fn raise_now(&self, raise: &Raise) -> Result<Raised, SharedError> {
        let server = &self.server;
        server.up()?;
        let (previous, number) = {
            let mut state = server.state();
            let was_there = state.scopes.contains_key(&server.key_of(&raise.scope));
            let scope = server.scope(&mut state, &raise.scope, raise.known);
            if !was_there && server.is(Flaw::FlushesWithoutABase) {
                scope.hard.clear();
            }
            let newest = scope.newest();
            let previous = if was_there || server.is(Flaw::TellsOfTheMaking) {
                newest
            } else {
                0
            };
            (previous, server.next(newest, raise.known))
        };
        if server.is(Flaw::ReadsThenWrites) {
            yield_now().await;
        }
        let (first, rest) = raise.cells.split_at(1);
        if server.is(Flaw::FlushesCellByCell) {
            server.set_in(&raise.scope, first, raise.mode, number);
            yield_now().await;
            server.set_in(&raise.scope, rest, raise.mode, number);
        } else {
            server.set_in(&raise.scope, &raise.cells, raise.mode, number);
        }
        let mut state = server.state();
        let scope = server.scope(&mut state, &raise.scope, 0);
        scope.given.push(number);
        let message = Message::Raised {
            scope: raise.scope.clone(),
            previous,
            number,
            cells: raise.cells.clone(),
            mode: raise.mode,
        };
        server.publish(&mut state, self.number, &message);
        Ok(match server.flaw {
            Flaw::WrongPrevious => Raised {
                number,
                previous: number - 1,
            },
            // As what counts in doubles does, and beyond 2^53 only.
            Flaw::RoundsNumbers if number > 1 << 52 => Raised {
                number: number / 8 * 8,
                previous,
            },
            _ => Raised { number, previous },
        })
    }

    async fn teach_now(&self, name: &ScopeName, known: &[Level]) -> Result<Answer, SharedError> {
        let server = &self.server;
        server.up()?;
        let highest = known.iter().map(|level| level.any).max().unwrap_or_default();
        let (mut soft, mut hard) = (Vec::new(), Vec::new());
        {
            let mut state = server.state();
            let scope = server.scope(&mut state, name, highest);
            for level in known {
                let here = scope.level(level.cell);
                let here_any = if server.is(Flaw::ComparesKindsApart) {
                    scope.soft.get(&level.cell).copied().unwrap_or_default()
                } else {
                    here.any
                };
                if level.hard > here.hard && !server.is(Flaw::TeachesNoHard) {
                    hard.push(*level);
                } else if level.any > here_any {
                    soft.push(*level);
                }
            }
        }
        if server.is(Flaw::ReadsThenWrites) {
            yield_now().await;
        }
        let mut state = server.state();
        let scope = server.scope(&mut state, name, highest);
        if soft.len() + hard.len() > 0 || server.is(Flaw::AlwaysTakesANumber) {
            let (previous, number) = (scope.newest(), server.next(scope.newest(), highest));
            if server.is(Flaw::KeepsTaughtNumbers) {
                scope
                    .soft
                    .extend(soft.iter().map(|level| (level.cell, level.any)));
                scope
                    .hard
                    .extend(hard.iter().map(|level| (level.cell, level.hard)));
                if highest > previous {
                    scope.given.push(highest);
                }
            } else {
                let cells = |levels: &[Level]| levels.iter().map(|level| level.cell).collect::<Vec<_>>();
                server.set(scope, &cells(&soft), FlushMode::Soft, number);
                server.set(scope, &cells(&hard), FlushMode::Hard, number);
                if !server.is(Flaw::TeachesOutsideOfHistory) {
                    scope.given.push(number);
                }
                self.tell_taught(&mut state, name, (previous, number), (cells(&soft), cells(&hard)));
            }
        }
        let scope = server.scope(&mut state, name, highest);
        Ok(Answer::Whole {
            number: scope.newest(),
            levels: scope.above(0),
        })
    }

    /// As one message, whose cells are all hard if one of them is: that is right, too.
    fn tell_taught(
        &self,
        state: &mut State,
        scope: &ScopeName,
        (previous, number): (u64, u64),
        (soft, hard): (Vec<Cell>, Vec<Cell>),
    ) {
        let message = |cells, mode| Message::Raised {
            scope: scope.clone(),
            previous,
            number,
            cells,
            mode,
        };
        let messages = match self.server.flaw {
            Flaw::TeachesInSilence => return,
            Flaw::TellsTeachingsInParts => {
                vec![message(soft, FlushMode::Soft), message(hard, FlushMode::Hard)]
            }
            _ if hard.is_empty() => vec![message(soft, FlushMode::Soft)],
            _ => vec![message([soft, hard].concat(), FlushMode::Hard)],
        };
        for message in &messages {
            self.server.publish(state, self.number, message);
        }
    }

    async fn discard_now(&self, scope: &ScopeName, names: &[EntryName]) -> Result<(), SharedError> {
        let server = &self.server;
        server.up()?;
        server.refuses(names.len())?;
        let mut state = server.state();
        for name in names {
            match server.flaw {
                Flaw::DiscardsNothing => {}
                Flaw::DiscardsByPattern if name.as_bytes() == b"*" => state.entries.clear(),
                _ => {
                    state.entries.remove(&server.entry_key(scope, name));
                }
            }
        }
        Ok(())
    }
}

impl SharedLevel for Process {
    fn renew<'a>(&'a self, asks: &'a [Ask]) -> BoxFuture<'a, Result<Vec<Answer>, SharedError>> {
        self.renew_now(asks).boxed()
    }

    fn fetch<'a>(
        &'a self,
        ask: &'a Ask,
        names: &'a [EntryName],
    ) -> BoxFuture<'a, Result<Fetched, SharedError>> {
        self.fetch_now(ask, names).boxed()
    }

    fn store<'a>(
        &'a self,
        scope: &'a ScopeName,
        entries: &'a [StoredEntry],
    ) -> BoxFuture<'a, Result<(), SharedError>> {
        self.store_now(scope, entries).boxed()
    }

    fn raise<'a>(&'a self, raise: &'a Raise) -> BoxFuture<'a, Result<Raised, SharedError>> {
        self.raise_now(raise).boxed()
    }

    fn teach<'a>(
        &'a self,
        scope: &'a ScopeName,
        known: &'a [Level],
    ) -> BoxFuture<'a, Result<Answer, SharedError>> {
        self.teach_now(scope, known).boxed()
    }

    fn discard<'a>(
        &'a self,
        scope: &'a ScopeName,
        names: &'a [EntryName],
    ) -> BoxFuture<'a, Result<(), SharedError>> {
        self.discard_now(scope, names).boxed()
    }

    fn claim<'a>(&'a self, claim: &'a Claim, length: Duration) -> BoxFuture<'a, Result<bool, SharedError>> {
        let mut claim = claim.clone();
        if self.server.is(Flaw::ClaimsOfAllScopesAreOne) {
            claim.scope = ScopeName::for_tests("all:1");
        }
        let length = match self.server.is(Flaw::ClaimsNeverEnd) {
            true => Duration::from_secs(3600),
            false => length,
        };
        async move { self.spared.claim(&claim, length).await }.boxed()
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<(), SharedError>> {
        async move {
            let everybody = self.server.is(Flaw::AnybodyGivesBack);
            for by in (0..4).filter(|by| everybody || *by == claim.by) {
                self.spared.release(&Claim { by, ..claim.clone() }).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn heat<'a>(&'a self, uses: &'a [(ScopeName, u64)]) -> BoxFuture<'a, Result<(), SharedError>> {
        self.spared.heat(uses)
    }

    fn hottest(&self, most: usize) -> BoxFuture<'_, Result<Vec<ScopeName>, SharedError>> {
        async move {
            let mut hottest = self.spared.hottest(usize::MAX).await?;
            if self.server.is(Flaw::KeepsTheColdest) {
                hottest.reverse();
            }
            hottest.truncate(most);
            Ok(hottest)
        }
        .boxed()
    }

    fn report<'a>(
        &'a self,
        reports: &'a [ProcessReport],
        keep_for: Duration,
    ) -> BoxFuture<'a, Result<(), SharedError>> {
        let mut reports = reports.to_vec();
        if self.server.is(Flaw::ReportsMeet) {
            reports.iter_mut().for_each(|report| report.process = 1);
        }
        async move { self.spared.report(&reports, keep_for).await }.boxed()
    }

    fn reports<'a>(&'a self, scope: &'a ScopeName) -> BoxFuture<'a, Result<Vec<ProcessReport>, SharedError>> {
        self.spared.reports(scope)
    }

    fn listen(&self) -> BoxStream<'static, Message> {
        let (messages, mut receiver) = unbounded_channel();
        if !self.server.is(Flaw::NoGapFirst) {
            messages.send(Message::Gap).unwrap();
        }
        let mut state = self.server.state();
        if self.server.is(Flaw::OneListenerAtATime) {
            state
                .listening
                .retain(|listening| listening.process != self.number);
        }
        let process = self.number;
        state.listening.push(Listening { process, messages });
        stream::poll_fn(move |cx| receiver.poll_recv(cx)).boxed()
    }
}

/// Makes such a level, and offers everything.
pub(super) struct Workshop {
    server: Arc<Server>,
    connected: Mutex<usize>,
    spared: MemoryLevel,
    clock: Arc<ManualClock>,
}

impl Workshop {
    pub(super) fn new(flaw: Flaw) -> Self {
        let server = Server {
            flaw,
            clock: ManualClock::new(),
            state: Mutex::default(),
        };
        let clock = Arc::new(ManualClock::new());
        Self {
            server: Arc::new(server),
            connected: Mutex::default(),
            spared: MemoryLevel::with_clock(clock.clone()),
            clock,
        }
    }
}

impl LevelHarness for Workshop {
    async fn connect(&self) -> Result<Arc<dyn SharedLevel>, BoxError> {
        let mut connected = self.connected.lock().unwrap();
        *connected += 1;
        Ok(Arc::new(Process {
            server: Arc::clone(&self.server),
            number: *connected,
            spared: self.spared.node(),
            on_the_way: Mutex::default(),
        }))
    }

    async fn pass(&self, time: Duration) -> Result<(), BoxError> {
        self.server.clock.advance(time);
        self.clock.advance(time);
        Ok(())
    }

    async fn forget(&mut self, scope: &ScopeName) -> Result<Offered, BoxError> {
        self.server.clock.advance(Duration::from_secs(1));
        self.server.state().scopes.remove(scope.as_str());
        Ok(Offered::Yes)
    }

    async fn back_up(&mut self) -> Result<Offered, BoxError> {
        let mut state = self.server.state();
        state.backup = state.scopes.clone();
        Ok(Offered::Yes)
    }

    async fn restore(&mut self) -> Result<(), BoxError> {
        self.server.clock.advance(Duration::from_secs(1));
        let mut state = self.server.state();
        state.scopes = state.backup.clone();
        Ok(())
    }

    async fn cut_listeners(&mut self) -> Result<Offered, BoxError> {
        let mut state = self.server.state();
        match self.server.flaw {
            Flaw::NoGapAfterACut => {}
            Flaw::EndsAfterACut => state.listening.clear(),
            _ => {
                for listening in &state.listening {
                    let _ = listening.messages.send(Message::Gap);
                }
            }
        }
        Ok(Offered::Yes)
    }

    async fn break_down(&mut self) -> Result<Offered, BoxError> {
        self.server.state().is_down = true;
        Ok(Offered::Yes)
    }
}
