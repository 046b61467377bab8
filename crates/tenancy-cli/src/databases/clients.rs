//! The programs that people type SQL into, and how they are told where to go: passwords and settings stand in the
//! environment, for others see command lines.

use std::{ffi::OsString, path::Path};

use tenancy_sqlx::database::ClientHome;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use url::Url;

/// A program with what it is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// The first one that is installed is taken.
    pub(crate) programs: &'static [&'static str],
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: Vec<(&'static str, String)>,
    /// What would lead it elsewhere.
    pub(crate) forgotten: &'static [&'static str],
    pub(crate) install: &'static str,
}

#[cfg(feature = "postgres")]
pub(super) fn psql(home: &ClientHome, is_read_only: bool) -> Result<Client, String> {
    let url = parsed(home)?;
    let mut environment = vec![("PGDATABASE", home.database().to_owned())];
    let host = url.host_str().map(|host| decoded(host.trim_matches(['[', ']'])));
    environment.extend(host.map(|host| ("PGHOST", host)));
    environment.extend(url.port().map(|port| ("PGPORT", port.to_string())));
    environment.extend(user(&url).map(|user| ("PGUSER", user)));
    environment.extend(url.password().map(|password| ("PGPASSWORD", decoded(password))));
    for (name, value) in url.query_pairs() {
        let variable = match &*name {
            "host" | "hostaddr" => "PGHOST",
            "port" => "PGPORT",
            "user" => "PGUSER",
            "password" => "PGPASSWORD",
            "sslmode" | "ssl-mode" => "PGSSLMODE",
            "sslrootcert" | "ssl-root-cert" | "ssl-ca" => "PGSSLROOTCERT",
            "sslcert" | "ssl-cert" => "PGSSLCERT",
            "sslkey" | "ssl-key" => "PGSSLKEY",
            "application_name" => "PGAPPNAME",
            _ => continue,
        };
        environment.retain(|(set, _)| *set != variable);
        environment.push((variable, value.into_owned()));
    }
    environment.extend(pg_options(home, is_read_only).map(|options| ("PGOPTIONS", options)));
    Ok(Client {
        programs: &["psql"],
        arguments: Vec::new(),
        environment,
        forgotten: &["PGSERVICE", "PGHOSTADDR", "PGPASSWORD", "PGOPTIONS"],
        install: "Install the client of PostgreSQL: package `postgresql-client` (Debian, Ubuntu), `postgresql` (Fedora, Homebrew).",
    })
}

/// What the settings of the URL and the tenant's session come to, in the form of `PGOPTIONS`.
#[cfg(feature = "postgres")]
pub(super) fn pg_options(home: &ClientHome, is_read_only: bool) -> Option<String> {
    let url = parsed(home).ok();
    let mut options: Vec<_> = url
        .iter()
        .flat_map(Url::query_pairs)
        .filter(|(name, _)| name == "options")
        .map(|(_, value)| value.into_owned())
        .collect();
    let only_reads = is_read_only.then(|| ("default_transaction_read_only".to_owned(), "on".to_owned()));
    for (name, value) in home.settings().iter().chain(&only_reads) {
        options.push(format!(
            "-c {name}={}",
            value.replace('\\', r"\\").replace(' ', r"\ ")
        ));
    }
    (!options.is_empty()).then(|| options.join(" "))
}

/// For programs that do not read `PGOPTIONS`, and for libpq, which does not where the URL has options.
#[cfg(feature = "postgres")]
pub(super) fn url_with_options(home: &ClientHome, is_read_only: bool) -> String {
    let (Ok(mut url), Some(options)) = (parsed(home), pg_options(home, is_read_only)) else {
        return home.url().to_owned();
    };
    let others: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| name != "options")
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let pair = |name: &str, value: &str| format!("{}={}", escaped(name), escaped(value));
    let mut query: Vec<_> = others.iter().map(|(name, value)| pair(name, value)).collect();
    query.push(pair("options", &options));
    url.set_query(Some(&query.join("&")));
    url.into()
}

/// libpq knows no `+` for a blank.
#[cfg(feature = "postgres")]
fn escaped(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}

#[cfg(feature = "mysql")]
pub(super) fn mariadb(home: &ClientHome, is_read_only: bool) -> Result<Client, String> {
    let url = parsed(home)?;
    let mut arguments: Vec<OsString> = Vec::new();
    let mut give = |name: &str, value: &str| arguments.push(format!("--{name}={value}").into());
    if let Some(host) = url.host_str() {
        give("host", &decoded(host.trim_matches(['[', ']'])));
    }
    if let Some(port) = url.port() {
        give("port", &port.to_string());
    }
    if let Some(user) = user(&url) {
        give("user", &user);
    }
    for (name, value) in url.query_pairs() {
        match &*name {
            "socket" => give("socket", &value),
            "sslca" | "ssl-ca" => give("ssl-ca", &value),
            "sslcert" | "ssl-cert" => give("ssl-cert", &value),
            "sslkey" | "ssl-key" => give("ssl-key", &value),
            _ => {}
        }
    }
    if is_read_only {
        give("init-command", "SET SESSION TRANSACTION READ ONLY");
    }
    give("database", home.database());
    let password = url.password().map(|password| ("MYSQL_PWD", decoded(password)));
    Ok(Client {
        programs: &["mariadb", "mysql"],
        arguments,
        environment: password.into_iter().collect(),
        forgotten: &["MYSQL_PWD"],
        install: "Install the client of MariaDB or MySQL: package `mariadb-client` (Debian, Ubuntu), `mariadb` (Fedora, Homebrew).",
    })
}

pub(super) fn sqlite3(home: &ClientHome, is_read_only: bool) -> Result<Client, String> {
    let file = std::path::absolute(home.database()).map_err(|error| error.to_string())?;
    // It would be made, empty.
    if !Path::new(&file).is_file() {
        return Err(format!("there is no file {}", file.display()));
    }
    let mut arguments: Vec<OsString> = Vec::new();
    if is_read_only {
        arguments.push("-readonly".into());
    }
    // From the root: a name that begins with a minus is no option.
    arguments.push(file.into());
    Ok(Client {
        programs: &["sqlite3"],
        arguments,
        environment: Vec::new(),
        forgotten: &[],
        install: "Install the command line of SQLite: package `sqlite3` (Debian, Ubuntu), `sqlite` (Fedora, Homebrew).",
    })
}

/// The error would quote the URL, and with it a password.
#[cfg(any(feature = "postgres", feature = "mysql"))]
fn parsed(home: &ClientHome) -> Result<Url, String> {
    Url::parse(home.url()).map_err(|_| "the URL of the server can not be read".to_owned())
}

#[cfg(any(feature = "postgres", feature = "mysql"))]
fn user(url: &Url) -> Option<String> {
    Some(decoded(url.username())).filter(|user| !user.is_empty())
}

#[cfg(any(feature = "postgres", feature = "mysql"))]
fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}
