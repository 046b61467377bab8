use std::fmt;

use sqlx::{ConnectOptions as _, Connection};

use crate::engine::{Options, TenantEngine};

/// Where the homes of new tenants are made, and as whom: a role that may make and drop databases, or schemas.
pub struct Homes<DB: TenantEngine> {
    options: Options<DB>,
    make: Box<str>,
    drop: Box<str>,
    quote: char,
    template: Option<Box<str>>,
}

#[cfg(feature = "postgres")]
impl Homes<sqlx::Postgres> {
    /// A database for each tenant. The options name one to be connected to meanwhile, which is no tenant's.
    pub fn databases(options: sqlx::postgres::PgConnectOptions) -> Self {
        Self {
            options,
            make: "CREATE DATABASE ".into(),
            drop: "DROP DATABASE IF EXISTS {} WITH (FORCE)".into(),
            quote: '"',
            template: None,
        }
    }

    /// Databases are made as copies of this one, which is migrated already: much quicker than to migrate each. Nobody may
    /// be connected to it meanwhile: `ALTER DATABASE … ALLOW_CONNECTIONS false`.
    #[must_use]
    pub fn template(mut self, database: &str) -> Self {
        self.template = Some(database.into());
        self
    }

    /// A schema for each tenant, in the database that the options name.
    pub fn schemas(options: sqlx::postgres::PgConnectOptions) -> Self {
        Self {
            options,
            make: "CREATE SCHEMA ".into(),
            drop: "DROP SCHEMA IF EXISTS {} CASCADE".into(),
            quote: '"',
            template: None,
        }
    }
}

#[cfg(feature = "mysql")]
impl Homes<sqlx::MySql> {
    /// A database for each tenant. The options name one to be connected to meanwhile, which is no tenant's.
    pub fn databases(options: sqlx::mysql::MySqlConnectOptions) -> Self {
        Self {
            options,
            make: "CREATE DATABASE ".into(),
            drop: "DROP DATABASE IF EXISTS {}".into(),
            quote: '`',
            template: None,
        }
    }
}

impl<DB: TenantEngine> Homes<DB> {
    pub(super) async fn make(&self, home: &str) -> Result<(), sqlx::Error> {
        let mut text = format!("{}{}", self.make, self.quoted(home));
        if let Some(template) = &self.template {
            text += &format!(" TEMPLATE {}", self.quoted(template));
        }
        self.run(text).await
    }

    /// No error if it is gone.
    pub(super) async fn drop(&self, home: &str) -> Result<(), sqlx::Error> {
        self.run(self.drop.replace("{}", &self.quoted(home))).await
    }

    async fn run(&self, text: String) -> Result<(), sqlx::Error> {
        let mut connection = self.options.connect().await?;
        let ran = DB::run_made(&mut connection, text).await;
        let closed = connection.close().await;
        ran.and(closed)
    }

    fn quoted(&self, name: &str) -> String {
        let quote = self.quote;
        let inside = name.replace(quote, &format!("{quote}{quote}"));
        format!("{quote}{inside}{quote}")
    }
}

impl<DB: TenantEngine> fmt::Debug for Homes<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Options may hold passwords.
        f.debug_struct("Homes")
            .field("make", &self.make)
            .field("template", &self.template)
            .finish_non_exhaustive()
    }
}
