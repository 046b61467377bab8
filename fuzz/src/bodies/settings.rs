//! A settings file and an environment.

use tenancy::MemoryStore;
use tenancy_server::settings::{Settings, Sources};

const FILE: &str = "s.toml";

/// Loads a settings file. After a line `%%`, lines of the form `NAME=value` are the environment. Returns whether the
/// settings can be used.
pub fn settings(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else {
        return false;
    };
    let (file, environment) = text.split_once("\n%%\n").unwrap_or((text, ""));
    let variables = environment.lines().filter_map(|line| line.split_once('='));
    match Sources::new().text(FILE, file).variables(variables).load() {
        Ok(loaded) => {
            check_settings(&loaded.settings);
            true
        }
        Err(error) => {
            assert!(!error.mistakes().is_empty());
            for mistake in error.mistakes() {
                assert!(!mistake.reason.is_empty(), "{error}");
                check_source(&mistake.source, file, environment);
            }
            false
        }
    }
}

/// What was loaded is refused by nothing later, and survives being written out.
fn check_settings(settings: &Settings) {
    let stack = settings
        .stack(MemoryStore::new())
        .expect("loaded settings make a stack");
    stack.build().expect("loaded settings build");
    let written = toml::to_string(settings).expect("settings can be written");
    let again = Sources::new()
        .text(FILE, written)
        .load()
        .expect("what was written can be read");
    assert_eq!(again.settings, *settings);
}

fn check_source(source: &str, file: &str, environment: &str) {
    match source.strip_prefix("s.toml:") {
        Some(line) => {
            let line: usize = line.parse().expect("a line is a number");
            let last = 1 + file.matches('\n').count();
            assert!((1..=last).contains(&line), "line {line} of {last}");
        }
        None => {
            let mut names = environment.lines().filter_map(|line| line.split_once('='));
            assert!(names.any(|(name, _)| name == source), "{source}");
        }
    }
}
