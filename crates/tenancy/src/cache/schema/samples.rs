//! Values that types may accept. A type that checks what it reads is offered one after the other.

pub(super) const NUMBERS: [u8; 4] = [1, 0, 2, 100];
pub(super) const CHARS: [char; 3] = ['a', 'A', '0'];
pub(super) const BOOLS: [bool; 2] = [false, true];

pub(super) const TEXTS: [&str; 14] = [
    "a",
    "",
    "0",
    "1970-01-01T00:00:00Z",
    "1970-01-01T00:00:00",
    "1970-01-01",
    "00:00:00",
    "00000000-0000-0000-0000-000000000000",
    "127.0.0.1",
    "::1",
    "127.0.0.1:80",
    "http://a.example/",
    "a@a.example",
    "A",
];

pub(super) const BYTES: [&[u8]; 5] = [&[0; 16], &[0; 4], &[0; 32], b"a", b""];

/// The name of a field that no struct has. Structs are read in order; only one that takes fields of others asks for names.
pub(super) const NO_FIELD: &str = "no field";

/// What comes is anything.
#[derive(Clone, Copy)]
pub(super) enum Anything {
    Unit,
    Text,
    Number,
    Bool,
    EmptyMap,
    EmptySeq,
}

pub(super) const ANYTHING: [Anything; 6] = [
    Anything::Unit,
    Anything::Text,
    Anything::Number,
    Anything::Bool,
    Anything::EmptyMap,
    Anything::EmptySeq,
];
