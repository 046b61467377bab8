//! What goes in and out of the state machine. Each is a right that exists once: none can be cloned.

use std::{task::Waker, time::Duration};

use tenancy_core::TenantId;

use crate::pool::{breaker::Fault, target::Target};

/// Who asks, and for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) version: Version,
    pub(crate) target: &'a Target,
}

/// How new the asker's record is. Of two that disagree on the target, the newer is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) incarnation: u64,
    pub(crate) epoch: u64,
}

/// An open connection and the permit that it stands for, while it is outside of the state machine.
#[must_use = "a permit that is dropped is lost: give it back or discard it"]
#[derive(Debug)]
pub(crate) struct Held<C> {
    pub(crate) connection: C,
    pub(super) entry: usize,
    pub(super) generation: u32,
    pub(super) expires_at: Duration,
    /// When it was last given out.
    pub(super) lent_at: Duration,
    /// Serials of the tenants it served, where the server keeps memory for each.
    pub(super) served: Vec<u64>,
}

/// A connection that was given out.
#[must_use = "holds a connection and its permit"]
#[derive(Debug)]
pub(crate) struct Grant<C> {
    pub(crate) held: Held<C>,
    /// It was idle for so long, or the server failed since: it must answer a ping first.
    pub(crate) must_answer: bool,
}

/// The right to open one connection; the permit is taken already.
#[must_use = "a ticket that is dropped holds its permit for ever: report what became of it"]
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(super) entry: usize,
    pub(super) generation: u32,
    pub(super) started: Duration,
    target: Target,
}

impl Ticket {
    pub(super) fn new(entry: usize, generation: u32, started: Duration, target: Target) -> Self {
        Self {
            entry,
            generation,
            started,
            target,
        }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }
}

/// The permit of a connection that is being closed.
#[must_use = "its permit comes back when the state machine is told that it is closed"]
#[derive(Debug)]
pub(crate) struct Closing(pub(super) ());

/// What became of an [`Ask`].
#[derive(Debug)]
pub(crate) enum Asked<C> {
    Ready(Grant<C>),
    /// In the queue, under this number until the answer was taken or it was cancelled.
    Queued(usize),
    Refused(Refusal),
}

/// Why there is no connection.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    /// So many of this tenant wait already.
    QueueFull,
    /// Opening failed, or failed a moment ago and is not tried again for this long.
    Failed {
        fault: Fault,
        retry_after: Duration,
    },
    /// The asker's record is older than what is known here, or the tenant went elsewhere while it waited.
    Moved,
    ShutDown,
}

/// What is to be done when the lock is released.
#[derive(Debug)]
pub(crate) enum Work<C> {
    Open(Ticket),
    Close(C, Closing),
}

/// Collected under the lock. Empty on the warm path, and then it allocates nothing.
#[must_use = "connections to close and tickets are in it"]
#[derive(Debug)]
pub(crate) struct Effects<C> {
    pub(crate) wake: Vec<Waker>,
    /// To be dropped without the lock, which may run any code.
    pub(crate) let_go: Vec<Waker>,
    pub(crate) work: Vec<Work<C>>,
    /// Somebody waits, or something is open, for the first time: upkeep is due earlier than it was.
    pub(crate) upkeep: bool,
}

impl<C> Effects<C> {
    pub(crate) fn new() -> Self {
        Self {
            wake: Vec::new(),
            let_go: Vec::new(),
            work: Vec::new(),
            upkeep: false,
        }
    }
}
