//! Giving back what is free.

mod plan;
mod turn;
mod worker;

#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError, mpsc::Sender},
    thread::JoinHandle,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tenancy_core::{Clock, SystemClock};

use self::{
    plan::{Plan, Terms},
    turn::Turns,
    worker::{Message, Worker},
};
use super::{MemorySampler, Reading};

/// Makes the allocator return free pages to the system, on a thread of its own.
///
/// What an application once needed stays with its allocator, for the next time. A purge gives it back: with jemalloc all
/// that is free, with mimalloc and glibc what they can. It is no garbage collection: nothing that is live is touched, and
/// fragments stay. Purging takes long where there is much, and the next requests have to fetch pages again; so it is done
/// when it is worth it, and never by a thread that serves requests.
///
/// jemalloc gives back by itself what was free for ten seconds, and only where somebody allocates. With it a purger is for what
/// is left over when it has become quiet.
///
/// A handle; clones are the same purger. The thread ends with the last of them, after the purge that it is in.
///
/// ```
/// use tenancy_memory::process::{MemorySampler, Purger};
///
/// let sampler = MemorySampler::builder().start()?;
/// let purger = Purger::builder().over(Some(64 << 20)).start(&sampler)?;
/// match purger.purge() {
///     Ok(purge) => println!("{} given back", purge.given_back),
///     Err(refused) => println!("{refused}"),
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Purger {
    inner: Arc<Inner>,
}

struct Inner {
    messages: Sender<Message>,
    turns: Turns,
    state: Arc<Mutex<PurgerState>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Settings of a [`Purger`].
#[derive(Clone, Debug)]
pub struct PurgerBuilder {
    terms: Terms,
    look_every: Duration,
    log_cleanup: bool,
    clock: Option<Arc<dyn Clock>>,
}

/// What a purge was done for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PurgeReason {
    /// More was resident beyond what is live than settings allow.
    Threshold,
    /// So many requests have been since the last one.
    Requests,
    /// Somebody said so.
    Command,
    /// A signal came.
    Signal,
}

impl PurgeReason {
    /// The name, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Threshold => "threshold",
            Self::Requests => "requests",
            Self::Command => "command",
            Self::Signal => "signal",
        }
    }
}

/// A purge that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Purge {
    /// What for.
    pub reason: PurgeReason,
    /// What was resident before.
    pub resident_before: Reading,
    /// And after.
    pub resident_after: Reading,
    /// The difference, 0 where it rose.
    pub given_back: Reading,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// When it was done, in milliseconds since 1970-01-01 UTC.
    pub done_at_ms: u64,
}

/// What a purger has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PurgerState {
    /// How many purges.
    pub purges: u64,
    /// What they gave back altogether, in bytes.
    pub given_back_bytes: u64,
    /// The last one.
    pub last: Option<Purge>,
}

/// No purge was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PurgeRefused {
    /// The last one is less than a second ago.
    TooSoon,
    /// Another one is under way, or asked for.
    UnderWay,
    /// The allocator refused.
    Failed,
    /// The allocator is not known here, so that there is nobody to ask.
    UnknownAllocator,
    /// The purger has ended.
    Ended,
}

impl fmt::Display for PurgeRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooSoon => "the last purge is less than a second ago",
            Self::UnderWay => "another purge is under way",
            Self::Failed => "the allocator refused to give anything back",
            Self::UnknownAllocator => {
                "the allocator is not known: build with feature `jemalloc`, `mimalloc` or `glibc` of tenancy-memory"
            }
            Self::Ended => "the purger has ended",
        })
    }
}

impl std::error::Error for PurgeRefused {}

impl Purger {
    /// How it works: purges over 64 MiB, once a minute at the most, and looks every 10 s.
    pub fn builder() -> PurgerBuilder {
        PurgerBuilder {
            terms: Terms {
                over: Some(64 << 20),
                after_requests: None,
                min_interval: Duration::from_secs(60),
            },
            look_every: Duration::from_secs(10),
            log_cleanup: true,
            clock: None,
        }
    }

    /// Purges now, and waits for it: for a thread that may block. Refused within a second of the last one, and at once while
    /// another one is under way: of however many who ask, one waits.
    ///
    /// # Errors
    /// Says why nothing was done.
    pub fn purge(&self) -> Result<Purge, PurgeRefused> {
        let turn = self.inner.turns.take().ok_or(PurgeRefused::UnderWay)?;
        let (answer, answered) = std::sync::mpsc::channel();
        let message = Message::Purge(PurgeReason::Command, turn, Some(answer));
        self.inner
            .messages
            .send(message)
            .map_err(|_| PurgeRefused::Ended)?;
        answered.recv().unwrap_or(Err(PurgeRefused::Ended))
    }

    /// Asks for a purge and does not wait for it. As [`purge`](Self::purge), where a signal said so; for handlers of signals of an
    /// async runtime, not for those of the system.
    pub fn request(&self) {
        // Another one is as good.
        let Some(turn) = self.inner.turns.take() else {
            return;
        };
        // Ended: nobody is left to purge for.
        let _ = self
            .inner
            .messages
            .send(Message::Purge(PurgeReason::Signal, turn, None));
    }

    /// What was done so far.
    pub fn state(&self) -> PurgerState {
        *self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Purger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Purger").field("state", &self.state()).finish()
    }
}

impl PurgerBuilder {
    /// Purges when more than this is resident beyond what is live, in bytes. `None`: for no such reason. Default: 64 MiB.
    ///
    /// What is resident for other reasons counts too: a program with many threads or a big C library needs more. A purge that
    /// gives back less than a tenth of this was in vain, and the next one waits twice as long, an hour at the most. Needs an allocator
    /// that says what is live.
    pub fn over(mut self, bytes: Option<u64>) -> Self {
        self.terms.over = bytes;
        self
    }

    /// Purges after so many requests. Default: `None`. 0 counts as `None`.
    pub fn after_requests(mut self, requests: Option<u64>) -> Self {
        self.terms.after_requests = requests.filter(|requests| *requests > 0);
        self
    }

    /// The least time between two purges that nobody asked for. Default: 1 min; at least 1 s.
    pub fn min_interval(mut self, interval: Duration) -> Self {
        self.terms.min_interval = interval;
        self
    }

    /// How often it looks whether it is time. Default: 10 s; at least 10 ms.
    pub fn look_every(self, look_every: Duration) -> Self {
        Self { look_every, ..self }
    }

    /// Whether each purge is logged at INFO; else at DEBUG. Default: yes.
    pub fn log_cleanup(self, log_cleanup: bool) -> Self {
        Self { log_cleanup, ..self }
    }

    /// Where time comes from. Default: the machine.
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock: Some(clock),
            ..self
        }
    }

    /// Starts the thread. What is looked at is the sampler's latest; before and after each purge, the sampler looks. Warns where nothing
    /// will ever be purged: the allocator is not known, or does not say what is live.
    ///
    /// # Errors
    /// When the system starts no more threads.
    pub fn start(self, sampler: &MemorySampler) -> io::Result<Purger> {
        let (messages, received) = std::sync::mpsc::channel();
        let state = Arc::new(Mutex::new(PurgerState::default()));
        let turns = Turns::default();
        let plan = Plan::new(self.terms);
        if let Some(reason) = plan.hopeless(sampler.allocator(), &sampler.latest()) {
            tracing::warn!("{reason}");
        }
        let worker = Worker {
            plan,
            sampler: sampler.clone(),
            look_every: self.look_every.max(Duration::from_millis(10)),
            log_cleanup: self.log_cleanup,
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock::new())),
            state: Arc::clone(&state),
            turns: turns.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("tenancy-purger".to_owned())
            .spawn(move || worker.run(&received))?;
        Ok(Purger {
            inner: Arc::new(Inner {
                messages,
                turns,
                state,
                thread: Mutex::new(Some(thread)),
            }),
        })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _ = self.messages.send(Message::End);
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            let _ = thread.join();
        }
    }
}
