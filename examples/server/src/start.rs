//! From options to a server that is ready to serve.

use std::{
    error::Error,
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Parser;
use tenancy::{Tenancy, core::TenantId, log::TenantLevels};
use tenancy_server::settings::{LoadedSettings, Settings, SettingsError, Sources};
use tenancy_sqlx::{
    CatalogueError,
    file::TenantsFile,
    store::{SqlStore, SqlStoreOptions},
};

use crate::notes::Notes;

/// An example of everything that tenancy does: three tenants under their own hosts, from a catalogue in an embedded SQLite file.
///
/// Nothing is needed beforehand. Settings come from these options, from variables spelled TENANCY__SECTION__KEY, from the
/// settings file, and from defaults; the first that says something wins.
#[derive(Debug, Parser)]
#[command(name = "example-server", version, max_term_width = 100)]
pub struct Options {
    /// Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,

    /// Domain whose subdomains are tenants; may be given more than once [default: localhost]
    #[arg(long, value_name = "DOMAIN")]
    pub base_domain: Vec<String>,

    /// Directory of the catalogue and the notes; made if it is not there [default: tenancy-data]
    // A text: SQLite opens no path that is not Unicode.
    #[arg(long, value_name = "DIRECTORY")]
    pub data_dir: Option<String>,

    /// Tenants to register at start [default: acme, globex and initech]
    #[arg(long, value_name = "FILE")]
    pub tenants: Option<PathBuf>,

    /// Settings file (TOML)
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,

    /// Address or network of a proxy whose word on the original host counts; may be given more than once
    #[arg(long, value_name = "CIDR")]
    pub trust_proxy: Vec<String>,

    /// Tenant whose log is at level DEBUG for the first ten minutes, whatever the log's own level is
    #[arg(long, value_name = "ID")]
    pub debug_tenant: Option<TenantId>,
}

impl Options {
    /// Reads all sources of settings.
    ///
    /// # Errors
    /// When anything is unknown or impossible.
    pub fn load(&self) -> Result<LoadedSettings, SettingsError> {
        let mut sources = Sources::new().environment();
        if let Some(file) = &self.settings {
            sources = sources.file(file);
        }
        if let Some(listen) = self.listen {
            sources = sources.set("--listen", "server.listen", listen.to_string());
        }
        if !self.base_domain.is_empty() {
            sources = sources.set("--base-domain", "tenancy.base_domains", self.base_domain.clone());
        }
        if let Some(directory) = &self.data_dir {
            sources = sources.set("--data-dir", "catalogue.data_dir", directory.as_str());
        }
        if !self.trust_proxy.is_empty() {
            sources = sources.set("--trust-proxy", "tenancy.trust_proxies", self.trust_proxy.clone());
        }
        sources.load()
    }

    /// The tenants to register.
    ///
    /// # Errors
    /// When the file can not be read or has mistakes; each is named with its line.
    pub fn tenants(&self) -> Result<TenantsFile, StartError> {
        let read = match &self.tenants {
            Some(path) => TenantsFile::read(path),
            None => TenantsFile::parse(include_str!("../tenants.toml"), "examples/server/tenants.toml"),
        };
        read.map_err(|error| StartError::new("the tenants can not be registered", &error))
    }

    /// Raises the log level of the tenant that is looked into.
    ///
    /// # Errors
    /// Never for one tenant.
    pub fn raise_level(&self, levels: &TenantLevels) -> Result<(), StartError> {
        const LASTING: Duration = Duration::from_secs(10 * 60);
        let Some(tenant) = &self.debug_tenant else {
            return Ok(());
        };
        levels
            .raise(tenant, tracing::Level::DEBUG, LASTING)
            .map_err(|error| StartError::new("the log level of a tenant can not be raised", &error))
    }
}

/// The server could not be started. Says why and what to do.
#[derive(Debug)]
pub struct StartError {
    text: String,
}

impl StartError {
    fn new(what: &str, error: &dyn Error) -> Self {
        let mut text = format!("{what}: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        Self { text }
    }

    fn catalogue(what: &str, error: &CatalogueError) -> Self {
        match error.operator_detail() {
            Some(detail) => Self {
                text: format!("{what}: {detail}"),
            },
            None => Self::new(what, error),
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for StartError {}

/// All that serving needs.
pub struct Ready {
    /// The stack.
    pub tenancy: Tenancy,
    /// The catalogue.
    pub catalogue: SqlStore,
    /// The notes.
    pub notes: Notes,
    /// How many of the registered tenants are new.
    pub created: usize,
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready")
            .field("created", &self.created)
            .finish_non_exhaustive()
    }
}

/// Opens the catalogue, registers the tenants, builds the stack and waits until it knows them.
///
/// # Errors
/// When the data directory can not be written, or a tenant can not be registered. What was committed before stays, and the
/// error says what was not done.
pub async fn prepare(settings: &Settings, tenants: TenantsFile) -> Result<Ready, StartError> {
    let directory = &settings.catalogue.data_dir;
    make_private(directory).map_err(|error| {
        let what = format!(
            "the data directory {} can not be made; choose another with --data-dir",
            directory.display()
        );
        StartError::new(&what, &error)
    })?;
    let place = match &settings.catalogue.url {
        Some(url) => SqlStoreOptions::url(url.as_str()),
        None => Ok(SqlStoreOptions::new(settings.catalogue.file())),
    };
    let opened = match place {
        Ok(options) => SqlStore::open(options).await,
        Err(error) => Err(error),
    };
    let catalogue =
        opened.map_err(|error| StartError::catalogue("the catalogue can not be opened", &error))?;
    let created = register(&catalogue, tenants).await?;
    let notes = Notes::open(&directory.join("notes.sqlite"))
        .await
        .map_err(|error| StartError::new("the notes can not be opened", &error))?;
    let tenancy = settings
        .stack(catalogue.clone())
        .and_then(|builder| builder.build().map_err(|error| error.to_string()))
        .map_err(|text| StartError { text })?;
    if tokio::time::timeout(Duration::from_secs(5), tenancy.ready())
        .await
        .is_err()
    {
        tracing::warn!("the list of tenants is not complete yet; serving begins all the same");
    }
    Ok(Ready {
        tenancy,
        catalogue,
        notes,
        created,
    })
}

/// Makes a directory that only its owner can read. One that is there is left as it is.
fn make_private(directory: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

async fn register(catalogue: &SqlStore, tenants: TenantsFile) -> Result<usize, StartError> {
    let report = catalogue
        .acting_as("example-server")
        .ensure_many(tenants.tenants)
        .await;
    if report.is_complete() {
        return Ok(report.created.len());
    }
    let mut text = format!(
        "not all tenants could be registered; {} are new, {} were there before",
        report.created.len(),
        report.existing.len()
    );
    for (slug, error) in &report.failed {
        let reason = error
            .operator_detail()
            .map_or_else(|| error.to_string(), str::to_owned);
        text.push_str(&format!("\n  - {slug}: {reason}"));
    }
    for slug in &report.not_attempted {
        text.push_str(&format!("\n  - {slug}: not tried, the catalogue failed before"));
    }
    Err(StartError { text })
}
