use std::fmt::{self, Write};

use super::{bytes::LONGEST, mark};

/// The text of an encoded key, from which [`read`](super::read::read) makes the key again. Bytes that are no key are written
/// escaped.
pub(super) struct Explained<'b>(pub(super) &'b [u8]);

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() > LONGEST {
            return write!(f, "({} bytes)", self.0.len());
        }
        let (kind, args) = self.0.split_at(kind_len(self.0));
        write!(f, "{}(", kind.escape_ascii())?;
        let mut reader = Reader { rest: args };
        reader.value(f, Nesting::Outermost)?;
        write!(f, "{})", reader.rest.escape_ascii())
    }
}

/// Up to the version's last digit.
fn kind_len(encoded: &[u8]) -> usize {
    let version = encoded
        .iter()
        .position(|byte| *byte == b'@')
        .map_or(0, |at| at + 1);
    let digits = encoded[version..].iter().take_while(|byte| byte.is_ascii_digit());
    version + digits.count()
}

#[derive(Clone, Copy, PartialEq)]
enum Nesting {
    /// Already within parentheses.
    Outermost,
    Inner,
}

struct Reader<'b> {
    rest: &'b [u8],
}

/// `None` where the bytes are no argument.
type Read<T> = Result<Option<T>, fmt::Error>;

impl<'b> Reader<'b> {
    fn value(&mut self, f: &mut fmt::Formatter<'_>, nesting: Nesting) -> Read<()> {
        let before = self.rest;
        let Some([mark]) = self.array() else {
            return Ok(None);
        };
        let written = match mark {
            mark::TUPLE if nesting == Nesting::Outermost => return self.tuple(f),
            mark::TUPLE => {
                f.write_char('(')?;
                return self.tuple(f)?.map(|()| f.write_char(')')).transpose();
            }
            mark::LIST => {
                f.write_char('[')?;
                let all = self.list(f, mark::LIST_END)?;
                return all.map(|_| f.write_char(']')).transpose();
            }
            mark::SOME => {
                f.write_str("Some(")?;
                let inner = self.value(f, Nesting::Inner)?;
                return inner.map(|()| f.write_char(')')).transpose();
            }
            mark::NONE => Some(f.write_str("None")),
            mark::FALSE => Some(f.write_str("false")),
            mark::TRUE => Some(f.write_str("true")),
            mark::CHAR => self.character().map(|character| write!(f, "{character:?}")),
            mark::TEXT => self.text().map(|text| write!(f, "{text:?}")),
            mark::BYTES => self
                .bytes()
                .map(|bytes| write!(f, "b\"{}\"", bytes.escape_ascii())),
            mark::DIGEST => self.array().map(|digest: [u8; 32]| write_digest(f, &digest)),
            mark::U8 => self.number(f, u8::from_be_bytes, "u8"),
            mark::U16 => self.number(f, u16::from_be_bytes, "u16"),
            mark::U32 => self.number(f, u32::from_be_bytes, ""),
            mark::U64 => self.number(f, u64::from_be_bytes, "u64"),
            mark::U128 => self.number(f, u128::from_be_bytes, "u128"),
            mark::USIZE => self.number(f, u64::from_be_bytes, "usize"),
            mark::I8 => self.number(f, i8::from_be_bytes, "i8"),
            mark::I16 => self.number(f, i16::from_be_bytes, "i16"),
            mark::I32 => self.number(f, i32::from_be_bytes, "i32"),
            mark::I64 => self.number(f, i64::from_be_bytes, "i64"),
            mark::I128 => self.number(f, i128::from_be_bytes, "i128"),
            mark::ISIZE => self.number(f, i64::from_be_bytes, "isize"),
            _ => None,
        };
        if written.is_none() {
            self.rest = before;
        }
        written.transpose()
    }

    /// One alone has a comma, as in Rust: it is another key than what is in it.
    fn tuple(&mut self, f: &mut fmt::Formatter<'_>) -> Read<()> {
        match self.list(f, mark::TUPLE_END)? {
            Some(1) => f.write_char(',').map(Some),
            all => Ok(all.map(|_| ())),
        }
    }

    /// Returns how many there were.
    fn list(&mut self, f: &mut fmt::Formatter<'_>, end: u8) -> Read<usize> {
        let mut count = 0;
        loop {
            if let Some(rest) = self.rest.strip_prefix(&[end]) {
                self.rest = rest;
                return Ok(Some(count));
            }
            if count > 0 {
                f.write_str(", ")?;
            }
            count += 1;
            if self.value(f, Nesting::Inner)?.is_none() {
                return Ok(None);
            }
        }
    }

    fn number<const N: usize, T: fmt::Display>(
        &mut self,
        f: &mut fmt::Formatter<'_>,
        of_bytes: impl FnOnce([u8; N]) -> T,
        suffix: &str,
    ) -> Option<fmt::Result> {
        let number = of_bytes(self.array()?);
        Some(write!(f, "{number}{suffix}"))
    }

    fn character(&mut self) -> Option<char> {
        char::from_u32(u32::from_be_bytes(self.array()?))
    }

    fn text(&mut self) -> Option<&'b str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn bytes(&mut self) -> Option<&'b [u8]> {
        let mut len = 0_usize;
        // Keys are short: two bytes of length are more than there can be.
        for shift in [0, 7] {
            let [byte] = self.array()?;
            len |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                let (bytes, rest) = self.rest.split_at_checked(len)?;
                self.rest = rest;
                return Some(bytes);
            }
        }
        None
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*array)
    }
}

fn write_digest(f: &mut fmt::Formatter<'_>, digest: &[u8; 32]) -> fmt::Result {
    f.write_str("sha256:")?;
    digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}
