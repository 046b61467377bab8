//! Cuts a text of SQL into its statements, for where each has to be journaled by itself.

use crate::engine::Grammar;

/// The statements of a text, without the semicolons between them. Those that are only comments are left out.
///
/// What creates a routine, trigger or event on MySQL has semicolons inside: it and what follows are one statement.
pub(crate) fn statements_of(text: &str, grammar: Grammar) -> Vec<&str> {
    let mut statements = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = match grammar.is_mysql && has_a_body(rest) {
            true => rest.len(),
            false => end_of_statement(rest, grammar),
        };
        let (statement, after) = rest.split_at(end);
        if !is_blank(statement, grammar) {
            statements.push(statement.trim());
        }
        rest = after.strip_prefix(';').unwrap_or(after);
    }
    statements
}

/// Where the next semicolon is that ends a statement, or the text.
fn end_of_statement(text: &str, grammar: Grammar) -> usize {
    let mut at = 0;
    while let Some(next) = text[at..].chars().next() {
        if next == ';' {
            return at;
        }
        at += match skip(&text[at..], grammar, follows_a_word(&text[..at])) {
            Some(length) => length,
            None => next.len_utf8(),
        };
    }
    text.len()
}

/// How long the quoted text or comment is that the text begins with.
fn skip(text: &str, grammar: Grammar, follows_a_word: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    match (bytes.first()?, bytes.get(1)) {
        (b'-', Some(b'-')) => Some(to_line_end(text)),
        (b'#', _) if grammar.is_mysql => Some(to_line_end(text)),
        (b'/', Some(b'*')) => Some(block_comment(bytes, !grammar.is_mysql)),
        (b'\'' | b'"', _) => Some(quoted(bytes, grammar.is_mysql)),
        (b'`', _) if grammar.is_mysql => Some(quoted(bytes, false)),
        (b'E' | b'e', Some(b'\'')) if !grammar.is_mysql && !follows_a_word => {
            Some(1 + quoted(&bytes[1..], true))
        }
        (b'$', _) if !grammar.is_mysql && !follows_a_word => dollar_quoted(text),
        _ => None,
    }
}

fn follows_a_word(before: &str) -> bool {
    before
        .chars()
        .next_back()
        .is_some_and(|last| last.is_alphanumeric() || last == '_' || last == '$')
}

fn to_line_end(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

fn block_comment(bytes: &[u8], nests: bool) -> usize {
    let (mut depth, mut at) = (1_usize, 2);
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'*', Some(b'/')) => {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    return at;
                }
            }
            (b'/', Some(b'*')) if nests => (depth, at) = (depth + 1, at + 2),
            _ => at += 1,
        }
    }
    bytes.len()
}

/// A doubled quote ends one text and begins the next, which comes to the same.
fn quoted(bytes: &[u8], has_backslashes: bool) -> usize {
    let quote = bytes.first();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if has_backslashes => at += 2,
            byte if Some(&byte) == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `$tag$ … $tag$`. `$1` is none.
fn dollar_quoted(text: &str) -> Option<usize> {
    let tag_length = 1 + text[1..].find('$')?;
    let tag = &text[1..tag_length];
    let is_tag = !tag.starts_with(|first: char| first.is_ascii_digit())
        && tag
            .chars()
            .all(|letter| letter.is_alphanumeric() || letter == '_');
    if !is_tag {
        return None;
    }
    let mark = &text[..=tag_length];
    let body = &text[mark.len()..];
    Some(
        body.find(mark)
            .map_or(text.len(), |end| mark.len() + end + mark.len()),
    )
}

fn is_blank(statement: &str, grammar: Grammar) -> bool {
    without_comments(statement, grammar).is_empty()
}

/// What is left of the text from its first word on. `/*! … */` is code to MySQL.
fn without_comments(text: &str, grammar: Grammar) -> &str {
    let mut rest = text.trim_start();
    loop {
        let is_comment = rest.starts_with("--")
            || (rest.starts_with("/*") && !(grammar.is_mysql && rest.starts_with("/*!")))
            || (grammar.is_mysql && rest.starts_with('#'));
        match skip(rest, grammar, false) {
            Some(length) if is_comment => rest = rest[length..].trim_start(),
            _ => return rest,
        }
    }
}

fn has_a_body(text: &str) -> bool {
    const MYSQL: Grammar = Grammar { is_mysql: true };
    let statement = without_comments(text, MYSQL);
    let head = &statement[..end_of_statement(statement, MYSQL)];
    let mut words = head.split_whitespace().map(str::to_ascii_lowercase);
    words.next().as_deref() == Some("create")
        && words
            .take_while(|word| word != "table" && word != "view" && word != "as")
            .take(8)
            .any(|word| matches!(&*word, "procedure" | "function" | "trigger" | "event"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POSTGRES: Grammar = Grammar { is_mysql: false };
    const MYSQL: Grammar = Grammar { is_mysql: true };

    #[test]
    fn a_semicolon_ends_a_statement_only_where_it_is_code() {
        for (text, wanted) in [
            ("", vec![]),
            (" ; ;\n", vec![]),
            ("SELECT 1", vec!["SELECT 1"]),
            ("SELECT 1; SELECT 2;", vec!["SELECT 1", "SELECT 2"]),
            ("-- a;b\nSELECT 1; -- end;", vec!["-- a;b\nSELECT 1"]),
            (
                "/* a; /* b; */ c; */ SELECT 1",
                vec!["/* a; /* b; */ c; */ SELECT 1"],
            ),
            (
                "SELECT 'a;''b;', \"c;d\"; X",
                vec!["SELECT 'a;''b;', \"c;d\"", "X"],
            ),
            ("SELECT 'a\\'; X", vec!["SELECT 'a\\'", "X"]),
            ("SELECT E'a\\';b'; X", vec!["SELECT E'a\\';b'", "X"]),
            ("SELECT type'a\\'; X", vec!["SELECT type'a\\'", "X"]),
            ("DO $$ a; b; $$; X", vec!["DO $$ a; b; $$", "X"]),
            ("DO $f$ a; $$ b; $f$; X", vec!["DO $f$ a; $$ b; $f$", "X"]),
            ("SELECT $1; SELECT $2", vec!["SELECT $1", "SELECT $2"]),
            ("SELECT a$b; SELECT c$d", vec!["SELECT a$b", "SELECT c$d"]),
            ("SELECT 'ä;ö'; Ü", vec!["SELECT 'ä;ö'", "Ü"]),
            ("SELECT 'open; X", vec!["SELECT 'open; X"]),
        ] {
            assert_eq!(statements_of(text, POSTGRES), wanted, "{text}");
        }
    }

    #[test]
    fn mysql_has_backslashes_backticks_hashes_and_bodies() {
        for (text, wanted) in [
            ("SELECT 'a\\';b'; X", vec!["SELECT 'a\\';b'", "X"]),
            ("SELECT `a;b\\`; X", vec!["SELECT `a;b\\`", "X"]),
            ("# a;b\nSELECT 1; X", vec!["# a;b\nSELECT 1", "X"]),
            ("/*!50003 SET x = 1 */; X", vec!["/*!50003 SET x = 1 */", "X"]),
            ("/* a; /* b */ SELECT 1; X", vec!["/* a; /* b */ SELECT 1", "X"]),
            (
                "SELECT 1; CREATE DEFINER = x TRIGGER t BEGIN a; b; END",
                vec!["SELECT 1", "CREATE DEFINER = x TRIGGER t BEGIN a; b; END"],
            ),
            (
                "CREATE TABLE event (a INT); CREATE INDEX i ON event (a)",
                vec!["CREATE TABLE event (a INT)", "CREATE INDEX i ON event (a)"],
            ),
        ] {
            assert_eq!(statements_of(text, MYSQL), wanted, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_panics(text in "[a-zä;'\"`$#\\\\/*\\-\n 1]{0,60}", is_mysql: bool) {
            let mut rest = text.as_str();
            for statement in statements_of(&text, Grammar { is_mysql }) {
                let at = rest.find(statement);
                prop_assert!(at.is_some(), "statements come from the text, in its order");
                rest = &rest[at.unwrap_or_default() + statement.len()..];
            }
        }
    }
}
