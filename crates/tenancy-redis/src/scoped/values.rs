use std::time::Duration;

use bb8_redis::redis::{self, Cmd, FromRedisValue, ToRedisArgs, Value};

use super::{
    RedisCallError, ScopedRedis,
    handles::{Kind, read},
};
use crate::{command::Command, link::whole_milliseconds};

/// Values under names. A time to live is a [`Duration`], or `None` for what does not end by itself; less than a millisecond is
/// one.
impl ScopedRedis {
    /// The value under this name; `None` if there is none. A reply of another type than `T` is
    /// [unreadable](RedisCallError::is_unreadable).
    ///
    /// # Errors
    /// Redis refused, or can not be reached.
    pub async fn get<T: FromRedisValue>(&self, name: impl AsRef<[u8]>) -> Result<Option<T>, RedisCallError> {
        let get = self.on("GET", name)?;
        read(self.reply_to(self.plain(get)).await?)
    }

    /// The values under these names, in their order; one round trip.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_many<T: FromRedisValue>(
        &self,
        names: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Vec<Option<T>>, RedisCallError> {
        match self.on_all("MGET", names)? {
            Some(get) => read(self.reply_to(self.plain(get)).await?),
            None => Ok(Vec::new()),
        }
    }

    /// Puts a value under this name, in the place of whatever was there, its time to live included.
    ///
    /// Where the connection is lost it is sent again: what somebody else puts there in the tenths of a second between is then replaced,
    /// too, as if this had come later. Use [`set_if_absent`](Self::set_if_absent), a counter or a lock where that matters.
    ///
    /// # Errors
    /// Redis refused, or can not be reached.
    pub async fn set(
        &self,
        name: impl AsRef<[u8]>,
        value: impl ToRedisArgs,
        ttl: impl Into<Option<Duration>>,
    ) -> Result<(), RedisCallError> {
        let set = self.set_command(name, value, ttl.into())?;
        self.reply_to(self.plain(set)).await?;
        Ok(())
    }

    /// Puts values under names; one round trip. Others may see some of them before the rest.
    ///
    /// # Errors
    /// Redis refused, or can not be reached: some may be there.
    pub async fn set_many(
        &self,
        values: impl IntoIterator<Item = (impl AsRef<[u8]>, impl ToRedisArgs)>,
        ttl: impl Into<Option<Duration>>,
    ) -> Result<(), RedisCallError> {
        let ttl = ttl.into();
        let values = values.into_iter();
        let commands = values
            .map(|(name, value)| Ok(self.plain(self.set_command(name, value, ttl)?)))
            .collect::<Result<Vec<_>, RedisCallError>>()?;
        self.replies_to(&commands).await?;
        Ok(())
    }

    /// Puts a value under this name if there is none. Whether it did.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub async fn set_if_absent(
        &self,
        name: impl AsRef<[u8]>,
        value: impl ToRedisArgs,
        ttl: impl Into<Option<Duration>>,
    ) -> Result<bool, RedisCallError> {
        let set = self.set_command(name, value, ttl.into())?.arg("NX").take();
        self.has_set(set).await
    }

    /// Puts a value in the place of one. Whether there was one.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub async fn set_if_present(
        &self,
        name: impl AsRef<[u8]>,
        value: impl ToRedisArgs,
        ttl: impl Into<Option<Duration>>,
    ) -> Result<bool, RedisCallError> {
        let set = self.set_command(name, value, ttl.into())?.arg("XX").take();
        self.has_set(set).await
    }

    /// Removes what is under this name, of whichever type. Whether there was something.
    ///
    /// # Errors
    /// Redis refused, or can not be reached.
    pub async fn remove(&self, name: impl AsRef<[u8]>) -> Result<bool, RedisCallError> {
        Ok(self.remove_many([name]).await? == 1)
    }

    /// Removes what is under these names, at once. How many there were.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub async fn remove_many(
        &self,
        names: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<u64, RedisCallError> {
        match self.on_all("UNLINK", names)? {
            Some(unlink) => read(self.reply_to(self.plain(unlink).once()).await?),
            None => Ok(0),
        }
    }

    /// Whether there is something under this name.
    ///
    /// # Errors
    /// Redis refused, or can not be reached.
    pub async fn exists(&self, name: impl AsRef<[u8]>) -> Result<bool, RedisCallError> {
        let exists = self.on("EXISTS", name)?;
        read(self.reply_to(self.plain(exists)).await?)
    }

    /// Ends what is under this name after this time from now. Whether there is something.
    ///
    /// Where the connection is lost it is sent again, and the time counted from then.
    ///
    /// # Errors
    /// Redis refused, or can not be reached.
    pub async fn expire(&self, name: impl AsRef<[u8]>, ttl: Duration) -> Result<bool, RedisCallError> {
        let expire = self.on("PEXPIRE", name)?.arg(whole_milliseconds(ttl)).take();
        read(self.reply_to(self.plain(expire)).await?)
    }

    /// For how long what is under this name will be there; `None` if it does not end by itself, or there is nothing:
    /// [`exists`](Self::exists) tells which.
    ///
    /// # Errors
    /// Redis refused, or can not be reached.
    pub async fn time_left(&self, name: impl AsRef<[u8]>) -> Result<Option<Duration>, RedisCallError> {
        let ask = self.on("PTTL", name)?;
        let milliseconds: i64 = read(self.reply_to(self.plain(ask)).await?)?;
        Ok(u64::try_from(milliseconds).ok().map(Duration::from_millis))
    }

    fn set_command(
        &self,
        name: impl AsRef<[u8]>,
        value: impl ToRedisArgs,
        ttl: Option<Duration>,
    ) -> Result<Cmd, RedisCallError> {
        let mut words = value.to_redis_args();
        let (Some(value), true) = (words.pop(), words.is_empty()) else {
            return Err(RedisCallError::not_allowed(
                "a value is one text, number or run of bytes",
            ));
        };
        let mut set = self.on("SET", name)?;
        set.arg(value);
        if let Some(ttl) = ttl {
            set.arg("PX").arg(whole_milliseconds(ttl));
        }
        Ok(set)
    }

    async fn has_set(&self, set: Cmd) -> Result<bool, RedisCallError> {
        // Done twice, it would have been there.
        let reply = self.reply_to(self.plain(set).once()).await?;
        Ok(reply == Value::Okay)
    }

    fn on(&self, command: &str, name: impl AsRef<[u8]>) -> Result<Cmd, RedisCallError> {
        let key = self.key(Kind::Value, name.as_ref())?;
        Ok(redis::cmd(command).arg(key).take())
    }

    /// `None` without a name: Redis would refuse.
    fn on_all(
        &self,
        command: &str,
        names: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Option<Cmd>, RedisCallError> {
        let (mut command, mut is_empty) = (redis::cmd(command), true);
        for name in names {
            command.arg(self.key(Kind::Value, name.as_ref())?);
            is_empty = false;
        }
        Ok((!is_empty).then_some(command))
    }

    fn plain(&self, command: Cmd) -> Command {
        Command::plain(self.slot, command)
    }
}
