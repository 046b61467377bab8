use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use bb8_redis::{
    bb8::{Pool, RunError},
    redis::{Pipeline, ServerError, ServerErrorKind, Value, aio::MultiplexedConnection},
};
use tokio::sync::watch;

use super::{
    Dial, Limits,
    connection::{Connection, FailedAttempt, Manager, State, TellsWaiters},
};
use crate::{failure::Failure, fetches::Queue};

/// A server, connected to when it is first asked.
pub(crate) struct Server {
    dial: Dial,
    limits: Limits,
    state: Arc<State>,
    failed: Arc<watch::Sender<Option<FailedAttempt>>>,
    // Making it takes a runtime.
    pool: OnceLock<Pool<Manager>>,
    pub(crate) fetches: Queue,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.dial).finish()
    }
}

impl Server {
    pub(crate) fn new(dial: Dial, limits: Limits) -> Self {
        Self {
            dial,
            limits,
            state: Arc::default(),
            failed: Arc::new(watch::Sender::new(None)),
            pool: OnceLock::new(),
            fetches: Queue::new(),
        }
    }

    pub(crate) fn dial(&self) -> &Dial {
        &self.dial
    }

    /// Sends all in one go. Refusals of single commands are among the replies.
    pub(crate) async fn run(&self, commands: &Pipeline) -> Result<Vec<Value>, Failure> {
        let mut connection = self.connection().await?;
        let sent = connection
            .inner
            .send_packed_commands(commands, 0, commands.len())
            .await;
        match sent {
            Ok(replies) => {
                // Whoever connects anew finds the master that took its place.
                if replies
                    .iter()
                    .any(|reply| matches!(reply, Value::ServerError(error) if is_of_a_replica(error)))
                {
                    self.state.condemn_all(&connection);
                }
                Ok(replies)
            }
            // Its later replies would come late too; and nobody knows whether there is somebody at the other end.
            Err(error) if error.is_timeout() => {
                connection.condemn();
                Err(Failure::TimedOut(Some(error)))
            }
            Err(error) => {
                self.state.condemn_all(&connection);
                Err(Failure::Lost(error))
            }
        }
    }

    /// A connection for one caller, which is never replaced by another one: it ends with the server's process, or earlier.
    pub(crate) async fn connect_alone(&self) -> Result<Alone, Failure> {
        match self.dial.connect(self.limits).await {
            Ok(connection) => Ok(Alone(connection)),
            Err(error) => Err(Failure::NoConnection(Some(error))),
        }
    }

    async fn connection(&self) -> Result<Connection, Failure> {
        let begun_before = self.state.attempts();
        let mut failed = self.failed.subscribe();
        loop {
            tokio::select! {
                biased;
                outcome = self.pool().get() => match outcome {
                    // One that broke while nobody used it is closed when the guard is dropped.
                    Ok(guard) if self.state.is_good(&guard) => return Ok(guard.clone()),
                    Ok(_) => {}
                    Err(RunError::TimedOut) => return Err(self.no_connection(begun_before)),
                    Err(RunError::User(attempt)) => return Err(Failure::NoConnection(Some(attempt.error))),
                },
                Ok(()) = failed.changed() => {
                    let attempt = failed.borrow_and_update().clone();
                    // One that began earlier says nothing of the server as it is now.
                    if let Some(attempt) = attempt && attempt.number > begun_before {
                        return Err(Failure::NoConnection(Some(attempt.error)));
                    }
                }
            }
        }
    }

    /// With what the last attempt said, if it began after so many others.
    fn no_connection(&self, begun_before: u64) -> Failure {
        let last = self.failed.borrow().clone();
        let last = last.filter(|attempt| attempt.number > begun_before);
        Failure::NoConnection(last.map(|attempt| attempt.error))
    }

    fn pool(&self) -> &Pool<Manager> {
        self.pool.get_or_init(|| {
            let manager = Manager::new(self.dial.clone(), self.limits, Arc::clone(&self.state));
            Pool::builder()
                .max_size(self.limits.connections)
                .min_idle(self.limits.connections)
                .test_on_check_out(false)
                // Attempts go on when the caller has given up; waiting is limited.
                .connection_timeout(self.limits.answer)
                .retry_connection(false)
                .idle_timeout(None)
                .error_sink(Box::new(TellsWaiters(Arc::clone(&self.failed))))
                .build_unchecked(manager)
        })
    }
}

/// One caller's connection. Dropping it closes it.
pub(crate) struct Alone(MultiplexedConnection);

impl Alone {
    /// Refusals of single commands are among the replies. After a failure it is of no use any more.
    pub(crate) async fn run(&mut self, commands: &Pipeline) -> Result<Vec<Value>, Failure> {
        let sent = self.0.send_packed_commands(commands, 0, commands.len()).await;
        sent.map_err(|error| match error.is_timeout() {
            true => Failure::TimedOut(Some(error)),
            false => Failure::Lost(error),
        })
    }
}

impl fmt::Debug for Alone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alone")
    }
}

/// Whether a server refused to write because it is no master any more. Old ones wrap the error of a script.
pub(crate) fn is_of_a_replica(error: &ServerError) -> bool {
    error.kind() == Some(ServerErrorKind::ReadOnly)
        || error
            .details()
            .is_some_and(|details| details.contains("-READONLY "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bb8_redis::redis::{ErrorKind, IntoConnectionInfo};

    use super::*;

    #[test]
    fn a_call_is_told_of_no_attempt_that_began_before_it() {
        let place = "redis://127.0.0.1:1".into_connection_info().unwrap();
        let limits = Limits {
            connect: Duration::from_secs(1),
            answer: Duration::from_secs(1),
            connections: 1,
        };
        let server = Server::new(Dial::Server(Box::new(place)), limits);
        server.failed.send_replace(Some(FailedAttempt {
            number: 3,
            error: (ErrorKind::Io, "long ago").into(),
        }));
        assert!(matches!(server.no_connection(3), Failure::NoConnection(None)));
        assert!(matches!(server.no_connection(2), Failure::NoConnection(Some(_))));
    }
}
