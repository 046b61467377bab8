use serde_json::json;

use crate::support::{Workplace, without_times};

#[test]
fn a_created_tenant_is_shown_by_id_slug_and_domain() {
    let place = Workplace::with_tenants();
    let by_id = place.done(&["tenants", "show", "acme"]);
    for name in ["shop.acme.example", "SHOP.acme.example.", "bücher.example"] {
        assert_eq!(place.done(&["tenants", "show", name]), by_id, "{name}");
    }
    let lines: Vec<_> = by_id.lines().filter(|line| !line.contains('Z')).collect();
    assert_eq!(
        lines,
        [
            "id           acme",
            "slug         acme",
            "status       active",
            "plan         pro",
            "type         customer",
            "domains      shop.acme.example (primary)",
            "             xn--bcher-kva.example",
            r#"settings     {"colour":"[redacted]"}"#,
            "maintenance  off",
            "epoch        2",
        ]
    );
}

#[test]
fn json_has_the_same_keys_for_every_tenant() {
    let place = Workplace::with_tenants();
    let mut full = place.json(&["tenants", "show", "acme"]);
    let created = full["created_at"].take();
    assert_eq!(created.as_str().unwrap().len(), "2001-09-09T01:46:40Z".len());
    assert_eq!(full["settings"], json!({ "colour": "[redacted]" }));
    assert_eq!(full["domains"][0]["domain"], "shop.acme.example");
    assert_eq!(full["domains"][0]["is_primary"], true);
    let bare = place.json(&["tenants", "show", "globex"]);
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&full), keys(&bare));
    assert_eq!((&bare["plan"], &bare["domains"]), (&json!(null), &json!([])));
}

#[test]
fn settings_come_back_digit_for_digit_and_may_come_from_a_file() {
    let place = Workplace::new();
    place.write("settings.json", "{\"exact\": 12345678901234567890123}\n");
    place.done(&["tenants", "create", "acme", "--tenant-settings", "@settings.json"]);
    assert!(
        place
            .done(&["tenants", "show", "acme", "--reveal", "--json"])
            .contains("12345678901234567890123")
    );
    place.done(&[
        "tenants",
        "update",
        "acme",
        "--no-tenant-settings",
        "--plan",
        "pro",
    ]);
    let changed = place.json(&["tenants", "show", "acme"]);
    assert_eq!(
        (&changed["settings"], &changed["plan"]),
        (&json!(null), &json!("pro"))
    );
}

#[test]
fn values_of_settings_are_printed_where_they_are_asked_for_and_nowhere_else() {
    let place = Workplace::new();
    let settings = r#"{"smtp":{"password":"hunter2"},"pin":4711}"#;
    let printed = [
        place.done(&[
            "tenants",
            "create",
            "acme",
            "--tenant-settings",
            settings,
            "--json",
        ]),
        place.done(&["tenants", "update", "acme", "--plan", "pro", "--json"]),
        place.done(&[
            "tenants",
            "maintenance",
            "acme",
            "on",
            "--secret",
            "correct horse battery",
            "--json",
        ]),
        place.done(&["domains", "add", "acme", "acme.example", "--json"]),
        place.done(&["tenants", "suspend", "acme", "--json"]),
        place.done(&["tenants", "list", "--json"]),
        place.done(&["tenants", "list", "--all", "--json"]),
        place.done(&["tenants", "list"]),
        place.done(&["tenants", "show", "acme", "--json"]),
        place.done(&["tenants", "show", "acme"]),
    ];
    for printed in printed {
        for secret in ["hunter2", "4711", "horse"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
    assert_eq!(
        place.json(&["tenants", "show", "acme"])["settings"],
        json!({ "smtp": "[redacted]", "pin": "[redacted]" })
    );
    let revealed = place.json(&["tenants", "show", "acme", "--reveal"]);
    assert_eq!(revealed["settings"]["smtp"]["password"], "hunter2");
    let text = place.done(&["tenants", "show", "acme", "--reveal"]);
    assert!(text.contains(settings) && !text.contains("horse"), "{text}");
    let key = "bypass_key";
    assert!(
        !text.contains(key) && !revealed.to_string().contains(key),
        "{text}"
    );
}

#[test]
fn the_list_is_a_table_with_the_last_created_first() {
    let place = Workplace::with_tenants();
    place.done(&["tenants", "maintenance", "acme", "on"]);
    assert_eq!(
        without_times(&place.done(&["tenants", "list"])),
        [
            "ID       SLUG     STATUS                PLAN  DOMAINS",
            "initech  initech  pending               -     -",
            "globex   globex   active                -     -",
            "acme     acme     active (maintenance)  pro   shop.acme.example +1",
        ]
    );
}

#[test]
fn a_list_is_filtered_and_read_page_by_page() {
    let place = Workplace::with_tenants();
    let ids = |page: &serde_json::Value| {
        let tenants = page["tenants"].as_array().unwrap();
        tenants
            .iter()
            .map(|tenant| tenant["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        ids(&place.json(&["tenants", "list", "--status", "pending"])),
        ["initech"]
    );
    assert_eq!(
        ids(&place.json(&["tenants", "list", "--type", "customer"])),
        ["acme"]
    );
    assert!(
        place
            .done(&["tenants", "list", "--type", "nobody"])
            .contains("No tenants.")
    );

    let first = place.json(&["tenants", "list", "--limit", "2"]);
    let cursor = first["next"].as_str().unwrap();
    assert_eq!(ids(&first), ["initech", "globex"]);
    let text = place.done(&["tenants", "list", "--limit", "2"]);
    assert!(
        text.ends_with(&format!("\nThere are more: add --cursor {cursor}, or --all.\n")),
        "{text}"
    );
    let last = place.json(&["tenants", "list", "--limit", "2", "--cursor", cursor]);
    assert_eq!(
        (ids(&last), &last["next"]),
        (vec!["acme".to_owned()], &json!(null))
    );

    assert_eq!(
        place.fails(&["tenants", "list", "--limit", "0"], 5)["kind"],
        "invalid"
    );
    place.fails(&["tenants", "list", "--cursor", "xx"], 5);
}

#[test]
fn all_tenants_are_listed_across_pages() {
    let place = Workplace::new();
    let tenants: String = (0..1203)
        .map(|n| format!("[[tenant]]\nslug = \"t{n}\"\n"))
        .collect();
    place.write("many.toml", &tenants);
    let report = place.json(&["tenants", "import", "many.toml"]);
    assert_eq!(report["created"].as_array().unwrap().len(), 1203);

    let all = place.json(&["tenants", "list", "--all"]);
    assert_eq!(all["tenants"].as_array().unwrap().len(), 1203);
    assert_eq!(
        (&all["tenants"][0]["id"], &all["next"]),
        (&json!("t1202"), &json!(null))
    );
    let text = place.done(&["tenants", "list", "--all"]);
    let headings = text.lines().filter(|line| line.starts_with("ID")).count();
    // One blank line stands between the two pages.
    assert_eq!((headings, text.lines().count()), (2, 1203 + 3));
}

#[test]
fn an_empty_list_is_empty_in_both_forms() {
    let place = Workplace::new();
    place.write("none.toml", "");
    assert_eq!(
        place.done(&["tenants", "import", "none.toml"]),
        "0 tenants created, 0 left alone.\n"
    );
    assert_eq!(place.done(&["tenants", "list"]), "No tenants.\n");
    for list in [&["tenants", "list"][..], &["tenants", "list", "--all"]] {
        assert_eq!(place.json(list), json!({ "tenants": [], "next": null }));
    }
}

#[test]
fn a_tenant_lives_from_creation_to_purge() {
    let place = Workplace::with_tenants();
    assert_eq!(
        place.done(&["tenants", "suspend", "globex"]),
        "Tenant globex is suspended.\n"
    );
    assert_eq!(place.json(&["tenants", "resume", "globex"])["status"], "active");
    assert_eq!(
        place.done(&["tenants", "resume", "initech"]),
        "Tenant initech is active.\n"
    );

    assert_eq!(
        place.fails(&["tenants", "purge", "globex", "--yes"], 4)["kind"],
        "conflict"
    );
    assert_eq!(
        place.json(&["tenants", "delete", "globex", "--yes"])["status"],
        "deleted"
    );
    place.fails(&["tenants", "suspend", "globex"], 4);
    assert_eq!(
        place.done(&["tenants", "restore", "globex"]),
        "Tenant globex is suspended.\n"
    );
    place.fails(&["tenants", "restore", "globex"], 4);
    place.done(&["tenants", "delete", "globex", "-y"]);
    assert_eq!(
        place.json(&["tenants", "purge", "globex", "--yes"]),
        json!({ "purged": "globex" })
    );

    place.fails(&["tenants", "show", "globex"], 3);
    let again = place.done(&["tenants", "create", "globex"]);
    assert_eq!(again, "Created tenant globex-2 with the slug globex.\n");
}

#[test]
fn a_slug_in_place_of_an_id_is_refused_and_the_id_named() {
    let place = Workplace::new();
    place.done(&["tenants", "create", "acme", "--id", "customer-7"]);
    for change in [
        &["tenants", "suspend", "acme"][..],
        &["tenants", "update", "acme", "--plan", "pro"],
        &["tenants", "maintenance", "acme", "on"],
        &["tenants", "delete", "acme", "--yes"],
        &["domains", "add", "acme", "acme.example"],
        &["domains", "list", "acme"],
    ] {
        let error = place.fails(change, 3);
        assert!(
            error["advice"].as_str().unwrap().contains("customer-7"),
            "{change:?}: {error}"
        );
    }
    assert_eq!(place.json(&["tenants", "show", "acme"])["status"], "active");
}

#[test]
fn nothing_is_deleted_unasked_without_a_terminal() {
    let place = Workplace::with_tenants();
    place.done(&["tenants", "delete", "initech", "--yes"]);
    let before = place.json(&["tenants", "list"]);
    for step in [
        &["tenants", "delete", "acme"][..],
        &["tenants", "purge", "initech"],
    ] {
        assert_eq!(place.fails(step, 2)["kind"], "usage");
        let typed = place.run_with_input(step, &format!("{}\n", step[2]));
        assert_eq!(typed.code, 2, "a pipe is no terminal");
        assert!(typed.err.contains("--yes"), "{}", typed.err);
    }
    assert_eq!(place.json(&["tenants", "list"]), before);
}

#[test]
fn an_update_changes_what_is_named_and_nothing_else() {
    let place = Workplace::with_tenants();
    place.done(&["tenants", "update", "acme", "--slug", "acme-shop", "--no-type"]);
    let tenant = place.json(&["tenants", "show", "acme-shop"]);
    assert_eq!(
        (&tenant["id"], &tenant["slug"], &tenant["plan"], &tenant["type"]),
        (&json!("acme"), &json!("acme-shop"), &json!("pro"), &json!(null))
    );
    assert_eq!(place.run(&["tenants", "update", "acme"]).code, 2);
    assert_eq!(
        place
            .run(&["tenants", "update", "acme", "--plan", "a", "--no-plan"])
            .code,
        2
    );
    place.fails(&["tenants", "update", "acme", "--slug", "globex"], 4);
    place.fails(&["tenants", "update", "acme", "--tenant-settings", "{"], 5);
    place.fails(
        &["tenants", "update", "acme", "--tenant-settings", "@missing.json"],
        5,
    );
}

#[test]
fn domains_are_given_listed_and_taken_away() {
    let place = Workplace::with_tenants();
    let added = place.done(&["domains", "add", "acme", "Käse.example", "--primary"]);
    assert_eq!(added, "Tenant acme has: xn--kse-qla.example\n");
    assert_eq!(
        without_times(&place.done(&["domains", "list", "acme"])),
        [
            "DOMAIN                 PRIMARY  ACTIVE",
            "xn--kse-qla.example    yes      yes",
            "shop.acme.example      no       yes",
            "xn--bcher-kva.example  no       yes",
        ]
    );
    let left = place.json(&["domains", "remove", "acme", "shop.acme.example"]);
    assert_eq!(left["domains"].as_array().unwrap().len(), 2);
    assert_eq!(
        place.json(&["domains", "list", "acme"])["domains"][0]["is_primary"],
        true
    );
    assert_eq!(
        place.done(&["domains", "list", "globex"]),
        "Tenant globex has no domain.\n"
    );

    place.fails(&["domains", "add", "globex", "bücher.example"], 4);
    place.fails(&["domains", "add", "globex", "127.0.0.1"], 5);
    place.fails(&["domains", "remove", "acme", "shop.acme.example"], 3);
    place.fails(&["domains", "list", "nobody"], 3);
}

#[test]
fn an_import_leaves_what_is_there_and_tells_what_it_could_not() {
    let place = Workplace::with_tenants();
    place.write(
        "more.toml",
        "[[tenant]]\nslug = \"acme\"\nplan = \"other\"\n\
         [[tenant]]\nslug = \"hooli\"\ndomains = [\"hooli.example\"]\n\
         [[tenant]]\nslug = \"pied-piper\"\ndomains = [\"shop.acme.example\"]\n",
    );
    let ended = place.run(&["tenants", "import", "more.toml"]);
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (1, "1 tenant created, 1 left alone.\n")
    );
    assert!(
        ended
            .err
            .contains("1 tenant could not be imported\n  - pied-piper: the domain shop.acme.example"),
        "{}",
        ended.err
    );
    assert_eq!(place.json(&["tenants", "show", "acme"])["plan"], "pro");

    let again = place.run(&["tenants", "import", "more.toml", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!((again.code, &report["created"]), (1, &json!([])));
    assert_eq!(report["existing"], json!(["acme", "hooli"]));
    assert_eq!(report["failed"][0]["slug"], "pied-piper");
}

#[test]
fn a_file_with_mistakes_imports_nothing_and_makes_no_catalogue() {
    let place = Workplace::new();
    place.write(
        "bad.toml",
        "[[tenant]]\nslug = \"good\"\n[[tenant]]\nslug = \"Bad\"\ncolour = 1\n",
    );
    let error = place.fails(&["tenants", "import", "bad.toml"], 5);
    let mistakes: Vec<_> = error["details"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line.as_str().unwrap())
        .collect();
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    assert!(
        mistakes[0].starts_with("bad.toml:4: ") && mistakes[1].starts_with("bad.toml:5: "),
        "{mistakes:?}"
    );
    place.fails(&["tenants", "import", "missing.toml"], 5);
    assert!(!place.catalogue().exists());
}
