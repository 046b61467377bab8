//! Numbers, cells and kinds of flushes as scripts and messages write them.

use tenancy::cache::shared::{Cell, FlushMode, SLOTS};

use crate::failure::Failure;

/// Scripts count in doubles, which hold no greater whole numbers exactly.
const END: u64 = 1 << 53;

/// A number as a script reads it.
pub(super) fn number_text(number: u64) -> Result<String, Failure> {
    check_number(number)?;
    Ok(number.to_string())
}

pub(crate) fn check_number(number: u64) -> Result<(), Failure> {
    if number < END {
        Ok(())
    } else {
        Err(Failure::Unexpected("a number is none that Redis can have given"))
    }
}

/// A number as a script wrote it. Some servers write round scores with an exponent.
pub(crate) fn number_from_text(text: &str) -> Option<u64> {
    if let Ok(number) = text.parse() {
        return (number < END).then_some(number);
    }
    let double: f64 = text.parse().ok()?;
    let is_whole = double.fract() == 0.0 && (0.0..END as f64).contains(&double);
    is_whole.then_some(double as u64)
}

pub(super) fn cell_text(cell: Cell) -> String {
    match cell {
        Cell::Base => "b".to_owned(),
        Cell::Slot(slot) => slot.to_string(),
    }
}

pub(crate) fn cell_from_text(text: &str) -> Option<Cell> {
    if text == "b" {
        return Some(Cell::Base);
    }
    let slot: u16 = text.parse().ok()?;
    (slot < SLOTS).then_some(Cell::Slot(slot))
}

pub(super) fn mode_text(mode: FlushMode) -> &'static str {
    match mode {
        FlushMode::Soft => "a",
        FlushMode::Hard => "h",
    }
}

pub(crate) fn mode_from_text(text: &str) -> Option<FlushMode> {
    match text {
        "a" => Some(FlushMode::Soft),
        "h" => Some(FlushMode::Hard),
        _ => None,
    }
}
