use bb8_redis::redis::Value;
use proptest::prelude::*;
use tenancy::cache::shared::{Answer, Cell, Level, REMEMBERED};

use super::{
    number::{cell_from_text, cell_text, number_from_text, number_text},
    reply::{answer, raised},
};

fn text(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

#[test]
fn members_of_a_cell_become_one_level() {
    let members = ["a7", "20", "hb", "5", "h7", "10", "a9", "1.8e+15"]
        .map(text)
        .to_vec();
    let reply = Value::Array(vec![Value::Int(1), text("30"), Value::Array(members)]);
    let level = |cell, any, hard| Level { cell, any, hard };
    assert_eq!(
        answer(&reply).unwrap(),
        Answer::Changed {
            number: 30,
            levels: vec![
                level(Cell::Base, 5, 5),
                level(Cell::Slot(7), 20, 10),
                level(Cell::Slot(9), 1_800_000_000_000_000, 0),
            ],
        }
    );
}

#[test]
fn the_scripts_remember_as_many_numbers_as_they_must() {
    let trim = format!("redis.call('LTRIM', n, 0, {})", REMEMBERED - 1);
    assert!(include_str!("scope.lua").contains(&trim));
}

#[test]
fn what_no_script_replies_is_an_error() {
    let members = |members: &[&str]| Value::Array(members.iter().copied().map(text).collect());
    for reply in [
        Value::Nil,
        Value::Okay,
        Value::Int(0),
        Value::Array(vec![]),
        Value::Array(vec![Value::Int(4)]),
        Value::Array(vec![Value::Int(1), text("30")]),
        Value::Array(vec![Value::Int(1), text("x"), members(&[])]),
        Value::Array(vec![Value::Int(1), text("30"), members(&["a7"])]),
        Value::Array(vec![Value::Int(1), text("30"), members(&["", "1"])]),
        Value::Array(vec![Value::Int(1), text("30"), members(&["a", "1"])]),
        Value::Array(vec![Value::Int(1), text("30"), members(&["a4096", "1"])]),
        Value::Array(vec![Value::Int(1), text("30"), members(&["x7", "1"])]),
        Value::Array(vec![Value::Int(2), text("30"), members(&["ä7", "1"])]),
    ] {
        assert!(answer(&reply).is_err(), "{reply:?}");
        assert!(raised(&reply).is_err(), "{reply:?}");
    }
}

#[test]
fn only_whole_numbers_that_a_double_holds_are_numbers() {
    for text in [
        "",
        "-1",
        "1.5",
        "nan",
        "inf",
        "1e300",
        "9007199254740992",
        "18446744073709551616",
        "9.1e15",
    ] {
        assert_eq!(number_from_text(text), None, "{text}");
    }
    assert!(number_text(1 << 53).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn numbers_and_cells_are_read_as_they_were_written(number in 0..1_u64 << 53, slot in 0..4096_u16) {
        prop_assert_eq!(number_from_text(&number_text(number).unwrap()), Some(number));
        // As a server would that writes doubles.
        prop_assert_eq!(number_from_text(&format!("{:e}", number as f64)), Some(number));
        for cell in [Cell::Base, Cell::Slot(slot)] {
            prop_assert_eq!(cell_from_text(&cell_text(cell)), Some(cell));
        }
    }
}
