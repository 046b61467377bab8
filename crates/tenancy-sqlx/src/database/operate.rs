//! For who looks after tenants: one connection to a tenant's database, and what another program needs to make one.

use std::{fmt, time::Duration};

use sqlx::ConnectOptions as _;
use sqlx_core::{
    Url,
    percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode},
};
use tenancy_core::{InvalidName, TenantRecord};

use super::{DatabaseError, TenantHomes};
use crate::{
    engine::{Options, TenantEngine},
    isolation::{EngineKind, Identifier},
    pool::{Target, target::Session},
};

/// As whom an operator connects to a tenant's database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Login {
    /// The role that serves requests: policies bind it, and it owns nothing.
    #[default]
    Application,
    /// The role that owns what tenants have; on SQLite, who has the file.
    Owner,
}

/// What a program of others needs to be in a tenant's session: `psql`, or an application's own task.
///
/// `Debug` shows no URL: it holds a password.
#[derive(Clone)]
pub struct ClientHome {
    url: String,
    database: Box<str>,
    settings: Vec<(String, String)>,
    is_guarded: bool,
    is_behind_pooler: bool,
}

impl ClientHome {
    /// The URL of the tenant's database, with its password: for the environment of a program, never for a command line or
    /// a log.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The database; on SQLite, the path of the file.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Settings of PostgreSQL that make a session the tenant's, as names and values; none where the database is its own.
    pub fn settings(&self) -> &[(String, String)] {
        &self.settings
    }

    /// Whether the tenant shares tables that nothing but its own `WHERE` keeps others out of.
    pub fn is_guarded(&self) -> bool {
        self.is_guarded
    }

    /// Whether a pooler in transaction mode stands in between, which loses what a session is told.
    pub fn is_behind_pooler(&self) -> bool {
        self.is_behind_pooler
    }
}

impl fmt::Debug for ClientHome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientHome")
            .field("database", &self.database)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl<DB: TenantEngine> TenantHomes<DB> {
    /// Opens a connection to where a tenant of this record is, outside of every pool and budget, and makes it the tenant's:
    /// search path or setting are set for the session. One that only reads is told so; behind a pooler in transaction mode
    /// it is for the transaction to say.
    ///
    /// Says nothing of whether another tenant lives there. Awaits the server, for as long as
    /// [`connect_timeout`](crate::pool::PoolSettings::connect_timeout) allows.
    ///
    /// # Errors
    /// When the record leads nowhere, there is no database, schema or file, or the server does not let it in; where tables are
    /// shared without policies; as the owner, when the server has no owner's URL; and as the application behind a pooler
    /// in transaction mode, where tenants share a database.
    pub async fn connect(
        &self,
        record: &TenantRecord,
        login: Login,
        is_read_only: bool,
    ) -> Result<DB::Connection, DatabaseError> {
        let (_, target) = self.place(record)?;
        if let Session::Guarded(_) = target.session() {
            return Err(DatabaseError::guarded());
        }
        let is_pooled = self.is_pooled(record, login)?;
        let enter = DB::enter(target.session());
        if enter.is_some() && is_pooled {
            return Err(DatabaseError::behind_pooler());
        }
        let limit = self.site_of(record)?.settings.connect_limit();
        let options = DB::at(self.options_of(record, login)?, target.database_name());
        let mut connection = open::<DB>(&options, limit).await?;
        if let Session::SearchPath { schema, extra } = target.session() {
            let path: Vec<Identifier> = std::iter::once(schema).chain(&**extra).cloned().collect();
            // A path of which the first part is missing leads to what all tenants share.
            if !DB::point(&mut connection, &path).await? {
                return Err(DatabaseError::missing("its schema is not there"));
            }
        } else if let Some(enter) = enter {
            DB::run(&mut connection, enter).await?;
        }
        if is_read_only && !is_pooled {
            DB::run(&mut connection, only_reads(DB::KIND).to_owned()).await?;
        }
        Ok(connection)
    }

    /// What another program needs to connect to where a tenant of this record is. Connects to nothing.
    ///
    /// # Errors
    /// When the record leads nowhere; and as the owner, when the server has no owner's URL.
    pub fn client(&self, record: &TenantRecord, login: Login) -> Result<ClientHome, DatabaseError> {
        let (_, target) = self.place(record)?;
        let site = self.site_of(record)?;
        self.options_of(record, login)?;
        let url = match (login, &site.urls.1) {
            (Login::Owner, Some(owner)) => owner,
            _ => &site.urls.0,
        };
        let database = target.database_name();
        Ok(ClientHome {
            url: url_of(DB::KIND, url, database).ok_or_else(|| {
                DatabaseError::misplaced(InvalidName::new("database", database, "no URL can lead to it"))
            })?,
            database: database.into(),
            settings: settings_of(&target),
            is_guarded: matches!(target.session(), Session::Guarded(_)),
            is_behind_pooler: self.is_pooled(record, login)?,
        })
    }

    fn options_of(&self, record: &TenantRecord, login: Login) -> Result<&Options<DB>, DatabaseError> {
        let site = self.site_of(record)?;
        match login {
            Login::Application => Ok(&site.options),
            Login::Owner => site.owner(),
        }
    }

    /// The owner's URL leads to the server itself.
    fn is_pooled(&self, record: &TenantRecord, login: Login) -> Result<bool, DatabaseError> {
        Ok(login == Login::Application && self.site_of(record)?.is_pooled)
    }
}

async fn open<DB: TenantEngine>(
    options: &Options<DB>,
    limit: Duration,
) -> Result<DB::Connection, DatabaseError> {
    match tokio::time::timeout(limit, options.connect()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(DatabaseError::not_connected(DB::classify(&error), error)),
        Err(_) => Err(DatabaseError::not_in_time()),
    }
}

fn only_reads(engine: EngineKind) -> &'static str {
    match engine {
        EngineKind::Postgres => "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        EngineKind::MySql => "SET SESSION TRANSACTION READ ONLY",
        EngineKind::Sqlite => "PRAGMA query_only = ON",
    }
}

fn settings_of(target: &Target) -> Vec<(String, String)> {
    match target.session() {
        Session::Own | Session::Guarded(_) => Vec::new(),
        Session::SearchPath { schema, extra } => {
            let path: Vec<_> = std::iter::once(schema)
                .chain(&**extra)
                .map(|schema: &Identifier| schema.quoted(EngineKind::Postgres))
                .collect();
            vec![("search_path".to_owned(), path.join(", "))]
        }
        Session::Setting { name, tenant } => vec![(name.as_str().to_owned(), tenant.to_string())],
    }
}

/// What ends a path, or begins an escape.
const OF_PATHS: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#').add(b' ');

fn url_of(engine: EngineKind, url: &str, database: &str) -> Option<String> {
    if engine == EngineKind::Sqlite {
        return Some(format!("sqlite://{}", utf8_percent_encode(database, OF_PATHS)));
    }
    // Both would be taken for a way, and not for a name.
    if matches!(database, "." | "..") {
        return None;
    }
    let mut url = Url::parse(url).ok()?;
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    url.path_segments_mut().ok()?.clear().push(database);
    url.set_query(None);
    // It would win over the path.
    for (name, value) in pairs.iter().filter(|(name, _)| name != "dbname") {
        url.query_pairs_mut().append_pair(name, value);
    }
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_to_the_tenants_database_whatever_its_name_is() {
        for (url, database, made) in [
            (
                "postgres://app:s%40t@db:5433/app?sslmode=require&dbname=app",
                "tenant_acme",
                "postgres://app:s%40t@db:5433/tenant_acme?sslmode=require",
            ),
            (
                "postgres://db",
                r#"a"b/c?d#e%f g"#,
                "postgres://db/a%22b%2Fc%3Fd%23e%25f%20g",
            ),
            (
                "postgres:///?host=/run/postgresql",
                "acme",
                "postgres:///acme?host=%2Frun%2Fpostgresql",
            ),
            (
                "mysql://app@[::1]:3306/app",
                "acme",
                "mysql://app@[::1]:3306/acme",
            ),
        ] {
            assert_eq!(url_of(EngineKind::Postgres, url, database).as_deref(), Some(made));
        }
        for bad in [".", ".."] {
            assert_eq!(url_of(EngineKind::Postgres, "postgres://db/app", bad), None);
        }
        let file = url_of(EngineKind::Sqlite, "sqlite://data?mode=rwc", "data/a 50%?.db");
        assert_eq!(file.as_deref(), Some("sqlite://data/a%2050%25%3F.db"));
    }
}
