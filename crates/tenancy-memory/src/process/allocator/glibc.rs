use std::hint::black_box;

use super::HeapStatistics;

/// So much comes from the arenas, and not from a mapping of its own.
const PROBE: usize = 48 * 1024;

fn book() -> libc::mallinfo2 {
    // SAFETY: takes nothing, locks each arena in turn, and returns numbers.
    unsafe { libc::mallinfo2() }
}

/// Over all arenas: blocks that were handed out, those of thread caches too, and those with mappings of their own.
pub(super) fn statistics() -> HeapStatistics {
    let book = book();
    let bytes = |count: usize| u64::try_from(count).ok();
    HeapStatistics {
        allocated: bytes(book.uordblks.saturating_add(book.hblkhd)).into(),
        mapped: bytes(book.arena.saturating_add(book.hblkhd)).into(),
        ..HeapStatistics::default()
    }
}

/// Other threads allocate meanwhile; that they free exactly as much, three times, is unlikely.
pub(super) fn is_in_use() -> bool {
    (0..3).any(|_| {
        let before = book().uordblks;
        let block = black_box(vec![0_u8; PROBE]);
        let with = book().uordblks;
        drop(block);
        with >= before.saturating_add(PROBE / 2)
    })
}

pub(super) fn purge() -> bool {
    // SAFETY: may be called by any thread at any time; takes no pointer.
    unsafe { libc::malloc_trim(0) };
    true
}
