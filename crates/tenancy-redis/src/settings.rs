use std::{error::Error, fmt, sync::Arc, time::Duration};

use bb8_redis::redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

use crate::{
    RedisLevel,
    keys::Keys,
    link::Link,
    server::{Dial, Limits, Sentinels, Server},
    servers::{Cluster, Servers},
};

/// Which servers, and what limits are kept to them.
///
/// ```
/// use std::time::Duration;
/// use tenancy_redis::RedisSettings;
///
/// let level = RedisSettings::cluster(["redis://10.0.0.1", "redis://10.0.0.2"])
///     .prefix("shop:")
///     .response_timeout(Duration::from_millis(100))
///     .build()?;
/// # Ok::<_, tenancy_redis::RedisSettingsError>(())
/// ```
#[derive(Clone)]
pub struct RedisSettings {
    place: Place,
    prefix: String,
    limits: Limits,
}

#[derive(Clone)]
enum Place {
    Single(String),
    Sentinel { sentinels: Vec<String>, master: String },
    Cluster(Vec<String>),
}

impl RedisSettings {
    /// One server: `redis://[user:password@]host[:port][/database]`, `rediss://` for TLS with the feature `tls`, or
    /// `redis+unix:///path?pass=…`.
    pub fn single(url: impl Into<String>) -> Self {
        Self::of(Place::Single(url.into()))
    }

    /// A master that Sentinel watches: the URLs of the Sentinels, with a login of theirs if they want one, and the URL of the
    /// master, whose host is the name that the Sentinels know it by: `redis://:password@mymaster/0`.
    ///
    /// After a failover calls reach the new master, once the Sentinels agree.
    pub fn sentinel(
        sentinels: impl IntoIterator<Item = impl Into<String>>,
        master: impl Into<String>,
    ) -> Self {
        Self::of(Place::Sentinel {
            sentinels: sentinels.into_iter().map(Into::into).collect(),
            master: master.into(),
        })
    }

    /// A Redis Cluster: the URLs of some of its nodes, from which the others are found. The login is that of the first.
    pub fn cluster(nodes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::of(Place::Cluster(nodes.into_iter().map(Into::into).collect()))
    }

    fn of(place: Place) -> Self {
        Self {
            place,
            prefix: "tenancy:".to_owned(),
            limits: Limits {
                connect: Duration::from_secs(1),
                answer: Duration::from_millis(150),
                connections: 2,
            },
        }
    }

    /// What all keys and channels begin with. Default: `tenancy:`. Applications that share a database need different ones. At most 64
    /// visible characters of ASCII, without braces.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        prefix.into().clone_into(&mut self.prefix);
        self
    }

    /// How many connections to each server all calls share, besides one for messages. Default: 2; from 1 to 64. The application's own
    /// calls, if there are any, have as many of their own: a large reply to them delays nothing of the cache.
    ///
    /// One carries any number of calls at once; a second one lets small replies pass large ones.
    #[must_use]
    pub fn connections(mut self, connections: u32) -> Self {
        self.limits.connections = connections;
        self
    }

    /// How long a call waits for a connection, and then for the reply; a call that has to be sent twice ends after twice this. A
    /// connection whose reply is late is closed. Default: 150 ms; up to ten seconds.
    #[must_use]
    pub fn response_timeout(mut self, limit: Duration) -> Self {
        self.limits.answer = limit;
        self
    }

    /// How long one attempt at a connection may take, with TLS, login and asking Sentinel. Calls do not wait so long; the next ones
    /// find the connection. Default: one second; up to a minute.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.limits.connect = limit;
        self
    }

    /// Checks all settings. Does not connect and does not wait.
    ///
    /// # Errors
    /// What is wrong, all of it; without what stands in URLs, since that may be a password.
    pub fn build(self) -> Result<RedisLevel, RedisSettingsError> {
        let mut mistakes = Mistakes::default();
        mistakes.check_limits(self.limits);
        mistakes.check_prefix(&self.prefix);
        let parsed = self.parse(&mut mistakes);
        // Connections apart, so that what applications read does not delay the cache. None is made before it is used.
        let apart = self.parse(&mut Mistakes::default());
        match (parsed, apart) {
            (Some((servers, database)), Some((apart, _))) if mistakes.0.is_empty() => {
                let keys = || Keys::new(self.prefix.clone(), database);
                Ok(RedisLevel::new(
                    Link::new(servers, keys(), self.limits),
                    Link::new(apart, keys(), self.limits),
                ))
            }
            _ => Err(RedisSettingsError { mistakes: mistakes.0 }),
        }
    }

    /// The servers, and the number of the database.
    fn parse(&self, mistakes: &mut Mistakes) -> Option<(Servers, i64)> {
        let limits = self.limits;
        match &self.place {
            Place::Single(url) => {
                let server = mistakes.url("the server", url)?;
                let database = server.redis_settings().db();
                let server = Server::new(Dial::Server(Box::new(server)), limits);
                Some((Servers::One(Arc::new(server)), database))
            }
            Place::Sentinel { sentinels, master } => {
                let sentinels = mistakes.urls("Sentinel", sentinels);
                let (master, master_name) = mistakes.master(master)?;
                let database = master.redis_settings().db();
                let sentinels = Sentinels {
                    sentinels,
                    master_name,
                    master,
                };
                let server = Server::new(Dial::Master(Arc::new(sentinels)), limits);
                Some((Servers::One(Arc::new(server)), database))
            }
            Place::Cluster(nodes) => {
                let seeds = mistakes.urls("node", nodes);
                mistakes.check_nodes(&seeds);
                let login = seeds.first()?.clone();
                Some((Servers::Cluster(Arc::new(Cluster::new(login, seeds, limits))), 0))
            }
        }
    }
}

impl fmt::Debug for RedisSettings {
    /// Shows no URLs, since there may be passwords in them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.place {
            Place::Single(_) => "single",
            Place::Sentinel { .. } => "sentinel",
            Place::Cluster(_) => "cluster",
        };
        f.debug_struct("RedisSettings")
            .field("place", &place)
            .field("prefix", &self.prefix)
            .field("limits", &self.limits)
            .finish()
    }
}

#[derive(Default)]
struct Mistakes(Vec<String>);

impl Mistakes {
    fn check_limits(&mut self, limits: Limits) {
        let Limits {
            connect,
            answer,
            connections,
        } = limits;
        if answer < Duration::from_millis(1) || answer > Duration::from_secs(10) {
            self.add(format!("response_timeout is {answer:?}: from 1 ms to 10 s"));
        }
        if connect < Duration::from_millis(1) || connect > Duration::from_secs(60) {
            self.add(format!("connect_timeout is {connect:?}: from 1 ms to 60 s"));
        }
        if !(1..=64).contains(&connections) {
            self.add(format!("connections is {connections}: from 1 to 64"));
        }
    }

    fn check_prefix(&mut self, prefix: &str) {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'{' && byte != b'}';
        if prefix.len() > 64 || !prefix.bytes().all(is_plain) {
            self.add(format!(
                "prefix is {prefix:?}: up to 64 visible characters of ASCII, without braces"
            ));
        }
    }

    fn urls(&mut self, what: &str, urls: &[String]) -> Vec<ConnectionInfo> {
        if urls.is_empty() {
            self.add(format!("no {what} is named"));
        }
        (1..)
            .zip(urls)
            .filter_map(|(number, url)| self.url(&format!("{what} {number}"), url))
            .collect()
    }

    fn url(&mut self, whose: &str, url: &str) -> Option<ConnectionInfo> {
        let server = match url.into_connection_info() {
            Ok(server) => server,
            // Its kind alone: the rest may repeat the URL.
            Err(error) => {
                let category = error.category();
                self.add(format!("the URL of {whose} is not valid: {category}"));
                return None;
            }
        };
        match server.addr() {
            ConnectionAddr::TcpTls { insecure: true, .. } => {
                self.add(format!(
                    "the URL of {whose} asks for TLS that does not check who answers"
                ));
                return None;
            }
            ConnectionAddr::TcpTls { .. } => prepare_tls(),
            _ => {}
        }
        let login = server.redis_settings().clone();
        let login = login
            .set_protocol(ProtocolVersion::RESP2)
            .set_lib_name("tenancy-redis", env!("CARGO_PKG_VERSION"));
        // Small calls must not wait for the acknowledgement of those before.
        let tcp = server.tcp_settings().clone().set_nodelay(true);
        Some(server.set_redis_settings(login).set_tcp_settings(tcp))
    }

    fn master(&mut self, url: &str) -> Option<(ConnectionInfo, String)> {
        let master = self.url("the master", url)?;
        match master.addr() {
            ConnectionAddr::Tcp(name, _) | ConnectionAddr::TcpTls { host: name, .. } => {
                let name = name.clone();
                Some((master, name))
            }
            _ => {
                self.add(
                    "the URL of the master names a socket, and no master that Sentinel knows".to_owned(),
                );
                None
            }
        }
    }

    fn check_nodes(&mut self, nodes: &[ConnectionInfo]) {
        for (number, node) in (1..).zip(nodes) {
            if matches!(node.addr(), ConnectionAddr::Unix(_)) {
                self.add(format!(
                    "the URL of node {number} names a socket, which no cluster has"
                ));
            }
            let database = node.redis_settings().db();
            if database != 0 {
                self.add(format!(
                    "the URL of node {number} names database {database}: a cluster has number 0 alone"
                ));
            }
        }
    }

    fn add(&mut self, mistake: String) {
        self.0.push(mistake);
    }
}

/// rustls needs to be told by whom it is to encrypt, once in a process: an application that has told it is not overruled.
#[cfg(feature = "tls")]
fn prepare_tls() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may have been faster.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

/// Without the feature no URL with TLS is accepted.
#[cfg(not(feature = "tls"))]
fn prepare_tls() {}

/// Settings that can not be meant. The text has all mistakes, and no passwords.
#[derive(Debug)]
pub struct RedisSettingsError {
    mistakes: Vec<String>,
}

impl RedisSettingsError {
    /// Each mistake.
    pub fn mistakes(&self) -> impl Iterator<Item = &str> {
        self.mistakes.iter().map(String::as_str)
    }
}

impl fmt::Display for RedisSettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the settings of Redis are not valid: {}",
            self.mistakes.join("; ")
        )
    }
}

impl Error for RedisSettingsError {}

#[cfg(test)]
mod tests;
