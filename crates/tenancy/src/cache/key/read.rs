//! Reads the text of a key. It is written by hand at times: white space does not matter.

use std::{error::Error, fmt, num::ParseIntError, str::FromStr};

use super::{
    bytes::{KeyBuffer, KeyBytes},
    is_kind_name, mark,
};

/// An operator's, or out of a log. Longer keys are written as their hash.
const LONGEST_TEXT: usize = 64 * 1024;
/// No type has that many layers, and each needs some stack here.
const DEEPEST: usize = 64;

/// A text is not one of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTextError {
    at: usize,
    expected: &'static str,
}

impl fmt::Display for KeyTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "at byte {} of the key there should be {}",
            self.at, self.expected
        )
    }
}

impl Error for KeyTextError {}

type Read<T> = Result<T, KeyTextError>;

/// Takes any text.
pub(super) fn read(text: &str) -> Read<KeyBytes> {
    let mut reader = Reader { text, at: 0 };
    if text.len() > LONGEST_TEXT {
        reader.at = LONGEST_TEXT;
        return reader.expected("its end: it is too long");
    }
    reader.key()
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn key(&mut self) -> Read<KeyBytes> {
        let name = self.take_while(|letter| !matches!(letter, '@' | '('));
        if !is_kind_name(name) || !self.takes("@") {
            return self.expected("a name, as in notes@1(7)");
        }
        let digits = self.take_while(|letter| letter.is_ascii_digit());
        let Some(version) = digits
            .parse()
            .ok()
            .filter(|version: &u32| version.to_string() == digits)
        else {
            return self.expected("the version of its kind, as in notes@1(7)");
        };
        let mut key = KeyBuffer::of_kind(name, version);
        self.skip_space();
        self.wants("(", "an opening parenthesis")?;
        self.skip_space();
        if self.takes("sha256:") {
            self.digest(&mut key)?;
        } else {
            self.arguments(&mut key)?;
        }
        self.wants(")", "a closing parenthesis")?;
        self.skip_space();
        if self.rest().is_empty() {
            Ok(key.finish())
        } else {
            self.expected("its end")
        }
    }

    /// One value alone is itself, everything else a tuple.
    fn arguments(&mut self, key: &mut KeyBuffer) -> Read<()> {
        let mut only = KeyBuffer::of_kind("", 0);
        let start = self.at;
        if !self.rest().starts_with(')') {
            self.value(&mut only, 0)?;
            self.skip_space();
            if !self.rest().starts_with(',') {
                self.at = start;
                return self.value(key, 0).map(|()| self.skip_space());
            }
            self.at = start;
        }
        key.push(&[mark::TUPLE]);
        self.values(key, ')', 0)?;
        key.push(&[mark::TUPLE_END]);
        Ok(())
    }

    /// Up to `end`, which is left.
    fn values(&mut self, key: &mut KeyBuffer, end: char, depth: usize) -> Read<()> {
        loop {
            self.skip_space();
            if self.rest().starts_with(end) {
                return Ok(());
            }
            self.value(key, depth)?;
            self.skip_space();
            if !self.takes(",") && !self.rest().starts_with(end) {
                return self.expected("a comma, or the end of the list");
            }
        }
    }

    fn value(&mut self, key: &mut KeyBuffer, depth: usize) -> Read<()> {
        if depth == DEEPEST {
            return self.expected("fewer layers");
        }
        for (word, mark) in [("None", mark::NONE), ("true", mark::TRUE), ("false", mark::FALSE)] {
            if self.takes(word) {
                key.push(&[mark]);
                return Ok(());
            }
        }
        if self.takes("Some(") {
            key.push(&[mark::SOME]);
            self.skip_space();
            self.value(key, depth + 1)?;
            self.skip_space();
            return self.wants(")", "a closing parenthesis");
        }
        if self.takes("(") {
            return self.enclosed(key, depth, ')', [mark::TUPLE, mark::TUPLE_END]);
        }
        if self.takes("[") {
            return self.enclosed(key, depth, ']', [mark::LIST, mark::LIST_END]);
        }
        if self.takes("b\"") {
            let bytes = self.quoted_bytes()?;
            return push_sized(key, mark::BYTES, &bytes);
        }
        if self.takes("\"") {
            let text = self.quoted('"')?;
            return push_sized(key, mark::TEXT, text.as_bytes());
        }
        if self.takes("'") {
            return self.character(key);
        }
        self.number(key)
    }

    fn enclosed(&mut self, key: &mut KeyBuffer, depth: usize, end: char, marks: [u8; 2]) -> Read<()> {
        let [open, close] = marks;
        key.push(&[open]);
        self.values(key, end, depth + 1)?;
        // It ended with it.
        self.at += end.len_utf8();
        key.push(&[close]);
        Ok(())
    }

    fn character(&mut self, key: &mut KeyBuffer) -> Read<()> {
        let start = self.at;
        let text = self.quoted('\'')?;
        let mut letters = text.chars();
        match (letters.next(), letters.next()) {
            (Some(letter), None) => {
                key.push(&[mark::CHAR]);
                key.push(&u32::from(letter).to_be_bytes());
                Ok(())
            }
            _ => {
                self.at = start;
                self.expected("one character")
            }
        }
    }

    fn number(&mut self, key: &mut KeyBuffer) -> Read<()> {
        let start = self.at;
        let word = self.take_while(|letter| letter.is_ascii_alphanumeric() || letter == '-');
        let suffix_at = word.find(|letter: char| letter.is_ascii_alphabetic());
        let (digits, suffix) = word.split_at(suffix_at.unwrap_or(word.len()));
        if digits.is_empty() {
            self.at = start;
            return self
                .expected("an argument: a number, a text in quotes, a list, Some(…), None, true or false");
        }
        let written = match suffix {
            "" | "u32" => self.integer(key, mark::U32, digits, u32::to_be_bytes),
            "u8" => self.integer(key, mark::U8, digits, u8::to_be_bytes),
            "u16" => self.integer(key, mark::U16, digits, u16::to_be_bytes),
            "u64" => self.integer(key, mark::U64, digits, u64::to_be_bytes),
            "u128" => self.integer(key, mark::U128, digits, u128::to_be_bytes),
            "usize" => self.integer(key, mark::USIZE, digits, u64::to_be_bytes),
            "i8" => self.integer(key, mark::I8, digits, i8::to_be_bytes),
            "i16" => self.integer(key, mark::I16, digits, i16::to_be_bytes),
            "i32" => self.integer(key, mark::I32, digits, i32::to_be_bytes),
            "i64" => self.integer(key, mark::I64, digits, i64::to_be_bytes),
            "i128" => self.integer(key, mark::I128, digits, i128::to_be_bytes),
            "isize" => self.integer(key, mark::ISIZE, digits, i64::to_be_bytes),
            _ => false,
        };
        if written {
            return Ok(());
        }
        self.at = start;
        self.expected("a whole number within its type, which is u32 unless it says so, as in 7i64")
    }

    fn integer<const N: usize, T: FromStr<Err = ParseIntError>>(
        &self,
        key: &mut KeyBuffer,
        mark: u8,
        digits: &str,
        to_bytes: impl FnOnce(T) -> [u8; N],
    ) -> bool {
        let Ok(number) = digits.parse() else {
            return false;
        };
        key.push(&[mark]);
        key.push(&to_bytes(number));
        true
    }

    fn digest(&mut self, key: &mut KeyBuffer) -> Read<()> {
        let digits = self.take_while(|letter| letter.is_ascii_hexdigit());
        let (pairs, []) = digits.as_bytes().as_chunks::<2>() else {
            return self.expected("64 hexadecimal digits");
        };
        let digest: Option<Vec<u8>> = pairs.iter().map(|pair| byte_of_digits(*pair)).collect();
        match digest {
            Some(digest) if digest.len() == 32 => {
                key.push(&[mark::DIGEST]);
                key.push(&digest);
                Ok(())
            }
            _ => self.expected("64 hexadecimal digits"),
        }
    }

    /// What stands up to the closing quote, which is taken as well.
    fn quoted(&mut self, quote: char) -> Read<String> {
        let mut text = String::new();
        loop {
            match self.next() {
                Some('\\') => text.push(self.escaped()?),
                Some(letter) if letter == quote => return Ok(text),
                Some(letter) => text.push(letter),
                None => return self.expected("a closing quote"),
            }
        }
    }

    fn quoted_bytes(&mut self) -> Read<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            match self.next() {
                Some('"') => return Ok(bytes),
                Some('\\') if self.takes("x") => {
                    let digits = self.rest().as_bytes().first_chunk().copied();
                    let Some(byte) = digits.and_then(byte_of_digits) else {
                        return self.expected("two hexadecimal digits");
                    };
                    self.at += 2;
                    bytes.push(byte);
                }
                Some('\\') => match u8::try_from(self.escaped()?) {
                    Ok(byte) if byte.is_ascii() => bytes.push(byte),
                    _ => return self.expected("a byte: others are written as \\xff"),
                },
                Some(letter) if letter.is_ascii() => bytes.push(letter as u8),
                Some(_) => return self.expected("a byte: others are written as \\xff"),
                None => return self.expected("a closing quote"),
            }
        }
    }

    /// Behind a backslash.
    fn escaped(&mut self) -> Read<char> {
        let simple = match self.next() {
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('0') => '\0',
            Some(letter @ ('\\' | '\'' | '"')) => letter,
            Some('u') => return self.escaped_by_number(),
            _ => return self.expected("an escape that Rust knows"),
        };
        Ok(simple)
    }

    fn escaped_by_number(&mut self) -> Read<char> {
        self.wants("{", "an opening brace")?;
        let digits = self.take_while(|letter| letter.is_ascii_hexdigit());
        let letter = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
        let Some(letter) = letter else {
            return self.expected("the number of a character");
        };
        self.wants("}", "a closing brace")?;
        Ok(letter)
    }

    fn rest(&self) -> &'t str {
        // `at` goes on by whole characters.
        self.text.get(self.at..).unwrap_or_default()
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.rest().chars().next()?;
        self.at += letter.len_utf8();
        Some(letter)
    }

    fn takes(&mut self, what: &str) -> bool {
        let is_there = self.rest().starts_with(what);
        if is_there {
            self.at += what.len();
        }
        is_there
    }

    fn wants(&mut self, what: &str, expected: &'static str) -> Read<()> {
        if self.takes(what) {
            Ok(())
        } else {
            self.expected(expected)
        }
    }

    fn take_while(&mut self, is_part: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn skip_space(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn expected<T>(&self, expected: &'static str) -> Read<T> {
        Err(KeyTextError {
            at: self.at,
            expected,
        })
    }
}

fn push_sized(key: &mut KeyBuffer, mark: u8, bytes: &[u8]) -> Read<()> {
    key.push(&[mark]);
    key.push_len(bytes.len());
    key.push(bytes);
    Ok(())
}

fn byte_of_digits(digits: [u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? << 4 | low?).ok()
}
