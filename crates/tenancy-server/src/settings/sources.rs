use std::{fs, path::Path};

use serde::Deserialize;
use toml::{Table, Value};

use super::{
    document::Document,
    error::{SettingsError, SettingsMistake},
    model::Settings,
};

const PREFIX: &str = "TENANCY__";

/// Where settings come from. What is added later wins within a kind; overrides win over all.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    texts: Vec<(String, Result<String, String>)>,
    /// `None` stands for a value that is not Unicode.
    variables: Vec<(String, Option<String>)>,
    overrides: Vec<(String, String, Value)>,
}

/// Settings that can be used, and what should be said about them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LoadedSettings {
    /// The settings.
    pub settings: Settings,
    /// What was ignored, one sentence each.
    pub warnings: Vec<String>,
}

impl Sources {
    /// No source but the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a TOML file. One that can not be read is reported by [`load`](Self::load).
    #[must_use]
    pub fn file(mut self, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(|error| format!("it can not be read: {error}"));
        self.texts.push((path.display().to_string(), text));
        self
    }

    /// Adds TOML text under a name.
    #[must_use]
    pub fn text(mut self, name: impl Into<String>, toml: impl Into<String>) -> Self {
        self.texts.push((name.into(), Ok(toml.into())));
        self
    }

    /// Adds the environment of this process. A setting whose value is not Unicode is reported by
    /// [`load`](Self::load).
    #[must_use]
    pub fn environment(mut self) -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok())));
        self.add_variables(variables);
        self
    }

    /// Adds variables. Those that do not begin with `TENANCY_` are left alone.
    #[must_use]
    pub fn variables<N: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.into(), Some(value.into())));
        self.add_variables(variables);
        self
    }

    fn add_variables(&mut self, variables: impl Iterator<Item = (String, Option<String>)>) {
        self.variables
            .extend(variables.filter(|(name, _)| name.starts_with("TENANCY_")));
    }

    /// Sets a key, such as `server.listen`, whatever file and environment say. `source` is named in errors: `--listen`.
    #[must_use]
    pub fn set(mut self, source: impl Into<String>, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.overrides.push((source.into(), key.into(), value.into()));
        self
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    /// When anything is unknown or impossible; all mistakes are named at once.
    pub fn load(self) -> Result<LoadedSettings, SettingsError> {
        let mut mistakes = Vec::new();
        let mut merged = Merged::default();
        for (name, text) in self.texts {
            match text {
                Ok(text) => merged.add_text(&name, &text, &mut mistakes),
                Err(reason) => mistakes.push(whole(&name, reason)),
            }
        }
        let mut ignored = Vec::new();
        for (name, value) in &self.variables {
            match (key_of_variable(name), value) {
                (Some(key), Some(value)) => merged.add_variable(name, &key, value, &mut mistakes),
                (Some(key), None) => mistakes.push(SettingsMistake {
                    source: name.clone(),
                    key,
                    reason: "it is not Unicode".to_owned(),
                }),
                (None, _) => ignored.push(name.as_str()),
            }
        }
        for (source, key, value) in self.overrides {
            merged.add(&source, &key, value, &mut mistakes);
        }
        let settings = match Settings::deserialize(std::mem::take(&mut merged.table)) {
            Ok(settings) => settings,
            Err(error) => {
                // Every single value was accepted alone, so this can not be reached by one value's fault.
                mistakes.push(whole("all sources together", error.message().to_owned()));
                return Err(SettingsError::new(mistakes));
            }
        };
        for (key, reason) in settings.impossible_values() {
            mistakes.push(SettingsMistake {
                source: merged.origin_of(&key),
                key: key.into_owned(),
                reason,
            });
        }
        if !mistakes.is_empty() {
            return Err(SettingsError::new(mistakes));
        }
        let warnings = if ignored.is_empty() {
            Vec::new()
        } else {
            ignored.sort_unstable();
            vec![format!(
                "these environment variables are ignored, settings are spelled {PREFIX}SECTION__KEY: {}",
                ignored.join(", ")
            )]
        };
        Ok(LoadedSettings { settings, warnings })
    }
}

fn whole(source: &str, reason: String) -> SettingsMistake {
    SettingsMistake {
        source: source.to_owned(),
        key: String::new(),
        reason,
    }
}

/// `TENANCY__SERVER__LISTEN` is `server.listen`, `TENANCY__DATABASES__SERVERS__EU__URL` is `databases.servers.eu.url`.
fn key_of_variable(name: &str) -> Option<String> {
    let path = name.strip_prefix(PREFIX)?;
    let parts: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
    let is_of_servers = parts.len() > 2 && parts[..2].join(".") == SERVERS;
    let is_key = (parts.len() == 2 || is_of_servers) && parts.iter().all(|part| !part.is_empty());
    is_key.then(|| parts.join("."))
}

/// The one table whose keys are sections themselves.
pub(super) const SERVERS: &str = "databases.servers";

/// The names of a key from the outside in: two, or four where it is a further server's.
fn path_of(key: &str) -> Vec<&str> {
    let is_of_server = key
        .strip_prefix(SERVERS)
        .is_some_and(|rest| rest.starts_with('.'));
    key.splitn(if is_of_server { 4 } else { 2 }, '.').collect()
}

/// A value below the last of these names.
fn nest(path: &[&str], value: Value) -> Value {
    let wrap = |value, name: &&str| Value::Table(Table::from_iter([((*name).to_owned(), value)]));
    path.iter().rev().fold(value, wrap)
}

/// What stands where servers are and is none would be repeated by serde, and with it a password.
fn refused_as_servers(path: &[&str], value: &Value) -> Option<String> {
    let is_of_servers = path.len() > 1 && path[..2].join(".") == SERVERS;
    if !is_of_servers || path.len() == 4 || value.is_table() {
        return None;
    }
    Some(
        "each server has a section of its own, such as [databases.servers.eu], or variables such as \
         TENANCY__DATABASES__SERVERS__EU__URL"
            .to_owned(),
    )
}

/// What the sources say together, and which of them said what.
#[derive(Default)]
struct Merged {
    table: Table,
    origins: Vec<(String, String)>,
}

impl Merged {
    fn add_text(&mut self, name: &str, text: &str, mistakes: &mut Vec<SettingsMistake>) {
        let document = Document::parse(text);
        for mistake in document.mistakes {
            mistakes.push(SettingsMistake {
                source: format!("{name}:{}", mistake.line),
                key: mistake.key,
                reason: mistake.reason,
            });
        }
        let mut unknown = Vec::new();
        for (line, section) in document.sections {
            // Said once for the section, not for each of its keys.
            if let Err(reason) = check(&section, &Value::Table(Table::new())) {
                mistakes.push(SettingsMistake {
                    source: format!("{name}:{line}"),
                    key: section.clone(),
                    reason,
                });
                unknown.push(section);
            }
        }
        for entry in document.entries {
            let known = !unknown.iter().any(|section| section_of(&entry.key) == section);
            if known {
                let source = format!("{name}:{}", entry.line);
                self.add(&source, &entry.key, entry.value, mistakes);
            }
        }
    }

    /// A variable is text: it is taken as it is, as a list, as a number or a boolean, whichever the key accepts.
    fn add_variable(&mut self, name: &str, key: &str, text: &str, mistakes: &mut Vec<SettingsMistake>) {
        let list = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let list = Value::Array(list.map(Value::from).collect());
        let number = text.parse::<i64>().ok().map(Value::from);
        let boolean = text.parse::<bool>().ok().map(Value::from);
        let accepts = |value: &Value| check(key, value).is_ok();
        let text = Value::from(text);
        let accepted = [Some(&text), Some(&list), number.as_ref(), boolean.as_ref()]
            .into_iter()
            .flatten()
            .find(|value| accepts(value));
        // What no reading makes acceptable is refused as what it looks like.
        let value = accepted.or(number.as_ref()).unwrap_or(&text).clone();
        self.add(name, key, value, mistakes);
    }

    fn add(&mut self, source: &str, key: &str, value: Value, mistakes: &mut Vec<SettingsMistake>) {
        if let Err(reason) = check(key, &value) {
            mistakes.push(SettingsMistake {
                source: source.to_owned(),
                key: key.to_owned(),
                reason,
            });
            return;
        }
        merge(&mut self.table, &path_of(key), value);
        self.origins.push((key.to_owned(), source.to_owned()));
    }

    fn origin_of(&self, key: &str) -> String {
        let said = |known: &str| self.origins.iter().rev().find(|(key, _)| key == known);
        let origin = said(key).or_else(|| self.origin_of_server(key));
        origin.map_or_else(|| "default".to_owned(), |(_, source)| source.clone())
    }

    /// Who named the server that misses a key.
    fn origin_of_server(&self, key: &str) -> Option<&(String, String)> {
        let [section, servers, name, _] = path_of(key)[..] else {
            return None;
        };
        let of_server = |known: &str| path_of(known).starts_with(&[section, servers, name]);
        let own = format!("{section}.{servers}.{name}");
        self.origins
            .iter()
            .find(|(known, _)| *known == own || of_server(known))
    }
}

fn merge(table: &mut Table, path: &[&str], value: Value) {
    let [name, rest @ ..] = path else { return };
    match table.get_mut(*name) {
        Some(Value::Table(inner)) if !rest.is_empty() => merge(inner, rest, value),
        // A section without keys takes nothing away.
        Some(Value::Table(_)) if value.as_table().is_some_and(Table::is_empty) => {}
        _ => {
            table.insert((*name).to_owned(), nest(rest, value));
        }
    }
}

fn section_of(key: &str) -> &str {
    key.split_once('.').map_or(key, |(section, _)| section)
}

/// Whether settings with this one value, and defaults else, can be read.
fn check(key: &str, value: &Value) -> Result<(), String> {
    let path = path_of(key);
    if let Some(reason) = refused_as_servers(&path, value) {
        return Err(reason);
    }
    let table = nest(&path, value.clone());
    match Settings::deserialize(table) {
        Ok(_) => Ok(()),
        // Its word for what operators call a key.
        Err(error) => Err(error.message().replacen("unknown field", "unknown key", 1)),
    }
}
