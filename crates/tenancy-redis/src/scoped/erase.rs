use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use bb8_redis::redis;
use tenancy::cache::shared::ScopeName;
use tokio::time::sleep;

use super::{RedisCallError, handles::read, pages::Pages};
use crate::{command::Command, failure::Failure, keys::slot_of, link::Link};

/// What still comes after so many passes is written all the time.
const PASSES: u32 = 20;
/// Longer than processes work for a tenant that was deleted, by default: they ask the catalogue every half second, and its leases are
/// renewed for five and a half times the staleness bound of two seconds after its last flush.
const WAIT: Duration = Duration::from_secs(15);

/// Erases what a tenant has in Redis, once it is awaited: values, counters and locks of the application, entries of the cache,
/// and the numbers by which these are judged. Had from [`Redis::erase`](super::Redis::erase).
///
/// **The order is: delete the tenant in the catalogue, wait, erase.** A process that has not heard of the end serves the tenant, and writes. So it
/// waits first: [15 s](Self::after), which is more than a catalogue that is followed takes, and then takes more passes until
/// one finds nothing. What writes later still, as a job that runs for an hour with a [`TenantRedis`](super::TenantRedis) in
/// hand, leaves something behind: erase once more. A tenant that is made under the same id is another incarnation, and never
/// sees it.
///
/// Redis looks at all keys that it has, a thousand at a time, and serves others in between. In a cluster only the server of the
/// tenant's slot is asked; do not move that slot meanwhile. A pass counts only if it was one process of Redis that was looked through
/// from its beginning to its end, and a master at its end; a failover that comes later may bring back what had not reached the
/// replica: erase once more. It may be done any number of times, and dropped at any await: what
/// was erased is erased.
///
/// # Errors
/// Awaited, a [`RedisCallError`]: Redis refused, can not be reached when a pass begins, did not answer in time, or went away in each of
/// twenty passes. What was erased until then is erased; erase once more. That others write all the time is no error: see
/// [`Erased::is_all`].
///
/// ```no_run
/// use tenancy::core::TenantRecord;
/// use tenancy_redis::{Redis, RedisCallError};
///
/// /// For a hook of `tenancy_sqlx::lifecycle`, at `Moment::After` and `LifecycleAction::Drop`; or after a purge by hand.
/// async fn erase(redis: &Redis, record: &TenantRecord) -> Result<(), RedisCallError> {
///     let erased = redis.erase(record).progress(|so_far| println!("{} keys", so_far.keys)).await?;
///     assert!(erased.is_all());
///     Ok(())
/// }
/// ```
#[must_use = "nothing is erased before it is awaited"]
pub struct RedisErase {
    link: Arc<Link>,
    slot: u16,
    beginning: Vec<u8>,
    wait: Duration,
    progress: Option<Box<dyn FnMut(EraseProgress) + Send>>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EraseProgress {
    /// Keys that were erased so far.
    pub keys: u64,
    /// Passes that were begun.
    pub passes: u32,
}

/// What was erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Erased {
    /// Keys that were erased.
    pub keys: u64,
    /// Keys that the last pass has still found, before it erased them. It finds none, unless somebody writes all the time.
    pub found_last: u64,
    /// Passes through all keys; the last one is the proof.
    pub passes: u32,
}

impl Erased {
    /// Whether a whole pass has found nothing.
    pub fn is_all(&self) -> bool {
        self.found_last == 0
    }
}

impl RedisErase {
    pub(super) fn new(link: Arc<Link>, scope: &ScopeName) -> Self {
        Self {
            slot: slot_of(scope),
            beginning: link.keys.beginning(scope),
            link,
            wait: WAIT,
            progress: None,
        }
    }

    /// Waits so long before it begins. Zero where nobody serves the tenant any more for certain. Default: 15 s; with a longer
    /// [`staleness_bound`](tenancy::cache::CacheSettings::staleness_bound) than two seconds, take seven times that.
    pub fn after(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Tells how far it is, after each thousand keys that Redis has looked at.
    pub fn progress(mut self, told: impl FnMut(EraseProgress) + Send + 'static) -> Self {
        self.progress = Some(Box::new(told));
        self
    }

    async fn run(mut self) -> Result<Erased, RedisCallError> {
        sleep(self.wait).await;
        let mut erased = Erased {
            keys: 0,
            found_last: 0,
            passes: 0,
        };
        while erased.passes < PASSES {
            erased.passes += 1;
            match self.pass(&mut erased).await {
                Ok(found) => {
                    erased.found_last = found;
                    if found == 0 {
                        break;
                    }
                }
                // Another server, or one that was started anew: that was no pass.
                Err(Failure::Lost(_) | Failure::SentAround | Failure::NoMaster(_))
                    if erased.passes < PASSES => {}
                Err(failure) => return Err(failure.into()),
            }
        }
        Ok(erased)
    }

    /// How many it found.
    async fn pass(&mut self, erased: &mut Erased) -> Result<u64, Failure> {
        let mut pages = Pages::begin(Arc::clone(&self.link), self.slot, self.beginning.clone()).await?;
        let mut found = 0;
        while let Some(keys) = pages.next().await? {
            if !keys.is_empty() {
                found += keys.len() as u64;
                let unlink = redis::cmd("UNLINK").arg(keys).take();
                let reply = self.link.run_one(Command::plain(self.slot, unlink)).await?;
                erased.keys += read::<u64>(reply).unwrap_or_default();
            }
            if let Some(told) = &mut self.progress {
                told(EraseProgress {
                    keys: erased.keys,
                    passes: erased.passes,
                });
            }
        }
        pages.end_at_a_master().await?;
        Ok(found)
    }
}

impl IntoFuture for RedisErase {
    type Output = Result<Erased, RedisCallError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for RedisErase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisErase")
            .field("keys", &self.beginning.escape_ascii().to_string())
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}
