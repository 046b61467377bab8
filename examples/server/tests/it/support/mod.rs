//! Starting the server, talking to it and listening to what it says.

pub(crate) mod http;

use std::{
    ffi::OsStr,
    net::SocketAddr,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    task::JoinHandle,
};

/// Long enough for a busy machine. Only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What ends, or fails the test.
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited in vain: {what}"),
    }
}

/// Asks again until the answer is yes.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    in_time(what, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// A start of the server that is being prepared. It listens on a free port unless told otherwise.
pub(crate) struct Launch {
    command: Command,
}

impl Launch {
    /// With this data directory.
    pub(crate) fn with_data_in(directory: &Path) -> Self {
        Self::bare(&std::env::temp_dir())
            .arg("--listen")
            .arg("127.0.0.1:0")
            .arg("--data-dir")
            .arg(directory)
    }

    /// Without any option, in this working directory.
    pub(crate) fn bare(working_directory: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_example-server"));
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TENANCY_"))
        {
            command.env_remove(name);
        }
        command
            .current_dir(working_directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Self { command }
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    fn spawn(mut self) -> Running {
        let mut child = self.command.spawn().unwrap();
        let stdout = Heard::from(child.stdout.take().unwrap());
        let stderr = Heard::from(child.stderr.take().unwrap());
        Running {
            child,
            stdout,
            stderr,
        }
    }

    /// Starts it and waits until it listens.
    pub(crate) async fn start(self) -> Server {
        let mut running = self.spawn();
        let address = in_time("the server's address", async {
            loop {
                if let Some(address) = address_in(&running.stdout.so_far()) {
                    return address;
                }
                if running.child.try_wait().unwrap().is_some() {
                    panic!("it ended at once:\n{}", running.stderr.rest().await);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        Server { address, running }
    }

    /// Runs it to its end.
    pub(crate) async fn run(self) -> Ended {
        self.spawn().end().await
    }

    /// A start that must fail: what it says on standard error.
    pub(crate) async fn refused(self) -> String {
        let ended = self.run().await;
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("error: "), "{}", ended.stderr);
        assert!(!ended.stdout.contains("listening"), "{}", ended.stdout);
        ended.stderr
    }
}

fn address_in(stdout: &str) -> Option<SocketAddr> {
    // The whole text is there once its last line is.
    stdout.find("Ctrl-C ends it.\n")?;
    let (_, rest) = stdout.split_once("listening on http://")?;
    rest.lines().next()?.parse().ok()
}

struct Running {
    child: Child,
    stdout: Heard,
    stderr: Heard,
}

impl Running {
    async fn end(mut self) -> Ended {
        let status = in_time("the end of the process", self.child.wait())
            .await
            .unwrap();
        Ended {
            status,
            stdout: self.stdout.rest().await,
            stderr: self.stderr.rest().await,
        }
    }
}

/// A process that has ended, with all that it said.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A server that listens. It is killed when this is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    running: Running,
}

impl Server {
    pub(crate) fn said(&self) -> String {
        self.running.stdout.so_far()
    }

    pub(crate) fn log(&self) -> String {
        self.running.stderr.so_far()
    }

    pub(crate) async fn logs(&self, text: &str) {
        until(text, async || self.log().contains(text)).await;
    }

    /// Sends `TERM` or `INT`.
    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.running.child.id().expect("it runs");
        let kill = format!("kill -{name} {pid}");
        let status = Command::new("sh").arg("-c").arg(kill).status().await.unwrap();
        assert!(status.success());
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(self) -> Ended {
        self.running.end().await
    }

    /// Ends it as an operator does, and waits.
    pub(crate) async fn end(self) -> Ended {
        self.signal("TERM").await;
        let ended = self.ended().await;
        assert!(ended.status.success(), "{}", ended.stderr);
        ended
    }
}

/// A stream that is read as it comes.
struct Heard {
    text: Arc<Mutex<String>>,
    task: JoinHandle<()>,
}

impl Heard {
    fn from(mut stream: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&text);
        let task = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                let piece = String::from_utf8_lossy(&buffer[..length]);
                written.lock().unwrap().push_str(&piece);
            }
        });
        Self { text, task }
    }

    fn so_far(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    async fn rest(&mut self) -> String {
        in_time("the end of the output", &mut self.task).await.unwrap();
        self.so_far()
    }
}
