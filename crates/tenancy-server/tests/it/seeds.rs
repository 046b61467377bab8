//! The seeds of the fuzz targets, and all that they begin with, through the functions that are fuzzed. What fuzzing
//! finds becomes a seed.

use std::{collections::BTreeSet, fs, path::Path};

#[expect(unreachable_pub, reason = "the fuzz targets use it as a library")]
#[path = "../../../../fuzz/src/bodies/mod.rs"]
mod bodies;

/// Runs all beginnings of all seeds, and returns what came of the whole ones.
fn replay<T>(target: &str, run: impl Fn(&[u8]) -> T) -> Vec<T> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(target);
    let whole = |path: &Path| {
        let seed = fs::read(path).unwrap();
        for end in 0..seed.len() {
            run(&seed[..end]);
        }
        run(&seed)
    };
    let entries = fs::read_dir(&seeds).unwrap();
    entries.map(|entry| whole(&entry.unwrap().path())).collect()
}

#[test]
fn authority() {
    assert!(replay("authority", bodies::authority).len() > 10);
}

#[test]
fn cache_entries_with_and_without_a_value() {
    let outcomes: BTreeSet<Option<bool>> = replay("cache_entry", bodies::cache_entry).into_iter().collect();
    assert_eq!(outcomes, [None, Some(false), Some(true)].into());
}

#[test]
fn identifiers_find_keys_of_every_kind() {
    let keys: BTreeSet<String> = replay("identifiers", bodies::identifiers)
        .into_iter()
        .flatten()
        .collect();
    for key in ["slug:acme", "id:acme", "domain:shop.acme.example", "api-key:acme"] {
        assert!(keys.contains(key), "{key} is not among {keys:?}");
    }
}

#[test]
fn requests_reach_everybody_in_every_stack() {
    let stacks = bodies::Stacks::new();
    let answers = replay("request", |seed| stacks.request(seed));
    for stack in 0..3 {
        for who in [Some("acme"), Some("globex"), Some("central"), None] {
            let answered = answers.iter().any(|answer| answer[stack].as_deref() == who);
            assert!(answered, "{who:?} in stack {stack}: {answers:?}");
        }
    }
}

#[test]
fn files_of_tenants_good_and_bad() {
    let outcomes: BTreeSet<bool> = replay("tenants_file", bodies::tenants_file).into_iter().collect();
    assert_eq!(outcomes.len(), 2);
}

#[test]
fn settings_good_and_bad() {
    let outcomes: BTreeSet<bool> = replay("settings", bodies::settings).into_iter().collect();
    assert_eq!(outcomes.len(), 2);
}
