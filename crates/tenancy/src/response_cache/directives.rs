//! `Cache-Control`, as RFC 9111 §5.2 has it.

use http::{HeaderMap, header};

/// All directives of all lines, in lower case, with their values out of their quotes.
///
/// `None` for what is no text or has a quote without an end: nobody can say what it forbids.
pub(super) fn directives(headers: &HeaderMap) -> Option<Vec<(String, Option<String>)>> {
    let mut found = Vec::new();
    for line in headers.get_all(header::CACHE_CONTROL) {
        for directive in outside_of_quotes(line.to_str().ok()?)? {
            let directive = directive.trim();
            if directive.is_empty() {
                continue;
            }
            let (name, value) = match directive.split_once('=') {
                Some((name, value)) => (name, Some(value.trim().trim_matches('"').to_owned())),
                None => (directive, None),
            };
            found.push((name.trim().to_ascii_lowercase(), value));
        }
    }
    Some(found)
}

/// The parts between commas that are not quoted. `None` where a quote has no end: it might hide anything.
fn outside_of_quotes(line: &str) -> Option<Vec<&str>> {
    let (mut parts, mut from, mut is_quoted, mut is_escaped) = (Vec::new(), 0, false, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => {
                parts.push(&line[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&line[from..]);
    (!is_quoted).then_some(parts)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn directives_are_read_as_the_rfc_writes_them() {
        for (lines, expected) in [
            (&["no-store"][..], "no-store"),
            (&["No-Store , MAX-AGE=5"], "no-store max-age:5"),
            (&["max-age = 5", "private"], "max-age:5 private"),
            (&[r#"private="a, no-store", x"#], "private:a, no-store x"),
            (&[r#"ext="a\", b", no-store"#], r#"ext:a\", b no-store"#),
            (&[",, ,"], ""),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::CACHE_CONTROL, HeaderValue::from_static(line));
            }
            let read: Vec<_> = directives(&headers).unwrap().into_iter().collect();
            let text: Vec<_> = read
                .into_iter()
                .map(|(name, value)| value.map_or(name.clone(), |value| format!("{name}:{value}")))
                .collect();
            assert_eq!(text.join(" "), expected, "{lines:?}");
        }
        let mut headers = HeaderMap::new();
        let bytes = HeaderValue::from_bytes(b"no-store\xff").unwrap();
        headers.insert(header::CACHE_CONTROL, bytes);
        assert_eq!(directives(&headers), None);
    }
}
