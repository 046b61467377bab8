//! What two processes have in common: a second cache level, and the numbers by which they agree on what is stale.
//!
//! [`SharedLevel`] is implemented by `tenancy-redis`, and for tests in memory by `tenancy-test`. Applications hand one to the
//! cache's settings and never call it.

use std::{borrow::Cow, error::Error, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};
use tenancy_core::TenantId;

/// How many change numbers of a scope a level remembers at least: who has seen one of these is told what changed since, who has
/// seen an older one is [`Answer::Behind`].
pub const REMEMBERED: usize = 128;

/// Of how many scopes a level keeps how much they are used.
pub const HOTTEST: usize = 1000;

/// How many version cells a scope has. Tags and keys share them by their hash.
pub const SLOTS: u16 = 4096;

/// Whose part of the cache: of one incarnation of one tenant, or the central one.
///
/// Different tenants and incarnations never have the same name, and none the central one's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeName(Arc<str>);

impl ScopeName {
    // No id is empty.
    const CENTRAL: &str = ":central";

    pub(crate) fn of_tenant(id: &str, incarnation: u64) -> Self {
        Self(format!("{id}:{incarnation}").into())
    }

    /// That of one incarnation of a tenant, for what erases a tenant that is gone. It is a name, and proves nothing.
    pub fn of(id: &TenantId, incarnation: u64) -> Self {
        Self::of_tenant(id.as_str(), incarnation)
    }

    /// That of what is no tenant's.
    pub fn central() -> Self {
        Self(Self::CENTRAL.into())
    }

    /// The name that is written like this, for levels that read it in a message; `None` if none is. It is a name, and proves
    /// nothing.
    pub fn parse(text: &str) -> Option<Self> {
        if text == Self::CENTRAL {
            return Some(Self::central());
        }
        let (id, incarnation) = text.split_once(':')?;
        let name = Self::of_tenant(id, incarnation.parse().ok()?);
        // One spelling each: `acme:01` and `acme:+1` are nobody's.
        (TenantId::is_valid(id) && name.as_str() == text).then_some(name)
    }

    /// For tests of levels: a name is no proof.
    #[doc(hidden)]
    pub fn for_tests(name: &str) -> Self {
        Self(name.into())
    }

    /// As it stands in keys and messages: `id:incarnation` or `:central`. No braces, no white space, at most 70 bytes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ScopeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The key of an entry, encoded: any bytes, the same for the same key in every process.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName(Arc<[u8]>);

impl EntryName {
    pub(crate) fn new(encoded: &[u8]) -> Self {
        Self(encoded.into())
    }

    /// For tests of levels: a name is no proof.
    #[doc(hidden)]
    pub fn for_tests(encoded: &[u8]) -> Self {
        Self(encoded.into())
    }

    /// The encoded key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryName({})", self.0.escape_ascii())
    }
}

/// One version cell of a scope: the base, which every entry depends on, or one of the [`SLOTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cell {
    /// What a flush of the whole scope raises.
    Base,
    /// What tags and keys with this hash share; below [`SLOTS`].
    Slot(u16),
}

/// The numbers of one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Level {
    /// Whose.
    pub cell: Cell,
    /// The number of its last flush of either kind.
    pub any: u64,
    /// The number of its last hard flush; at most `any`.
    pub hard: u64,
}

/// Whether what is flushed may still be served while it is loaded anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlushMode {
    /// Never served again, not even when loading fails.
    Hard,
    /// Served as stale for a stated time, while it is refreshed.
    Soft,
}

/// A question: what has changed in this scope since `seen`?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Which scope.
    pub scope: ScopeName,
    /// The number up to which the asker knows everything; 0 if it knows nothing.
    pub seen: u64,
}

/// What the shared level says of a scope's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing has changed.
    Same,
    /// These have been raised since, and nothing else's `any`; `number` is the newest. A level's `hard` may be one that the asker
    /// knows already.
    Changed {
        /// The newest number of the scope.
        number: u64,
        /// What was raised, with its present numbers.
        levels: Vec<Level>,
    },
    /// All there is. The base is always there; a cell that is not named is at 0.
    Whole {
        /// The newest number of the scope.
        number: u64,
        /// Every cell that was ever raised.
        levels: Vec<Level>,
    },
    /// The number asked for is not known here: changes were lost, or it is too long ago. The asker must
    /// [`teach`](SharedLevel::teach) what it knows. Asking again gives the same answer until then.
    Behind,
}

/// A flush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raise {
    /// In which scope.
    pub scope: ScopeName,
    /// What is raised; at least one, each once.
    pub cells: Vec<Cell>,
    /// Whether old entries may still be used.
    pub mode: FlushMode,
    /// The highest number that the flusher knows of: the new one is above it.
    pub known: u64,
}

/// What a flush was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raised {
    /// The new number of all cells that were raised.
    pub number: u64,
    /// The newest number of the scope before; 0 if the scope had to be made.
    pub previous: u64,
}

/// An entry as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its key.
    pub name: EntryName,
    /// Its envelope.
    pub bytes: Bytes,
    /// How long it is to be kept; above zero.
    pub ttl: Duration,
}

/// What was found under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundEntry {
    /// Its envelope.
    pub bytes: Bytes,
    /// How long it will still be kept.
    pub remaining: Duration,
}

/// Entries, and what has changed in their scope, as one answer: the numbers were read no earlier than the entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// What has changed.
    pub answer: Answer,
    /// In the order asked for.
    pub entries: Vec<Option<FoundEntry>>,
}

/// What is heard of other processes. It only hastens: everything is also found by asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Cells were raised.
    Raised {
        /// In which scope.
        scope: ScopeName,
        /// The scope's newest number before.
        previous: u64,
        /// The new number of these cells.
        number: u64,
        /// Which.
        cells: Vec<Cell>,
        /// How.
        mode: FlushMode,
    },
    /// Messages may have been missed: the listener was away.
    Gap,
}

/// What a process tells of a scope, for people to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessReport {
    /// Of which scope.
    pub scope: ScopeName,
    /// Who tells it: a number by chance.
    pub process: u64,
    /// A short text.
    pub text: String,
}

/// What one process does so that others need not, for a while: no lock, for it may end while it is held.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// In which scope.
    pub scope: ScopeName,
    /// What is done; at most 128 bytes.
    pub what: String,
    /// Who does it: a number by chance, so that nobody gives back what another one has.
    pub by: u64,
}

/// The second level. All calls must be safe to drop at any await: what they began is done as a whole or not at all, or, for
/// entries, in part.
///
/// An implementation limits its own time: a call that is not answered within some hundred milliseconds is an error.
pub trait SharedLevel: Send + Sync + fmt::Debug + 'static {
    /// After how long a call is given up that has not limited its own time. Longer than any call of a level takes that does.
    /// Default: one second.
    fn patience(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// What has changed in each of these scopes, in their order. A scope that is not there is made, with a fresh base.
    fn renew<'a>(&'a self, asks: &'a [Ask]) -> BoxFuture<'a, Result<Vec<Answer>, SharedError>>;

    /// Entries of a scope, and what has changed in it; one round trip. The numbers are read after the entries, or with them.
    fn fetch<'a>(
        &'a self,
        ask: &'a Ask,
        names: &'a [EntryName],
    ) -> BoxFuture<'a, Result<Fetched, SharedError>>;

    /// Keeps entries, in the place of what was there.
    fn store<'a>(
        &'a self,
        scope: &'a ScopeName,
        entries: &'a [StoredEntry],
    ) -> BoxFuture<'a, Result<(), SharedError>>;

    /// Gives cells a new number, above all that the scope had and above `known`, and tells everybody; one round trip.
    fn raise<'a>(&'a self, raise: &'a Raise) -> BoxFuture<'a, Result<Raised, SharedError>>;

    /// Takes over what is higher than here: every cell that this lifts gets one new number, above all that is known, and everybody
    /// is told; where nothing is higher no number is taken. A soft flush may be taught as a hard one: more is dead then than need
    /// be, and never less. Answers with all there is then.
    fn teach<'a>(
        &'a self,
        scope: &'a ScopeName,
        known: &'a [Level],
    ) -> BoxFuture<'a, Result<Answer, SharedError>>;

    /// Frees the memory of entries that nobody may read any more. Correctness does not rest on it.
    fn discard<'a>(
        &'a self,
        scope: &'a ScopeName,
        names: &'a [EntryName],
    ) -> BoxFuture<'a, Result<(), SharedError>>;

    /// Claims something for a time, unless another has it: whether that succeeded. Who has it may claim it again.
    ///
    /// Claims save work, and nothing rests on them. Default: everybody gets what they ask for.
    fn claim<'a>(&'a self, claim: &'a Claim, length: Duration) -> BoxFuture<'a, Result<bool, SharedError>> {
        let _ = (claim, length);
        Box::pin(async { Ok(true) })
    }

    /// Gives back what was claimed, if it is still the claimant's.
    fn release<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<(), SharedError>> {
        let _ = claim;
        Box::pin(async { Ok(()) })
    }

    /// Adds to how much these scopes are used. What is older counts for less, halved within about a day, and of the [`HOTTEST`] alone
    /// anything is kept. Default: nothing is.
    fn heat<'a>(&'a self, uses: &'a [(ScopeName, u64)]) -> BoxFuture<'a, Result<(), SharedError>> {
        let _ = uses;
        Box::pin(async { Ok(()) })
    }

    /// Those that are used most, the hottest first. Default: none.
    fn hottest(&self, most: usize) -> BoxFuture<'_, Result<Vec<ScopeName>, SharedError>> {
        let _ = most;
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Keeps what processes tell, in the place of what the same one told of the same scope before. Default: it is not kept.
    fn report<'a>(
        &'a self,
        reports: &'a [ProcessReport],
        keep_for: Duration,
    ) -> BoxFuture<'a, Result<(), SharedError>> {
        let _ = (reports, keep_for);
        Box::pin(async { Ok(()) })
    }

    /// What processes have told of a scope. Default: nothing.
    fn reports<'a>(&'a self, scope: &'a ScopeName) -> BoxFuture<'a, Result<Vec<ProcessReport>, SharedError>> {
        let _ = scope;
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Messages from now on, beginning with a [`Message::Gap`] once they are heard. It goes on after lost connections, with
    /// another `Gap`, and ends only with this level.
    fn listen(&self) -> BoxStream<'static, Message>;
}

/// The shared level could not answer. It is for logs: it may name a server.
#[derive(Debug)]
pub struct SharedError {
    message: Cow<'static, str>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl SharedError {
    /// Because of `source`; `message` says what was tried.
    pub fn new(
        message: impl Into<Cow<'static, str>>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            message: message.into(),
            source: Some(source.into()),
        }
    }

    /// Without another error behind it.
    pub fn message(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for SharedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ScopeName;

    #[test]
    fn a_scopes_name_has_one_spelling() {
        for name in [
            ScopeName::of_tenant("acme", 1),
            ScopeName::of_tenant("a-1", u64::MAX),
            ScopeName::central(),
        ] {
            assert_eq!(ScopeName::parse(name.as_str()), Some(name));
        }
        for text in [
            "",
            ":",
            ":1",
            ":centra",
            "acme",
            "acme:",
            "acme:01",
            "acme:+1",
            "acme:-1",
            "acme:1:1",
            "acme:18446744073709551616",
            "Acme:1",
            "{a}:1",
            "a b:1",
            " acme:1",
        ] {
            assert_eq!(ScopeName::parse(text), None, "{text}");
        }
    }
}
