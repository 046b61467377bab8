//! All numbers of a scope, read before a load that says only afterwards what its value depends on.

use super::{
    super::shared::{Cell, Level},
    Stamp,
};

/// The numbers of all cells at one moment. A stamp of it is what [`stamp`](super::ScopeVersions::stamp) would have given then,
/// whatever was flushed since.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// Of the cells that were ever raised, by cell.
    levels: Vec<Level>,
}

impl Snapshot {
    /// `levels` ascend by cell.
    pub(super) fn of(levels: Vec<Level>) -> Self {
        Self { levels }
    }

    pub(crate) fn stamp(&self, slots: &[u16]) -> Stamp {
        Stamp::read(self.number_of(Cell::Base), slots, |slot| {
            self.number_of(Cell::Slot(slot))
        })
    }

    fn number_of(&self, cell: Cell) -> u64 {
        let place = self.levels.binary_search_by_key(&cell, |level| level.cell);
        place.map_or(0, |place| self.levels[place].any)
    }
}
