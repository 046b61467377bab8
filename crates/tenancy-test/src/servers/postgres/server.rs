use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::process::Signal;

use super::{PostgresOptions, TestDatabase, wire::Wire};
use crate::servers::{
    Role, ServerError, blocking,
    console::Console,
    daemon::{Daemon, Ports, Recipe},
    folder::{Folder, random},
    name_of_database,
    process::Process,
    program,
};

const PACKAGE: &str = "postgresql";

/// A PostgreSQL server, from the installed programs, on a free port of the loopback address and on a Unix socket.
///
/// It ends, and its files go, with the last clone of this and the last [`TestDatabase`] on it, or with this process.
/// It forgets on a power cut what it has committed, and on nothing else: [`kill`](Self::kill) and
/// [`restart`](Self::restart) show an application what a crash is.
///
/// Three roles can log in, by a password that is random for each server (scram-sha-256): see [`Role`]. Through
/// the socket no password is asked for; only the user whom the tests run as, and root, can reach that.
///
/// ```no_run
/// # async fn example() {
/// use tenancy_test::servers::Postgres;
///
/// let database = Postgres::shared().await.database("my_test").await;
/// let url = database.url(); // to be given to the application
/// # }
/// ```
///
/// A server of one's own can be hurt:
///
/// ```no_run
/// # async fn example() -> Result<(), tenancy_test::servers::ServerError> {
/// use tenancy_test::servers::{Postgres, PostgresOptions};
///
/// let server = Postgres::start(PostgresOptions::new().max_connections(20)).await?;
/// let database = server.database("survives_a_crash").await;
/// server.freeze().await; // connections stay open, and nothing answers
/// server.thaw().await;
/// server.kill().await;
/// server.restart().await?; // same port, same data
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Postgres {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    process: Process,
    console: Console,
    password: String,
    databases: AtomicU64,
    copying: &'static str,
}

impl Postgres {
    /// The server of this process, of 200 connections: started at the first call, kept until the process ends.
    ///
    /// Give each test a [`database`](Self::database) of its own, and do not stop or freeze what others use.
    ///
    /// # Panics
    /// When it can not be started; the text says which package is missing, or what its log says.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Postgres, ServerError>> = OnceLock::new();
        let start = || Self::start_blocking(&PostgresOptions::new().max_connections(200));
        match blocking(move || SHARED.get_or_init(start)).await {
            Ok(server) => server,
            Err(error) => panic!("{error}"),
        }
    }

    /// A server of one's own. Waits until it answers: some tenths of a second, and a second more where this build directory has
    /// no prepared data yet.
    ///
    /// # Errors
    /// PostgreSQL [is not installed](ServerError::is_not_installed), or it did not start.
    pub async fn start(options: PostgresOptions) -> Result<Self, ServerError> {
        blocking(move || Self::start_blocking(&options)).await
    }

    fn start_blocking(options: &PostgresOptions) -> Result<Self, ServerError> {
        let programs = Programs::find()?;
        let folder = Folder::create()?;
        programs.prepare(&folder)?;
        let recipe = PostgresRecipe {
            server: programs.server,
            arguments: options.arguments().collect(),
        };
        let daemon = Daemon::start(Box::new(recipe), folder)?;
        let socket = socket(daemon.folder().path(), daemon.port());
        let console = Console::new(Box::new(move || Ok(Box::new(Wire::connect(&socket)?))));
        let password = format!("{:032x}", random::<16>()?);
        for statement in [
            format!("ALTER ROLE admin PASSWORD '{password}'"),
            format!("CREATE ROLE owner LOGIN CREATEDB PASSWORD '{password}'"),
            format!("CREATE ROLE app LOGIN PASSWORD '{password}'"),
        ] {
            console.run_blocking(statement)?;
        }
        let version = console.run_blocking("SHOW server_version_num")?;
        // Three times faster than through the log, and all that older versions can do.
        let copying = match version.first().and_then(|version| version.parse::<u32>().ok()) {
            Some(150_000..) => "STRATEGY file_copy",
            _ => "",
        };
        let inner = Inner {
            process: Process::new(daemon),
            console,
            password,
            databases: AtomicU64::new(0),
            copying,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// A new empty database for the test of this name, dropped with what this returns.
    ///
    /// # Panics
    /// When the server does not make it.
    pub async fn database(&self, test: &str) -> TestDatabase {
        let number = self.inner.databases.fetch_add(1, Ordering::Relaxed) + 1;
        let name = name_of_database(number, test);
        let strategy = self.inner.copying;
        self.sql(format!("CREATE DATABASE {name} OWNER owner {strategy}"))
            .await;
        TestDatabase::new(self.clone(), name)
    }

    /// Runs statements as the superuser in the database `postgres`, one after another with those of all other callers, and
    /// returns the first column of each row.
    ///
    /// # Panics
    /// When the server refuses them, or does not answer within half a minute.
    pub async fn sql(&self, statements: impl Into<String>) -> Vec<String> {
        match self.inner.console.run(statements).await {
            Ok(rows) => rows,
            Err(error) => panic!("{error}"),
        }
    }

    /// The URL of a role in a database, over TCP.
    pub fn url(&self, role: Role, database: &str) -> String {
        let (role, password, address) = (role.name(), self.password(), self.address());
        format!("postgres://{role}:{password}@{address}/{database}?sslmode=disable")
    }

    /// The URL of a role in a database, over the Unix socket, as sqlx and libpq read it.
    pub fn socket_url(&self, role: Role, database: &str) -> String {
        let (role, folder, port) = (
            role.name(),
            self.inner.process.folder().path().display(),
            self.address().port(),
        );
        format!("postgres:///{database}?user={role}&host={folder}&port={port}&sslmode=disable")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.inner.process.address()
    }

    /// The password of all three roles.
    pub fn password(&self) -> &str {
        &self.inner.password
    }

    /// The process that all others of the server are children of. Another one after a [`restart`](Self::restart).
    pub fn pid(&self) -> u32 {
        self.inner.process.pid()
    }

    /// The end of its log, 4 kB at most, since it was last started.
    pub fn log(&self) -> String {
        self.inner.process.log()
    }

    /// Ends it as an operator would: open transactions are rolled back, and clients are told. Returns when it has ended.
    pub async fn stop(&self) {
        self.inner.process.stop().await;
    }

    /// Ends all of its processes by SIGKILL: clients see a closed connection without a word.
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

    /// Stops all of its processes where they are, by SIGSTOP: the kernel goes on to accept connections, and nothing answers.
    pub async fn freeze(&self) {
        self.inner.process.freeze().await;
    }

    /// Lets them go on where they were.
    pub async fn thaw(&self) {
        self.inner.process.thaw().await;
    }

    pub(super) fn drop_later(&self, database: &str) {
        self.inner
            .console
            .run_later(format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"));
    }
}

struct Programs {
    server: PathBuf,
    initdb: PathBuf,
}

impl Programs {
    fn find() -> Result<Self, ServerError> {
        let debian = Some(("/usr/lib/postgresql", "bin"));
        Ok(Self {
            server: program::find("postgres", PACKAGE, debian)?,
            initdb: program::find("initdb", PACKAGE, debian)?,
        })
    }

    /// Puts a fresh cluster into the folder's `data`.
    fn prepare(&self, folder: &Folder) -> Result<(), ServerError> {
        let mut version = program::command(&self.server, Path::new("/"))?;
        version.arg("--version");
        let version = program::run("postgres", version)?;
        // The number changes with the arguments of initdb.
        folder.fill("data", &format!("{version} 2"), |data| {
            let mut initdb = program::command(&self.initdb, folder.path())?;
            initdb
                .arg("--pgdata")
                .arg(data)
                .args([
                    "--username=admin",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--wal-segsize=4",
                ])
                .args([
                    "--auth-local=trust",
                    "--auth-host=scram-sha-256",
                    "--no-sync",
                    "--no-instructions",
                ]);
            program::run("initdb", initdb).map(drop)
        })
    }
}

struct PostgresRecipe {
    server: PathBuf,
    arguments: Vec<String>,
}

impl Recipe for PostgresRecipe {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn command(&self, folder: &Folder, [port, _]: Ports) -> Result<Command, ServerError> {
        let mut command = program::command(&self.server, folder.path())?;
        command
            .args(&self.arguments)
            .arg("-D")
            .arg(folder.path().join("data"))
            .arg("-k")
            .arg(folder.path())
            .args(["-p", &port.to_string()]);
        Ok(command)
    }

    fn is_ready(&self, folder: &Path, port: u16) -> bool {
        Wire::connect(&socket(folder, port)).is_ok()
    }

    /// "Fast" shutdown: connections are ended, not waited for.
    fn stop_signal(&self) -> Signal {
        Signal::INT
    }
}

fn socket(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!(".s.PGSQL.{port}"))
}
