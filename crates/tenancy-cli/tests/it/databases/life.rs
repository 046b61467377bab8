use serde_json::json;

use super::fixture::{schemas, workplace};
use crate::support::Workplace;

/// With migrations and a seed, and no home yet.
fn with_seeds(ids: &[&str]) -> Workplace {
    let mut place = workplace(ids);
    place.write("seeds/1.sql", "INSERT INTO notes VALUES (1, 'welcome')");
    place.set("TENANCY__DATABASES__SEEDS", "seeds");
    place
}

fn notes(place: &Workplace, id: &str) -> String {
    let told = place.run(&["run", id, "--json", "--sql", "SELECT count(*) FROM notes"]);
    let line = told.out.lines().next().unwrap();
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    value["answers"][0]["rows"][0][0]
        .as_str()
        .unwrap_or("none")
        .to_owned()
}

#[test]
fn a_tenant_is_made_with_its_home_reset_and_removed() {
    let place = with_seeds(&[]);
    let made = place.done(&["tenants", "create", "acme", "--home"]);
    assert_eq!(made, "Created tenant acme. Its home is made.\n");
    assert_eq!(notes(&place, "acme"), "1", "migrated and seeded");
    assert_eq!(place.json(&["migrate"])["up_to_date"], 1);

    place.done(&["run", "acme", "--sql", "INSERT INTO notes VALUES (2, 'mine')"]);
    place.fails(&["tenants", "reset", "acme"], 2);
    assert_eq!(notes(&place, "acme"), "2");
    assert_eq!(
        place.done(&["tenants", "reset", "acme", "--yes"]),
        "Tenant acme has an empty home.\n"
    );
    assert_eq!(notes(&place, "acme"), "1");

    place.fails(&["tenants", "remove", "acme"], 2);
    assert_eq!(
        place.json(&["tenants", "remove", "acme", "--yes"]),
        json!({ "removed": "acme" })
    );
    let left = std::fs::read_dir(place.path("tenancy-data/tenants"))
        .unwrap()
        .count();
    assert_eq!(left, 0, "its file is gone");
    place.fails(&["tenants", "remove", "acme", "--yes"], 3);
    assert_eq!(place.json(&["tenants", "recover"]), json!({ "recovered": 0 }));
}

#[test]
fn what_can_not_be_made_leaves_no_tenant() {
    let place = with_seeds(&[]);
    place.write("seeds/1.sql", "INSERT INTO nothing VALUES (1)");
    let ended = place.run(&["tenants", "create", "acme", "--home"]);
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert!(ended.err.contains("1.sql"), "{}", ended.err);
    assert_eq!(place.json(&["tenants", "list"])["tenants"], json!([]));
    place.done(&["tenants", "create", "bolt"]);
    place.fails(&["tenants", "create", "bolt", "--home"], 4);
}

#[test]
fn homes_are_made_for_tenants_that_are_registered_and_seeded_again() {
    let place = with_seeds(&["acme", "bolt"]);
    let (behind, made) = (place.run(&["migrate"]), ["tenants", "make-home", "--all"]);
    assert_eq!(behind.code, 1);
    assert_eq!(
        place.json(&made),
        json!({ "done": ["acme", "bolt"], "failed": [] })
    );
    assert_eq!(
        place.done(&made),
        "2 tenants with a home, 0 failed.\n",
        "any number of times"
    );
    assert_eq!(
        (notes(&place, "acme"), notes(&place, "bolt")),
        ("1".to_owned(), "1".to_owned())
    );
    assert_eq!(place.run(&["doctor", "--strict"]).code, 0);

    place.write(
        "seeds/1.sql",
        "INSERT OR IGNORE INTO notes VALUES (1, 'x'), (2, 'more')",
    );
    assert_eq!(place.done(&["seed", "bolt"]), "1 tenant seeded, 0 failed.\n");
    assert_eq!(
        (notes(&place, "acme"), notes(&place, "bolt")),
        ("1".to_owned(), "2".to_owned())
    );
    place.write("seeds/2.sql", "INSERT INTO nothing VALUES (1)");
    let failed = place.run(&["seed", "--all"]);
    assert_eq!(failed.code, 1);
    assert!(
        failed.out.contains("0 tenants seeded, 2 failed.\nacme: "),
        "{}",
        failed.out
    );

    place.fails(&["seed", "nobody"], 3);
    assert_eq!(place.run(&["seed"]).code, 2);
    place.fails(&["tenants", "remove", "nobody", "--yes"], 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_server_homes_are_made_as_the_owner_for_the_application() {
    let (place, _database) = schemas(&[]).await;
    place.done(&["tenants", "create", "acme", "--home"]);
    let insert = [
        "run",
        "acme",
        "--sql",
        "INSERT INTO notes VALUES (1, current_schema())",
    ];
    place.done(&insert);
    let shown = place.json(&["tenants", "show", "acme"]);
    assert!(shown.to_string().contains("acme_"), "{shown}");
    assert_eq!(place.run(&["doctor", "--strict"]).code, 0);
    place.done(&["tenants", "remove", "acme", "--yes"]);

    let mut place = workplace(&["bolt"]);
    place.set(
        "TENANCY__DATABASES__URL",
        "postgres://app:hunter2@127.0.0.1:1/app",
    );
    let error = place.fails(&["tenants", "make-home", "bolt"], 5);
    assert!(error["message"].as_str().unwrap().contains("owner"), "{error}");
}

#[test]
fn data_goes_to_a_directory_and_into_another_home() {
    let place = with_seeds(&["acme", "bolt"]);
    place.done(&["tenants", "make-home", "--all"]);
    place.done(&["run", "acme", "--sql", "INSERT INTO notes VALUES (2, 'mine')"]);
    let out = place.json(&["tenants", "export", "acme", "backup"]);
    assert_eq!((&out["tables"], &out["rows"]), (&json!(1), &json!(2)), "{out}");
    place.fails(&["tenants", "export", "acme", "backup"], 5);

    let error = place.fails(&["tenants", "import-data", "bolt", "backup"], 4);
    assert!(error["advice"].as_str().unwrap().contains("--replace"), "{error}");
    place.fails(&["tenants", "import-data", "bolt", "backup", "--replace"], 2);
    let told = place.done(&["tenants", "import-data", "bolt", "backup", "--replace", "-y"]);
    assert_eq!(told, "Imported 2 rows of 1 table into bolt.\n");
    assert_eq!(notes(&place, "bolt"), "2");
    place.fails(
        &["tenants", "import-data", "bolt", "nowhere", "--replace", "-y"],
        5,
    );
    place.fails(&["tenants", "export", "nobody", "elsewhere"], 3);
}

#[test]
fn a_tenant_goes_to_another_server_and_back() {
    let mut place = with_seeds(&[]);
    let url = format!("sqlite://{}", place.path("elsewhere").display());
    place.set("TENANCY__DATABASES__SERVERS__EU__URL", url);
    std::fs::create_dir(place.path("through")).unwrap();
    place.done(&["tenants", "create", "acme", "--home"]);
    place.done(&["run", "acme", "--sql", "INSERT INTO notes VALUES (2, 'mine')"]);
    let to_eu = [
        "tenants",
        "move",
        "acme",
        "--server",
        "eu",
        "--through",
        "through",
    ];
    assert_eq!(
        place.done(&to_eu),
        "Tenant acme is on eu now, with 2 rows of 1 table.\n"
    );
    assert_eq!(notes(&place, "acme"), "2");
    assert_eq!(std::fs::read_dir(place.path("through")).unwrap().count(), 0);
    place.done(&["run", "acme", "--sql", "INSERT INTO notes VALUES (3, 'there')"]);
    let files = |folder: &str| std::fs::read_dir(place.path(folder)).unwrap().count();
    assert_eq!((files("tenancy-data/tenants"), files("elsewhere")), (1, 1));
    assert_eq!(place.run(&["doctor", "--strict"]).code, 0);

    let back = ["tenants", "move", "acme", "--server", "main", "--drop-old"];
    let named = [&back[..], &["--name", "acme_home.db"]].concat();
    let moved = place.json(&named);
    assert_eq!(
        (&moved["tables"], &moved["rows"]),
        (&json!(1), &json!(3)),
        "{moved}"
    );
    assert!(moved["tenant"].to_string().contains("acme_home.db"), "{moved}");
    assert_eq!((files("tenancy-data/tenants"), files("elsewhere")), (2, 0));
    assert_eq!(notes(&place, "acme"), "3");

    place.fails(&named, 4);
    place.fails(&["tenants", "move", "acme", "--server", "nowhere"], 5);
    place.fails(&["tenants", "move", "nobody", "--server", "eu"], 3);
    assert_eq!(notes(&place, "acme"), "3");
}

#[test]
fn homes_are_made_ahead_and_claimed() {
    let place = with_seeds(&["zero"]);
    assert_eq!(
        place.done(&["pending"]),
        "0 homes are ready, 0 outdated, 0 unfinished.\n"
    );
    let filled = place.json(&["pending", "--fill", "2"]);
    assert_eq!(
        (&filled["made"], &filled["ready"]),
        (&json!(2), &json!(2)),
        "{filled}"
    );
    assert!(place.run(&["doctor"]).out.contains("pending homes     2\n"));

    place.done(&["tenants", "create", "acme", "--home"]);
    assert_eq!(notes(&place, "acme"), "1", "it was migrated and seeded ahead");
    assert_eq!(place.json(&["pending"])["ready"], 1);
    place.write(
        "migrations/2_more.up.sql",
        "ALTER TABLE notes ADD COLUMN more TEXT",
    );
    assert_eq!(place.json(&["pending"])["outdated"], 1);
    assert_eq!(
        place.done(&["pending", "--fill", "1"]),
        "0 made, 1 migrated, 0 dropped.\n1 home is ready, 0 outdated, 0 unfinished.\n"
    );
    place.fails(&["pending", "--drain"], 2);
    assert_eq!(place.json(&["pending", "--drain", "-y"])["dropped"], 1);
}
