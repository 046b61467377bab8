use std::{fmt, time::Duration};

use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout},
};

use super::{
    RedisCallError, RedisGuard, ScopedRedis,
    handles::{Kind, read},
};
use crate::{
    command::Command,
    failure::Failure,
    link::whole_milliseconds,
    script::{self, Script},
};

const SHORTEST_TTL: Duration = Duration::from_millis(100);
const LONGEST_TTL: Duration = Duration::from_secs(24 * 60 * 60);
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// A lock of one scope, by its name. Had from [`ScopedRedis::lock`].
#[derive(Clone, Debug)]
pub struct RedisLock {
    redis: ScopedRedis,
    name: Box<[u8]>,
    ttl: Duration,
}

/// Right to one lock, by a token that nobody else has. Let go when it is dropped, unless that is done.
pub(super) struct Claim {
    redis: ScopedRedis,
    key: Vec<u8>,
    token: String,
    is_done: bool,
}

enum Attempt {
    Held(RedisGuard),
    /// Somebody else has it, for so long if they do not renew it.
    Elsewhere(Duration),
}

/// From the system: two machines that were started from one image must not have the same.
fn random_token() -> Result<String, RedisCallError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| Failure::Unexpected("the system gave no random number"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl ScopedRedis {
    /// The lock of this name, which holders keep by renewing it: one that dies, or is cut off, loses it after `ttl`, which is
    /// from 100 ms to a day. Asks nobody.
    ///
    /// A lock saves work. It is no proof that nobody else works: a process that stands still for longer than `ttl` goes on in
    /// the belief that it has it, and a Redis that loses its data or fails over gives it to another. Where that must do no
    /// harm, hand on the [fencing number](RedisGuard::fence), and have whoever writes refuse a lower one than the last. A Redis that
    /// is full and evicts what has an end (`volatile-…`, `allkeys-…`) may evict a lock, too: where locks and limits matter, give them a
    /// Redis of their own with `noeviction`.
    ///
    /// ```no_run
    /// # async fn example(redis: tenancy_redis::TenantRedis) -> Result<(), tenancy_redis::RedisCallError> {
    /// # async fn import(_: u64) {}
    /// use std::time::Duration;
    ///
    /// let guard = redis.lock("import", Duration::from_secs(30)).acquire(Duration::from_secs(5)).await?;
    /// tokio::select! {
    ///     () = import(guard.fence()) => {}
    ///     () = guard.lost() => println!("another one may import now"),
    /// }
    /// guard.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn lock(&self, name: impl AsRef<[u8]>, ttl: Duration) -> RedisLock {
        RedisLock {
            redis: self.clone(),
            name: name.as_ref().into(),
            ttl: ttl.clamp(SHORTEST_TTL, LONGEST_TTL),
        }
    }
}

impl RedisLock {
    /// Takes the lock if nobody has it; `None` if somebody does. One round trip. Needs a tokio runtime, for the renewal.
    ///
    /// A future that is dropped gives back what it may have got.
    ///
    /// # Errors
    /// Redis refused, or can not be reached. What may be locked then is let go in the background, or ends by itself.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn try_acquire(&self) -> Result<Option<RedisGuard>, RedisCallError> {
        match self.attempt().await? {
            Attempt::Held(guard) => Ok(Some(guard)),
            Attempt::Elsewhere(_) => Ok(None),
        }
    }

    /// Takes the lock, and waits for it for so long: it tries again, up to every quarter of a second. Those who wait have no
    /// order. It tries once at least.
    ///
    /// A future that is dropped gives back what it may have got.
    ///
    /// # Errors
    /// It [is held elsewhere](RedisCallError::is_held_elsewhere) all the time; else as [`try_acquire`](Self::try_acquire).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn acquire(&self, wait: Duration) -> Result<RedisGuard, RedisCallError> {
        match self.attempt().await? {
            Attempt::Held(guard) => Ok(guard),
            Attempt::Elsewhere(left) => timeout(wait, self.acquire_after(left))
                .await
                .unwrap_or_else(|_| Err(RedisCallError::held_elsewhere())),
        }
    }

    async fn acquire_after(&self, mut left: Duration) -> Result<RedisGuard, RedisCallError> {
        let mut pause = SHORTEST_PAUSE;
        loop {
            // Those who wait do not all ask at once.
            let part = 0.5 + fastrand::f64() / 2.0;
            sleep(pause.mul_f64(part).min(left + Duration::from_millis(1))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            match self.attempt().await? {
                Attempt::Held(guard) => return Ok(guard),
                Attempt::Elsewhere(still) => left = still,
            }
        }
    }

    /// In a task of its own: whoever gives up may not let go before the lock is taken, which another connection could do.
    async fn attempt(&self) -> Result<Attempt, RedisCallError> {
        let lock = self.clone();
        match tokio::spawn(async move { lock.attempt_here().await }).await {
            Ok(attempt) => attempt,
            // The runtime ends.
            Err(_) => Err(Failure::NoConnection(None).into()),
        }
    }

    async fn attempt_here(&self) -> Result<Attempt, RedisCallError> {
        let mut claim = Claim {
            redis: self.redis.clone(),
            key: self.redis.key(Kind::Lock, &self.name)?,
            token: random_token()?,
            // An answer that is late may be that it is locked.
            is_done: false,
        };
        let asked_at = Instant::now();
        match claim.take(self.ttl).await {
            Ok((true, fence)) => Ok(Attempt::Held(RedisGuard::new(claim, fence, self.ttl, asked_at))),
            Ok((false, left)) => {
                claim.is_done = true;
                Ok(Attempt::Elsewhere(Duration::from_millis(left)))
            }
            Err(error) => {
                claim.is_done = !(error.may_have_been_done() || error.is_unreadable());
                Err(error)
            }
        }
    }
}

impl Claim {
    /// Whether it is got, and its fencing number; or for how many milliseconds it is another's.
    async fn take(&self, ttl: Duration) -> Result<(bool, u64), RedisCallError> {
        let arguments = vec![self.token.clone(), whole_milliseconds(ttl).to_string()];
        let keys = vec![self.key.clone(), self.redis.fence()];
        let command = Command::script(self.redis.slot, &script::LOCK, keys, arguments);
        let (is_got, number): (bool, i64) = read(self.redis.reply_to(command).await?)?;
        Ok((is_got, number.try_into().unwrap_or_default()))
    }

    /// Whether it was still held.
    pub(super) async fn extend(&self, ttl: Duration) -> Result<bool, RedisCallError> {
        let ttl = whole_milliseconds(ttl).to_string();
        self.run(&script::EXTEND, vec![self.token.clone(), ttl], true)
            .await
    }

    /// Whether it was still held.
    pub(super) async fn let_go(&mut self) -> Result<bool, RedisCallError> {
        let was_held = self.run(&script::UNLOCK, vec![self.token.clone()], false).await?;
        self.is_done = true;
        Ok(was_held)
    }

    async fn run(
        &self,
        script: &'static Script,
        arguments: Vec<String>,
        may_repeat: bool,
    ) -> Result<bool, RedisCallError> {
        let command = Command::script(self.redis.slot, script, vec![self.key.clone()], arguments);
        let command = if may_repeat { command } else { command.once() };
        read(self.redis.reply_to(command).await?)
    }

    /// The same right, for who renews it: ends nothing.
    pub(super) fn for_renewal(&self) -> Self {
        Self {
            redis: self.redis.clone(),
            key: self.key.clone(),
            token: self.token.clone(),
            is_done: true,
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        // Without a runtime it ends by itself.
        if let Ok(runtime) = Handle::try_current() {
            let mut claim = self.for_renewal();
            runtime.spawn(async move {
                if let Err(error) = claim.let_go().await {
                    tracing::debug!(%error, "a lock that was dropped ends by itself");
                }
            });
        }
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("key", &self.key.escape_ascii().to_string())
            .finish_non_exhaustive()
    }
}
