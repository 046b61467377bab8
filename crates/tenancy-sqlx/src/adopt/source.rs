//! Names and texts that become a part of SQL.

use tenancy_core::InvalidName;

use crate::CatalogueError;

const MAX_NAME_CHARS: usize = 128;

/// Where a value stands: in a column, or at a key in a column of JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source<'a> {
    pub(super) column: &'a str,
    pub(super) key: Option<&'a str>,
}

impl<'a> Source<'a> {
    pub(super) fn parse(given: &'a str) -> Result<Self, CatalogueError> {
        let (column, key) = match given.split_once("->") {
            Some((column, key)) => (column, Some(key)),
            None => (given, None),
        };
        check_name("column", column)?;
        if let Some(key) = key {
            check_key(key)?;
        }
        Ok(Self { column, key })
    }

    pub(super) fn parse_optional(given: Option<&'a String>) -> Result<Option<Self>, CatalogueError> {
        given.map(|given| Self::parse(given)).transpose()
    }
}

pub(super) fn check_name(what: &'static str, name: &str) -> Result<(), CatalogueError> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if name.chars().count() > MAX_NAME_CHARS {
        "it is longer than 128 characters"
    } else if name.chars().any(char::is_control) {
        "it has a control character"
    } else {
        return Ok(());
    };
    Err(refused(what, name, reason))
}

/// What the adoption makes can not be what it is made of.
pub(super) fn check_table(name: &str) -> Result<(), CatalogueError> {
    check_name("table", name)?;
    let lower = name.to_ascii_lowercase();
    if lower.starts_with("tenancy_") || lower.starts_with("sqlite_") {
        return Err(refused(
            "table",
            name,
            "names that begin so are not the application's",
        ));
    }
    Ok(())
}

/// A JSON path has no way to escape a quote in a key.
fn check_key(key: &str) -> Result<(), CatalogueError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if key.is_empty() || key.len() > MAX_NAME_CHARS || !key.bytes().all(is_plain) {
        return Err(refused(
            "JSON key",
            key,
            "at most 128 letters, digits, '_' and '-' are allowed",
        ));
    }
    Ok(())
}

pub(super) fn check_text(what: &'static str, text: &str) -> Result<(), CatalogueError> {
    if text.chars().count() > MAX_NAME_CHARS || text.chars().any(char::is_control) {
        return Err(refused(
            what,
            text,
            "at most 128 characters, and no control characters, are allowed",
        ));
    }
    Ok(())
}

fn refused(what: &'static str, name: &str, reason: &'static str) -> CatalogueError {
    CatalogueError::invalid_name(
        "a name can not stand in SQL",
        InvalidName::new(what, name, reason),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_column_or_a_key_in_one() {
        for (given, column, key) in [
            ("plan", "plan", None),
            ("my plan\"", "my plan\"", None),
            ("data->tenancy_db_name", "data", Some("tenancy_db_name")),
        ] {
            assert_eq!(Source::parse(given).unwrap(), Source { column, key });
        }
        for bad in [
            "", "->a", "a->", "a->b->c", "a->b\"c", "a->b'c", "a->$.b", "a\0b", "a\nb",
        ] {
            assert!(Source::parse(bad).unwrap_err().is_invalid(), "{bad:?}");
        }
        assert!(Source::parse(&"a".repeat(129)).is_err());
    }

    #[test]
    fn tables_of_tenancy_are_not_the_applications() {
        assert!(check_table("tenants").is_ok());
        for bad in ["tenancy_changes", "TENANCY_x", "sqlite_schema", ""] {
            assert!(check_table(bad).unwrap_err().is_invalid(), "{bad:?}");
        }
    }
}
