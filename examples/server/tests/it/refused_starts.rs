//! Starts that fail: each says what is wrong, where, and what to do.

use tempfile::tempdir;

use crate::support::Launch;

#[tokio::test]
async fn a_tenants_file_with_mistakes_is_refused_with_file_line_and_reason() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("t.toml");
    for (text, expected) in [
        (
            "[[tenant]]\nslug = \"twice\"\n[[tenant]]\nslug = \"twice\"\n",
            &[(4, "same as in line 2")][..],
        ),
        (
            "[[tenant]]\nslug = \"acme\"\ncolour = 1\n",
            &[(3, "unknown key `colour`")],
        ),
        ("[[tenant]]\nslug = \"Not A Name\"\n", &[(2, "\"Not A Name\"")]),
        ("[[tenant]]\nslug = \"acme\n", &[(2, "")]),
        (
            "tenants = 1\n[[tenant]]\nplan = 5\nslug = \"www\"\n",
            &[(1, "unknown key `tenants`"), (3, "`plan`"), (4, "reserved")],
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = Launch::with_data_in(directory.path())
            .arg("--tenants")
            .arg(&file)
            .refused()
            .await;
        for (line, reason) in expected {
            let place = format!("{}:{line}: ", file.display());
            let said = error
                .lines()
                .any(|said| said.contains(&place) && said.contains(reason));
            assert!(said, "{place}{reason} is not in {error}");
        }
    }
    assert!(
        !directory.path().join("catalogue.sqlite").exists(),
        "nothing is made for a start that fails"
    );
}

#[tokio::test]
async fn a_tenants_file_that_is_not_there_is_named() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("missing.toml");
    let launch = Launch::with_data_in(directory.path()).arg("--tenants").arg(&file);
    let error = launch.refused().await;
    assert!(
        error.contains(&file.display().to_string()) && error.contains("No such file"),
        "{error}"
    );
}

#[tokio::test]
async fn a_domain_of_another_tenant_is_refused_and_the_others_are_registered() {
    let directory = tempdir().unwrap();
    Launch::with_data_in(directory.path()).start().await.end().await;
    let file = directory.path().join("t.toml");
    let text =
        "[[tenant]]\nslug = \"thief\"\ndomains = [\"shop.acme.example\"]\n[[tenant]]\nslug = \"hooli\"\n";
    std::fs::write(&file, text).unwrap();
    let launch = Launch::with_data_in(directory.path()).arg("--tenants").arg(&file);
    let error = launch.refused().await;
    assert!(
        error.contains("thief: ") && error.contains("shop.acme.example"),
        "{error}"
    );

    let server = Launch::with_data_in(directory.path()).start().await;
    assert_eq!(server.get("hooli.localhost", "/").await.status, 200);
    assert_eq!(server.get("thief.localhost", "/").await.status, 404);
    assert_eq!(
        server.get("shop.acme.example", "/").await.json()["tenant"],
        "acme"
    );
}

#[tokio::test]
async fn a_data_directory_that_can_not_be_made_is_named_with_what_to_do() {
    let directory = tempdir().unwrap();
    let in_the_way = directory.path().join("file");
    std::fs::write(&in_the_way, "").unwrap();
    for data in [in_the_way.join("data"), in_the_way] {
        let error = Launch::with_data_in(directory.path())
            .arg("--data-dir")
            .arg(&data)
            .run()
            .await;
        assert_eq!(error.status.code(), Some(2), "given twice: {}", error.stderr);
        let error = Launch::bare(directory.path())
            .arg("--data-dir")
            .arg(&data)
            .refused()
            .await;
        assert!(
            error.contains(&data.display().to_string()) && error.contains("--data-dir"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_catalogue_that_is_none_is_left_alone_and_named() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("catalogue.sqlite");
    let text = "these are the minutes of a meeting, and no database at all\n".repeat(20);
    std::fs::write(&file, &text).unwrap();
    let error = Launch::with_data_in(directory.path()).refused().await;
    assert!(
        error.contains("is not a SQLite file") && error.contains("catalogue.sqlite"),
        "{error}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}

#[tokio::test]
async fn a_taken_port_is_named_with_what_to_do() {
    let directory = tempdir().unwrap();
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let launch = Launch::bare(directory.path()).arg("--listen").arg(&address);
    let error = launch.refused().await;
    assert!(
        error.contains(&address) && error.contains("choose another port"),
        "{error}"
    );
}

#[tokio::test]
async fn all_mistakes_in_settings_are_said_at_once_with_their_sources() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("s.toml");
    std::fs::write(&file, "[tenancy]\nbase_domain = \"example.com\"\n\n[sever]\n").unwrap();
    let error = Launch::with_data_in(directory.path())
        .arg("--settings")
        .arg(&file)
        .arg("--trust-proxy")
        .arg("10.0.0.0/33")
        .arg("--base-domain")
        .arg("co.uk")
        .env("TENANCY__TENANCY__DEADLINE_MS", "soon")
        .refused()
        .await;
    let file = file.display();
    for expected in [
        &format!("{file}:2: tenancy.base_domain: unknown key"),
        &format!("{file}:4: sever: unknown key"),
        "--trust-proxy: tenancy.trust_proxies: trusted proxy \"10.0.0.0/33\"",
        "--base-domain: tenancy.base_domains: base domain \"co.uk\"",
        "TENANCY__TENANCY__DEADLINE_MS: tenancy.deadline_ms: ",
    ] {
        let said = error
            .lines()
            .any(|line| line.trim_start_matches("  - ").starts_with(expected));
        assert!(said, "{expected} is not in {error}");
    }
}

#[tokio::test]
async fn a_settings_file_that_is_not_there_is_named() {
    let directory = tempdir().unwrap();
    let launch = Launch::with_data_in(directory.path())
        .arg("--settings")
        .arg("missing.toml");
    let error = launch.refused().await;
    assert!(error.contains("missing.toml: it can not be read"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_not_unicode_is_refused_and_not_passed_over() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let directory = tempdir().unwrap();
    let option = Launch::bare(directory.path())
        .arg("--data-dir")
        .arg(OsStr::from_bytes(b"donn\xe9es"));
    assert_eq!(option.run().await.status.code(), Some(2));

    let launch = Launch::bare(directory.path())
        .env("TENANCY__CATALOGUE__DATA_DIR", OsStr::from_bytes(b"donn\xe9es"))
        .env("TENANCY_OTHER", OsStr::from_bytes(b"\xe9"));
    let error = launch.refused().await;
    assert!(
        error.contains("TENANCY__CATALOGUE__DATA_DIR: catalogue.data_dir: it is not Unicode"),
        "{error}"
    );
    assert!(!error.contains("TENANCY_OTHER"), "{error}");
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused_by_name() {
    let directory = tempdir().unwrap();
    for (arguments, expected) in [
        (&["--listen", "8000"][..], "--listen"),
        (&["--port", "8000"], "--port"),
        (&["serve"], "serve"),
    ] {
        let launch = arguments.iter().fold(Launch::bare(directory.path()), Launch::arg);
        let ended = launch.run().await;
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}");
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    }
}
