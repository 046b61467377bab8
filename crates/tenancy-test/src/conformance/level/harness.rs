use std::{future::Future, sync::Arc, time::Duration};

use tenancy::cache::shared::{ScopeName, SharedLevel};
use tenancy_core::BoxError;

use crate::conformance::Offered;

/// How the checks reach a shared level: as one process or as several, and what can happen to it.
///
/// Each harness has a level of its own, empty at first: a server of its own, or a prefix of names that no other has. Its
/// optional methods offer what some levels can do and others cannot; a check that needs one of them is not run without it.
pub trait LevelHarness: Send + Sync {
    /// Another process's way to the level; all of one harness meet in it.
    ///
    /// # Errors
    /// When there is none.
    fn connect(&self) -> impl Future<Output = Result<Arc<dyn SharedLevel>, BoxError>> + Send;

    /// Lets this time pass, for the entries of the level. Default: sleeps.
    ///
    /// # Errors
    /// When that could not be done.
    fn pass(&self, time: Duration) -> impl Future<Output = Result<(), BoxError>> + Send {
        async move {
            tokio::time::sleep(time).await;
            Ok(())
        }
    }

    /// Loses all numbers of a scope, as if its keys were evicted.
    ///
    /// # Errors
    /// When that could not be done.
    fn forget(&mut self, scope: &ScopeName) -> impl Future<Output = Result<Offered, BoxError>> + Send {
        let _ = scope;
        async { Ok(Offered::No) }
    }

    /// Keeps a copy of the level as it is now, for [`restore`](Self::restore).
    ///
    /// # Errors
    /// When that could not be done.
    fn back_up(&mut self) -> impl Future<Output = Result<Offered, BoxError>> + Send {
        async { Ok(Offered::No) }
    }

    /// Puts the copy in the place of the level, as a failover to a replica would that lagged behind. Called only if
    /// [`back_up`](Self::back_up) was offered.
    ///
    /// # Errors
    /// When that could not be done.
    fn restore(&mut self) -> impl Future<Output = Result<(), BoxError>> + Send {
        async { Ok(()) }
    }

    /// Cuts the connections over which messages come, of all that are connected. They may be made again at once.
    ///
    /// # Errors
    /// When that could not be done.
    fn cut_listeners(&mut self) -> impl Future<Output = Result<Offered, BoxError>> + Send {
        async { Ok(Offered::No) }
    }

    /// Makes the level unable to answer: takes its server away. Nothing else is done with it afterwards but asking.
    ///
    /// # Errors
    /// When that could not be done.
    fn break_down(&mut self) -> impl Future<Output = Result<Offered, BoxError>> + Send {
        async { Ok(Offered::No) }
    }
}
