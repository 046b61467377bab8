//! The counters of a thread. Entering a part exchanges them for the part's.

use std::{cell::Cell, ptr, sync::atomic::Ordering};

use crate::account::Part;

/// Four numbers, moved as two pairs. The order is not free: beside `allocated`, `allocations` would be added to by one vector
/// instruction that takes four others to set up.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Counters {
    pub(crate) allocated: Cell<u64>,
    /// The highest `net`. Outside of every part `i64::MAX`, which nothing exceeds.
    pub(crate) high: Cell<i64>,
    pub(crate) allocations: Cell<u64>,
    /// Bytes allocated less bytes freed.
    pub(crate) net: Cell<i64>,
}

impl Counters {
    pub(crate) const fn starting_at(high: i64) -> Self {
        Self {
            allocated: Cell::new(0),
            allocations: Cell::new(0),
            net: Cell::new(0),
            high: Cell::new(high),
        }
    }

    #[inline(always)]
    fn copy_to(&self, other: &Self) {
        let (allocated, high) = (self.allocated.get(), self.high.get());
        let (allocations, net) = (self.allocations.get(), self.net.get());
        other.allocated.set(allocated);
        other.high.set(high);
        other.allocations.set(allocations);
        other.net.set(net);
    }

    pub(crate) fn freed(&self) -> u64 {
        self.allocated.get().wrapping_sub(self.net.get().cast_unsigned())
    }
}

/// What a thread has. Nothing in it needs to be dropped: it works until the very end of the thread.
struct Local {
    /// Those of the innermost part that is entered, or the thread's own.
    live: Counters,
    /// The thread's own, while a part is entered.
    own: Counters,
    /// How much of the thread's own the process's totals have already: allocated, freed.
    published: Cell<(u64, u64)>,
    /// The innermost part that is entered; null outside of all.
    current: Cell<*const Part>,
    /// Whether the allocator has passed something on uncounted.
    forwarded: Cell<bool>,
}

thread_local! {
    static LOCAL: Local = const {
        Local {
            live: Counters::starting_at(i64::MAX),
            own: Counters::starting_at(i64::MAX),
            published: Cell::new((0, 0)),
            current: Cell::new(ptr::null()),
            forwarded: Cell::new(false),
        }
    };
}

// A type with something to drop would register a destructor at first use, within the allocator.
const _: () = assert!(!std::mem::needs_drop::<Local>());

#[inline(always)]
pub(crate) fn count_allocation(size: usize) {
    LOCAL.with(|local| grow(&local.live, size as u64, size.cast_signed() as i64));
}

#[inline(always)]
pub(crate) fn count_release(size: usize) {
    LOCAL.with(|local| {
        let net = &local.live.net;
        net.set(net.get().wrapping_sub(size.cast_signed() as i64));
    });
}

#[inline(always)]
pub(crate) fn count_resize(from: usize, to: usize) {
    let more = (to.cast_signed() as i64).wrapping_sub(from.cast_signed() as i64);
    LOCAL.with(|local| grow(&local.live, to as u64, more));
}

#[inline(always)]
fn grow(counters: &Counters, allocated: u64, more: i64) {
    counters
        .allocated
        .set(counters.allocated.get().wrapping_add(allocated));
    counters
        .allocations
        .set(counters.allocations.get().wrapping_add(1));
    let net = counters.net.get().wrapping_add(more);
    counters.net.set(net);
    if net > counters.high.get() {
        counters.high.set(net);
    }
}

/// Leaves a sign that the meter is there, though it is switched off.
#[inline(always)]
pub(crate) fn note_forwarded() {
    LOCAL.with(|local| local.forwarded.set(true));
}

/// Whether the meter sees what `act` allocates, counted or not.
pub(crate) fn sees_allocation(act: impl FnOnce()) -> bool {
    LOCAL.with(|local| {
        let before = local.live.allocations.get();
        local.forwarded.set(false);
        act();
        local.forwarded.get() || local.live.allocations.get() != before
    })
}

/// The time during which a part's counters are the thread's.
pub(crate) struct Entered<'a> {
    part: &'a Part,
}

impl<'a> Entered<'a> {
    /// Callers have the part to themselves (`&mut`), and let go of the guard before they give it up.
    #[inline(always)]
    pub(crate) fn new(part: &'a Part) -> Self {
        LOCAL.with(|local| {
            if local.current.get().is_null() {
                local.live.copy_to(&local.own);
            } else {
                set_outer_aside(local, part);
            }
            part.counters.copy_to(&local.live);
            local.current.set(part);
        });
        Self { part }
    }
}

impl Drop for Entered<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        let part = self.part;
        LOCAL.with(|local| {
            local.live.copy_to(&part.counters);
            if part.is_nested.get() {
                return_to_outer(local, part);
            } else {
                local.own.copy_to(&local.live);
                local.current.set(ptr::null());
            }
        });
        part.polls.set(part.polls.get().wrapping_add(1));
    }
}

#[cold]
#[inline(never)]
fn set_outer_aside(local: &Local, part: &Part) {
    let outer = local.current.get();
    local.live.copy_to(place_of(local, outer));
    part.outer.store(outer.cast_mut(), Ordering::Relaxed);
    part.is_nested.set(true);
}

#[cold]
#[inline(never)]
fn return_to_outer(local: &Local, part: &Part) {
    let outer = part.outer.swap(ptr::null_mut(), Ordering::Relaxed).cast_const();
    part.is_nested.set(false);
    place_of(local, outer).copy_to(&local.live);
    local.current.set(outer);
}

/// Where the counters rest of whatever is not the innermost.
#[inline(always)]
fn place_of(local: &Local, part: *const Part) -> &Counters {
    // SAFETY: null, or a part that is entered on this thread. `Part::run` borrows it until it is left again, and an inner part
    // is left before an outer one.
    match unsafe { part.as_ref() } {
        Some(part) => &part.counters,
        None => &local.own,
    }
}

/// Looks at the innermost part that is entered on this thread. The callback can enter others only so that they are left when it ends.
#[inline(always)]
pub(crate) fn with_current<R>(look: impl FnOnce(Option<&Part>) -> R) -> R {
    LOCAL.with(|local| {
        // SAFETY: null, or a part that is entered on this thread and borrowed by `Part::run`, which is further up the stack. Parts
        // are changed through cells alone.
        look(unsafe { local.current.get().as_ref() })
    })
}

/// Calls back with each part that is entered on this thread, innermost first, and with what it has counted so far.
pub(crate) fn for_each_entered(mut see: impl FnMut(&Part, &Counters)) {
    LOCAL.with(|local| {
        let mut at = local.current.get();
        let mut counters = &local.live;
        // SAFETY: as in `with_current`; `outer` of a part that is entered is null or a part that is entered further out.
        while let Some(part) = unsafe { at.as_ref() } {
            see(part, counters);
            at = part.outer.load(Ordering::Relaxed).cast_const();
            counters = place_of(local, at);
        }
    });
}

/// What the thread has allocated and freed outside of all parts since this was answered last, if it is that many bytes.
pub(crate) fn take_unpublished(at_least: u64) -> Option<(u64, u64)> {
    LOCAL.with(|local| {
        let is_outside = local.current.get().is_null();
        let own = if is_outside { &local.live } else { &local.own };
        let (allocated, freed) = (own.allocated.get(), own.freed());
        let (allocated_before, freed_before) = local.published.get();
        let more = (
            allocated.wrapping_sub(allocated_before),
            freed.wrapping_sub(freed_before),
        );
        if more.0.max(more.1) < at_least {
            return None;
        }
        local.published.set((allocated, freed));
        Some(more)
    })
}
