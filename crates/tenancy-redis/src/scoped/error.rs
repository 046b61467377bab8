use std::{borrow::Cow, error::Error, fmt};

use bb8_redis::redis::ServerError;

use crate::failure::Failure;

/// A call on Redis came to nothing, or nobody knows to what. Its text names no key and no value; that of its
/// [source](Error::source), which is for logs, may name a server.
///
/// It is a response: 503 where Redis can not be reached or a lock is another's, else 500, in the words of the application's own
/// [`on_rejection`](tenancy::stack::TenancyBuilder::on_rejection).
#[derive(Debug)]
pub struct RedisCallError {
    fault: Fault,
}

#[derive(Debug)]
enum Fault {
    Away(Failure),
    NotAllowed(Cow<'static, str>),
    Refused { code: Box<str>, detail: Box<str> },
    Unreadable(&'static str),
    HeldElsewhere,
}

impl RedisCallError {
    pub(super) fn not_allowed(why: impl Into<Cow<'static, str>>) -> Self {
        Self {
            fault: Fault::NotAllowed(why.into()),
        }
    }

    pub(super) fn unreadable(what: &'static str) -> Self {
        Self {
            fault: Fault::Unreadable(what),
        }
    }

    pub(super) fn held_elsewhere() -> Self {
        Self {
            fault: Fault::HeldElsewhere,
        }
    }

    /// Redis could not be reached, did not answer in time, or serves nobody at the moment. Trying again later may help.
    pub fn is_unavailable(&self) -> bool {
        match &self.fault {
            Fault::Away(_) => true,
            Fault::Refused { code, .. } => matches!(
                &**code,
                "LOADING" | "CLUSTERDOWN" | "MASTERDOWN" | "TRYAGAIN" | "READONLY" | "BUSY" | "NOREPLICAS"
            ),
            _ => false,
        }
    }

    /// The connection was lost, or the answer late: Redis may have done what it was asked for.
    pub fn may_have_been_done(&self) -> bool {
        matches!(self.fault, Fault::Away(Failure::Lost(_) | Failure::TimedOut(_)))
    }

    /// The command is none that can be kept to one scope's keys, or it was not written as it must be. It was not sent.
    pub fn is_not_allowed(&self) -> bool {
        matches!(self.fault, Fault::NotAllowed(_))
    }

    /// Redis took the command, and did not do it: see [`code`](Self::code).
    pub fn is_refused(&self) -> bool {
        matches!(self.fault, Fault::Refused { .. })
    }

    /// There is something else under this name: a list, say, where a number was to be.
    pub fn is_wrong_type(&self) -> bool {
        // Old servers wrap the error of a script.
        matches!(&self.fault, Fault::Refused { code, detail } if &**code == "WRONGTYPE" || detail.contains("WRONGTYPE"))
    }

    /// Redis has no memory left for what is written.
    pub fn is_out_of_memory(&self) -> bool {
        self.code() == Some("OOM")
    }

    /// The reply is not of the type that was asked for. What the command does is done.
    pub fn is_unreadable(&self) -> bool {
        matches!(self.fault, Fault::Unreadable(_))
    }

    /// Somebody else had the lock for all the time that was waited.
    pub fn is_held_elsewhere(&self) -> bool {
        matches!(self.fault, Fault::HeldElsewhere)
    }

    /// The first word of Redis's refusal: `WRONGTYPE`, `OOM`, `NOPERM`, `ERR`.
    pub fn code(&self) -> Option<&str> {
        match &self.fault {
            Fault::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}

impl From<Failure> for RedisCallError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unexpected(what) => Self::unreadable(what),
            // What it says may repeat values.
            Failure::Refused(error) => Self {
                fault: Fault::Refused {
                    code: error.code().unwrap_or("ERR").into(),
                    detail: "".into(),
                },
            },
            failure => Self {
                fault: Fault::Away(failure),
            },
        }
    }
}

impl From<&ServerError> for RedisCallError {
    fn from(error: &ServerError) -> Self {
        let detail = error.details().unwrap_or_default();
        // What Redis repeats of a command stands in quotes.
        let end = detail.find(['\'', '"', '`']).unwrap_or(detail.len());
        Self {
            fault: Fault::Refused {
                code: error.code().into(),
                detail: detail[..end].trim_end().into(),
            },
        }
    }
}

impl fmt::Display for RedisCallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            Fault::Away(failure) => failure.fmt(f),
            Fault::NotAllowed(why) => f.write_str(why),
            Fault::Refused { code, detail } => write!(f, "Redis refused a command: {code} {detail}"),
            Fault::Unreadable(what) => f.write_str(what),
            Fault::HeldElsewhere => f.write_str("the lock is held elsewhere"),
        }
    }
}

impl Error for RedisCallError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.fault {
            Fault::Away(failure) => failure.cause(),
            _ => None,
        }
    }
}
