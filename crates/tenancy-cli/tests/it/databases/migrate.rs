use serde_json::json;

use super::fixture::{
    NOTES, databases_on_mariadb, databases_on_postgres, file, files, postgres, schemas, workplace,
};
use crate::support::{Workplace, ended};

/// The journal's own view of who is where.
fn plan(place: &Workplace) -> serde_json::Value {
    place.json(&["migrate", "--dry-run"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_migrated_and_then_left_alone() {
    let place = files(&["acme", "bolt"]).await;
    let waiting = json!({ "version": 1, "up_to_date": 0, "would_migrate": ["acme", "bolt"] });
    assert_eq!(plan(&place), waiting);
    let shown = place.done(&["migrate", "--dry-run"]);
    assert_eq!(
        shown,
        "2 tenants would be migrated to version 1, 0 up to date.\nacme\nbolt\n"
    );
    assert_eq!(plan(&place), waiting, "nothing was changed by looking");

    let report = place.json(&["migrate"]);
    assert_eq!(report["outcome"], "done");
    assert_eq!(
        (&report["migrated"], &report["up_to_date"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(report["is_complete"], true);
    assert_eq!(plan(&place)["would_migrate"], json!([]));

    let text = place.done(&["migrate"]);
    for line in [
        "outcome     done\n",
        "version     1\n",
        "migrated    0\n",
        "up to date  2\n",
        "failed      0\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_fails_is_named_with_its_reason_and_the_code_tells() {
    let place = files(&["acme", "bolt"]).await;
    place.done(&["tenants", "create", "corp"]);
    let ended = place.run(&["migrate", "--workers", "1"]);
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert!(ended.out.contains("migrated    2\n"), "{}", ended.out);
    assert!(
        ended.out.contains("\ncorp    it can not be connected to"),
        "{}",
        ended.out
    );
    assert!(
        ended.err.starts_with("error: 1 tenant is not at version 1\n"),
        "{}",
        ended.err
    );

    let json = place.run(&["migrate", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json.code, 1);
    assert_eq!(report["failed"][0]["tenant"], "corp");
    assert_eq!(
        report["outcome"], "canary failed",
        "it is the only one left, and so the canary"
    );

    file(&place, "corp").await;
    assert_eq!(place.json(&["migrate"])["migrated"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_begun_after_a_canary_that_fails() {
    let place = files(&["acme", "bolt"]).await;
    place.done(&["tenants", "create", "corp"]);
    let ended = place.run(&["migrate", "--canary", "corp", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(ended.code, 1);
    assert_eq!(report["outcome"], "canary failed");
    assert_eq!(
        (&report["migrated"], &report["not_tried"]),
        (&json!(0), &json!(2))
    );
    place.fails(&["migrate", "--canary", "nobody"], 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn named_tenants_are_migrated_alone() {
    let place = files(&["acme", "bolt"]).await;
    let report = place.json(&["migrate", "--tenant", "bolt"]);
    assert_eq!(
        (&report["migrated"], &report["up_to_date"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(plan(&place)["would_migrate"], json!(["acme"]));
    let one = place.json(&["migrate", "--dry-run", "--tenant", "bolt"]);
    assert_eq!(
        (&one["would_migrate"], &one["up_to_date"]),
        (&json!([]), &json!(1))
    );
    place.fails(&["migrate", "--tenant", "nobody"], 3);
}

#[test]
fn what_can_not_be_run_is_said_before_anything_is() {
    let place = Workplace::with_tenants();
    let error = place.fails(&["migrate"], 5);
    assert!(
        error["advice"].as_str().unwrap().contains("--migrations"),
        "{error}"
    );
    place.fails(&["migrate", "--migrations", "nowhere"], 5);
    let place = workplace(&[]);
    for bad in [&["migrate", "--stop-at", "5"][..], &["migrate", "--workers", "0"]] {
        assert_eq!(place.run(bad).code, 2, "{bad:?}");
    }
    let error = place.fails(&["rollback", "--to", "0"], 2);
    assert!(error["advice"].as_str().unwrap().contains("--yes"), "{error}");
    let mut elsewhere = place.command(&["migrate"]);
    elsewhere.env(
        "TENANCY__DATABASES__URL",
        "postgres://app:hunter2@127.0.0.1:1/app",
    );
    let ended = ended(elsewhere);
    assert!(!ended.err.contains("hunter2"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemas_are_migrated_as_the_owner_and_taken_back() {
    let (place, _database) = schemas(&["acme", "bolt"]).await;
    assert_eq!(place.json(&["migrate"])["migrated"], 2);
    place.done(&[
        "run",
        "--all",
        "--sql",
        "INSERT INTO notes VALUES (1, 'as the application')",
    ]);

    place.write(
        "migrations/2_more.up.sql",
        "ALTER TABLE notes ADD COLUMN more TEXT",
    );
    place.write("migrations/2_more.down.sql", "ALTER TABLE notes DROP COLUMN more");
    assert_eq!(place.json(&["migrate"])["version"], 2);
    let back = place.json(&["rollback", "--to", "1", "--tenant", "bolt", "--yes"]);
    assert_eq!((&back["version"], &back["migrated"]), (&json!(1), &json!(1)));
    assert_eq!(plan(&place)["would_migrate"], json!(["bolt"]));
    place.done(&["run", "acme", "--sql", "SELECT more FROM notes"]);
    assert_eq!(
        place
            .run(&["run", "bolt", "--sql", "SELECT more FROM notes"])
            .code,
        1
    );

    let error = place.fails(&["rollback", "--to", "7", "--yes"], 3);
    assert!(
        error["message"].as_str().unwrap().contains("no migration 7"),
        "{error}"
    );
    let text = place.done(&["rollback", "--to", "0", "-y"]);
    assert!(text.contains("migrated    2\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_of_postgres_are_migrated() {
    let (place, _database) = databases_on_postgres(&["pgone", "pgtwo"]).await;
    assert_eq!(place.json(&["migrate"])["migrated"], 2);
    let told = place.done(&[
        "run",
        "--all",
        "--sql",
        "SELECT current_database() AS at, count(*) FROM notes",
    ]);
    assert!(
        told.contains("pgone | tenant_pgone  0\n") && told.contains("pgtwo | tenant_pgtwo  0\n"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_of_mariadb_are_migrated_and_taken_back() {
    let (place, _database) = databases_on_mariadb(&["myone", "mytwo"]).await;
    assert_eq!(place.json(&["migrate"])["migrated"], 2);
    place.done(&["run", "--all", "--sql", "INSERT INTO notes VALUES (1, 'Zürich')"]);
    let told = place.done(&["run", "myone", "--sql", "SELECT id, text, NULL AS no FROM notes"]);
    assert!(told.contains("myone | 1   Zürich  NULL\n"), "{told}");
    let back = place.json(&["rollback", "--to", "0", "--yes"]);
    assert_eq!(back["migrated"], 2, "{back}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_ends_a_run_and_the_next_one_goes_on() {
    let (place, database) = schemas(&["acme", "bolt"]).await;
    let owner = database.owner_url();
    postgres(&owner, "CREATE TABLE public.nap AS SELECT 600 AS seconds").await;
    place.write(
        "migrations/1_notes.up.sql",
        &format!("{NOTES} SELECT pg_sleep(seconds) FROM public.nap;"),
    );
    let child = place.command(&["migrate"]).spawn().unwrap();
    let napping = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(seconds)%' AND pid <> pg_backend_pid() AND datname = '";
    let napping = format!("{napping}{}'", database.name());
    while database.server().sql(napping.clone()).await.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let pid = child.id().to_string();
    std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.starts_with("error: broken off: 0 tenants"), "{error}");
    assert!(error.contains("goes on"), "{error}");

    postgres(&owner, "UPDATE public.nap SET seconds = 0").await;
    assert_eq!(place.json(&["migrate"])["migrated"], 2);
}
