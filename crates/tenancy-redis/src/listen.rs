//! Hearing what other processes say, for ever: over lost connections, and never more than fits into a bounded queue.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

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
/// So many bytes, of which one message may have more if it is alone.
const QUEUED_BYTES: usize = 8 << 20;
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
            let (queue, waiting) = queue();
            // A task, since the connection must be read also while nobody takes what was heard.
            tokio::spawn(self.listen(queue));
            stream::unfold(waiting, async |mut waiting| {
                Some((waiting.next().await?, waiting))
            })
        })
        .flatten()
        .boxed()
    }

    async fn listen(mut self, queue: Queue<T>) {
        let mut lives = self.lives.clone();
        tokio::select! {
            () = self.listen_until_nobody_does(&queue) => {}
            // An error says that nobody is left; nothing is ever sent.
            _ = lives.changed() => {}
        }
    }

    async fn listen_until_nobody_does(&mut self, queue: &Queue<T>) {
        let mut pause = SHORTEST_PAUSE;
        // Room for the gap, which must not be lost.
        while let Ok(room) = queue.sender.reserve().await {
            let place = self.servers.somewhere();
            match place.subscribe(&self.channel, self.limits).await {
                Ok(subscription) => {
                    room.send(((self.gap)(), 0));
                    if self.follow(subscription, queue).await {
                        pause = SHORTEST_PAUSE;
                    }
                    tracing::debug!("a subscription has ended");
                }
                Err(error) => tracing::debug!(%error, "nothing can be heard"),
            }
            tokio::select! {
                () = sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)) => {}
                () = queue.sender.closed() => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Until the connection ends, or nobody takes what is heard. Whether it lasted.
    async fn follow(&self, subscription: PubSub, queue: &Queue<T>) -> bool {
        let (commands, mut heard) = subscription.split();
        let mut lasted = false;
        tokio::select! {
            () = pass_on(&mut heard, self.read, queue) => {}
            () = check(commands, self.limits, &mut lasted) => {}
            () = queue.sender.closed() => {}
        }
        lasted
    }
}

async fn pass_on<T>(heard: &mut PubSubStream, read: fn(Vec<u8>) -> T, queue: &Queue<T>) {
    while let Some(message) = heard.next().await {
        let payload = message.get_payload_bytes();
        if !queue.take_in(payload.len(), || read(payload.to_vec())) {
            return;
        }
    }
}

/// What was heard and not taken yet, each with its bytes.
struct Queue<T> {
    sender: mpsc::Sender<(T, usize)>,
    bytes: Arc<AtomicUsize>,
}

struct Waiting<T> {
    receiver: mpsc::Receiver<(T, usize)>,
    bytes: Arc<AtomicUsize>,
}

fn queue<T>() -> (Queue<T>, Waiting<T>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let bytes = Arc::<AtomicUsize>::default();
    let queue = Queue {
        sender,
        bytes: Arc::clone(&bytes),
    };
    (queue, Waiting { receiver, bytes })
}

impl<T> Queue<T> {
    /// Whether there was room.
    fn take_in(&self, len: usize, message: impl FnOnce() -> T) -> bool {
        // One task adds: what is there can only become less meanwhile.
        let before = self.bytes.load(Ordering::Relaxed);
        if before != 0 && before.saturating_add(len) > QUEUED_BYTES {
            return false;
        }
        // A place first, so that nothing is counted that is not there.
        let Ok(place) = self.sender.try_reserve() else {
            return false;
        };
        self.bytes.fetch_add(len, Ordering::Relaxed);
        place.send((message(), len));
        true
    }
}

impl<T> Waiting<T> {
    async fn next(&mut self) -> Option<T> {
        let (message, len) = self.receiver.recv().await?;
        self.bytes.fetch_sub(len, Ordering::Relaxed);
        Some(message)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn so_many_messages_wait_and_so_many_bytes() {
        let (queue, mut waiting) = queue();
        for _ in 0..QUEUE {
            assert!(queue.take_in(1, || "small"));
        }
        assert!(!queue.take_in(1, || "small"));
        for _ in 0..QUEUE {
            assert_eq!(waiting.next().await, Some("small"));
        }
        for _ in 0..8 {
            assert!(queue.take_in(QUEUED_BYTES / 8, || "large"));
        }
        assert!(!queue.take_in(1, || "small"));
        assert_eq!(waiting.next().await, Some("large"));
        assert!(queue.take_in(QUEUED_BYTES / 8, || "large"));
        for _ in 0..8 {
            waiting.next().await;
        }
        // Alone any may come, or it never would.
        assert!(queue.take_in(QUEUED_BYTES + 1, || "huge"));
        assert!(!queue.take_in(0, || "nothing"));
        assert_eq!(waiting.next().await, Some("huge"));
        assert!(queue.take_in(1, || "small"));
        drop(queue);
        assert_eq!(waiting.next().await, Some("small"));
        assert_eq!(waiting.next().await, None);
    }
}
