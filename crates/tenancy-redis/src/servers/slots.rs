//! Which server of a cluster has which slot.

use std::{fmt, sync::Arc};

use bb8_redis::redis::Value;

use crate::server::Server;

const SLOTS: usize = 16_384;
const NOBODY: u16 = u16::MAX;

/// A host and a port, as the cluster names them.
pub(super) type Address = (String, u16);

#[derive(Clone)]
pub(super) struct SlotTable {
    /// Places in `servers`.
    owners: Box<[u16]>,
    servers: Vec<(Address, Arc<Server>)>,
}

impl fmt::Debug for SlotTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotTable")
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

impl SlotTable {
    pub(super) fn empty() -> Self {
        Self {
            owners: vec![NOBODY; SLOTS].into(),
            servers: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    pub(super) fn owner(&self, slot: u16) -> Option<&Arc<Server>> {
        let place = *self.owners.get(usize::from(slot))?;
        self.servers.get(usize::from(place)).map(|(_, server)| server)
    }

    pub(super) fn at(&self, address: &Address) -> Option<&Arc<Server>> {
        let found = self.servers.iter().find(|(known, _)| known == address);
        found.map(|(_, server)| server)
    }

    pub(super) fn servers(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.servers.iter().map(|(_, server)| server)
    }

    /// These slots have this owner from now on.
    pub(super) fn give(&mut self, first: u16, last: u16, address: Address, server: Arc<Server>) {
        let known = self.servers.iter().position(|(known, _)| *known == address);
        let place = known.unwrap_or_else(|| {
            self.servers.push((address, server));
            self.servers.len() - 1
        });
        // More servers than a cluster can have slots: there are none.
        let place = u16::try_from(place).unwrap_or(NOBODY);
        if let Some(owners) = self.owners.get_mut(usize::from(first)..=usize::from(last)) {
            owners.fill(place);
        }
    }
}

/// The masters in a reply to `CLUSTER SLOTS`, each with its first and last slot. One that names no host means whoever was asked.
pub(super) fn masters(reply: &Value, asked: &str) -> Option<Vec<(u16, u16, Address)>> {
    let Value::Array(ranges) = reply else {
        return None;
    };
    let mut masters = Vec::with_capacity(ranges.len());
    for range in ranges {
        let Value::Array(range) = range else { return None };
        let [first, last, Value::Array(master), ..] = range.as_slice() else {
            return None;
        };
        let [host, port, ..] = master.as_slice() else {
            return None;
        };
        let (first, last, port) = (number(first)?, number(last)?, number(port)?);
        if first > last || usize::from(last) >= SLOTS {
            return None;
        }
        match host_text(host, asked) {
            // Its name is not known there: its slots are nobody's until it is.
            Some("?") => {}
            Some(host) => masters.push((first, last, (host.to_owned(), port))),
            None => return None,
        }
    }
    Some(masters)
}

/// The address in `MOVED 3999 127.0.0.1:6381`, without its first word.
pub(super) fn redirection(details: &str, asked: &str) -> Option<(u16, Address)> {
    let (slot, address) = details.split_once(' ')?;
    let (host, port) = address.rsplit_once(':')?;
    let host = if host.is_empty() { asked } else { host };
    let slot: u16 = slot.parse().ok()?;
    (usize::from(slot) < SLOTS).then_some((slot, (host.to_owned(), port.parse().ok()?)))
}

fn number(value: &Value) -> Option<u16> {
    match value {
        Value::Int(number) => u16::try_from(*number).ok(),
        _ => None,
    }
}

fn host_text<'a>(value: &'a Value, asked: &'a str) -> Option<&'a str> {
    match value {
        Value::Nil => Some(asked),
        Value::BulkString(bytes) if bytes.is_empty() => Some(asked),
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master(first: i64, last: i64, host: Value, port: i64) -> Value {
        let master = Value::Array(vec![host, Value::Int(port), Value::BulkString(b"id".to_vec())]);
        Value::Array(vec![Value::Int(first), Value::Int(last), master])
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn masters_are_read_and_one_without_a_host_is_whoever_was_asked() {
        let reply = Value::Array(vec![
            master(0, 99, text("10.0.0.1"), 7000),
            master(100, 100, Value::Nil, 7001),
            master(101, 200, text(""), 7002),
            master(201, 300, text("?"), 7003),
        ]);
        let at = |host: &str, port| (host.to_owned(), port);
        assert_eq!(
            masters(&reply, "asked").unwrap(),
            [
                (0, 99, at("10.0.0.1", 7000)),
                (100, 100, at("asked", 7001)),
                (101, 200, at("asked", 7002))
            ]
        );
    }

    #[test]
    fn a_reply_that_makes_no_sense_is_none() {
        for reply in [
            Value::Nil,
            Value::Array(vec![Value::Nil]),
            Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(1)])]),
            Value::Array(vec![master(0, 16_384, text("a"), 1)]),
            Value::Array(vec![master(5, 4, text("a"), 1)]),
            Value::Array(vec![master(-1, 4, text("a"), 1)]),
            Value::Array(vec![master(0, 4, text("a"), 70_000)]),
            Value::Array(vec![master(0, 4, Value::Int(7), 1)]),
        ] {
            assert_eq!(masters(&reply, "asked"), None, "{reply:?}");
        }
    }

    #[test]
    fn redirections_are_read_with_their_host_or_without() {
        let table = [
            ("3999 127.0.0.1:6381", Some((3999, ("127.0.0.1", 6381)))),
            ("3999 :6381", Some((3999, ("asked", 6381)))),
            ("3999 ::1:6381", Some((3999, ("::1", 6381)))),
            ("16384 a:1", None),
            ("3999 a", None),
            ("3999", None),
            ("", None),
        ];
        for (details, expected) in table {
            let expected =
                expected.map(|(slot, (host, port)): (u16, (&str, u16))| (slot, (host.to_owned(), port)));
            assert_eq!(redirection(details, "asked"), expected, "{details}");
        }
    }
}
