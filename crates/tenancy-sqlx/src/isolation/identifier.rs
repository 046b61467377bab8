use std::fmt;

use tenancy_core::InvalidName;

use super::EngineKind;

/// The name of a database, a schema or a table. The one way in which a name gets into SQL.
///
/// 1 to 63 bytes, no NUL; anything else is allowed and quoted, so that what stands in a catalogue is taken word for word.
/// PostgreSQL cuts longer names, and two that were cut may be one: they are refused here. Cloning allocates.
///
/// ```
/// use tenancy_sqlx::isolation::{EngineKind, Identifier};
///
/// let name = Identifier::new(r#"o"brien"#)?;
/// assert_eq!(name.quoted(EngineKind::Postgres), r#""o""brien""#);
/// assert_eq!(name.quoted(EngineKind::MySql), r#"`o"brien`"#);
/// assert!(Identifier::new("").is_err());
/// # Ok::<(), tenancy_core::InvalidName>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identifier(Box<str>);

impl Identifier {
    /// The most bytes that a name may have.
    pub const MAX_BYTES: usize = 63;

    /// Checks and keeps a name. Allocates once.
    ///
    /// # Errors
    /// When it is empty, longer than 63 bytes, or has a NUL.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let fault = if name.is_empty() {
            "it is empty"
        } else if name.len() > Self::MAX_BYTES {
            "it is longer than 63 bytes"
        } else if name.contains('\0') {
            "it has a NUL"
        } else {
            return Ok(Self(name.into()));
        };
        Err(InvalidName::new("name of a database or schema", name, fault))
    }

    /// The name as it is, without quotes: for what takes names and not SQL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as it stands in SQL. Two names never give the same text.
    pub fn quoted(&self, engine: EngineKind) -> String {
        let quote = match engine {
            EngineKind::MySql => '`',
            EngineKind::Postgres | EngineKind::Sqlite => '"',
        };
        let mut quoted = String::with_capacity(self.0.len() + 2);
        quoted.push(quote);
        for letter in self.0.chars() {
            if letter == quote {
                quoted.push(quote);
            }
            quoted.push(letter);
        }
        quoted.push(quote);
        quoted
    }

    /// The name as it stands in a `GRANT` of MySQL, where it is a pattern: one that this name alone matches.
    #[cfg(all(feature = "databases", feature = "mysql"))]
    pub(crate) fn quoted_pattern(&self) -> String {
        let quoted = self.quoted(EngineKind::MySql);
        let mut pattern = String::with_capacity(quoted.len() + 8);
        for letter in quoted.chars() {
            if matches!(letter, '_' | '%' | '\\') {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        pattern
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identifier({:?})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENGINES: [EngineKind; 3] = [EngineKind::Postgres, EngineKind::MySql, EngineKind::Sqlite];

    #[test]
    fn names_are_bounded_and_have_no_nul() {
        let longest = "x".repeat(63);
        let wide = "ä".repeat(31);
        for good in ["a", " ", "A", r"\", "'", "\"", "`", "ä", "a;b--", &longest, &wide] {
            assert_eq!(Identifier::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "\0", "a\0b", &"x".repeat(64), &"ä".repeat(32)] {
            assert!(Identifier::new(bad).is_err(), "{bad:?}");
        }
    }

    #[cfg(feature = "mysql")]
    #[test]
    fn a_pattern_matches_one_name() {
        let pattern = |name| Identifier::new(name).unwrap().quoted_pattern();
        assert_eq!(pattern("acme_1"), r"`acme\_1`");
        assert_eq!(pattern("a%`b\\"), r"`a\%``b\\`");
    }

    proptest! {
        #[test]
        fn what_is_quoted_reads_back_as_the_name_and_nothing_after_it(name in "[^\0]{1,15}") {
            let name = Identifier::new(&name).unwrap();
            for engine in ENGINES {
                let quoted = name.quoted(engine);
                let quote = quoted.chars().next().unwrap();
                let inside = &quoted[1..quoted.len() - 1];
                let doubled = format!("{quote}{quote}");
                prop_assert!(!inside.replace(&doubled, "").contains(quote));
                prop_assert_eq!(inside.replace(&doubled, &quote.to_string()), name.as_str());
            }
        }

        #[test]
        fn two_names_never_give_one_text(a in "[\"`\\\\'A-Ca-c]{1,8}", b in "[\"`\\\\'A-Ca-c]{1,8}") {
            for engine in ENGINES {
                let [first, second] = [&a, &b].map(|name| Identifier::new(name).unwrap().quoted(engine));
                prop_assert_eq!(a == b, first == second);
            }
        }
    }
}
