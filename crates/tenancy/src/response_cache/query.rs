//! One spelling for every query that means the same.

/// How long a query may be, as it was sent, in bytes.
pub(super) const LONGEST_QUERY: usize = 2048;

/// The query in its one spelling: `name=value` pairs, decoded as forms are, sorted by name, those of one name in the order in
/// which they were sent, and encoded again; brackets are not, which some parsers want as they are. Different pairs have different
/// spellings.
///
/// `only`: the names that count; the other pairs are left out. `None` for what is too long, has broken escapes, or is no UTF-8.
pub(super) fn canonical(query: &str, only: Option<&[String]>) -> Option<String> {
    if query.len() > LONGEST_QUERY {
        return None;
    }
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name)?, decoded(value)?);
        if only.is_none_or(|only| only.contains(&name)) {
            pairs.push((name, value));
        }
    }
    pairs.sort_by(|one, other| one.0.cmp(&other.0));
    let mut canonical = String::with_capacity(query.len());
    for (name, value) in &pairs {
        if !canonical.is_empty() {
            canonical.push('&');
        }
        encode(name, &mut canonical);
        canonical.push('=');
        encode(value, &mut canonical);
    }
    Some(canonical)
}

fn decoded(raw: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    loop {
        rest = match rest {
            [] => break,
            [b'%', high, low, rest @ ..] => {
                bytes.push(digit(*high)? << 4 | digit(*low)?);
                rest
            }
            [b'%', ..] => return None,
            [b'+', rest @ ..] => {
                bytes.push(b' ');
                rest
            }
            [byte, rest @ ..] => {
                bytes.push(*byte);
                rest
            }
        };
    }
    String::from_utf8(bytes).ok()
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

fn encode(text: &str, into: &mut String) {
    const HEX: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'[' | b']' => {
                into.push(char::from(byte));
            }
            _ => into.extend(['%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn queries_that_mean_the_same_have_one_spelling() {
        for (query, expected) in [
            ("", Some("")),
            ("&&", Some("")),
            ("a=1&b=2", Some("a=1&b=2")),
            ("b=2&a=1", Some("a=1&b=2")),
            ("b=2&&a=1&", Some("a=1&b=2")),
            ("a", Some("a=")),
            ("a=", Some("a=")),
            ("=a", Some("=a")),
            ("a=2&a=1", Some("a=2&a=1")),
            ("a=1&a=2", Some("a=1&a=2")),
            ("%61=%31", Some("a=1")),
            ("a=b+c", Some("a=b%20c")),
            ("a=b%2Bc", Some("a=b%2Bc")),
            ("a=b%2bc", Some("a=b%2Bc")),
            ("a=%26b%3D1", Some("a=%26b%3D1")),
            ("a=b=c", Some("a=b%3Dc")),
            ("a[]=1", Some("a[]=1")),
            ("a%5b%5D=1", Some("a[]=1")),
            ("a=%C3%A4", Some("a=%C3%A4")),
            ("a=%FF", None),
            ("a=%", None),
            ("a=%4", None),
            ("a=%zz", None),
            ("a=%+1", None),
        ] {
            assert_eq!(canonical(query, None).as_deref(), expected, "{query}");
        }
        assert_eq!(canonical(&"a".repeat(LONGEST_QUERY + 1), None), None);
        assert!(canonical(&"a".repeat(LONGEST_QUERY), None).is_some());
    }

    #[test]
    fn what_does_not_count_is_left_out() {
        let only = ["page".to_owned(), "sort".to_owned()];
        for (query, expected) in [("utm=1&page=2", "page=2"), ("p%61ge=2&x", "page=2"), ("x=1", "")] {
            assert_eq!(canonical(query, Some(&only)).as_deref(), Some(expected));
        }
    }

    fn pairs(canonical: &str) -> Vec<(String, String)> {
        let pairs = canonical.split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap();
                (decoded(name).unwrap(), decoded(value).unwrap())
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn different_pairs_have_different_spellings(
            sent in prop::collection::vec(("[a-c&=%+ ä]{0,3}", "[a-c&=%+ ä]{0,3}"), 0..5),
        ) {
            let mut raw = String::new();
            for (name, value) in &sent {
                raw.push('&');
                encode(name, &mut raw);
                raw.push('=');
                encode(value, &mut raw);
            }
            let mut expected: Vec<_> = sent;
            expected.sort_by(|one, other| one.0.cmp(&other.0));
            let spelled = canonical(&raw, None).unwrap();
            prop_assert_eq!(pairs(&spelled), expected);
            let again = canonical(&spelled, None).unwrap();
            prop_assert_eq!(again, spelled);
        }

        #[test]
        fn no_query_makes_it_panic(query in "[a%+&=0-9\\u{e4}]{0,40}") {
            let _ = canonical(&query, None);
        }
    }
}
