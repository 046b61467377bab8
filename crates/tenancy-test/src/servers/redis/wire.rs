//! As much of Redis's protocol as it takes to run a command over a Unix socket, without waiting for a runtime.
//!
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use crate::servers::{ServerError, console::Client};

/// Longer than any command of the kit takes, and short enough for a test of a frozen server.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Wire {
    stream: BufReader<UnixStream>,
}

impl Wire {
    pub(super) fn connect(socket: &Path, password: &str) -> Result<Self, ServerError> {
        let stream = UnixStream::connect(socket).map_err(broken)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
        let mut wire = Self {
            stream: BufReader::new(stream),
        };
        wire.run(&format!("AUTH {password}"))?;
        Ok(wire)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// A reply that is a text, a number, nothing, or a list of those; an error stands in the second place.
    fn reply(&mut self) -> io::Result<(Vec<String>, Option<String>)> {
        let line = self.line()?;
        let (kind, rest) = line.split_at_checked(1).ok_or(io::ErrorKind::InvalidData)?;
        let length = || rest.parse::<i64>().map_err(io::Error::other);
        match kind {
            "+" | ":" => Ok((vec![rest.to_owned()], None)),
            "-" => Ok((Vec::new(), Some(rest.to_owned()))),
            "$" => match usize::try_from(length()?) {
                Ok(length) => Ok((vec![self.text(length)?], None)),
                Err(_) => Ok((vec![String::new()], None)),
            },
            "*" => {
                let mut all = Vec::new();
                for _ in 0..length()? {
                    all.extend(self.reply()?.0);
                }
                Ok((all, None))
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn text(&mut self, length: usize) -> io::Result<String> {
        let mut text = Vec::new();
        self.stream
            .by_ref()
            .take(length as u64 + 2)
            .read_to_end(&mut text)?;
        text.truncate(length);
        String::from_utf8(text).map_err(io::Error::other)
    }
}

impl Client for Wire {
    /// Of several commands, one a line, the reply to the last.
    fn run(&mut self, commands: &str) -> Result<Vec<String>, ServerError> {
        let mut last = Vec::new();
        for command in commands.lines() {
            let inline = format!("{command}\r\n");
            self.stream
                .get_mut()
                .write_all(inline.as_bytes())
                .map_err(broken)?;
            let (reply, refusal) = self.reply().map_err(broken)?;
            if let Some(refusal) = refusal {
                return Err(ServerError::refused(command, refusal));
            }
            last = reply;
        }
        Ok(last)
    }
}

fn broken(error: io::Error) -> ServerError {
    ServerError::io("the connection to Redis broke", error)
}
