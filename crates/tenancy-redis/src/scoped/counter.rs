use std::time::Duration;

use super::{
    RedisCallError, ScopedRedis,
    handles::{Kind, read},
};
use crate::{command::Command, link::whole_milliseconds, script};

/// A number under a name, added to in one step. It is an ordinary value: [`get`](ScopedRedis::get),
/// [`remove`](ScopedRedis::remove) and `INCR` know it. Had from [`ScopedRedis::counter`].
#[derive(Clone, Debug)]
pub struct RedisCounter {
    redis: ScopedRedis,
    name: Box<[u8]>,
    lasts: Option<Duration>,
}

/// What a counter is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counted {
    /// The sum.
    pub value: i64,
    /// For how long it lasts; `None`: for ever, or there is no counter.
    pub time_left: Option<Duration>,
    /// Whether what was to be added is in it. Always, unless there was a limit.
    pub is_added: bool,
}

impl ScopedRedis {
    /// The counter of this name. Asks nobody.
    ///
    /// ```no_run
    /// # async fn example(redis: tenancy_redis::TenantRedis) -> Result<(), tenancy_redis::RedisCallError> {
    /// use std::time::Duration;
    ///
    /// let visits = redis.counter("visits").add(1).await?.value;
    ///
    /// // Five attempts in a minute, which begins with the first.
    /// let attempts = redis.counter("login:7").lasting(Duration::from_secs(60));
    /// let attempt = attempts.add_up_to(1, 5).await?;
    /// if !attempt.is_added {
    ///     println!("try again in {:?}", attempt.time_left);
    /// }
    /// # drop(visits);
    /// # Ok(())
    /// # }
    /// ```
    pub fn counter(&self, name: impl AsRef<[u8]>) -> RedisCounter {
        RedisCounter {
            redis: self.clone(),
            name: name.as_ref().into(),
            lasts: None,
        }
    }
}

impl RedisCounter {
    /// It ends so long after it began, which is in the same step as its first addition: a window that does not slide. Without, it
    /// lasts for ever. One that lasts for ever is given an end when it is next added to, also where that is refused.
    ///
    /// A Redis that is full and evicts what has an end (`volatile-…`, `allkeys-…`) may evict a counter, which then begins anew.
    #[must_use]
    pub fn lasting(mut self, time: Duration) -> Self {
        self.lasts = Some(time);
        self
    }

    /// Adds, or subtracts what is negative. One round trip.
    ///
    /// # Errors
    /// What is there is no number, or the sum does not fit; Redis refused, or can not be reached.
    pub async fn add(&self, number: i64) -> Result<Counted, RedisCallError> {
        self.count(number, None).await
    }

    /// Adds only if it then is at `most` or below: what is not added does not count. One round trip, one step. Numbers beyond
    /// 2^53 are compared roughly.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub async fn add_up_to(&self, number: i64, most: i64) -> Result<Counted, RedisCallError> {
        self.count(number, Some(most)).await
    }

    async fn count(&self, number: i64, most: Option<i64>) -> Result<Counted, RedisCallError> {
        let lasts = self.lasts.map_or(0, whole_milliseconds);
        let arguments = vec![
            number.to_string(),
            lasts.to_string(),
            most.map(|most| most.to_string()).unwrap_or_default(),
        ];
        let key = self.redis.key(Kind::Value, &self.name)?;
        let command = Command::script(self.redis.slot, &script::COUNT, vec![key], arguments);
        let (is_added, value, left): (bool, i64, i64) = read(self.redis.reply_to(command.once()).await?)?;
        Ok(Counted {
            value,
            time_left: u64::try_from(left).ok().map(Duration::from_millis),
            is_added,
        })
    }
}
