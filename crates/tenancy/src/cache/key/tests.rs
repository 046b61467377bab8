use proptest::prelude::*;
use tenancy_core::TenantId;

use super::{AnyKey, CacheKey, KeyArg, KeyWriter, KeyWritten, Keys, bytes::INLINE, explain::Explained};

const NOTES: Keys<(u32, &str), u8> = Keys::new("notes", 1);

fn encoded<A: KeyArg>(args: A::Given<'_>) -> Vec<u8> {
    Keys::<A, ()>::new("k", 1).key(args).as_bytes().to_vec()
}

fn text<A: KeyArg>(args: A::Given<'_>) -> String {
    Keys::<A, ()>::new("k", 1).key(args).to_string()
}

#[test]
fn the_encoding_is_the_one_that_other_processes_have() {
    assert_eq!(
        NOTES.key((7, "open")).as_bytes(),
        b"notes@1(C\0\0\0\x07s\x04open)"
    );
    assert_eq!(encoded::<()>(()), b"k@1()");
    assert_eq!(
        encoded::<Option<(bool, char)>>(Some((true, 'x'))),
        b"k@1o(tc\0\0\0x)"
    );
    assert_eq!(encoded::<[u8; 2]>([1, 2]), b"k@1b\x02\x01\x02");
    assert_eq!(encoded::<&[i8]>(&[-1, 2]), b"k@1[G\xffG\x02]");
    assert_eq!(
        encoded::<usize>(1),
        b"k@1F\0\0\0\0\0\0\0\x01",
        "of one width on every machine"
    );
    assert_eq!(
        Keys::<u8, ()>::new("k", u32::MAX).key(0).as_bytes(),
        b"k@4294967295A\0"
    );
    assert_eq!(Keys::<u8, ()>::new("k", 0).key(0).as_bytes(), b"k@0A\0");
}

#[test]
fn borrowed_arguments_need_not_be_static() {
    let status = String::from("open");
    let list = vec![status.as_str(), "closed"];
    let key = Keys::<(&str, &[&str], String, Vec<u8>), ()>::new("k", 1).key((&status, &list, &status, &[1]));
    assert_eq!(
        key.to_string(),
        r#"k@1("open", ["open", "closed"], "open", b"\x01")"#
    );
    assert_eq!(NOTES.key((7, &status)), NOTES.key((7, "open")));
}

#[test]
fn name_and_version_are_part_of_the_key() {
    let of = |name, version| Keys::<u8, ()>::new(name, version).key(1).as_bytes().to_vec();
    assert_ne!(of("a", 1), of("a", 2));
    assert_ne!(of("a", 1), of("b", 1));
    assert_ne!(of("a", 11), of("a1", 1));
}

#[test]
fn names_that_could_be_something_else_are_refused() {
    let refused = |name: &'static str| std::panic::catch_unwind(|| Keys::<(), ()>::new(name, 1)).is_err();
    for name in ["", "a b", "A", "a@1", "a:b", "{a}", "ä", "a\n", "a/b"] {
        assert!(refused(name), "{name:?}");
    }
    assert!(refused(
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef+"
    ));
    assert!(refused(
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefg"
    ));
    assert!(!refused(
        "0123456789_abcdef0123456789.abcdef0123456789-abcdef0123456789abc"
    ));
}

#[test]
fn a_key_is_told_to_people() {
    type All = (Option<u8>, (i16, u128), &'static [u8], bool, char, [i64; 2]);
    let args = (None, (-5, u128::MAX), &b"a\"\n"[..], false, '\n', [1, -1]);
    assert_eq!(
        text::<All>(args),
        r#"k@1(None, (-5i16, 340282366920938463463374607431768211455u128), b"a\"\n", false, '\n', [1i64, -1i64])"#
    );
    assert_eq!(text::<u8>(7), "k@1(7u8)");
    assert_eq!(text::<(u8,)>((7,)), "k@1(7u8,)");
    assert_eq!(
        text::<&str>("two\nlines \u{202e}"),
        r#"k@1("two\nlines \u{202e}")"#
    );
    assert_eq!(text::<Option<Option<u8>>>(Some(None)), "k@1(Some(None))");
    assert_eq!(
        format!("{:?}", NOTES.key((7, "open"))),
        r#"CacheKey(notes@1(7, "open"))"#
    );
    assert_eq!(format!("{NOTES:?}"), "Keys(notes@1)");
}

#[test]
fn long_arguments_become_a_digest() {
    let long = "x".repeat(100_000);
    let key = NOTES.key((7, &long));
    assert_eq!(key.as_bytes().len(), "notes@1#".len() + 32);
    assert!(
        key.to_string().starts_with("notes@1(sha256:"),
        "{key}: the kind stays readable"
    );
    assert_eq!(key, NOTES.key((7, &long)));
    assert_ne!(key, NOTES.key((8, &long)));
    assert_ne!(key, NOTES.key((7, &long[1..])));
    // The longest that is not hashed, and the next.
    let frame = NOTES.key((7, "")).as_bytes().len() + 1;
    for len in [256 - frame, 257 - frame] {
        let encoded = NOTES.key((7, &long[..len])).as_bytes().len();
        assert_eq!(encoded, if len + frame > 256 { 40 } else { 256 });
    }
}

#[test]
fn keys_up_to_sixty_four_bytes_are_made_and_cloned_without_an_allocation() {
    let frame = NOTES.key((7, "")).as_bytes().len();
    let text = "x".repeat(INLINE + 1 - frame);
    let mut key: Option<(CacheKey<u8>, CacheKey<u8>)> = None;
    let mut make = |text: &str| {
        allocation_counter::measure(|| {
            let made = NOTES.key((7, text));
            key = Some((made.clone(), made));
        })
        .count_total
    };
    assert_eq!(make(&text[1..]), 0);
    assert!(
        make(&text) > 0,
        "one byte more: else the line above counts nothing"
    );
    let (clone, key) = key.unwrap();
    assert_eq!(key.as_bytes().len(), INLINE + 1);
    assert_eq!(clone, key);
}

#[derive(Clone, Copy)]
struct NoteId(u64);

impl KeyArg for NoteId {
    type Given<'a> = Self;

    fn write(given: Self, key: KeyWriter<'_>) -> KeyWritten {
        key.value::<u64>(given.0)
    }
}

#[test]
fn types_of_the_application_are_arguments_too() {
    let acme: TenantId = "acme".parse().unwrap();
    assert_eq!(
        text::<(NoteId, Vec<NoteId>, TenantId)>((NoteId(1), &[NoteId(2)], &acme)),
        r#"k@1(1u64, [2u64], "acme")"#
    );
}

/// An encoded key, and what it must be told apart by: the types and the values.
type Sample = (Vec<u8>, String);

fn sample<A: KeyArg>(args: A::Given<'_>, of: impl std::fmt::Debug) -> Sample {
    (
        encoded::<A>(args),
        format!("{} {of:?}", std::any::type_name::<A>()),
    )
}

/// Short, of few characters, with those that have a meaning in keys: so that accidents are likely.
fn tricky() -> impl Strategy<Value = String> {
    "[a\\[\\]()#@sn1\u{0}\u{1}\u{2}]{0,4}"
}

fn samples() -> impl Strategy<Value = Sample> {
    let numbers = (0_u16..300, -2_i32..2);
    let texts = (tricky(), tricky(), proptest::collection::vec(tricky(), 0..3));
    (0..10, numbers, texts).prop_map(|(shape, (n, i), (a, b, list))| {
        let (x, y) = (a.as_str(), b.as_str());
        let list: Vec<&str> = list.iter().map(String::as_str).collect();
        let maybe = (n % 2 == 0).then_some(y);
        match shape {
            0 => sample::<(&str, &str)>((x, y), (x, y)),
            1 => sample::<((&str,), (&str,))>(((x,), (y,)), (x, y)),
            2 => sample::<(&str, Option<&str>)>((x, maybe), (x, maybe)),
            3 => sample::<&[&str]>(&list, &list),
            4 => sample::<(&[&str], &str)>((&list, x), (&list, x)),
            5 => sample::<(u16, i32, &str)>((n, i, x), (n, i, x)),
            6 => sample::<(i32, u16, &str)>((i, n, x), (i, n, x)),
            7 => sample::<(&[u8], &str)>((x.as_bytes(), y), (x, y)),
            8 => sample::<Option<(u16, &str)>>(Some((n, x)), (n, x)),
            _ => sample::<(bool, u16)>((i == 0, n), (i == 0, n)),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn keys_are_equal_only_if_their_arguments_are(all in proptest::collection::vec(samples(), 40)) {
        for (at, (bytes, what)) in all.iter().enumerate() {
            for (other_bytes, other_what) in &all[..at] {
                prop_assert_eq!(bytes == other_bytes, what == other_what, "{} and {}", what, other_what);
            }
        }
    }

    #[test]
    fn no_argument_is_the_beginning_of_another(a in samples(), b in samples()) {
        let begins = b.0.starts_with(&a.0);
        prop_assert_eq!(begins, a.1 == b.1, "{} and {}", a.1, b.1);
    }

    #[test]
    fn no_argument_can_pretend_to_be_two(first in "[bs\u{0}-\u{4}]{0,5}", second in "[bs\u{0}-\u{4}]{0,5}") {
        type Two = (&'static [u8], &'static [u8]);
        let (first, second) = (first.as_bytes(), second.as_bytes());
        let key = encoded::<Two>((first, second));
        // What an attacker would try: parts of the encoded key as arguments.
        let (begin, end) = ("k@1(b".len(), key.len() - 1);
        for border in begin..=end {
            for (after_mark, next) in [(begin, border + 1), (begin + 1, border + 2)] {
                let (Some(first_part), Some(second_part)) = (key.get(after_mark..border), key.get(next..end)) else {
                    continue;
                };
                let same = (first_part, second_part) == (first, second);
                prop_assert_eq!(encoded::<Two>((first_part, second_part)) == key, same);
            }
        }
    }

    #[test]
    fn the_text_of_a_key_is_read_as_the_key(samples in proptest::collection::vec(samples(), 20)) {
        for (bytes, _) in samples {
            let text = Explained(&bytes).to_string();
            let key: AnyKey = text.parse().map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
            prop_assert_eq!(key.as_bytes(), bytes, "{}", text);
        }
    }

    #[test]
    fn any_text_can_be_read(text in "(k@1\\()?[kS\\(\\)\\[\\]@,'\"b\\\\xu{}0-9 n\u{e4}-]{0,40}\\)?") {
        if let Ok(key) = text.parse::<AnyKey>() {
            prop_assert_eq!(key.to_string().parse(), Ok(key));
        }
    }

    #[test]
    fn any_bytes_can_be_explained(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let as_args = [b"k@1(", &bytes[..]].concat();
        for bytes in [bytes, as_args] {
            prop_assert!(!Explained(&bytes).to_string().contains(char::is_control));
        }
    }
}

#[test]
fn every_kind_of_argument_is_read_as_it_was_written() {
    type All = (u8, u16, u32, u64, u128, usize);
    type Signed = (i8, i16, i32, i64, i128, isize);
    type Rest = (
        Option<Option<(u8,)>>,
        char,
        bool,
        &'static [u8],
        Vec<(i8, ())>,
        String,
    );
    let keys = [
        encoded::<All>((0, 1, u32::MAX, u64::MAX, u128::MAX, 5)),
        encoded::<Signed>((i8::MIN, -1, 0, i64::MIN, i128::MIN, isize::MIN)),
        encoded::<Rest>((
            Some(Some((7,))),
            '\'',
            true,
            &[0, 255, b'"', b'\\', b'a'],
            &[(-1, ())],
            "\0\u{202e}\"'ä\\",
        )),
        encoded::<Rest>((Some(None), '\u{10ffff}', false, b"", &[], "")),
        encoded::<u8>(7),
        encoded::<(u8,)>((7,)),
        encoded::<((u8,),)>(((7,),)),
        encoded::<()>(()),
        encoded::<((),)>(((),)),
        encoded::<Vec<NoteId>>(&[]),
        encoded::<&str>(&"x".repeat(300)),
    ];
    for key in keys {
        let text = Explained(&key).to_string();
        assert_eq!(text.parse::<AnyKey>().unwrap().as_bytes(), key, "{text}");
    }
}

#[test]
fn a_key_may_be_written_by_hand() {
    let key = AnyKey::from(&NOTES.key((7, "open")));
    for text in [r#"notes@1(7,"open")"#, r#" notes@1( 7u32 , "open" , ) "#] {
        assert_eq!(text.trim().parse().as_ref(), Ok(&key), "{text}");
    }
    let long = "x".repeat(1000);
    assert_eq!(
        format!("notes@1(7, {long:?})").parse().as_ref(),
        Ok(&AnyKey::from(&NOTES.key((7, &long))))
    );
}

#[test]
fn what_is_no_key_is_refused_where_it_goes_wrong() {
    for (text, at) in [
        ("", 0),
        ("notes", 5),
        ("notes(7)", 5),
        ("Notes@1(7)", 5),
        ("notes@(7)", 6),
        ("notes@01(7)", 8),
        ("notes@4294967296(7)", 16),
        ("notes@1", 7),
        ("notes@1(7", 9),
        ("notes@1(7) x", 11),
        ("notes@1(,)", 8),
        ("notes@1(7 8)", 10),
        ("notes@1(256u8)", 8),
        ("notes@1(-1)", 8),
        ("notes@1(7f32)", 8),
        ("notes@1('ab')", 9),
        ("notes@1(\"a)", 11),
        ("notes@1(\"\\q\")", 11),
        ("notes@1(b\"ä\")", 12),
        ("notes@1(sha256:00)", 17),
        ("notes@1(Some 7)", 8),
    ] {
        let error = text.parse::<AnyKey>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("at byte {at} ")), "{text}: {error}");
    }
    let deep = format!("notes@1({}{})", "(".repeat(1000), ")".repeat(1000));
    assert!(deep.parse::<AnyKey>().is_err());
    assert!("x".repeat(100_000).parse::<AnyKey>().is_err());
}
