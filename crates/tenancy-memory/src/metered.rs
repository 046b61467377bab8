//! The allocator that counts, and its switch.

use std::{
    alloc::{GlobalAlloc, Layout},
    hint::black_box,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::counters;

static IS_OFF: AtomicBool = AtomicBool::new(false);

/// Switches counting on or off, in the whole process, at any time. Default: on.
///
/// Off, an allocation costs one look at the switch. What happens meanwhile is in no account: figures of accounts that were open at
/// that time are wrong, below zero even.
pub fn switch(on: bool) {
    IS_OFF.store(!on, Ordering::Relaxed);
}

/// Whether allocations are counted, if the meter is installed.
#[inline(always)]
pub fn is_on() -> bool {
    !IS_OFF.load(Ordering::Relaxed)
}

/// Whether [`Metered`] is this program's allocator. Tries it out the first time: makes an allocation and sees whether the counters have
/// moved.
pub fn is_installed() -> bool {
    static IS_INSTALLED: OnceLock<bool> = OnceLock::new();
    *IS_INSTALLED.get_or_init(|| counters::sees_allocation(|| drop(black_box(Box::new(0_u8)))))
}

/// Counts what passes through an allocator.
///
/// Make it the program's: `#[global_allocator] static ALLOCATOR: Metered<System> = Metered::new(System);`. A library must not: the
/// choice is the application's.
///
/// It asks the inner allocator for exactly what it was asked for, by the same method. A refusal (null) is passed on and not counted.
#[derive(Debug, Default)]
pub struct Metered<A> {
    inner: A,
}

impl<A> Metered<A> {
    /// Around this allocator.
    pub const fn new(inner: A) -> Self {
        Self { inner }
    }

    /// The allocator inside.
    pub const fn inner(&self) -> &A {
        &self.inner
    }
}

// SAFETY: each method calls the inner allocator's method of that name once, with the arguments that it got, and returns what that
// returns. Counting touches cells of the thread alone: it does not allocate, unwind or call anybody.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Metered<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !is_on() {
            counters::note_forwarded();
            // SAFETY: the caller keeps the contract of this method, which is the inner one's.
            return unsafe { self.inner.alloc(layout) };
        }
        // SAFETY: as above.
        let block = unsafe { self.inner.alloc(layout) };
        if !block.is_null() {
            counters::count_allocation(layout.size());
        }
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_on() {
            counters::count_release(layout.size());
        }
        // SAFETY: the caller's block is the inner allocator's: this one changes none.
        unsafe { self.inner.dealloc(block, layout) };
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !is_on() {
            counters::note_forwarded();
            // SAFETY: the caller keeps the contract of this method, which is the inner one's.
            return unsafe { self.inner.alloc_zeroed(layout) };
        }
        // SAFETY: as above.
        let block = unsafe { self.inner.alloc_zeroed(layout) };
        if !block.is_null() {
            counters::count_allocation(layout.size());
        }
        block
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !is_on() {
            // SAFETY: the caller keeps the contract of this method, and the block is the inner allocator's.
            return unsafe { self.inner.realloc(block, layout, new_size) };
        }
        // SAFETY: as above.
        let moved = unsafe { self.inner.realloc(block, layout, new_size) };
        if !moved.is_null() {
            counters::count_resize(layout.size(), new_size);
        }
        moved
    }
}
