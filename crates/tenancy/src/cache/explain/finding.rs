use std::time::Duration;

use serde::{Serialize, Serializer};

/// Why a key is found or not: see [`Cache::explain`](crate::cache::Cache::explain). `Display` tells it in lines of text; as JSON,
/// times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CacheExplanation {
    /// Whose part of the cache: `id:incarnation`, or `:central`.
    pub scope: String,
    /// The key.
    pub key: String,
    /// What would happen if it were asked for now.
    pub verdict: CacheVerdict,
    /// Why, in one sentence without a full stop.
    pub reason: String,
    /// Whether this process knows the newest numbers without asking.
    pub lease: LeaseExplained,
    /// Whether this process loads it now.
    pub is_loading: bool,
    /// What this process has.
    pub here: Option<EntryExplained>,
    /// What the shared level has.
    pub shared: SharedExplained,
}

/// What would happen if a key were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CacheVerdict {
    /// It is served from this process.
    Hit,
    /// It is taken from the shared level.
    SharedHit,
    /// It is loaded; what is stale is served if that does not succeed soon, or at once after a soft flush.
    Stale,
    /// It is loaded.
    Miss,
}

impl CacheVerdict {
    /// Whether it is found, here or in the shared level.
    pub fn is_hit(self) -> bool {
        matches!(self, Self::Hit | Self::SharedHit)
    }
}

/// Whether a process knows the newest numbers of a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LeaseExplained {
    /// There is no shared level.
    NotNeeded,
    /// It does.
    Held,
    /// It did, and asks before it serves anything.
    Ended {
        /// How long ago that ended.
        #[serde(rename = "ago_ms", serialize_with = "milliseconds")]
        ago: Duration,
    },
    /// It has not asked yet, or nobody has asked for anything of this scope for a while.
    Never,
}

/// What the shared level has under a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum SharedExplained {
    /// There is no shared level.
    None,
    /// It did not answer lately, and is left alone for some seconds.
    LeftAlone,
    /// It did not answer.
    Failed {
        /// Why.
        error: String,
    },
    /// Nothing.
    Missing,
    /// Something that can not be read.
    Unreadable {
        /// Why.
        error: String,
        /// Whether another release of the application has written it, or of this crate: the usual reason.
        is_of_another_release: bool,
    },
    /// An entry.
    Found(EntryExplained),
}

/// An entry of one level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EntryExplained {
    /// Whether it is one of those that are asked for most, of this process.
    pub is_hot: bool,
    /// Of the encoded value.
    pub bytes: u64,
    /// How long it is fresh, if it is not flushed; `None` if that time is over.
    #[serde(rename = "fresh_for_ms", serialize_with = "maybe_milliseconds")]
    pub fresh_for: Option<Duration>,
    /// How long it may be served as stale; `None` if that time is over.
    #[serde(rename = "usable_for_ms", serialize_with = "maybe_milliseconds")]
    pub usable_for: Option<Duration>,
    /// What its load took.
    #[serde(rename = "load_took_ms", serialize_with = "milliseconds")]
    pub load_took: Duration,
    /// Everything whose flush flushes it, and its numbers.
    pub depends_on: Vec<DependencyExplained>,
}

/// Something whose flush flushes an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DependencyExplained {
    /// What.
    #[serde(flatten)]
    pub what: WhatItDependsOn,
    /// The number that the entry was loaded under.
    pub loaded_under: u64,
    /// The number that there is now.
    pub now: u64,
    /// What that means.
    pub state: DependencyState,
    /// When it was flushed last, since the beginning of 1970, by the clock of the shared level.
    #[serde(rename = "flushed_at_unix_ms", serialize_with = "maybe_milliseconds")]
    pub flushed_at: Option<Duration>,
}

/// What an entry depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[non_exhaustive]
pub enum WhatItDependsOn {
    /// The flush of the whole scope.
    Everything,
    /// A put or a removal of the key itself, or of another with the same slot.
    Key,
    /// A tag that was asked for, or another with the same slot.
    Tag {
        /// Which.
        tag: String,
    },
    /// A tag that was not asked for.
    Slot {
        /// Its slot.
        slot: u16,
    },
}

/// What became of something since an entry was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DependencyState {
    /// Nothing.
    Same,
    /// It was flushed softly.
    FlushedSoftly,
    /// It was flushed.
    FlushedHard,
    /// The entry is of a flush that nobody knows: the shared level has lost it, and all that depends on it is dead.
    Unknown,
}

/// When a tag was flushed last: see [`Cache::explain_tags`](crate::cache::Cache::explain_tags).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TagExplained {
    /// The tag.
    pub tag: String,
    /// Its slot: tags of one slot are flushed together.
    pub slot: u16,
    /// The number of the slot's last flush; 0: never.
    pub number: u64,
    /// The number of its last hard flush.
    pub hard: u64,
    /// When it was flushed last, since the beginning of 1970, by the clock of the shared level.
    #[serde(rename = "flushed_at_unix_ms", serialize_with = "maybe_milliseconds")]
    pub flushed_at: Option<Duration>,
    /// The number of the last flush of everything, which flushes every tag, or else of the beginning of this scope's numbers.
    pub everything_number: u64,
    /// When that was, as [`flushed_at`](Self::flushed_at).
    #[serde(rename = "everything_at_unix_ms", serialize_with = "maybe_milliseconds")]
    pub everything_at: Option<Duration>,
}

fn milliseconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn maybe_milliseconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => milliseconds(time, serializer),
        None => serializer.serialize_none(),
    }
}
