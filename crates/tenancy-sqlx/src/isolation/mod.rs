//! Where the data of a tenant lives, and what keeps it apart from the data of others.
//!
//! | strategy | on | what keeps tenants apart |
//! |---|---|---|
//! | [`DatabasePerTenant`] | PostgreSQL, MySQL, MariaDB | a database of its own; a connection serves one tenant for ever |
//! | [`SchemaPerTenant`] | PostgreSQL | a schema of its own, set in the message that begins the transaction |
//! | [`SharedRows`] | PostgreSQL | policies on shared tables (row-level security), which read a setting of the transaction |
//! | [`FilePerTenant`] | SQLite | a file of its own, below one directory |
//! | [`GuardedTables`] | all | statements on shared tables that can not be written without the tenant |
//!
//! * Where a tenant lives is derived from its id (`tenant_acme`), or is what its placement in the catalogue names, word for
//!   word. Both ways lead through [`Identifier`].
//! * [`Isolation`] chooses a strategy for each tenant: by its placement, else by a closure over its record, else the default.
//! * A placement that leads to a place of the server or the application, or to another tenant's, is refused, for that
//!   tenant alone. Where a server may be set to know no case (MySQL, files), names that differ in nothing else are one.
//!
//! **Caveats.** A setting or a search path is no defence against SQL that a client wrote: it can set another one. Write
//! policies as the table below, for after a transaction the setting is `''` and not null.
//!
//! ```sql
//! ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
//! ALTER TABLE notes FORCE ROW LEVEL SECURITY;
//! CREATE POLICY of_tenant ON notes
//!     USING (tenant_id = nullif(current_setting('app.tenant', true), ''))
//!     WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), ''));
//! ```
//!
//! ```
//! use tenancy_sqlx::isolation::{DatabasePerTenant, Isolation, SchemaPerTenant};
//!
//! # fn main() -> Result<(), tenancy_core::InvalidName> {
//! // Schemas for most, a database for who pays for it.
//! let isolation = Isolation::of(SchemaPerTenant::new().extra_path(["extensions"])?)
//!     .or(DatabasePerTenant::new().template("customer_{id}")?)
//!     .choose(|record| (record.plan.as_deref() == Some("enterprise")).then_some("database"));
//! # drop(isolation);
//! # Ok(())
//! # }
//! ```
//!
//! A strategy of one's own:
//!
//! ```
//! use tenancy_core::{InvalidName, TenantRecord};
//! use tenancy_sqlx::{
//!     isolation::{EngineKind, Identifier, Isolation, IsolationStrategy, ServerHome},
//!     pool::Target,
//! };
//!
//! /// All trials share nothing but a name pattern.
//! #[derive(Debug)]
//! struct Trials;
//!
//! impl IsolationStrategy for Trials {
//!     fn name(&self) -> &'static str {
//!         "trials"
//!     }
//!
//!     fn works_on(&self, engine: EngineKind) -> bool {
//!         engine != EngineKind::Sqlite
//!     }
//!
//!     fn target(&self, record: &TenantRecord, _: &ServerHome) -> Result<Target, InvalidName> {
//!         let name = Identifier::new(&format!("trial_{}", record.id))?;
//!         Ok(Target::database(name.as_str()))
//!     }
//! }
//!
//! let isolation = Isolation::database().or(Trials);
//! # drop(isolation);
//! ```

mod choice;
mod home;
mod identifier;
mod strategies;
mod template;

use std::{borrow::Cow, fmt};

use tenancy_core::{InvalidName, TenantId, TenantRecord};

pub use self::{
    choice::Isolation,
    home::ServerHome,
    identifier::Identifier,
    strategies::{DatabasePerTenant, FilePerTenant, GuardedTables, SchemaPerTenant, SettingName, SharedRows},
    template::NameTemplate,
};
use crate::pool::Target;

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EngineKind {
    /// PostgreSQL.
    Postgres,
    /// MySQL or MariaDB.
    MySql,
    /// SQLite.
    Sqlite,
}

impl EngineKind {
    /// A name so written that two are equal which a server of this kind may take for one. MySQL and file systems may be set
    /// to know no case; PostgreSQL does know it.
    pub(crate) fn folded(self, name: &str) -> Cow<'_, str> {
        match self {
            Self::Postgres => Cow::Borrowed(name),
            Self::MySql | Self::Sqlite => Cow::Owned(without_case(name)),
        }
    }
}

fn without_case(name: &str) -> String {
    small_letters(name).collect()
}

/// Whether two names differ in case at most. Allocates nothing.
fn is_alike(name: &str, other: &str) -> bool {
    small_letters(name).eq(small_letters(other))
}

/// Letter for letter, as servers do it: a sign for kelvin is a `k` to them.
fn small_letters(name: &str) -> impl Iterator<Item = char> {
    name.chars()
        .map(|letter| letter.to_lowercase().next().unwrap_or(letter))
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Postgres => "PostgreSQL",
            Self::MySql => "MySQL",
            Self::Sqlite => "SQLite",
        })
    }
}

/// How the data of a tenant is kept apart.
pub trait IsolationStrategy: fmt::Debug + Send + Sync + 'static {
    /// Its name, as [`Placement::isolation`](tenancy_core::Placement::isolation) has it.
    fn name(&self) -> &'static str;

    /// Whether the engine can do it. One that can not is refused when databases are set up.
    fn works_on(&self, engine: EngineKind) -> bool;

    /// Where the tenant lives. Called for each connection that is asked for; must not block.
    ///
    /// # Errors
    /// When its placement leads nowhere that may be: the tenant gets no connection, and the log the reason.
    fn target(&self, record: &TenantRecord, home: &ServerHome) -> Result<Target, InvalidName>;

    /// The tenant that lives under this name where no placement says so, if the name looks like one.
    fn tenant_of(&self, name: &str) -> Option<TenantId> {
        let _ = name;
        None
    }

    /// What the audit at start looks at for it. Nothing but the login unless said otherwise.
    fn audited(&self) -> Audited<'_> {
        Audited::Nothing
    }
}

/// What an audit looks at, besides the login.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Audited<'a> {
    /// Nothing else.
    Nothing,
    /// Schemas that stand on the search path of every tenant: what in them hides what.
    Schemas {
        /// The schemas behind the tenant's own.
        extra: &'a [Identifier],
    },
    /// Policies of shared tables.
    Rows {
        /// The setting that they read.
        setting: &'a SettingName,
        /// Tables that all tenants may see.
        common: &'a [Box<str>],
    },
}

/// The part of a placement that names a database, schema or file; `None` where it is to be derived.
fn named(record: &TenantRecord) -> Option<&str> {
    let placement = record.placement.as_ref()?;
    Some(&*placement.database).filter(|name| !name.is_empty())
}
