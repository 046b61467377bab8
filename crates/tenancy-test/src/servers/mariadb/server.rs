use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::process::Signal;

use super::{MariaDbDatabase, MariaDbOptions, wire::Wire};
use crate::servers::{
    Role, ServerError, blocking,
    console::{Client, Console},
    daemon::{Daemon, Ports, Recipe},
    folder::{Folder, random},
    name_of_database,
    process::Process,
    program,
};

/// A MariaDB server, from the installed programs, on a free port of the loopback address and on a Unix socket.
///
/// It ends, and its files go, with the last clone of this and the last [`MariaDbDatabase`] on it, or with this process.
/// It forgets on a power cut what it has committed, and on nothing else. Three roles can log in from anywhere, by a
/// password that is random for each server: see [`Role`].
///
/// ```no_run
/// # async fn example() {
/// use tenancy_test::servers::MariaDb;
///
/// let database = MariaDb::shared().await.database("my_test").await;
/// let url = database.url(); // to be given to the application
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MariaDb {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    process: Process,
    console: Console,
    password: String,
    databases: AtomicU64,
}

impl MariaDb {
    /// The server of this process, of 200 connections: started at the first call, kept until the process ends.
    ///
    /// # Panics
    /// When it can not be started; the text says which package is missing, or what its log says.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<MariaDb, ServerError>> = OnceLock::new();
        let start = || Self::start_blocking(&MariaDbOptions::new().max_connections(200));
        match blocking(move || SHARED.get_or_init(start)).await {
            Ok(server) => server,
            Err(error) => panic!("{error}"),
        }
    }

    /// A server of one's own. Waits until it answers: half a second, and two more where this build directory has no prepared
    /// data yet.
    ///
    /// # Errors
    /// MariaDB [is not installed](ServerError::is_not_installed), or it did not start.
    pub async fn start(options: MariaDbOptions) -> Result<Self, ServerError> {
        blocking(move || Self::start_blocking(&options)).await
    }

    fn start_blocking(options: &MariaDbOptions) -> Result<Self, ServerError> {
        let recipe = MariaDbRecipe {
            server: program::find("mariadbd", "mariadb-server-core", None)?,
            arguments: options.arguments().collect(),
        };
        let folder = Folder::create()?;
        recipe.prepare(&folder)?;
        let daemon = Daemon::start(Box::new(recipe), folder)?;
        let socket = socket(daemon.folder().path());
        let console = Console::new(Box::new(move || Ok(Box::new(connect(&socket)?))));
        let password = format!("{:032x}", random::<16>()?);
        for statement in [
            "DELETE FROM mysql.global_priv WHERE Host <> 'localhost'".to_owned(),
            "FLUSH PRIVILEGES".to_owned(),
            format!("CREATE USER admin IDENTIFIED BY '{password}', owner IDENTIFIED BY '{password}'"),
            format!("CREATE USER app IDENTIFIED BY '{password}'"),
            "GRANT ALL PRIVILEGES ON *.* TO admin WITH GRANT OPTION".to_owned(),
            format!("GRANT {OWNER_MAY} ON *.* TO owner WITH GRANT OPTION"),
        ] {
            console.run_blocking(statement)?;
        }
        let inner = Inner {
            process: Process::new(daemon),
            console,
            password,
            databases: AtomicU64::new(0),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// A new empty database for the test of this name, dropped with what this returns.
    ///
    /// # Panics
    /// When the server does not make it.
    pub async fn database(&self, test: &str) -> MariaDbDatabase {
        let number = self.inner.databases.fetch_add(1, Ordering::Relaxed) + 1;
        let name = name_of_database(number, test);
        self.sql(format!("CREATE DATABASE {name}")).await;
        // In a grant an underscore stands for any letter.
        let pattern = name.replace('_', "\\_");
        self.sql(format!("GRANT {APP_MAY} ON `{pattern}`.* TO app")).await;
        MariaDbDatabase::new(self.clone(), name)
    }

    /// Runs one statement as the superuser, in no database, after those of other callers, and returns the first column of
    /// each row.
    ///
    /// # Panics
    /// When the server refuses it, or does not answer within half a minute.
    pub async fn sql(&self, statement: impl Into<String>) -> Vec<String> {
        match self.inner.console.run(statement).await {
            Ok(rows) => rows,
            Err(error) => panic!("{error}"),
        }
    }

    /// The URL of a role in a database, over TCP.
    pub fn url(&self, role: Role, database: &str) -> String {
        let (role, password, address) = (role.name(), self.password(), self.address());
        format!("mysql://{role}:{password}@{address}/{database}")
    }

    /// The URL of a role in a database, over the Unix socket, as sqlx reads it.
    pub fn socket_url(&self, role: Role, database: &str) -> String {
        let socket = socket(self.inner.process.folder().path());
        format!("{}?socket={}", self.url(role, database), socket.display())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.inner.process.address()
    }

    /// The password of all three roles.
    pub fn password(&self) -> &str {
        &self.inner.password
    }

    /// Its process. Another one after a [`restart`](Self::restart).
    pub fn pid(&self) -> u32 {
        self.inner.process.pid()
    }

    /// The end of its log, 4 kB at most, since it was last started.
    pub fn log(&self) -> String {
        self.inner.process.log()
    }

    /// Ends it as an operator would: open transactions are rolled back. Returns when it has ended.
    pub async fn stop(&self) {
        self.inner.process.stop().await;
    }

    /// Ends its process by SIGKILL: clients see a closed connection without a word.
    pub async fn kill(&self) {
        self.inner.process.kill().await;
    }

    /// Starts it on the same port and over the same data, after a [`stop`](Self::stop) where it runs. Returns when it answers.
    ///
    /// # Errors
    /// It did not start.
    pub async fn restart(&self) -> Result<(), ServerError> {
        self.inner.process.restart().await
    }

    /// Stops its process where it is, by SIGSTOP: the kernel goes on to accept connections, and nothing answers.
    pub async fn freeze(&self) {
        self.inner.process.freeze().await;
    }

    /// Lets it go on where it was.
    pub async fn thaw(&self) {
        self.inner.process.thaw().await;
    }

    pub(super) fn drop_later(&self, database: &str) {
        self.inner
            .console
            .run_later(format!("DROP DATABASE IF EXISTS {database}"));
    }
}

/// In any database, as whoever creates databases for tenants needs it.
const OWNER_MAY: &str = "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, TRIGGER, EVENT, CREATE VIEW, \
                         SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, EXECUTE, LOCK TABLES, CREATE TEMPORARY TABLES";
const APP_MAY: &str = "SELECT, INSERT, UPDATE, DELETE, EXECUTE, CREATE TEMPORARY TABLES";

struct MariaDbRecipe {
    server: PathBuf,
    arguments: Vec<String>,
}

impl MariaDbRecipe {
    /// Puts fresh system tables into the folder's `data`.
    fn prepare(&self, folder: &Folder) -> Result<(), ServerError> {
        let installer = program::find("mariadb-install-db", "mariadb-server-core", None)?;
        program::find("my_print_defaults", "mariadb-client-core", None)?;
        let mut version = program::command(&self.server, Path::new("/"))?;
        version.args(["--no-defaults", "--version"]);
        let version = program::run("mariadbd", version)?;
        // The number changes with the arguments of the installer.
        folder.fill("data", &format!("mariadb {version} 1"), |data| {
            let mut install = program::command(&installer, folder.path())?;
            install
                .args([
                    "--no-defaults",
                    "--auth-root-authentication-method=normal",
                    "--skip-test-db",
                ])
                .args([
                    "--skip-name-resolve",
                    "--innodb-log-file-size=8M",
                    "--innodb-flush-method=nosync",
                ])
                .arg(format!("--datadir={}", data.display()));
            program::run("mariadb-install-db", install).map(drop)
        })
    }
}

impl Recipe for MariaDbRecipe {
    fn name(&self) -> &'static str {
        "mariadbd"
    }

    fn command(&self, folder: &Folder, [port, _]: Ports) -> Result<Command, ServerError> {
        // One of a killed server would be taken for that of the next.
        let _ = fs::remove_file(socket(folder.path()));
        let at = |option: &str, name: &str| format!("--{option}={}", folder.path().join(name).display());
        let mut command = program::command(&self.server, folder.path())?;
        command
            .arg("--no-defaults")
            .args([
                at("datadir", "data"),
                at("socket", "socket"),
                at("pid-file", "pid"),
                at("tmpdir", ""),
            ])
            .arg(format!("--port={port}"))
            .args(&self.arguments);
        Ok(command)
    }

    fn is_ready(&self, folder: &Path, _port: u16) -> bool {
        Wire::connect(&socket(folder)).is_ok()
    }

    fn stop_signal(&self) -> Signal {
        Signal::TERM
    }
}

/// Dropping a database waits for open transactions on its tables: not for long, others wait behind it.
fn connect(socket: &Path) -> Result<Wire, ServerError> {
    let mut wire = Wire::connect(socket)?;
    wire.run("SET SESSION lock_wait_timeout = 2")?;
    Ok(wire)
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("socket")
}
