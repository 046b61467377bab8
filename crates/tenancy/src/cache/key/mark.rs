//! The first byte of each argument. It says how the argument goes on, so that no two sequences of arguments are the same
//! bytes. Neither is a digit. A change here is a cold cache for everybody.

pub(super) const TUPLE: u8 = b'(';
pub(super) const TUPLE_END: u8 = b')';
pub(super) const LIST: u8 = b'[';
pub(super) const LIST_END: u8 = b']';
pub(super) const FALSE: u8 = b'f';
pub(super) const TRUE: u8 = b't';
pub(super) const CHAR: u8 = b'c';
pub(super) const TEXT: u8 = b's';
pub(super) const BYTES: u8 = b'b';
pub(super) const NONE: u8 = b'n';
pub(super) const SOME: u8 = b'o';
pub(super) const U8: u8 = b'A';
pub(super) const U16: u8 = b'B';
pub(super) const U32: u8 = b'C';
pub(super) const U64: u8 = b'D';
pub(super) const U128: u8 = b'E';
pub(super) const USIZE: u8 = b'F';
pub(super) const I8: u8 = b'G';
pub(super) const I16: u8 = b'H';
pub(super) const I32: u8 = b'I';
pub(super) const I64: u8 = b'J';
pub(super) const I128: u8 = b'K';
pub(super) const ISIZE: u8 = b'L';
/// In the place of all arguments.
pub(super) const DIGEST: u8 = b'#';
