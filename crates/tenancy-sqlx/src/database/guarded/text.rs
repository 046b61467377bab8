//! Statements with a place for the tenant.

use crate::isolation::EngineKind;

/// Where the tenant goes.
const MARK: &str = "{tenant}";

/// A statement, cut at its marks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Text {
    pieces: Vec<&'static str>,
    /// For each mark, how many placeholders stand before it.
    before: Vec<usize>,
}

impl Text {
    /// Cuts a statement. The error says what is wrong with it.
    pub(super) fn new(sql: &'static str, engine: EngineKind) -> Result<Self, &'static str> {
        let mut text = Self {
            pieces: Vec::new(),
            before: Vec::new(),
        };
        let (mut at, mut from, mut placeholders) = (0, 0, 0);
        while at < sql.len() {
            let rest = &sql[at..];
            if rest.starts_with(MARK) {
                text.pieces.push(&sql[from..at]);
                text.before.push(placeholders);
                at += MARK.len();
                from = at;
                continue;
            }
            if rest.starts_with(';') {
                return Err("a guarded statement is one statement, without ';'");
            }
            placeholders += usize::from(rest.starts_with('?'));
            at += length_of_token(rest, engine);
        }
        text.pieces.push(&sql[from..]);
        if text.before.is_empty() {
            return Err("a guarded statement has {tenant} in it, outside of quotes and comments");
        }
        Ok(text)
    }

    /// The marks that stand before the placeholder of this number, counted from 0, and have not been counted as `done`.
    pub(super) fn marks_before(&self, placeholder: usize, done: usize) -> usize {
        self.before
            .iter()
            .skip(done)
            .take_while(|before| **before <= placeholder)
            .count()
    }

    pub(super) fn marks(&self) -> usize {
        self.before.len()
    }

    /// The statement with something in place of each mark.
    pub(super) fn with(&self, placeholder: &str) -> String {
        self.pieces.join(placeholder)
    }
}

/// One letter, or what is quoted or remarked as a whole.
fn length_of_token(rest: &str, engine: EngineKind) -> usize {
    let until = |end: &str, from: usize| {
        rest[from..]
            .find(end)
            .map_or(rest.len(), |at| from + at + end.len())
    };
    match rest.as_bytes() {
        [quote @ (b'\'' | b'"' | b'`'), ..] => length_of_quoted(rest, *quote, engine == EngineKind::MySql),
        [b'-', b'-', ..] => until("\n", 2),
        [b'#', ..] if engine == EngineKind::MySql => until("\n", 1),
        [b'/', b'*', ..] => until("*/", 2),
        _ => rest.chars().next().map_or(1, char::len_utf8),
    }
}

/// A doubled quote ends one and begins the next, which makes no difference here.
fn length_of_quoted(rest: &str, quote: u8, has_escapes: bool) -> usize {
    let mut bytes = rest.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        if byte == b'\\' && has_escapes && quote != b'`' {
            bytes.next();
        } else if byte == quote {
            return at + 1;
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_count_where_sql_reads_them_and_nowhere_else() {
        let marks = |sql| Text::new(sql, EngineKind::MySql).ok().map(|text| text.before);
        for (sql, expected) in [
            ("SELECT 1", None),
            ("SELECT '{tenant}'", None),
            (r"SELECT 'it\'s {tenant}'", None),
            ("SELECT 'it''s {tenant}'", None),
            ("SELECT \"{tenant}\", `{tenant}`", None),
            ("SELECT 1 -- {tenant}", None),
            ("SELECT 1 # {tenant}", None),
            ("SELECT /* {tenant} */ 1", None),
            ("SELECT {tenant}; DROP TABLE notes", None),
            ("SELECT {tenant}", Some(vec![0])),
            ("INSERT INTO n VALUES (?, {tenant}, '?', ?)", Some(vec![1])),
            (
                "SELECT 'ü' FROM n WHERE a = ? AND t = {tenant} AND b IN (?, ?) AND u = {tenant}",
                Some(vec![1, 3]),
            ),
            (r"SELECT `\`, {tenant}", Some(vec![0])),
        ] {
            assert_eq!(marks(sql), expected, "{sql}");
        }
        // Where a backslash means nothing, it keeps no quote open.
        assert!(Text::new(r"SELECT '\', {tenant}", EngineKind::Postgres).is_ok());
        assert!(Text::new(r"SELECT '\', {tenant}", EngineKind::MySql).is_err());
    }

    #[test]
    fn the_tenant_stands_between_the_values_in_the_order_of_the_text() {
        let text = Text::new("? {tenant} ? ? {tenant} {tenant}", EngineKind::MySql).unwrap();
        assert_eq!(text.with("?"), "? ? ? ? ? ?");
        assert_eq!(text.marks_before(0, 0), 0);
        assert_eq!(text.marks_before(1, 0), 1);
        assert_eq!(text.marks_before(2, 1), 0);
        assert_eq!((text.marks_before(3, 1), text.marks()), (2, 3));
    }
}
