use std::fs;

use serde_json::{Value, json};
use tenancy::gate::BypassKey;

use crate::support::Workplace;

/// All bytes that the catalogue keeps.
fn kept(place: &Workplace) -> Vec<u8> {
    let entries = fs::read_dir(place.path("tenancy-data")).unwrap();
    entries
        .flat_map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn maintenance_goes_on_and_off() {
    let place = Workplace::with_tenants();
    let on = place.done(&[
        "tenants",
        "maintenance",
        "acme",
        "on",
        "--retry-after",
        "600",
        "--redirect",
        "/soon",
    ]);
    assert_eq!(on, "Tenant acme is in maintenance.\n");
    let shown = place.done(&["tenants", "show", "acme"]);
    assert!(
        shown.contains("maintenance  on, answers 503 with Retry-After 600 s, sends browsers to /soon\n"),
        "{shown}"
    );
    place.write("page.html", "<h1>Soon</h1>");
    let page = [
        "tenants",
        "maintenance",
        "acme",
        "on",
        "--page",
        "page.html",
        "--status",
        "599",
    ];
    assert_eq!(
        place.json(&page)["tenant"]["maintenance"],
        json!({ "status": 599, "retry_after": 60, "redirect": null, "has_page": true, "has_bypass": false })
    );
    let off = place.done(&["tenants", "maintenance", "acme", "off"]);
    assert_eq!(off, "Tenant acme is out of maintenance.\n");
    assert_eq!(
        place.json(&["tenants", "show", "acme"])["maintenance"],
        json!(null)
    );
}

#[test]
fn a_generated_secret_is_shown_once_and_only_its_key_is_kept() {
    let place = Workplace::with_tenants();
    let answer = place.json(&["tenants", "maintenance", "acme", "on", "--generate-secret"]);
    let secret = answer["bypass"]["secret"].as_str().unwrap();
    assert_eq!(
        answer["bypass"]["example"].as_str().unwrap(),
        format!("https://shop.acme.example/?tenancy-bypass={secret}")
    );
    let key = BypassKey::from_secret(secret).unwrap().to_hex();
    let kept = kept(&place);
    assert!(contains(&kept, &key) && !contains(&kept, secret));

    for look in [
        &["tenants", "show", "acme"][..],
        &["tenants", "show", "acme", "--json"],
        &["tenants", "list", "--json"],
    ] {
        let shown = place.done(look);
        assert!(!shown.contains(secret) && !shown.contains(&key), "{look:?}");
    }
    assert!(place.done(&["tenants", "show", "acme"]).contains("has a bypass"));
}

#[test]
fn a_given_secret_is_never_printed_back() {
    let place = Workplace::with_tenants();
    let on = place.run_with_input(
        &["tenants", "maintenance", "globex", "on", "--secret", "-"],
        "correct horse battery\n",
    );
    assert_eq!((on.code, on.err.as_str()), (0, ""));
    assert!(
        on.out.contains("https://globex.localhost/?tenancy-bypass=SECRET"),
        "{}",
        on.out
    );
    assert!(!on.out.contains("horse"), "{}", on.out);
    let key = BypassKey::from_secret("correct horse battery").unwrap().to_hex();
    assert!(
        contains(&kept(&place), &key),
        "the line break is no part of the secret"
    );

    let again = place.json(&[
        "tenants",
        "maintenance",
        "globex",
        "on",
        "--secret",
        "another horse battery",
    ]);
    assert_eq!(again["bypass"]["secret"], Value::Null);
    assert!(!contains(&kept(&place), &key), "`on` replaces what was set");
}

#[test]
fn what_can_not_work_is_refused_and_changes_nothing() {
    let place = Workplace::with_tenants();
    place.write("empty.html", "");
    let on = |rest: &[&'static str]| [&["tenants", "maintenance", "acme", "on"], rest].concat();
    for bad in [
        on(&["--status", "200"]),
        on(&["--redirect", "javascript:alert(1)"]),
        on(&["--redirect", "//evil.example"]),
        on(&["--page", "empty.html"]),
        on(&["--page", "missing.html"]),
        on(&["--secret", "short"]),
        on(&["--secret", ""]),
    ] {
        place.fails(&bad, 5);
    }
    let too_long = "x".repeat(BypassKey::MAX_SECRET_BYTES + 1);
    let ended = place.run_with_input(&on(&["--secret", "-"]), &too_long);
    assert_eq!(ended.code, 5, "{}", ended.err);
    assert_eq!(place.run(&on(&["--secret", "x", "--generate-secret"])).code, 2);
    place.fails(
        &["tenants", "maintenance", "acme", "off", "--retry-after", "1"],
        2,
    );
    place.fails(&["tenants", "maintenance", "nobody", "on"], 3);
    assert_eq!(
        place.json(&["tenants", "show", "acme"])["maintenance"],
        json!(null)
    );
}
