//! Why a call came to nothing.

use bb8_redis::redis::RedisError;
use tenancy::cache::shared::SharedError;

#[derive(Debug)]
pub(crate) enum Failure {
    /// No connection could be had; with what the last attempt said.
    NoConnection(Option<RedisError>),
    /// The connection ended under the call: it may have been done.
    Lost(RedisError),
    /// It may still be done.
    TimedOut(Option<RedisError>),
    /// The server did not do it.
    Refused(RedisError),
    /// No server of the cluster has this slot.
    Unserved,
    /// Each server sends to another one.
    SentAround,
    /// A reply that makes no sense.
    Unexpected(&'static str),
}

impl From<Failure> for SharedError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoConnection(Some(error)) => Self::new("there is no connection to Redis", error),
            Failure::NoConnection(None) => Self::message("there is no connection to Redis in time"),
            Failure::Lost(error) => Self::new("the connection to Redis was lost", error),
            Failure::TimedOut(Some(error)) => Self::new("Redis did not answer in time", error),
            Failure::TimedOut(None) => Self::message("Redis did not answer in time"),
            Failure::Refused(error) => Self::new("Redis refused a command", error),
            Failure::Unserved => Self::message("no server of the Redis Cluster has the slot"),
            Failure::SentAround => {
                Self::message("the servers of the Redis Cluster do not agree on who has the slot")
            }
            Failure::Unexpected(what) => Self::message(what),
        }
    }
}
