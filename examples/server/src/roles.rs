//! The two roles of a server of databases, and what to do where they are not there.

use std::{fmt, str::FromStr as _};

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Postgres, postgres::PgConnectOptions};
use tenancy_server::settings::{DatabaseKind, DatabaseUrl, IsolationName, Settings};

use crate::{notes::NotesDatabase as _, start::StartError};

/// Refuses to start without an owner, and with one that requests would be answered as.
pub(crate) fn check(settings: &Settings) -> Result<(), StartError> {
    let databases = &settings.databases;
    let (Some(url), DatabaseKind::Postgres | DatabaseKind::MySql) =
        (&databases.url, settings.database_kind())
    else {
        return Ok(());
    };
    match &databases.owner_url {
        None => Err(StartError::saying(format!(
            "--owner-url is missing (or TENANCY__DATABASES__OWNER_URL): what tenants have belongs to an owner, and \
             requests are answered as a role that owns nothing, so that none of them reaches past its tenant\n\n{}",
            advice(url)
        ))),
        Some(owner) if user_of(owner) == user_of(url) => Err(StartError::saying(format!(
            "--database-url and --owner-url log in as the same role: requests would be answered as the owner of what all \
             tenants have\n\n{}",
            advice(url)
        ))),
        Some(_) => Ok(()),
    }
}

/// What the role that answers requests may do with a table that tenants share. In a home of a tenant's own, it may do so
/// anyway.
#[derive(Clone)]
pub(crate) struct Grant {
    owner: PgConnectOptions,
    role: String,
}

impl Grant {
    /// # Errors
    /// When a URL is none of PostgreSQL's.
    pub(crate) fn of(settings: &Settings) -> Result<Option<Self>, StartError> {
        let databases = &settings.databases;
        let (Some(IsolationName::Rows), Some(url), Some(owner)) =
            (databases.isolation, &databases.url, &databases.owner_url)
        else {
            return Ok(None);
        };
        // What is wrong with a URL may quote it.
        let parse = |url: &DatabaseUrl| {
            let unreadable = |_| StartError::saying(format!("the URL {url} can not be read"));
            PgConnectOptions::from_str(url.as_str()).map_err(unreadable)
        };
        Ok(Some(Self {
            owner: parse(owner)?,
            role: parse(url)?.get_username().replace('"', "\"\""),
        }))
    }

    /// Lets the role read and write, as policies allow. Any number of times. Returns whether there is such a table yet.
    pub(crate) async fn run(&self) -> Result<bool, sqlx::Error> {
        let mut owner = self.owner.connect().await?;
        let grant = format!("GRANT SELECT, INSERT ON notes TO \"{}\"", self.role);
        let granted = sqlx::raw_sql(AssertSqlSafe(grant)).execute(&mut owner).await;
        owner.close().await?;
        match granted {
            Ok(_) => Ok(true),
            Err(sqlx::Error::Database(error)) if Postgres::is_no_table(&*error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The options hold a password.
        f.debug_struct("Grant")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

fn user_of(url: &DatabaseUrl) -> Option<String> {
    let shown = url.to_string();
    let (_, rest) = shown.split_once("://")?;
    Some(rest.rsplit_once('@')?.0.to_owned())
}

/// What makes the two roles and the database, and how to start with them.
pub(crate) fn advice(url: &DatabaseUrl) -> String {
    let shown = url.to_string();
    let (scheme, rest) = shown.split_once("://").unwrap_or(("postgres", "localhost"));
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    let server = place.split('/').next().unwrap_or(place);
    let sql = match url.kind() {
        Some(DatabaseKind::MySql) => MYSQL,
        _ => POSTGRES,
    };
    let place = format!("{server}/tenancy");
    format!(
        "Run this once, as the superuser of the server, with passwords of your own:\n\n{sql}\n\
         Then start with:\n\n  \
         --database-url {scheme}://tenancy_app:change-me@{place} \\\n  \
         --owner-url {scheme}://tenancy_owner:change-me@{place}"
    )
}

const POSTGRES: &str = "  \
  CREATE ROLE tenancy_owner LOGIN CREATEDB PASSWORD 'change-me';
  CREATE ROLE tenancy_app LOGIN PASSWORD 'change-me';
  CREATE DATABASE tenancy OWNER tenancy_owner;
";

/// To be let in, a login must have something in the database; this right shows it no row.
const MYSQL: &str = "  \
  CREATE DATABASE tenancy CHARACTER SET utf8mb4;
  CREATE USER tenancy_owner IDENTIFIED BY 'change-me';
  CREATE USER tenancy_app IDENTIFIED BY 'change-me';
  GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, TRIGGER, EXECUTE, \
LOCK TABLES, CREATE TEMPORARY TABLES, SHOW VIEW, CREATE VIEW, CREATE ROUTINE, ALTER ROUTINE, EVENT \
ON *.* TO tenancy_owner WITH GRANT OPTION;
  GRANT SHOW VIEW ON tenancy.* TO tenancy_app;
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_is_for_the_server_that_was_named_and_repeats_no_password() {
        for (url, expected) in [
            (
                "postgres://postgres:hunter2@db:5432/app?sslmode=disable",
                "postgres://tenancy_app:change-me@db:5432/tenancy",
            ),
            ("postgres://db/app", "postgres://tenancy_app:change-me@db/tenancy"),
            (
                "mariadb://root:hunter2@[::1]:3306/app",
                "mariadb://tenancy_app:change-me@[::1]:3306/tenancy",
            ),
        ] {
            let text = advice(&DatabaseUrl::new(url));
            assert!(text.contains(expected), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
