use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args as _, Command, Subcommand as _};
use futures_util::future::BoxFuture;
use tenancy::{Tenancy, cache::Recipe, core::BoxError, stack::TenancyBuilder};
use tenancy_server::settings::{DatabaseUrl, LoadedSettings, Settings, Sources};
use tenancy_sqlx::{
    migrate::Migrations,
    store::{SqlStore, SqlStoreOptions},
};

use crate::{
    CliError, CommandHomes, CommandStore, TenancyArgs, TenancyCommand, place::CataloguePlace,
    redact::without_passwords,
};

type MakeRecipes = dyn Fn(Tenancy) -> BoxFuture<'static, Result<Vec<Recipe>, BoxError>> + Send + Sync;
type MakeStack = dyn Fn(&Settings, CommandStore) -> Result<TenancyBuilder, BoxError> + Send + Sync;

/// Where the commands find settings, catalogue and stack, and in which form they answer.
///
/// Nothing is read before a command needs it. Build it with [`TenancyArgs::context`], or with [`new`](Self::new) from
/// settings that are read already.
#[derive(Clone)]
pub struct CliContext {
    settings: SettingsFrom,
    json: bool,
    terminal_width: Option<u16>,
    actor: String,
    reserved: Vec<Box<str>>,
    command: Option<Command>,
    make_stack: Option<Arc<MakeStack>>,
    homes: Option<CommandHomes>,
    migrations: Option<Migrations>,
    make_recipes: Option<Arc<MakeRecipes>>,
}

#[derive(Clone)]
enum SettingsFrom {
    Sources {
        file: Option<PathBuf>,
        data_dir: Option<PathBuf>,
        database: Option<PathBuf>,
        url: Option<DatabaseUrl>,
    },
    Given(Box<Settings>),
}

/// Settings as a command got them.
pub(crate) struct SettingsInUse {
    pub(crate) settings: Settings,
    pub(crate) warnings: Vec<String>,
    /// The settings file; `None` when there is none, or the application did not say.
    pub(crate) file: Option<PathBuf>,
}

impl CliContext {
    /// Over settings that the application has read. Answers in text.
    pub fn new(settings: Settings) -> Self {
        Self::from(SettingsFrom::Given(Box::new(settings)), false)
    }

    pub(crate) fn from_args(args: TenancyArgs) -> Self {
        let sources = SettingsFrom::Sources {
            file: args.settings,
            data_dir: args.data_dir,
            database: args.database,
            url: args.catalogue,
        };
        Self::from(sources, args.json)
    }

    fn from(settings: SettingsFrom, json: bool) -> Self {
        Self {
            settings,
            json,
            terminal_width: None,
            actor: actor_of_environment(),
            reserved: Vec::new(),
            command: None,
            make_stack: None,
            homes: None,
            migrations: None,
            make_recipes: None,
        }
    }

    /// Whether to answer in JSON. Default: what `--json` says.
    #[must_use]
    pub fn json(mut self, json: bool) -> Self {
        self.json = json;
        self
    }

    /// Wraps tables at this many columns. Default: not at all; [`TenancyCommand::execute`] asks the terminal.
    #[must_use]
    pub fn terminal_width(mut self, columns: Option<u16>) -> Self {
        self.terminal_width = columns;
        self
    }

    /// Who acts, for the change log. Default: `cli:` and the value of `USER`.
    #[must_use]
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = actor.into();
        self
    }

    /// Names that no tenant may have, besides [`RESERVED_NAMES`](tenancy_sqlx::RESERVED_NAMES): the same that your
    /// server gives to [`SqlStoreOptions::reserve`].
    #[must_use]
    pub fn reserve(mut self, names: impl IntoIterator<Item: Into<Box<str>>>) -> Self {
        self.reserved = names.into_iter().map(Into::into).collect();
        self
    }

    /// The whole command line that these commands are part of, for `completions`. Default: these commands alone, as a
    /// binary called `tenancy`.
    #[must_use]
    pub fn command(mut self, command: Command) -> Self {
        self.command = Some(command);
        self
    }

    /// Your application's own stack, so that `explain` and `order` tell what it does. Default: [`Settings::stack`].
    ///
    /// The commands keep no snapshot file, whatever the builder says.
    ///
    /// ```
    /// use tenancy::{Tenancy, resolve::Header};
    /// use tenancy_cli::CliContext;
    /// use tenancy_server::settings::Settings;
    ///
    /// let context = CliContext::new(Settings::default())
    ///     .stack(|_settings, store| Ok(Tenancy::builder(Header::named("x-tenant")?, store)));
    /// ```
    #[must_use]
    pub fn stack(
        mut self,
        make: impl Fn(&Settings, CommandStore) -> Result<TenancyBuilder, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.make_stack = Some(Arc::new(make));
        self
    }

    /// Where the data of tenants is: the same [`TenantHomes`](tenancy_sqlx::database::TenantHomes) that your server serves
    /// from. Default: what section `databases` of the settings says.
    #[must_use]
    pub fn homes(mut self, homes: impl Into<CommandHomes>) -> Self {
        self.homes = Some(homes.into());
        self
    }

    /// The migrations of tenants, where they are part of your binary (`sqlx::migrate!`). Default: the folder that
    /// `databases.migrations` of the settings names.
    #[must_use]
    pub fn migrations(mut self, migrations: Migrations) -> Self {
        self.migrations = Some(migrations);
        self
    }

    /// What `cache warm` loads, besides the recipes that the [`stack`](Self::stack) has: those that need something that is made of the
    /// stack, such as the databases of tenants. Default: none.
    ///
    /// ```
    /// use tenancy::{Tenancy, Tenant, cache::{Recipe, TenantCache}};
    /// use tenancy_cli::CliContext;
    /// use tenancy_server::settings::Settings;
    ///
    /// let context = CliContext::new(Settings::default()).recipes(async |_tenancy: Tenancy| {
    ///     let counts = async |_: Tenant, cache: TenantCache| {
    ///         // As a handler would: `counts(&cache, databases.of(&tenant)).await`.
    ///         drop(cache);
    ///         Ok::<_, std::io::Error>(())
    ///     };
    ///     Ok(vec![Recipe::new("counts", counts)])
    /// });
    /// ```
    #[must_use]
    pub fn recipes<Making>(mut self, make: impl Fn(Tenancy) -> Making + Send + Sync + 'static) -> Self
    where
        Making: Future<Output = Result<Vec<Recipe>, BoxError>> + Send + 'static,
    {
        self.make_recipes = Some(Arc::new(move |tenancy| Box::pin(make(tenancy))));
        self
    }

    /// Adds the application's recipes to the stack.
    pub(crate) async fn add_recipes(&self, tenancy: &Tenancy) -> Result<(), CliError> {
        let Some(make) = &self.make_recipes else {
            return Ok(());
        };
        let invalid = |error: &dyn std::error::Error| {
            CliError::invalid(format!("the recipes can not be used: {error}"))
        };
        let recipes = make(tenancy.clone()).await.map_err(|error| invalid(&*error))?;
        for recipe in recipes {
            tenancy.add_recipe(recipe).map_err(|error| invalid(&error))?;
        }
        Ok(())
    }

    /// Whether answers are JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    pub(crate) fn width(&self) -> Option<u16> {
        self.terminal_width
    }

    pub(crate) fn whole_command(&self) -> Command {
        self.command.clone().unwrap_or_else(|| {
            TenancyCommand::augment_subcommands(TenancyArgs::augment_args(Command::new("tenancy")))
        })
    }

    pub(crate) fn settings(&self) -> Result<SettingsInUse, CliError> {
        match &self.settings {
            SettingsFrom::Given(settings) => Ok(SettingsInUse {
                settings: (**settings).clone(),
                warnings: Vec::new(),
                file: None,
            }),
            SettingsFrom::Sources {
                file,
                data_dir,
                database,
                url,
            } => {
                let LoadedSettings {
                    settings, warnings, ..
                } = sources(
                    file.as_deref(),
                    data_dir.as_deref(),
                    database.as_deref(),
                    url.as_ref(),
                )?
                .load()
                .map_err(CliError::from_settings)?;
                Ok(SettingsInUse {
                    settings,
                    warnings,
                    file: file.clone(),
                })
            }
        }
    }

    /// The stack, over the catalogue or, to look at its order, over nothing.
    pub(crate) fn built_stack(&self, settings: &Settings, store: CommandStore) -> Result<Tenancy, CliError> {
        self.built_stack_with(settings, store, |builder| builder)
    }

    fn built_stack_with(
        &self,
        settings: &Settings,
        store: CommandStore,
        finish: impl FnOnce(TenancyBuilder) -> TenancyBuilder,
    ) -> Result<Tenancy, CliError> {
        let builder = match &self.make_stack {
            Some(make) => make(settings, store).map_err(|error| error.to_string()),
            None => settings.stack(store),
        };
        builder
            .and_then(|builder| {
                // A look at the stack must not write the file that a server keeps.
                let builder = builder.resolve_settings(tenancy::resolve::ResolveSettings::default());
                finish(builder).build().map_err(|error| error.to_string())
            })
            .map_err(CliError::invalid)
    }

    /// The stack with the level that processes share: the application's own, or the one that the settings name.
    pub(crate) fn built_stack_sharing_a_cache(
        &self,
        settings: &Settings,
        store: CommandStore,
    ) -> Result<Tenancy, CliError> {
        #[cfg(feature = "redis")]
        {
            let level = shared_level(settings)?;
            self.built_stack_with(settings, store, |builder| {
                builder.map_cache(|cache| match level {
                    Some(level) if !cache.is_shared() => cache.shared(level),
                    _ => cache,
                })
            })
        }
        #[cfg(not(feature = "redis"))]
        self.built_stack(settings, store)
    }

    /// Opens a managed catalogue that is there, to change it.
    pub(crate) async fn catalogue(&self) -> Result<SqlStore, CliError> {
        self.catalogue_of(&self.settings()?.settings).await
    }

    pub(crate) async fn catalogue_of(&self, settings: &Settings) -> Result<SqlStore, CliError> {
        let place = CataloguePlace::of(&settings.catalogue);
        place.check_is_there()?;
        self.open(place.options()?).await
    }

    pub(crate) fn given_homes(&self) -> Option<&CommandHomes> {
        self.homes.as_ref()
    }

    pub(crate) fn given_migrations(&self) -> Option<&Migrations> {
        self.migrations.as_ref()
    }

    /// Opens a catalogue of any kind that is there, for what is written beside it.
    pub(crate) async fn catalogue_of_any_kind(&self, settings: &Settings) -> Result<SqlStore, CliError> {
        let place = CataloguePlace::of(&settings.catalogue);
        place.check_is_there()?;
        match SqlStore::open(place.options()?).await {
            Ok(store) => Ok(store.acting_as(&self.actor)),
            Err(error) if error.is_read_only() => self.open(place.options()?.adopted()).await,
            Err(error) => Err(CliError::from_catalogue(error)),
        }
    }

    /// Opens a catalogue of any kind that is there, to look at it: no right to write is needed.
    pub(crate) async fn catalogue_to_read(&self) -> Result<SqlStore, CliError> {
        self.catalogue_to_read_of(&self.settings()?.settings).await
    }

    pub(crate) async fn catalogue_to_read_of(&self, settings: &Settings) -> Result<SqlStore, CliError> {
        let place = CataloguePlace::of(&settings.catalogue);
        place.check_is_there()?;
        self.open(place.options()?.read_only()).await
    }

    /// Opens the catalogue, and makes it if it is not there.
    pub(crate) async fn catalogue_or_new(&self) -> Result<SqlStore, CliError> {
        let settings = self.settings()?.settings;
        let place = CataloguePlace::of(&settings.catalogue);
        if let CataloguePlace::File(_) = place {
            make_directory(&settings.catalogue.data_dir)?;
        }
        self.open(place.options()?).await
    }

    async fn open(&self, options: SqlStoreOptions) -> Result<SqlStore, CliError> {
        let options = options.reserve(self.reserved.iter().cloned());
        match SqlStore::open(options).await {
            Ok(store) => Ok(store.acting_as(&self.actor)),
            Err(error) if error.is_read_only() => Err(CliError::from_catalogue(error).advise(
                "This command needs a managed catalogue that it can write; `tenants list`, `tenants show`, `explain` and \
                 `status` only read.",
            )),
            Err(error) => Err(CliError::from_catalogue(error)),
        }
    }
}

impl fmt::Debug for CliContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CliContext")
            .field("json", &self.json)
            .field("terminal_width", &self.terminal_width)
            .field("actor", &self.actor)
            .field("has_own_stack", &self.make_stack.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "redis")]
fn shared_level(settings: &Settings) -> Result<Option<tenancy_redis::RedisLevel>, CliError> {
    let Some(url) = &settings.cache.redis_url else {
        return Ok(None);
    };
    // Nobody waits for this process but its operator.
    let patience = std::time::Duration::from_secs(5);
    let level = tenancy_redis::RedisSettings::single(url.as_str())
        .response_timeout(patience)
        .connect_timeout(patience)
        .build();
    level
        .map(Some)
        .map_err(|error| CliError::invalid(format!("cache.redis_url can not be used: {error}")))
}

pub(crate) fn check_is_there(file: &Path) -> Result<(), CliError> {
    match file.try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => Err(CliError::no_catalogue(format!(
            "there is no catalogue at {}",
            full_path(file).display()
        ))
        .advise(
            "`tenants create SLUG` makes one there; --data-dir or --settings tell where another one is.",
        )),
        Err(error) => Err(CliError::no_catalogue(format!(
            "the catalogue {} can not be reached: {error}",
            full_path(file).display()
        ))),
    }
}

fn sources(
    file: Option<&Path>,
    data_dir: Option<&Path>,
    database: Option<&Path>,
    url: Option<&DatabaseUrl>,
) -> Result<Sources, CliError> {
    let mut sources = Sources::new().environment();
    if let Some(file) = file {
        sources = sources.file(file);
    }
    for (option, key, path) in [
        ("--data-dir", "catalogue.data_dir", data_dir),
        ("--database", "catalogue.database", database),
    ] {
        let Some(path) = path else { continue };
        let text = path
            .to_str()
            .ok_or_else(|| CliError::invalid(format!("{option} {} is not Unicode", path.display())))?;
        sources = sources.set(option, key, text);
    }
    if let Some(url) = url {
        sources = sources.set("--catalogue", "catalogue.url", url.as_str());
    }
    Ok(sources)
}

fn actor_of_environment() -> String {
    let user = ["USER", "LOGNAME", "USERNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    user.map_or_else(|| "cli".to_owned(), |user| format!("cli:{user}"))
}

/// The catalogue is nobody else's to read, and neither is what SQLite keeps beside it.
fn make_directory(directory: &Path) -> Result<(), CliError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(|error: io::Error| {
        CliError::no_catalogue(format!(
            "the data directory {} can not be made: {error}",
            full_path(directory).display()
        ))
        .advise("Give another one with --data-dir.")
    })
}

/// The path from the root, for messages: the working directory of a script is not always known. A URL that was given
/// for a path by mistake loses its password.
pub(crate) fn full_path(path: &Path) -> PathBuf {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match full.to_str().map(|text| (text, without_passwords(text))) {
        Some((text, clean)) if text != clean => clean.into(),
        _ => full,
    }
}
