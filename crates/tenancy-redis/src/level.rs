use std::{fmt, sync::Arc, time::Duration};

use bb8_redis::redis::{self, Cmd, Value};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture, stream::BoxStream};
use tenancy::cache::shared::{
    Answer, Ask, Claim, EntryName, Fetched, FoundEntry, HOTTEST, Level, Message, ProcessReport, Raise,
    Raised, ScopeName, SharedError, SharedLevel, StoredEntry,
};
use tokio::{sync::watch, time::timeout};

use crate::{
    command::Command,
    failure::Failure,
    keys::Keys,
    listen::Listener,
    script,
    server::Limits,
    servers::Servers,
    settings::{RedisSettings, RedisSettingsError},
};

/// A century: longer times overflow in Redis.
const LONGEST_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The shared level of the cache in Redis, over a few connections that all calls share.
///
/// It connects when it is first asked, in the runtime that it is first asked in, and again when a connection is lost: it can be made
/// while Redis is not there. Dropping it ends its connections and its streams of messages. For its caveats see
/// the [crate's documentation](crate).
pub struct RedisLevel {
    servers: Arc<Servers>,
    keys: Keys,
    limits: Limits,
    /// What listens sees when this is dropped.
    lives: watch::Sender<()>,
}

impl RedisLevel {
    /// One server, with the default settings: `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS with the
    /// feature `tls`. Does not connect and does not wait.
    ///
    /// # Errors
    /// The URL is not valid.
    pub fn connect(url: &str) -> Result<Self, RedisSettingsError> {
        RedisSettings::single(url).build()
    }

    pub(crate) fn new(servers: Servers, keys: Keys, limits: Limits) -> Self {
        Self {
            servers: Arc::new(servers),
            keys,
            limits,
            lives: watch::Sender::new(()),
        }
    }

    /// One more limit around those of connections and replies, for calls that are sent around.
    async fn run(&self, commands: &[Command]) -> Result<Vec<Value>, Failure> {
        match timeout(2 * self.limits.answer, self.servers.run(commands)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::TimedOut(None)),
        }
    }

    async fn run_one(&self, command: Command) -> Result<Value, Failure> {
        let replies = self.run(&[command]).await?;
        replies
            .into_iter()
            .next()
            .ok_or(Failure::Unexpected("Redis sent no reply"))
    }

    async fn ask_all(&self, asks: &[Ask]) -> Result<Vec<Answer>, SharedError> {
        let commands = asks
            .iter()
            .map(|ask| script::ask(&self.keys, part_by_chance(), ask))
            .collect::<Result<Vec<_>, _>>()?;
        let replies = self.run(&commands).await?;
        let answers = replies.iter().map(script::answer).collect::<Result<Vec<_>, _>>();
        Ok(answers?)
    }

    async fn read(&self, ask: &Ask, names: &[EntryName]) -> Result<Fetched, SharedError> {
        let mut commands = Vec::with_capacity(2 * names.len() + 1);
        for name in names {
            let key = self.keys.entry(&ask.scope, name);
            commands.push(Command::plain(&ask.scope, redis::cmd("GET").arg(&key).take()));
            commands.push(Command::plain(&ask.scope, redis::cmd("PTTL").arg(&key).take()));
        }
        // Last: what was raised before an entry was read is in the answer.
        commands.push(script::ask(&self.keys, part_by_chance(), ask)?);
        let mut replies = self.run(&commands).await?;
        let answer = replies.pop().unwrap_or_default();
        let (pairs, _) = replies.as_chunks_mut::<2>();
        Ok(Fetched {
            answer: script::answer(&answer)?,
            entries: pairs.iter_mut().map(found).collect(),
        })
    }

    async fn write(&self, scope: &ScopeName, entries: &[StoredEntry]) -> Result<(), SharedError> {
        let commands: Vec<Command> = entries
            .iter()
            .map(|entry| Command::plain(scope, self.set(scope, entry)))
            .collect();
        self.run(&commands).await?;
        Ok(())
    }

    fn set(&self, scope: &ScopeName, entry: &StoredEntry) -> Cmd {
        // What is not a whole number of milliseconds is kept for less.
        let ttl = entry.ttl.min(LONGEST_TTL).as_millis().max(1) as u64;
        redis::cmd("SET")
            .arg(self.keys.entry(scope, &entry.name))
            .arg(&entry.bytes[..])
            .arg("PX")
            .arg(ttl)
            .take()
    }

    async fn forget(&self, scope: &ScopeName, names: &[EntryName]) -> Result<(), SharedError> {
        let mut command = redis::cmd("UNLINK");
        for name in names {
            command.arg(self.keys.entry(scope, name));
        }
        self.run_one(Command::plain(scope, command)).await?;
        Ok(())
    }
}

/// The value and its time to live. One without a time was not stored by a level, and one that has just ended is gone.
fn found([value, remaining]: &mut [Value; 2]) -> Option<FoundEntry> {
    let (Value::BulkString(bytes), Value::Int(milliseconds)) = (value, remaining) else {
        return None;
    };
    let milliseconds = u64::try_from(*milliseconds).ok().filter(|left| *left > 0)?;
    Some(FoundEntry {
        bytes: Bytes::from(std::mem::take(bytes)),
        remaining: Duration::from_millis(milliseconds),
    })
}

impl SharedLevel for RedisLevel {
    fn renew<'a>(&'a self, asks: &'a [Ask]) -> BoxFuture<'a, Result<Vec<Answer>, SharedError>> {
        self.ask_all(asks).boxed()
    }

    fn fetch<'a>(
        &'a self,
        ask: &'a Ask,
        names: &'a [EntryName],
    ) -> BoxFuture<'a, Result<Fetched, SharedError>> {
        self.read(ask, names).boxed()
    }

    fn store<'a>(
        &'a self,
        scope: &'a ScopeName,
        entries: &'a [StoredEntry],
    ) -> BoxFuture<'a, Result<(), SharedError>> {
        self.write(scope, entries).boxed()
    }

    fn raise<'a>(&'a self, raise: &'a Raise) -> BoxFuture<'a, Result<Raised, SharedError>> {
        async {
            let reply = self
                .run_one(script::raise(&self.keys, part_by_chance(), raise)?)
                .await?;
            Ok(script::raised(&reply)?)
        }
        .boxed()
    }

    fn teach<'a>(
        &'a self,
        scope: &'a ScopeName,
        known: &'a [Level],
    ) -> BoxFuture<'a, Result<Answer, SharedError>> {
        async move {
            let command = script::teach(&self.keys, part_by_chance(), scope, known)?;
            Ok(script::answer(&self.run_one(command).await?)?)
        }
        .boxed()
    }

    fn discard<'a>(
        &'a self,
        scope: &'a ScopeName,
        names: &'a [EntryName],
    ) -> BoxFuture<'a, Result<(), SharedError>> {
        async move {
            // Without names the command would be refused.
            if names.is_empty() {
                return Ok(());
            }
            self.forget(scope, names).await
        }
        .boxed()
    }

    fn claim<'a>(&'a self, claim: &'a Claim, length: Duration) -> BoxFuture<'a, Result<bool, SharedError>> {
        async move {
            let length = length.min(LONGEST_TTL).as_millis().max(1) as u64;
            let reply = self.run_one(script::claim(&self.keys, claim, length)).await?;
            Ok(reply == Value::Int(1))
        }
        .boxed()
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<(), SharedError>> {
        async move {
            self.run_one(script::release(&self.keys, claim)).await?;
            Ok(())
        }
        .boxed()
    }

    fn heat<'a>(&'a self, uses: &'a [(ScopeName, u64)]) -> BoxFuture<'a, Result<(), SharedError>> {
        async move {
            if let Some(central) = central() {
                self.run_one(script::heat(&self.keys, &central, uses)).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn hottest(&self, most: usize) -> BoxFuture<'_, Result<Vec<ScopeName>, SharedError>> {
        async move {
            let (Some(central), Some(last)) = (central(), most.min(HOTTEST).checked_sub(1)) else {
                return Ok(Vec::new());
            };
            let [heat, _] = self.keys.heat(&central);
            let range = redis::cmd("ZREVRANGE").arg(heat).arg(0).arg(last).take();
            let Value::Array(names) = self.run_one(Command::plain(&central, range)).await? else {
                return Err(Failure::Unexpected("the hottest scopes are no list").into());
            };
            // What is no name is not ours.
            Ok(names.iter().filter_map(scope_of).collect())
        }
        .boxed()
    }

    fn report<'a>(
        &'a self,
        reports: &'a [ProcessReport],
        keep_for: Duration,
    ) -> BoxFuture<'a, Result<(), SharedError>> {
        async move {
            let seconds = keep_for.min(LONGEST_TTL).as_secs().max(1);
            let commands: Vec<_> = reports
                .iter()
                .map(|report| script::report(&self.keys, report, seconds))
                .collect();
            self.run(&commands).await?;
            Ok(())
        }
        .boxed()
    }

    fn reports<'a>(&'a self, scope: &'a ScopeName) -> BoxFuture<'a, Result<Vec<ProcessReport>, SharedError>> {
        async move {
            let reply = self.run_one(script::reports(&self.keys, scope)).await?;
            let reported = script::reported(&reply)?.into_iter();
            let with_scope = reported.map(|(process, text)| ProcessReport {
                scope: scope.clone(),
                process,
                text,
            });
            Ok(with_scope.collect())
        }
        .boxed()
    }

    fn listen(&self) -> BoxStream<'static, Message> {
        let listener = Listener {
            servers: Arc::clone(&self.servers),
            limits: self.limits,
            channel: self.keys.channel().to_owned(),
            level: self.lives.subscribe(),
        };
        listener.into_stream()
    }
}

/// Where the heat of all scopes is.
fn central() -> Option<ScopeName> {
    ScopeName::parse(":central")
}

fn scope_of(value: &Value) -> Option<ScopeName> {
    match value {
        Value::BulkString(bytes) => ScopeName::parse(std::str::from_utf8(bytes).ok()?),
        _ => None,
    }
}

/// Of each number: what a server gives again, whose clock is behind that of the one it took over from, differs as good as always.
fn part_by_chance() -> u16 {
    fastrand::u16(..1_024)
}

impl fmt::Debug for RedisLevel {
    /// Names servers, and shows no password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLevel")
            .field("servers", &self.servers)
            .field("keys", &self.keys)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
