use std::time::Duration;

use super::slots::slot_of_tag;

/// How long an entry lives, and what flushes it.
///
/// ```
/// use std::time::Duration;
/// use tenancy::cache::EntryOptions;
///
/// const HOURLY: EntryOptions = EntryOptions::new().ttl(Duration::from_secs(3600));
/// let notes = HOURLY.tag("notes").tag("note:17");
/// # drop(notes);
/// ```
#[derive(Clone, Debug)]
pub struct EntryOptions {
    pub(crate) ttl: Duration,
    pub(crate) stale_for: Duration,
    pub(crate) none_ttl: Option<Duration>,
    pub(crate) slots: Slots,
    pub(crate) early_refresh: bool,
    pub(crate) size: Option<u32>,
}

/// Of the tags. A few without an allocation.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    few: [u16; FEW],
    count: u8,
    more: Vec<u16>,
}

const FEW: usize = 4;

impl Slots {
    pub(super) const NONE: Self = Self {
        few: [0; FEW],
        count: 0,
        more: Vec::new(),
    };

    pub(super) fn push(&mut self, slot: u16) {
        match self.few.get_mut(usize::from(self.count)) {
            Some(place) => {
                *place = slot;
                self.count += 1;
            }
            None => self.more.push(slot),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        let few = self.few.iter().take(usize::from(self.count));
        few.chain(&self.more).copied()
    }
}

impl EntryOptions {
    /// Five minutes, no tags; for 30 s after its end an entry is still served if it can not be loaded anew.
    pub const fn new() -> Self {
        Self {
            ttl: Duration::from_secs(300),
            stale_for: Duration::from_secs(30),
            none_ttl: None,
            slots: Slots::NONE,
            early_refresh: true,
            size: None,
        }
    }

    /// How long the entry is fresh. Zero: it is not kept. More than a year counts as a year. In one process without asking the shared
    /// level, and so at all where there is none, for [`local_ttl`](super::CacheSettings::local_ttl), 60 s, at most.
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// For so long after its time to live an entry is still served where loading it anew fails or takes too long.
    ///
    /// Never after a hard flush. More than a year counts as a year. This process forgets a tenant that nobody asks for after some
    /// minutes; the shared level keeps the entry.
    pub const fn stale_for(mut self, grace: Duration) -> Self {
        self.stale_for = grace;
        self
    }

    /// How long the answer "there is none" is fresh, for [`remember_found`](super::Cache::remember_found). Default: as
    /// [`ttl`](Self::ttl).
    pub const fn none_ttl(mut self, ttl: Duration) -> Self {
        self.none_ttl = Some(ttl);
        self
    }

    /// Whether one of many callers loads an entry anew shortly before it ends, the earlier the longer its load takes, so that
    /// nobody waits for it. Default: yes. (XFetch: Vattani, Chierichetti, Lowenstein, *Optimal Probabilistic Cache Stampede
    /// Prevention*, VLDB 2015.)
    pub const fn early_refresh(mut self, refresh: bool) -> Self {
        self.early_refresh = refresh;
        self
    }

    /// How many bytes the entry counts for in this process. Default: what it takes when it is written by the cache's
    /// [`codec`](super::CacheSettings::codec), which has to go through the value once. Give it for values whose size is known, or
    /// that take much more in memory than written. It counts in the process that loaded the value; in others the written size does.
    pub const fn size(mut self, bytes: u32) -> Self {
        self.size = Some(bytes);
        self
    }

    /// A flush of this tag flushes the entry. Allocates from the fifth tag on.
    ///
    /// Tags are told apart by a hash into 4,096 cells for each tenant: a flush may take a few entries of other tags along, and
    /// never leaves one of its own. An entry may have 127; with more it is not kept.
    pub fn tag(mut self, tag: impl AsRef<str>) -> Self {
        self.slots.push(slot_of_tag(tag.as_ref()));
        self
    }

    /// All of these, as [`tag`](Self::tag).
    pub fn tags<T: AsRef<str>>(self, tags: impl IntoIterator<Item = T>) -> Self {
        tags.into_iter().fold(self, Self::tag)
    }
}

impl Default for EntryOptions {
    fn default() -> Self {
        Self::new()
    }
}
