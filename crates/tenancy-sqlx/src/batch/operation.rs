use std::panic::AssertUnwindSafe;

use futures_core::future::BoxFuture;
use futures_util::FutureExt;
use tokio::sync::oneshot;

use crate::{database::DatabaseError, engine::TenantEngine};

/// What one caller wants done, whatever it returns.
pub(super) trait Operation<DB: TenantEngine>: Send {
    /// Whether its caller still waits.
    fn is_wanted(&self) -> bool;

    /// Does it, and keeps what came of it. Returns whether that may last.
    fn run<'a>(&'a mut self, connection: &'a mut DB::Connection) -> BoxFuture<'a, bool>;

    /// Tells the caller: what came of it, unless that was lost with its group.
    fn finish(self: Box<Self>, group: Result<(), DatabaseError>);
}

struct Typed<T, F> {
    operation: Option<F>,
    result: Option<Result<T, DatabaseError>>,
    tell: oneshot::Sender<Result<T, DatabaseError>>,
}

pub(super) fn operation<DB, T, F>(
    operation: F,
    tell: oneshot::Sender<Result<T, DatabaseError>>,
) -> Box<dyn Operation<DB>>
where
    DB: TenantEngine,
    T: Send + 'static,
    F: for<'c> FnOnce(&'c mut DB::Connection) -> BoxFuture<'c, Result<T, DatabaseError>> + Send + 'static,
{
    Box::new(Typed {
        operation: Some(operation),
        result: None,
        tell,
    })
}

impl<DB, T, F> Operation<DB> for Typed<T, F>
where
    DB: TenantEngine,
    T: Send + 'static,
    F: for<'c> FnOnce(&'c mut DB::Connection) -> BoxFuture<'c, Result<T, DatabaseError>> + Send + 'static,
{
    fn is_wanted(&self) -> bool {
        !self.tell.is_closed()
    }

    fn run<'a>(&'a mut self, connection: &'a mut DB::Connection) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let Some(operation) = self.operation.take() else {
                return false;
            };
            // Inside of the block, so that a panic before the future is made is caught, too.
            let caught = AssertUnwindSafe(async { operation(connection).await })
                .catch_unwind()
                .await;
            self.result = match caught {
                Ok(result) => Some(result),
                Err(_) => {
                    tracing::error!("an operation of a batch panicked");
                    Some(Err(DatabaseError::abandoned()))
                }
            };
            matches!(self.result, Some(Ok(_)))
        })
    }

    fn finish(self: Box<Self>, group: Result<(), DatabaseError>) {
        let result = match (self.result, group) {
            (Some(Ok(result)), Ok(())) => Ok(result),
            (Some(Err(own)), _) => Err(own),
            (_, Err(error)) => Err(error),
            (None, Ok(())) => Err(DatabaseError::abandoned()),
        };
        // The caller may have gone away meanwhile.
        let _ = self.tell.send(result);
    }
}
