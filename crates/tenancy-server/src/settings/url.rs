use std::fmt;

use serde::Deserialize;

const SCHEMES: [&str; 5] = [
    "sqlite:",
    "postgres://",
    "postgresql://",
    "mysql://",
    "mariadb://",
];

const REDIS_SCHEMES: [&str; 3] = ["redis://", "rediss://", "redis+unix://"];

/// What a server of databases speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatabaseKind {
    /// SQLite files: no server.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MySQL or MariaDB.
    MySql,
}

impl fmt::Display for DatabaseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
            Self::MySql => "MySQL or MariaDB",
        })
    }
}

/// The URL of a database. It may hold a password, which neither `Display` nor `Debug` show.
///
/// ```
/// use tenancy_server::settings::DatabaseUrl;
///
/// let url = DatabaseUrl::new("postgres://app:secret@db.internal/app");
/// assert_eq!(url.to_string(), "postgres://app@db.internal/app");
/// assert!(url.as_str().contains("secret"));
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct DatabaseUrl(Box<str>);

impl DatabaseUrl {
    /// A URL as it was given. It is checked when it is used.
    pub fn new(url: impl Into<Box<str>>) -> Self {
        Self(url.into())
    }

    /// The whole URL, with its password: to connect, not to be shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the server speaks, by the scheme; `None` for one that is not known.
    pub fn kind(&self) -> Option<DatabaseKind> {
        match self.0.split_once(':')?.0 {
            "sqlite" => Some(DatabaseKind::Sqlite),
            "postgres" | "postgresql" => Some(DatabaseKind::Postgres),
            "mysql" | "mariadb" => Some(DatabaseKind::MySql),
            _ => None,
        }
    }

    pub(crate) fn redis_mistake(&self) -> Option<&'static str> {
        let is_known = REDIS_SCHEMES.iter().any(|scheme| self.0.starts_with(scheme));
        (!is_known).then_some("it must begin with `redis://`; it is not shown, for it may hold a password")
    }

    pub(crate) fn mistake(&self) -> Option<&'static str> {
        let is_known = SCHEMES.iter().any(|scheme| self.0.starts_with(scheme));
        (!is_known).then_some(
            "it must begin with `postgres://`, `mysql://`, `mariadb://` or `sqlite:`; it is not shown, for it may hold a \
             password",
        )
    }
}

/// Without password and parameters.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            // What has no scheme could be anything.
            return f.write_str(if self.0.starts_with("sqlite:") {
                &self.0
            } else {
                "(not shown)"
            });
        };
        // From the right: a password that was not encoded may have any of these letters.
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (user.split(':').next(), place),
            None => (None, rest),
        };
        let place = place.split(['?', '#']).next().unwrap_or_default();
        write!(f, "{scheme}://")?;
        if let Some(user) = user.filter(|user| !user.is_empty()) {
            write!(f, "{user}@")?;
        }
        f.write_str(place)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_of_it_shows_the_password() {
        for (url, shown) in [
            (
                "postgres://app:hunter2@db:5432/app?sslmode=disable",
                "postgres://app@db:5432/app",
            ),
            (
                "mysql://app:hunter2@db/app?password=hunter2",
                "mysql://app@db/app",
            ),
            (
                "postgres://app:hunter2/with@odd?letters#@db/app",
                "postgres://app@db/app",
            ),
            ("postgres://db/app?password=hunter2", "postgres://db/app"),
            ("redis://:hunter2@cache:6379/0", "redis://cache:6379/0"),
            ("sqlite:data/catalogue.db", "sqlite:data/catalogue.db"),
            ("hunter2", "(not shown)"),
        ] {
            let url = DatabaseUrl::new(url);
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
        }
    }
}
