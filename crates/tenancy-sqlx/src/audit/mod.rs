//! Looks at servers before they serve tenants, for what would show one tenant to another.
//!
//! [`TenantDatabasesBuilder::build`](crate::database::TenantDatabasesBuilder::build) does so at start, and refuses to go on if it
//! finds anything that does; [`TenantDatabases::audit`] does so at any time. All findings come at once, each with what to do.
//! Nothing is changed: two connections are opened for each server and closed again.
//!
//! | looked at | for |
//! |---|---|
//! | the login, everywhere | superusers, roles that policies do not bind, and roles that may become one |
//! | shared tables with policies | tables without, not forced, that the login owns or may truncate, or that are open to all; views that see with their owner's eyes; functions that remember the tenant of an earlier transaction |
//! | the search path of schemas | tables behind the tenant's own that tenants have, too; schemas in which the login may put something |
//! | what stands in between | a pooler that gives each transaction to another session |
//!
//! **Caveats.** It sees what the login may see, in the database of the server's URL: databases of tenants are not looked
//! into. It does not read what policies say, other than `true`.
//!
//! ```
//! # #[cfg(feature = "postgres")]
//! # async fn example(databases: tenancy_sqlx::database::TenantDatabases<sqlx::Postgres>) -> Result<(), Box<dyn std::error::Error>> {
//! let report = databases.audit().await?;
//! for finding in report.findings() {
//!     println!("{finding}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What a start says that is refused:
//!
//! ```
//! # #[cfg(feature = "postgres")]
//! # fn example(built: Result<tenancy_sqlx::database::TenantDatabases<sqlx::Postgres>, tenancy_sqlx::database::BuildError>) {
//! use tenancy_sqlx::audit::FindingKind;
//!
//! if let Some(report) = built.as_ref().err().and_then(|error| error.audit()) {
//!     let tables = report.findings().iter().filter(|finding| finding.kind() == FindingKind::NoPolicies);
//!     println!("{} tables have no policies", tables.count());
//! }
//! # }
//! ```

mod finding;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

use std::collections::HashSet;

pub use self::finding::{AuditReport, Finding, FindingKind};
use crate::{
    database::{BuildError, TenantDatabases, TenantHomes},
    engine::TenantEngine,
    isolation::IsolationStrategy,
};

/// What was seen on one server.
#[derive(Debug, Default)]
pub struct Seen {
    pub(crate) found: Vec<(FindingKind, String)>,
    /// Schemas with types of their own.
    pub(crate) pinned: HashSet<Box<str>>,
}

impl Seen {
    #[cfg_attr(
        not(any(feature = "postgres", feature = "mysql", feature = "sqlite")),
        expect(dead_code, reason = "engines say what they see")
    )]
    fn note(&mut self, kind: FindingKind, subject: impl Into<String>) {
        self.found.push((kind, subject.into()));
    }
}

impl<DB: TenantEngine> TenantDatabases<DB> {
    /// Looks at each server, as [`TenantHomes::audit`] does.
    ///
    /// # Errors
    /// With the first server that can not be looked at.
    pub async fn audit(&self) -> Result<AuditReport, BuildError> {
        self.homes().audit().await
    }
}

impl<DB: TenantEngine> TenantHomes<DB> {
    /// Looks at each server; see the [module](self). Schemas that are found to have types of their own are pinned from now on.
    ///
    /// Opens connections beside the budget, for as long as it takes.
    ///
    /// # Errors
    /// With the first server that can not be looked at.
    pub async fn audit(&self) -> Result<AuditReport, BuildError> {
        let audited: Vec<_> = self
            .isolation()
            .strategies()
            .map(IsolationStrategy::audited)
            .collect();
        let mut findings = Vec::new();
        for (name, site) in self.sites() {
            let looks = DB::audit(&site.options, &audited, site.is_pooled);
            let seen = tokio::time::timeout(3 * site.settings.connect_limit(), looks)
                .await
                .unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
                .map_err(|error| BuildError::unreachable(name, error))?;
            findings.extend(
                seen.found
                    .into_iter()
                    .map(|(kind, subject)| Finding::new(name, kind, &subject)),
            );
            site.home.pin(seen.pinned);
        }
        Ok(AuditReport::new(findings))
    }
}
