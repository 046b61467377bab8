//! Starts that succeed: what they need, what they say, whom they listen to.

use tempfile::tempdir;

use crate::support::{Launch, Server};

/// Sends what a printed `curl` line sends.
async fn try_out(server: &Server, line: &str) -> u16 {
    let quoted = |after: &str| Some(line.split_once(after)?.1.split('\'').next()?.to_owned());
    let host = quoted("-H 'Host: ").unwrap_or_else(|| server.address.to_string());
    let url = line.split("http://").nth(1).unwrap();
    let (address, path) = url.split_at(url.find('/').unwrap());
    assert_eq!(address, server.address.to_string());
    let answer = match quoted("-d '") {
        Some(body) => server.post(&host, path, &body).await,
        None => server.get(&host, path).await,
    };
    answer.status
}

#[tokio::test]
async fn a_data_directory_is_enough_and_what_is_said_can_be_tried() {
    let directory = tempdir().unwrap();
    let server = Launch::with_data_in(&directory.path().join("made/by/itself"))
        .start()
        .await;
    let said = server.said();
    assert!(said.contains("(3 new tenants)"), "{said}");
    let mut statuses = Vec::new();
    for line in said.lines().filter(|line| line.trim().starts_with("curl ")) {
        statuses.push(try_out(&server, line).await);
    }
    assert_eq!(statuses, [200, 201, 200, 200, 404, 200, 200], "{said}");
    assert!(said.contains("cache: in this process alone\n"), "{said}");
    let by_name = format!("http://acme.localhost:{}/", server.address.port());
    assert!(said.contains(&by_name), "{said}");
}

#[tokio::test]
async fn not_even_that_is_needed() {
    let directory = tempdir().unwrap();
    let server = Launch::bare(directory.path())
        .env("TENANCY__SERVER__LISTEN", "127.0.0.1:0")
        .start()
        .await;
    assert_eq!(server.get("acme.localhost", "/").await.status, 200);
    assert!(directory.path().join("tenancy-data/catalogue.sqlite").is_file());
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_kept_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempdir().unwrap();
    let data = directory.path().join("data");
    let _server = Launch::with_data_in(&data).start().await;
    let mode = data.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}

#[tokio::test]
async fn help_has_every_option_and_version_is_one_line() {
    let directory = tempdir().unwrap();
    let help = Launch::bare(directory.path()).arg("--help").run().await;
    assert!(help.status.success());
    for option in [
        "--listen <ADDRESS>",
        "--base-domain <DOMAIN>",
        "--data-dir <DIRECTORY>",
        "--database-url <URL>",
        "--owner-url <URL>",
        "--isolation <HOW>",
        "--redis-url <URL>",
        "--tenants <FILE>",
        "--settings <FILE>",
        "--trust-proxy <CIDR>",
        "--debug-tenant <ID>",
        "TENANCY__SECTION__KEY",
    ] {
        assert!(help.stdout.contains(option), "{option} in {}", help.stdout);
    }
    let version = Launch::bare(directory.path()).arg("--version").run().await;
    assert_eq!(
        version.stdout,
        concat!("example-server ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[tokio::test]
async fn options_beat_variables_which_beat_the_settings_file() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("s.toml");
    let text = "[server]\nlisten = \"127.0.0.1:1\"\n[tenancy]\nbase_domains = [\"file.test\"]\nbody_limit_bytes = 20\n";
    std::fs::write(&file, text).unwrap();
    let launch = || {
        Launch::with_data_in(directory.path())
            .arg("--settings")
            .arg(&file)
    };

    let by_file = launch().start().await;
    assert_eq!(by_file.get("acme.file.test", "/").await.status, 200);
    let too_large = by_file
        .post("acme.file.test", "/notes", r#"{"text":"0123456789"}"#)
        .await;
    assert_eq!(too_large.status, 413);
    by_file.end().await;

    let variable = ("TENANCY__TENANCY__BASE_DOMAINS", "variable.test,also.test");
    let by_variable = launch().env(variable.0, variable.1).start().await;
    for (host, status) in [
        ("acme.variable.test", 200),
        ("acme.also.test", 200),
        ("acme.file.test", 404),
    ] {
        assert_eq!(by_variable.get(host, "/").await.status, status, "{host}");
    }
    by_variable.end().await;

    let options = ["--base-domain", "example.test", "--base-domain", "option.test"];
    let by_option = options
        .into_iter()
        .fold(launch().env(variable.0, variable.1), Launch::arg)
        .start()
        .await;
    for (host, status) in [
        ("acme.example.test", 200),
        ("acme.option.test", 200),
        ("acme.variable.test", 404),
        ("acme.localhost", 404),
    ] {
        assert_eq!(by_option.get(host, "/").await.status, status, "{host}");
    }
    assert!(
        by_option.said().contains("Host: acme.example.test'"),
        "{}",
        by_option.said()
    );
    assert!(
        !by_option.said().contains("browsers"),
        "other names are not resolved by themselves"
    );
}

#[tokio::test]
async fn variables_of_others_are_ignored_with_one_warning() {
    let directory = tempdir().unwrap();
    let server = Launch::with_data_in(directory.path())
        .env("TENANCY_PORT", "tcp://10.0.0.1:80")
        .env("TENANCY_SERVICE_HOST", "10.0.0.1")
        .start()
        .await;
    let log = server.end().await.stderr;
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("WARN")).collect();
    let [warning] = &warnings[..] else { panic!("{log}") };
    assert!(
        warning.contains("TENANCY_PORT, TENANCY_SERVICE_HOST"),
        "{warning}"
    );
}

#[tokio::test]
async fn the_log_is_json_when_settings_say_so() {
    let directory = tempdir().unwrap();
    let server = Launch::with_data_in(directory.path())
        .env("TENANCY__LOG__FORMAT", "json")
        .start()
        .await;
    let log = server.end().await.stderr;
    let lines = log.lines().map(serde_json::from_str::<serde_json::Value>);
    let lines: Vec<_> = lines.collect::<Result<_, _>>().unwrap();
    assert!(!lines.is_empty(), "the closing line at least");
}

#[tokio::test]
async fn each_line_of_the_log_says_for_which_tenant_it_is_and_one_tenant_has_more() {
    let directory = tempdir().unwrap();
    let server = Launch::with_data_in(directory.path())
        .arg("--debug-tenant")
        .arg("acme")
        .start()
        .await;
    for host in ["acme.localhost", "globex.localhost"] {
        server.add_note(host, "a").await;
        assert_eq!(server.notes(host).await, ["a"]);
    }
    let log = server.end().await.stderr;
    let of = |what: &str| {
        let lines = log.lines().filter(|line| line.contains(what));
        lines
            .map(|line| line.rsplit(' ').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("a note was added"), ["tenant=acme", "tenant=globex"], "{log}");
    assert_eq!(
        of("DEBUG example_server::routes: listed"),
        ["tenant=acme"],
        "{log}"
    );
    assert!(!of("no more connections").concat().contains("tenant"), "{log}");
}

#[tokio::test]
async fn a_restart_keeps_tenants_and_notes() {
    let directory = tempdir().unwrap();
    let first = Launch::with_data_in(directory.path()).start().await;
    first.add_note("acme.localhost", "kept").await;
    first.end().await;
    let second = Launch::with_data_in(directory.path()).start().await;
    assert!(second.said().contains("(0 new tenants)"), "{}", second.said());
    assert_eq!(second.notes("acme.localhost").await, ["kept"]);
    assert_eq!(second.notes("shop.acme.example").await, ["kept"]);
}

#[tokio::test]
async fn tenants_come_from_the_file_that_is_given() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("t.toml");
    std::fs::write(
        &file,
        "[[tenant]]\nslug = \"hooli\"\ndomains = [\"www.hooli.example\"]\n",
    )
    .unwrap();
    let server = Launch::with_data_in(directory.path())
        .arg("--tenants")
        .arg(&file)
        .start()
        .await;
    assert!(server.said().contains("(1 new tenants)") && server.said().contains("Host: hooli.localhost'"));
    assert_eq!(server.get("hooli.localhost", "/").await.status, 200);
    assert_eq!(server.get("www.hooli.example", "/").await.status, 200);
    assert_eq!(server.get("acme.localhost", "/").await.status, 404);
}
