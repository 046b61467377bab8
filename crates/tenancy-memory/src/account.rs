//! Accounts, and the parts that tasks add to them.

use std::{
    any::Any,
    cell::Cell,
    fmt, ptr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering},
    },
};

use crate::{
    counters::{Counters, Entered, for_each_entered, with_current},
    owned::Owner,
    totals,
};

/// The sums of an account. They are touched when a part ends, not for each allocation or poll.
#[derive(Debug, Default)]
pub struct Meter {
    allocated: AtomicU64,
    freed: AtomicU64,
    allocations: AtomicU64,
    polls: AtomicU64,
    peak: AtomicU64,
    peak_of_others: AtomicU64,
    escaped: AtomicU64,
    parts: AtomicU32,
    open: AtomicU32,
    is_complete: AtomicBool,
}

impl Meter {
    /// With nothing in it.
    pub const fn new() -> Self {
        Self {
            allocated: AtomicU64::new(0),
            freed: AtomicU64::new(0),
            allocations: AtomicU64::new(0),
            polls: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            peak_of_others: AtomicU64::new(0),
            escaped: AtomicU64::new(0),
            parts: AtomicU32::new(0),
            open: AtomicU32::new(0),
            is_complete: AtomicBool::new(false),
        }
    }

    /// Bytes were handed to others, who free them outside of the account.
    pub fn add_escaped(&self, bytes: u64) {
        self.escaped.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What is counted has run to its end.
    pub fn set_complete(&self) {
        self.is_complete.store(true, Ordering::Relaxed);
    }

    /// Whether no part is open, or none was ever begun.
    pub fn is_closed(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }

    /// What parts that have ended have added.
    fn ended(&self) -> Usage {
        let peak = self.peak.load(Ordering::Relaxed);
        Usage {
            allocated: self.allocated.load(Ordering::Relaxed),
            freed: self.freed.load(Ordering::Relaxed),
            allocations: self.allocations.load(Ordering::Relaxed),
            peak,
            peak_sum: peak.saturating_add(self.peak_of_others.load(Ordering::Relaxed)),
            polls: self.polls.load(Ordering::Relaxed),
            escaped: self.escaped.load(Ordering::Relaxed),
            spawned: self.parts.load(Ordering::Relaxed).saturating_sub(1),
            complete: self.is_complete.load(Ordering::Relaxed),
        }
    }

    /// What was counted so far: by parts that have ended, and by those that are entered on this thread. Parts that wait, or run on
    /// other threads, follow when they end.
    pub fn usage(&self) -> Usage {
        let mut usage = self.ended();
        for_each_entered(|part, counters| {
            if ptr::eq(part.to.meter(), self) {
                usage.add(part, counters);
            }
        });
        usage
    }

    fn begin_part(&self) -> bool {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.parts.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// Adds what a part has counted. True if it was the last one that was open.
    fn end_part(&self, part: &Part) -> bool {
        let counters = &part.counters;
        let (allocated, freed) = (counters.allocated.get(), counters.freed());
        self.allocated.fetch_add(allocated, Ordering::Relaxed);
        self.freed.fetch_add(freed, Ordering::Relaxed);
        self.allocations
            .fetch_add(counters.allocations.get(), Ordering::Relaxed);
        self.polls.fetch_add(part.polls.get(), Ordering::Relaxed);
        let peak = if part.is_first {
            &self.peak
        } else {
            &self.peak_of_others
        };
        peak.fetch_add(part.peak(counters), Ordering::Relaxed);
        totals::add_attributed(allocated, freed);
        // What the others have added is seen by whoever ends the last one.
        self.open.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// What an account has counted. See the [crate](crate) for what each figure means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Bytes that were allocated.
    pub allocated: u64,
    /// Bytes that were freed, whoever had allocated them.
    pub freed: u64,
    /// How many times a block was allocated or resized.
    pub allocations: u64,
    /// The most bytes that the first part had at one time, above what it began with.
    pub peak: u64,
    /// The peaks of all parts together: an upper bound of what they had at one time.
    pub peak_sum: u64,
    /// How many times a part was entered.
    pub polls: u64,
    /// Bytes that were handed to others.
    pub escaped: u64,
    /// How many parts there are besides the first: tasks that were started.
    pub spawned: u32,
    /// Whether what is counted has run to its end.
    pub complete: bool,
}

impl Usage {
    /// Bytes allocated less bytes freed. Below 0 where what others had allocated is freed.
    pub fn net(&self) -> i64 {
        self.allocated.wrapping_sub(self.freed).cast_signed()
    }

    /// What stays, as far as can be told: `net` less what has escaped.
    pub fn retained(&self) -> i64 {
        self.net().saturating_sub_unsigned(self.escaped)
    }

    fn add(&mut self, part: &Part, counters: &Counters) {
        self.allocated = self.allocated.wrapping_add(counters.allocated.get());
        self.freed = self.freed.wrapping_add(counters.freed());
        self.allocations += counters.allocations.get();
        self.polls += part.polls.get() + 1;
        let peak = part.peak(counters);
        self.peak_sum += peak;
        if part.is_first {
            self.peak += peak;
        }
    }
}

/// Keeps an account in an object of its own, with what belongs to it: a request's tenant and route.
pub trait AccountOwner: Any + Send + Sync {
    /// Where the sums are.
    fn meter(&self) -> &Meter;

    /// The last part has ended. Runs once, or again if another part was begun after that; outside of the account. It must not panic: it may run
    /// while a panic unwinds.
    fn closed(&self) {}
}

impl AccountOwner for Meter {
    fn meter(&self) -> &Meter {
        self
    }
}

/// What is counted together: a request, a job. Clones are the same account.
#[derive(Clone)]
pub struct Account {
    owner: Arc<dyn AccountOwner>,
}

impl Account {
    /// With nothing in it. Allocates once.
    pub fn new() -> Self {
        Self::of(Arc::new(Meter::new()))
    }

    /// The account that this object keeps.
    pub fn of(owner: Arc<impl AccountOwner>) -> Self {
        Self { owner }
    }

    /// Begins a part: what one task, future or body adds. The first one's peak is exact. Allocates nothing.
    pub fn part(&self) -> Part {
        Part::new(To::Account(Arc::clone(&self.owner)), None)
    }

    /// The sums.
    pub fn meter(&self) -> &Meter {
        self.owner.meter()
    }

    /// The object that keeps it, if it is of this type.
    pub fn owner<T: AccountOwner>(&self) -> Option<Arc<T>> {
        let owner: Arc<dyn Any + Send + Sync> = Arc::clone(&self.owner) as _;
        owner.downcast().ok()
    }

    /// What was counted so far; see [`Meter::usage`].
    pub fn usage(&self) -> Usage {
        self.meter().usage()
    }
}

impl Default for Account {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("usage", &self.usage())
            .finish_non_exhaustive()
    }
}

/// The account for which this code runs: of the innermost part that is entered on this thread and is an account's. `None` outside of all
/// parts, and in one of a [`Purpose`](crate::Purpose).
pub fn current_account() -> Option<Account> {
    with_current(|part| match &part?.to {
        To::Account(owner) => Some(Account {
            owner: Arc::clone(owner),
        }),
        To::Purpose(_) => None,
    })
}

/// Looks at the object that keeps the current account, if there is one and it is of this type. Costs no atomic, as
/// [`current_account`] does.
pub fn with_current_owner<T: AccountOwner, R>(look: impl FnOnce(Option<&T>) -> R) -> R {
    with_current(|part| {
        let owner: Option<&dyn Any> = part.and_then(|part| match &part.to {
            To::Account(owner) => Some(&**owner as &dyn Any),
            To::Purpose(_) => None,
        });
        look(owner.and_then(<dyn Any>::downcast_ref))
    })
}

/// What the bytes count for.
#[derive(Clone)]
enum To {
    Account(Arc<dyn AccountOwner>),
    Purpose(&'static Meter),
}

impl To {
    fn meter(&self) -> &Meter {
        match self {
            Self::Account(owner) => owner.meter(),
            Self::Purpose(meter) => meter,
        }
    }
}

/// What one task adds to an account. Keep it beside a future, and poll the future within [`run`](Self::run); drop it after the future.
///
/// It may move between threads from one `run` to the next. Its sums are added to the account when it is dropped.
pub struct Part {
    pub(crate) counters: Counters,
    pub(crate) polls: Cell<u64>,
    /// The part within which this one is entered. A pointer without a word on threads: it is used on one at a time.
    pub(crate) outer: AtomicPtr<Part>,
    /// Whether `outer` is one: a look at a byte.
    pub(crate) is_nested: Cell<bool>,
    /// Whose blocks are, as the allocator reads it: that of `owner`.
    tag: Cell<u16>,
    owner: Cell<Option<Owner>>,
    to: To,
    is_first: bool,
}

impl Part {
    fn new(to: To, owner: Option<Owner>) -> Self {
        let is_first = to.meter().begin_part();
        Self {
            counters: Counters::starting_at(0),
            polls: Cell::new(0),
            outer: AtomicPtr::new(ptr::null_mut()),
            is_nested: Cell::new(false),
            tag: Cell::new(owner.as_ref().map_or(0, Owner::tag)),
            owner: Cell::new(owner),
            to,
            is_first,
        }
    }

    /// Blocks are the owner's of what runs there now.
    pub(crate) fn of_purpose(meter: &'static Meter) -> Self {
        let owner = with_current(|part| part?.owner());
        Self::new(To::Purpose(meter), owner)
    }

    /// A part for a task that is started here: of the same account or purpose, and owner, as the innermost part that is entered on
    /// this thread. `None` outside of all parts.
    pub fn of_current() -> Option<Self> {
        with_current(|part| part.map(|part| Self::new(part.to.clone(), part.owner())))
    }

    fn owner(&self) -> Option<Owner> {
        let owner = self.owner.take();
        self.owner.set(owner.clone());
        owner
    }

    /// Whose what it allocates from now on is. Always true.
    pub(crate) fn set_owner(&self, owner: Option<Owner>) -> bool {
        self.tag.set(owner.as_ref().map_or(0, Owner::tag));
        self.owner.set(owner);
        true
    }

    #[inline(always)]
    pub(crate) fn tag(&self) -> u16 {
        self.tag.get()
    }

    /// Runs something whose bytes are this part's, but for what runs in a part that is entered inside of it. Left again by
    /// whatever way, also by a panic.
    #[inline(always)]
    pub fn run<R>(&mut self, run: impl FnOnce() -> R) -> R {
        let _entered = Entered::new(self);
        run()
    }

    /// The account, unless the part is a [`Purpose`](crate::Purpose)'s.
    pub fn account(&self) -> Option<Account> {
        match &self.to {
            To::Account(owner) => Some(Account {
                owner: Arc::clone(owner),
            }),
            To::Purpose(_) => None,
        }
    }

    fn peak(&self, counters: &Counters) -> u64 {
        u64::try_from(counters.high.get()).unwrap_or(0)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.to.meter().end_part(self)
            && let To::Account(owner) = &self.to
        {
            owner.closed();
        }
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").finish_non_exhaustive()
    }
}
