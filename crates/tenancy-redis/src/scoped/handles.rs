use std::{fmt, ops::Deref, sync::Arc};

use axum::extract::{FromRef, FromRequestParts};
use bb8_redis::redis::{self, FromRedisValue, Value};
use http::request::Parts;
use tenancy::{
    Tenant,
    cache::{CacheScope, shared::ScopeName},
    core::TenantRecord,
    extract::{Central, ExtractRejection},
};

use super::{RedisCallError, RedisCommand, RedisErase};
use crate::{command::Command, keys::slot_of, link::Link};

/// A name may be so long, in bytes. Redis would take half a gigabyte.
const LONGEST_NAME: usize = 65_536;

/// Redis for the application's own use, of all tenants: had from [`RedisLevel::redis`](crate::RedisLevel::redis), and put
/// into the router's state, from where [`TenantRedis`] takes it. Clones share the connections.
#[derive(Clone)]
pub struct Redis {
    link: Arc<Link>,
}

/// One scope's part of Redis: a tenant's, by [`TenantRedis`], or the central one, by [`CentralRedis`].
///
/// A name is any bytes, also none, up to 64 KiB. It stands behind the scope's in each key, so that none leads out of it. All of
/// a scope is in one slot of a cluster: commands may take several names. Each call ends within some hundred milliseconds. What
/// must not be done twice is sent once: where the connection is lost the error says that it
/// [may have been done](RedisCallError::may_have_been_done). Dropping a call's future stops nothing that was sent.
#[derive(Clone)]
pub struct ScopedRedis {
    pub(super) link: Arc<Link>,
    /// What every key begins with.
    beginning: Arc<[u8]>,
    pub(super) slot: u16,
}

/// A tenant's part of Redis. Extract it in handlers behind the cache-scope stage, with a [`Redis`] in the router's state;
/// elsewhere [`Redis::of`] makes it of a [`Tenant`]. Derefs to [`ScopedRedis`], which has the methods.
#[derive(Clone)]
pub struct TenantRedis {
    tenant: Tenant,
    redis: ScopedRedis,
}

/// The part of Redis that is no tenant's. Extract it in central handlers; elsewhere it is [`Redis::central`]. Derefs to
/// [`ScopedRedis`], which has the methods.
#[derive(Clone)]
pub struct CentralRedis {
    redis: ScopedRedis,
}

impl Redis {
    pub(crate) fn over(link: Arc<Link>) -> Self {
        Self { link }
    }

    /// The tenant's part. Allocates its prefix; asks nobody.
    pub fn of(&self, tenant: &Tenant) -> TenantRedis {
        TenantRedis {
            tenant: tenant.clone(),
            redis: self.scoped(&ScopeName::of(tenant.id(), tenant.incarnation())),
        }
    }

    /// The part that is no tenant's.
    pub fn central(&self) -> CentralRedis {
        CentralRedis {
            redis: self.scoped(&ScopeName::central()),
        }
    }

    /// Whether Redis answers: one `PING`, for health checks. Of a cluster, the server that has what is no tenant's. Ends within some
    /// hundred milliseconds.
    ///
    /// # Errors
    /// When it does not, or refuses.
    pub async fn ping(&self) -> Result<(), RedisCallError> {
        let ping = Command::plain(slot_of(&ScopeName::central()), redis::cmd("PING"));
        self.link.run_one(ping).await?;
        Ok(())
    }

    /// Erases all that a tenant has in Redis, once it is awaited: what the application keeps, and what the cache does. For a
    /// tenant that is deleted in the catalogue: see [`RedisErase`].
    pub fn erase(&self, record: &TenantRecord) -> RedisErase {
        let scope = ScopeName::of(&record.id, record.incarnation);
        RedisErase::new(Arc::clone(&self.link), &scope)
    }

    #[cfg(test)]
    pub(super) fn scoped_for_tests(&self, scope: &ScopeName) -> ScopedRedis {
        self.scoped(scope)
    }

    fn scoped(&self, scope: &ScopeName) -> ScopedRedis {
        ScopedRedis {
            link: Arc::clone(&self.link),
            beginning: self.link.keys.beginning(scope).into(),
            slot: slot_of(scope),
        }
    }
}

impl TenantRedis {
    /// Whose part this is.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }
}

impl Deref for TenantRedis {
    type Target = ScopedRedis;

    fn deref(&self) -> &ScopedRedis {
        &self.redis
    }
}

impl Deref for CentralRedis {
    type Target = ScopedRedis;

    fn deref(&self) -> &ScopedRedis {
        &self.redis
    }
}

impl<S> FromRequestParts<S> for TenantRedis
where
    S: Send + Sync,
    Redis: FromRef<S>,
{
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ExtractRejection> {
        let scope = CacheScope::from_request_parts(parts, state).await?;
        Ok(Redis::from_ref(state).of(scope.tenant()))
    }
}

impl<S> FromRequestParts<S> for CentralRedis
where
    S: Send + Sync,
    Redis: FromRef<S>,
{
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ExtractRejection> {
        Central::from_request_parts(parts, state).await?;
        Ok(Redis::from_ref(state).central())
    }
}

/// Which kind of thing a name is of. Each has keys of its own, and none the cache's `:v`, `:n`, `:e:` or `:s:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Value,
    Lock,
}

impl Kind {
    fn part(self) -> &'static [u8] {
        match self {
            Self::Value => b"a:",
            Self::Lock => b"l:",
        }
    }
}

impl ScopedRedis {
    /// Runs a command, and reads its reply as a `T` of the crate [`redis`].
    ///
    /// ```no_run
    /// # async fn example(redis: tenancy_redis::TenantRedis) -> Result<(), tenancy_redis::RedisCallError> {
    /// use tenancy_redis::command;
    ///
    /// let length: i64 = redis.run(command("LPUSH").key("jobs").arg(7)).await?;
    /// let common: Vec<String> = redis.run(command("SINTER").key("red").key("large")).await?;
    /// # drop((length, common));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command [is none that is allowed](RedisCallError::is_not_allowed), Redis refused it or can not be reached, or the
    /// reply is no `T`.
    pub async fn run<T: FromRedisValue>(&self, command: RedisCommand) -> Result<T, RedisCallError> {
        let command = command.into_command(self)?;
        read(self.reply_to(command).await?)
    }

    /// Runs commands in their order and in one go, and reads their replies as one `T`: a tuple, or a `Vec`. It is no
    /// transaction: what others send may be done in between.
    ///
    /// # Errors
    /// As [`run`](Self::run). Where one is not allowed, none is sent; where Redis refuses one, the others are done.
    pub async fn run_all<T: FromRedisValue>(
        &self,
        commands: impl IntoIterator<Item = RedisCommand>,
    ) -> Result<T, RedisCallError> {
        let commands = commands.into_iter();
        let commands = commands
            .map(|command| command.into_command(self))
            .collect::<Result<Vec<_>, _>>()?;
        read(Value::Array(self.replies_to(&commands).await?))
    }

    pub(super) async fn reply_to(&self, command: Command) -> Result<Value, RedisCallError> {
        let replies = self.replies_to(&[command]).await?;
        let reply = replies.into_iter().next();
        reply.ok_or_else(|| RedisCallError::unreadable("Redis sent no reply"))
    }

    pub(super) async fn replies_to(&self, commands: &[Command]) -> Result<Vec<Value>, RedisCallError> {
        let replies = self.link.run_each(commands).await?.into_iter();
        let done = replies.map(|reply| match reply? {
            Value::ServerError(error) => Err(RedisCallError::from(&error)),
            reply => Ok(reply),
        });
        done.collect()
    }

    /// The key of a name.
    pub(super) fn key(&self, kind: Kind, name: &[u8]) -> Result<Vec<u8>, RedisCallError> {
        if name.len() > LONGEST_NAME {
            return Err(too_long());
        }
        Ok([&*self.beginning, kind.part(), name].concat())
    }

    /// The channel of a name. Channels know nothing of databases, which keys are apart by.
    pub(super) fn channel(&self, name: &[u8]) -> Result<Vec<u8>, RedisCallError> {
        if name.len() > LONGEST_NAME {
            return Err(too_long());
        }
        let part = self.link.keys.channel_part();
        Ok([&*self.beginning, part.as_bytes(), name].concat())
    }

    /// Where the last fencing number of all locks is.
    pub(super) fn fence(&self) -> Vec<u8> {
        [&*self.beginning, b"f"].concat()
    }
}

fn too_long() -> RedisCallError {
    RedisCallError::not_allowed("a name is longer than 64 KiB")
}

/// A reply as what the application asked for.
pub(super) fn read<T: FromRedisValue>(reply: Value) -> Result<T, RedisCallError> {
    // Its error has the value in it.
    redis::from_redis_value(reply)
        .map_err(|_| RedisCallError::unreadable("a reply of Redis is not of the type that was asked for"))
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("servers", &self.link.servers)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ScopedRedis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedRedis")
            .field("keys", &self.beginning.escape_ascii().to_string())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TenantRedis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantRedis")
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for CentralRedis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CentralRedis")
    }
}
