//! Loads within loads: a loader that remembers other things of its scope.

use std::sync::Arc;

use super::FlightKey;

tokio::task_local! {
    static WITHIN: Arc<Nest>;
}

/// A load that runs, and the one that it runs within.
pub(super) struct Nest {
    /// Whose turns it has.
    board: u64,
    key: FlightKey,
    outer: Option<Arc<Self>>,
}

impl Nest {
    /// The load that the caller runs within, if it does.
    pub(super) fn current() -> Option<Arc<Self>> {
        WITHIN.try_with(Arc::clone).ok()
    }

    /// Runs a load within another, or by itself.
    pub(super) fn run<F: Future>(
        board: u64,
        key: &FlightKey,
        outer: Option<Arc<Self>>,
        load: F,
    ) -> impl Future<Output = F::Output> {
        let nest = Self {
            board,
            key: key.clone(),
            outer,
        };
        WITHIN.scope(Arc::new(nest), load)
    }

    /// Whether a turn of this board has been taken already.
    pub(super) fn has_turn_of(&self, board: u64) -> bool {
        self.loads().any(|load| load.board == board)
    }

    /// Whether this value is what is being loaded: it would wait for itself.
    pub(super) fn loads_value(&self, board: u64, key: &FlightKey) -> bool {
        self.loads()
            .any(|load| load.board == board && load.key.is_of_same_value(key))
    }

    fn loads(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |load| load.outer.as_deref())
    }
}
