//! The meter against a log of every call that reaches the allocator inside of it, to the byte.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::{Cell, RefCell},
    hint::black_box,
    thread,
};

use tenancy_memory::{
    Account, Metered, Owner, Part, Purpose, Usage, are_owners_kept, charge_to, is_installed, is_on,
    process_totals,
};

/// Writes down what it is asked for, on each thread for itself.
struct Logged;

#[derive(Clone, Copy)]
enum Call {
    Allocated(usize),
    Freed(usize),
    Resized(usize, usize),
}

thread_local! {
    static LOG: RefCell<Vec<Call>> = const { RefCell::new(Vec::new()) };
    static IS_LOGGING: Cell<bool> = const { Cell::new(false) };
}

fn log(call: Call) {
    // There is room already: what logs must not allocate.
    if IS_LOGGING.get() {
        LOG.with_borrow_mut(|log| {
            assert!(log.len() < log.capacity(), "the log is full");
            log.push(call);
        });
    }
}

// SAFETY: each method is the system's, with the same arguments.
unsafe impl GlobalAlloc for Logged {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        log(Call::Allocated(layout.size()));
        // SAFETY: by the caller's word.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        log(Call::Freed(layout.size()));
        // SAFETY: by the caller's word.
        unsafe { System.dealloc(block, layout) };
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        log(Call::Allocated(layout.size()));
        // SAFETY: by the caller's word.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        log(Call::Resized(layout.size(), new_size));
        // SAFETY: by the caller's word.
        unsafe { System.realloc(block, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Metered<Logged> = Metered::new(Logged);

/// The same sums, from the log.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sums {
    allocated: u64,
    freed: u64,
    allocations: u64,
    net: i64,
    peak: u64,
}

impl Sums {
    fn count(&mut self, calls: &[Call]) {
        for call in calls {
            let (freed, allocated) = match *call {
                Call::Allocated(size) => (0, size),
                Call::Freed(size) => (size, 0),
                Call::Resized(from, to) => (from, to),
            };
            self.allocated += allocated as u64;
            self.freed += freed as u64;
            self.allocations += u64::from(allocated > 0);
            self.net += allocated as i64 - freed as i64;
            self.peak = self.peak.max(self.net.try_into().unwrap_or(0));
        }
    }
}

fn sums_of(usage: Usage) -> Sums {
    Sums {
        allocated: usage.allocated,
        freed: usage.freed,
        allocations: usage.allocations,
        net: usage.net(),
        peak: usage.peak_sum,
    }
}

/// Runs something in a part, and counts its log.
fn run_logged<R>(part: &mut Part, sums: &mut Sums, run: impl FnOnce() -> R) -> R {
    LOG.with_borrow_mut(|log| log.reserve(10_000));
    let result = part.run(|| {
        IS_LOGGING.set(true);
        let result = run();
        IS_LOGGING.set(false);
        result
    });
    LOG.with_borrow_mut(|log| {
        sums.count(log);
        log.clear();
    });
    result
}

/// Different for each seed: growing, shrinking, zeroed, aligned, kept and freed blocks.
fn work(seed: usize) -> Vec<Vec<u8>> {
    let mut kept = Vec::new();
    for round in 0..50 {
        let size = (seed * 7_919 + round * 131) % 3_000 + 1;
        let mut block = vec![0_u8; size];
        block.extend_from_slice(&vec![1; round]);
        block.truncate(size / 2 + 1);
        block.shrink_to_fit();
        if (seed + round).is_multiple_of(3) {
            kept.push(black_box(block));
        }
        drop(black_box(Box::new(Aligned([0; 128]))));
        drop(black_box(format!("{seed} {round} {size}")));
    }
    kept
}

#[repr(align(64))]
#[allow(dead_code, reason = "there for its size and alignment")]
struct Aligned([u8; 128]);

#[test]
fn a_task_that_is_polled_often_is_exact() {
    assert!(is_installed() && is_on());
    let account = Account::new();
    let (mut part, mut sums) = (account.part(), Sums::default());
    let mut kept = Vec::new();
    for seed in 0..20 {
        kept.push(run_logged(&mut part, &mut sums, || work(seed)));
        // What runs between two polls is not the account's.
        drop(work(seed + 1));
    }
    run_logged(&mut part, &mut sums, || kept.truncate(10));
    drop(kept);
    drop(part);
    assert_eq!(sums_of(account.usage()), sums);
    assert!(sums.net > 0 && sums.peak >= sums.net.cast_unsigned());
}

#[test]
fn a_stream_whose_frames_are_freed_elsewhere_is_exact() {
    let account = Account::new();
    let (mut part, mut sums) = (account.part(), Sums::default());
    let mut escaped = 0;
    for frame in 0..50 {
        let frame = run_logged(&mut part, &mut sums, || vec![7_u8; 100 + frame]);
        escaped += frame.len() as u64;
        drop(frame);
    }
    account.meter().add_escaped(escaped);
    drop(part);
    let usage = account.usage();
    assert_eq!(sums_of(usage), sums);
    assert_eq!((usage.net(), usage.retained()), (escaped.cast_signed(), 0));
}

#[test]
fn what_others_allocated_and_a_part_frees_makes_its_net_negative() {
    let others = work(3);
    let account = Account::new();
    let (mut part, mut sums) = (account.part(), Sums::default());
    run_logged(&mut part, &mut sums, || drop(others));
    drop(part);
    let usage = account.usage();
    assert_eq!(sums_of(usage), sums);
    assert!(usage.net() < 0 && usage.peak == 0);
}

#[test]
fn tasks_on_eight_threads_are_exact() {
    let account = Account::new();
    let mut first = account.part();
    let carried: Vec<Part> = first.run(|| (0..8).map(|_| Part::of_current().unwrap()).collect());
    let mut expected = Sums::default();
    // What carrying itself has allocated, which no log has.
    let carrying = {
        drop(first);
        account.usage()
    };
    let threads: Vec<_> = carried
        .into_iter()
        .enumerate()
        .map(|(seed, mut part)| {
            thread::spawn(move || {
                let mut sums = Sums::default();
                for round in 0..10 {
                    drop(run_logged(&mut part, &mut sums, || work(seed * 31 + round)));
                }
                sums
            })
        })
        .collect();
    for thread in threads {
        let sums = thread.join().unwrap();
        expected.allocated += sums.allocated;
        expected.freed += sums.freed;
        expected.allocations += sums.allocations;
        expected.net += sums.net;
        expected.peak += sums.peak;
    }
    let usage = account.usage();
    assert_eq!(usage.allocated - carrying.allocated, expected.allocated);
    assert_eq!(usage.freed - carrying.freed, expected.freed);
    assert_eq!(usage.allocations - carrying.allocations, expected.allocations);
    assert_eq!(usage.peak_sum - carrying.peak_sum, expected.peak);
    assert_eq!((usage.spawned, usage.polls), (8, 81));
}

#[test]
fn nested_parts_are_exact_each_for_itself() {
    let (outer, inner) = (Account::new(), Account::new());
    let (mut outer_part, mut inner_part) = (outer.part(), inner.part());
    let (mut outer_sums, mut inner_sums) = (Sums::default(), Sums::default());
    for seed in 0..10 {
        let first = run_logged(&mut outer_part, &mut outer_sums, || work(seed));
        // Entered within the outer one, which is not logged around it.
        outer_part.run(|| {
            let kept = run_logged(&mut inner_part, &mut inner_sums, || work(seed + 5));
            charge_to(Purpose::Cache, || drop(work(seed)));
            run_logged(&mut inner_part, &mut inner_sums, || drop(kept));
        });
        run_logged(&mut outer_part, &mut outer_sums, || drop(first));
    }
    drop((outer_part, inner_part));
    assert_eq!(sums_of(inner.usage()), inner_sums);
    assert_eq!(sums_of(outer.usage()), outer_sums);
}

#[test]
fn what_is_in_no_part_is_told_as_unattributed() {
    let attributed = || process_totals().attributed.allocated;
    let (before, attributed_before) = (process_totals(), attributed());
    drop(black_box(vec![0_u8; 100_000]));
    let after = process_totals();
    assert!(after.unattributed.allocated >= before.unattributed.allocated + 100_000);
    assert!(after.unattributed.freed >= before.unattributed.freed + 100_000);
    let mut part = Account::new().part();
    part.run(|| drop(black_box(vec![0_u8; 100_000])));
    drop(part);
    assert!(attributed() >= attributed_before + 100_000);
}

#[test]
fn tags_are_not_here_and_say_so() {
    assert!(!are_owners_kept());
    let owner = Owner::new().unwrap();
    let mut part = Account::new().part();
    part.run(|| {
        assert!(owner.own_current_part());
        drop(work(1));
    });
    assert_eq!(owner.live_bytes(), 0);
}
