use std::ops::Range;

use serde::{Deserialize, de::IntoDeserializer};
use toml::{
    Spanned, Table, Value,
    de::{DeTable, DeValue},
};

use super::sources::SERVERS;

/// A TOML text as keys in sections, each with the line it stands on.
#[derive(Default)]
pub(super) struct Document {
    /// Sections by name, also those without keys.
    pub(super) sections: Vec<(Line, String)>,
    /// Keys such as `server.listen`.
    pub(super) entries: Vec<Entry>,
    pub(super) mistakes: Vec<Mistake>,
}

/// A line of the text, from 1.
pub(super) type Line = usize;

pub(super) struct Entry {
    pub(super) line: Line,
    pub(super) key: String,
    pub(super) value: Value,
}

pub(super) struct Mistake {
    pub(super) line: Line,
    /// Empty when it is about no key.
    pub(super) key: String,
    pub(super) reason: String,
}

impl Document {
    /// However a key is spelled (under its section's header, dotted, in an inline table), it comes out the same.
    pub(super) fn parse(text: &str) -> Self {
        let mut document = Self::default();
        let (root, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            // What recovery makes of broken text is a guess: it is not looked at.
            let mistakes = errors.into_iter().map(|error| Mistake {
                line: line_of(text, error.span().unwrap_or_default()),
                key: String::new(),
                reason: error.message().to_owned(),
            });
            document.mistakes.extend(mistakes);
            document.sort();
            return document;
        }
        for (name, value) in root.into_inner() {
            let line = line_of(text, name.span());
            let section = name.into_inner().into_owned();
            let DeValue::Table(keys) = value.into_inner() else {
                document.mistakes.push(Mistake {
                    line,
                    key: section,
                    reason: "keys stand in sections: [server], [tenancy], [catalogue], [databases], [cache], [memory], \
                             [admin], [log]"
                        .to_owned(),
                });
                continue;
            };
            for (name, value) in keys {
                let line = line_of(text, name.span());
                document.entries_of(text, line, format!("{section}.{}", name.into_inner()), value);
            }
            document.sections.push((line, section));
        }
        document.sort();
        document
    }

    /// A key's own entry; where its keys are further servers, that of each of theirs.
    fn entries_of(&mut self, text: &str, line: Line, key: String, value: Spanned<DeValue<'_>>) {
        if key != SERVERS || !matches!(value.get_ref(), DeValue::Table(_)) {
            return self.entry(line, key, value);
        }
        let DeValue::Table(servers) = value.into_inner() else {
            return;
        };
        for (name, server) in servers {
            let line = line_of(text, name.span());
            let name = name.into_inner();
            let key = format!("{key}.{name}");
            if name.contains('.') {
                self.mistakes.push(Mistake {
                    line,
                    key,
                    reason: "a server's name has no dot".to_owned(),
                });
                continue;
            }
            match server.into_inner() {
                DeValue::Table(keys) => {
                    // Also a server of which nothing is said is one.
                    self.entries.push(Entry {
                        line,
                        key: key.clone(),
                        value: Value::Table(Table::new()),
                    });
                    for (name, value) in keys {
                        let line = line_of(text, name.span());
                        self.entry(line, format!("{key}.{}", name.into_inner()), value);
                    }
                }
                // Refused where it is checked.
                _ => self.entries.push(Entry {
                    line,
                    key,
                    value: Value::Boolean(false),
                }),
            }
        }
    }

    fn entry(&mut self, line: Line, key: String, value: Spanned<DeValue<'_>>) {
        match Value::deserialize(value.into_deserializer()) {
            Ok(value) => self.entries.push(Entry { line, key, value }),
            Err(error) => self.mistakes.push(Mistake {
                line,
                key,
                reason: error.message().to_owned(),
            }),
        }
    }

    fn sort(&mut self) {
        self.sections.sort();
        self.entries.sort_by_key(|entry| entry.line);
        self.mistakes.sort_by_key(|mistake| mistake.line);
    }
}

fn line_of(text: &str, span: Range<usize>) -> Line {
    let before = text.as_bytes().get(..span.start).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}
