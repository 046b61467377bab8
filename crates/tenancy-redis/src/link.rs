//! Servers, names and limits: what a level and the application's own handles have in common.

use std::{sync::Arc, time::Duration};

use bb8_redis::redis::Value;
use tokio::time::timeout;

use crate::{
    command::Command,
    failure::Failure,
    keys::Keys,
    server::Limits,
    servers::{Reply, Servers},
};

/// A century: longer times overflow in Redis.
const LONGEST_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) servers: Arc<Servers>,
    pub(crate) keys: Keys,
    pub(crate) limits: Limits,
}

impl Link {
    pub(crate) fn new(servers: Servers, keys: Keys, limits: Limits) -> Self {
        Self {
            servers: Arc::new(servers),
            keys,
            limits,
        }
    }

    /// One that is refused fails all.
    pub(crate) async fn run(&self, commands: &[Command]) -> Result<Vec<Value>, Failure> {
        self.in_time(self.servers.run(commands)).await
    }

    /// What is refused, or fails alone, is among the replies.
    pub(crate) async fn run_each(&self, commands: &[Command]) -> Result<Vec<Reply>, Failure> {
        self.in_time(self.servers.run_each(commands)).await
    }

    pub(crate) async fn run_one(&self, command: Command) -> Result<Value, Failure> {
        let replies = self.run(&[command]).await?;
        replies
            .into_iter()
            .next()
            .ok_or(Failure::Unexpected("Redis sent no reply"))
    }

    /// One more limit around those of connections and replies, for calls that are sent around.
    pub(crate) async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        match timeout(2 * self.limits.answer, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::TimedOut(None)),
        }
    }
}

/// As Redis takes times to live: what is not a whole number is kept for less, and everything for a millisecond at least.
pub(crate) fn whole_milliseconds(time: Duration) -> u64 {
    time.min(LONGEST_TTL).as_millis().max(1) as u64
}
