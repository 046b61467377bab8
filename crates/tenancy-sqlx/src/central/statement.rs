use std::borrow::Cow;

use sqlx::{Arguments, AssertSqlSafe, Encode, SqlSafeStr as _, SqlStr, Type, error::BoxDynError};

use super::Dialect;

/// Begins a statement.
pub(crate) fn sql(text: &'static str) -> Statement {
    Statement {
        text: Cow::Borrowed(text),
        values: Vec::new(),
    }
}

/// One statement and its values. Its text comes from this program alone: there is no way to put anything else into it.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    text: Cow<'static, str>,
    values: Vec<Value>,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Text(String),
    Blob(Vec<u8>),
}

/// What is one statement for one item and for many: `item` is repeated between the other texts, after a comma.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ForEach {
    pub(crate) before: &'static str,
    pub(crate) item: &'static str,
    pub(crate) after: &'static str,
}

/// Few enough that all databases take their values at once.
const ITEMS_AT_ONCE: usize = 64;
/// Small enough for what servers take as one packet. One item may have more.
const BYTES_AT_ONCE: usize = 512 * 1024;
/// A statement with more is large, and hardly ever sent again as it is.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
const KEPT_VALUES: usize = 128;

impl ForEach {
    /// Few statements, in the order of the items, each the values of one. Their sizes are powers of two, so that there are few
    /// texts to keep prepared.
    pub(crate) fn statements(self, items: Vec<Vec<Value>>) -> Vec<Statement> {
        let mut statements = Vec::new();
        let mut items = items.into_iter();
        while let Some(count) = fitting(items.as_slice()) {
            let mut statement = sql(self.before);
            for (index, item) in items.by_ref().take(count).enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                statement.push(comma).push(self.item).values.extend(item);
            }
            statement.push(self.after);
            statements.push(statement);
        }
        statements
    }
}

/// How many of the first items one statement takes.
fn fitting(items: &[Vec<Value>]) -> Option<usize> {
    let sizes = std::iter::successors(Some(ITEMS_AT_ONCE), |count| Some(count / 2));
    let mut sizes = sizes.take_while(|count| *count > 0);
    sizes.find(|count| {
        let first = items.get(..*count);
        first.is_some_and(|items| *count == 1 || bytes_of(items) <= BYTES_AT_ONCE)
    })
}

fn bytes_of(items: &[Vec<Value>]) -> usize {
    let bytes = items.iter().flatten().map(|value| match value {
        Value::Null | Value::Int(_) => 8,
        Value::Text(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
    });
    bytes.sum()
}

impl Statement {
    /// Whether to keep it prepared.
    pub(super) fn is_kept_by(&self, dialect: Dialect) -> bool {
        match dialect {
            // Large ones that were closed after use took 40 ms each on MariaDB, while neither side did anything.
            #[cfg(feature = "mysql")]
            Dialect::MySql => true,
            #[cfg(any(feature = "sqlite", feature = "postgres"))]
            _ => self.values.len() <= KEPT_VALUES,
        }
    }

    pub(crate) fn push(&mut self, text: &'static str) -> &mut Self {
        self.text.to_mut().push_str(text);
        self
    }

    pub(crate) fn push_bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.text.to_mut().push('?');
        self.values.push(value.into());
        self
    }

    /// Another statement's text and values after this one's.
    #[cfg(feature = "databases")]
    pub(crate) fn append(&mut self, other: Self) -> &mut Self {
        self.text.to_mut().push_str(&other.text);
        self.values.extend(other.values);
        self
    }

    /// All of them as one statement of PostgreSQL's. What it changes, it does not see itself.
    #[cfg(feature = "postgres")]
    pub(super) fn joined(statements: impl IntoIterator<Item = Self>) -> Self {
        let mut joined = sql("");
        let mut statements = statements.into_iter().enumerate().peekable();
        while let Some((index, statement)) = statements.next() {
            let is_last = statements.peek().is_none();
            let text = joined.text.to_mut();
            *text += &match index {
                0 if is_last => statement.text.into_owned(),
                _ if is_last => format!(" {}", statement.text),
                0 => format!("WITH s0 AS ({})", statement.text),
                _ => format!(", s{index} AS ({})", statement.text),
            };
            joined.values.extend(statement.values);
        }
        joined
    }

    /// The value of the next `?`.
    #[must_use]
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    pub(super) fn text_for(&self, dialect: Dialect) -> SqlStr {
        let numbers_values = match dialect {
            #[cfg(feature = "postgres")]
            Dialect::Postgres => true,
            #[cfg(any(feature = "sqlite", feature = "mysql"))]
            _ => false,
        };
        match &self.text {
            _ if numbers_values => AssertSqlSafe(numbered(&self.text)).into_sql_str(),
            Cow::Borrowed(text) => text.into_sql_str(),
            // Made of pieces of this program's own text; see `push`.
            Cow::Owned(text) => AssertSqlSafe(text.clone()).into_sql_str(),
        }
    }

    pub(super) fn arguments<A>(self) -> Result<A, sqlx::Error>
    where
        A: Arguments,
        for<'t> i64: Encode<'t, A::Database> + Type<A::Database>,
        for<'t> String: Encode<'t, A::Database> + Type<A::Database>,
        for<'t> Vec<u8>: Encode<'t, A::Database> + Type<A::Database>,
        for<'t> Option<String>: Encode<'t, A::Database> + Type<A::Database>,
    {
        let mut arguments = A::default();
        let added = self.values.into_iter().try_for_each(|value| match value {
            Value::Null => arguments.add(None::<String>),
            Value::Int(number) => arguments.add(number),
            Value::Text(text) => arguments.add(text),
            Value::Blob(bytes) => arguments.add(bytes),
        });
        added.map_err(|error: BoxDynError| sqlx::Error::Encode(error))?;
        Ok(arguments)
    }
}

/// `$1`, `$2`, … for each `?`. No text of this crate has a question mark that means anything else.
fn numbered(text: &str) -> String {
    let mut pieces = text.split('?');
    let mut sql = pieces.next().unwrap_or_default().to_owned();
    for (piece, number) in pieces.zip(1..) {
        sql += &format!("${number}{piece}");
    }
    sql
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for Value {
    /// No database of the three agrees with another on what a boolean is: it is 1 or 0.
    fn from(yes: bool) -> Self {
        Self::Int(i64::from(yes))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Blob(bytes.to_owned())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbered_in_their_order() {
        for (given, wanted) in [
            ("SELECT 1", "SELECT 1"),
            ("?", "$1"),
            ("a = ? AND b = (?) OR c = ?", "a = $1 AND b = ($2) OR c = $3"),
        ] {
            assert_eq!(numbered(given), wanted);
        }
    }

    #[test]
    fn many_items_become_few_statements_and_none_is_too_large() {
        let each = ForEach {
            before: "DELETE FROM a WHERE b IN (",
            item: "?",
            after: ")",
        };
        let counts = |items: Vec<Vec<Value>>| -> Vec<usize> {
            let statements = each.statements(items);
            statements
                .iter()
                .map(|statement| statement.values.len())
                .collect()
        };
        let small = |count: usize| vec![vec![Value::from("small")]; count];
        let large = |count: usize| vec![vec![Value::from("x".repeat(BYTES_AT_ONCE / 2))]; count];
        assert_eq!(counts(small(0)), [0_usize; 0]);
        assert_eq!(counts(small(1)), [1]);
        assert_eq!(
            counts(small(2 * ITEMS_AT_ONCE + 1)),
            [ITEMS_AT_ONCE, ITEMS_AT_ONCE, 1]
        );
        assert_eq!(counts(large(5)), [2, 2, 1]);
        assert_eq!(
            counts(vec![vec![Value::from("x".repeat(2 * BYTES_AT_ONCE))]; 2]),
            [1, 1]
        );
        let of_three = each.statements(small(3));
        assert_eq!(of_three.len(), 2);
        assert_eq!(of_three[0].text, "DELETE FROM a WHERE b IN (?, ?)");
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn joined_statements_keep_their_order_and_that_of_their_values() {
        let statements = || {
            [
                sql("INSERT INTO a VALUES (?, ?)").bind(1).bind(2),
                sql("UPDATE b SET c = ?").bind(3),
                sql("SELECT ?").bind(4),
            ]
        };
        for (count, text) in [
            (1, "INSERT INTO a VALUES ($1, $2)"),
            (
                2,
                "WITH s0 AS (INSERT INTO a VALUES ($1, $2)) UPDATE b SET c = $3",
            ),
            (
                3,
                "WITH s0 AS (INSERT INTO a VALUES ($1, $2)), s1 AS (UPDATE b SET c = $3) SELECT $4",
            ),
        ] {
            let joined = Statement::joined(statements().into_iter().take(count));
            assert_eq!(joined.text_for(Dialect::Postgres).as_str(), text);
            let values = joined.values.iter().map(|value| match value {
                Value::Int(number) => *number,
                other => panic!("{other:?}"),
            });
            assert!(values.eq((1..).take(count + 1)));
        }
    }
}
