//! Hearing what other processes say, for ever: over lost connections, and never more than fits into a bounded queue.

use std::{sync::Arc, time::Duration};

use bb8_redis::redis::{
    Value,
    aio::{PubSub, PubSubSink, PubSubStream},
};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

use crate::{server::Limits, servers::Servers};

/// So many messages wait for who listens. Who is further behind is cut off, and hears of the gap.
const QUEUE: usize = 1_024;
/// A connection that hears nothing may have nobody at its other end.
const QUIET: Duration = Duration::from_secs(5);
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Where to listen, until when, and what what is heard means.
#[derive(Debug)]
pub(crate) struct Listener<T> {
    pub(crate) servers: Arc<Servers>,
    pub(crate) limits: Limits,
    pub(crate) channel: Vec<u8>,
    /// Closed with what it is for.
    pub(crate) lives: watch::Receiver<()>,
    pub(crate) read: fn(Vec<u8>) -> T,
    /// What says that something may have been missed.
    pub(crate) gap: fn() -> T,
}

impl<T: Send + 'static> Listener<T> {
    /// Nothing happens before it is polled.
    pub(crate) fn into_stream(self) -> BoxStream<'static, T> {
        stream::once(async move {
            let (queue, heard) = mpsc::channel(QUEUE);
            // A task, since the connection must be read also while nobody takes what was heard.
            tokio::spawn(self.listen(queue));
            stream::unfold(heard, async |mut heard| Some((heard.recv().await?, heard)))
        })
        .flatten()
        .boxed()
    }

    async fn listen(mut self, queue: mpsc::Sender<T>) {
        let mut lives = self.lives.clone();
        tokio::select! {
            () = self.listen_until_nobody_does(&queue) => {}
            // An error says that nobody is left; nothing is ever sent.
            _ = lives.changed() => {}
        }
    }

    async fn listen_until_nobody_does(&mut self, queue: &mpsc::Sender<T>) {
        let mut pause = SHORTEST_PAUSE;
        // Room for the gap, which must not be lost.
        while let Ok(room) = queue.reserve().await {
            let place = self.servers.somewhere();
            match place.subscribe(&self.channel, self.limits).await {
                Ok(subscription) => {
                    room.send((self.gap)());
                    if self.follow(subscription, queue).await {
                        pause = SHORTEST_PAUSE;
                    }
                    tracing::debug!("a subscription has ended");
                }
                Err(error) => tracing::debug!(%error, "nothing can be heard"),
            }
            tokio::select! {
                () = sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)) => {}
                () = queue.closed() => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Until the connection ends, or nobody takes what is heard. Whether it lasted.
    async fn follow(&self, subscription: PubSub, queue: &mpsc::Sender<T>) -> bool {
        let (commands, mut heard) = subscription.split();
        let mut lasted = false;
        tokio::select! {
            () = pass_on(&mut heard, self.read, queue) => {}
            () = check(commands, self.limits, &mut lasted) => {}
            () = queue.closed() => {}
        }
        lasted
    }
}

async fn pass_on<T>(heard: &mut PubSubStream, read: fn(Vec<u8>) -> T, queue: &mpsc::Sender<T>) {
    while let Some(message) = heard.next().await {
        let message = read(message.get_payload_bytes().to_vec());
        if queue.try_send(message).is_err() {
            return;
        }
    }
}

/// Ends when the other end does not answer.
async fn check(mut commands: PubSubSink, limits: Limits, lasted: &mut bool) {
    loop {
        sleep(QUIET).await;
        match timeout(limits.connect, commands.ping::<Value>()).await {
            Ok(Ok(_)) => *lasted = true,
            Ok(Err(_)) | Err(_) => return,
        }
    }
}
