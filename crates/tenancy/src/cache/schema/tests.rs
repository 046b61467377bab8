use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
    num::NonZeroU32,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use tenancy_core::TenantId;

use super::{
    Probe, Schema, of,
    survey::{Survey, combined},
};

/// Surveys once more, and not by the memory of `of`; without the type's name, which is for what is not seen.
fn seen<V: DeserializeOwned>() -> u64 {
    let read = |survey: &mut Survey| V::deserialize(Probe::of_all(survey)).is_ok();
    let (binary, readable) = (Survey::run(false, &read), Survey::run(true, &read));
    combined("", &binary, &readable)
}

fn is_complete<V: DeserializeOwned>() -> bool {
    let read = |survey: &mut Survey| V::deserialize(Probe::of_all(survey)).is_ok();
    let (binary, readable) = (Survey::run(false, &read), Survey::run(true, &read));
    combined("a", &binary, &readable) == combined("b", &binary, &readable)
}

/// Declares each type in a module of its own, under one name, and returns what is seen of each.
macro_rules! shapes {
    ($($name:ident { $($item:item)* })*) => {
        [$({
            mod $name {
                #![allow(dead_code, reason = "only the shape matters")]
                #[allow(unused_imports, reason = "not in every module")]
                use std::collections::BTreeMap;
                use serde::Deserialize;
                $(#[derive(Deserialize)] $item)*
            }
            (stringify!($name), seen::<$name::Value>())
        }),*]
    };
}

#[track_caller]
fn assert_all_differ(shapes: &[(&str, u64)]) {
    for (at, (name, shape)) in shapes.iter().enumerate() {
        for (other_name, other_shape) in &shapes[..at] {
            assert_ne!(shape, other_shape, "{name} and {other_name}");
        }
    }
}

#[test]
fn a_schema_is_the_same_each_time() {
    assert_eq!(seen::<Vec<(u8, String)>>(), seen::<Vec<(u8, String)>>());
    assert_eq!(of::<Expression>(), of::<Expression>());
    assert_eq!(seen::<Expression>(), seen::<Expression>());
}

#[test]
fn the_same_shape_elsewhere_is_the_same_schema() {
    let shapes = shapes! {
        here { pub(super) struct Value { a: u8, b: String } }
        there { pub(super) struct Value { a: u8, b: String } }
        with_what_is_not_written { pub(super) struct Value { a: u8, #[serde(skip)] c: u16, b: String } }
    };
    assert_eq!(shapes[0].1, shapes[1].1);
    assert_eq!(shapes[0].1, shapes[2].1);
}

#[test]
fn each_change_of_fields_is_another_schema() {
    assert_all_differ(&shapes! {
        plain { pub(super) struct Value { a: u8, b: String } }
        reordered { pub(super) struct Value { b: String, a: u8 } }
        renamed { pub(super) struct Value { a: u8, c: String } }
        retyped { pub(super) struct Value { a: u16, b: String } }
        signed { pub(super) struct Value { a: i8, b: String } }
        optional { pub(super) struct Value { a: u8, b: Option<String> } }
        several { pub(super) struct Value { a: u8, b: Vec<String> } }
        added { pub(super) struct Value { a: u8, b: String, c: u8 } }
        removed { pub(super) struct Value { a: u8 } }
        unnamed { pub(super) struct Value(u8, String); }
        renamed_in_serde { pub(super) struct Value { a: u8, #[serde(rename = "d")] b: String } }
        array { pub(super) struct Value { a: [u8; 2], b: String } }
        longer_array { pub(super) struct Value { a: [u8; 3], b: String } }
        newtype { pub(super) struct Value { a: Inner, b: String } pub(super) struct Inner(u8); }
        newtype_of_another { pub(super) struct Value { a: Inner, b: String } pub(super) struct Inner(u16); }
        map { pub(super) struct Value { a: u8, b: BTreeMap<String, u8> } }
        map_to_others { pub(super) struct Value { a: u8, b: BTreeMap<String, u16> } }
        map_from_others { pub(super) struct Value { a: u8, b: BTreeMap<u8, u8> } }
        deep { pub(super) struct Value { a: Vec<Option<Inner>>, b: String } pub(super) struct Inner { c: u8 } }
        deep_retyped { pub(super) struct Value { a: Vec<Option<Inner>>, b: String } pub(super) struct Inner { c: u16 } }
        deep_renamed { pub(super) struct Value { a: Vec<Option<Inner>>, b: String } pub(super) struct Inner { d: u8 } }
    });
}

#[test]
fn each_change_of_variants_is_another_schema() {
    assert_all_differ(&shapes! {
        plain { pub(super) enum Value { A, B(u8), C { d: u8 } } }
        reordered { pub(super) enum Value { B(u8), A, C { d: u8 } } }
        renamed { pub(super) enum Value { X, B(u8), C { d: u8 } } }
        added { pub(super) enum Value { A, B(u8), C { d: u8 }, E } }
        retyped { pub(super) enum Value { A, B(u16), C { d: u8 } } }
        last_retyped { pub(super) enum Value { A, B(u8), C { d: u16 } } }
        field_renamed { pub(super) enum Value { A, B(u8), C { e: u8 } } }
        two { pub(super) enum Value { A, B(u8, u8), C { d: u8 } } }
        not_unit { pub(super) enum Value { A(), B(u8), C { d: u8 } } }
    });
}

#[test]
fn variants_within_variants_are_all_read() {
    assert_all_differ(&shapes! {
        plain {
            pub(super) enum Value { First, Second(Middle), Third(Middle) }
            pub(super) enum Middle { A, B(Vec<Inner>), C }
            pub(super) enum Inner { X(u8), Y, Z { deep: Option<u32> } }
        }
        changed {
            pub(super) enum Value { First, Second(Middle), Third(Middle) }
            pub(super) enum Middle { A, B(Vec<Inner>), C }
            pub(super) enum Inner { X(u8), Y, Z { deep: Option<u64> } }
        }
        changed_beside {
            pub(super) enum Value { First, Second(Middle), Third(Middle) }
            pub(super) enum Middle { A, B(Vec<Inner>), C }
            pub(super) enum Inner { X(u16), Y, Z { deep: Option<u32> } }
        }
    });
}

#[test]
fn two_uses_of_one_generic_enum_are_both_read() {
    assert_all_differ(&shapes! {
        plain { pub(super) struct Value { a: Result<u8, String>, b: Result<u8, u16> } }
        second_changed { pub(super) struct Value { a: Result<u8, String>, b: Result<u8, u32> } }
        first_changed { pub(super) struct Value { a: Result<u8, char>, b: Result<u8, u16> } }
    });
}

#[test]
fn types_within_themselves_are_read_to_the_end() {
    assert_all_differ(&shapes! {
        list { pub(super) struct Value { next: Option<Box<Value>>, item: u8 } }
        list_of_others { pub(super) struct Value { next: Option<Box<Value>>, item: u16 } }
        tree { pub(super) struct Value { below: Vec<Value>, item: u8 } }
        tree_of_others { pub(super) struct Value { below: Vec<Value>, item: u16 } }
        enum_list { pub(super) enum Value { More(Box<Value>, u8), End } }
        enum_list_of_others { pub(super) enum Value { More(Box<Value>, u16), End } }
    });
    assert!(is_complete::<Expression>());
    assert!(!is_complete::<Endless>(), "no value of it can ever be read");
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only the shape matters")]
enum Expression {
    Add(Box<Self>, Box<Self>),
    Not { inner: Box<Self> },
    Call { name: String, arguments: Vec<Self> },
    Literal(Literal),
    Block(Block),
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only the shape matters")]
enum Literal {
    Number(i64),
    Text(String),
    Nothing,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only the shape matters")]
struct Block {
    lines: Vec<Expression>,
    labels: HashMap<String, Expression>,
    last: Option<Box<Block>>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only the shape matters")]
struct Endless(Box<Self>);

#[test]
fn what_checks_its_values_is_offered_some_that_it_may_take() {
    assert!(is_complete::<(NonZeroU32, IpAddr, Duration, SystemTime, TenantId)>());
    assert!(is_complete::<(HashSet<char>, [f32; 3], BTreeMap<i128, bool>, ())>());
    assert!(is_complete::<Option<Checked>>());
    assert!(!is_complete::<Choosy>());
}

/// Takes only what is the second sample, and stands before something else.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only the shape matters")]
struct Checked {
    empty: OnlyEmpty,
    plain: String,
    after: u8,
}

struct OnlyEmpty;

impl<'de> Deserialize<'de> for OnlyEmpty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            Ok(Self)
        } else {
            Err(serde::de::Error::custom("not empty"))
        }
    }
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only the shape matters")]
struct Choosy {
    nothing: OnlyFourScoreAndSeven,
    after: u8,
}

struct OnlyFourScoreAndSeven;

impl<'de> Deserialize<'de> for OnlyFourScoreAndSeven {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            87 => Ok(Self),
            _ => Err(serde::de::Error::custom("not 87")),
        }
    }
}

#[test]
fn where_nothing_is_accepted_the_rust_name_tells_types_apart() {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only the shape matters")]
    struct Also {
        nothing: OnlyFourScoreAndSeven,
        after: u8,
    }
    assert_ne!(of::<Choosy>().id, of::<Also>().id);
}

#[test]
fn what_looks_ahead_is_known() {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only the shape matters")]
    struct Flat {
        a: u8,
        #[serde(flatten)]
        rest: Inner,
    }
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only the shape matters")]
    struct Inner {
        b: u8,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "only the shape matters")]
    enum Untagged {
        A(u8),
        B(String),
    }
    #[derive(Deserialize)]
    #[serde(tag = "t")]
    #[expect(dead_code, reason = "only the shape matters")]
    enum Tagged {
        A { b: u8 },
    }
    let looks_ahead = |schema: Schema| schema.looks_ahead;
    assert!(looks_ahead(of::<serde_json::Value>()));
    assert!(looks_ahead(of::<Vec<(u8, Option<Flat>)>>()));
    assert!(looks_ahead(of::<(String, Untagged)>()));
    assert!(looks_ahead(of::<Tagged>()));
    assert!(!looks_ahead(of::<Expression>()));
    assert!(!looks_ahead(of::<(IpAddr, Duration)>()));
}

#[test]
fn large_types_end() {
    assert!(
        !is_complete::<[[[u8; 32]; 32]; 32]>(),
        "32,768 numbers are not all read"
    );
    assert_ne!(of::<[[[u8; 32]; 32]; 32]>().id, of::<[[[u16; 32]; 32]; 32]>().id);
}
