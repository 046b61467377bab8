//! What happens to a scope in one step: the scripts, what they are given, and what their replies mean.

mod call;
mod number;
mod own;
mod reply;

use std::sync::LazyLock;

use bb8_redis::redis;

pub(crate) use self::{
    call::{ask, claim, heat, raise, release, report, reports, teach},
    number::{cell_from_text, check_number, mode_from_text, number_from_text},
    own::{COUNT, EXTEND, LOCK, UNLOCK},
    reply::{answer, raised, reported},
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
const CLAIM_TEXT: &str = include_str!("claim.lua");
const RELEASE_TEXT: &str = include_str!("release.lua");
const HEAT_TEXT: &str = include_str!("heat.lua");
const REPORT_TEXT: &str = include_str!("report.lua");
const REPORTS_TEXT: &str = include_str!("reports.lua");

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
static CLAIM: Script = Script {
    text: CLAIM_TEXT,
    hash: LazyLock::new(|| hash_of(CLAIM_TEXT)),
};
static RELEASE: Script = Script {
    text: RELEASE_TEXT,
    hash: LazyLock::new(|| hash_of(RELEASE_TEXT)),
};
static HEAT: Script = Script {
    text: HEAT_TEXT,
    hash: LazyLock::new(|| hash_of(HEAT_TEXT)),
};
static REPORT: Script = Script {
    text: REPORT_TEXT,
    hash: LazyLock::new(|| hash_of(REPORT_TEXT)),
};
static REPORTS: Script = Script {
    text: REPORTS_TEXT,
    hash: LazyLock::new(|| hash_of(REPORTS_TEXT)),
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
