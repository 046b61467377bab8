//! A request that may be the one whose handler makes the page.

use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use http::Request;

/// Held by the client's future and by the load that it may have begun: whoever needs the request first takes it.
pub(super) struct Ticket<S> {
    state: Mutex<State<S>>,
}

enum State<S> {
    Waits(Box<Held<S>>),
    /// Its handler is being asked, or was.
    Taken,
}

pub(super) struct Held<S> {
    pub(super) request: Request<Body>,
    /// The one that was found ready.
    pub(super) service: S,
}

impl<S> Ticket<S> {
    pub(super) fn new(request: Request<Body>, service: S) -> Self {
        let held = Box::new(Held { request, service });
        Self {
            state: Mutex::new(State::Waits(held)),
        }
    }

    pub(super) fn take(&self) -> Option<Box<Held<S>>> {
        match std::mem::replace(&mut *self.state(), State::Taken) {
            State::Waits(held) => Some(held),
            State::Taken => None,
        }
    }

    /// Whether the handler is being asked for this client, or was.
    pub(super) fn is_taken(&self) -> bool {
        matches!(*self.state(), State::Taken)
    }

    fn state(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
