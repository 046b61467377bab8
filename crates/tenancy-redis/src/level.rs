use std::{fmt, sync::Arc, time::Duration};

use bb8_redis::redis::{self, Cmd, Value};
use futures_util::{FutureExt, future::BoxFuture, stream::BoxStream};
use tenancy::cache::shared::{
    Answer, Ask, Claim, EntryName, Fetched, HOTTEST, Level, Message, ProcessReport, Raise, Raised, ScopeName,
    SharedError, SharedLevel, StoredEntry,
};
use tokio::sync::watch;

use crate::{
    Redis,
    command::Command,
    failure::Failure,
    keys::slot_of,
    link::{Link, whole_milliseconds},
    listen::Listener,
    message, script,
    settings::{RedisSettings, RedisSettingsError},
};

/// The shared level of the cache in Redis, over a few connections that all calls share.
///
/// It connects when it is first asked, in the runtime that it is first asked in, and again when a connection is lost: it can be made
/// while Redis is not there. Dropping it ends its connections and its streams of messages. For its caveats see
/// the [crate's documentation](crate).
pub struct RedisLevel {
    link: Arc<Link>,
    /// For applications, by connections of their own.
    apart: Arc<Link>,
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

    pub(crate) fn new(link: Link, apart: Link) -> Self {
        Self {
            link: Arc::new(link),
            apart: Arc::new(apart),
            lives: watch::Sender::new(()),
        }
    }

    /// Redis for the application's own use, under the prefix of this level, by connections of its own.
    ///
    /// It goes on when this level is dropped. Copies a pointer.
    pub fn redis(&self) -> Redis {
        Redis::over(Arc::clone(&self.apart))
    }

    async fn ask_all(&self, asks: &[Ask]) -> Result<Vec<Answer>, SharedError> {
        let commands = asks
            .iter()
            .map(|ask| script::ask(&self.link.keys, part_by_chance(), ask))
            .collect::<Result<Vec<_>, _>>()?;
        let replies = self.link.run(&commands).await?;
        let answers = replies.iter().map(script::answer).collect::<Result<Vec<_>, _>>();
        Ok(answers?)
    }

    async fn write(&self, scope: &ScopeName, entries: &[StoredEntry]) -> Result<(), SharedError> {
        let commands: Vec<Command> = entries
            .iter()
            .map(|entry| Command::plain(slot_of(scope), self.set(scope, entry)))
            .collect();
        self.link.run(&commands).await?;
        Ok(())
    }

    fn set(&self, scope: &ScopeName, entry: &StoredEntry) -> Cmd {
        redis::cmd("SET")
            .arg(self.link.keys.entry(scope, &entry.name))
            .arg(&entry.bytes[..])
            .arg("PX")
            .arg(whole_milliseconds(entry.ttl))
            .take()
    }

    async fn forget(&self, scope: &ScopeName, names: &[EntryName]) -> Result<(), SharedError> {
        let mut command = redis::cmd("UNLINK");
        for name in names {
            command.arg(self.link.keys.entry(scope, name));
        }
        self.link.run_one(Command::plain(slot_of(scope), command)).await?;
        Ok(())
    }
}

impl SharedLevel for RedisLevel {
    fn patience(&self) -> Duration {
        // Beyond what `run` waits, so that a connection which does not answer is found there, and closed.
        3 * self.link.limits.answer + Duration::from_millis(100)
    }

    fn renew<'a>(&'a self, asks: &'a [Ask]) -> BoxFuture<'a, Result<Vec<Answer>, SharedError>> {
        self.ask_all(asks).boxed()
    }

    fn fetch<'a>(
        &'a self,
        ask: &'a Ask,
        names: &'a [EntryName],
    ) -> BoxFuture<'a, Result<Fetched, SharedError>> {
        async { Ok(self.link.fetch(ask, names).await?) }.boxed()
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
                .link
                .run_one(script::raise(&self.link.keys, part_by_chance(), raise)?)
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
            let command = script::teach(&self.link.keys, part_by_chance(), scope, known)?;
            Ok(script::answer(&self.link.run_one(command).await?)?)
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
            let length = whole_milliseconds(length);
            let reply = self
                .link
                .run_one(script::claim(&self.link.keys, claim, length))
                .await?;
            Ok(reply == Value::Int(1))
        }
        .boxed()
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<(), SharedError>> {
        async move {
            self.link.run_one(script::release(&self.link.keys, claim)).await?;
            Ok(())
        }
        .boxed()
    }

    fn heat<'a>(&'a self, uses: &'a [(ScopeName, u64)]) -> BoxFuture<'a, Result<(), SharedError>> {
        async move {
            if let Some(central) = central() {
                self.link
                    .run_one(script::heat(&self.link.keys, &central, uses))
                    .await?;
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
            let [heat, _] = self.link.keys.heat(&central);
            let range = redis::cmd("ZREVRANGE").arg(heat).arg(0).arg(last).take();
            let Value::Array(names) = self
                .link
                .run_one(Command::plain(slot_of(&central), range))
                .await?
            else {
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
            let seconds = (whole_milliseconds(keep_for) / 1000).max(1);
            let commands: Vec<_> = reports
                .iter()
                .map(|report| script::report(&self.link.keys, report, seconds))
                .collect();
            self.link.run(&commands).await?;
            Ok(())
        }
        .boxed()
    }

    fn reports<'a>(&'a self, scope: &'a ScopeName) -> BoxFuture<'a, Result<Vec<ProcessReport>, SharedError>> {
        async move {
            let reply = self.link.run_one(script::reports(&self.link.keys, scope)).await?;
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
            servers: Arc::clone(&self.link.servers),
            limits: self.link.limits,
            channel: self.link.keys.channel().into(),
            lives: self.lives.subscribe(),
            // What is not understood may say anything.
            read: |payload| message::read(&payload).unwrap_or(Message::Gap),
            gap: || Message::Gap,
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
pub(crate) fn part_by_chance() -> u16 {
    fastrand::u16(..1_024)
}

impl fmt::Debug for RedisLevel {
    /// Names servers, and shows no password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLevel")
            .field("servers", &self.link.servers)
            .field("keys", &self.link.keys)
            .field("limits", &self.link.limits)
            .finish_non_exhaustive()
    }
}
