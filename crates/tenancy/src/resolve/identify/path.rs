use std::{borrow::Cow, ops::Range};

use tenancy_core::{Identification, Identified, Identify, Reads, RequestHead, TenantKey};

use super::{IdentifierConfigError, value::invalid};

/// Identifies by one segment of the path: `slug:acme` for `/acme/orders`.
///
/// Reads the raw path, never a decoded one, and case matters. What stands at the position decides:
///
/// * nothing, or only the `/` at the path's end: absent. So are another prefix and the target `*`.
/// * a slug: the key.
/// * a segment with a percent-escape, whatever it would decode to: invalid. A slug needs none.
/// * anything else, such as `ACME`, `..`, or the empty segment in `//`: nowhere.
///
/// Borrows the segment from the head.
///
/// ```
/// # use tenancy::resolve::PathSegment;
/// use tenancy_core::{Identification, Identify, RequestHead};
///
/// let by_path = PathSegment::first().after_prefix("/t")?.strip(true);
/// let (parts, ()) = http::Request::get("/t/acme/orders").body(())?.into_parts();
/// let Identification::Key(found) = by_path.identify(&RequestHead::new(&parts)) else {
///     panic!("acme is a slug");
/// };
/// assert_eq!(found.key().to_string(), "slug:acme");
/// assert_eq!(found.stripped_path(), Some(0..7), "the router sees /orders");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct PathSegment {
    prefix: Box<str>,
    position: usize,
    strip: bool,
}

impl PathSegment {
    /// Identifies by the first segment.
    pub fn first() -> Self {
        Self::at(0)
    }

    /// Identifies by the segment after `position` others: `at(1)` finds `acme` in `/shops/acme`.
    pub fn at(position: usize) -> Self {
        Self {
            prefix: "".into(),
            position,
            strip: false,
        }
    }

    /// Looks only at paths that begin with `prefix`, and counts the segments after it. Compares the raw path,
    /// segment by segment: `/t` is no prefix of `/team/acme`.
    ///
    /// # Errors
    /// Unless `prefix` is one or more segments that each follow a `/` and consist of ASCII letters, digits, `-`,
    /// `_`, `~` and inner `.`.
    pub fn after_prefix(mut self, prefix: &str) -> Result<Self, IdentifierConfigError> {
        let segments = prefix
            .strip_prefix('/')
            .ok_or_else(|| IdentifierConfigError::new("path prefix", prefix, "it does not begin with '/'"))?;
        if !segments.split('/').all(is_plain_segment) {
            return Err(IdentifierConfigError::new(
                "path prefix",
                prefix,
                "a segment is empty, begins with '.', or has a character other than a-z, A-Z, 0-9, '-', '_', '~' and '.'",
            ));
        }
        self.prefix = prefix.into();
        Ok(self)
    }

    /// Whether the segment is taken out of the path before the router sees it; off unless set.
    ///
    /// `/acme/orders` becomes `/orders`. The prefix goes with the segment if it stands right before it:
    /// `/t/acme/orders` becomes `/orders` too. A segment further on goes alone: with `at(1)`, `/shops/acme/orders`
    /// becomes `/shops/orders`.
    #[must_use]
    pub fn strip(mut self, strip: bool) -> Self {
        self.strip = strip;
        self
    }

    /// The bytes of the segment, without the `/` before it.
    fn find(&self, path: &str) -> Option<Range<usize>> {
        let segments = path.strip_prefix(&*self.prefix)?.strip_prefix('/')?;
        let mut start = self.prefix.len() + 1;
        for (position, segment) in segments.split('/').enumerate() {
            let end = start + segment.len();
            if position == self.position {
                return Some(start..end);
            }
            start = end + 1;
        }
        None
    }

    fn taken_out(&self, segment: &Range<usize>) -> Range<usize> {
        if self.position == 0 {
            0..segment.end
        } else {
            segment.start - 1..segment.end
        }
    }
}

fn is_plain_segment(segment: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'~' | b'.');
    !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(plain)
}

impl Identify for PathSegment {
    fn identify<'a>(&self, head: &RequestHead<'a>) -> Identification<'a> {
        let path = head.uri().path();
        let Some(bytes) = self.find(path) else {
            return Identification::Absent;
        };
        let segment = path.get(bytes.clone()).unwrap_or_default();
        if segment.is_empty() && bytes.end == path.len() {
            return Identification::Absent;
        }
        if segment.contains('%') {
            return invalid("it is percent-encoded");
        }
        match TenantKey::slug(segment) {
            Ok(key) if self.strip => {
                Identification::Key(Identified::new(key).strip_path(self.taken_out(&bytes)))
            }
            Ok(key) => key.into(),
            Err(_) => Identification::Nowhere,
        }
    }

    fn reads(&self) -> Reads {
        Reads::Target
    }

    fn name(&self) -> Cow<'_, str> {
        let position = self.position.saturating_add(1);
        Cow::Owned(match &*self.prefix {
            "" => format!("path segment {position}"),
            prefix => format!("path segment {position} after {prefix}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{describe, uri_outcome};
    use super::*;
    use http::Request;
    use proptest::prelude::*;

    fn after_t() -> PathSegment {
        PathSegment::first().after_prefix("/t").unwrap()
    }

    #[test]
    fn the_first_segment() {
        for (uri, expected) in [
            ("/acme", "slug:acme"),
            ("/acme/", "slug:acme"),
            ("/acme/me/x.css", "slug:acme"),
            ("/acme?tenant=beta", "slug:acme"),
            ("http://beta.test/acme/x", "slug:acme"),
            ("/", "absent"),
            ("/?x", "absent"),
            ("*", "absent"),
            ("http://acme.test", "absent"),
            ("acme.test:80", "absent"),
            ("//acme", "nowhere"),
            ("//", "nowhere"),
            ("/ACME/x", "nowhere"),
            ("/Acme", "nowhere"),
            ("/./acme", "nowhere"),
            ("/../acme", "nowhere"),
            ("/acme;v=1", "nowhere"),
            ("/acme.", "nowhere"),
            ("/a_b", "nowhere"),
            ("/-acme", "nowhere"),
            ("/acme,beta", "nowhere"),
            ("/a%2Fb", "invalid"),
            ("/%61cme", "invalid"),
            ("/%ff", "invalid"),
            ("/%zz", "invalid"),
            ("/%", "invalid"),
            ("/%2e%2e/x", "invalid"),
            ("/acme%00", "invalid"),
            ("/ACME%20", "invalid"),
            ("/acme/%ff", "slug:acme"),
        ] {
            assert_eq!(uri_outcome(&PathSegment::first(), uri), expected, "{uri}");
        }
        let long = format!("/{}/x", "a".repeat(49));
        assert_eq!(uri_outcome(&PathSegment::first(), &long), "nowhere");
    }

    #[test]
    fn a_prefix_is_compared_segment_by_segment_with_the_raw_path() {
        for (uri, expected) in [
            ("/t/acme/x", "slug:acme"),
            ("/t/acme", "slug:acme"),
            ("/t//x", "nowhere"),
            ("/t/../x", "nowhere"),
            ("/t/ACME", "nowhere"),
            ("/t/%ff/x", "invalid"),
            ("/t/%zz/x", "invalid"),
            ("/t", "absent"),
            ("/t/", "absent"),
            ("/T/acme", "absent"),
            ("/team/acme", "absent"),
            ("/tt/acme", "absent"),
            ("//t/acme", "absent"),
            ("/%74/acme", "absent"),
            ("/acme/t", "absent"),
            ("/", "absent"),
            ("*", "absent"),
        ] {
            assert_eq!(uri_outcome(&after_t(), uri), expected, "{uri}");
        }
    }

    #[test]
    fn later_positions() {
        for (position, uri, expected) in [
            (1, "/shops/acme/x", "slug:acme"),
            (1, "/shops/acme", "slug:acme"),
            (1, "/shops/", "absent"),
            (1, "/shops", "absent"),
            (1, "/shops//x", "nowhere"),
            (1, "/%ff/acme", "slug:acme"),
            (2, "//x/acme", "slug:acme"),
            (usize::MAX, "/a/b/c", "absent"),
        ] {
            assert_eq!(
                uri_outcome(&PathSegment::at(position), uri),
                expected,
                "{position} {uri}"
            );
        }
    }

    /// What the router sees, taken out the way the resolver does it.
    fn stripped(identifier: &PathSegment, path: &str) -> Option<String> {
        let request = Request::get(path).body(()).unwrap();
        match identifier.identify(&RequestHead::of(&request)) {
            Identification::Key(found) => found.stripped_path().map(|bytes| {
                let mut rest = path.to_owned();
                rest.replace_range(bytes, "");
                rest
            }),
            _ => None,
        }
    }

    #[test]
    fn the_segment_is_taken_out_with_the_prefix_right_before_it() {
        let first = PathSegment::first().strip(true);
        let after_t = after_t().strip(true);
        let second = PathSegment::at(1).strip(true);
        let second_after_t = second.clone().after_prefix("/t").unwrap();
        for (identifier, path, rest) in [
            (&first, "/acme/orders", Some("/orders")),
            (&first, "/acme", Some("")),
            (&first, "/acme/", Some("/")),
            (&first, "/acme//x", Some("//x")),
            (&first, "/ACME/x", None),
            (&after_t, "/t/acme/orders", Some("/orders")),
            (&after_t, "/t/acme", Some("")),
            (&second, "/shops/acme/orders", Some("/shops/orders")),
            (&second, "/shops/acme", Some("/shops")),
            (&second_after_t, "/t/shops/acme/x", Some("/t/shops/x")),
        ] {
            assert_eq!(stripped(identifier, path).as_deref(), rest, "{path}");
        }
        assert_eq!(
            stripped(&PathSegment::first(), "/acme/orders"),
            None,
            "off unless set"
        );
    }

    #[test]
    fn a_prefix_that_is_not_plain_is_refused() {
        for bad in [
            "", "t", "/", "//", "/t/", "/t//u", "/%74", "/..", "/t/../u", "/t?x", "/t*", "/\u{e4}",
        ] {
            assert!(PathSegment::first().after_prefix(bad).is_err(), "{bad:?}");
        }
        assert!(PathSegment::first().after_prefix("/api/v1.2/T_x").is_ok());
    }

    #[test]
    fn names_count_from_one() {
        assert_eq!(PathSegment::first().name(), "path segment 1");
        assert_eq!(after_t().name(), "path segment 1 after /t");
    }

    /// The same rules by splitting the path into a list.
    fn reference(prefix: &[&str], position: usize, path: &str) -> String {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let Some(segments) = segments.strip_prefix(prefix) else {
            return "absent".to_owned();
        };
        match segments.get(position) {
            None => "absent".to_owned(),
            Some(&"") if position + 1 == segments.len() => "absent".to_owned(),
            Some(segment) if segment.contains('%') => "invalid".to_owned(),
            Some(segment) => TenantKey::slug(*segment).map_or("nowhere".to_owned(), |key| key.to_string()),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_reference(path in "(/|/t|/a|/-|/A|/%61|[at./%]){0,6}", position in 0_usize..4) {
            let path = format!("/{path}");
            let Ok(request) = Request::get(path.as_str()).body(()) else { return Ok(()); };
            prop_assume!(request.uri().path() == path);
            let head = RequestHead::of(&request);
            let plain = PathSegment::at(position);
            prop_assert_eq!(describe(&plain.identify(&head)), reference(&[], position, &path));
            let prefixed = plain.after_prefix("/t/a").unwrap();
            prop_assert_eq!(describe(&prefixed.identify(&head)), reference(&["t", "a"], position, &path));
        }

        #[test]
        fn what_is_taken_out_begins_at_a_slash_and_ends_before_one(path in "(/[a-c]{0,2}){1,5}", position in 0_usize..4) {
            let Ok(request) = Request::get(path.as_str()).body(()) else { return Ok(()); };
            prop_assume!(request.uri().path() == path);
            let identifier = PathSegment::at(position).strip(true);
            if let Identification::Key(found) = identifier.identify(&RequestHead::of(&request)) {
                let bytes = found.stripped_path().unwrap();
                prop_assert!(path[bytes.clone()].starts_with('/'));
                prop_assert!(path[bytes.clone()].ends_with(found.key().value()));
                prop_assert!(path[bytes.end..].is_empty() || path[bytes.end..].starts_with('/'));
            }
        }
    }
}
