//! What can be seen without the meter as this program's allocator: the allocators are called by hand.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use crate::*;

const ROUNDS: usize = if cfg!(miri) { 4 } else { 200 };

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

/// Allocates, resizes to `resized` and frees.
fn use_block(allocator: &impl GlobalAlloc, size: usize, align: usize, resized: usize) {
    // SAFETY: no size is zero.
    let block = unsafe { allocator.alloc(layout(size, align)) };
    assert!(!block.is_null() && block.addr() % align == 0);
    // SAFETY: the block has that many bytes.
    unsafe { block.write_bytes(0xA5, size) };
    // SAFETY: the block is the allocator's, of this layout; the new size is not zero.
    let block = unsafe { allocator.realloc(block, layout(size, align), resized) };
    assert!(!block.is_null() && block.addr() % align == 0);
    for at in 0..size.min(resized) {
        // SAFETY: within the block.
        let byte = unsafe { block.add(at) };
        // SAFETY: written before.
        let byte = unsafe { byte.read() };
        assert_eq!(byte, 0xA5);
    }
    // SAFETY: the block is the allocator's, of this layout.
    unsafe { allocator.dealloc(block, layout(resized, align)) };
}

/// Has nothing to give.
struct Exhausted;

// SAFETY: null is always allowed; nothing is ever freed, for nothing was given.
unsafe impl GlobalAlloc for Exhausted {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        ptr::null_mut()
    }
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
    unsafe fn realloc(&self, _: *mut u8, _: Layout, _: usize) -> *mut u8 {
        ptr::null_mut()
    }
}

#[test]
fn a_part_counts_what_runs_in_it_and_nothing_else() {
    let metered = Metered::new(System);
    let account = Account::new();
    use_block(&metered, 1_000, 8, 2_000);
    let mut part = account.part();
    part.run(|| use_block(&metered, 100, 8, 250));
    use_block(&metered, 1_000, 8, 2_000);
    part.run(|| use_block(&metered, 30, 1, 10));
    drop(part);
    let usage = account.usage();
    assert_eq!((usage.allocated, usage.freed, usage.net()), (390, 390, 0));
    assert_eq!((usage.peak, usage.peak_sum), (250, 250));
    assert_eq!((usage.allocations, usage.polls), (4, 2));
}

#[test]
fn a_refusal_is_passed_on_and_not_counted() {
    let account = Account::new();
    let mut part = account.part();
    part.run(|| {
        {
            let allocator = Metered::new(Exhausted);
            // SAFETY: the size is not zero.
            assert!(unsafe { allocator.alloc(layout(8, 8)) }.is_null());
            // SAFETY: the size is not zero.
            assert!(unsafe { allocator.alloc_zeroed(layout(8, 8)) }.is_null());
            let mut block = [0_u8; 8];
            // SAFETY: this allocator looks at no block.
            assert!(unsafe { allocator.realloc(block.as_mut_ptr(), layout(8, 1), 16) }.is_null());
        }
        let owned = Owned::new(Exhausted);
        // SAFETY: the size is not zero.
        assert!(unsafe { owned.alloc(layout(8, 8)) }.is_null());
    });
    drop(part);
    let usage = account.usage();
    assert_eq!(
        (usage.allocated, usage.freed, usage.allocations, usage.peak),
        (0, 0, 0, 0)
    );
}

#[test]
fn a_part_inside_of_another_counts_alone_and_the_outer_goes_on_where_it_was() {
    let metered = Metered::new(System);
    let (outer, inner) = (Account::new(), Account::new());
    let mut outer_part = outer.part();
    outer_part.run(|| {
        use_block(&metered, 10, 8, 20);
        let mut inner_part = inner.part();
        inner_part.run(|| {
            use_block(&metered, 500, 8, 100);
            assert_eq!(outer.usage().allocated, 30, "seen from within the inner one");
            assert_eq!(inner.usage().allocated, 600);
            assert!(current_account().is_some());
        });
        use_block(&metered, 1, 1, 2);
        assert_eq!(outer.usage().allocated, 33);
    });
    assert!(current_account().is_none());
    drop(outer_part);
    let (outer, inner) = (outer.usage(), inner.usage());
    assert_eq!((outer.allocated, outer.peak), (33, 20));
    assert_eq!((inner.allocated, inner.peak), (600, 500));
}

#[test]
fn a_panic_leaves_all_parts() {
    let metered = Metered::new(System);
    let account = Account::new();
    let mut part = account.part();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        part.run(|| {
            use_block(&metered, 10, 8, 20);
            Account::new().part().run(|| panic!("on purpose"))
        })
    }));
    assert!(panicked.is_err());
    assert!(current_account().is_none());
    use_block(&metered, 10, 8, 20);
    part.run(|| use_block(&metered, 1, 1, 1));
    drop(part);
    assert!(account.meter().is_closed());
    // What panicking allocates is this program's allocator's, which is not metered.
    assert_eq!(account.usage().allocated, 32);
}

#[test]
fn the_peaks_of_tasks_are_summed_and_the_first_ones_stays_its_own() {
    let metered = Metered::new(System);
    let account = Account::new();
    let mut first = account.part();
    let tasks: Vec<Part> = first.run(|| {
        use_block(&metered, 100, 8, 50);
        (0..3).map(|_| Part::of_current().unwrap()).collect()
    });
    drop(first);
    assert!(!account.meter().is_closed());
    for mut task in tasks {
        thread::spawn(move || task.run(|| use_block(&Metered::new(System), 1_000, 8, 1)))
            .join()
            .unwrap();
    }
    assert!(account.meter().is_closed());
    let usage = account.usage();
    assert_eq!((usage.peak, usage.peak_sum, usage.spawned), (100, 3_100, 3));
    assert_eq!(usage.allocated, 150 + 3 * 1_001);
}

#[test]
fn who_keeps_an_account_is_told_when_its_last_part_ends() {
    struct Kept {
        meter: Meter,
        closed: AtomicU32,
    }
    impl AccountOwner for Kept {
        fn meter(&self) -> &Meter {
            &self.meter
        }
        fn closed(&self) {
            assert!(current_account().is_none());
            self.closed.fetch_add(1, Ordering::Relaxed);
        }
    }
    let kept = Arc::new(Kept {
        meter: Meter::new(),
        closed: AtomicU32::new(0),
    });
    let account = Account::of(Arc::clone(&kept));
    let first = account.part();
    let second = account.part();
    drop(first);
    assert_eq!(kept.closed.load(Ordering::Relaxed), 0);
    drop(second);
    assert_eq!(kept.closed.load(Ordering::Relaxed), 1);
}

#[test]
fn memory_may_be_used_while_a_thread_ends() {
    struct AtEnd(Cell<Option<Part>>);
    impl Drop for AtEnd {
        fn drop(&mut self) {
            let mut part = self.0.take().unwrap();
            part.run(|| use_block(&Metered::new(System), 64, 8, 32));
        }
    }
    thread_local! {
        static AT_END: AtEnd = const { AtEnd(Cell::new(None)) };
    }
    let account = Account::new();
    let part = account.part();
    thread::spawn(move || AT_END.with(|at_end| at_end.0.set(Some(part))))
        .join()
        .unwrap();
    assert_eq!(account.usage().allocated, 96);
    assert!(account.meter().is_closed());
}

#[test]
fn a_thread_that_ends_by_a_panic_in_a_part_closes_the_account() {
    let account = Account::new();
    let mut part = account.part();
    let ended = thread::spawn(move || {
        part.run(|| {
            use_block(&Metered::new(System), 64, 8, 32);
            panic!("on purpose")
        })
    });
    assert!(ended.join().is_err());
    assert!(account.meter().is_closed());
    assert_eq!(account.usage().allocated, 96);
}

#[test]
fn purposes_have_sums_of_their_own() {
    let metered = Metered::new(System);
    let account = Account::new();
    let mut part = account.part();
    part.run(|| {
        charge_to(Purpose::Other("of this test"), || use_block(&metered, 7, 1, 70));
        charge_to(Purpose::Other("of this test"), || {
            assert!(current_account().is_none());
            assert!(Part::of_current().unwrap().account().is_none());
        });
    });
    drop(part);
    assert_eq!(account.usage().allocated, 0);
    let purposes = purposes();
    let of = |name| {
        purposes
            .iter()
            .find(|purpose| purpose.name == name)
            .unwrap()
            .usage
    };
    assert_eq!(of("of this test").allocated, 77);
    assert_eq!(of("cache").allocated, 0);
}

#[test]
fn owned_blocks_keep_their_alignment_and_their_content() {
    let owned = Owned::new(System);
    for align in [1, 2, 8, 64, 4_096] {
        for size in [1, 2, 3, 7, 8, 15, 64, 1_000, 4_096] {
            for resized in [1, 5, 64, 65, 5_000] {
                use_block(&owned, size, align, resized);
            }
        }
    }
    // SAFETY: the size is not zero.
    let zeroed = unsafe { owned.alloc_zeroed(layout(33, 16)) };
    // SAFETY: the block has that many bytes, all of them zero.
    let bytes = unsafe { std::slice::from_raw_parts(zeroed, 33) };
    assert_eq!(bytes, [0; 33]);
    // SAFETY: the block is the allocator's, of that layout.
    unsafe { owned.dealloc(zeroed, layout(33, 16)) };
}

#[test]
fn a_block_that_is_too_large_with_its_tag_is_refused() {
    let owned = Owned::new(System);
    let largest = layout(isize::MAX.cast_unsigned(), 1);
    // SAFETY: the size is not zero.
    assert!(unsafe { owned.alloc(largest) }.is_null());
    // SAFETY: the size is not zero.
    assert!(unsafe { owned.alloc_zeroed(largest) }.is_null());
    // SAFETY: the size is not zero.
    let block = unsafe { owned.alloc(layout(8, 8)) };
    for size in [isize::MAX.cast_unsigned() - 7, usize::MAX] {
        // SAFETY: the block is the allocator's. The sizes are more than allowed: what is tried is that they do no harm.
        assert!(unsafe { owned.realloc(block, layout(8, 8), size) }.is_null());
    }
    // SAFETY: the block is the allocator's, of that layout: it was never resized.
    unsafe { owned.dealloc(block, layout(8, 8)) };
}

#[test]
fn blocks_are_their_owners_whoever_frees_or_resizes_them() {
    struct Block(*mut u8);
    // SAFETY: a block may be freed on any thread.
    unsafe impl Send for Block {}

    let owned = Owned::new(System);
    let owner = Owner::new().unwrap();
    let mut part = Account::new().part();
    let block = part.run(|| {
        assert!(owner.own_current_part());
        // SAFETY: the size is not zero.
        Block(unsafe { owned.alloc(layout(100, 8)) })
    });
    assert_eq!(owner.live_bytes(), 100);
    let block = thread::spawn(move || {
        let block = block;
        let other = Owner::new().unwrap();
        let mut part = Account::new().part();
        part.run(|| {
            other.own_current_part();
            // SAFETY: the block is of that layout.
            let block = unsafe { Owned::new(System).realloc(block.0, layout(100, 8), 40) };
            assert_eq!(other.live_bytes(), 0);
            Block(block)
        })
    })
    .join()
    .unwrap();
    assert_eq!(owner.live_bytes(), 40);
    // SAFETY: the block is of that layout.
    unsafe { owned.dealloc(block.0, layout(40, 8)) };
    assert_eq!(owner.live_bytes(), 0);
}

#[test]
fn tasks_and_purposes_that_are_started_in_a_part_are_of_its_owner() {
    let owned = Owned::new(System);
    let owner = Owner::new().unwrap();
    let mut part = Account::new().part();
    let mut spawned = part.run(|| {
        owner.own_current_part();
        Part::of_current().unwrap()
    });
    drop(part);
    // SAFETY: the size is not zero.
    let one = spawned.run(|| unsafe { owned.alloc(layout(10, 1)) });
    let allocate = || {
        // SAFETY: the size is not zero.
        unsafe { owned.alloc(layout(20, 1)) }
    };
    let two = spawned.run(|| charge_to(Purpose::Other("owners"), allocate));
    assert_eq!(owner.live_bytes(), 30);
    for (block, size) in [(one, 10), (two, 20)] {
        // SAFETY: the block is of that layout.
        unsafe { owned.dealloc(block, layout(size, 1)) };
    }
    assert_eq!(owner.live_bytes(), 0);
    assert!(!owner.own_current_part(), "outside of all parts");
}

#[test]
fn threads_that_free_what_others_allocate_lose_no_byte() {
    struct Blocks(Vec<*mut u8>);
    // SAFETY: blocks may be freed on any thread.
    unsafe impl Send for Blocks {}

    let owner = Owner::new().unwrap();
    let (blocks, allocated): (Vec<Blocks>, Vec<Account>) = (0..8)
        .map(|_| {
            let owner = owner.clone();
            let account = Account::new();
            let mut part = account.part();
            let blocks = thread::spawn(move || {
                part.run(|| {
                    owner.own_current_part();
                    let owned = Metered::new(Owned::new(System));
                    // SAFETY: the size is not zero.
                    let allocate = |_| unsafe { owned.alloc(layout(24, 8)) };
                    Blocks((0..ROUNDS).map(allocate).collect())
                })
            });
            (blocks.join().unwrap(), account)
        })
        .unzip();
    assert_eq!(owner.live_bytes(), 8 * 24 * ROUNDS as u64);
    let freeing = blocks.into_iter().map(|blocks| {
        thread::spawn(move || {
            let blocks = blocks;
            for block in blocks.0 {
                // SAFETY: the block is of that layout.
                unsafe { Metered::new(Owned::new(System)).dealloc(block, layout(24, 8)) };
            }
        })
    });
    freeing.for_each(|thread| thread.join().unwrap());
    assert_eq!(owner.live_bytes(), 0);
    for account in allocated {
        assert_eq!(account.usage().allocated, 24 * ROUNDS as u64);
    }
}

#[test]
fn without_the_meter_nothing_says_that_it_is_there() {
    assert!(!is_installed());
    assert!(!are_owners_kept());
}
