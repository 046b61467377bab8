use serde_json::Value;

use super::{
    fixture::{databases_on_mariadb, files, postgres, rows, schemas, workplace},
    run::point,
};
use crate::support::Workplace;

/// What it found, as `severity check subject`, and its exit code.
fn found(place: &Workplace, arguments: &[&str]) -> (i32, Vec<String>, Value) {
    let ended = place.run(&[&["doctor", "--json"], arguments].concat());
    let view: Value = serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{}", ended.err));
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let findings = view["findings"].as_array().unwrap().iter();
    let findings = findings
        .map(|finding| {
            format!(
                "{} {} {}",
                text(finding, "severity"),
                text(finding, "check"),
                text(finding, "subject")
            )
        })
        .collect();
    (ended.code, findings, view)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_well_is_told_so() {
    let (place, _database) = schemas(&["acme", "bolt"]).await;
    place.done(&["migrate"]);
    let text = place.done(&["doctor"]);
    assert!(text.ends_with("0 problems, 0 warnings.\n"), "{text}");
    assert!(
        text.contains("tenants           2, 0 pending\n") && text.contains("looked at         2\n"),
        "{text}"
    );
    let (code, findings, view) = found(&place, &["--strict", "--fast"]);
    assert_eq!(
        (code, findings.len(), &view["looked_at"]),
        (0, 0, &Value::from(0))
    );

    let place = files(&["acme"]).await;
    place.done(&["migrate"]);
    assert_eq!(found(&place, &["--strict"]).1, [""; 0]);
    let (place, _database) = databases_on_mariadb(&["mydoctor"]).await;
    place.done(&["migrate"]);
    assert_eq!(found(&place, &["--strict"]).1, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_behind_is_a_warning_and_a_ledger_that_differs_a_problem() {
    let (place, database) = schemas(&["acme", "bolt", "corp"]).await;
    place.done(&["migrate", "--tenant", "acme", "--tenant", "corp"]);
    let owner = database.owner_url();
    postgres(&owner, "UPDATE tenant_corp._sqlx_migrations SET checksum = 'x'").await;
    let (code, findings, view) = found(&place, &[]);
    assert_eq!(findings, ["problem drift corp", "warning drift bolt"]);
    assert_eq!(code, 1);
    assert_eq!(view["findings"][0]["what"], "changed after they were applied: 1");

    postgres(&owner, "DROP TABLE tenant_corp._sqlx_migrations").await;
    let (code, findings, _) = found(&place, &[]);
    assert_eq!((code, findings.len()), (0, 2), "{findings:?}");
    assert_eq!(found(&place, &["--strict"]).0, 1);
    let (_, findings, _) = found(&place, &["--fast"]);
    assert_eq!(
        findings,
        ["warning drift bolt"],
        "the journal believes that corp is up to date"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn placements_and_missing_places_are_found() {
    let (place, _database) = schemas(&["acme", "bolt", "corp"]).await;
    place.done(&["migrate"]);
    place.done(&["tenants", "create", "dune"]);
    point(&place, "bolt", "tenant_acme").await;
    point(&place, "corp", "public").await;
    let (code, findings, view) = found(&place, &[]);
    assert_eq!(code, 1);
    assert_eq!(
        findings,
        [
            "problem placement corp",
            "problem placement acme, bolt",
            "problem databases dune"
        ],
        "{view}"
    );
    let text = place.run(&["doctor"]).out;
    assert!(
        text.contains("problem (databases): dune: its database, schema or file is not there"),
        "{text}"
    );
    assert!(text.contains("3 problems, 0 warnings."), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_shows_one_tenant_to_another_is_found_with_its_remedy() {
    let (place, database) = rows(&["acme", "bolt"]).await;
    postgres(
        &database.owner_url(),
        "CREATE TABLE leaks (text TEXT); GRANT SELECT ON leaks TO app",
    )
    .await;
    let (code, findings, view) = found(&place, &[]);
    assert_eq!(code, 1);
    assert_eq!(findings[0], "problem audit server main, public.leaks");
    assert!(
        view["findings"][0]["remedy"]
            .as_str()
            .unwrap()
            .contains("ENABLE ROW LEVEL SECURITY")
    );
    assert_eq!(view["looked_at"], 1, "what tenants share is looked at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemas_with_types_of_their_own_are_listed() {
    let (place, database) = schemas(&["acme"]).await;
    place.done(&["migrate"]);
    postgres(
        &database.owner_url(),
        "CREATE TYPE tenant_acme.mood AS ENUM ('good')",
    )
    .await;
    let (code, findings, _) = found(&place, &[]);
    assert_eq!(
        (code, &*findings),
        (0, &["warning audit server main, tenant_acme".to_owned()][..])
    );
}

#[test]
fn a_server_that_does_not_answer_is_a_problem_and_no_password_is_shown() {
    let mut place = workplace(&["acme"]);
    place.set(
        "TENANCY__DATABASES__URL",
        "postgres://app:hunter2@127.0.0.1:1/app",
    );
    let (code, findings, view) = found(&place, &[]);
    assert_eq!(code, 1);
    assert_eq!(findings, ["problem server databases.url"]);
    assert!(!view.to_string().contains("hunter2"), "{view}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_owner_or_migrations_it_says_what_it_can_not_tell() {
    let (mut place, _database) = schemas(&["acme"]).await;
    place.set("TENANCY__DATABASES__OWNER_URL", "");
    place.set("TENANCY__DATABASES__MIGRATIONS", "");
    let ended = place.run(&["doctor"]);
    assert_ne!(ended.code, 101, "{}", ended.err);
}
