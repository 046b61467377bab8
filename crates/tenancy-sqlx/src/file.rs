//! Tenants in a TOML file, to be registered when a server starts.
//!
//! A mistake in the file is an error that names the file, the line and the reason; all mistakes are found at
//! once. Register the tenants with [`SqlStore::ensure_many`](crate::store::SqlStore::ensure_many): those that
//! exist are left alone, so that the file may be read at every start.
//!
//! ```
//! use tenancy_sqlx::file::TenantsFile;
//!
//! let file = TenantsFile::parse(
//!     r#"
//!     [[tenant]]
//!     slug = "acme"
//!     plan = "pro"
//!     type = "customer"
//!     domains = ["shop.acme.example"]
//!     settings = { colour = "green" }
//!     "#,
//!     "tenants.toml",
//! )?;
//! assert_eq!(file.tenants[0].settings.as_deref(), Some(r#"{"colour":"green"}"#));
//! # Ok::<(), tenancy_sqlx::file::TenantsFileError>(())
//! ```
//!
//! ```
//! use tenancy_sqlx::file::TenantsFile;
//!
//! let error = TenantsFile::parse("[[tenant]]\nslug = \"Acme\"\ncolor = 1\n", "tenants.toml").unwrap_err();
//! let lines: Vec<usize> = error.mistakes().iter().map(|mistake| mistake.line).collect();
//! assert_eq!(lines, [2, 3]);
//! ```

use std::{collections::HashMap, error::Error, fmt, io, ops::Range, path::Path};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{CatalogueError, NewTenant, names};

/// The tenants of a file. See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TenantsFile {
    /// The tenants, in the order of the file. Their names are checked, but for those a store reserves beyond
    /// [`RESERVED_NAMES`](crate::RESERVED_NAMES).
    pub tenants: Vec<NewTenant>,
}

impl TenantsFile {
    /// Reads and checks a file. Blocks the thread while it reads.
    ///
    /// # Errors
    /// When the file cannot be read or has mistakes.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, TenantsFileError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, &name),
            Err(error) => Err(TenantsFileError {
                name: name.into(),
                mistakes: Vec::new(),
                source: Some(error),
            }),
        }
    }

    /// Checks a text. `name` stands in errors for the file's name.
    ///
    /// # Errors
    /// When the text has mistakes.
    pub fn parse(text: &str, name: &str) -> Result<Self, TenantsFileError> {
        let mut reader = Reader::new(text);
        let tenants = reader.document();
        if reader.mistakes.is_empty() {
            return Ok(Self { tenants });
        }
        reader.mistakes.sort_by_key(|mistake| mistake.line);
        Err(TenantsFileError {
            name: name.into(),
            mistakes: reader.mistakes,
            source: None,
        })
    }
}

/// A mistake in a file of tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub reason: String,
}

/// A file of tenants could not be read, or has mistakes. The `Display` form has one line for each.
#[derive(Debug)]
pub struct TenantsFileError {
    name: Box<str>,
    mistakes: Vec<Mistake>,
    source: Option<io::Error>,
}

impl TenantsFileError {
    /// The mistakes, by line. Empty when the file could not be read at all.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }
}

impl fmt::Display for TenantsFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.source.is_some() {
            return write!(f, "the tenants file {} could not be read", self.name);
        }
        for (index, mistake) in self.mistakes.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{}:{}: {}", self.name, mistake.line, mistake.reason)?;
        }
        Ok(())
    }
}

impl Error for TenantsFileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|error| error as &(dyn Error + 'static))
    }
}

/// Walks the parsed tree by hand: a deserializer stops at its first mistake.
struct Reader<'t> {
    text: &'t str,
    mistakes: Vec<Mistake>,
    line_of_slug: HashMap<String, usize>,
    line_of_domain: HashMap<String, usize>,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            mistakes: Vec::new(),
            line_of_slug: HashMap::new(),
            line_of_domain: HashMap::new(),
        }
    }

    fn document(&mut self) -> Vec<NewTenant> {
        let (document, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            self.mistake(error.span().unwrap_or_default(), error.message().to_owned());
        }
        let mut tenants = Vec::new();
        for (key, value) in document.get_ref() {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("tenant", DeValue::Array(entries)) => {
                    tenants.extend(entries.iter().filter_map(|entry| self.tenant(entry)));
                }
                ("tenant", _) => self.mistake(value.span(), "write `[[tenant]]`, with two brackets"),
                (other, _) => self.mistake(
                    key.span(),
                    format!("unknown key `{}`; known is `tenant`", other.escape_debug()),
                ),
            }
        }
        tenants
    }

    fn tenant(&mut self, entry: &Spanned<DeValue<'_>>) -> Option<NewTenant> {
        let DeValue::Table(table) = entry.get_ref() else {
            self.mistake(entry.span(), "a tenant must be a table");
            return None;
        };
        let mut tenant = NewTenant::new("");
        let mut has_slug = false;
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "slug" => {
                    has_slug = true;
                    tenant.slug = self.slug(value);
                }
                "plan" => tenant.plan = self.word("plan", value),
                "type" => tenant.tenant_type = self.word("type", value),
                "domains" => tenant.domains = self.domains(value),
                "settings" => tenant.settings = self.settings(value),
                other => self.mistake(
                    key.span(),
                    format!(
                        "unknown key `{}`; known are `slug`, `plan`, `type`, `domains`, `settings`",
                        other.escape_debug()
                    ),
                ),
            }
        }
        if !has_slug {
            self.mistake(entry.span(), "the tenant has no `slug`");
        }
        Some(tenant)
    }

    fn slug(&mut self, value: &Spanned<DeValue<'_>>) -> String {
        let Some(slug) = self.string("slug", value) else {
            return String::new();
        };
        let checked = names::check_slug(&slug, &[]);
        self.keep(value.span(), checked);
        let line = self.line_of(value.span());
        if let Some(first) = self.line_of_slug.insert(slug.clone(), line) {
            self.mistake(value.span(), format!("the slug is the same as in line {first}"));
        }
        slug
    }

    fn word(&mut self, what: &'static str, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let word = self.string(what, value)?;
        let checked = names::check_word(what, Some(&word));
        self.keep(value.span(), checked)?;
        Some(word)
    }

    fn domains(&mut self, value: &Spanned<DeValue<'_>>) -> Vec<String> {
        let DeValue::Array(domains) = value.get_ref() else {
            self.mistake(value.span(), "`domains` must be an array of strings");
            return Vec::new();
        };
        domains.iter().filter_map(|domain| self.domain(domain)).collect()
    }

    fn domain(&mut self, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let given = self.string("domains", value)?;
        let domain = self.keep(value.span(), names::check_domain(&given))?;
        let line = self.line_of(value.span());
        if let Some(first) = self.line_of_domain.insert(domain.clone(), line) {
            self.mistake(value.span(), format!("the domain is the same as in line {first}"));
        }
        Some(domain)
    }

    fn settings(&mut self, value: &Spanned<DeValue<'_>>) -> Option<String> {
        if !matches!(value.get_ref(), DeValue::Table(_)) {
            self.mistake(value.span(), "`settings` must be a table");
            return None;
        }
        let text = self.json(value)?.to_string();
        let checked = names::check_settings(Some(&text));
        self.keep(value.span(), checked)?;
        Some(text)
    }

    fn json(&mut self, value: &Spanned<DeValue<'_>>) -> Option<serde_json::Value> {
        use serde_json::Value;
        let json = match value.get_ref() {
            DeValue::String(text) => Some(Value::from(text.as_ref())),
            DeValue::Boolean(flag) => Some(Value::from(*flag)),
            DeValue::Datetime(moment) => Some(Value::from(moment.to_string())),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .ok()
                .map(Value::from),
            DeValue::Float(number) => number
                .as_str()
                .parse()
                .ok()
                .and_then(serde_json::Number::from_f64)
                .map(Value::from),
            DeValue::Array(items) => {
                return items
                    .iter()
                    .map(|item| self.json(item))
                    .collect::<Option<Vec<_>>>()
                    .map(Value::from);
            }
            DeValue::Table(table) => {
                return table
                    .iter()
                    .map(|(key, item)| Some((key.get_ref().to_string(), self.json(item)?)))
                    .collect::<Option<serde_json::Map<_, _>>>()
                    .map(Value::from);
            }
        };
        if json.is_none() {
            self.mistake(value.span(), "the number has no JSON form of 64 bits");
        }
        json
    }

    fn string(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<String> {
        if let DeValue::String(text) = value.get_ref() {
            return Some(text.to_string());
        }
        self.mistake(
            value.span(),
            format!("`{key}` must be a string, not {}", value.get_ref().type_str()),
        );
        None
    }

    fn keep<T>(&mut self, span: Range<usize>, checked: Result<T, CatalogueError>) -> Option<T> {
        checked
            .map_err(|error| {
                let reason = error
                    .operator_detail()
                    .map_or_else(|| error.to_string(), str::to_owned);
                self.mistake(span, reason);
            })
            .ok()
    }

    fn mistake(&mut self, span: Range<usize>, reason: impl Into<String>) {
        let line = self.line_of(span);
        self.mistakes.push(Mistake {
            line,
            reason: reason.into(),
        });
    }

    fn line_of(&self, span: Range<usize>) -> usize {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mistakes(text: &str) -> Vec<(usize, String)> {
        TenantsFile::parse(text, "t.toml")
            .unwrap_err()
            .mistakes
            .into_iter()
            .map(|mistake| (mistake.line, mistake.reason))
            .collect()
    }

    #[test]
    fn a_full_file_is_read_in_order() {
        let file = TenantsFile::parse(
            r#"
            [[tenant]]
            slug = "globex"
            domains = ["Bücher.example"]
            [[tenant]]
            slug = "acme"
            plan = "pro"
            type = "customer"
            settings = { colour = "green", limit = 0x10, deep = { list = [1.5, true, 2026-01-02] } }
            "#,
            "t.toml",
        )
        .unwrap();
        assert_eq!(file.tenants[0].slug, "globex");
        assert_eq!(file.tenants[0].domains, ["xn--bcher-kva.example"]);
        assert_eq!(file.tenants[1].plan.as_deref(), Some("pro"));
        assert_eq!(file.tenants[1].tenant_type.as_deref(), Some("customer"));
        let settings: serde_json::Value =
            serde_json::from_str(file.tenants[1].settings.as_deref().unwrap()).unwrap();
        let expected =
            serde_json::json!({"colour": "green", "limit": 16, "deep": {"list": [1.5, true, "2026-01-02"]}});
        assert_eq!(settings, expected);
    }

    #[test]
    fn an_empty_file_has_no_tenants() {
        assert!(TenantsFile::parse("", "t.toml").unwrap().tenants.is_empty());
    }

    #[test]
    fn all_mistakes_are_found_at_once_with_their_lines() {
        let found = mistakes(
            r#"[[tenant]]
slug = "Acme"
color = 1
[[tenant]]
plan = ""
[[tenant]]
slug = "www"
domains = ["a.example", "127.0.0.1", 7, "A.example."]
settings = { nan = nan }
[[tenant]]
slug = "twice"
[[tenant]]
slug = "twice"
[unknown]
"#,
        );
        let lines: Vec<usize> = found.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 7, 8, 8, 8, 9, 13, 14], "{found:#?}");
        let reasons: Vec<&str> = found.iter().map(|(_, reason)| reason.as_str()).collect();
        for (index, part) in [
            (0, "slug \"Acme\" is not valid"),
            (1, "unknown key `color`"),
            (2, "has no `slug`"),
            (4, "\"www\" is reserved"),
            (9, "same as in line 11"),
            (10, "unknown key `unknown`"),
        ] {
            assert!(reasons[index].contains(part), "{}: {}", index, reasons[index]);
        }
    }

    #[test]
    fn the_error_names_file_and_line() {
        let error = TenantsFile::parse("x = 1", "etc/t.toml").unwrap_err();
        assert!(
            error.to_string().starts_with("etc/t.toml:1: unknown key `x`"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_file_keeps_the_cause() {
        let error = TenantsFile::read("/nowhere/tenants.toml").unwrap_err();
        assert!(error.to_string().contains("/nowhere/tenants.toml"));
        assert!(error.source().is_some());
    }

    #[test]
    fn broken_toml_is_a_mistake_with_a_line() {
        assert_eq!(mistakes("[[tenant]]\nslug = \"a\"\nslug = \"b\"\n")[0].0, 3);
        assert_eq!(mistakes("[[tenant]]\nslug = \n")[0].0, 2);
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,60}", slug in "\\PC{0,10}") {
            let _ = TenantsFile::parse(&text, "t");
            let _ = TenantsFile::parse(&format!("[[tenant]]\nslug = {slug:?}\n{text}"), "t");
        }
    }
}
