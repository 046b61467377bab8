//! One purge at a time, from when it is asked for until it is done.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Whose turn it is. Clones are of the same purger.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns {
    is_taken: Arc<AtomicBool>,
}

/// Given back when it is dropped, so that one which got lost on its way keeps nobody waiting.
#[derive(Debug)]
pub(super) struct Turn(Turns);

impl Turns {
    /// `None` while somebody else has it.
    pub(super) fn take(&self) -> Option<Turn> {
        let was_taken = self.is_taken.swap(true, Ordering::AcqRel);
        (!was_taken).then(|| Turn(self.clone()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.is_taken.store(false, Ordering::Release);
    }
}
