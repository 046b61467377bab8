use std::fmt;

use bb8_redis::redis::{self, ToRedisArgs};

use super::{RedisCallError, ScopedRedis, allowed, handles::Kind};
use crate::command::Command;

/// Longer names are nobody's.
const LONGEST_COMMAND: usize = 32;

/// A command as it stands in Redis's documentation, with its names marked as such: [`command`] begins one.
///
/// ```
/// use tenancy_redis::command;
///
/// let trimmed = command("LTRIM").key("jobs").arg(0).arg(99);
/// let common = command("ZINTERSTORE").key("both").arg(2).key("red").key("large").arg("AGGREGATE").arg("MAX");
/// # drop((trimmed, common));
/// ```
#[derive(Clone)]
pub struct RedisCommand {
    name: String,
    words: Vec<Word>,
    may_repeat: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// A name, which becomes a key of the scope.
    Key(Vec<u8>),
    Argument(Vec<u8>),
}

/// Begins a command. Those are allowed that Redis says the keys of by where they stand: on strings, numbers, bits, hashes,
/// lists, sets, sorted sets, streams, places and expiry. Not allowed is what waits, runs scripts, reaches further than the keys
/// that it names, is for administrators, or needs a connection of its own: `BLPOP`, `EVAL`, `FLUSHALL`, `KEYS`, `SCAN`, `SORT`,
/// `SELECT`, `MULTI`, `XREAD`, `SUBSCRIBE`.
pub fn command(name: &str) -> RedisCommand {
    let name = if name.len() <= LONGEST_COMMAND {
        name.to_ascii_uppercase()
    } else {
        String::new()
    };
    RedisCommand {
        name,
        words: Vec::new(),
        may_repeat: false,
    }
}

impl RedisCommand {
    /// A name of the scope's, at this place.
    #[must_use]
    pub fn key(mut self, name: impl AsRef<[u8]>) -> Self {
        self.words.push(Word::Key(name.as_ref().to_vec()));
        self
    }

    /// Names of the scope's, from this place on.
    #[must_use]
    pub fn keys(self, names: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        names.into_iter().fold(self, Self::key)
    }

    /// Anything but a name: text, bytes, a number; several where it is a list.
    #[must_use]
    pub fn arg(mut self, argument: impl ToRedisArgs) -> Self {
        let arguments = argument.to_redis_args();
        self.words.extend(arguments.into_iter().map(Word::Argument));
        self
    }

    /// Says that doing it twice is as good as once: then it is sent again where the connection is lost. What only reads always
    /// is.
    #[must_use]
    pub fn may_repeat(mut self) -> Self {
        self.may_repeat = true;
        self
    }

    pub(super) fn into_command(self, redis: &ScopedRedis) -> Result<Command, RedisCallError> {
        let Self {
            name,
            words,
            may_repeat,
        } = self;
        let allowed = allowed::find(&name).ok_or_else(|| not_allowed(&name))?;
        if !allowed.layout.fits(&words) {
            return Err(RedisCallError::not_allowed(format!(
                "{name} has its keys elsewhere, or no keys"
            )));
        }
        let mut command = redis::cmd(allowed.name);
        for word in words {
            match word {
                Word::Key(name) => command.arg(redis.key(Kind::Value, &name)?),
                Word::Argument(argument) => command.arg(argument),
            };
        }
        let command = Command::plain(redis.slot, command);
        Ok(if allowed.only_reads || may_repeat {
            command
        } else {
            command.once()
        })
    }
}

impl fmt::Debug for RedisCommand {
    /// Shows no names and no values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCommand")
            .field("name", &self.name)
            .field("words", &self.words.len())
            .field("may_repeat", &self.may_repeat)
            .finish()
    }
}

fn not_allowed(name: &str) -> RedisCallError {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return RedisCallError::not_allowed("what was to be a command is none");
    }
    RedisCallError::not_allowed(format!(
        "{name} is none of the commands that can be kept to one scope's keys"
    ))
}
