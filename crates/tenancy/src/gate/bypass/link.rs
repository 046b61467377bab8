//! The bypass link: finds the secret in a query, and says where to go back to without it.

use std::borrow::Cow;

use http::{HeaderValue, Uri};

use super::{BypassKey, PresentedSecret};

/// The decoded secret, if `parameter` stands in the query exactly once.
pub(super) fn secret_in(query: &str, parameter: &str) -> Option<PresentedSecret> {
    let mut values = query
        .split('&')
        .filter(|pair| is_called(pair, parameter))
        .map(|pair| pair.split_once('=').map_or("", |(_, value)| value));
    let value = values.next()?;
    // Of two secrets, which one counts would be a guess.
    if values.next().is_some() || value.len() > 3 * BypassKey::MAX_SECRET_BYTES {
        return None;
    }
    Some(PresentedSecret(decode(value).into_owned()))
}

/// The path and all other parameters as they came. `None` if that is no path, or not fit for a header.
pub(super) fn without_secret(uri: &Uri, parameter: &str) -> Option<HeaderValue> {
    let mut location = same_host_path(uri.path())?;
    let rest: Vec<&str> = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !is_called(pair, parameter))
        .collect();
    let rest = rest.join("&");
    if !rest.is_empty() {
        location.push('?');
        location.push_str(&rest);
    }
    // `HeaderValue` lets tabs through, and browsers drop them from URLs.
    if location.bytes().any(|b| b.is_ascii_control() || b == b' ') {
        return None;
    }
    HeaderValue::try_from(location).ok()
}

/// The path with one slash in front: `//host` and `/\host` are other hosts to a browser.
fn same_host_path(path: &str) -> Option<String> {
    let rest = path.strip_prefix('/')?.trim_start_matches(['/', '\\']);
    Some(format!("/{rest}"))
}

/// An encoded name is the same name: the secret must not stay in the URL, however it was written.
fn is_called(pair: &str, parameter: &str) -> bool {
    let name = pair.split_once('=').map_or(pair, |(name, _)| name);
    *decode(name) == *parameter.as_bytes()
}

/// Decodes as forms do: `+` is a space, and what is no escape stands for itself.
fn decode(raw: &str) -> Cow<'_, [u8]> {
    let raw = raw.as_bytes();
    if !raw.iter().any(|b| matches!(b, b'%' | b'+')) {
        return Cow::Borrowed(raw);
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => match escape(after) {
                Some((byte, after)) => {
                    rest = after;
                    byte
                }
                None => b'%',
            },
            _ => byte,
        });
    }
    Cow::Owned(decoded)
}

fn escape(after_percent: &[u8]) -> Option<(u8, &[u8])> {
    let ([high, low], rest) = after_percent.split_first_chunk::<2>()?;
    let digit = |b: &u8| super::hex_digit(b.to_ascii_lowercase());
    Some((digit(high)? << 4 | digit(low)?, rest))
}
