//! Why a key is found or not, at this moment.

mod finding;
mod words;

pub(super) use self::words::with_causes;

use std::time::Duration;

pub use self::finding::{
    CacheExplanation, CacheVerdict, DependencyExplained, DependencyState, EntryExplained, LeaseExplained,
    SharedExplained, TagExplained, WhatItDependsOn,
};
use super::{
    AnyKey, Cache, CacheKey, CacheValue,
    envelope::{EnvelopeError, Opened, Place},
    hub::Unanswered,
    level1::{Entry, Tier},
    look::Trust,
    shared::{Answer, Ask, Cell, FoundEntry, Level, SharedError},
    slots::slot_of_tag,
    versions::{Judgement, Stamp},
};

/// Reads a value as the type of a key, to see whether it can be.
type Reads = fn(&Opened) -> Result<(), EnvelopeError>;

impl Cache {
    /// Why this key would be found or not, if it were asked for now: what this process has, what the shared level has, and by which
    /// flush it is old. Of the tags in `tags` it tells which one that was; of others only their slot is known.
    ///
    /// Asks the shared level once, also where nothing would have to be asked. Changes nothing of what is cached or counted; only a
    /// scope of which the shared level knows nothing begins to exist there.
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tenancy::{MemoryStore, Tenancy, resolve::Subdomain};
    /// use tenancy::cache::{EntryOptions, Keys};
    ///
    /// const NOTES: Keys<(u32, &str), Vec<String>> = Keys::new("notes", 1);
    ///
    /// # let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?);
    /// # let cache = tenancy.cache_of(&tenancy.enter(&"acme".parse()?).await?);
    /// let key = NOTES.key((7, "open"));
    /// let load = async || Ok::<_, std::convert::Infallible>(Vec::new());
    /// cache.remember(&key, &EntryOptions::new().tag("notes"), load).await?;
    /// assert!(cache.explain(&key, &["notes"]).await.verdict.is_hit());
    ///
    /// cache.flush_tags(["notes"]).await;
    /// let explanation = cache.explain(&key, &["notes"]).await;
    /// assert_eq!(explanation.reason, "what this process has was flushed by the tag notes");
    /// println!("{explanation}");
    /// # Ok(())
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
    /// ```
    pub async fn explain<V: CacheValue>(&self, key: &CacheKey<V>, tags: &[&str]) -> CacheExplanation {
        let reads: Reads = |opened| opened.value::<V>().map(drop);
        self.explain_as(&AnyKey::from(key), tags, Some(reads)).await
    }

    /// As [`explain`](Self::explain), for a key whose type of value is not known, as that of a text: whether the value in the shared
    /// level could be read is not told then.
    pub async fn explain_any(&self, key: &AnyKey, tags: &[&str]) -> CacheExplanation {
        self.explain_as(key, tags, None).await
    }

    /// When these tags were flushed last, and by which numbers. Asks the shared level once.
    ///
    /// # Errors
    /// When the shared level does not answer.
    pub async fn explain_tags(&self, tags: &[&str]) -> Result<Vec<TagExplained>, SharedError> {
        let numbers = self.all_numbers().await?;
        let everything = self.level_of(&numbers, Cell::Base).any;
        let time_of = |number: u64| {
            let is_told = number > 0 && self.hub.link.is_some();
            is_told.then(|| Duration::from_millis(number / 1024))
        };
        let explained = tags.iter().map(|tag| {
            let slot = slot_of_tag(tag);
            let level = self.level_of(&numbers, Cell::Slot(slot));
            TagExplained {
                tag: (*tag).to_owned(),
                slot,
                number: level.any,
                hard: level.hard,
                flushed_at: time_of(level.any),
                everything_number: everything,
                everything_at: time_of(everything),
            }
        });
        Ok(explained.collect())
    }

    async fn all_numbers(&self) -> Result<Vec<Level>, SharedError> {
        let Some(link) = &self.hub.link else {
            return Ok(Vec::new());
        };
        let ask = Ask {
            scope: self.account.name.clone(),
            seen: 0,
        };
        let asked = link.call(link.level.renew(std::slice::from_ref(&ask))).await;
        let answers = asked.map_err(Unanswered::into_error)?;
        Ok(answers.into_iter().next().map_or_else(Vec::new, levels_of))
    }

    /// As the shared level has it, or this process, if that knows of a later flush.
    fn level_of(&self, numbers: &[Level], cell: Cell) -> Level {
        let here = self.account.versions.level(cell);
        let there = numbers.iter().find(|level| level.cell == cell);
        Level {
            cell,
            any: there.map_or(0, |level| level.any).max(here.any),
            hard: there.map_or(0, |level| level.hard).max(here.hard),
        }
    }

    async fn explain_as(&self, key: &AnyKey, tags: &[&str], reads: Option<Reads>) -> CacheExplanation {
        let (found, numbers) = self.ask_for(key).await;
        let now = self.now();
        let look = Look {
            cache: self,
            key,
            tags,
            numbers,
            now,
        };
        let here = look.here();
        let shared = look.shared(found, reads);
        let (verdict, reason) = words::verdict(&here, &shared);
        CacheExplanation {
            scope: self.account.name.to_string(),
            key: key.to_string(),
            verdict,
            reason,
            lease: look.lease(),
            is_loading: self.account.loads.is_aloft(&key.entry_name()),
            here: here.map(|(entry, _)| entry),
            shared,
        }
    }

    /// All numbers are asked for, whatever is known here, and nothing is made of the answer but words.
    async fn ask_for(&self, key: &AnyKey) -> (Asked, Vec<Level>) {
        let Some(link) = &self.hub.link else {
            return (Asked::Nobody, Vec::new());
        };
        let ask = Ask {
            scope: self.account.name.clone(),
            seen: 0,
        };
        let names = [key.entry_name()];
        let fetched = match link.call(link.level.fetch(&ask, &names)).await {
            Ok(fetched) => fetched,
            Err(Unanswered::LeftAlone) => return (Asked::LeftAlone, Vec::new()),
            Err(Unanswered::Failed(error)) => return (Asked::Failed(error.to_string()), Vec::new()),
        };
        let numbers = levels_of(fetched.answer);
        let entry = fetched.entries.into_iter().next().flatten();
        (entry.map_or(Asked::Missing, Asked::Found), numbers)
    }
}

fn levels_of(answer: Answer) -> Vec<Level> {
    match answer {
        Answer::Whole { levels, .. } | Answer::Changed { levels, .. } => levels,
        Answer::Same | Answer::Behind => Vec::new(),
    }
}

/// What the shared level said.
enum Asked {
    Nobody,
    LeftAlone,
    Failed(String),
    Missing,
    Found(FoundEntry),
}

struct Look<'a> {
    cache: &'a Cache,
    key: &'a AnyKey,
    tags: &'a [&'a str],
    /// As the shared level has them.
    numbers: Vec<Level>,
    now: Duration,
}

/// What an entry in this process would be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Serve,
    ServeStale,
    No,
}

impl Look<'_> {
    fn here(&self) -> Option<(EntryExplained, Use)> {
        let Cache { hub, account, .. } = self.cache;
        let bytes = self.key.as_bytes();
        let hash = account.share.hash_of(self.key.hash_in_process());
        hub.level1
            .peek(&account.share, bytes, hash, |entry, tier| self.entry(entry, tier))
    }

    fn entry(&self, entry: &Entry, tier: Tier) -> (EntryExplained, Use) {
        let depends_on = self.dependencies(&entry.stamp);
        let judged = words::worst(&depends_on);
        let left = entry.fresh_until.saturating_sub(self.now);
        let usable = entry.usable_until.saturating_sub(self.now);
        // What the numbers of the shared level say counts as if this process had asked, which it does before it serves.
        let trust = match self.numbers.is_empty() && !self.has_lease() {
            true => Trust::Outage,
            false => Trust::Lease,
        };
        let used_for = match judged {
            DependencyState::FlushedHard | DependencyState::Unknown => Use::No,
            _ => self
                .cache
                .use_of(entry, trust, self.now, judged == DependencyState::FlushedSoftly),
        };
        let explained = EntryExplained {
            is_hot: tier == Tier::Hot,
            bytes: u64::from(entry.weight),
            fresh_for: (!left.is_zero()).then_some(left),
            usable_for: (!usable.is_zero()).then_some(usable),
            load_took: entry.load_cost,
            depends_on,
        };
        (explained, used_for)
    }

    fn has_lease(&self) -> bool {
        self.cache.account.versions.holds_lease(self.now)
    }

    fn shared(&self, asked: Asked, reads: Option<Reads>) -> SharedExplained {
        let found = match asked {
            Asked::Nobody => return SharedExplained::None,
            Asked::LeftAlone => return SharedExplained::LeftAlone,
            Asked::Failed(error) => return SharedExplained::Failed { error },
            Asked::Missing => return SharedExplained::Missing,
            Asked::Found(found) => found,
        };
        let place = Place::new(&self.cache.account.name, &self.key.entry_name());
        let opened = Opened::open(place, &found.bytes).and_then(|opened| match reads {
            Some(reads) => reads(&opened).map(|()| opened),
            None => Ok(opened),
        });
        match opened {
            Ok(opened) => SharedExplained::Found(self.shared_entry(&found, &opened)),
            Err(error) => SharedExplained::Unreadable {
                error: with_causes(&error),
                is_of_another_release: error.is_of_another_release(),
            },
        }
    }

    fn shared_entry(&self, found: &FoundEntry, opened: &Opened) -> EntryExplained {
        let header = &opened.header;
        let age = header.ttl.saturating_sub(found.remaining);
        let fresh = header.fresh_for.saturating_sub(age);
        EntryExplained {
            is_hot: false,
            bytes: found.bytes.len() as u64,
            fresh_for: (!fresh.is_zero()).then_some(fresh),
            usable_for: Some(found.remaining),
            load_took: header.load_cost,
            depends_on: self.dependencies(&header.stamp),
        }
    }

    fn lease(&self) -> LeaseExplained {
        let Cache { hub, account, .. } = self.cache;
        if hub.link.is_none() {
            return LeaseExplained::NotNeeded;
        }
        match account.versions.lease_ended_for(self.now) {
            _ if self.has_lease() => LeaseExplained::Held,
            Some(ago) => LeaseExplained::Ended { ago },
            None => LeaseExplained::Never,
        }
    }

    fn dependencies(&self, stamp: &Stamp) -> Vec<DependencyExplained> {
        let own = self.key.slot();
        let slots = stamp.slots().map(|(slot, number)| {
            let what = match self.tags.iter().find(|tag| slot_of_tag(tag) == slot) {
                _ if slot == own => WhatItDependsOn::Key,
                Some(tag) => WhatItDependsOn::Tag {
                    tag: (*tag).to_owned(),
                },
                None => WhatItDependsOn::Slot { slot },
            };
            self.dependency(what, Cell::Slot(slot), number)
        });
        let all = self.dependency(WhatItDependsOn::Everything, Cell::Base, stamp.base());
        std::iter::once(all).chain(slots).collect()
    }

    fn dependency(&self, what: WhatItDependsOn, cell: Cell, loaded_under: u64) -> DependencyExplained {
        let Level { any, hard, .. } = self.cache.level_of(&self.numbers, cell);
        let state = if any == loaded_under {
            DependencyState::Same
        } else if loaded_under > any {
            DependencyState::Unknown
        } else if hard > loaded_under {
            DependencyState::FlushedHard
        } else {
            DependencyState::FlushedSoftly
        };
        DependencyExplained {
            what,
            loaded_under,
            now: any,
            state,
            // Those of a process alone count from one.
            flushed_at: (state != DependencyState::Same && self.cache.hub.link.is_some())
                .then(|| Duration::from_millis(any / 1024)),
        }
    }
}

impl Cache {
    fn use_of(&self, entry: &Entry, trust: Trust, now: Duration, is_flushed_softly: bool) -> Use {
        if is_flushed_softly && !self.account.is_in_grace(self.hub.settings.soft_flush_grace, now) {
            // A flush that this process has not heard of yet: it would begin the time of grace now.
            let is_unheard_of = self.account.versions.judge(&entry.stamp) == Judgement::Fresh;
            if !is_unheard_of || now >= entry.usable_until {
                return Use::No;
            }
            return Use::ServeStale;
        }
        match self.worth(entry, trust, now) {
            super::look::Worth::Fresh if is_flushed_softly => Use::ServeStale,
            super::look::Worth::Fresh => Use::Serve,
            super::look::Worth::Stale { .. } => Use::ServeStale,
            super::look::Worth::Unsure | super::look::Worth::Nothing => Use::No,
        }
    }
}
