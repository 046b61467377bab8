use std::{fmt, net::SocketAddr, time::Duration};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{RData, Record, rdata::TXT},
    },
};

use super::{Challenge, CheckAnswer, DomainCheck, DomainError};

/// Looks for the token in a TXT record at `_tenancy-challenge.` and the domain.
///
/// * The name is absolute: no search domain is tried, and no hosts file. Aliases (CNAME) are followed by the name server.
/// * One of several records is enough. The strings of a record are joined; blanks around the token do not count.
/// * Nothing is kept between two checks, so that a record which was just made is found as soon as the name server gives
///   it out. Most name servers keep the answer "no such name" for a while.
/// * A check ends after 5 seconds, unless set.
///
/// Whoever answers for the name servers decides what is proven: use ones that you trust, over a network that you trust.
#[derive(Clone)]
pub struct DnsCheck {
    resolver: TokioResolver,
    deadline: Duration,
}

impl DnsCheck {
    /// By the name servers that this machine is set up with. Reads files.
    ///
    /// # Errors
    /// Unavailable when the machine's settings can not be read.
    pub fn of_system() -> Result<Self, DomainError> {
        let read = hickory_resolver::system_conf::read_system_conf();
        let (config, options) = read.map_err(|error| {
            DomainError::unavailable(format!("the name servers of this machine are not known: {error}"))
        })?;
        let (_, _, servers) = config.into_parts();
        Self::over(ResolverConfig::from_parts(None, Vec::new(), servers), options)
    }

    /// By these name servers, over UDP, and TCP for long answers.
    ///
    /// # Errors
    /// Invalid when there is none.
    pub fn with_servers(servers: impl IntoIterator<Item = SocketAddr>) -> Result<Self, DomainError> {
        let servers: Vec<_> = servers.into_iter().map(name_server).collect();
        if servers.is_empty() {
            return Err(DomainError::invalid("a check by DNS needs a name server"));
        }
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        Self::over(config, ResolverOpts::default())
    }

    fn over(config: ResolverConfig, mut options: ResolverOpts) -> Result<Self, DomainError> {
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.timeout = Duration::from_secs(2);
        options.attempts = 2;
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let resolver = builder.build().map_err(|error| {
            DomainError::unavailable(format!("the check by DNS could not be set up: {error}"))
        })?;
        Ok(Self {
            resolver,
            deadline: Duration::from_secs(5),
        })
    }

    /// How long a check may take. Default: 5 s.
    #[must_use]
    pub fn deadline(mut self, after: Duration) -> Self {
        self.deadline = after;
        self
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    NameServerConfig::new(address.ip(), true, connections.into())
}

impl DomainCheck for DnsCheck {
    async fn check(&self, challenge: &Challenge) -> CheckAnswer {
        let name = challenge.dns_name();
        let asked = self.resolver.txt_lookup(name.as_str());
        match tokio::time::timeout(self.deadline, asked).await {
            Err(_) => CheckAnswer::could_not_tell(format!(
                "the name servers did not answer within {:?}",
                self.deadline
            )),
            Ok(Ok(found)) => judge(&name, challenge.token(), found.answers()),
            Ok(Err(error)) if says_there_is_none(&error) => {
                CheckAnswer::not_yet(format!("there is no TXT record at {name}"))
            }
            Ok(Err(error)) => {
                tracing::debug!(target: "tenancy::domains", %name, %error, "the name servers could not tell");
                CheckAnswer::could_not_tell(format!("the name servers could not tell what is at {name}"))
            }
        }
    }
}

/// A name server that says so, rather than one that fails.
fn says_there_is_none(error: &NetError) -> bool {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            matches!(none.response_code, ResponseCode::NXDomain | ResponseCode::NoError)
        }
        _ => false,
    }
}

fn judge(name: &str, token: &str, answers: &[Record]) -> CheckAnswer {
    let mut records = 0;
    for answer in answers {
        let RData::TXT(text) = &answer.data else { continue };
        if joined(text).trim_ascii() == token.as_bytes() {
            return CheckAnswer::Proven;
        }
        records += 1;
    }
    CheckAnswer::not_yet(match records {
        0 => format!("there is no TXT record at {name}"),
        1 => format!("there is a TXT record at {name}, and it does not hold the token"),
        _ => format!("there are {records} TXT records at {name}, and none holds the token"),
    })
}

fn joined(text: &TXT) -> Vec<u8> {
    text.txt_data.concat()
}

impl fmt::Debug for DnsCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsCheck")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
