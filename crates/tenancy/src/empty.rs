//! Empty strings of forms as nothing.
//!
//! Browsers send every field of a form, the empty ones as `""`. These functions for `#[serde(deserialize_with)]`
//! read such a field as `None`: what Laravel's `ConvertEmptyStringsToNull` does, for the fields that want it.
//!
//! ```
//! use serde::Deserialize;
//!
//! #[derive(Deserialize)]
//! struct Search {
//!     #[serde(default, deserialize_with = "tenancy::empty::as_none")]
//!     text: Option<String>,
//!     #[serde(default, deserialize_with = "tenancy::empty::as_none")]
//!     page: Option<u32>,
//! }
//!
//! let search: Search = serde_json::from_str(r#"{"text":"","page":"7"}"#)?;
//! assert_eq!((search.text, search.page), (None, Some(7)));
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! ```
//! use serde::Deserialize;
//!
//! /// White space alone counts as empty here.
//! #[derive(Deserialize)]
//! struct Profile {
//!     #[serde(default, deserialize_with = "tenancy::empty::blank_as_none")]
//!     name: Option<String>,
//! }
//!
//! let profile: Profile = serde_json::from_str(r#"{"name":"  "}"#)?;
//! assert_eq!(profile.name, None);
//! # Ok::<(), serde_json::Error>(())
//! ```

use std::{borrow::Cow, fmt::Display, str::FromStr};

use serde::{Deserialize, Deserializer, de};

#[derive(Deserialize)]
#[serde(untagged)]
enum TextOr<'a> {
    #[serde(borrow)]
    Text(Cow<'a, str>),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Nothing(()),
}

/// Reads `""`, `null` and a missing field (with `#[serde(default)]`) as `None`, and parses everything else.
///
/// # Errors
/// When what is there does not parse.
pub fn as_none<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: Display,
{
    parse(TextOr::deserialize(deserializer)?, str::is_empty)
}

/// Like [`as_none`], and reads white space alone as `None` too.
///
/// # Errors
/// When what is there does not parse.
pub fn blank_as_none<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: Display,
{
    parse(TextOr::deserialize(deserializer)?, |text| text.trim().is_empty())
}

fn parse<T, E>(value: TextOr<'_>, is_empty: impl Fn(&str) -> bool) -> Result<Option<T>, E>
where
    T: FromStr,
    T::Err: Display,
    E: de::Error,
{
    let text = match value {
        TextOr::Nothing(()) => return Ok(None),
        TextOr::Text(text) if is_empty(&text) => return Ok(None),
        TextOr::Text(text) => text,
        TextOr::Unsigned(number) => number.to_string().into(),
        TextOr::Signed(number) => number.to_string().into(),
        TextOr::Float(number) => number.to_string().into(),
        TextOr::Bool(value) => value.to_string().into(),
    };
    text.parse().map(Some).map_err(E::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, Debug, PartialEq)]
    struct Form {
        #[serde(default, deserialize_with = "as_none")]
        number: Option<i32>,
        #[serde(default, deserialize_with = "as_none")]
        text: Option<String>,
    }

    #[test]
    fn empty_is_nothing_and_zero_is_not() {
        for (json, number, text) in [
            ("{}", None, None),
            (r#"{"number":"","text":""}"#, None, None),
            (r#"{"number":null,"text":null}"#, None, None),
            (r#"{"number":"0","text":"0"}"#, Some(0), Some("0")),
            (r#"{"number":0,"text":" "}"#, Some(0), Some(" ")),
            (r#"{"number":-3,"text":"a\"b"}"#, Some(-3), Some("a\"b")),
        ] {
            let form: Form = serde_json::from_str(json).unwrap();
            assert_eq!((form.number, form.text.as_deref()), (number, text), "{json}");
        }
        assert!(serde_json::from_str::<Form>(r#"{"number":"x"}"#).is_err());
    }
}
