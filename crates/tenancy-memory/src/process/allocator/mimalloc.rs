use std::{hint::black_box, ptr};

use libmimalloc_sys::{mi_collect, mi_is_in_heap_region, mi_process_info};

use super::HeapStatistics;
use crate::process::Reading;

/// What is live it counts only where it was built to (`MI_STAT`), which nobody does in release builds.
pub(super) fn statistics() -> HeapStatistics {
    let mut committed = 0_usize;
    let null = ptr::null_mut;
    // SAFETY: each pointer may be null and is then left out; the one that is not points to a number that is ours until the
    // call returns.
    unsafe {
        mi_process_info(
            null(),
            null(),
            null(),
            null(),
            null(),
            &raw mut committed,
            null(),
            null(),
        );
    }
    let committed = u64::try_from(committed).ok().filter(|bytes| *bytes > 0);
    HeapStatistics {
        active: Reading::from(committed),
        ..HeapStatistics::default()
    }
}

pub(super) fn is_in_use() -> bool {
    let block = black_box(Box::new([0_u8; 256]));
    // SAFETY: takes any pointer, and only compares it with the regions that are mimalloc's.
    unsafe { mi_is_in_heap_region(ptr::from_ref(&*block).cast()) }
}

pub(super) fn purge() -> bool {
    // SAFETY: may be called by any thread at any time; takes no pointer.
    unsafe { mi_collect(true) };
    true
}
