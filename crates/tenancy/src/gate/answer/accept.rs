//! Whether a client is a browser, by its `Accept` header.

use http::{HeaderMap, header::ACCEPT};

/// Whether HTML is named, and no JSON is liked better. `*/*` alone, or nothing, is what programs send.
pub(super) fn prefers_html(headers: &HeaderMap) -> bool {
    let (mut html, mut json) = (0, 0);
    let ranges = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let best = if is_one_of(media, &["text/html", "application/xhtml+xml"]) {
            &mut html
        } else if is_one_of(media, &["application/json", "application/problem+json"]) {
            &mut json
        } else {
            continue;
        };
        *best = weight(parts).max(*best);
    }
    html > 0 && html >= json
}

fn is_one_of(media: &str, names: &[&str]) -> bool {
    names.iter().any(|name| media.eq_ignore_ascii_case(name))
}

/// `q` in thousandths; 1000 where none is given, 0 where it is malformed.
fn weight<'a>(mut parameters: impl Iterator<Item = &'a str>) -> u16 {
    let q = parameters.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")));
    let Some(q) = q else {
        return 1000;
    };
    match q.split_once('.').unwrap_or((q, "")) {
        ("1", zeros) if zeros.len() <= 3 && zeros.bytes().all(|b| b == b'0') => 1000,
        ("0", digits) if digits.len() <= 3 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{digits:0<3}").parse().unwrap_or_default()
        }
        _ => 0,
    }
}
