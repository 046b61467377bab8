//! The tasks of one cache: they end with it, or with the runtime that they were started on.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::task::AbortHandle;

#[derive(Default)]
pub(super) struct Tasks {
    are_running: Arc<AtomicBool>,
    handles: Mutex<Vec<AbortHandle>>,
}

/// For as long as the tasks run; dropped with the one that has it.
pub(super) struct Running(Arc<AtomicBool>);

impl Tasks {
    #[inline]
    pub(super) fn are_running(&self) -> bool {
        self.are_running.load(Ordering::Relaxed)
    }

    /// Given to the caller who is to start them.
    pub(super) fn begin(&self) -> Option<Running> {
        let is_first = !self.are_running.swap(true, Ordering::AcqRel);
        is_first.then(|| Running(Arc::clone(&self.are_running)))
    }

    pub(super) fn add(&self, task: AbortHandle) {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.retain(|task| !task.is_finished());
        handles.push(task);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Drop for Tasks {
    /// Not by themselves: one waits for messages, which may never come.
    fn drop(&mut self) {
        let handles = self.handles.get_mut().unwrap_or_else(PoisonError::into_inner);
        for task in handles {
            task.abort();
        }
    }
}
