//! The query of a request, as the handler sees it.

use axum::{body::Body, extract::OriginalUri};
use http::{Request, Uri};

/// Puts `query` in the place of what was sent. `None` if that makes no URI.
pub(super) fn set_query(request: &mut Request<Body>, query: &str) -> Option<()> {
    *request.uri_mut() = with_query(request.uri(), query)?;
    if let Some(OriginalUri(original)) = request.extensions_mut().get_mut::<OriginalUri>() {
        *original = with_query(original, query)?;
    }
    Some(())
}

fn with_query(uri: &Uri, query: &str) -> Option<Uri> {
    if uri.query().unwrap_or_default() == query {
        return Some(uri.clone());
    }
    let path = uri.path();
    let target = match query {
        "" => path.to_owned(),
        _ => format!("{path}?{query}"),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.parse().ok()?);
    Uri::from_parts(parts).ok()
}
