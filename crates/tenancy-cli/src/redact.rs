//! What is printed instead of what nobody should read over an operator's shoulder, or in a ticket.

use serde_json::{Map, Value};

const REDACTED: &str = "[redacted]";

/// Whether the application's own values of a tenant are printed. Some of them are passwords, and nobody here knows which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    Hidden,
    Shown,
}

impl Values {
    /// The JSON text to print for a JSON text.
    pub(crate) fn of(self, json: &str) -> String {
        match self {
            Self::Shown => json.to_owned(),
            Self::Hidden => keys_of(json).to_string(),
        }
    }
}

/// The names of an object, and no more: further in, names are data as often as not.
fn keys_of(json: &str) -> Value {
    match serde_json::from_str::<Map<String, Value>>(json) {
        Ok(object) => object
            .into_iter()
            .map(|(name, _)| (name, Value::from(REDACTED)))
            .collect::<Map<_, _>>()
            .into(),
        Err(_) => REDACTED.into(),
    }
}

/// A text without the passwords of the URLs in it. Hides rather too much than too little.
pub(crate) fn without_passwords(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for word in text.split_inclusive(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>'))
    {
        let word = without_user_password(word);
        without_password_parameters(&word, &mut clean);
    }
    clean
}

/// `postgres://user:password@host`. As a path, such a URL has lost one of its slashes.
fn without_user_password(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once(":/") else {
        return word.to_owned();
    };
    match rest.rsplit_once('@') {
        Some((user_and_password, host)) => match user_and_password.split_once(':') {
            Some((user, _)) => format!("{scheme}:/{user}:{REDACTED}@{host}"),
            None => word.to_owned(),
        },
        None => word.to_owned(),
    }
}

/// `?password=…`, as PostgreSQL takes it too.
fn without_password_parameters(word: &str, clean: &mut String) {
    const NAME: &str = "password=";
    let mut rest = word;
    // Lower-casing ASCII moves no byte.
    while let Some(at) = rest.to_ascii_lowercase().find(NAME) {
        let (before, value) = rest.split_at(at + NAME.len());
        clean.push_str(before);
        clean.push_str(REDACTED);
        let ends = |c: char| c == '&' || c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>');
        rest = value.find(ends).map_or("", |end| &value[end..]);
    }
    clean.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_settings_stay_and_nothing_else() {
        for (json, shown) in [
            (
                r#"{"key":"sk_live_1","deep":{"sk_live_2":[1]},"n":1,"t":true,"z":null}"#,
                r#"{"deep":"[redacted]","key":"[redacted]","n":"[redacted]","t":"[redacted]","z":"[redacted]"}"#,
            ),
            ("{}", "{}"),
            (r#"["sk_live_1"]"#, r#""[redacted]""#),
            (r#""sk_live_1""#, r#""[redacted]""#),
            ("sk_live_1 is no JSON", r#""[redacted]""#),
        ] {
            assert_eq!(Values::Hidden.of(json), shown);
            assert_eq!(Values::Shown.of(json), json);
        }
    }

    #[test]
    fn no_password_of_a_url_is_left_in_a_text() {
        for (text, clean) in [
            (
                "postgres://ada:hunter2@db.example:5432/app",
                "postgres://ada:[redacted]@db.example:5432/app",
            ),
            (
                "/srv/postgres:/ada:hunter2@db.example/app",
                "/srv/postgres:/ada:[redacted]@db.example/app",
            ),
            (
                "mysql://ada:a/b@hunter2@h, and mysql://eve:hunter2@h",
                "mysql://ada:[redacted]@h, and mysql://eve:[redacted]@h",
            ),
            ("redis://:hunter2@h", "redis://:[redacted]@h"),
            (
                "at \"postgres://h/app?user=ada&Password=hunter2&x=1\" it",
                "at \"postgres://h/app?user=ada&Password=[redacted]&x=1\" it",
            ),
            (
                "?password=hunter2\n?password=hunter2",
                "?password=[redacted]\n?password=[redacted]",
            ),
            ("postgres://ada@db.example/app", "postgres://ada@db.example/app"),
            ("https://example.com:8000/a b@c", "https://example.com:8000/a b@c"),
            ("/srv/app.db: no such file", "/srv/app.db: no such file"),
            ("", ""),
        ] {
            assert_eq!(without_passwords(text), clean);
        }
    }
}
