//! One process, as a check plays it.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use tenancy::cache::shared::{
    Answer, Ask, Cell, Claim, EntryName, Fetched, FlushMode, FoundEntry, Level, Message, ProcessReport,
    Raise, Raised, SLOTS, ScopeName, SharedLevel, StoredEntry,
};
use tenancy_core::BoxError;

use super::harness::LevelHarness;
use crate::conformance::report::{Check, Failure};

/// After this long a check fails that waits for an answer or a message.
const LIMIT: Duration = Duration::from_secs(60);

/// The numbers of a scope by cell: any, and hard.
pub(super) type Levels = BTreeMap<Cell, (u64, u64)>;

/// Whether both have the same cells with the same numbers, and no hard one is lower than expected.
pub(super) fn are_at_least_as_hard(levels: &Levels, expected: &Levels) -> bool {
    let is_at_least = |(cell, (any, hard)): (&Cell, &(u64, u64))| {
        expected
            .get(cell)
            .is_some_and(|wanted| wanted.0 == *any && (wanted.1..=*any).contains(hard))
    };
    levels.len() == expected.len() && levels.iter().all(is_at_least)
}

/// The newest number of a scope, and levels: all, or those that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) number: u64,
    pub(super) levels: Levels,
}

pub(super) fn acme() -> ScopeName {
    ScopeName::for_tests("acme:1")
}

pub(super) fn name(text: &str) -> EntryName {
    EntryName::for_tests(text.as_bytes())
}

pub(super) fn level(slot: u16, any: u64, hard: u64) -> Level {
    Level {
        cell: Cell::Slot(slot),
        any,
        hard,
    }
}

pub(super) fn slots(slots: impl IntoIterator<Item = u16>) -> Vec<Cell> {
    slots.into_iter().map(Cell::Slot).collect()
}

/// Every cell of a scope.
pub(super) fn every_cell() -> Vec<Cell> {
    let mut cells = slots(0..SLOTS);
    cells.push(Cell::Base);
    cells
}

/// One process's way to the level, and the check that it serves.
pub(super) struct Process<'c> {
    check: &'c Check,
    pub(super) level: Arc<dyn SharedLevel>,
}

impl<'c> Process<'c> {
    pub(super) async fn connect(check: &'c Check, harness: &impl LevelHarness) -> Result<Self, Failure> {
        let level = check.done("connecting", harness.connect().await)?;
        Ok(Self { check, level })
    }

    pub(super) async fn two(check: &'c Check, harness: &impl LevelHarness) -> Result<(Self, Self), Failure> {
        Ok((
            Self::connect(check, harness).await?,
            Self::connect(check, harness).await?,
        ))
    }

    /// Fails the check if this fails, or takes for ever.
    async fn done<T, E: Into<BoxError>>(
        &self,
        doing: &str,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(LIMIT, call).await {
            Ok(result) => self.check.done(doing, result),
            Err(_) => Err(self
                .check
                .failure(format!("{doing} to end"), format!("no answer within {LIMIT:?}"))),
        }
    }

    /// Fails the check unless this is answered with an error.
    pub(super) async fn expect_error<T: Debug, E>(
        &self,
        call: &str,
        doing: impl Future<Output = Result<T, E>>,
    ) -> Result<(), Failure> {
        let expected = format!("an error of {call}");
        match tokio::time::timeout(LIMIT, doing).await {
            Ok(Err(_)) => Ok(()),
            Ok(Ok(answer)) => Err(self.check.failure(expected, format!("{answer:?}"))),
            Err(_) => Err(self
                .check
                .failure(expected, format!("no answer within {LIMIT:?}"))),
        }
    }

    pub(super) async fn claim(&self, claim: &Claim, length: Duration) -> Result<bool, Failure> {
        self.done("claiming", self.level.claim(claim, length)).await
    }

    pub(super) async fn release(&self, claim: &Claim) -> Result<(), Failure> {
        self.done("giving a claim back", self.level.release(claim)).await
    }

    pub(super) async fn heat(&self, uses: &[(ScopeName, u64)]) -> Result<(), Failure> {
        self.done("telling uses", self.level.heat(uses)).await
    }

    pub(super) async fn hottest(&self, most: usize) -> Result<Vec<ScopeName>, Failure> {
        self.done("asking for the hottest", self.level.hottest(most))
            .await
    }

    pub(super) async fn report(&self, reports: &[ProcessReport], keep_for: Duration) -> Result<(), Failure> {
        self.done("reporting", self.level.report(reports, keep_for)).await
    }

    pub(super) async fn reports(&self, scope: &ScopeName) -> Result<Vec<ProcessReport>, Failure> {
        self.done("asking for reports", self.level.reports(scope)).await
    }

    pub(super) async fn renew(&self, asks: &[Ask]) -> Result<Vec<Answer>, Failure> {
        let answers = self.done("renewing", self.level.renew(asks)).await?;
        self.check.that(
            answers.len() == asks.len(),
            format!("{} answers, as many as there were asks", asks.len()),
            answers.len(),
        )?;
        Ok(answers)
    }

    pub(super) async fn ask(&self, scope: &ScopeName, seen: u64) -> Result<Answer, Failure> {
        let ask = Ask {
            scope: scope.clone(),
            seen,
        };
        let mut answers = self.renew(&[ask]).await?;
        Ok(answers.remove(0))
    }

    /// What a process learns that knows nothing.
    pub(super) async fn whole(&self, scope: &ScopeName) -> Result<Told, Failure> {
        let answer = self.ask(scope, 0).await?;
        self.expect_whole(answer)
    }

    pub(super) async fn changed(&self, scope: &ScopeName, seen: u64) -> Result<Told, Failure> {
        let answer = self.ask(scope, seen).await?;
        self.expect_changed(answer)
    }

    pub(super) async fn expect_same(&self, scope: &ScopeName, seen: u64) -> Result<(), Failure> {
        let answer = self.ask(scope, seen).await?;
        let is_same = answer == Answer::Same;
        self.check
            .that(is_same, format!("Same for the newest number, {seen}"), answer)
    }

    pub(super) async fn expect_behind(&self, scope: &ScopeName, seen: u64, who: &str) -> Result<(), Failure> {
        let answer = self.ask(scope, seen).await?;
        let is_behind = answer == Answer::Behind;
        self.check
            .that(is_behind, format!("Behind for {seen}, {who}"), answer)
    }

    pub(super) fn expect_whole(&self, answer: Answer) -> Result<Told, Failure> {
        let Answer::Whole { number, levels } = answer else {
            return Err(self.check.failure("Whole", format!("{answer:?}")));
        };
        let levels = self.levels(number, levels)?;
        let has_base = levels
            .get(&Cell::Base)
            .is_some_and(|(any, hard)| any >= hard && *hard > 0);
        self.check
            .that(has_base, "a base that was made by a hard flush", &levels)?;
        Ok(Told { number, levels })
    }

    pub(super) fn expect_changed(&self, answer: Answer) -> Result<Told, Failure> {
        let Answer::Changed { number, levels } = answer else {
            return Err(self.check.failure("Changed", format!("{answer:?}")));
        };
        let levels = self.levels(number, levels)?;
        Ok(Told { number, levels })
    }

    /// By cell, once each and in order.
    fn levels(&self, number: u64, levels: Vec<Level>) -> Result<Levels, Failure> {
        let mut by_cell = Levels::new();
        for level in levels {
            let is_right = level.hard <= level.any
                && level.any <= number
                && level.any > 0
                && !matches!(level.cell, Cell::Slot(SLOTS..));
            let expected = format!("a cell of the scope, with 0 <= hard <= any <= {number} and any above 0");
            self.check.that(is_right, expected, level)?;
            let before = by_cell.insert(level.cell, (level.any, level.hard));
            self.check
                .that(before.is_none(), "each cell once in an answer", level)?;
        }
        Ok(by_cell)
    }

    pub(super) async fn raise(
        &self,
        scope: &ScopeName,
        cells: Vec<Cell>,
        mode: FlushMode,
    ) -> Result<Raised, Failure> {
        self.raise_above(scope, cells, mode, 0).await
    }

    pub(super) async fn raise_above(
        &self,
        scope: &ScopeName,
        cells: Vec<Cell>,
        mode: FlushMode,
        known: u64,
    ) -> Result<Raised, Failure> {
        let raise = Raise {
            scope: scope.clone(),
            cells,
            mode,
            known,
        };
        let raised = self.done("raising", self.level.raise(&raise)).await?;
        let is_right = raised.number > raised.previous && raised.number > known && raised.number < 1 << 53;
        self.check.that(
            is_right,
            format!("a number above previous and known ({known}) and below 2^53"),
            raised,
        )?;
        Ok(raised)
    }

    /// Raises one slot, hard.
    pub(super) async fn flush(&self, scope: &ScopeName, slot: u16) -> Result<Raised, Failure> {
        self.raise(scope, slots([slot]), FlushMode::Hard).await
    }

    pub(super) async fn teach(&self, scope: &ScopeName, known: &[Level]) -> Result<Told, Failure> {
        let answer = self.done("teaching", self.level.teach(scope, known)).await?;
        self.expect_whole(answer)
    }

    pub(super) async fn store(
        &self,
        scope: &ScopeName,
        entries: &[(EntryName, Bytes)],
    ) -> Result<(), Failure> {
        self.store_for(scope, entries, Duration::from_secs(600)).await
    }

    pub(super) async fn store_for(
        &self,
        scope: &ScopeName,
        entries: &[(EntryName, Bytes)],
        ttl: Duration,
    ) -> Result<(), Failure> {
        let entries: Vec<_> = entries
            .iter()
            .map(|(name, bytes)| StoredEntry {
                name: name.clone(),
                bytes: bytes.clone(),
                ttl,
            })
            .collect();
        self.done("storing", self.level.store(scope, &entries)).await
    }

    pub(super) async fn discard(&self, scope: &ScopeName, names: &[EntryName]) -> Result<(), Failure> {
        self.done("discarding", self.level.discard(scope, names)).await
    }

    pub(super) async fn fetch(
        &self,
        scope: &ScopeName,
        seen: u64,
        names: &[EntryName],
    ) -> Result<Fetched, Failure> {
        let ask = Ask {
            scope: scope.clone(),
            seen,
        };
        let fetched = self.done("fetching", self.level.fetch(&ask, names)).await?;
        self.check.that(
            fetched.entries.len() == names.len(),
            format!("{} entries, as many as there were names", names.len()),
            fetched.entries.len(),
        )?;
        Ok(fetched)
    }

    pub(super) async fn entries(
        &self,
        scope: &ScopeName,
        names: &[EntryName],
    ) -> Result<Vec<Option<FoundEntry>>, Failure> {
        Ok(self.fetch(scope, 0, names).await?.entries)
    }

    /// Fails the check unless exactly this is found under each name.
    pub(super) async fn expect_entries(
        &self,
        scope: &ScopeName,
        expected: &[(EntryName, Option<Bytes>)],
    ) -> Result<(), Failure> {
        let names: Vec<_> = expected.iter().map(|(name, _)| name.clone()).collect();
        let found = self.entries(scope, &names).await?;
        for ((name, expected), found) in expected.iter().zip(found) {
            let found = found.map(|found| found.bytes);
            let expected_text = || format!("{} under {}", shown(expected.as_ref()), shown_name(name));
            if found != *expected {
                return Err(self.check.failure(expected_text(), shown(found.as_ref())));
            }
        }
        Ok(())
    }

    /// Listens, once the first message was heard, which must be a gap.
    pub(super) async fn listen(&self) -> Result<Listener<'c>, Failure> {
        let mut listener = Listener {
            check: self.check,
            messages: self.level.listen(),
        };
        let first = listener.next("a Gap when listening begins").await?;
        let is_gap = first == Message::Gap;
        self.check.that(is_gap, "a Gap before any other message", first)?;
        Ok(listener)
    }
}

/// Not more of an entry than a person reads.
fn shown(bytes: Option<&Bytes>) -> String {
    match bytes {
        None => "nothing".to_owned(),
        Some(bytes) if bytes.len() <= 40 => format!("\"{}\"", bytes.escape_ascii()),
        Some(bytes) => format!("{} bytes", bytes.len()),
    }
}

fn shown_name(name: &EntryName) -> String {
    let bytes = name.as_bytes();
    if bytes.len() <= 80 {
        format!("{name:?}")
    } else {
        format!("a name of {} bytes", bytes.len())
    }
}

/// What comes to one process.
pub(super) struct Listener<'c> {
    check: &'c Check,
    messages: BoxStream<'static, Message>,
}

impl Listener<'_> {
    pub(super) async fn next(&mut self, expected: &str) -> Result<Message, Failure> {
        match tokio::time::timeout(LIMIT, self.messages.next()).await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(self.check.failure(expected, "the end of all messages")),
            Err(_) => Err(self
                .check
                .failure(expected, format!("no message within {LIMIT:?}"))),
        }
    }

    /// All messages up to the first of this number.
    pub(super) async fn up_to(&mut self, last: u64) -> Result<Vec<Message>, Failure> {
        let mut heard = Vec::new();
        loop {
            let expected = format!("a message of number {last}");
            let message = self.next(&expected).await?;
            let is_last = matches!(message, Message::Raised { number, .. } if number == last);
            heard.push(message);
            if is_last {
                return Ok(heard);
            }
        }
    }

    pub(super) async fn gap(&mut self) -> Result<(), Failure> {
        while self.next("a Gap").await? != Message::Gap {}
        Ok(())
    }
}

/// Polls a call some times, and drops it.
pub(super) async fn give_up_after(polls: usize, call: impl Future) {
    let mut call = pin!(call);
    for _ in 0..polls {
        let is_ready = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_ready())).await;
        if is_ready {
            return;
        }
        tokio::task::yield_now().await;
    }
}
