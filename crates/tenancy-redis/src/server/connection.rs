//! Connections as bb8 keeps them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use bb8_redis::{
    bb8::{ErrorSink, ManageConnection},
    redis::{RedisError, aio::MultiplexedConnection},
};
use tokio::sync::watch;

use super::{Dial, Limits};

/// A connection that many calls use at once.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) inner: MultiplexedConnection,
    is_broken: Arc<AtomicBool>,
    generation: u64,
}

/// Makes connections, and knows which are not to be used any more.
#[derive(Debug)]
pub(super) struct Manager {
    dial: Dial,
    limits: Limits,
    state: Arc<State>,
}

/// What calls tell the manager.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Connections of earlier generations are not used: one was found to be closed, so others will be.
    generation: AtomicU64,
    /// How many attempts at a connection were begun.
    attempts: AtomicU64,
}

/// An attempt at a connection that failed, and which it was.
#[derive(Clone, Debug)]
pub(super) struct FailedAttempt {
    pub(super) number: u64,
    pub(super) error: RedisError,
}

impl Connection {
    /// It did not answer in time; others may.
    pub(super) fn condemn(&self) {
        self.is_broken.store(true, Ordering::Release);
    }
}

impl State {
    /// This connection is closed, or leads to where nothing can be written: so will those that were made before.
    pub(super) fn condemn_all(&self, found: &Connection) {
        self.generation.fetch_max(found.generation + 1, Ordering::AcqRel);
    }

    pub(super) fn is_good(&self, connection: &Connection) -> bool {
        !connection.is_broken.load(Ordering::Acquire)
            && connection.generation >= self.generation.load(Ordering::Acquire)
    }

    /// Attempts with greater numbers begin from now on.
    pub(super) fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Acquire)
    }
}

impl Manager {
    pub(super) fn new(dial: Dial, limits: Limits, state: Arc<State>) -> Self {
        Self { dial, limits, state }
    }
}

impl ManageConnection for Manager {
    type Connection = Connection;
    type Error = FailedAttempt;

    async fn connect(&self) -> Result<Connection, FailedAttempt> {
        let number = self.state.attempts.fetch_add(1, Ordering::AcqRel) + 1;
        // Read before: what is condemned meanwhile may be this one's server.
        let generation = self.state.generation.load(Ordering::Acquire);
        match self.dial.connect(self.limits).await {
            Ok(inner) => Ok(Connection {
                inner,
                is_broken: Arc::default(),
                generation,
            }),
            Err(error) => Err(FailedAttempt { number, error }),
        }
    }

    /// Never asked: a check would be a round trip for each call, and be out of date when the call begins.
    async fn is_valid(&self, _: &mut Connection) -> Result<(), FailedAttempt> {
        Ok(())
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        !self.state.is_good(connection)
    }
}

/// Tells those who wait for a connection that an attempt failed; bb8 would let them wait for the end of their time.
#[derive(Clone, Debug)]
pub(super) struct TellsWaiters(pub(super) Arc<watch::Sender<Option<FailedAttempt>>>);

impl ErrorSink<FailedAttempt> for TellsWaiters {
    fn sink(&self, error: FailedAttempt) {
        self.0.send_replace(Some(error));
    }

    fn boxed_clone(&self) -> Box<dyn ErrorSink<FailedAttempt>> {
        Box::new(self.clone())
    }
}
