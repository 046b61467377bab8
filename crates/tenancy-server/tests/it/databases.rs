//! Settings of the databases of tenants.

use tenancy_server::settings::{DatabaseKind, IsolationName, Settings, Sources};

fn from_text(text: &str) -> Settings {
    Sources::new().text("s.toml", text).load().unwrap().settings
}

/// Source, key and reason of each mistake.
fn mistakes(sources: Sources) -> Vec<(String, String, String)> {
    let error = sources.load().unwrap_err();
    let mistakes = error.mistakes().iter();
    mistakes
        .map(|mistake| {
            let (source, key) = (mistake.source.clone(), mistake.key.clone());
            (source, key, mistake.reason.clone())
        })
        .collect()
}

fn assert_refused(text: &str, line: &str, key: &str, reason: &str) {
    let found = mistakes(Sources::new().text("s.toml", text));
    let [(at, of, why)] = &found[..] else {
        panic!("one mistake is expected of {text}: {found:#?}");
    };
    assert_eq!((at.as_str(), of.as_str()), (line, key), "{text}: {why}");
    assert!(why.contains(reason), "{text}: {why}");
    assert!(!why.contains("hunter2"), "{text}: {why}");
}

#[test]
fn the_defaults_are_those_of_the_pools() {
    let settings = Settings::default();
    let catalogue = &settings.catalogue;
    assert_eq!((catalogue.pool_min, catalogue.pool_max), (5, 20));
    assert_eq!(
        (catalogue.connect_timeout_ms, catalogue.wait_timeout_ms),
        (10_000, 3_000)
    );
    let databases = &settings.databases;
    assert_eq!((databases.budget, databases.max_tenants), (100, 100));
    assert_eq!(
        (databases.connect_timeout_ms, databases.wait_timeout_ms),
        (10_000, 3_000)
    );
    assert_eq!(databases.idle_timeout_ms, 60_000);
    assert!(databases.servers.is_empty());
    assert_eq!(settings.database_kind(), DatabaseKind::Sqlite);
}

#[test]
fn the_kind_is_that_of_the_scheme() {
    for (url, kind) in [
        ("postgres://app@db/app", DatabaseKind::Postgres),
        ("postgresql://app@db/app", DatabaseKind::Postgres),
        ("mysql://app@db/app", DatabaseKind::MySql),
        ("mariadb://app@db/app", DatabaseKind::MySql),
        ("sqlite:data/files", DatabaseKind::Sqlite),
    ] {
        let settings = from_text(&format!("databases.url = \"{url}\"\n"));
        assert_eq!(settings.database_kind(), kind, "{url}");
    }
}

#[test]
fn further_servers_are_read_however_they_are_spelled_and_from_all_sources_together() {
    let eu = "postgres://app@db.eu/app";
    for text in [
        format!("[databases.servers.eu]\nurl = \"{eu}\"\nbudget = 7\n"),
        format!("[databases]\nservers.eu = {{ url = \"{eu}\", budget = 7 }}\n"),
        format!("databases.servers.eu.url = \"{eu}\"\ndatabases.servers.eu.budget = 7\n"),
    ] {
        let loaded = Sources::new()
            .text("a.toml", text)
            .text(
                "b.toml",
                "[databases.servers.us]\nbehind_transaction_pooler = true\n[databases.servers.eu]\n",
            )
            .variables([
                ("TENANCY__DATABASES__URL", "postgres://app:hunter2@db/app"),
                (
                    "TENANCY__DATABASES__SERVERS__US__URL",
                    "postgres://app:hunter2@db.us/app",
                ),
                ("TENANCY__DATABASES__SERVERS__US__BUDGET", "9"),
            ])
            .set("--eu", "databases.servers.eu.budget", 8)
            .load()
            .unwrap();
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        let servers = &loaded.settings.databases.servers;
        assert_eq!(servers.keys().collect::<Vec<_>>(), ["eu", "us"]);
        assert_eq!(servers["eu"].url.as_ref().unwrap().as_str(), eu);
        assert_eq!((servers["eu"].budget, servers["us"].budget), (Some(8), Some(9)));
        assert!(servers["us"].behind_transaction_pooler);
    }
}

#[test]
fn what_can_not_work_is_refused_with_the_key_that_it_is_about() {
    const MAIN: &str = "[databases]\nurl = \"postgres://app:hunter2@db/app\"\n";
    for (text, line, key, reason) in [
        (
            "owner_url = \"postgres://owner:hunter2@db/app\"",
            2,
            "owner_url",
            "without `databases.url`",
        ),
        (
            "replica_url = \"postgres://app:hunter2@db2/app\"",
            2,
            "replica_url",
            "without `databases.url`",
        ),
        ("isolation = \"schema\"", 2, "isolation", "`file` would"),
        ("isolation = \"database\"", 2, "isolation", "no `databases.url`"),
        (
            "url = \"mysql://app:hunter2@db/app\"\nisolation = \"schema\"",
            3,
            "isolation",
            "MySQL or MariaDB",
        ),
        (
            "url = \"mysql://app:hunter2@db/app\"\nisolation = \"row\"",
            3,
            "isolation",
            "`database` would",
        ),
        (
            "url = \"postgres://app:hunter2@db/app\"\nisolation = \"sqlite\"",
            3,
            "isolation",
            "PostgreSQL",
        ),
        (
            "url = \"mysql://a:hunter2@db/app\"\nowner_url = \"postgres://o:hunter2@db/app\"",
            3,
            "owner_url",
            "another scheme",
        ),
        (
            "url = \"postgres://a:hunter2@db/app\"\nreplica_url = \"mysql://o:hunter2@db/app\"",
            3,
            "replica_url",
            "another scheme",
        ),
        (
            "url = \"postgres://a:hunter2@db/app\"\nowner_url = \"oracle://o:hunter2@db/app\"",
            3,
            "owner_url",
            "must begin with",
        ),
        (
            "url = \"sqlite:files\"\nreplica_url = \"sqlite:others\"",
            3,
            "replica_url",
            "neither owner nor replica",
        ),
        (
            "url = \"sqlite:files\"\nowner_url = \"postgres://o:hunter2@db/app\"",
            3,
            "owner_url",
            "neither owner nor replica",
        ),
        ("url = \"hunter2\"", 2, "url", "must begin with"),
        (
            "behind_transaction_pooler = true",
            2,
            "behind_transaction_pooler",
            "SQLite",
        ),
        (
            "extra_path = [\"extensions\"]",
            2,
            "extra_path",
            "isolation = \"schema\"",
        ),
        ("budget = 0", 2, "budget", "above 0"),
        ("max_tenants = 0", 2, "max_tenants", "above 0"),
        ("max_per_tenant = 0", 2, "max_per_tenant", "above 0"),
        ("connect_timeout_ms = 0", 2, "connect_timeout_ms", "above 0"),
        ("max_lifetime_ms = 0", 2, "max_lifetime_ms", "above 0"),
        ("budget = -1", 2, "budget", "`-1`"),
        ("isolation = \"none\"", 2, "isolation", "`none`"),
        ("owner = \"x\"", 2, "owner", "unknown key `owner`"),
    ] {
        let text = format!("[databases]\n{text}\n");
        assert_refused(
            &text,
            &format!("s.toml:{line}"),
            &format!("databases.{key}"),
            reason,
        );
    }
    for (text, line, key, reason) in [
        (
            "[databases.servers.eu]\nurl = \"mysql://app:hunter2@db/app\"",
            4,
            "eu.url",
            "all servers",
        ),
        (
            "[databases.servers.eu]\nurl = \"hunter2\"",
            4,
            "eu.url",
            "must begin with",
        ),
        ("[databases.servers.eu]", 3, "eu.url", "missing"),
        ("[databases.servers.eu]\n\nbudget = 3", 3, "eu.url", "missing"),
        (
            "[databases.servers.eu]\nurl = \"postgres://a@db/app\"\nbudget = 0",
            5,
            "eu.budget",
            "above 0",
        ),
        (
            "[databases.servers.eu]\nurl = \"postgres://a@db/app\"\nowner_url = \"mysql://o:hunter2@db/app\"",
            5,
            "eu.owner_url",
            "databases.servers.eu.url",
        ),
        (
            "[databases.servers.eu]\nurl = \"postgres://a@db/app\"\nisolation = \"rows\"",
            5,
            "eu.isolation",
            "unknown key `isolation`",
        ),
        (
            "[databases.servers.main]\nurl = \"postgres://a@db/app\"",
            3,
            "main",
            "choose another one",
        ),
        (
            "[databases.servers.EU]\nurl = \"postgres://a@db/app\"",
            3,
            "EU",
            "a-z",
        ),
        (
            "[databases.servers.\"\"]\nurl = \"postgres://a@db/app\"",
            3,
            "",
            "a-z",
        ),
        (
            "[databases.servers.\"eu.west\"]\nurl = \"postgres://a@db/app\"",
            3,
            "eu.west",
            "no dot",
        ),
        (
            "servers.eu = \"postgres://app:hunter2@db/app\"",
            3,
            "eu",
            "[databases.servers.eu]",
        ),
    ] {
        let text = format!("{MAIN}{text}\n");
        assert_refused(
            &text,
            &format!("s.toml:{line}"),
            &format!("databases.servers.{key}"),
            reason,
        );
    }
    let text = format!("{MAIN}servers = \"postgres://app:hunter2@db/app\"\n");
    assert_refused(&text, "s.toml:3", "databases.servers", "[databases.servers.eu]");
}

#[test]
fn variables_of_servers_that_name_no_key_are_refused_without_their_value() {
    for (name, key) in [
        ("TENANCY__DATABASES__SERVERS", "databases.servers"),
        ("TENANCY__DATABASES__SERVERS__EU", "databases.servers.eu"),
    ] {
        let found = mistakes(Sources::new().variables([(name, "postgres://app:hunter2@db/app")]));
        let [(source, of, reason)] = &found[..] else {
            panic!("{found:#?}");
        };
        assert_eq!((source.as_str(), of.as_str()), (name, key));
        assert!(
            reason.contains("TENANCY__DATABASES__SERVERS__EU__URL"),
            "{reason}"
        );
        assert!(!reason.contains("hunter2"), "{reason}");
    }
    let variables = [("TENANCY__DATABASES__SERVERS__EU__PORT", "5432")];
    let found = mistakes(Sources::new().variables(variables));
    assert_eq!(found[0].1, "databases.servers.eu.port");
    assert!(found[0].2.contains("unknown key `port`"), "{found:?}");
}

#[test]
fn the_pool_of_the_catalogue_must_make_sense() {
    for (text, line, key, reason) in [
        ("pool_max = 1", 2, "pool_max", "2 at least"),
        ("pool_max = 4", 0, "pool_min", "above `catalogue.pool_max`, 4"),
        ("pool_min = 30", 2, "pool_min", "above `catalogue.pool_max`, 20"),
        ("connect_timeout_ms = 0", 2, "connect_timeout_ms", "above 0"),
        ("wait_timeout_ms = 0", 2, "wait_timeout_ms", "above 0"),
    ] {
        let source = match line {
            0 => "default".to_owned(),
            line => format!("s.toml:{line}"),
        };
        let text = format!("[catalogue]\n{text}\n");
        assert_refused(&text, &source, &format!("catalogue.{key}"), reason);
    }
}

#[test]
fn the_catalogue_is_beside_the_tenants_unless_something_else_is_said() {
    const OWNER: &str = "postgres://owner@db/app";
    let databases = format!("[databases]\nurl = \"postgres://app@db/app\"\nowner_url = \"{OWNER}\"\n");
    for (text, expected) in [
        (String::new(), None),
        ("databases.url = \"postgres://app@db/app\"\n".to_owned(), None),
        (databases.clone(), Some(OWNER)),
        (
            format!("{databases}[catalogue]\nurl = \"postgres://owner@other/app\"\n"),
            Some("postgres://owner@other/app"),
        ),
        (format!("{databases}[catalogue]\ndatabase = \"app.db\"\n"), None),
    ] {
        let settings = from_text(&text);
        assert_eq!(
            settings.catalogue_url().map(|url| url.as_str()),
            expected,
            "{text}"
        );
    }
}

#[test]
fn passwords_of_all_servers_are_shown_by_nothing() {
    let url = |role: &str| format!("\"postgres://{role}:hunter2@db/app?password=hunter2\"");
    let (app, owner) = (url("app"), url("owner"));
    let urls = format!("url = {app}\nowner_url = {owner}\nreplica_url = {app}\n");
    let cache = "[cache]\nredis_url = \"redis://:hunter2@cache/0\"\n";
    let text = format!("[databases]\nisolation = \"rows\"\n{urls}[databases.servers.eu]\n{urls}{cache}");
    let loaded = Sources::new().text("s.toml", text).load().unwrap();
    let databases = &loaded.settings.databases;
    assert_eq!(databases.isolation, Some(IsolationName::Rows));
    assert!(
        databases.servers["eu"]
            .owner_url
            .as_ref()
            .unwrap()
            .as_str()
            .contains("hunter2")
    );
    for shown in [
        format!("{loaded:?}"),
        format!("{loaded:#?}"),
        toml::to_string(&loaded.settings).unwrap(),
        serde_json::to_string(&loaded.settings).unwrap(),
    ] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

mod homes {
    use super::*;
    use tenancy_sqlx::database::TenantHomes;

    #[test]
    fn servers_are_those_of_the_settings_and_show_no_password() {
        let text = "[databases]\nurl = \"mysql://app:hunter2@db/app\"\nowner_url = \"mariadb://o:hunter2@db/app\"\n\
                    [databases.servers.us]\nurl = \"mariadb://app:hunter2@db.us/app\"\n\
                    [databases.servers.eu]\nurl = \"mysql://app:hunter2@db.eu/app\"\nbudget = 3\n";
        let homes = from_text(text).homes::<sqlx::MySql>().unwrap();
        assert!(!format!("{homes:?}").contains("hunter2"));
        let homes: TenantHomes<sqlx::MySql> = homes.build().unwrap();
        assert_eq!(homes.servers().collect::<Vec<_>>(), ["main", "eu", "us"]);
    }
}
