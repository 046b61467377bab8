use std::sync::Arc;

use bb8_redis::redis::{self, ToSingleRedisArg};
use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use tokio::sync::watch;

use super::{RedisCallError, ScopedRedis, handles::read};
use crate::{command::Command, listen::Listener};

/// What is heard on a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// What somebody said.
    Message(Bytes),
    /// What was said before may have been missed: it begins to listen, or listens again after it was cut off.
    Gap,
}

impl ScopedRedis {
    /// Says something to all who listen on this channel of the scope now, in every process. How many heard it; in a cluster, of the
    /// server that took it.
    ///
    /// Nobody keeps it: use it to hasten what is found without it, too.
    ///
    /// # Errors
    /// Redis refused, or can not be reached.
    pub async fn publish(
        &self,
        channel: impl AsRef<[u8]>,
        message: impl ToSingleRedisArg,
    ) -> Result<u64, RedisCallError> {
        let channel = self.channel(channel.as_ref())?;
        let publish = redis::cmd("PUBLISH").arg(channel).arg(message).take();
        read(self.reply_to(Command::plain(self.slot, publish).once()).await?)
    }

    /// What is said on this channel of the scope, beginning with a [`Heard::Gap`] once it is heard. It goes on after lost
    /// connections, with another gap, and ends when it is dropped. Nothing happens before it is polled.
    ///
    /// Each takes a connection of its own: listen once in a process, and hand on what is heard, by
    /// [`tokio::sync::broadcast`] for instance. Who takes nothing while a thousand messages come, or 8 MiB of them, is cut off, and hears a
    /// gap.
    ///
    /// # Errors
    /// The name is too long.
    ///
    /// # Panics
    /// The stream, where it is polled first outside of a tokio runtime.
    pub fn subscribe(&self, channel: impl AsRef<[u8]>) -> Result<BoxStream<'static, Heard>, RedisCallError> {
        let (lives, ends) = watch::channel(());
        let listener = Listener {
            servers: Arc::clone(&self.link.servers),
            limits: self.link.limits,
            channel: self.channel(channel.as_ref())?,
            lives: ends,
            read: |payload| Heard::Message(payload.into()),
            gap: || Heard::Gap,
        };
        let keep = move |heard| {
            // For as long as the stream.
            let _ = &lives;
            heard
        };
        Ok(listener.into_stream().map(keep).boxed())
    }
}
