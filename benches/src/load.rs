//! A load generator: blocking keep-alive connections, one thread each, and the server processes that it drives.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use clap::ValueEnum;
use tenancy::core::{Clock, SystemClock};

use crate::{Failure, process::Process, request::BROWSER_HEADERS, serve::Served};

/// A process of this program that serves, ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    pub(crate) fn start(served: Served) -> Result<Self, Failure> {
        let name = served.to_possible_value().ok_or("nothing to serve")?;
        let mut child = Command::new(env::current_exe()?)
            .args(["serve", name.get_name()])
            // Its end is the server's end.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut port = String::new();
        let output = child.stdout.take().ok_or("the server has no output")?;
        BufReader::new(output).read_line(&mut port)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.trim().parse()?));
        Ok(Self { child, address })
    }

    pub(crate) fn process(&self) -> Process {
        Process::number(self.child.id())
    }

    pub(crate) fn connect(&self) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Connection {
            stream,
            buffer: Vec::with_capacity(4096),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends with this process in any case; all that can fail here is that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A keep-alive connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// The bytes of a browser's GET of `/`.
pub(crate) fn request_bytes(host: &str) -> Vec<u8> {
    let mut text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n");
    for (name, value) in BROWSER_HEADERS {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

impl Connection {
    /// Sends one request and reads its whole answer, which must be 200.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> Result<(), Failure> {
        self.stream.write_all(request)?;
        self.buffer.clear();
        let mut piece = [0; 2048];
        loop {
            let read = self.stream.read(&mut piece)?;
            if read == 0 {
                return Err("the server closed the connection".into());
            }
            self.buffer.extend_from_slice(&piece[..read]);
            if is_complete(&self.buffer)? {
                return Ok(());
            }
        }
    }
}

/// Whether an answer with `Content-Length` is all there. Any status but 200 is an error.
fn is_complete(answer: &[u8]) -> Result<bool, Failure> {
    let Some(head_end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(false);
    };
    let head = str::from_utf8(&answer[..head_end])?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(format!("the server answered {}", head.lines().next().unwrap_or_default()).into());
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.ok_or("the answer has no Content-Length")?;
    Ok(answer.len() >= head_end + 4 + length)
}

/// What one round of requests took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) requests: usize,
    pub(crate) wall: Duration,
    /// CPU time of the server's process.
    pub(crate) cpu: Duration,
}

impl Round {
    pub(crate) fn cpu_per_request(&self) -> f64 {
        self.cpu.as_secs_f64() / self.requests as f64
    }

    pub(crate) fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.wall.as_secs_f64()
    }
}

/// Sends `each` requests on each connection, all connections at once.
pub(crate) fn round(
    server: &Server,
    connections: &mut [Connection],
    request: &[u8],
    each: usize,
) -> Result<Round, Failure> {
    let requests = connections.len() * each;
    let clock = SystemClock::new();
    let cpu_before = server.process().cpu_time()?;
    thread::scope(|scope| {
        let threads: Vec<_> = connections
            .iter_mut()
            .map(|connection| scope.spawn(move || (0..each).try_for_each(|_| connection.exchange(request))))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .map_err(|_| Failure::from("a client thread panicked"))?
        })
    })?;
    Ok(Round {
        requests,
        wall: clock.monotonic(),
        cpu: server.process().cpu_time()?.saturating_sub(cpu_before),
    })
}

/// Seconds that each of `count` exchanges on one connection took, taking the requests in turn.
pub(crate) fn latencies(
    connection: &mut Connection,
    requests: &[&[u8]],
    count: usize,
) -> Result<Vec<f64>, Failure> {
    let clock = SystemClock::new();
    requests
        .iter()
        .cycle()
        .take(count)
        .map(|request| {
            let before = clock.monotonic();
            connection.exchange(request)?;
            Ok((clock.monotonic() - before).as_secs_f64())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_with_its_last_byte() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
        assert!(is_complete(answer).unwrap());
        for cut in 0..answer.len() {
            assert!(!is_complete(&answer[..cut]).unwrap(), "{cut}");
        }
    }

    #[test]
    fn only_200_counts_as_an_answer() {
        assert!(is_complete(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").is_err());
        assert!(is_complete(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }

    #[test]
    fn the_request_is_what_is_counted_elsewhere() {
        let text = String::from_utf8(request_bytes("acme.localhost:8000")).unwrap();
        assert!(text.starts_with("GET / HTTP/1.1\r\nHost: acme.localhost:8000\r\n"));
        assert!(text.ends_with("\r\n\r\n"));
        assert_eq!(text.lines().count(), 2 + BROWSER_HEADERS.len() + 1);
    }
}
