//! Tables that tenants share, under policies.

use tenancy_core::TenantRecord;
use tenancy_sqlx::transfer::{Export, Import};

use super::fixture::{Homes, Kind, LEDGER, forge, text_of};

fn shared(name: &str, columns: &str) -> String {
    format!(
        "CREATE TABLE {name} (tenant_id text NOT NULL DEFAULT nullif(current_setting('app.tenant', true), ''), {columns});
         ALTER TABLE {name} ENABLE ROW LEVEL SECURITY;
         ALTER TABLE {name} FORCE ROW LEVEL SECURITY;
         CREATE POLICY of_tenant ON {name}
             USING (tenant_id = nullif(current_setting('app.tenant', true), ''))
             WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), ''));"
    )
}

async fn homes(name: &str) -> (Homes, TenantRecord, TenantRecord) {
    let homes = Homes::new(Kind::Rows, name).await;
    let tables = [
        LEDGER.to_owned(),
        "CREATE TYPE mood AS ENUM ('glad', 'so la la'); CREATE TABLE countries (name text);".to_owned(),
        shared("notes", "id bigint, t text, vc varchar(4), c char(3), b bytea, j jsonb, a text[], m mood, tz timestamptz,
                f real, PRIMARY KEY (tenant_id, id)"),
        // By name before what it refers to, and to itself.
        shared("a_marks", "id int, of bigint, parent int, PRIMARY KEY (tenant_id, id),
                FOREIGN KEY (tenant_id, of) REFERENCES notes, FOREIGN KEY (tenant_id, parent) REFERENCES a_marks"),
        "GRANT SELECT, INSERT, UPDATE, DELETE ON notes, a_marks TO app; INSERT INTO countries VALUES ('everybody''s')".to_owned(),
    ];
    homes.run_at(&homes.database.owner_url(), &tables.concat()).await;
    let (acme, bolt) = (homes.tenant("acme"), homes.tenant("bolt"));
    for tenant in [&acme, &bolt] {
        let rows = format!(
            r#"INSERT INTO notes (id, t) VALUES (1, 'canary-{}'), (2, ''), (3, '\.'), (4, E'a\tb\n\\'), (5, NULL), (6, '🦀');
               INSERT INTO notes (id, vc, c, b, j, a, m, tz, f) VALUES
                   (7, 'four', 'c', '\x00ff5c', '{{"a": null}}', ARRAY['x,y', NULL, ''], 'so la la', '2026-01-01 00:00:00.5+02', 0.1);
               INSERT INTO a_marks (id, of, parent) VALUES (2, 7, NULL), (1, 1, 2)"#,
            tenant.id
        );
        homes.run(tenant, &rows).await;
    }
    (homes, acme, bolt)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_one_tenant_become_those_of_another() {
    let (homes, acme, bolt) = homes("rows").await;
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let exported = Export::of(&homes.homes, &acme).to(&out).await.unwrap();
    assert_eq!((exported.tables, exported.rows), (2, 9));
    let text = text_of(&out);
    assert!(text.contains(&format!("canary-{}", acme.id)));
    assert!(!text.contains(bolt.id.as_str()) && !text.contains("everybody"));

    let copy = homes.tenant("copy");
    Import::into(&homes.homes, &copy).from(&out).await.unwrap();
    for table in ["notes", "a_marks"] {
        let rows = homes.dump(&copy, table).await;
        assert!(!rows.is_empty());
        assert_eq!(rows, homes.dump(&acme, table).await, "{table}");
    }
    let again = Import::into(&homes.homes, &copy).from(&out).await.unwrap_err();
    assert!(again.is_not_empty(), "{again:?}");

    // Nobody else's rows are replaced.
    let before = homes.dump(&bolt, "notes").await;
    homes.run(&copy, "UPDATE notes SET t = 'changed'").await;
    Import::into(&homes.homes, &copy)
        .replace()
        .from(&out)
        .await
        .unwrap();
    assert_eq!(homes.dump(&copy, "notes").await, homes.dump(&acme, "notes").await);
    assert_eq!(homes.dump(&bolt, "notes").await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_somebody_else_in_an_export_change_nothing() {
    let (homes, acme, bolt) = homes("forged").await;
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    Export::of(&homes.homes, &acme).to(&out).await.unwrap();
    let (from, to) = (acme.id.to_string(), bolt.id.to_string());
    forge(&out, "00001.rows", |bytes| {
        let text = String::from_utf8(std::mem::take(bytes)).unwrap();
        *bytes = text.replacen(&from, &to, 1).into_bytes();
    });
    let copy = homes.tenant("copy");
    let error = Import::into(&homes.homes, &copy).from(&out).await.unwrap_err();
    assert!(error.is_damaged(), "{error:?}");

    // A column by another name is taken as it is, and the policy sees that it is not the new tenant's.
    let error = Import::into(&homes.homes, &copy)
        .tenant_column("other")
        .from(&out)
        .await
        .unwrap_err();
    assert!(error.is_server(), "{error:?}");
    assert!(homes.dump(&copy, "notes").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_policies_do_not_bind_exports_nothing() {
    use sqlx::Postgres;
    use tenancy_sqlx::{
        database::{Server, TenantHomes},
        isolation::Isolation,
    };

    let (homes, acme, _) = homes("unbound").await;
    let database = &homes.database;
    let unbound = TenantHomes::<Postgres>::builder()
        .server(
            "main",
            Server::at(database.admin_url()).owner(database.owner_url()),
        )
        .isolation(Isolation::rows())
        .build()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let error = Export::of(&unbound, &acme).to(&out).await.unwrap_err();
    assert!(error.is_unsupported(), "{error:?}");
    assert!(!out.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guarded_tables_are_refused() {
    use sqlx::Postgres;
    use tenancy_sqlx::{
        database::{Server, TenantHomes},
        isolation::Isolation,
    };

    let server = Server::at("postgres://app@localhost/app").owner("postgres://owner@localhost/app");
    let guarded = TenantHomes::<Postgres>::builder()
        .server("main", server)
        .isolation(Isolation::guarded())
        .build()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let error = Export::of(&guarded, &super::fixture::record("acme"))
        .to(directory.path().join("out"))
        .await;
    assert!(error.unwrap_err().is_unsupported());
}
