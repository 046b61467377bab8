//! The catalogue, changed by another process and gone for a while.

use std::path::Path;

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::tempdir;
use tenancy_sqlx::{NewTenant, store::SqlStore};

use crate::support::{Launch, Server, until};

/// What another process, the command line for instance, changes tenants through.
async fn other_process(directory: &Path) -> SqlStore {
    SqlStore::connect(directory.join("catalogue.sqlite"))
        .await
        .unwrap()
}

async fn becomes(server: &Server, host: &str, status: u16) {
    let what = format!("{status} for {host}");
    until(&what, async || server.get(host, "/whoami").await.status == status).await;
}

/// Its home is made by the server that runs.
async fn has_a_home(server: &Server, host: &str) {
    let what = format!("a home of {host}");
    until(&what, async || server.get(host, "/notes").await.status == 200).await;
}

#[tokio::test]
async fn what_another_process_changes_is_seen_without_a_restart() {
    let directory = tempdir().unwrap();
    let server = Launch::with_data_in(directory.path()).start().await;
    let other = other_process(directory.path()).await;

    assert_eq!(server.get("hooli.localhost", "/whoami").await.status, 404);
    let mut hooli = NewTenant::new("hooli");
    hooli.domains = vec!["www.hooli.example".into()];
    let hooli = other.create(hooli).await.unwrap().record.id;
    becomes(&server, "hooli.localhost", 200).await;
    assert_eq!(
        server.get("www.hooli.example", "/whoami").await.json()["tenant"],
        hooli.as_str()
    );
    has_a_home(&server, "hooli.localhost").await;
    server.add_note("hooli.localhost", "mine").await;

    other.suspend(&hooli).await.unwrap();
    becomes(&server, "hooli.localhost", 403).await;
    assert_eq!(server.get("www.hooli.example", "/notes").await.status, 403);
    assert_eq!(server.get("hooli.localhost", "/about").await.status, 403);
    other.resume(&hooli).await.unwrap();
    becomes(&server, "hooli.localhost", 200).await;
    assert_eq!(server.notes("hooli.localhost").await, ["mine"]);

    other.remove_domain(&hooli, "www.hooli.example").await.unwrap();
    becomes(&server, "www.hooli.example", 404).await;
    other.delete(&hooli).await.unwrap();
    becomes(&server, "hooli.localhost", 404).await;
    other.restore(&hooli).await.unwrap();
    becomes(&server, "hooli.localhost", 403).await;
    other.resume(&hooli).await.unwrap();
    becomes(&server, "hooli.localhost", 200).await;
    assert_eq!(server.notes("hooli.localhost").await, ["mine"]);
}

#[tokio::test]
async fn a_slug_that_is_given_anew_sees_nothing_of_its_last_owner() {
    let directory = tempdir().unwrap();
    let server = Launch::with_data_in(directory.path()).start().await;
    let other = other_process(directory.path()).await;
    server.add_note("globex.localhost", "of the first owner").await;
    let first = server.get("globex.localhost", "/whoami").await.json();

    let id = first["tenant"].as_str().unwrap().parse().unwrap();
    other.delete(&id).await.unwrap();
    other.force_purge(&id).await.unwrap();
    becomes(&server, "globex.localhost", 404).await;
    other.create(NewTenant::new("globex")).await.unwrap();
    becomes(&server, "globex.localhost", 200).await;
    has_a_home(&server, "globex.localhost").await;
    let second = server.get("globex.localhost", "/whoami").await.json();
    assert_ne!(
        (&first["tenant"], &first["incarnation"]),
        (&second["tenant"], &second["incarnation"])
    );
    assert!(server.notes("globex.localhost").await.is_empty());
}

#[tokio::test]
async fn a_second_server_on_the_same_data_works_beside_the_first() {
    let directory = tempdir().unwrap();
    let first = Launch::with_data_in(directory.path()).start().await;
    let second = Launch::with_data_in(directory.path()).start().await;
    assert!(second.said().contains("(0 new tenants)"), "{}", second.said());
    first.add_note("acme.localhost", "by the first").await;
    second.add_note("acme.localhost", "by the second").await;
    for server in [&first, &second] {
        assert_eq!(
            server.notes("acme.localhost").await,
            ["by the second", "by the first"]
        );
    }

    let file = directory.path().join("t.toml");
    std::fs::write(&file, "[[tenant]]\nslug = \"hooli\"\n").unwrap();
    let third = Launch::with_data_in(directory.path()).arg("--tenants").arg(&file);
    third.start().await.end().await;
    for server in [&first, &second] {
        becomes(server, "hooli.localhost", 200).await;
    }
    first.end().await;
    assert_eq!(second.notes("acme.localhost").await.len(), 2);
}

#[tokio::test]
async fn while_the_catalogue_is_away_known_tenants_are_served_and_nobody_else_is_denied() {
    let directory = tempdir().unwrap();
    let server = Launch::with_data_in(directory.path()).start().await;
    server.add_note("acme.localhost", "still here").await;
    let file = SqliteConnectOptions::new().filename(directory.path().join("catalogue.sqlite"));
    let mut saboteur = SqliteConnection::connect_with(&file).await.unwrap();

    sqlx::query("ALTER TABLE tenants RENAME TO elsewhere")
        .execute(&mut saboteur)
        .await
        .unwrap();
    becomes(&server, "nobody.localhost", 503).await;
    let unclear = server.get("nobody.localhost", "/whoami").await;
    assert!(unclear.header("retry-after").is_some(), "{unclear:?}");
    for host in ["acme.localhost", "shop.acme.example"] {
        let home = server.get(host, "/").await;
        assert_eq!(
            (home.status, &home.json()["source"]),
            (200, &"stale".into()),
            "{home:?}"
        );
        assert_eq!(server.notes(host).await, ["still here"]);
    }
    assert_eq!(
        server.get("localhost", "/").await.status,
        200,
        "the central side needs no catalogue"
    );
    assert!(
        !unclear.body.contains("elsewhere") && !unclear.body.contains("table"),
        "{unclear:?}"
    );

    sqlx::query("ALTER TABLE elsewhere RENAME TO tenants")
        .execute(&mut saboteur)
        .await
        .unwrap();
    becomes(&server, "nobody.localhost", 404).await;
    until("a fresh list", async || {
        server.get("acme.localhost", "/").await.json()["source"] == "snapshot"
    })
    .await;
    server.end().await;
}
