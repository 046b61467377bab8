//! Notes of tenants, and what becomes of them when something is away.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tenancy_sqlx::{
    NewTenant,
    store::{SqlStore, SqlStoreOptions},
};
use tenancy_test::servers::{Postgres, PostgresOptions, Role};

use super::place::{Database, ON_POSTGRES, Place};
use crate::support::{Server, until};

async fn becomes(server: &Server, host: &str, path: &str, status: u16) {
    let what = format!("{status} for {host}{path}");
    until(&what, async || server.get(host, path).await.status == status).await;
}

#[tokio::test]
async fn each_tenant_sees_its_own_notes_and_a_restart_keeps_them() {
    for place in Place::all("each_tenant_sees_its_own_notes").await {
        let at = place.isolation;
        let (acme, globex) = (place.host("acme"), place.host("globex"));
        let first = place.launch(&["acme", "globex"]).start().await;
        assert!(first.said().contains("(2 new tenants)"), "{}", first.said());
        let kind = match at {
            "row" => "tenants: rows of shared tables, behind policies, ".to_owned(),
            other => format!("tenants: a {other} for each, "),
        };
        assert!(first.said().contains(&kind), "{}", first.said());
        for host in [&acme, &globex] {
            assert!(first.notes(host).await.is_empty(), "{at}");
        }
        first
            .add_note(&acme, "of acme \u{1f98a} '; DROP TABLE notes;--")
            .await;
        first.add_note(&globex, "of globex").await;
        first.add_note(&acme, "the second").await;
        let expected = ["the second", "of acme \u{1f98a} '; DROP TABLE notes;--"];
        assert_eq!(first.notes(&acme).await, expected, "{at}");
        assert_eq!(first.notes(&globex).await, ["of globex"], "{at}");
        let ended = first.end().await;

        let second = place.launch(&["acme", "globex"]).start().await;
        assert!(second.said().contains("(0 new tenants)"), "{}", second.said());
        assert_eq!(second.notes(&acme).await, expected, "{at}");
        assert_eq!(second.notes(&globex).await, ["of globex"], "{at}");
        second.add_note(&globex, "after the restart").await;
        assert_eq!(second.notes(&globex).await.len(), 2, "{at}");

        for file in ["catalogue.sqlite", "tenants"] {
            assert!(!place.data().join(file).exists(), "{file}: {at}");
        }
        for log in [&ended.stderr, &second.log()] {
            assert!(!log.contains("WARN") && !log.contains("ERROR"), "{at}: {log}");
        }
        let said = [&ended.stdout, &ended.stderr, &second.said(), &second.log()].map(String::clone);
        let password = place.password();
        assert!(!said.concat().contains(password), "{at}: {said:?}");
    }
}

/// Which tenants are where they are not known to each other is seen in the database itself.
#[tokio::test]
async fn notes_are_where_the_isolation_says() {
    for isolation in ON_POSTGRES {
        let place = Place::on_postgres("where_notes_are", isolation).await;
        let server = place.launch(&["acme"]).start().await;
        server.add_note(&place.host("acme"), "here").await;
        let Database::Postgres(database) = &place.database else {
            unreachable!("it is on PostgreSQL")
        };
        let home = format!("tenant_{}", place.tenant("acme"));
        let (url, table) = match isolation {
            "database" => (database.server().url(Role::Admin, &home), "notes".to_owned()),
            "schema" => (database.admin_url(), format!("\"{home}\".notes")),
            _ => (database.admin_url(), "notes".to_owned()),
        };
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let count = format!("SELECT count(*) FROM {table}");
        let count = sqlx::query_scalar::<_, i64>(AssertSqlSafe(count));
        assert_eq!(count.fetch_one(&mut connection).await.unwrap(), 1, "{isolation}");
        connection.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_tenant_whose_home_was_dropped_is_refused_alone() {
    for place in Place::all("home_was_dropped").await {
        if place.isolation == "row" {
            continue;
        }
        let at = place.isolation;
        let (acme, globex) = (place.host("acme"), place.host("globex"));
        let server = place.launch(&["acme", "globex"]).start().await;
        for host in [&acme, &globex] {
            server.add_note(host, "kept").await;
        }
        place.drop_home("acme").await;
        becomes(&server, &acme, "/notes", 503).await;
        let refused = server.get(&acme, "/notes").await;
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
        assert!(
            !refused.body.contains("tenant_") && !refused.body.contains("notes"),
            "{refused:?}"
        );
        assert_eq!(server.notes(&globex).await, ["kept"], "{at}");
        assert_eq!(
            server.get(&acme, "/whoami").await.status,
            200,
            "needs no database: {at}"
        );
        server.end().await;

        let again = place.launch(&["acme", "globex"]).start().await;
        assert_eq!(
            again.get(&acme, "/notes").await.status,
            503,
            "nothing is made over what was lost: {at}"
        );
        assert_eq!(again.notes(&globex).await, ["kept"], "{at}");
    }
}

#[tokio::test]
async fn while_the_server_of_databases_is_down_tenants_are_told_so_and_then_all_is_well_again() {
    for isolation in ON_POSTGRES {
        let server = Postgres::start(PostgresOptions::new()).await.unwrap();
        let database = server.database("down_and_up").await;
        let place = Place::of(Database::Postgres(database), isolation);
        let hosts = [place.host("acme"), place.host("globex")];
        let example = place.launch(&["acme", "globex"]).start().await;
        for host in &hosts {
            example.add_note(host, "kept").await;
        }
        server.stop().await;
        for host in &hosts {
            let refused = example.get(host, "/notes").await;
            assert_eq!(refused.status, 503, "{isolation}: {refused:?}");
            assert!(refused.header("retry-after").is_some(), "{refused:?}");
            assert_eq!(example.get(host, "/whoami").await.status, 200, "{isolation}");
        }
        server.restart().await.unwrap();
        for host in &hosts {
            becomes(&example, host, "/notes", 200).await;
            assert_eq!(example.notes(host).await, ["kept"], "{isolation}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_of_many_tenants_see_no_note_of_another() {
    const TENANTS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    const CLIENTS: usize = 32;
    const NOTES: usize = 6;
    for place in Place::all("many_clients").await {
        // Fewer connections than tenants: they go from one to another all the time.
        let launch = place.launch(&TENANTS).env("TENANCY__DATABASES__BUDGET", "5");
        let server = launch
            .env("TENANCY__DATABASES__WAIT_TIMEOUT_MS", "60000")
            .start()
            .await;
        let server = std::sync::Arc::new(server);
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..CLIENTS {
            let server = std::sync::Arc::clone(&server);
            let name = TENANTS[client % TENANTS.len()];
            let host = place.host(name);
            clients.spawn(async move {
                for note in 0..NOTES {
                    server.add_note(&host, &format!("{name} {client} {note}")).await;
                    for text in server.notes(&host).await {
                        assert!(text.starts_with(&format!("{name} ")), "{text} for {name}");
                    }
                }
            });
        }
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
        for name in TENANTS {
            let notes = server.notes(&place.host(name)).await;
            assert_eq!(
                notes.len(),
                NOTES * CLIENTS / TENANTS.len(),
                "{}: {notes:?}",
                place.isolation
            );
        }
    }
}

#[tokio::test]
async fn a_tenant_that_another_process_creates_gets_its_home_while_the_server_runs() {
    for place in Place::all("created_meanwhile").await {
        let at = place.isolation;
        let server = place.launch(&["acme"]).start().await;
        let [_, owner] = place.urls();
        let other = SqlStore::open(SqlStoreOptions::url(&owner).unwrap())
            .await
            .unwrap();
        other.create(NewTenant::new(place.tenant("hooli"))).await.unwrap();
        let hooli = place.host("hooli");
        becomes(&server, &hooli, "/notes", 200).await;
        server.add_note(&hooli, "mine").await;
        assert_eq!(server.notes(&hooli).await, ["mine"], "{at}");
        assert!(server.notes(&place.host("acme")).await.is_empty(), "{at}");
        server.end().await;

        other.create(NewTenant::new(place.tenant("pied"))).await.unwrap();
        other.close().await;
        let again = place.launch(&["acme"]).start().await;
        again
            .add_note(&place.host("pied"), "created while none ran")
            .await;
        assert_eq!(again.notes(&hooli).await, ["mine"], "{at}");
    }
}
