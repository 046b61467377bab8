//! Where a catalogue is.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::CatalogueError;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use crate::central::{Pool, PoolLimits};

#[derive(Clone)]
pub(crate) enum Place {
    File(PathBuf),
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    Server(Server),
}

#[cfg(any(feature = "postgres", feature = "mysql"))]
#[derive(Clone)]
pub(crate) enum Server {
    #[cfg(feature = "postgres")]
    Postgres(Box<sqlx::postgres::PgConnectOptions>),
    #[cfg(feature = "mysql")]
    MySql(Box<sqlx::mysql::MySqlConnectOptions>),
}

#[cfg(any(feature = "postgres", feature = "mysql"))]
impl Server {
    /// Nothing connects yet.
    pub(crate) fn pool(&self, limits: PoolLimits) -> Pool {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(options) => Pool::postgres((**options).clone(), limits),
            #[cfg(feature = "mysql")]
            Self::MySql(options) => Pool::mysql((**options).clone(), limits),
        }
    }
}

impl Place {
    pub(crate) fn file(path: impl AsRef<Path>) -> Self {
        Self::File(path.as_ref().to_owned())
    }

    /// Errors repeat nothing of the URL, which may hold a password.
    pub(crate) fn parse(url: &str) -> Result<Self, CatalogueError> {
        let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
        match scheme {
            "sqlite" => file_of(rest),
            "postgres" | "postgresql" => postgres(url),
            "mysql" | "mariadb" => mysql(url, rest),
            _ => Err(refused(
                "the URL must begin with `sqlite:`, `postgres://`, `mysql://` or `mariadb://`",
            )),
        }
    }
}

fn refused(reason: impl Into<Box<str>>) -> CatalogueError {
    CatalogueError::invalid("the catalogue's URL is not valid", reason)
}

fn file_of(rest: &str) -> Result<Place, CatalogueError> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() || path.contains(['?', '#', '%']) || path.starts_with(":memory:") {
        return Err(refused(
            "`sqlite:` is followed by the path of a file, without parameters: sqlite:data/catalogue.db",
        ));
    }
    Ok(Place::file(path))
}

/// What sqlx says of a URL may repeat parts of it.
#[cfg(any(feature = "postgres", feature = "mysql"))]
fn not_parsed(scheme: &str) -> CatalogueError {
    refused(format!(
        "write it as {scheme}://USER:PASSWORD@HOST:PORT/DATABASE, with other characters than letters, digits, '-', '.', \
         '_' and '~' in user and password as %XX; parameters must be ones that sqlx knows"
    ))
}

#[cfg(feature = "postgres")]
fn postgres(url: &str) -> Result<Place, CatalogueError> {
    let options: sqlx::postgres::PgConnectOptions = url.parse().map_err(|_| not_parsed("postgres"))?;
    let options = match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("tenancy"),
    };
    Ok(Place::Server(Server::Postgres(Box::new(options))))
}

#[cfg(not(feature = "postgres"))]
fn postgres(_url: &str) -> Result<Place, CatalogueError> {
    Err(refused(
        "this program was built without PostgreSQL (feature `postgres`)",
    ))
}

#[cfg(feature = "mysql")]
fn mysql(_url: &str, rest: &str) -> Result<Place, CatalogueError> {
    let url = format!("mysql:{rest}");
    let options: sqlx::mysql::MySqlConnectOptions = url.parse().map_err(|_| not_parsed("mysql"))?;
    if options.get_database().is_none_or(str::is_empty) {
        return Err(refused("the URL names no database: mysql://…/DATABASE"));
    }
    Ok(Place::Server(Server::MySql(Box::new(options))))
}

#[cfg(not(feature = "mysql"))]
fn mysql(_url: &str, _rest: &str) -> Result<Place, CatalogueError> {
    Err(refused(
        "this program was built without MySQL and MariaDB (feature `mysql`)",
    ))
}

/// Without the password.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            #[cfg(feature = "postgres")]
            Self::Server(Server::Postgres(options)) => write!(
                f,
                "postgres://{}@{}:{}/{}",
                options.get_username(),
                options
                    .get_socket()
                    .map_or(options.get_host().into(), |socket| socket.to_string_lossy()),
                options.get_port(),
                options.get_database().unwrap_or(options.get_username()),
            ),
            #[cfg(feature = "mysql")]
            Self::Server(Server::MySql(options)) => write!(
                f,
                "mysql://{}@{}:{}/{}",
                options.get_username(),
                options
                    .get_socket()
                    .map_or(options.get_host().into(), |socket| socket.to_string_lossy()),
                options.get_port(),
                options.get_database().unwrap_or_default(),
            ),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_to_its_database_and_shows_no_password() {
        for (url, shown) in [
            ("sqlite:data/catalogue.db", "data/catalogue.db"),
            ("sqlite:///srv/catalogue.db", "/srv/catalogue.db"),
            #[cfg(feature = "postgres")]
            (
                "postgres://app:hunter2@db.test:6432/app",
                "postgres://app@db.test:6432/app",
            ),
            #[cfg(feature = "postgres")]
            (
                "postgresql://app:hunter2@db.test/app",
                "postgres://app@db.test:5432/app",
            ),
            #[cfg(feature = "postgres")]
            (
                "postgres://app:hunter2@localhost/app?host=/run/postgresql",
                "postgres://app@/run/postgresql:5432/app",
            ),
            #[cfg(feature = "mysql")]
            ("mysql://app:hunter2@db.test/app", "mysql://app@db.test:3306/app"),
            #[cfg(feature = "mysql")]
            (
                "mariadb://app:hunter2@db.test/app",
                "mysql://app@db.test:3306/app",
            ),
        ] {
            let place = Place::parse(url).unwrap();
            assert_eq!(place.to_string(), shown);
            assert_eq!(format!("{place:?}"), shown);
        }
    }

    #[test]
    fn what_is_no_such_url_is_refused_without_repeating_it() {
        for bad in [
            "",
            "hunter2",
            "/srv/catalogue.db",
            "sqlite:",
            "sqlite::memory:",
            "sqlite:a.db?mode=hunter2",
            "oracle://app:hunter2@db/app",
            "postgres://app:hunter2@db:port/app",
            "postgres://app:hunter2@db/app?sslmode=hunter2",
            "mysql://app:hunter2@db/",
            "mysql://app:hunter2@db",
        ] {
            let error = Place::parse(bad).unwrap_err();
            assert!(error.is_invalid(), "{bad}");
            assert!(!format!("{error:?}{error}").contains("hunter2"), "{error:?}");
        }
    }
}
