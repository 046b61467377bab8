use std::{
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tenancy_core::{Clock, SystemClock};

use super::{Allocator, GrowthMeter, ProcessMemory, RequestCount};

/// Looks at the memory of this process every ten seconds, on a thread of its own.
///
/// A handle; clones are the same sampler, whose thread ends with the last of them.
#[derive(Clone)]
pub struct MemorySampler {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    requests: RequestCount,
    allocator: Allocator,
    stop: Mutex<Option<Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    latest: Mutex<Arc<ProcessMemory>>,
    growth: Mutex<GrowthMeter>,
    clock: Arc<dyn Clock>,
}

/// Settings of a [`MemorySampler`].
#[derive(Clone, Debug)]
pub struct MemorySamplerBuilder {
    every: Duration,
    warm_up: u64,
    requests: RequestCount,
    allocator: Option<Allocator>,
    clock: Option<Arc<dyn Clock>>,
}

impl MemorySampler {
    /// How it looks: every 10 s, with a warm-up of 1,000 requests, at the allocator that is in use.
    pub fn builder() -> MemorySamplerBuilder {
        MemorySamplerBuilder {
            every: Duration::from_secs(10),
            warm_up: 1_000,
            requests: RequestCount::new(),
            allocator: None,
            clock: None,
        }
    }

    /// What was last seen. Locks for the clone of an `Arc`; reads nothing.
    pub fn latest(&self) -> Arc<ProcessMemory> {
        Arc::clone(&lock(&self.inner.shared.latest))
    }

    /// Looks now, which blocks for some ten microseconds, and keeps that as the latest.
    pub fn look(&self) -> Arc<ProcessMemory> {
        self.inner.shared.look(self.inner.allocator, &self.inner.requests)
    }

    /// Whose book is read.
    pub fn allocator(&self) -> Allocator {
        self.inner.allocator
    }

    /// The requests that growth is measured by.
    pub fn requests(&self) -> &RequestCount {
        &self.inner.requests
    }
}

impl fmt::Debug for MemorySampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySampler")
            .field("allocator", &self.inner.allocator)
            .field("latest", &self.latest())
            .finish_non_exhaustive()
    }
}

impl MemorySamplerBuilder {
    /// How often it looks. Default: 10 s; at least 10 ms.
    pub fn every(self, every: Duration) -> Self {
        Self { every, ..self }
    }

    /// How many requests fill caches and open pools before growth is measured. Default: 1,000.
    pub fn warm_up(self, requests: u64) -> Self {
        Self {
            warm_up: requests,
            ..self
        }
    }

    /// What counts requests. Default: nothing, and growth is not known.
    pub fn requests(self, requests: &RequestCount) -> Self {
        Self {
            requests: requests.clone(),
            ..self
        }
    }

    /// Whose book to read. Default: [the one that is in use](Allocator::detect).
    pub fn allocator(self, allocator: Allocator) -> Self {
        Self {
            allocator: Some(allocator),
            ..self
        }
    }

    /// Where time comes from. Default: the machine.
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock: Some(clock),
            ..self
        }
    }

    /// Looks for the first time, and starts the thread.
    ///
    /// # Errors
    /// When the system starts no more threads.
    pub fn start(self) -> io::Result<MemorySampler> {
        let allocator = self.allocator.unwrap_or_else(Allocator::detect);
        let shared = Arc::new(Shared {
            latest: Mutex::new(Arc::new(ProcessMemory::read(allocator))),
            growth: Mutex::new(GrowthMeter::new(self.warm_up)),
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock::new())),
        });
        shared.look(allocator, &self.requests);
        let (stop, stopped) = channel();
        let of_thread = (Arc::clone(&shared), self.requests.clone());
        let every = self.every.max(Duration::from_millis(10));
        let thread = thread::Builder::new()
            .name("tenancy-memory".to_owned())
            .spawn(move || watch(&of_thread.0, allocator, &of_thread.1, every, &stopped))?;
        Ok(MemorySampler {
            inner: Arc::new(Inner {
                shared,
                requests: self.requests,
                allocator,
                stop: Mutex::new(Some(stop)),
                thread: Mutex::new(Some(thread)),
            }),
        })
    }
}

fn watch(
    shared: &Shared,
    allocator: Allocator,
    requests: &RequestCount,
    every: Duration,
    stopped: &Receiver<()>,
) {
    while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        shared.look(allocator, requests);
    }
}

impl Shared {
    fn look(&self, allocator: Allocator, requests: &RequestCount) -> Arc<ProcessMemory> {
        let mut memory = ProcessMemory::read(allocator);
        memory.taken_at_ms = u64::try_from(self.clock.unix_time().as_millis()).unwrap_or(u64::MAX);
        // Held until the sample is stored, so that of two who look at once the later one stays.
        let mut growth = lock(&self.growth);
        memory.requests = requests.get();
        if let Some(live) = memory.heap.allocated.bytes() {
            growth.record(memory.requests, live);
        }
        memory.growth = growth.growth();
        let memory = Arc::new(memory);
        *lock(&self.latest) = Arc::clone(&memory);
        memory
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        lock(&self.stop).take();
        if let Some(thread) = lock(&self.thread).take() {
            // It panics nowhere; and if it did, nothing could be done here.
            let _ = thread.join();
        }
    }
}

/// Nothing panics under these locks, and a sample is whole or not there.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
