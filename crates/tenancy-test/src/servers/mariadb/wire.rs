//! As much of MariaDB's protocol as it takes to run a statement over a Unix socket, without waiting for a runtime.
//!
//! <https://mariadb.com/docs/server/reference/clientserver-protocol>

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use crate::servers::{ServerError, console::Client};

/// Longer than any statement of the kit takes, and short enough for a test of a frozen server.
const PATIENCE: Duration = Duration::from_secs(60);
/// `LONG_PASSWORD`, `PROTOCOL_41`, `SECURE_CONNECTION`, `PLUGIN_AUTH`.
const CAPABILITIES: u32 = 0x1 | 0x200 | 0x8000 | 0x8_0000;
const UTF8MB4: u8 = 45;

const OK: u8 = 0;
const ERROR: u8 = 0xff;
const END: u8 = 0xfe;
const NULL: u8 = 0xfb;
const QUERY: u8 = 3;

pub(super) struct Wire {
    stream: UnixStream,
    sequence: u8,
}

impl Wire {
    /// A connection of root, whom the socket lets in without a password.
    pub(super) fn connect(socket: &Path) -> Result<Self, ServerError> {
        let stream = UnixStream::connect(socket).map_err(broken)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
        let mut wire = Self { stream, sequence: 0 };
        wire.log_in().map_err(broken)?;
        Ok(wire)
    }

    fn log_in(&mut self) -> io::Result<()> {
        refuse_error(&self.receive()?)?;
        let mut login = CAPABILITIES.to_le_bytes().to_vec();
        login.extend((16_u32 << 20).to_le_bytes());
        login.push(UTF8MB4);
        login.extend([0; 23]);
        login.extend(b"root\0\0mysql_native_password\0");
        self.send(&login)?;
        loop {
            match self.receive()?.as_slice() {
                [OK, ..] => return Ok(()),
                // Asked to log in by another method, where an empty password is as empty.
                [END, ..] => self.send(&[])?,
                answer => {
                    refuse_error(answer)?;
                    return Err(io::Error::other("the login was answered by something else"));
                }
            }
        }
    }

    fn send(&mut self, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let [a, b, c, _] = length.to_le_bytes();
        let mut packet = vec![a, b, c, self.sequence];
        packet.extend(body);
        self.stream.write_all(&packet)
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut head = [0; 4];
        self.stream.read_exact(&mut head)?;
        let [a, b, c, sequence] = head;
        self.sequence = sequence.wrapping_add(1);
        let mut body = vec![0; u32::from_le_bytes([a, b, c, 0]) as usize];
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }

    /// The first column of each row, behind the descriptions of all columns.
    fn rows(&mut self) -> io::Result<Vec<String>> {
        while !is_end(&self.receive()?) {}
        let mut rows = Vec::new();
        loop {
            let row = self.receive()?;
            if is_end(&row) {
                return Ok(rows);
            }
            refuse_error(&row)?;
            rows.push(first_column(&row));
        }
    }
}

impl Client for Wire {
    fn run(&mut self, statement: &str) -> Result<Vec<String>, ServerError> {
        self.sequence = 0;
        let query: Vec<u8> = [QUERY].into_iter().chain(statement.bytes()).collect();
        let answer = self.send(&query).and_then(|()| self.receive()).map_err(broken)?;
        match answer.first() {
            Some(&OK) => Ok(Vec::new()),
            Some(&ERROR) => Err(ServerError::refused(statement, message_of(&answer))),
            _ => self.rows().map_err(broken),
        }
    }
}

fn broken(error: io::Error) -> ServerError {
    ServerError::io("the connection to MariaDB broke", error)
}

fn is_end(packet: &[u8]) -> bool {
    packet.first() == Some(&END) && packet.len() < 9
}

fn refuse_error(packet: &[u8]) -> io::Result<()> {
    match packet.first() {
        Some(&ERROR) => Err(io::Error::other(message_of(packet))),
        _ => Ok(()),
    }
}

/// Behind the mark and a code of two bytes.
fn message_of(packet: &[u8]) -> String {
    String::from_utf8_lossy(packet.get(3..).unwrap_or_default()).into_owned()
}

/// A text with its length before it, of one byte or behind a mark of two; of NULL, nothing.
fn first_column(row: &[u8]) -> String {
    let text = match row {
        [NULL, ..] | [] => &[],
        [0xfc, a, b, rest @ ..] => rest
            .get(..usize::from(u16::from_le_bytes([*a, *b])))
            .unwrap_or(rest),
        [length, rest @ ..] => rest.get(..usize::from(*length)).unwrap_or(rest),
    };
    String::from_utf8_lossy(text).into_owned()
}
