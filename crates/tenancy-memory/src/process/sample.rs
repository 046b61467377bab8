use serde::{Deserialize, Serialize};

use super::{Allocator, Growth, HeapStatistics, Reading, system};

/// What a process uses, at one moment. All in bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProcessMemory {
    /// When, in milliseconds since 1970-01-01 UTC.
    pub taken_at_ms: u64,
    /// Whose book `heap` is.
    pub allocator: Allocator,
    /// What the allocator says of itself.
    pub heap: HeapStatistics,
    /// What is in memory, of everything: heap, stacks, C libraries, the program itself (`VmRSS`).
    pub resident: Reading,
    /// The most that ever was (`VmHWM`).
    pub peak: Reading,
    /// What the process may use together with others of its control group, and what they use.
    pub control_group: ControlGroup,
    /// Resident beyond what is live: what a purge could give back at the most, and what no purge can.
    pub beyond_live: Reading,
    /// Resident beyond what the allocator has in memory: stacks, C libraries, mapped files, the program. No request is
    /// charged for it.
    pub unattributed: Reading,
    /// Requests that were counted so far.
    pub requests: u64,
    /// Whether the live heap grows with them.
    pub growth: Growth,
}

/// Memory of a control group, of version 2 or 1: that of the container, mostly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ControlGroup {
    /// The lowest limit from here up.
    pub limit: Reading,
    /// What the group uses, files that are cached in memory included.
    pub current: Reading,
}

impl ProcessMemory {
    /// Reads everything now: two to four small files of the kernel and the allocator's statistics. Blocks for some ten
    /// microseconds, and glibc's statistics lock each of its arenas in turn.
    ///
    /// Has no requests and no growth; a [`MemorySampler`](super::MemorySampler) adds them. `taken_at_ms` is 0.
    pub fn read(allocator: Allocator) -> Self {
        let heap = allocator.statistics();
        let system::Resident { resident, peak } = system::resident();
        let in_allocator = heap.resident;
        Self {
            taken_at_ms: 0,
            allocator,
            heap,
            resident,
            peak,
            control_group: system::control_group(),
            beyond_live: resident.beyond(heap.allocated),
            unattributed: resident.beyond(in_allocator),
            requests: 0,
            growth: Growth::default(),
        }
    }
}
