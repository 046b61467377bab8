use std::{error::Error, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Header, Opened, Place, seal, weigh};
use crate::cache::{
    codec::CacheCodec,
    key::CacheValue,
    shared::{EntryName, ScopeName},
    versions::Stamp,
};

fn place() -> Place {
    Place::new(&ScopeName::of_tenant("acme", 1), &EntryName::new(b"notes@1()"))
}

fn header(slots: &[(u16, u64)]) -> Header {
    Header {
        stamp: Stamp::from_parts(77, slots).unwrap(),
        ttl: Duration::from_secs(60),
        fresh_for: Duration::from_millis(1500),
        load_cost: Duration::from_micros(250),
    }
}

fn sealed<V: CacheValue>(value: &V) -> Bytes {
    seal(
        place(),
        &header(&[(1, 5), (4095, 6)]),
        CacheCodec::Postcard,
        value,
    )
    .unwrap()
}

fn read<V: CacheValue>(whole: &Bytes) -> Option<V> {
    Opened::open(place(), whole).ok()?.value().ok()
}

#[test]
fn the_format_is_the_one_that_is_written_down() {
    let whole = sealed(&String::from("value"));
    let schema = crate::cache::schema::of::<String>().id.to_le_bytes();
    let number = |number: u64| number.to_le_bytes();
    let parts: [&[u8]; 14] = [
        b"tC\x01\x01",
        &schema,
        &number(place().0),
        &number(77),
        &number(60_000),
        &number(1_500),
        &number(250),
        b"\x02",
        &[1, 0],
        &number(5),
        &[255, 15],
        &number(6),
        b"\x05",
        b"value",
    ];
    assert_eq!(whole, parts.concat());
}

#[test]
fn an_entry_of_another_scope_or_key_is_not_read() {
    let whole = sealed(&1_u8);
    let of = |id, incarnation, name: &[u8]| {
        Place::new(&ScopeName::of_tenant(id, incarnation), &EntryName::new(name))
    };
    let central = Place::new(&ScopeName::central(), &EntryName::new(b"notes@1()"));
    let others = [
        of("globex", 1, b"notes@1()"),
        of("acme", 2, b"notes@1()"),
        of("acme", 1, b"notes@2()"),
        of("acm", 1, b"enotes@1()"),
        central,
    ];
    for other in others {
        assert!(Opened::open(other, &whole).unwrap_err().is_misplaced());
    }
    assert!(Opened::open(of("acme", 1, b"notes@1()"), &whole).is_ok());
}

mod release_1 {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub(super) struct Note {
        pub(super) id: u8,
        pub(super) by: u8,
    }
}

mod release_2 {
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    pub(super) struct Note {
        pub(super) by: u8,
        pub(super) id: u8,
    }
}

#[test]
fn an_entry_of_another_release_is_not_read() {
    let whole = sealed(&release_1::Note { id: 1, by: 2 });
    let opened = Opened::open(place(), &whole).unwrap();
    let error = opened.value::<release_2::Note>().unwrap_err();
    assert!(error.is_of_another_release(), "{error}");
    let same = opened.value::<release_1::Note>().unwrap();
    assert_eq!((same.id, same.by), (1, 2));

    for (at, other) in [(2, 2), (3, 200)] {
        let mut changed = whole.to_vec();
        changed[at] = other;
        let error = Opened::open(place(), &changed.into()).unwrap_err();
        assert!(error.is_of_another_release(), "{error}");
    }
}

#[test]
fn what_was_written_one_way_is_read_that_way() {
    let value = vec![String::from("a")];
    let json = seal(place(), &header(&[]), CacheCodec::Json, &value).unwrap();
    assert!(json.ends_with(br#"["a"]"#));
    assert_eq!(read::<Vec<String>>(&json), Some(value.clone()));
    assert_eq!(read::<Vec<String>>(&sealed(&value)), Some(value));
}

#[test]
fn empty_values_are_values() {
    assert_eq!(read::<Option<u8>>(&sealed(&None::<u8>)), Some(None));
    assert_eq!(read::<()>(&sealed(&())), Some(()));
    assert_eq!(read::<String>(&sealed(&String::new())), Some(String::new()));
    assert_eq!(read::<Vec<u8>>(&sealed(&Vec::<u8>::new())), Some(Vec::new()));
    assert_eq!(read::<u8>(&sealed(&0_u8)), Some(0));
}

#[test]
fn impossible_headers_are_refused() {
    let whole = sealed(&1_u8);
    let changed = |at: usize, bytes: &[u8]| {
        let mut changed = whole.to_vec();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        Opened::open(place(), &changed.into()).is_ok()
    };
    assert!(changed(0, b"tC"), "as it is");
    assert!(!changed(0, b"tc"), "other magic");
    assert!(!changed(20, &[255; 8]), "a base that is no version");
    assert!(!changed(36, &60_001_u64.to_le_bytes()), "fresh after its end");
    assert!(!changed(52, &[3]), "a slot that is not there");
    assert!(!changed(52, &[129]), "too many slots");
    assert!(!changed(53, &4096_u16.to_le_bytes()), "a slot beyond the last");
    assert!(!changed(53, &4095_u16.to_le_bytes()), "one slot twice");
    assert!(!changed(55, &[255; 8]), "a slot's number that is no version");
}

#[test]
fn many_slots_are_kept_and_too_many_refused() {
    let slots: Vec<(u16, u64)> = (0..129).map(|slot| (slot, u64::from(slot) + 1)).collect();
    let whole = seal(place(), &header(&slots[1..]), CacheCodec::Postcard, &1_u8).unwrap();
    let opened = Opened::open(place(), &whole).unwrap();
    assert_eq!(opened.header, header(&slots[1..]));
    assert_eq!(opened.value_len(), 1);
    assert!(seal(place(), &header(&slots), CacheCodec::Postcard, &1_u8).is_err());
}

#[test]
fn slots_that_are_not_there_take_no_memory() {
    let mut whole = sealed(&1_u8).to_vec();
    whole[52] = 128;
    let (place, whole) = (place(), Bytes::from(whole));
    let used = allocation_counter::measure(|| {
        assert!(Opened::open(place, &whole).is_err());
    });
    assert_eq!(used.count_total, 0);
}

#[test]
fn reading_a_value_copies_none_of_its_bytes() {
    let whole = sealed(&"x".repeat(100_000));
    let opened = Opened::open(place(), &whole).unwrap();
    assert_eq!(opened.value.as_ptr_range().end, whole.as_ptr_range().end);
}

#[test]
fn a_value_that_the_codec_does_not_take_is_an_error() {
    let value = serde_json::json!({"a": 1});
    let error = seal(place(), &header(&[]), CacheCodec::Postcard, &value).unwrap_err();
    assert!(error.is_unfit_type());
    assert!(error.source().is_some());
    assert!(seal(place(), &header(&[]), CacheCodec::Json, &value).is_ok());
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Value {
    text: String,
    numbers: Vec<u64>,
}

prop_compose! {
    fn entries()(
        base in 0_u64..1 << 53,
        slots in proptest::collection::btree_map(0_u16..4096, 0_u64..1 << 53, 0..9),
        ttl in any::<u64>(),
        fresh_for in any::<u64>(),
        load_cost in any::<u64>(),
        text in ".{0,12}",
        numbers in proptest::collection::vec(any::<u64>(), 0..4),
    ) -> (Header, Value) {
        let slots: Vec<_> = slots.into_iter().collect();
        let header = Header {
            stamp: Stamp::from_parts(base, &slots).unwrap(),
            ttl: Duration::from_millis(ttl),
            fresh_for: Duration::from_millis(fresh_for.min(ttl)),
            load_cost: Duration::from_micros(load_cost),
        };
        (header, Value { text, numbers })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_sealed_is_opened((header, value) in entries(), json in any::<bool>()) {
        let codec = if json { CacheCodec::Json } else { CacheCodec::Postcard };
        let whole = seal(place(), &header, codec, &value).unwrap();
        prop_assert_eq!(weigh(codec, &header.stamp, &value).unwrap(), whole.len());
        let opened = Opened::open(place(), &whole).unwrap();
        prop_assert_eq!(&opened.header, &header);
        prop_assert_eq!(opened.value::<Value>().unwrap(), value);
    }

    #[test]
    fn no_part_of_an_entry_is_read((header, value) in entries(), cut in any::<proptest::sample::Index>()) {
        let whole = seal(place(), &header, CacheCodec::Postcard, &value).unwrap();
        prop_assert_eq!(read::<Value>(&whole.slice(..cut.index(whole.len()))), None);
    }

    #[test]
    fn any_bytes_are_an_entry_or_an_error(
        (header, value) in entries(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
        noise in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut whole = seal(place(), &header, CacheCodec::Postcard, &value).unwrap().to_vec();
        for (at, byte) in changes {
            let at = at.index(whole.len());
            whole[at] = byte;
        }
        let _ = read::<Value>(&whole.into());
        let _ = read::<Value>(&noise.into());
    }
}

#[test]
fn a_type_that_is_not_seen_as_a_whole_is_written_with_names() {
    /// Refuses whatever a survey can make up.
    #[derive(Serialize)]
    struct Sku(String);

    impl<'de> Deserialize<'de> for Sku {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            match text.strip_prefix("sku-") {
                Some(_) => Ok(Self(text)),
                None => Err(serde::de::Error::custom("no sku")),
            }
        }
    }

    #[derive(Serialize, Deserialize)]
    struct Line {
        sku: Sku,
        count: u32,
    }

    let codec_of = |whole: &Bytes| whole[3];
    let seen = seal(place(), &header(&[]), CacheCodec::Postcard, &1_u32).unwrap();
    assert_eq!(codec_of(&seen), CacheCodec::Postcard.mark());
    let line = Line {
        sku: Sku("sku-1".to_owned()),
        count: 5,
    };
    let whole = seal(place(), &header(&[]), CacheCodec::Postcard, &line).unwrap();
    assert_eq!(codec_of(&whole), CacheCodec::Json.mark());
    let weight = weigh(CacheCodec::Postcard, &header(&[]).stamp, &line).unwrap();
    assert_eq!(weight, whole.len());
    let read: Line = Opened::open(place(), &whole).unwrap().value().unwrap();
    assert_eq!((read.sku.0.as_str(), read.count), ("sku-1", 5));
}
