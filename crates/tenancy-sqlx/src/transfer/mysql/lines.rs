//! Rows as lines, in the form of PostgreSQL's `COPY`: values between tabs, `\N` for none, and backslashes before what would
//! end a value.

use super::super::{TransferError, incoming::IncomingFile};

/// Adds a value to a line. The first one of a line has no tab before it.
pub(super) fn push_value(line: &mut Vec<u8>, value: Option<&str>) {
    let Some(value) = value else {
        line.extend_from_slice(br"\N");
        return;
    };
    for byte in value.bytes() {
        match byte {
            b'\\' => line.extend_from_slice(br"\\"),
            b'\t' => line.extend_from_slice(br"\t"),
            b'\n' => line.extend_from_slice(br"\n"),
            b'\r' => line.extend_from_slice(br"\r"),
            _ => line.push(byte),
        }
    }
}

/// The values of a line without its end; `None` if it is none that [`push_value`] made.
pub(super) fn values_of(line: &[u8]) -> Option<Vec<Option<String>>> {
    line.split(|byte| *byte == b'\t').map(value_of).collect()
}

fn value_of(text: &[u8]) -> Option<Option<String>> {
    if text == br"\N" {
        return Some(None);
    }
    let mut value = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        value.push(match byte {
            b'\\' => match bytes.next()? {
                b'\\' => b'\\',
                b't' => b'\t',
                b'n' => b'\n',
                b'r' => b'\r',
                _ => return None,
            },
            _ => *byte,
        });
    }
    String::from_utf8(value).ok().map(Some)
}

/// Cuts a file into lines. Holds one, and the piece that was read last.
pub(super) struct Lines {
    file: IncomingFile,
    piece: Vec<u8>,
    at: usize,
}

impl Lines {
    pub(super) fn of(file: IncomingFile) -> Self {
        Self {
            file,
            piece: Vec::new(),
            at: 0,
        }
    }

    /// Puts the next line into `line`, without its end. Whether there was one. How long lines are was checked before; where
    /// the file was changed since, `longest` holds.
    pub(super) async fn next(&mut self, line: &mut Vec<u8>, longest: u64) -> Result<bool, TransferError> {
        line.clear();
        loop {
            let rest = &self.piece[self.at..];
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                line.extend_from_slice(&rest[..end]);
                self.at += end + 1;
                return Ok(true);
            }
            line.extend_from_slice(rest);
            if line.len() as u64 > longest {
                return Err(TransferError::damaged("a row is longer than it was"));
            }
            let Some(piece) = self.file.piece().await? else {
                return Ok(false);
            };
            self.piece.clear();
            self.piece.extend_from_slice(piece);
            self.at = 0;
        }
    }

    pub(super) fn finish(self) -> Result<(), TransferError> {
        self.file.finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_that_nobody_wrote_are_none() {
        for bad in [&br"\"[..], br"a\", br"\x", br"a\Nb", b"\xff"] {
            assert_eq!(values_of(bad), None, "{bad:?}");
        }
        assert_eq!(values_of(b""), Some(vec![Some(String::new())]));
        assert_eq!(values_of(b"\\N\t\\\\N"), Some(vec![None, Some("\\N".to_owned())]));
    }

    proptest! {
        #[test]
        fn values_read_back_as_they_were(
            values in prop::collection::vec(prop::option::of("[\\\\\t\n\rNn.a-ü\u{0}]{0,8}"), 1..6),
        ) {
            let mut line = Vec::new();
            for (number, value) in values.iter().enumerate() {
                if number > 0 {
                    line.push(b'\t');
                }
                push_value(&mut line, value.as_deref());
            }
            prop_assert!(!line.contains(&b'\n'));
            prop_assert_eq!(values_of(&line), Some(values));
        }
    }
}
