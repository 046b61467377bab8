//! What happens to a scope in one step: the scripts, what they are given, and what their replies mean.

mod call;
mod number;
mod reply;

use std::sync::LazyLock;

use bb8_redis::redis;

pub(crate) use self::{
    call::{ask, raise, teach},
    number::{cell_from_text, mode_from_text, number_from_text},
    reply::{answer, raised},
};

/// A script that servers keep under its hash, once they were sent its text.
#[derive(Debug)]
pub(crate) struct Script {
    text: &'static str,
    hash: LazyLock<String>,
}

const ASK_TEXT: &str = concat!(
    include_str!("same.lua"),
    include_str!("scope.lua"),
    include_str!("ask.lua")
);
const RAISE_TEXT: &str = concat!(include_str!("scope.lua"), include_str!("raise.lua"));
const TEACH_TEXT: &str = concat!(include_str!("scope.lua"), include_str!("teach.lua"));

static ASK: Script = Script {
    text: ASK_TEXT,
    hash: LazyLock::new(|| hash_of(ASK_TEXT)),
};
static RAISE: Script = Script {
    text: RAISE_TEXT,
    hash: LazyLock::new(|| hash_of(RAISE_TEXT)),
};
static TEACH: Script = Script {
    text: TEACH_TEXT,
    hash: LazyLock::new(|| hash_of(TEACH_TEXT)),
};

fn hash_of(text: &str) -> String {
    redis::Script::new(text).get_hash().to_owned()
}

impl Script {
    pub(crate) fn text(&self) -> &'static str {
        self.text
    }

    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }
}

#[cfg(test)]
mod tests;
