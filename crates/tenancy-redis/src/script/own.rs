//! Scripts for what applications keep themselves.

use std::sync::LazyLock;

use super::{Script, hash_of};

const COUNT_TEXT: &str = include_str!("count.lua");
const LOCK_TEXT: &str = include_str!("lock.lua");
const EXTEND_TEXT: &str = include_str!("extend.lua");
const UNLOCK_TEXT: &str = include_str!("unlock.lua");

/// Adds to a counter, unless that would be too much.
pub(crate) static COUNT: Script = Script {
    text: COUNT_TEXT,
    hash: LazyLock::new(|| hash_of(COUNT_TEXT)),
};
/// Takes a lock that nobody has.
pub(crate) static LOCK: Script = Script {
    text: LOCK_TEXT,
    hash: LazyLock::new(|| hash_of(LOCK_TEXT)),
};
/// Keeps a lock for longer.
pub(crate) static EXTEND: Script = Script {
    text: EXTEND_TEXT,
    hash: LazyLock::new(|| hash_of(EXTEND_TEXT)),
};
/// Lets a lock go.
pub(crate) static UNLOCK: Script = Script {
    text: UNLOCK_TEXT,
    hash: LazyLock::new(|| hash_of(UNLOCK_TEXT)),
};
