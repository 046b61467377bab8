//! Who is connected to, and how long that may take.

use std::{io, sync::Arc, time::Duration};

use bb8_redis::redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, RedisError, RedisResult,
    aio::{MultiplexedConnection, PubSub},
};
use tokio::time::timeout;

use super::Sentinels;

/// What limits connections and calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How long one attempt at a connection may take.
    pub(crate) connect: Duration,
    /// How long a call waits for a connection, and then for the reply.
    pub(crate) answer: Duration,
    /// Connections to each server.
    pub(crate) connections: u32,
}

/// A server whose address is known, or the one that Sentinel calls the master.
#[derive(Clone, Debug)]
pub(crate) enum Dial {
    Server(Box<ConnectionInfo>),
    Master(Arc<Sentinels>),
}

impl Dial {
    pub(crate) async fn connect(&self, limits: Limits) -> RedisResult<MultiplexedConnection> {
        let connecting = async {
            match self {
                Self::Server(server) => connect(server, limits).await,
                Self::Master(sentinels) => Ok(sentinels.find_master(limits).await?.1),
            }
        };
        in_time(limits.connect, connecting).await
    }

    /// A connection that hears what is told on `channel` from now on.
    pub(crate) async fn subscribe(&self, channel: &[u8], limits: Limits) -> RedisResult<PubSub> {
        let subscribing = async {
            let server = match self {
                Self::Server(server) => server.as_ref().clone(),
                Self::Master(sentinels) => sentinels.find_master(limits).await?.0,
            };
            let mut subscription = Client::open(server)?.get_async_pubsub().await?;
            subscription.subscribe(channel).await?;
            Ok(subscription)
        };
        in_time(limits.connect, subscribing).await
    }
}

pub(super) async fn connect(server: &ConnectionInfo, limits: Limits) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(limits.connect))
        .set_response_timeout(Some(limits.answer));
    Client::open(server.clone())?
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    match timeout(limit, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(RedisError::from(io::Error::from(io::ErrorKind::TimedOut))),
    }
}
