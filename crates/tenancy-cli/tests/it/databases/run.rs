use serde_json::{Value, json};

use super::fixture::{databases_on_mariadb, files, postgres, rows, schemas};
use crate::support::Workplace;

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_runs_in_the_order_of_tenants_and_rows_are_a_table() {
    let (place, _database) = rows(&["bolt", "acme"]).await;
    let select = "SELECT text, NULL AS nothing FROM notes";
    let told = place.done(&["run", "--all", "--parallel", "2", "--sql", select]);
    assert_eq!(
        told,
        "acme | text            nothing\n\
         acme | a note of acme  NULL\n\
         bolt | text            nothing\n\
         bolt | a note of bolt  NULL\n\
         2 tenants done, 0 failed, 0 not tried.\n"
    );
    let json = place.run(&["run", "bolt", "--sql", select, "--json"]);
    assert_eq!(
        lines(&json.out),
        [
            json!({ "tenant": "bolt", "ok": true, "answers": [{
                "columns": ["text", "nothing"], "rows": [["a note of bolt", null]], "more_rows": 0, "rows_affected": 1,
            }] }),
            json!({ "summary": { "done": 1, "failed": 0, "not_tried": 0 } }),
        ]
    );
    // The issue's own form.
    let told = place.done(&["run", "acme", "--", "SELECT count(*) FROM notes"]);
    assert!(told.starts_with("acme | count\nacme | 1\n"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_role_is_the_applications_and_policies_hold() {
    let (place, _database) = rows(&["acme", "bolt"]).await;
    let told = place.done(&["run", "--all", "--sql", "DELETE FROM notes; SELECT current_user"]);
    assert!(
        told.contains("acme | 1 row\nacme | current_user\nacme | app\n"),
        "{told}"
    );
    let owner = place.done(&["run", "acme", "--as-owner", "--sql", "SELECT current_user"]);
    assert!(owner.contains("acme | owner\n"), "{owner}");
    let refused = place.run(&["run", "acme", "--sql", "DROP TABLE notes"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.out.contains("acme | error: must be owner"),
        "{}",
        refused.out
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_where_it_may_only_read() {
    let (place, _database) = schemas(&["acme"]).await;
    place.done(&["migrate"]);
    for text in [
        "INSERT INTO notes VALUES (1, 'x')",
        "COMMIT; INSERT INTO notes VALUES (1, 'x')",
    ] {
        let refused = place.run(&["run", "acme", "--read-only", "--sql", text]);
        assert_eq!(refused.code, 1, "{text}");
        assert!(refused.out.contains("read-only transaction"), "{}", refused.out);
    }
    let script = [
        "run",
        "acme",
        "--read-only",
        "--",
        "sh",
        "-c",
        "psql \"$DATABASE_URL\" -c 'DELETE FROM notes'",
    ];
    let mut program = place.command(&script);
    program.env("PATH", std::env::var("PATH").unwrap());
    let refused = crate::support::ended(program);
    assert_eq!(refused.code, 1);
    assert!(refused.out.contains("read-only transaction"), "{}", refused.out);

    let place = files(&["acme"]).await;
    place.done(&["migrate"]);
    let refused = place.run(&["run", "acme", "--read-only", "--sql", "DELETE FROM notes"]);
    assert!(
        refused.code == 1 && refused.out.contains("readonly"),
        "{}",
        refused.out
    );
    let refused = place.run(&["run", "acme", "--read-only", "--", "true"]);
    assert!(
        refused.code == 1 && refused.out.contains("PostgreSQL alone"),
        "{}",
        refused.out
    );

    let (place, _database) = databases_on_mariadb(&["myreads"]).await;
    place.done(&["migrate"]);
    let refused = place.run(&[
        "run",
        "myreads",
        "--read-only",
        "--sql",
        "INSERT INTO notes VALUES (1, 'x')",
    ]);
    assert!(
        refused.code == 1 && refused.out.contains("READ ONLY"),
        "{}",
        refused.out
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_tenant_that_fails_ends_the_run_unless_it_keeps_going() {
    let (place, _database) = schemas(&["acme", "bolt", "corp"]).await;
    place.done(&["migrate", "--tenant", "acme", "--tenant", "corp"]);
    let insert = "INSERT INTO notes VALUES (1, 'x')";
    let ended = place.run(&["run", "--all", "--sql", insert]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.out.ends_with("1 tenant done, 1 failed, 1 not tried.\n"),
        "{}",
        ended.out
    );
    assert!(ended.err.contains("--keep-going"), "{}", ended.err);

    let two = "INSERT INTO notes VALUES (2, 'x'); INSERT INTO notes VALUES (1, 'y')";
    let ended = place.run(&["run", "--all", "--keep-going", "--sql", two]);
    assert!(
        ended.out.ends_with("1 tenant done, 2 failed, 0 not tried.\n"),
        "{}",
        ended.out
    );
    let told = place.done(&["run", "acme", "corp", "--sql", "SELECT count(*) FROM notes"]);
    assert!(
        told.contains("acme | 1\n") && told.contains("corp | 2\n"),
        "all or nothing: {told}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_is_told_who_and_where_and_sees_the_tenants_own() {
    let (mut place, database) = schemas(&["acme", "bolt"]).await;
    place.done(&["migrate"]);
    place.done(&[
        "run",
        "--all",
        "--sql",
        "INSERT INTO notes VALUES (1, current_schema())",
    ]);
    place.set("PATH", std::env::var("PATH").unwrap());
    let script = "echo $TENANT_ID $TENANT_SLUG; psql \"$DATABASE_URL\" -Atc 'SELECT text FROM notes'; PGOPTIONS= psql \"$DATABASE_URL\" -Atc 'SELECT text FROM notes'";
    let told = place.done(&["run", "--all", "--", "sh", "-c", script]);
    assert_eq!(
        told,
        "acme | acme acme\nacme | tenant_acme\nacme | tenant_acme\n\
         bolt | bolt bolt\nbolt | tenant_bolt\nbolt | tenant_bolt\n\
         2 tenants done, 0 failed, 0 not tried.\n"
    );
    let ended = place.run(&[
        "run",
        "acme",
        "--json",
        "--",
        "sh",
        "-c",
        "echo out; echo err >&2; exit 3",
    ]);
    assert_eq!(
        lines(&ended.out)[0],
        json!({ "tenant": "acme", "ok": false, "code": 3, "stdout": "out\n", "stderr": "err\n" })
    );
    assert_eq!(ended.code, 1);
    let command_line = place.done(&["run", "acme", "--", "cat", "/proc/self/cmdline"]);
    assert!(
        !command_line.contains(database.server().password()),
        "{command_line}"
    );
    let missing = place.run(&["run", "acme", "--", "no-such-program"]);
    assert!(
        missing.out.contains("no-such-program can not be run"),
        "{}",
        missing.out
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_led_to_another_tenants_place_is_refused() {
    let (place, _database) = schemas(&["acme", "bolt"]).await;
    place.done(&["migrate"]);
    point(&place, "bolt", "tenant_acme").await;
    for id in ["acme", "bolt"] {
        let refused = place.run(&["run", id, "--sql", "SELECT 1"]);
        assert_eq!(refused.code, 1);
        assert!(
            refused.out.contains("leads to where the tenant"),
            "{}",
            refused.out
        );
        assert_eq!(place.run(&["psql", id]).code, 5);
    }
}

/// Writes a placement into the catalogue.
pub(super) async fn point(place: &Workplace, id: &str, database: &str) {
    let store = tenancy_sqlx::store::SqlStore::connect(place.catalogue())
        .await
        .unwrap();
    let mut placement = tenancy::core::Placement::default();
    placement.database = database.into();
    let mut patch = tenancy_sqlx::TenantPatch::default();
    patch.placement = Some(Some(placement));
    store.update(&id.parse().unwrap(), patch).await.unwrap();
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_is_missing_never_leads_to_what_is_behind_it() {
    let (mut place, database) = schemas(&["acme"]).await;
    postgres(
        &database.owner_url(),
        "CREATE SCHEMA common; GRANT USAGE ON SCHEMA common TO app; CREATE TABLE common.notes (text TEXT);
         GRANT ALL ON common.notes TO app",
    )
    .await;
    place.set("TENANCY__DATABASES__EXTRA_PATH", r#"["common"]"#);
    place.done(&["tenants", "create", "corp"]);
    let refused = place.run(&["run", "corp", "--sql", "SELECT * FROM notes"]);
    assert!(
        refused.code == 1 && refused.out.contains("schema is not there"),
        "{}{}",
        refused.out,
        refused.err
    );
    place.fails(&["psql", "corp"], 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_run_is_said_in_one_way() {
    let place = files(&["acme"]).await;
    place.write(
        "two.sql",
        "CREATE TABLE t (a); INSERT INTO t VALUES (x'00ff'), ('\u{1b}[31mred')",
    );
    place.done(&["run", "acme", "--file", "two.sql"]);
    let told = place.done(&["run", "acme", "--rows", "1", "--sql", "SELECT a FROM t"]);
    assert!(
        told.starts_with("acme | a\nacme | \\x00ff\nacme | … and 1 more (--rows)\n"),
        "{told}"
    );
    let told = place.done(&["run", "acme", "--sql", "SELECT a FROM t"]);
    assert!(
        told.contains("\\u{1b}[31mred") && !told.contains('\u{1b}'),
        "{told}"
    );
    place.done(&["run", "acme", "--no-transaction", "--sql", "VACUUM"]);
    assert_eq!(place.run(&["run", "acme", "--sql", "VACUUM"]).code, 1);

    place.fails(&["run", "acme"], 2);
    for bad in [
        &["run", "--sql", "SELECT 1"][..],
        &["run", "acme", "--all", "--sql", "SELECT 1"],
        &["run", "acme", "--sql", "SELECT 1", "--", "true"],
        &["run", "acme", "--sql", "SELECT 1", "--file", "two.sql"],
    ] {
        assert_eq!(place.run(bad).code, 2, "{bad:?}");
    }
    place.fails(&["run", "nobody", "--sql", "SELECT 1"], 3);
    place.fails(&["run", "acme", "--file", "missing.sql"], 5);
}
