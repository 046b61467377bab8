//! What goes through a proxy, counted and kept.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// What went through a [`FaultProxy`](super::FaultProxy), in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Connections that clients made.
    pub connections: u64,
    /// Those of them that are open.
    pub open: u64,
    /// Bytes from clients.
    pub client_bytes: u64,
    /// Bytes from the server.
    pub server_bytes: u64,
    /// How often a client spoke after the server had, or first: what a statement costs where the network is slow. What a
    /// client sends in pieces, without waiting for an answer, counts once.
    pub round_trips: u64,
}

/// What a client sent in one go: until the server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Burst {
    /// Which connection, counted from 1.
    pub connection: u64,
    /// What it sent.
    pub bytes: Vec<u8>,
}

impl Burst {
    /// The type of each message of PostgreSQL's protocol in it, such as `PBDES` for a prepared statement sent at once. The first
    /// burst of a connection is its start-up and has none.
    pub fn postgres_messages(&self) -> String {
        let mut messages = String::new();
        let mut rest = self.bytes.as_slice();
        while let [kind @ b'A'..=b'z', a, b, c, d, ..] = rest {
            messages.push(char::from(*kind));
            let length = 1 + u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            rest = rest.get(length..).unwrap_or_default();
        }
        messages
    }
}

/// So much is kept of what clients send, and no more.
const MOST_KEPT: usize = 64 << 20;

#[derive(Debug, Default)]
pub(super) struct Counters {
    connections: AtomicU64,
    open: AtomicU64,
    client_bytes: AtomicU64,
    server_bytes: AtomicU64,
    round_trips: AtomicU64,
    kept: Mutex<Option<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    bursts: Vec<Burst>,
    bytes: usize,
}

/// One connection's part in the counters; open until dropped.
#[derive(Debug)]
pub(super) struct Line<'a> {
    counters: &'a Counters,
    connection: u64,
    client_spoke_last: AtomicBool,
}

impl Counters {
    pub(super) fn open_line(&self) -> Line<'_> {
        self.open.fetch_add(1, Ordering::Relaxed);
        Line {
            counters: self,
            connection: self.connections.fetch_add(1, Ordering::Relaxed) + 1,
            client_spoke_last: AtomicBool::new(false),
        }
    }

    pub(super) fn read(&self) -> Traffic {
        Traffic {
            connections: self.connections.load(Ordering::Relaxed),
            open: self.open.load(Ordering::Relaxed),
            client_bytes: self.client_bytes.load(Ordering::Relaxed),
            server_bytes: self.server_bytes.load(Ordering::Relaxed),
            round_trips: self.round_trips.load(Ordering::Relaxed),
        }
    }

    /// Begins to keep what clients send, and forgets what was kept.
    pub(super) fn record(&self) {
        *self.kept() = Some(Kept::default());
    }

    pub(super) fn take_recorded(&self) -> Vec<Burst> {
        self.kept().take().map(|kept| kept.bursts).unwrap_or_default()
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line<'_> {
    /// Called before the bytes are passed on: no answer to them can have been counted.
    pub(super) fn client_sent(&self, bytes: &[u8]) {
        let is_new = !self.client_spoke_last.swap(true, Ordering::AcqRel);
        let counters = self.counters;
        counters
            .client_bytes
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        counters
            .round_trips
            .fetch_add(u64::from(is_new), Ordering::Relaxed);
        if let Some(kept) = counters.kept().as_mut() {
            kept.add(self.connection, is_new, bytes);
        }
    }

    /// Called before the bytes are passed on: the client can not have answered them.
    pub(super) fn server_sent(&self, bytes: &[u8]) {
        self.client_spoke_last.store(false, Ordering::Release);
        self.counters
            .server_bytes
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.counters.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Kept {
    fn add(&mut self, connection: u64, is_new: bool, bytes: &[u8]) {
        self.bytes += bytes.len();
        if self.bytes > MOST_KEPT {
            return;
        }
        let last = self
            .bursts
            .iter_mut()
            .rev()
            .find(|burst| burst.connection == connection);
        match last {
            Some(burst) if !is_new => burst.bytes.extend_from_slice(bytes),
            _ => self.bursts.push(Burst {
                connection,
                bytes: bytes.to_vec(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_lasts_until_the_server_speaks() {
        let counters = Counters::default();
        counters.record();
        let line = counters.open_line();
        line.client_sent(b"P\0\0\0\x04");
        line.client_sent(b"S\0\0\0\x04");
        line.server_sent(b"12345");
        line.client_sent(b"Q\0\0\0\x05\0X\0\0\0\x04");
        let traffic = counters.read();
        assert_eq!(
            (traffic.round_trips, traffic.client_bytes, traffic.server_bytes),
            (2, 21, 5)
        );
        assert_eq!((traffic.connections, traffic.open), (1, 1));
        drop(line);
        assert_eq!(counters.read().open, 0);
        let messages: Vec<_> = counters
            .take_recorded()
            .iter()
            .map(Burst::postgres_messages)
            .collect();
        assert_eq!(messages, ["PS", "QX"]);
    }

    #[test]
    fn bytes_that_are_no_messages_end_the_list() {
        let of = |bytes: &[u8]| {
            let burst = Burst {
                connection: 1,
                bytes: bytes.to_vec(),
            };
            burst.postgres_messages()
        };
        let table: &[(&[u8], &str)] = &[
            (b"", ""),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", ""),
            (b"Q\0\0", ""),
            (b"Q\xff\xff\xff\xff", "Q"),
            (b"Q\0\0\0\0S\0\0\0\x04", "Q"),
        ];
        for (bytes, messages) in table {
            assert_eq!(of(bytes), *messages, "{bytes:?}");
        }
    }
}
