//! A PostgreSQL server on a free port, with a directory of its own, that ends with the process of the tests.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, OnceLock, mpsc},
    thread,
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, PgConnection, Row,
    postgres::{PgConnectOptions, PgSslMode},
};
use tempfile::TempDir;

pub(super) struct PgServer {
    directory: TempDir,
    port: u16,
    child: Arc<Mutex<Option<Child>>>,
}

impl PgServer {
    /// The one that all tests of this binary share.
    pub(super) fn shared() -> &'static Self {
        static SERVER: OnceLock<PgServer> = OnceLock::new();
        SERVER.get_or_init(Self::start)
    }

    /// One of its own, for a test that harms it.
    pub(super) fn start() -> Self {
        let directory = directory();
        let data = directory.path().join("data");
        let status = as_server(&program("initdb"))
            .args(["--no-sync", "--auth=trust", "--username=postgres", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "initdb");
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .unwrap()
            .port();
        let server = Self {
            directory,
            port,
            child: Arc::default(),
        };
        server.run();
        server
    }

    /// Starts the server process, and waits until it answers.
    pub(super) fn run(&self) {
        let mut command = as_server(&program("postgres"));
        command
            .arg("-D")
            .arg(self.directory.path().join("data"))
            .args(["-p", &self.port.to_string()])
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "unix_socket_directories=",
            ])
            .args([
                "-c",
                "fsync=off",
                "-c",
                "max_connections=200",
                "-c",
                "autovacuum=off",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let (started, is_started) = mpsc::channel();
        let child = Arc::clone(&self.child);
        // The server is told when the thread ends that started it: this one does not before the process.
        thread::spawn(move || {
            *child.lock().unwrap() = Some(command.spawn().unwrap());
            started.send(()).unwrap();
            loop {
                thread::park();
            }
        });
        is_started.recv().unwrap();
        for _ in 0..600 {
            let ready = Command::new(program("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
                .status();
            if ready.unwrap().success() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("the server does not start");
    }

    /// Ends the server at once, with everything that runs in it.
    pub(super) fn stop(&self) {
        let mut child = self.child.lock().unwrap().take().unwrap();
        signal("QUIT", child.id());
        child.wait().unwrap();
    }

    pub(super) fn options(&self, application: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username("postgres")
            .database("postgres")
            .ssl_mode(PgSslMode::Disable)
            .application_name(application)
    }

    pub(super) async fn connect(&self, database: &str) -> PgConnection {
        self.options("test").database(database).connect().await.unwrap()
    }

    /// How many connections the server counts that call themselves so.
    pub(super) async fn count(&self, observer: &mut PgConnection, application: &str) -> usize {
        let row = sqlx::query("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1")
            .bind(application)
            .fetch_one(observer)
            .await
            .unwrap();
        usize::try_from(row.get::<i64, _>(0)).unwrap()
    }
}

impl Drop for PgServer {
    fn drop(&mut self) {
        if self.child.lock().unwrap().is_some() {
            self.stop();
        }
    }
}

pub(super) fn signal(name: &str, process: u32) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(process.to_string())
        .status();
    assert!(status.unwrap().success(), "kill -{name} {process}");
}

pub(super) async fn run(connection: &mut PgConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await
        .unwrap();
}

fn program(name: &str) -> PathBuf {
    let mut versions: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    versions.sort();
    versions.pop().unwrap().join("bin").join(name)
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}

/// PostgreSQL refuses to run as root.
pub(super) fn as_server(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if is_root() {
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
    }
    command.arg(program);
    command
}

/// A directory of the server's. What processes left that were killed is removed: statics are not dropped at the end.
pub(super) fn directory() -> TempDir {
    const PREFIX: &str = "tenancy-pool-";
    for left in std::fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = left.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = std::fs::remove_dir_all(left.path());
        }
    }
    let directory = tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{}-", std::process::id()))
        .tempdir()
        .unwrap();
    own(directory.path());
    directory
}

fn own(directory: &Path) {
    if is_root() {
        let status = Command::new("chown")
            .arg("nobody:nogroup")
            .arg(directory)
            .status();
        assert!(status.unwrap().success(), "chown");
    }
}
