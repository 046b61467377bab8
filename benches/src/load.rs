//! A load generator: blocking keep-alive connections, one thread each, and the server processes that it drives.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tenancy::core::{Clock, SystemClock};

use crate::{Failure, process::Process, request::BROWSER_HEADERS};

/// What is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// The example server, as its users start it.
    Example,
    /// Its routes without the stack.
    WithoutStack,
}

/// Where the programs that serve are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    example: PathBuf,
    without_stack: PathBuf,
}

impl Programs {
    /// Builds them as the README says to, in release mode.
    pub(crate) fn build() -> Result<Self, Failure> {
        eprintln!("served    building the example server");
        let messages = build("example-server")?;
        let find = |name| executable(&messages, name).ok_or("cargo did not say where the example server is");
        Ok(Self {
            example: find("example-server")?,
            without_stack: find("without-stack")?,
        })
    }
}

/// Builds the programs of a package of the workspace in release mode, and returns what cargo says of them.
pub(crate) fn build(package: &str) -> Result<String, Failure> {
    build_with(&["--package".as_ref(), package.as_ref()], package)
}

/// The same for a package that is outside of the workspace, by its manifest. What is built goes where all else does.
pub(crate) fn build_alone(manifest: &Path) -> Result<String, Failure> {
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "../target".into());
    let arguments = [
        "--manifest-path".as_ref(),
        manifest.as_os_str(),
        "--target-dir".as_ref(),
        &target,
    ];
    build_with(&arguments, &manifest.to_string_lossy())
}

fn build_with(which: &[&OsStr], name: &str) -> Result<String, Failure> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "--locked", "--quiet", "--bins"])
        .args(which)
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("{name} can not be built").into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The path of a program in what cargo says of its artifacts, one JSON object a line.
/// <https://doc.rust-lang.org/cargo/reference/external-tools.html#artifact-messages>
pub(crate) fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find(|message| message["target"]["name"] == name && message["executable"].is_string())
        .and_then(|message| message["executable"].as_str().map(PathBuf::from))
}

/// A server of one worker thread in a process of its own, ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    /// Where operators see it, if it was told to have such an address.
    admin: Option<SocketAddr>,
}

impl Server {
    /// Starts one over a data directory of its own, which must not be there yet.
    pub(crate) fn start(programs: &Programs, served: Served, data: &Path) -> Result<Self, Failure> {
        Self::start_with(programs, served, data, |_| {})
    }

    /// The same, with more options and variables.
    pub(crate) fn start_with(
        programs: &Programs,
        served: Served,
        data: &Path,
        change: impl FnOnce(&mut Command),
    ) -> Result<Self, Failure> {
        let (program, options): (_, &[&str]) = match served {
            Served::Example => (&programs.example, &["--listen", "127.0.0.1:0"]),
            Served::WithoutStack => (&programs.without_stack, &[]),
        };
        // It ends with this process, however that ends.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .arg("--data-dir")
            .arg(data)
            .args(options)
            .env("TOKIO_WORKER_THREADS", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        change(&mut command);
        let has_admin = command.get_args().any(|argument| argument == "--admin-listen");
        let mut child = command.spawn()?;
        match listening_addresses(&mut child, has_admin) {
            Ok((address, admin)) => Ok(Self {
                child,
                address,
                admin,
            }),
            Err(error) => {
                // It may have ended already.
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    pub(crate) fn process(&self) -> Process {
        Process::number(self.child.id())
    }

    pub(crate) fn admin(&self) -> Result<SocketAddr, Failure> {
        self.admin.ok_or_else(|| "the server has no admin address".into())
    }

    /// Sends a request and hangs up without waiting for its answer.
    pub(crate) fn hang_up(&self, request: &[u8]) -> Result<(), Failure> {
        Ok(TcpStream::connect(self.address)?.write_all(request)?)
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

/// What it prints when it is ready: where it listens, for everybody and for operators.
fn listening_addresses(
    child: &mut Child,
    has_admin: bool,
) -> Result<(SocketAddr, Option<SocketAddr>), Failure> {
    let output = child.stdout.take().ok_or("the server has no output")?;
    let mut lines = BufReader::new(output).lines();
    let mut address_after = |prefix: &str| loop {
        let line = lines.next().ok_or("the server ended before it was ready")??;
        if let Some(rest) = line.strip_prefix(prefix) {
            let address = rest.split('/').next().unwrap_or_default();
            return Ok::<SocketAddr, Failure>(address.parse()?);
        }
    };
    let address = address_after("listening on http://")?;
    let admin = match has_admin {
        true => Some(address_after("for operators: http://")?),
        false => None,
    };
    // It goes on to say what to try, and must be able to.
    thread::spawn(move || lines.for_each(drop));
    Ok((address, admin))
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

/// The bytes of a browser's GET of `/about`.
pub(crate) fn request_bytes(host: &str) -> Vec<u8> {
    request_bytes_of(host, "/about")
}

/// The same of another path.
pub(crate) fn request_bytes_of(host: &str, path: &str) -> Vec<u8> {
    let mut text = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n");
    for (name, value) in BROWSER_HEADERS {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

impl Connection {
    /// Sends one request and reads its whole answer, which must be 200.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> Result<(), Failure> {
        self.exchange_for(request, 200)
    }

    /// The same, where the answer must have this status.
    pub(crate) fn exchange_for(&mut self, request: &[u8], status: u16) -> Result<(), Failure> {
        self.stream.write_all(request)?;
        self.buffer.clear();
        let mut piece = [0; 2048];
        loop {
            let read = self.stream.read(&mut piece)?;
            if read == 0 {
                return Err("the server closed the connection".into());
            }
            self.buffer.extend_from_slice(&piece[..read]);
            if is_complete(&self.buffer, status)? {
                return Ok(());
            }
        }
    }
}

/// Whether an answer with `Content-Length` is all there. Any other status is an error.
fn is_complete(answer: &[u8], status: u16) -> Result<bool, Failure> {
    let Some(head_end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(false);
    };
    let head = str::from_utf8(&answer[..head_end])?;
    if !head.starts_with(&format!("HTTP/1.1 {status} ")) {
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
        assert!(is_complete(answer, 200).unwrap());
        for cut in 0..answer.len() {
            assert!(!is_complete(&answer[..cut], 200).unwrap(), "{cut}");
        }
    }

    #[test]
    fn a_program_is_found_in_what_cargo_says() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"example-server","kind":["lib"]},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"example-server","kind":["bin"]},"executable":"/t/example-server"}"#,
            "\nnot JSON\n",
        );
        assert_eq!(
            executable(messages, "example-server"),
            Some("/t/example-server".into())
        );
        assert_eq!(executable(messages, "without-stack"), None);
    }

    #[test]
    fn only_the_wanted_status_counts_as_an_answer() {
        assert!(is_complete(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", 200).is_err());
        assert!(is_complete(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", 200).is_err());
    }

    #[test]
    fn the_request_is_what_is_counted_elsewhere() {
        let text = String::from_utf8(request_bytes("acme.localhost:8000")).unwrap();
        assert!(text.starts_with("GET /about HTTP/1.1\r\nHost: acme.localhost:8000\r\n"));
        assert!(text.ends_with("\r\n\r\n"));
        assert_eq!(text.lines().count(), 2 + BROWSER_HEADERS.len() + 1);
    }
}
