//! What is done with the cache that the processes of a service have in common.

mod explain;
mod flush;
mod stats;
mod tags;
mod warm;

use std::time::Duration;

use clap::{Args, Subcommand};
use tenancy::{Tenancy, Tenant, cache::Cache, core::TenantId};
use tenancy_server::settings::Settings;
use tenancy_sqlx::store::SqlStore;

use self::{explain::ExplainKeyArgs, flush::FlushArgs, stats::StatsArgs, tags::TagsArgs, warm::WarmArgs};
use crate::{CliContext, CliError, CommandStore, output::Output, tenants::find};

/// How long the list of tenants may take to be read.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// Arguments of `cache`.
#[derive(Clone, Debug, Args)]
pub struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum CacheCommand {
    /// Flush what is cached of a tenant: everything, or what has some tags
    ///
    /// Running servers serve nothing of it any more at the time that is told, and mostly within milliseconds.
    Flush(FlushArgs),
    /// Show when tags of a tenant were flushed last
    Tags(TagsArgs),
    /// Load what tenants will ask for, by the application's recipes, those first that are used most
    ///
    /// What is loaded is in Redis then, from where servers take it. Tenants that are warm cost a look. Recipes are part of an
    /// application: this needs its own command line, with them in it.
    Warm(WarmArgs),
    /// Show what running servers have counted of a tenant, or of what is no tenant's
    Stats(StatsArgs),
    /// Tell why a key would be found in Redis or not
    ///
    /// What a running server has in its own memory beyond that is not told.
    Explain(ExplainKeyArgs),
}

/// Whose part of the cache.
#[derive(Clone, Debug, Args)]
pub(crate) struct WhoseArgs {
    /// The tenant's id, or :central for what is no tenant's
    id: String,
}

impl CacheArgs {
    pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        let settings = context.settings()?.settings;
        let store = context.catalogue_to_read_of(&settings).await?;
        let opened = Opened::open(context, &settings, store).await?;
        let done = match self.command {
            CacheCommand::Flush(args) => args.run(&opened, out).await,
            CacheCommand::Tags(args) => args.run(&opened, out).await,
            CacheCommand::Warm(args) => args.run(&opened, out).await,
            CacheCommand::Stats(args) => args.run(&opened, out).await,
            CacheCommand::Explain(args) => args.run(&opened, out).await,
        };
        opened.close().await;
        done
    }
}

/// The stack, over the catalogue and the level that servers share.
pub(crate) struct Opened {
    pub(crate) tenancy: Tenancy,
    store: SqlStore,
}

impl Opened {
    async fn open(context: &CliContext, settings: &Settings, store: SqlStore) -> Result<Self, CliError> {
        let catalogue = CommandStore::catalogue(store.clone());
        let tenancy = context.built_stack_sharing_a_cache(settings, catalogue)?;
        context.add_recipes(&tenancy).await?;
        if !tenancy.shares_cache() {
            return Err(CliError::invalid(
                "there is no cache that processes share: each has its own, which nothing else reaches",
            )
            .advise("Set TENANCY__CACHE__REDIS_URL, or redis_url in section [cache] of the settings file."));
        }
        Ok(Self { tenancy, store })
    }

    async fn close(self) {
        drop(self.tenancy);
        self.store.close().await;
    }

    /// A tenant, whatever its status.
    pub(crate) async fn tenant(&self, id: &str) -> Result<Tenant, CliError> {
        let id = find::parse_id(id)?;
        match self.tenancy.enter(&id).await {
            Ok(tenant) => Ok(tenant),
            Err(error) if error.is_not_served() => self.listed(&id).await,
            Err(error) if error.is_unknown() => {
                // With advice, where another one may have been meant.
                find::by_id(&self.store, &id).await?;
                Err(CliError::not_found(error.to_string()))
            }
            Err(error) => Err(CliError::no_catalogue(error.to_string())),
        }
    }

    async fn listed(&self, id: &TenantId) -> Result<Tenant, CliError> {
        self.ready().await?;
        let mut tenants = self.tenancy.tenants().into_iter();
        tenants
            .find(|tenant| tenant.id() == id)
            .ok_or_else(|| CliError::not_found(format!("there is no tenant {id}")))
    }

    pub(crate) async fn ready(&self) -> Result<(), CliError> {
        tokio::time::timeout(READY_LIMIT, self.tenancy.ready())
            .await
            .map_err(|_| CliError::no_catalogue("the list of tenants could not be read in time"))
    }

    /// Someone's part, and what they are called.
    pub(crate) async fn part(&self, whose: &WhoseArgs) -> Result<(Cache, String), CliError> {
        match whose.id() {
            Some(id) => {
                let tenant = self.tenant(id).await?;
                let name = format!("tenant {}", tenant.id());
                Ok((Cache::clone(&self.tenancy.cache_of(&tenant)), name))
            }
            None => Ok((
                Cache::clone(&self.tenancy.central_cache()),
                "what is no tenant's".to_owned(),
            )),
        }
    }
}

impl WhoseArgs {
    /// For JSON: null for what is no tenant's.
    pub(crate) fn id(&self) -> Option<&str> {
        // No id has a colon.
        (self.id != ":central").then_some(&*self.id)
    }
}

pub(crate) fn no_answer(error: &dyn std::error::Error) -> CliError {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    CliError::failed(format!("the shared cache level does not answer: {error}")).with_details(causes)
}
