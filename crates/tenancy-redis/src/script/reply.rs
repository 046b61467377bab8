//! What the scripts' replies mean.

use std::collections::BTreeMap;

use bb8_redis::redis::Value;
use tenancy::cache::shared::{Answer, Cell, Level, Raised};

use super::number::{cell_from_text, number_from_text};
use crate::failure::Failure;

const NOT_AN_ANSWER: Failure = Failure::Unexpected("a script's reply is none that it can give");

/// Of asking and teaching.
pub(crate) fn answer(reply: &Value) -> Result<Answer, Failure> {
    let Value::Array(parts) = reply else {
        return Err(NOT_AN_ANSWER);
    };
    match parts.as_slice() {
        [Value::Int(0)] => Ok(Answer::Same),
        [Value::Int(3)] => Ok(Answer::Behind),
        [Value::Int(kind @ (1 | 2)), number, Value::Array(members)] => {
            let number = read_number(number)?;
            let levels = levels(members)?;
            Ok(if *kind == 1 {
                Answer::Changed { number, levels }
            } else {
                Answer::Whole { number, levels }
            })
        }
        _ => Err(NOT_AN_ANSWER),
    }
}

/// Of raising.
pub(crate) fn raised(reply: &Value) -> Result<Raised, Failure> {
    match reply {
        Value::Array(parts) => match parts.as_slice() {
            [number, previous] => Ok(Raised {
                number: read_number(number)?,
                previous: read_number(previous)?,
            }),
            _ => Err(NOT_AN_ANSWER),
        },
        _ => Err(NOT_AN_ANSWER),
    }
}

/// Of asking for reports: process and text. What is neither is not ours.
pub(crate) fn reported(reply: &Value) -> Result<Vec<(u64, String)>, Failure> {
    let Value::Array(parts) = reply else {
        return Err(NOT_AN_ANSWER);
    };
    let (pairs, _) = parts.as_chunks::<2>();
    let read = |[process, text]: &[Value; 2]| {
        Some((
            read_text(process).ok()?.parse().ok()?,
            read_text(text).ok()?.to_owned(),
        ))
    };
    Ok(pairs.iter().filter_map(read).collect())
}

/// Members and their scores by turns, by cell.
fn levels(members: &[Value]) -> Result<Vec<Level>, Failure> {
    let mut levels = BTreeMap::<Cell, Level>::new();
    let (pairs, []) = members.as_chunks::<2>() else {
        return Err(NOT_AN_ANSWER);
    };
    for [member, score] in pairs {
        let number = read_number(score)?;
        let (kind, cell) = read_text(member)?.split_at_checked(1).ok_or(NOT_AN_ANSWER)?;
        let cell = cell_from_text(cell).ok_or(NOT_AN_ANSWER)?;
        let level = levels.entry(cell).or_insert(Level {
            cell,
            any: 0,
            hard: 0,
        });
        level.any = level.any.max(number);
        match kind {
            "a" => {}
            "h" => level.hard = number,
            _ => return Err(NOT_AN_ANSWER),
        }
    }
    Ok(levels.into_values().collect())
}

fn read_text(value: &Value) -> Result<&str, Failure> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).map_err(|_| NOT_AN_ANSWER),
        _ => Err(NOT_AN_ANSWER),
    }
}

fn read_number(value: &Value) -> Result<u64, Failure> {
    number_from_text(read_text(value)?).ok_or(NOT_AN_ANSWER)
}
