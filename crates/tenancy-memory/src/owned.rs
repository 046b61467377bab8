//! An allocator that writes into each block whose it is.

use std::{
    alloc::{GlobalAlloc, Layout},
    fmt,
    hint::black_box,
    ptr,
    sync::{
        OnceLock,
        atomic::{AtomicI64, AtomicU32, AtomicUsize, Ordering},
    },
};

use crate::{account::Account, counters::with_current};

/// How many owners there can be at one time, with those that are gone and have left blocks behind.
pub const OWNERS: usize = 4_095;

/// What a block ends with: a place in the table. 0 is nobody.
type Tag = u16;

const NOBODY: Tag = 0;
const TAG_SIZE: usize = size_of::<Tag>();
const PLACES: usize = OWNERS + 1;

const _: () = assert!(PLACES <= Tag::MAX as usize);

/// In a cache line of its own: two owners' threads do not slow each other down.
#[derive(Debug)]
#[repr(align(64))]
struct Place {
    /// How many [`Owner`]s, with those that parts hold. A block is given the tag only while there is one.
    handles: AtomicU32,
    /// Bytes of blocks that have the tag.
    live: AtomicI64,
}

/// Never given back to the system: a block that names a place may be freed at any later time.
static TABLE: [Place; PLACES] = [const {
    Place {
        handles: AtomicU32::new(0),
        live: AtomicI64::new(0),
    }
}; PLACES];

fn place(tag: Tag) -> &'static Place {
    TABLE.get(usize::from(tag)).unwrap_or(&TABLE[0])
}

/// Somebody to whom blocks belong: a tenant. Clones are the same one.
///
/// A place of an owner that is gone is given to another only when all of its blocks are freed, so that no block is ever counted for
/// the wrong one.
pub struct Owner {
    tag: Tag,
}

impl Owner {
    /// A new one. `None` if all [`OWNERS`] places are taken.
    ///
    /// Looks through the table from where it has last found a place: up to 4,095 steps where it is full. Allocates nothing.
    pub fn new() -> Option<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let from = NEXT.load(Ordering::Relaxed);
        (0..OWNERS).find_map(|step| {
            let at = (from + step) % OWNERS + 1;
            let owner = Self::claim(Tag::try_from(at).ok()?)?;
            NEXT.store(at, Ordering::Relaxed);
            Some(owner)
        })
    }

    fn claim(tag: Tag) -> Option<Self> {
        let place = place(tag);
        if place.live.load(Ordering::Acquire) != 0 {
            return None;
        }
        place
            .handles
            .compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed)
            .ok()?;
        let owner = Self { tag };
        // Another one may have had the place, and left blocks, between the two looks. From here on nobody else can add any.
        (place.live.load(Ordering::Acquire) == 0).then_some(owner)
    }

    /// Bytes of all blocks that were allocated in a part of this owner and not freed yet. Exact where [`are_owners_kept`]; 0 elsewhere.
    ///
    /// Asked for on another thread than those that allocate, it is what was true a moment ago.
    pub fn live_bytes(&self) -> u64 {
        u64::try_from(place(self.tag).live.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Makes what the innermost part that is entered on this thread allocates from now on this owner's, until the part ends.
    /// False outside of all parts.
    pub fn own_current_part(&self) -> bool {
        with_current(|part| part.is_some_and(|part| part.set_owner(Some(self.clone()))))
    }

    pub(crate) fn tag(&self) -> Tag {
        self.tag
    }
}

impl Clone for Owner {
    fn clone(&self) -> Self {
        place(self.tag).handles.fetch_add(1, Ordering::Relaxed);
        Self { tag: self.tag }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // What was allocated for it is seen by whoever claims the place next.
        place(self.tag).handles.fetch_sub(1, Ordering::Release);
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owner")
            .field("live_bytes", &self.live_bytes())
            .finish_non_exhaustive()
    }
}

/// Whether [`Owned`] is a part of this program's allocator. Tries it out the first time; false while all [`OWNERS`] places are taken before that.
pub fn are_owners_kept() -> bool {
    static ARE_KEPT: OnceLock<bool> = OnceLock::new();
    if let Some(are_kept) = ARE_KEPT.get() {
        return *are_kept;
    }
    // Without a place it can not be tried out, and is tried again.
    let Some(owner) = Owner::new() else { return false };
    *ARE_KEPT.get_or_init(|| tries_out(&owner))
}

fn tries_out(owner: &Owner) -> bool {
    let mut part = Account::new().part();
    part.run(|| {
        owner.own_current_part();
        let block = black_box(Box::new(0_u8));
        let is_kept = owner.live_bytes() > 0;
        drop(block);
        is_kept
    })
}

/// Writes into each block whose it is, so that a release is counted for who had it allocated, on whatever thread and in whatever part.
///
/// Put it inside of the meter: `Metered<Owned<System>>`. Each block is larger by two bytes, which moves those of a power of two into
/// the next size class. It can not be switched off: a block has a tag or has none from its beginning to its end.
#[derive(Debug, Default)]
pub struct Owned<A> {
    inner: A,
}

impl<A> Owned<A> {
    /// Around this allocator.
    pub const fn new(inner: A) -> Self {
        Self { inner }
    }

    /// The allocator inside.
    pub const fn inner(&self) -> &A {
        &self.inner
    }
}

/// The block that is really asked for. `None` if no allocator may be asked for one of that size.
fn with_tag(layout: Layout) -> Option<Layout> {
    let size = layout.size().checked_add(TAG_SIZE)?;
    Layout::from_size_align(size, layout.align()).ok()
}

fn current_tag() -> Tag {
    with_current(|part| part.map_or(NOBODY, |part| part.tag()))
}

fn count(tag: Tag, bytes: usize) {
    if tag != NOBODY {
        place(tag)
            .live
            .fetch_add(bytes.cast_signed() as i64, Ordering::Relaxed);
    }
}

/// In one step: between two the place would look as if it had no blocks, and be given to another owner.
fn recount(tag: Tag, old_bytes: usize, new_bytes: usize) {
    if tag != NOBODY {
        let more = (new_bytes.cast_signed() as i64).wrapping_sub(old_bytes.cast_signed() as i64);
        place(tag).live.fetch_add(more, Ordering::Relaxed);
    }
}

fn discount(tag: Tag, bytes: usize) {
    if tag != NOBODY {
        // Release: whoever finds the place without blocks finds all that was done with them done.
        place(tag)
            .live
            .fetch_sub(bytes.cast_signed() as i64, Ordering::Release);
    }
}

/// Puts the tag right behind what the caller uses.
///
/// # Safety
/// `block` is valid for writes of `size` + [`TAG_SIZE`] bytes.
unsafe fn write_tag(block: *mut u8, size: usize, tag: Tag) {
    // SAFETY: within the block, or at its end, by the caller's word.
    let place = unsafe { block.add(size) };
    // SAFETY: `TAG_SIZE` bytes are there; no alignment is asked for.
    unsafe { place.cast::<Tag>().write_unaligned(tag) };
}

/// The tag stands behind the caller's layout and is read through the caller's pointer. Where that was derived from a reference to the value, as
/// a `Box`'s is, Stacked Borrows does not grant it those bytes: this is not clean under Miri as a program's allocator. The allocator's own rules allow it:
/// the block is the allocator's, and larger.
///
/// # Safety
/// `block` is one to which [`write_tag`] was done with the same `size`.
unsafe fn read_tag(block: *const u8, size: usize) -> Tag {
    // SAFETY: as in `write_tag`.
    let place = unsafe { block.add(size) };
    // SAFETY: it was written there, and is not a part of what callers may write to.
    unsafe { place.cast::<Tag>().read_unaligned() }
}

impl<A> Owned<A> {
    /// # Safety
    /// `block` is null, or valid for writes of the layout's size and [`TAG_SIZE`] more.
    unsafe fn begin(block: *mut u8, size: usize) -> *mut u8 {
        if !block.is_null() {
            let tag = current_tag();
            // SAFETY: not null, so as large as the caller says.
            unsafe { write_tag(block, size, tag) };
            count(tag, size);
        }
        block
    }
}

// SAFETY: blocks are the inner allocator's, of the same alignment and `TAG_SIZE` bytes more than was asked for, by the same arithmetic in all
// four methods; the additional bytes are behind those that callers may touch. No method allocates, unwinds or calls anybody but the inner
// allocator.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Owned<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(larger) = with_tag(layout) else {
            return ptr::null_mut();
        };
        // SAFETY: the size is not zero: the caller's is not, and this one is larger.
        let block = unsafe { self.inner.alloc(larger) };
        // SAFETY: null or a new block of the larger layout.
        unsafe { Self::begin(block, layout.size()) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(larger) = with_tag(layout) else {
            return ptr::null_mut();
        };
        // SAFETY: as in `alloc`.
        let block = unsafe { self.inner.alloc_zeroed(larger) };
        // SAFETY: null or a new block of the larger layout.
        unsafe { Self::begin(block, layout.size()) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's block has this layout, so its tag is behind that many bytes.
        let tag = unsafe { read_tag(block, layout.size()) };
        discount(tag, layout.size());
        // SAFETY: the sum was valid when the block was allocated with it, so it is now.
        let larger = unsafe {
            Layout::from_size_align_unchecked(layout.size().wrapping_add(TAG_SIZE), layout.align())
        };
        // SAFETY: the block is the inner allocator's, of that layout.
        unsafe { self.inner.dealloc(block, larger) };
    }

    /// The block stays its owner's, whoever resizes it.
    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let (Some(larger), Some(new_larger_size)) = (with_tag(layout), new_size.checked_add(TAG_SIZE)) else {
            return ptr::null_mut();
        };
        if Layout::from_size_align(new_larger_size, layout.align()).is_err() {
            return ptr::null_mut();
        }
        // SAFETY: as in `dealloc`. Read before the block is resized: its end may be gone afterwards.
        let tag = unsafe { read_tag(block, layout.size()) };
        // SAFETY: the block is the inner allocator's, of that layout; the new size is not zero and was checked.
        let moved = unsafe { self.inner.realloc(block, larger, new_larger_size) };
        if !moved.is_null() {
            // SAFETY: the block has `TAG_SIZE` bytes behind `new_size` now.
            unsafe { write_tag(moved, new_size, tag) };
            recount(tag, layout.size(), new_size);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::AtomicBool,
        thread::{scope, yield_now},
    };

    use super::*;

    const TRIES: usize = if cfg!(miri) { 50 } else { 300_000 };

    #[test]
    fn a_place_is_not_given_away_while_its_last_block_is_resized() {
        let owner = Owner::new().unwrap();
        let tag = owner.tag();
        count(tag, 10);
        drop(owner);
        let (has_begun, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
        let given_away = scope(|threads| {
            threads.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    recount(tag, 10, 20);
                    recount(tag, 20, 10);
                    has_begun.store(true, Ordering::Relaxed);
                }
            });
            while !has_begun.load(Ordering::Relaxed) {
                yield_now();
            }
            let given_away = (0..TRIES).any(|_| Owner::claim(tag).is_some());
            is_over.store(true, Ordering::Relaxed);
            given_away
        });
        discount(tag, 10);
        assert!(!given_away);
    }
}
