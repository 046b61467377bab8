use std::{hint::black_box, ptr};

use tikv_jemalloc_ctl::{Result, epoch, stats, thread};

use super::HeapStatistics;
use crate::process::Reading;

/// Statistics stand still until the next epoch, which costs some microseconds for each arena.
pub(super) fn statistics() -> HeapStatistics {
    if epoch::advance().is_err() {
        return HeapStatistics::default();
    }
    HeapStatistics {
        allocated: reading(stats::allocated::read()),
        active: reading(stats::active::read()),
        resident: reading(stats::resident::read()),
        mapped: reading(stats::mapped::read()),
        retained: reading(stats::retained::read()),
    }
}

fn reading(bytes: Result<usize>) -> Reading {
    bytes.ok().and_then(|bytes| u64::try_from(bytes).ok()).into()
}

/// Whether an allocation of this thread is in jemalloc's book. It may be linked and serve nobody.
pub(super) fn is_in_use() -> bool {
    let Ok(allocated) = thread::allocatedp::read() else {
        return false;
    };
    let before = allocated.get();
    drop(black_box(Box::new([0_u8; 256])));
    allocated.get() > before
}

/// `arena.4096.purge`: 4096 stands for all arenas. A control without a value has no safe wrapper.
pub(super) fn purge() -> bool {
    let name = c"arena.4096.purge";
    // SAFETY: the name ends with a zero byte and outlives the call. The control neither reads nor writes a value, and takes
    // null for both, with a length of zero.
    let code = unsafe {
        tikv_jemalloc_sys::mallctl(
            name.as_ptr(),
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            0,
        )
    };
    code == 0
}
