//! HTTP/1 by hand.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};

use super::{Expect, Site, shown};

/// So that a test that waits for nothing fails instead of standing still.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer as it came.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) raw: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let mut found = self.headers.iter().filter(|(there, _)| there == name);
        found.next().map(|(_, value)| value.clone())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What the handler saw, by the first word of its line: `uri`, `original`, `header x-host:`.
    pub(super) fn seen(&self, what: &str) -> Option<String> {
        let text = self.text();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(what)?.strip_prefix(' '));
        line.map(str::to_owned)
    }
}

/// One connection.
pub(super) struct Wire {
    reading: OwnedReadHalf,
    writing: Option<OwnedWriteHalf>,
    unread: Vec<u8>,
}

impl Wire {
    pub(super) async fn to(site: &Site) -> Self {
        let (reading, writing) = TcpStream::connect(site.address).await.unwrap().into_split();
        Self {
            reading,
            writing: Some(writing),
            unread: Vec::new(),
        }
    }

    /// Writes while the answer is read: a server that refuses early does not read to the end.
    fn send(&mut self, bytes: Vec<u8>) -> JoinHandle<Option<OwnedWriteHalf>> {
        let writing = self.writing.take();
        tokio::spawn(async move {
            let mut writing = writing?;
            writing.write_all(&bytes).await.ok().map(|()| writing)
        })
    }

    /// Sends bytes that are one request; `None` if the connection ends without an answer.
    pub(super) async fn ask(&mut self, bytes: impl Into<Vec<u8>>) -> Option<Answer> {
        self.ask_many(bytes, 1).await.pop()
    }

    /// Sends bytes that are several requests, and reads as many answers, or those that came before the end.
    pub(super) async fn ask_many(&mut self, bytes: impl Into<Vec<u8>>, answers: usize) -> Vec<Answer> {
        let bytes = bytes.into();
        let bodiless = bytes.starts_with(b"HEAD ");
        let writing = self.send(bytes);
        let mut read = Vec::new();
        while read.len() < answers {
            match self.read_answer(bodiless).await {
                Some(answer) => read.push(answer),
                None => break,
            }
        }
        self.writing = writing.await.unwrap();
        read
    }

    async fn read_answer(&mut self, bodiless: bool) -> Option<Answer> {
        let head = self.read_until(|unread| {
            let end = unread.windows(4).position(|window| window == b"\r\n\r\n")?;
            Some(end + 4)
        });
        let head = head.await?;
        let text = String::from_utf8_lossy(&head).into_owned();
        let mut lines = text.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Answer {
            status,
            headers,
            raw: head,
            ..Answer::default()
        };
        let length = answer
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        if !bodiless {
            answer.body = self
                .read_until(|unread| (unread.len() >= length).then_some(length))
                .await?;
        }
        answer.raw.extend_from_slice(&answer.body);
        Some(answer)
    }

    /// Bytes up to where `end` finds the end of something; `None` if the connection ends before.
    async fn read_until(&mut self, end: impl Fn(&[u8]) -> Option<usize>) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = end(&self.unread) {
                return Some(self.unread.drain(..end).collect());
            }
            if !self.read_more().await {
                return None;
            }
        }
    }

    async fn read_more(&mut self) -> bool {
        let reading = self.reading.read_buf(&mut self.unread);
        let read = tokio::time::timeout(PATIENCE, reading).await;
        // A reset is an end too: the server may close before it has read everything.
        read.expect("the server answers or closes")
            .is_ok_and(|bytes| bytes > 0)
    }

    /// Whether the server closes, and sends nothing more before.
    pub(super) async fn is_closed(&mut self) -> bool {
        self.unread.is_empty() && !self.read_more().await && self.unread.is_empty()
    }
}

/// A GET of `/x` with this host.
pub(super) fn get(host: impl AsRef<[u8]>) -> Vec<u8> {
    with_target("GET /x HTTP/1.1", host)
}

/// A request of this first line with this host.
pub(super) fn with_target(line: impl AsRef<[u8]>, host: impl AsRef<[u8]>) -> Vec<u8> {
    [line.as_ref(), b"\r\nHost: ", host.as_ref(), b"\r\n\r\n"].concat()
}

/// Sends a row on a connection of its own and checks the answer.
pub(super) async fn check(site: &Site, name: &str, sent: &[u8], expect: Expect) -> Answer {
    check_on(&mut Wire::to(site).await, site, name, sent, expect).await
}

async fn check_on(wire: &mut Wire, site: &Site, name: &str, sent: &[u8], expect: Expect) -> Answer {
    let Some(answer) = wire.ask(sent).await else {
        panic!(
            "{name}: the connection ended without an answer to\n{}",
            shown(sent)
        );
    };
    let log = site.take_log();
    if let Some(fault) = expect.fault_of(&answer, &log) {
        let (sent, got) = (shown(sent), shown(&answer.raw));
        panic!("{name}: {fault} ({expect:?})\nsent\n{sent}\ngot\n{got}\nlogged\n{log}");
    }
    answer
}

/// The same, and checks that the connection is closed then, or serves another tenant's host as if it were new.
pub(super) async fn check_connection(site: &Site, name: &str, sent: &[u8], expect: Expect) -> Answer {
    let mut wire = Wire::to(site).await;
    let answer = check_on(&mut wire, site, name, sent, expect).await;
    let ends = answer.header("connection").as_deref() == Some("close") || !is_version_11(sent);
    if ends {
        assert!(
            wire.is_closed().await,
            "{name}: says that it closes, and stays open"
        );
    } else {
        check_on(
            &mut wire,
            site,
            &format!("after {name}"),
            &get("acme.app.test"),
            Expect::Tenant("acme"),
        )
        .await;
    }
    answer
}

fn is_version_11(sent: &[u8]) -> bool {
    !sent.windows(10).any(|window| window == b" HTTP/1.0\r")
}
