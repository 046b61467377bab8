//! Looking through a server for a scope's keys.

use std::sync::Arc;

use bb8_redis::redis::{self, Cmd, Pipeline, ServerError, ServerErrorKind, Value};

use crate::{
    failure::Failure,
    link::Link,
    server::{Alone, Server, is_of_a_replica},
};

/// How many keys of its own a server looks at for one page. It serves nobody else meanwhile: a fraction of a millisecond.
const LOOKED_AT: usize = 1_000;

/// A server, while all its keys are gone through once: over one connection, for a cursor means nothing to a server that was started
/// anew, nor to the one that took its place.
#[derive(Debug)]
pub(super) struct Pages {
    link: Arc<Link>,
    slot: u16,
    beginning: Vec<u8>,
    pattern: Vec<u8>,
    server: Arc<Server>,
    connection: Alone,
    /// `None` at the end.
    cursor: Option<Vec<u8>>,
}

impl Pages {
    /// Of the keys that begin like this.
    pub(super) async fn begin(link: Arc<Link>, slot: u16, beginning: Vec<u8>) -> Result<Self, Failure> {
        let server = link.servers.server_of(slot).await?;
        let connection = server.connect_alone().await?;
        Ok(Self {
            pattern: pattern_of(&beginning),
            link,
            slot,
            beginning,
            server,
            connection,
            cursor: Some(b"0".to_vec()),
        })
    }

    /// More of them, maybe none and maybe some again; `None` at the end. All that were there from the beginning to the end are
    /// among them.
    ///
    /// # Errors
    /// Also where the slot has got another server: what was seen so far says nothing of that one.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>, Failure> {
        let Some(cursor) = self.cursor.take() else {
            return Ok(None);
        };
        self.is_its_server().await?;
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor)
            .arg("MATCH")
            .arg(&self.pattern)
            .arg("COUNT")
            .arg(LOOKED_AT);
        let (cursor, mut keys) = read(self.ask(scan).await?)?;
        self.cursor = (cursor != b"0").then_some(cursor);
        // Whatever the pattern is taken for.
        keys.retain(|key| key.starts_with(&self.beginning));
        Ok(Some(keys))
    }

    /// Makes sure that what was gone through was the master's, by a write that changes nothing: a replica may lack what is new.
    ///
    /// # Errors
    /// Also where it is no master any more, or was started anew since: what was seen proves nothing.
    pub(super) async fn end_at_a_master(mut self) -> Result<(), Failure> {
        self.is_its_server().await?;
        // No key is called like this: each has a letter behind.
        let unlink = redis::cmd("UNLINK").arg(&self.beginning).take();
        match self.ask(unlink).await? {
            Value::ServerError(error) if is_of_a_replica(&error) => Err(Failure::NoMaster(error.into())),
            Value::ServerError(error) if has_moved(&error) => Err(Failure::SentAround),
            Value::ServerError(error) => Err(Failure::Refused(error.into())),
            _ => Ok(()),
        }
    }

    async fn is_its_server(&self) -> Result<(), Failure> {
        let server = self.link.servers.server_of(self.slot).await?;
        match Arc::ptr_eq(&server, &self.server) {
            true => Ok(()),
            false => Err(Failure::SentAround),
        }
    }

    async fn ask(&mut self, command: Cmd) -> Result<Value, Failure> {
        let mut question = Pipeline::with_capacity(1);
        question.add_command(command);
        Ok(self.connection.run(&question).await?.pop().unwrap_or_default())
    }
}

fn has_moved(error: &ServerError) -> bool {
    matches!(error.kind(), Some(ServerErrorKind::Moved | ServerErrorKind::Ask))
}

fn read(reply: Value) -> Result<(Vec<u8>, Vec<Vec<u8>>), Failure> {
    match reply {
        Value::ServerError(error) => Err(Failure::Refused(error.into())),
        reply => redis::from_redis_value(reply)
            .map_err(|_| Failure::Unexpected("a page of keys is not what Redis can have sent")),
    }
}

/// A glob that means these bytes, and then anything.
pub(super) fn pattern_of(beginning: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(beginning.len() + 8);
    for byte in beginning {
        if b"*?[]^-\\".contains(byte) {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern.push(b'*');
    pattern
}
