use std::{collections::BTreeMap, error::Error, net::IpAddr};

use proptest::prelude::*;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{CacheCodec, CodecError};

const BOTH: [CacheCodec; 2] = [CacheCodec::Postcard, CacheCodec::Json];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Plain,
    Named(String),
    Pair(i64, char),
    Struct { at: Option<u32>, list: Vec<u8> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Newtype(u128);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    kinds: Vec<Kind>,
    by_name: BTreeMap<String, (bool, f64)>,
    newtype: Newtype,
    unit: Unit,
    nothing: (),
    address: IpAddr,
    pair: Option<Box<(i8, i128)>>,
}

fn encoded<V>(codec: CacheCodec, value: &V) -> Result<Vec<u8>, CodecError>
where
    V: Serialize + DeserializeOwned + 'static,
{
    codec.encode(value, Vec::new())
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Plain),
        ".{0,8}".prop_map(Kind::Named),
        any::<(i64, char)>().prop_map(|(number, character)| Kind::Pair(number, character)),
        any::<(Option<u32>, [u8; 3])>().prop_map(|(at, list)| Kind::Struct {
            at,
            list: list.to_vec()
        }),
    ]
}

prop_compose! {
    fn values()(
        kinds in proptest::collection::vec(kinds(), 0..4),
        by_name in proptest::collection::btree_map(".{0,4}", (any::<bool>(), any::<i32>().prop_map(f64::from)), 0..3),
        newtype in any::<u128>().prop_map(Newtype),
        address in any::<IpAddr>(),
        pair in any::<Option<(i8, i128)>>(),
    ) -> Everything {
        Everything { kinds, by_name, newtype, unit: Unit, nothing: (), address, pair: pair.map(Box::new) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_again(value in values()) {
        for codec in BOTH {
            let bytes = encoded(codec, &value).unwrap();
            prop_assert_eq!(&codec.decode::<Everything>(&bytes).unwrap(), &value);
            prop_assert_eq!(codec.weigh(&value).unwrap(), bytes.len());
        }
        let plain = postcard::to_stdvec(&value).unwrap();
        prop_assert_eq!(encoded(CacheCodec::Postcard, &value).unwrap(), plain, "the check changes nothing");
    }

    #[test]
    fn nothing_is_read_from_a_part_or_from_more(value in values(), cut in any::<proptest::sample::Index>()) {
        for codec in BOTH {
            let mut bytes = encoded(codec, &value).unwrap();
            prop_assert!(codec.decode::<Everything>(&bytes[..cut.index(bytes.len())]).is_err());
            bytes.push(b'1');
            prop_assert!(codec.decode::<Everything>(&bytes).is_err());
        }
    }

    #[test]
    fn any_bytes_are_a_value_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        for codec in BOTH {
            let _ = codec.decode::<Everything>(&bytes);
            let _ = codec.decode::<Vec<String>>(&bytes);
        }
    }
}

#[test]
fn a_length_that_is_not_there_takes_no_memory() {
    // Says that 2^63 elements follow.
    let bytes = [255, 255, 255, 255, 255, 255, 255, 255, 127, 1];
    let used = allocation_counter::measure(|| {
        assert!(CacheCodec::Postcard.decode::<Vec<u64>>(&bytes).is_err());
        assert!(CacheCodec::Postcard.decode::<String>(&bytes).is_err());
    });
    assert!(
        used.bytes_max <= 1 << 20,
        "serde's own limit, not {}",
        used.bytes_max
    );
}

#[test]
fn the_value_stands_behind_the_head() {
    for codec in BOTH {
        let bytes = codec.encode(&7_u8, b"head".to_vec()).unwrap();
        assert_eq!(
            codec.decode::<u8>(bytes.strip_prefix(b"head").unwrap()).unwrap(),
            7
        );
    }
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sparse {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    a: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    b: Option<u8>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Sparser {
    V {
        #[serde(default, skip_serializing_if = "is_zero")]
        count: u8,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's way to call it")]
fn is_zero(count: &u8) -> bool {
    *count == 0
}

#[test]
fn a_value_without_one_of_its_fields_is_refused_by_postcard_and_taken_by_json() {
    // Without the check, `b` would be read as `a`.
    let value = vec![(1_u8, Some(Sparse { a: None, b: Some(5) }))];
    let error = encoded(CacheCodec::Postcard, &value).unwrap_err();
    assert!(error.is_unfit_type());
    assert!(error.to_string().contains("field a"), "{error}");
    let json = encoded(CacheCodec::Json, &value).unwrap();
    assert_eq!(
        CacheCodec::Json
            .decode::<Vec<(u8, Option<Sparse>)>>(&json)
            .unwrap(),
        value
    );

    let error = encoded(
        CacheCodec::Postcard,
        &BTreeMap::from([(1, Sparser::V { count: 0 })]),
    )
    .unwrap_err();
    assert!(error.to_string().contains("field count"), "{error}");
    assert!(encoded(CacheCodec::Postcard, &Sparser::V { count: 1 }).is_ok());
}

#[test]
fn a_type_that_looks_ahead_is_refused_by_postcard_and_taken_by_json() {
    let value = serde_json::json!({"a": [1, "b", null]});
    assert!(encoded(CacheCodec::Postcard, &value).unwrap_err().is_unfit_type());
    let json = encoded(CacheCodec::Json, &value).unwrap();
    assert_eq!(
        CacheCodec::Json.decode::<serde_json::Value>(&json).unwrap(),
        value
    );
}

#[test]
fn errors_say_nothing_of_the_value() {
    let error = CacheCodec::Json.decode::<u32>(br#""s3cret""#).unwrap_err();
    let cause = error.source().map(ToString::to_string);
    assert!(
        !format!("{error} {error:?} {cause:?}").contains("s3cret"),
        "{error:?}"
    );
    assert!(!error.is_unfit_type());
}

#[test]
fn marks_are_the_same_in_every_release() {
    assert_eq!(BOTH.map(CacheCodec::mark), [1, 2]);
    for mark in 0..=u8::MAX {
        assert_eq!(CacheCodec::of_mark(mark).is_some(), (1..=2).contains(&mark));
    }
    assert_eq!(CacheCodec::default(), CacheCodec::Postcard);
}
