//! Settings: defaults, then a TOML file, then the environment, then overrides such as command-line options.
//!
//! * In the environment a key is spelled `TENANCY__SECTION__KEY`: `TENANCY__TENANCY__BODY_LIMIT_BYTES=65536`. Lists are
//!   comma-separated. A [further server](DatabaseServerSettings) has a section of its own, and its keys are spelled
//!   `TENANCY__DATABASES__SERVERS__NAME__KEY`. Other variables that begin with `TENANCY_` are ignored, with one warning that names them.
//! * An unknown key, a value of the wrong kind and an impossible value are errors that name the key and its source; all are
//!   reported at once.
//!
//! ```
//! use tenancy_server::settings::Sources;
//!
//! let loaded = Sources::new()
//!     .text("my.toml", "[tenancy]\nbase_domains = [\"example.com\"]\n")
//!     .variables([("TENANCY__SERVER__LISTEN", "127.0.0.1:9000"), ("TENANCY_PORT", "tcp://10.0.0.1:80")])
//!     .load()?;
//! assert_eq!(loaded.settings.tenancy.base_domains, ["example.com"]);
//! assert_eq!(loaded.settings.server.listen.port(), 9000);
//! assert_eq!(loaded.warnings.len(), 1);
//! # Ok::<(), tenancy_server::settings::SettingsError>(())
//! ```
//!
//! ```
//! use tenancy_server::settings::Sources;
//!
//! let error = Sources::new()
//!     .text("my.toml", "[tenancy]\nbase_domain = \"example.com\"\n")
//!     .variables([("TENANCY__TENANCY__DEADLINE_MS", "soon")])
//!     .load()
//!     .unwrap_err();
//! let text = error.to_string();
//! assert!(text.contains("my.toml:2") && text.contains("base_domain"), "{text}");
//! assert!(text.contains("TENANCY__TENANCY__DEADLINE_MS"), "{text}");
//! ```

//!
//! Tenants on two servers, with passwords from the environment:
//!
//! ```
//! use tenancy_server::settings::Sources;
//!
//! let file = r#"
//! [databases]
//! isolation = "schema"
//! budget = 50
//!
//! [databases.servers.eu]
//! budget = 20
//! "#;
//! let loaded = Sources::new()
//!     .text("my.toml", file)
//!     .variables([
//!         ("TENANCY__DATABASES__URL", "postgres://app:secret@db.internal/app"),
//!         ("TENANCY__DATABASES__SERVERS__EU__URL", "postgres://app:secret@db.eu.internal/app"),
//!     ])
//!     .load()?;
//! assert_eq!(loaded.settings.databases.servers["eu"].budget, Some(20));
//! assert!(!format!("{loaded:?}").contains("secret"));
//! # Ok::<(), tenancy_server::settings::SettingsError>(())
//! ```

#[cfg(feature = "databases")]
mod databases;
mod document;
mod error;
mod impossible;
mod model;
mod sources;
mod stack;
mod url;

pub use error::{SettingsError, SettingsMistake};
pub use model::{
    AdminSettings, CatalogueSettings, DatabaseServerSettings, DatabasesSettings, IsolationName, LogFormat,
    LogSettings, MemorySettings, ServerSettings, Settings, StackSettings, TenantCacheSettings,
};
pub use sources::{LoadedSettings, Sources};
pub use url::{DatabaseKind, DatabaseUrl};
