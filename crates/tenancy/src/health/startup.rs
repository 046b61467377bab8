//! What must be done before the process takes requests.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// A step of the start, such as migrations. Clones are the same step.
///
/// One that is dropped undone keeps the process from ever being ready: fail closed.
#[derive(Clone)]
pub struct StartupStep {
    name: Arc<str>,
    is_done: Arc<AtomicBool>,
}

impl StartupStep {
    /// A step that is to be done. Its name is `[a-z0-9_-]{1,48}` and no other step's.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            is_done: Arc::default(),
        }
    }

    /// It is done, for good.
    pub fn done(&self) {
        if !self.is_done.swap(true, Ordering::AcqRel) {
            tracing::info!(step = %self.name, "a step of the start is done");
        }
    }

    /// Whether it is done.
    pub fn is_done(&self) -> bool {
        self.is_done.load(Ordering::Acquire)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for StartupStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartupStep")
            .field("name", &self.name)
            .field("is_done", &self.is_done())
            .finish()
    }
}
