//! Why a call came to nothing.

use std::{error::Error, fmt};

use bb8_redis::redis::RedisError;
use tenancy::cache::shared::SharedError;

#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// No connection could be had; with what the last attempt said.
    NoConnection(Option<RedisError>),
    /// The connection ended under the call: it may have been done.
    Lost(RedisError),
    /// It may still be done.
    TimedOut(Option<RedisError>),
    /// The server did not do it.
    Refused(RedisError),
    /// Another one has taken its place.
    NoMaster(RedisError),
    /// No server of the cluster has this slot.
    Unserved,
    /// Each server sends to another one.
    SentAround,
    /// Whoever was to send it has ended.
    Abandoned,
    /// A reply that makes no sense.
    Unexpected(&'static str),
}

impl Failure {
    fn text(&self) -> &'static str {
        match self {
            Self::NoConnection(Some(_)) => "there is no connection to Redis",
            Self::NoConnection(None) => "there is no connection to Redis in time",
            Self::Lost(_) => "the connection to Redis was lost",
            Self::TimedOut(_) => "Redis did not answer in time",
            Self::Refused(_) => "Redis refused a command",
            Self::NoMaster(_) => "the server of Redis is no master any more",
            Self::Unserved => "no server of the Redis Cluster has the slot",
            Self::SentAround => "the servers of the Redis Cluster do not agree on who has the slot",
            Self::Abandoned => "the runtime that was to ask Redis has ended",
            Self::Unexpected(what) => what,
        }
    }

    /// Whether it took all its time: who is told at once that nobody is there may ask again at once.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::NoConnection(None) | Self::TimedOut(_))
    }

    /// What the driver said.
    pub(crate) fn cause(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoConnection(Some(error))
            | Self::Lost(error)
            | Self::TimedOut(Some(error))
            | Self::Refused(error)
            | Self::NoMaster(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl From<Failure> for SharedError {
    fn from(failure: Failure) -> Self {
        let text = failure.text();
        match failure {
            Failure::NoConnection(Some(error))
            | Failure::Lost(error)
            | Failure::TimedOut(Some(error))
            | Failure::Refused(error)
            | Failure::NoMaster(error) => Self::new(text, error),
            _ => Self::message(text),
        }
    }
}
