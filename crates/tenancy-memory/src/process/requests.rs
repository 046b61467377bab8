use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// How many requests there have been. A handle; clones count together.
#[derive(Clone)]
pub struct RequestCount(Source);

#[derive(Clone)]
enum Source {
    Own(Arc<AtomicU64>),
    Asked(Arc<dyn Fn() -> u64 + Send + Sync>),
}

impl RequestCount {
    /// None yet; [`add_one`](Self::add_one) counts.
    pub fn new() -> Self {
        Self(Source::Own(Arc::default()))
    }

    /// Asks whoever counts already, on the threads of sampler and purger. It must not block for long.
    pub fn asked(count: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Source::Asked(Arc::new(count)))
    }

    /// Counts a request: one addition to a number that all threads share. Does nothing where another one counts.
    pub fn add_one(&self) {
        if let Source::Own(count) = &self.0 {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many there have been.
    pub fn get(&self) -> u64 {
        match &self.0 {
            Source::Own(count) => count.load(Ordering::Relaxed),
            Source::Asked(count) => count(),
        }
    }
}

impl Default for RequestCount {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RequestCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestCount").field(&self.get()).finish()
    }
}
