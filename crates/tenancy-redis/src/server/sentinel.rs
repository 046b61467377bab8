//! Which server is the master: what Sentinel says, and the server itself.

use bb8_redis::redis::{
    self, ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, RedisResult, Value,
    aio::MultiplexedConnection,
};
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::{dial::Limits, dial::connect};

/// <https://redis.io/docs/latest/develop/reference/sentinel-clients/>
#[derive(Debug)]
pub(crate) struct Sentinels {
    /// Where they listen.
    pub(crate) sentinels: Vec<ConnectionInfo>,
    /// What they call the master.
    pub(crate) master_name: String,
    /// How to log in to the master, whose address they know.
    pub(crate) master: ConnectionInfo,
}

impl Sentinels {
    /// All are asked at once: one that does not answer holds nobody up.
    pub(super) async fn find_master(
        &self,
        limits: Limits,
    ) -> RedisResult<(ConnectionInfo, MultiplexedConnection)> {
        let mut searches: FuturesUnordered<_> = self
            .sentinels
            .iter()
            .map(|sentinel| self.follow(sentinel, limits))
            .collect();
        let mut last_error = None;
        while let Some(outcome) = searches.next().await {
            match outcome {
                Ok(found) => return Ok(found),
                Err(error) => last_error = Some(error),
            }
        }
        Err(last_error
            .unwrap_or_else(|| RedisError::from((ErrorKind::EmptySentinelList, "no Sentinel is named"))))
    }

    async fn follow(
        &self,
        sentinel: &ConnectionInfo,
        limits: Limits,
    ) -> RedisResult<(ConnectionInfo, MultiplexedConnection)> {
        let mut connection = connect(sentinel, limits).await?;
        let address: Option<(String, u16)> = redis::cmd("SENTINEL")
            .arg("GET-MASTER-ADDR-BY-NAME")
            .arg(&self.master_name)
            .query_async(&mut connection)
            .await?;
        let (host, port) = address.ok_or_else(|| {
            RedisError::from((
                ErrorKind::MasterNameNotFoundBySentinel,
                "Sentinel does not know the master's name",
            ))
        })?;
        let master = self.master.clone().set_addr(at(self.master.addr(), host, port));
        let mut connection = connect(&master, limits).await?;
        // Sentinel may not have heard yet, and a replica would refuse what is written.
        let role: Vec<Value> = redis::cmd("ROLE").query_async(&mut connection).await?;
        if role.first() == Some(&Value::BulkString(b"master".to_vec())) {
            Ok((master, connection))
        } else {
            Err(RedisError::from((
                ErrorKind::MasterNameNotFoundBySentinel,
                "the server that Sentinel names is not the master",
            )))
        }
    }
}

/// Another place, with TLS if the first has it.
pub(crate) fn at(like: &ConnectionAddr, host: String, port: u16) -> ConnectionAddr {
    match like {
        ConnectionAddr::TcpTls {
            insecure, tls_params, ..
        } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    }
}
