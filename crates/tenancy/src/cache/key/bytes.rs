use std::{fmt, sync::Arc};

use sha2::{Digest, Sha256};

use super::mark;

/// Up to this it is kept without an allocation.
pub(super) const INLINE: usize = 64;

/// Above this the arguments are hashed: a client's text is often part of a key.
pub(super) const LONGEST: usize = 256;

/// `name@version`, with room for the longest of both.
const LONGEST_KIND: usize = 64 + 1 + 10;

const _: () = assert!(LONGEST_KIND + 1 + 32 <= LONGEST);

/// A key that is being written.
pub(super) struct KeyBuffer {
    inline: [u8; INLINE],
    inline_len: usize,
    /// All of it, once it is longer than `INLINE`.
    spilled: Vec<u8>,
    kind_len: usize,
}

impl KeyBuffer {
    /// Names have no `@`, and no argument begins with a digit: it is clear where each part ends.
    pub(super) fn of_kind(name: &str, version: u32) -> Self {
        let mut buffer = Self {
            inline: [0; INLINE],
            inline_len: 0,
            spilled: Vec::new(),
            kind_len: 0,
        };
        buffer.push(name.as_bytes());
        buffer.push(b"@");
        buffer.push_decimal(version);
        buffer.kind_len = buffer.as_bytes().len();
        buffer
    }

    #[inline]
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let end = self.inline_len + bytes.len();
        match self.inline.get_mut(self.inline_len..end) {
            Some(free) if self.spilled.is_empty() => {
                free.copy_from_slice(bytes);
                self.inline_len = end;
            }
            _ => self.spill(bytes),
        }
    }

    #[cold]
    fn spill(&mut self, bytes: &[u8]) {
        if self.spilled.is_empty() {
            self.spilled.reserve(4 * INLINE);
            self.spilled.extend_from_slice(&self.inline[..self.inline_len]);
        }
        self.spilled.extend_from_slice(bytes);
    }

    /// Seven bits a byte, the lowest first; the high bit says that more follow.
    pub(super) fn push_len(&mut self, len: usize) {
        let mut rest = len;
        while rest > 0x7f {
            self.push(&[low_seven_bits(rest) | 0x80]);
            rest >>= 7;
        }
        self.push(&[low_seven_bits(rest)]);
    }

    fn push_decimal(&mut self, number: u32) {
        let mut digits = [0; 10];
        let mut first = digits.len();
        let mut rest = number;
        loop {
            first -= 1;
            digits[first] = b"0123456789"[(rest % 10) as usize];
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.push(&digits[first..]);
    }

    fn as_bytes(&self) -> &[u8] {
        if self.spilled.is_empty() {
            &self.inline[..self.inline_len]
        } else {
            &self.spilled
        }
    }

    #[inline]
    pub(super) fn finish(self) -> KeyBytes {
        if self.spilled.is_empty() {
            // At most `INLINE`.
            let len = self.inline_len as u8;
            return KeyBytes::Inline {
                len,
                bytes: self.inline,
            };
        }
        KeyBytes::Shared(self.spilled_within_bounds().into())
    }

    fn spilled_within_bounds(mut self) -> Vec<u8> {
        if self.spilled.len() > LONGEST {
            let digest = Sha256::digest(&self.spilled[self.kind_len..]);
            self.spilled.truncate(self.kind_len);
            self.spilled.push(mark::DIGEST);
            self.spilled.extend_from_slice(&digest);
        }
        self.spilled
    }
}

impl fmt::Debug for KeyBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyBuffer({})", self.as_bytes().escape_ascii())
    }
}

fn low_seven_bits(number: usize) -> u8 {
    (number & 0x7f) as u8
}

/// An encoded key: any bytes, at most [`LONGEST`].
#[derive(Clone)]
pub(super) enum KeyBytes {
    Inline { len: u8, bytes: [u8; INLINE] },
    Shared(Arc<[u8]>),
}

impl KeyBytes {
    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Self::Shared(bytes) => bytes,
        }
    }
}
