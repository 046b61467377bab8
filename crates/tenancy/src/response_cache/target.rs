//! The query of a request, as all that stands further in sees it.

use axum::extract::OriginalUri;
use http::{Uri, request::Parts};

use super::{query::canonical, settings::Settings};

/// Gives the query its one spelling, without the parameters that do not count. `false`: it has none, and stays as it was sent.
///
/// Of every request, also one that is not answered from the cache: a handler that is asked for the same sees the same.
pub(super) fn spell_query(settings: &Settings, parts: &mut Parts) -> bool {
    let sent = parts.uri.query().unwrap_or_default();
    let Some(query) = canonical(sent, settings.only_query.as_deref()) else {
        return false;
    };
    let Some(uri) = with_query(&parts.uri, &query) else {
        return false;
    };
    let original = parts.extensions.get_mut::<OriginalUri>();
    if let Some(OriginalUri(original)) = original {
        match with_query(original, &query) {
            Some(New::Spelled(uri)) => *original = uri,
            Some(New::AsItIs) => {}
            None => return false,
        }
    }
    if let New::Spelled(uri) = uri {
        parts.uri = uri;
    }
    true
}

enum New {
    AsItIs,
    Spelled(Uri),
}

/// `None` if that makes no URI.
fn with_query(uri: &Uri, query: &str) -> Option<New> {
    // An empty one is none: `/p?` is `/p`.
    if uri.query() == (!query.is_empty()).then_some(query) {
        return Some(New::AsItIs);
    }
    let path = uri.path();
    let target = match query {
        "" => path.to_owned(),
        _ => format!("{path}?{query}"),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.parse().ok()?);
    Uri::from_parts(parts).ok().map(New::Spelled)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::response_cache::ResponseCache;

    #[test]
    fn a_query_is_spelled_in_every_address_that_a_handler_can_read() {
        let cache = ResponseCache::same_for_everybody(std::time::Duration::from_secs(1));
        for (sent, expected) in [
            ("/p", "/p"),
            ("/p?", "/p"),
            ("/p?&", "/p"),
            ("/p?a=1", "/p?a=1"),
            ("/p?b&a=%31", "/p?a=1&b="),
            (
                "http://example.com/p?a[]=1&a%5B%5D=2",
                "http://example.com/p?a[]=1&a[]=2",
            ),
        ] {
            let (mut parts, ()) = Request::get(sent).body(()).unwrap().into_parts();
            parts.extensions.insert(OriginalUri(sent.parse().unwrap()));
            assert!(spell_query(&cache.settings, &mut parts), "{sent}");
            assert_eq!(parts.uri, expected, "{sent}");
            assert_eq!(parts.uri.to_string(), expected, "{sent}");
            let original = &parts.extensions.get::<OriginalUri>().unwrap().0;
            assert_eq!(original.to_string(), expected, "{sent}");
        }
        let (mut parts, ()) = Request::get("/p?a=%").body(()).unwrap().into_parts();
        assert!(!spell_query(&cache.settings, &mut parts));
        assert_eq!(parts.uri, "/p?a=%");
    }
}
