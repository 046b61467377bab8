//! What a batch asks, and what the replies are for whom.

use std::{time::Duration, vec};

use bb8_redis::redis::{self, Value};
use bytes::Bytes;
use tenancy::cache::shared::{Answer, Ask, EntryName, Fetched, FoundEntry, ScopeName};

use crate::{
    command::Command,
    failure::Failure,
    keys::{Keys, slot_of},
    level::part_by_chance,
    script,
    servers::Reply,
};

const TOO_FEW: Failure = Failure::Unexpected("Redis sent too few or too many replies");

/// What one caller wants.
pub(super) struct Want<'a> {
    pub(super) seen: u64,
    pub(super) names: &'a [EntryName],
}

/// What callers want of one scope.
pub(super) struct Group<'a> {
    scope: &'a ScopeName,
    wants: Vec<Want<'a>>,
    /// What they know, each number once: mostly all know the same.
    seen: Vec<u64>,
}

impl<'a> Group<'a> {
    pub(super) fn new(scope: &'a ScopeName, wants: Vec<Want<'a>>) -> Self {
        let mut seen: Vec<u64> = wants.iter().map(|want| want.seen).collect();
        seen.sort_unstable();
        seen.dedup();
        Self { scope, wants, seen }
    }
}

pub(super) fn commands(keys: &Keys, groups: &[Group<'_>]) -> Result<Vec<Command>, Failure> {
    let mut commands = Vec::new();
    for group in groups {
        let slot = slot_of(group.scope);
        for name in group.wants.iter().flat_map(|want| want.names) {
            let key = keys.entry(group.scope, name);
            // The time first: of an entry that takes another's place meanwhile the shorter one counts.
            commands.push(Command::plain(slot, redis::cmd("PTTL").arg(&key).take()));
            commands.push(Command::plain(slot, redis::cmd("GET").arg(&key).take()));
        }
        // Last: what was raised before an entry was read is in the answer.
        for &seen in &group.seen {
            let ask = Ask {
                scope: group.scope.clone(),
                seen,
            };
            commands.push(script::ask(keys, part_by_chance(), &ask)?);
        }
    }
    Ok(commands)
}

/// For each want, in their order. What is refused to one group, or fails for it, is not so for any other.
pub(super) fn read(groups: &[Group<'_>], replies: Vec<Reply>) -> Vec<Result<Fetched, Failure>> {
    let mut replies = replies.into_iter();
    groups
        .iter()
        .flat_map(|group| read_group(group, &mut replies))
        .collect()
}

fn read_group(group: &Group<'_>, replies: &mut vec::IntoIter<Reply>) -> Vec<Result<Fetched, Failure>> {
    let entries: Vec<_> = group
        .wants
        .iter()
        .map(|want| read_entries(want.names.len(), replies))
        .collect();
    let answers: Vec<_> = group.seen.iter().map(|_| read_answer(replies.next())).collect();
    let answer_to = |seen: u64| {
        let at = group.seen.binary_search(&seen).ok();
        at.and_then(|at| answers.get(at)).cloned().unwrap_or(Err(TOO_FEW))
    };
    let wants = group.wants.iter().zip(entries);
    wants
        .map(|(want, entries)| {
            Ok(Fetched {
                entries: entries?,
                answer: answer_to(want.seen)?,
            })
        })
        .collect()
}

/// Reads all, also where one was refused.
fn read_entries(
    count: usize,
    replies: &mut vec::IntoIter<Reply>,
) -> Result<Vec<Option<FoundEntry>>, Failure> {
    let mut entries = Ok(Vec::with_capacity(count));
    for _ in 0..count {
        let entry = match (replies.next(), replies.next()) {
            (Some(Ok(remaining)), Some(Ok(value))) => read_entry(remaining, value),
            (Some(Err(failure)), _) | (_, Some(Err(failure))) => Err(failure),
            _ => Err(TOO_FEW),
        };
        match (&mut entries, entry) {
            (Ok(entries), Ok(entry)) => entries.push(entry),
            (Ok(_), Err(failure)) => entries = Err(failure),
            (Err(_), _) => {}
        }
    }
    entries
}

/// One without a time was not stored by a level, and one that has just ended is gone.
fn read_entry(remaining: Value, value: Value) -> Result<Option<FoundEntry>, Failure> {
    match (remaining, value) {
        (Value::ServerError(error), _) | (_, Value::ServerError(error)) => {
            Err(Failure::Refused(error.into()))
        }
        (Value::Int(milliseconds), Value::BulkString(bytes)) if milliseconds > 0 => Ok(Some(FoundEntry {
            bytes: Bytes::from(bytes),
            remaining: Duration::from_millis(milliseconds.unsigned_abs()),
        })),
        _ => Ok(None),
    }
}

fn read_answer(reply: Option<Reply>) -> Result<Answer, Failure> {
    match reply {
        Some(Ok(Value::ServerError(error))) => Err(Failure::Refused(error.into())),
        Some(Ok(reply)) => script::answer(&reply),
        Some(Err(failure)) => Err(failure),
        None => Err(TOO_FEW),
    }
}

/// How many entries were asked for, and how large they are together.
pub(super) fn size(outcomes: &[Result<Fetched, Failure>]) -> (usize, usize) {
    let entries = || outcomes.iter().flatten().flat_map(|fetched| &fetched.entries);
    let bytes = entries().flatten().map(|entry| entry.bytes.len()).sum();
    (entries().count(), bytes)
}
