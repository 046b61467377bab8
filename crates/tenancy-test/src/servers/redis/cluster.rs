use std::time::Duration;

use tokio::time::sleep;

use super::{Redis, server::random_password};
use crate::servers::ServerError;

const NODES: u16 = 3;
const SLOTS: u16 = 16_384;
/// Counted in pauses of a tenth of a second.
const PAUSES: usize = 600;

/// A Redis Cluster of three nodes without replicas, each with a third of the slots. Needs Redis 7.
///
/// Each node is a [`Redis`] that can be stopped, killed and frozen alone; the others notice after two seconds.
///
/// ```no_run
/// # async fn example() -> Result<(), tenancy_test::servers::ServerError> {
/// use tenancy_test::servers::RedisCluster;
///
/// let cluster = RedisCluster::start().await?;
/// let urls = cluster.urls(); // to be given to the application
/// cluster.nodes()[0].freeze().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts three nodes, and waits until each knows the others and all slots are served: about two seconds.
    ///
    /// # Errors
    /// Redis [is not installed](ServerError::is_not_installed), a node did not start, or they found no agreement.
    pub async fn start() -> Result<Self, ServerError> {
        // One password for all, since an application has one.
        let password = random_password()?;
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            nodes.push(Redis::start_node(password.clone()).await?);
        }
        let cluster = Self { nodes };
        cluster.divide_slots().await?;
        cluster.introduce().await?;
        cluster.agreed().await?;
        Ok(cluster)
    }

    /// Its nodes: the first third of the slots is the first one's.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The URL of each node.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }

    async fn divide_slots(&self) -> Result<(), ServerError> {
        for (number, node) in (0..).zip(&self.nodes) {
            let bound = |number: u16| u32::from(number) * u32::from(SLOTS) / u32::from(NODES);
            let (first, end) = (bound(number), bound(number + 1));
            let commands = format!(
                "CLUSTER SET-CONFIG-EPOCH {}\nCLUSTER ADDSLOTSRANGE {first} {}",
                number + 1,
                end - 1
            );
            node.try_command(commands).await?;
        }
        Ok(())
    }

    async fn introduce(&self) -> Result<(), ServerError> {
        let Some((first, others)) = self.nodes.split_first() else {
            return Ok(());
        };
        for node in others {
            let (port, bus_port) = (node.address().port(), node.bus_port());
            first
                .try_command(format!("CLUSTER MEET 127.0.0.1 {port} {bus_port}"))
                .await?;
        }
        Ok(())
    }

    async fn agreed(&self) -> Result<(), ServerError> {
        for node in &self.nodes {
            let mut pauses = 0;
            loop {
                let state = node.try_command("CLUSTER INFO".to_owned()).await?.concat();
                if state.contains("cluster_state:ok") && state.contains("cluster_known_nodes:3") {
                    break;
                }
                pauses += 1;
                if pauses > PAUSES {
                    return Err(ServerError::silent("the Redis Cluster", state));
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }
}
