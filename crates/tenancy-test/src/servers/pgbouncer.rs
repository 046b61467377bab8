//! A pooler between application and PostgreSQL.

use std::{
    fmt::Write,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use rustix::process::Signal;

use super::{
    Postgres, Role, ServerError, blocking,
    daemon::{Daemon, Ports, Recipe},
    folder::Folder,
    process::Process,
    program,
};

/// When a client gives its server connection back. <https://www.pgbouncer.org/features.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PoolMode {
    /// When it disconnects.
    Session,
    /// At the end of each transaction: what it set for the session is gone, or is another client's.
    Transaction,
}

/// A PgBouncer in front of a [`Postgres`] server, for the same roles and passwords.
///
/// It ends, and its files go, with the last clone of this, or with this process. It keeps the server from ending.
///
/// ```no_run
/// # async fn example() -> Result<(), tenancy_test::servers::ServerError> {
/// use tenancy_test::servers::{PgBouncer, PoolMode, Postgres, Role};
///
/// let database = Postgres::shared().await.database("behind_a_pooler").await;
/// let pooler = PgBouncer::start(database.server(), PoolMode::Transaction).await?;
/// let url = pooler.url(Role::App, database.name());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PgBouncer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    process: Process,
    server: Postgres,
}

impl PgBouncer {
    /// A pooler of at most 10 server connections for each role and database, and 1000 clients.
    ///
    /// # Errors
    /// PgBouncer [is not installed](ServerError::is_not_installed), or it did not start.
    pub async fn start(server: &Postgres, mode: PoolMode) -> Result<Self, ServerError> {
        Self::start_with(server, mode, &[]).await
    }

    /// The same with settings of one's own, such as `("default_pool_size", "2")`, which count over the kit's.
    ///
    /// # Errors
    /// PgBouncer [is not installed](ServerError::is_not_installed), or it did not start.
    pub async fn start_with(
        server: &Postgres,
        mode: PoolMode,
        settings: &[(&str, &str)],
    ) -> Result<Self, ServerError> {
        let recipe = PgBouncerRecipe {
            program: program::find("pgbouncer", "pgbouncer", None)?,
            settings: settings_text(server.address(), mode, settings),
            users: users_text(server.password()),
        };
        let daemon = blocking(move || Daemon::start(Box::new(recipe), Folder::create()?)).await?;
        let inner = Inner {
            process: Process::new(daemon),
            server: server.clone(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The URL of a role in a database, through the pooler.
    pub fn url(&self, role: Role, database: &str) -> String {
        let direct = self.inner.server.url(role, database);
        direct.replacen(
            &self.inner.server.address().to_string(),
            &self.address().to_string(),
            1,
        )
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.inner.process.address()
    }

    /// The server behind it.
    pub fn server(&self) -> &Postgres {
        &self.inner.server
    }

    /// Its process. Another one after a [`restart`](Self::restart).
    pub fn pid(&self) -> u32 {
        self.inner.process.pid()
    }

    /// The end of its log, 4 kB at most, since it was last started.
    pub fn log(&self) -> String {
        self.inner.process.log()
    }

    /// Ends it as an operator would: clients are disconnected. Returns when it has ended.
    pub async fn stop(&self) {
        self.inner.process.stop().await;
    }

    /// Ends its process by SIGKILL: clients see a closed connection without a word.
    pub async fn kill(&self) {
        self.inner.process.kill().await;
    }

    /// Starts it on the same port and with the same settings, after a [`stop`](Self::stop) where it runs. Returns when it answers.
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
}

fn settings_text(server: SocketAddr, mode: PoolMode, settings: &[(&str, &str)]) -> String {
    let mode = match mode {
        PoolMode::Session => "session",
        PoolMode::Transaction => "transaction",
    };
    let mut text = format!(
        "[databases]\n* = host={} port={}\n[pgbouncer]\n",
        server.ip(),
        server.port()
    );
    let ours = [
        ("pool_mode", mode),
        ("listen_addr", "127.0.0.1"),
        // It would go on without its port if it had a socket.
        ("unix_socket_dir", ""),
        ("auth_type", "scram-sha-256"),
        ("auth_file", "users"),
        ("default_pool_size", "10"),
        ("max_client_conn", "1000"),
        ("server_login_retry", "1"),
        // What sqlx and JDBC send with each connection, and most who run PgBouncer let through.
        ("ignore_startup_parameters", "extra_float_digits"),
    ];
    // Of a setting given twice, PgBouncer takes the last.
    for (name, value) in ours.iter().chain(settings) {
        let _ = writeln!(text, "{name} = {value}");
    }
    text
}

fn users_text(password: &str) -> String {
    [Role::App, Role::Owner, Role::Admin]
        .map(|role| format!("\"{}\" \"{password}\"\n", role.name()))
        .concat()
}

struct PgBouncerRecipe {
    program: PathBuf,
    settings: String,
    users: String,
}

impl Recipe for PgBouncerRecipe {
    fn name(&self) -> &'static str {
        "pgbouncer"
    }

    fn command(&self, folder: &Folder, [port, _]: Ports) -> Result<Command, ServerError> {
        folder.write("users", &self.users)?;
        let settings = folder.write("settings", &format!("{}listen_port = {port}\n", self.settings))?;
        let mut command = program::command(&self.program, folder.path())?;
        command.arg(settings);
        Ok(command)
    }

    /// It has no socket but its port, and says so when that is its own.
    fn is_ready(&self, folder: &Path, port: u16) -> bool {
        let says_so = format!("listening on 127.0.0.1:{port}");
        fs::read_to_string(folder.join("log")).is_ok_and(|log| log.contains(&says_so))
    }

    /// At once, without waiting for clients.
    fn stop_signal(&self) -> Signal {
        Signal::TERM
    }
}
