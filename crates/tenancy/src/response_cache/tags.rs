use std::convert::Infallible;

use axum::response::{IntoResponseParts, ResponseParts};

/// What a page depends on, said by its handler: a flush of one of these tags flushes the page.
///
/// Stands in the response's extensions; several add up. A flush that comes while the page is being made counts, too.
///
/// ```
/// use axum::response::IntoResponse;
/// use tenancy::response_cache::CacheTags;
///
/// async fn invoice() -> impl IntoResponse {
///     (CacheTags::new(["invoices", "customer:7"]), "an invoice")
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheTags {
    tags: Vec<String>,
}

impl CacheTags {
    /// These tags. With more than 127, those of the [`ResponseCache`](super::ResponseCache) included, a page is not kept.
    pub fn new<T: Into<String>>(tags: impl IntoIterator<Item = T>) -> Self {
        Self {
            tags: tags.into_iter().map(Into::into).collect(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().map(String::as_str)
    }
}

impl IntoResponseParts for CacheTags {
    type Error = Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Infallible> {
        let present = response.extensions_mut().get_or_insert_default::<Self>();
        present.tags.extend(self.tags);
        Ok(response)
    }
}
