//! `Cache-Status`, as RFC 9211 has it.

use http::{HeaderValue, Response};

/// What came of the cache for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Hit,
    /// Too old, or flushed softly.
    Stale,
    Stored,
    /// Another request's handler made the page.
    Collapsed,
    /// The handler was asked, and what it said is not kept.
    Miss,
    Bypass,
    Method,
}

impl Told {
    pub(super) fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Hit => "tenancy; hit",
            Self::Stale => "tenancy; hit; detail=stale",
            Self::Stored => "tenancy; fwd=miss; stored",
            Self::Collapsed => "tenancy; fwd=miss; collapsed",
            Self::Miss => "tenancy; fwd=miss",
            Self::Bypass => "tenancy; fwd=bypass",
            Self::Method => "tenancy; fwd=method",
        })
    }

    /// Behind what caches further in have said.
    pub(super) fn add_to<B>(self, response: &mut Response<B>) {
        response.headers_mut().append(super::CACHE_STATUS, self.header());
    }
}
