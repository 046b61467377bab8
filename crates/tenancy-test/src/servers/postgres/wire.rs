//! As much of PostgreSQL's protocol as it takes to run a statement over a Unix socket, without waiting for a runtime.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html>

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use crate::servers::{ServerError, console::Client};

/// Longer than any statement of the kit takes, and short enough for a test of a frozen server.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the kit asks for is short; a greater length is no answer of PostgreSQL's.
const LONGEST_MESSAGE: usize = 16 << 20;

pub(super) struct Wire {
    stream: UnixStream,
}

impl Wire {
    /// A connection to the database `postgres` as its superuser, whom the socket lets in without a password.
    pub(super) fn connect(socket: &Path) -> Result<Self, ServerError> {
        let mut wire = Self {
            stream: UnixStream::connect(socket).map_err(broken)?,
        };
        wire.stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
        wire.send(None, b"\0\x03\0\0user\0admin\0database\0postgres\0\0")
            .map_err(broken)?;
        wire.answer("connect")?;
        Ok(wire)
    }

    fn send(&mut self, kind: Option<u8>, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len() + 4).map_err(io::Error::other)?;
        let mut message: Vec<u8> = kind.into_iter().collect();
        message.extend(length.to_be_bytes());
        message.extend(body);
        self.stream.write_all(&message)
    }

    fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = (u32::from_be_bytes(length) as usize).saturating_sub(4);
        if length > LONGEST_MESSAGE {
            return Err(io::Error::other("a message is too long"));
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((kind, body))
    }

    /// All messages until the server is ready for a next statement.
    fn answer(&mut self, statement: &str) -> Result<Vec<String>, ServerError> {
        let mut rows = Vec::new();
        let mut refusal = None;
        loop {
            match self.receive().map_err(broken)? {
                (b'D', body) => rows.push(first_column(&body)),
                (b'E', body) => refusal = Some(message_of(&body)),
                (b'Z', _) => break,
                (b'R', body) if body != [0; 4] => {
                    return Err(broken(io::Error::other("it wants a password")));
                }
                _ => {}
            }
        }
        refusal.map_or(Ok(rows), |answer| Err(ServerError::refused(statement, answer)))
    }
}

impl Client for Wire {
    fn run(&mut self, statement: &str) -> Result<Vec<String>, ServerError> {
        self.send(Some(b'Q'), format!("{statement}\0").as_bytes())
            .map_err(broken)?;
        self.answer(statement)
    }
}

fn broken(error: io::Error) -> ServerError {
    ServerError::io("the connection to PostgreSQL broke", error)
}

/// The text of a data row's first column; of NULL, nothing.
fn first_column(body: &[u8]) -> String {
    let column = body.get(2..6).and_then(|length| {
        let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
        body.get(6..6 + length)
    });
    String::from_utf8_lossy(column.unwrap_or_default()).into_owned()
}

/// The field `M` of an error: fields are a byte and a text, each ended by a zero.
fn message_of(body: &[u8]) -> String {
    body.split(|byte| *byte == 0)
        .find_map(|field| field.strip_prefix(b"M"))
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .unwrap_or_default()
}
