//! `ETag`, `If-None-Match` and `If-Modified-Since`, as RFC 9110 §8.8 and §13 have them.

use http::{HeaderMap, HeaderValue, header};
use sha2::{Digest, Sha256};

use crate::hex::encode_hex;

/// A strong validator of what is sent: of the bytes, and of what says how to read them.
pub(super) fn entity_tag(headers: &HeaderMap, body: &[u8]) -> Option<HeaderValue> {
    let names = [
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
    ];
    let mut digest = Sha256::new();
    for name in names {
        let value = headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
        digest.update((value.len() as u64).to_le_bytes());
        digest.update(value);
    }
    let digest = digest.chain_update(body).finalize();
    // 128 bits: two bodies of one page do not meet.
    HeaderValue::from_str(&format!("\"{}\"", encode_hex(&digest[..16]))).ok()
}

/// What a client has already, as it says.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    none_match: Vec<HeaderValue>,
    modified_since: Option<HeaderValue>,
}

impl Conditions {
    pub(super) fn of(request: &HeaderMap) -> Self {
        let none_match = request.get_all(header::IF_NONE_MATCH).iter();
        let mut since = request.get_all(header::IF_MODIFIED_SINCE).iter();
        Self {
            none_match: none_match.cloned().collect(),
            modified_since: match (since.next(), since.next()) {
                (Some(one), None) => Some(one.clone()),
                _ => None,
            },
        }
    }

    /// Whether what the client has is this page. `If-Modified-Since` counts only without `If-None-Match` (§13.1.3), and only
    /// if it is the very date that the page has: no date is compared with another.
    pub(super) fn are_met_by(&self, page: &HeaderMap) -> bool {
        if self.none_match.is_empty() {
            let date = page.get(header::LAST_MODIFIED);
            return self.modified_since.is_some() && self.modified_since.as_ref() == date;
        }
        let Some(tag) = page.get(header::ETAG).and_then(|tag| opaque(tag.as_bytes())) else {
            return self.none_match.iter().any(|line| line.as_bytes() == b"*");
        };
        self.none_match.iter().any(|line| names(line.as_bytes(), tag))
    }
}

/// Without the mark of weakness, which does not count here (§8.8.3.2), and with its quotes.
fn opaque(tag: &[u8]) -> Option<&[u8]> {
    let tag = tag.strip_prefix(b"W/").unwrap_or(tag);
    (tag.len() >= 2 && tag.starts_with(b"\"") && tag.ends_with(b"\"")).then_some(tag)
}

/// Whether a line of `If-None-Match` names this tag. What comes after something that is no tag does not count.
fn names(line: &[u8], tag: &[u8]) -> bool {
    if line.trim_ascii() == b"*" {
        return true;
    }
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        if let Some(next) = rest.strip_prefix(b",") {
            rest = next;
            continue;
        }
        rest = rest.strip_prefix(b"W/").unwrap_or(rest);
        let Some(len) = quoted_len(rest) else {
            return false;
        };
        if &rest[..len] == tag {
            return true;
        }
        rest = &rest[len..];
    }
}

/// Of a quoted tag at the beginning, quotes included. A tag has no escapes.
fn quoted_len(text: &[u8]) -> Option<usize> {
    let inner = text.strip_prefix(b"\"")?;
    let end = inner.iter().position(|byte| *byte == b'"')?;
    Some(end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn are_met(none_match: &[&str], etag: &str) -> bool {
        let mut request = HeaderMap::new();
        for line in none_match {
            request.append(header::IF_NONE_MATCH, HeaderValue::from_str(line).unwrap());
        }
        let mut page = HeaderMap::new();
        page.insert(header::ETAG, HeaderValue::from_str(etag).unwrap());
        Conditions::of(&request).are_met_by(&page)
    }

    #[test]
    fn tags_are_compared_weakly() {
        for (none_match, etag, expected) in [
            (&[r#""a""#][..], r#""a""#, true),
            (&[r#"W/"a""#], r#""a""#, true),
            (&[r#""a""#], r#"W/"a""#, true),
            (&[r#"W/"a""#], r#"W/"a""#, true),
            (&[r#""b""#], r#""a""#, false),
            (&[r#""b", "a""#], r#""a""#, true),
            (&[r#""b","a""#], r#""a""#, true),
            (&[r#" ,, "b" , W/"a" "#], r#""a""#, true),
            (&[r#""b""#, r#""a""#], r#""a""#, true),
            (&[r#""x, "a"#], r#""a""#, false),
            (&[r#""b, a""#], r#""b, a""#, true),
            (&["*"], r#""a""#, true),
            (&[" * "], r#""a""#, true),
            (&["a"], r#""a""#, false),
            (&[r#"w/"a""#], r#""a""#, false),
            (&[r#"nonsense "a""#], r#""a""#, false),
            (&[r#""a"#], r#""a""#, false),
            (&[""], r#""a""#, false),
            (&[r#""""#], r#""""#, true),
            (&[], r#""a""#, false),
            // A tag of the handler's that is none.
            (&["a"], "a", false),
        ] {
            assert_eq!(are_met(none_match, etag), expected, "{none_match:?} {etag}");
        }
    }

    #[test]
    fn a_date_counts_if_it_is_the_very_one_and_there_is_no_tag() {
        const DATE: &str = "Mon, 23 Nov 2026 22:00:00 GMT";
        let mut page = HeaderMap::new();
        page.insert(header::LAST_MODIFIED, HeaderValue::from_static(DATE));
        page.insert(header::ETAG, HeaderValue::from_static("\"a\""));
        let mut request = HeaderMap::new();
        request.insert(header::IF_MODIFIED_SINCE, HeaderValue::from_static(DATE));
        assert!(Conditions::of(&request).are_met_by(&page));
        request.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"b\""));
        assert!(!Conditions::of(&request).are_met_by(&page));
        request.remove(header::IF_NONE_MATCH);
        request.append(header::IF_MODIFIED_SINCE, HeaderValue::from_static(DATE));
        assert!(!Conditions::of(&request).are_met_by(&page));
        page.remove(header::LAST_MODIFIED);
        assert!(!Conditions::of(&HeaderMap::new()).are_met_by(&page));
    }

    #[test]
    fn other_bytes_and_another_type_have_another_tag() {
        let tag = |content_type: &'static str, body: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            entity_tag(&headers, body).unwrap()
        };
        assert_eq!(tag("text/plain", b"a"), tag("text/plain", b"a"));
        assert_ne!(tag("text/plain", b"a"), tag("text/plain", b"b"));
        assert_ne!(tag("text/plain", b"a"), tag("text/html", b"a"));
        assert!(opaque(tag("text/plain", b"a").as_bytes()).is_some());
    }
}
