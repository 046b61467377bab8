//! What every shared level must do, by the kit's own list.

use std::sync::Arc;

use tenancy::{
    cache::shared::{ScopeName, SharedLevel},
    core::BoxError,
};
use tenancy_redis::RedisSettings;
use tenancy_test::{
    conformance::{self, LevelHarness, Offered},
    servers::RedisDatabase,
};

use crate::place::{database, patient, shared_cluster, shared_sentinel};

/// A part of a server by itself.
struct Place {
    settings: RedisSettings,
    /// Where keys can be reached by hand: on one server alone.
    database: Option<RedisDatabase>,
}

impl Place {
    async fn on_one_server() -> Self {
        let database = database().await;
        Self {
            settings: patient(RedisSettings::single(database.url())),
            database: Some(database),
        }
    }

    fn elsewhere(settings: RedisSettings) -> Self {
        Self {
            settings,
            database: None,
        }
    }

    async fn command(&self, command: &str) -> Vec<String> {
        let Some(database) = &self.database else {
            return Vec::new();
        };
        let select = format!("SELECT {}", database.number());
        database.server().command(format!("{select}\n{command}")).await
    }
}

impl LevelHarness for Place {
    async fn connect(&self) -> Result<Arc<dyn SharedLevel>, BoxError> {
        Ok(Arc::new(self.settings.clone().build()?))
    }

    async fn forget(&mut self, scope: &ScopeName) -> Result<Offered, BoxError> {
        if self.database.is_none() {
            return Ok(Offered::No);
        }
        self.command(&format!("DEL tenancy:{{{scope}}}:v tenancy:{{{scope}}}:n"))
            .await;
        Ok(Offered::Yes)
    }

    async fn cut_listeners(&mut self) -> Result<Offered, BoxError> {
        let Some(database) = &self.database else {
            return Ok(Offered::No);
        };
        database.server().command("CLIENT KILL TYPE pubsub").await;
        Ok(Offered::Yes)
    }
}

#[tokio::test]
async fn one_server_does_what_a_shared_level_must() {
    conformance::shared_level(Place::on_one_server)
        .await
        .assert_passed();
}

#[tokio::test]
async fn a_cluster_does_what_a_shared_level_must() {
    let new = async || Place::elsewhere(shared_cluster().await);
    conformance::shared_level(new).await.assert_passed();
}

#[tokio::test]
async fn what_sentinel_calls_the_master_does_what_a_shared_level_must() {
    let new = async || Place::elsewhere(shared_sentinel().await);
    conformance::shared_level(new).await.assert_passed();
}
