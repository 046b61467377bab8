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

use super::wire::Wire;
use crate::servers::{
    ServerError, blocking,
    console::{Client, Console},
    daemon::{Daemon, Ports, Recipe},
    folder::{Folder, random},
    process::Process,
    program,
};

/// So many numbered databases; an empty one takes next to nothing.
const DATABASES: u64 = 10_000;

/// A Redis server, from the installed program, on a free port of the loopback address and on a Unix socket.
///
/// It ends, and its files go, with the last clone of this and the last [`RedisDatabase`] on it, or with this process. It
/// keeps everything in memory: a [`stop`](Self::stop) or a [`kill`](Self::kill) empties it. Its password is random.
///
/// ```no_run
/// # async fn example() {
/// use tenancy_test::servers::Redis;
///
/// let database = Redis::shared().await.database().await;
/// let url = database.url(); // to be given to the application
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Redis {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    process: Process,
    console: Console,
    password: String,
    databases: AtomicU64,
}

/// A numbered database of one test on a [`Redis`], emptied when this is dropped.
#[derive(Debug)]
pub struct RedisDatabase {
    server: Redis,
    number: u64,
}

impl RedisDatabase {
    /// Its URL, `redis://:password@127.0.0.1:port/number`.
    pub fn url(&self) -> String {
        format!("{}/{}", self.server.url(), self.number)
    }

    /// The number that `SELECT` takes.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The server that it is on.
    pub fn server(&self) -> &Redis {
        &self.server
    }
}

impl Drop for RedisDatabase {
    fn drop(&mut self) {
        let commands = format!("SELECT {}\nFLUSHDB", self.number);
        self.server.inner.console.run_later(commands);
    }
}

impl Redis {
    /// The server of this process: started at the first call, kept until the process ends.
    ///
    /// # Panics
    /// When it can not be started; the text says which package is missing, or what its log says.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Redis, ServerError>> = OnceLock::new();
        let start = || Self::start_blocking(Kind::Single, random_password()?, "");
        match blocking(move || SHARED.get_or_init(start)).await {
            Ok(server) => server,
            Err(error) => panic!("{error}"),
        }
    }

    /// A server of one's own, with settings such as `("maxmemory", "10mb")`, which count over the kit's. Waits until it answers.
    ///
    /// # Errors
    /// Redis [is not installed](ServerError::is_not_installed), or it did not start.
    pub async fn start(settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        let settings = settings
            .iter()
            .map(|(name, value)| format!("{name} {value}\n"))
            .collect::<String>();
        blocking(move || Self::start_blocking(Kind::Single, random_password()?, &settings)).await
    }

    pub(super) async fn start_node(password: String) -> Result<Self, ServerError> {
        blocking(move || Self::start_blocking(Kind::Node, password, "")).await
    }

    /// Of several that have one password: a replica, with `replicaof` among its settings.
    pub(super) async fn start_alike(password: String, settings: String) -> Result<Self, ServerError> {
        blocking(move || Self::start_blocking(Kind::Single, password, &settings)).await
    }

    pub(super) async fn start_sentinel(password: String, settings: String) -> Result<Self, ServerError> {
        blocking(move || Self::start_blocking(Kind::Sentinel, password, &settings)).await
    }

    fn start_blocking(kind: Kind, password: String, settings: &str) -> Result<Self, ServerError> {
        let recipe = RedisRecipe {
            program: program::find("redis-server", "redis-server", None)?,
            password: password.clone(),
            kind,
            settings: settings.to_owned(),
        };
        let daemon = Daemon::start(Box::new(recipe), Folder::create()?)?;
        let (socket, for_console) = (socket(daemon.folder().path()), password.clone());
        let console = Console::new(Box::new(move || {
            Ok(Box::new(Wire::connect(&socket, &for_console)?))
        }));
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

    /// An empty database: the next number, of 9999 before they begin anew.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn database(&self) -> RedisDatabase {
        let number = self.inner.databases.fetch_add(1, Ordering::Relaxed) % (DATABASES - 1) + 1;
        self.command(format!("SELECT {number}\nFLUSHDB")).await;
        RedisDatabase {
            server: self.clone(),
            number,
        }
    }

    /// Runs commands, one a line, with words that need no quotes, and returns the reply to the last, flat. All callers
    /// share one connection: choose the database in the same call.
    ///
    /// # Panics
    /// When the server refuses one, or does not answer within half a minute.
    pub async fn command(&self, commands: impl Into<String>) -> Vec<String> {
        match self.try_command(commands.into()).await {
            Ok(reply) => reply,
            Err(error) => panic!("{error}"),
        }
    }

    pub(super) async fn try_command(&self, commands: String) -> Result<Vec<String>, ServerError> {
        self.inner.console.run(commands).await
    }

    /// Its URL, `redis://:password@127.0.0.1:port`, without a database.
    pub fn url(&self) -> String {
        format!("redis://:{}@{}", self.password(), self.address())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.inner.process.address()
    }

    /// Its password.
    pub fn password(&self) -> &str {
        &self.inner.password
    }

    /// The port on which the nodes of a cluster talk.
    pub(super) fn bus_port(&self) -> u16 {
        self.inner.process.second_port()
    }

    /// Its process. Another one after a [`restart`](Self::restart).
    pub fn pid(&self) -> u32 {
        self.inner.process.pid()
    }

    /// The end of its log, 4 kB at most, since it was last started.
    pub fn log(&self) -> String {
        self.inner.process.log()
    }

    /// Ends it as an operator would: clients are disconnected, and what it holds is gone. Returns when it has ended.
    pub async fn stop(&self) {
        self.inner.process.stop().await;
    }

    /// Ends its process by SIGKILL: clients see a closed connection without a word.
    pub async fn kill(&self) {
        self.inner.process.kill().await;
    }

    /// Starts it on the same port with the same settings, after a [`stop`](Self::stop) where it runs. Returns when it answers.
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

pub(super) fn random_password() -> Result<String, ServerError> {
    Ok(format!("{:032x}", random::<16>()?))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Single,
    Node,
    Sentinel,
}

struct RedisRecipe {
    program: PathBuf,
    password: String,
    kind: Kind,
    settings: String,
}

impl RedisRecipe {
    fn settings_text(&self, [port, bus_port]: Ports) -> String {
        let password = &self.password;
        // A replica need not wait for others that may come.
        let in_memory =
            format!("save \"\"\nappendonly no\nmasterauth {password}\nrepl-diskless-sync-delay 0");
        let of_kind = match self.kind {
            Kind::Single => format!("{in_memory}\ndatabases {DATABASES}"),
            Kind::Node => {
                format!(
                    "{in_memory}\ncluster-enabled yes\ncluster-port {bus_port}\ncluster-node-timeout 2000"
                )
            }
            Kind::Sentinel => String::new(),
        };
        let own = &self.settings;
        format!(
            "port {port}\nbind 127.0.0.1\nunixsocket socket\nunixsocketperm 700\nrequirepass {password}\n\
             {of_kind}\n{own}"
        )
    }
}

impl Recipe for RedisRecipe {
    fn name(&self) -> &'static str {
        "redis-server"
    }

    fn command(&self, folder: &Folder, ports: Ports) -> Result<Command, ServerError> {
        // One of a killed server would be taken for that of the next.
        let _ = fs::remove_file(socket(folder.path()));
        // In a file: arguments of a process can be read by everybody.
        let settings = folder.write("settings", &self.settings_text(ports))?;
        let mut command = program::command(&self.program, folder.path())?;
        command.arg(settings);
        if self.kind == Kind::Sentinel {
            command.arg("--sentinel");
        }
        Ok(command)
    }

    fn is_ready(&self, folder: &Path, _port: u16) -> bool {
        Wire::connect(&socket(folder), &self.password).is_ok_and(|mut wire| wire.run("PING").is_ok())
    }

    fn stop_signal(&self) -> Signal {
        Signal::TERM
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("socket")
}
