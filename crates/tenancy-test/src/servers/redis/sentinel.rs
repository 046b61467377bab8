use std::time::Duration;

use tokio::time::sleep;

use super::{Redis, server::random_password};
use crate::servers::ServerError;

/// What Sentinel calls the master.
const MASTER: &str = "mymaster";
/// Counted in pauses of a tenth of a second.
const PAUSES: usize = 600;

/// A master and its replica, and a Sentinel that makes the replica the master when the master is gone for three seconds.
///
/// Each is a [`Redis`] that can be stopped, killed and frozen alone. A Sentinel that is restarted forgets what it changed.
///
/// ```no_run
/// # async fn example() -> Result<(), tenancy_test::servers::ServerError> {
/// use tenancy_test::servers::RedisSentinel;
///
/// let sentinel = RedisSentinel::start().await?;
/// let (sentinels, master) = (sentinel.sentinel_urls(), sentinel.master_url()); // to be given to the application
/// sentinel.fail_over().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RedisSentinel {
    servers: [Redis; 2],
    sentinel: Redis,
}

impl RedisSentinel {
    /// Starts the three, and waits until the replica has what the master has and the Sentinel knows both: about a second.
    ///
    /// # Errors
    /// Redis [is not installed](ServerError::is_not_installed), one of them did not start, or they did not find each other.
    pub async fn start() -> Result<Self, ServerError> {
        let password = random_password()?;
        let first = Redis::start_alike(password.clone(), String::new()).await?;
        let port = first.address().port();
        let replica_of = format!("replicaof 127.0.0.1 {port}\n");
        let second = Redis::start_alike(password.clone(), replica_of).await?;
        eventually(&second, "INFO replication", |state| is_in_step(&state.concat())).await?;
        let watch = format!(
            "sentinel monitor {MASTER} 127.0.0.1 {port} 1\nsentinel auth-pass {MASTER} {password}\n\
             sentinel down-after-milliseconds {MASTER} 3000\nsentinel failover-timeout {MASTER} 10000\n"
        );
        let sentinel = Redis::start_sentinel(password, watch).await?;
        let servers = Self {
            servers: [first, second],
            sentinel,
        };
        servers.knows_a_replica().await?;
        Ok(servers)
    }

    /// The server that was the master at first, and the one that was its replica.
    pub fn servers(&self) -> &[Redis; 2] {
        &self.servers
    }

    /// The Sentinel.
    pub fn sentinel(&self) -> &Redis {
        &self.sentinel
    }

    /// The URL of the Sentinel, which wants a password too; as a list, since applications take one.
    pub fn sentinel_urls(&self) -> Vec<String> {
        vec![self.sentinel.url()]
    }

    /// The URL of whoever is the master, with the name that the Sentinel knows it by instead of a host: `redis://:password@mymaster`.
    pub fn master_url(&self) -> String {
        format!("redis://:{}@{MASTER}", self.servers[0].password())
    }

    /// Whom the Sentinel calls the master.
    ///
    /// # Panics
    /// When the Sentinel does not answer.
    pub async fn master(&self) -> &Redis {
        let address = self
            .sentinel
            .command(format!("SENTINEL GET-MASTER-ADDR-BY-NAME {MASTER}"))
            .await;
        let [first, second] = &self.servers;
        if address.get(1) == Some(&second.address().port().to_string()) {
            second
        } else {
            first
        }
    }

    /// Makes the replica the master and the master its replica, as before a maintenance, and waits until that is so.
    ///
    /// # Panics
    /// When that does not happen within a minute.
    pub async fn fail_over(&self) {
        if let Err(error) = self.try_fail_over().await {
            panic!("{error}");
        }
    }

    async fn try_fail_over(&self) -> Result<(), ServerError> {
        self.knows_a_replica().await?;
        let before = self.master().await.address();
        // It refuses while it is at it, and as long as it has not heard of the replica's state.
        let refusals =
            |outcome: &Result<_, ServerError>| outcome.as_ref().is_err_and(ServerError::is_refused);
        let mut pauses = 0;
        while self.master().await.address() == before {
            let outcome = self
                .sentinel
                .try_command(format!("SENTINEL FAILOVER {MASTER}"))
                .await;
            pauses += 1;
            if !refusals(&outcome) || pauses > PAUSES {
                outcome?;
            }
            sleep(Duration::from_millis(100)).await;
        }
        for server in &self.servers {
            if server.address() == before {
                eventually(server, "INFO replication", |state| is_in_step(&state.concat())).await?;
            }
        }
        Ok(())
    }

    async fn knows_a_replica(&self) -> Result<(), ServerError> {
        let question = format!("SENTINEL REPLICAS {MASTER}");
        eventually(&self.sentinel, &question, |replicas| {
            let flags = replicas.iter().position(|field| field == "flags");
            flags.is_some_and(|at| replicas.get(at + 1).is_some_and(|flags| flags == "slave"))
        })
        .await
    }
}

fn is_in_step(state: &str) -> bool {
    state.contains("role:slave") && state.contains("master_link_status:up")
}

async fn eventually(
    server: &Redis,
    question: &str,
    is_so: impl Fn(&[String]) -> bool,
) -> Result<(), ServerError> {
    let mut pauses = 0;
    loop {
        let answer = server.try_command(question.to_owned()).await?;
        if is_so(&answer) {
            return Ok(());
        }
        pauses += 1;
        if pauses > PAUSES {
            return Err(ServerError::silent("Redis Sentinel", answer.join(" ")));
        }
        sleep(Duration::from_millis(100)).await;
    }
}
