//! What is done to a request once it is resolved.

use std::ops::Range;

use axum::extract::OriginalUri;
use http::{Extensions, Request, Uri};

use super::{
    authority,
    resolution::Resolution,
    resolver::{Refusal, Resolver},
};
use crate::{home::Home, rejection::RejectionReason, stack::Stage};

/// No extensions, with room for seven: a clone has the same room.
///
/// A router of axum adds three, which is all that a map has room for that was begun with one; with the resolution
/// before them, the third would make it grow and hash all anew.
pub(crate) fn room_for_extensions() -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(0_u8);
    extensions.insert(0_u16);
    extensions.insert(0_u32);
    extensions.insert(0_u64);
    extensions.clear();
    extensions
}

/// What a request was resolved to, and what is to be done to it.
pub(crate) struct Found {
    pub(crate) resolution: Resolution,
    pub(super) edits: Edits,
}

/// What the inner service must not see.
#[derive(Clone, Default)]
pub(super) struct Edits {
    /// Boxed, for few requests have it and every request is moved with it.
    pub(super) strip: Option<Box<Range<usize>>>,
    pub(super) remove_forwarding: bool,
}

impl Edits {
    #[inline]
    fn any(&self) -> bool {
        self.remove_forwarding || self.strip.is_some()
    }

    fn make<B>(self, request: &mut Request<B>, resolver: &Resolver) -> Result<(), Refusal> {
        if self.remove_forwarding {
            authority::remove_unbelieved(request.headers_mut(), resolver.proxies.is_some());
        }
        match self.strip {
            Some(bytes) => strip_path(request, *bytes),
            None => Ok(()),
        }
    }
}

impl Found {
    /// Leaves in the request what the inner service may see, and the resolution.
    pub(crate) fn apply<B>(
        self,
        request: &mut Request<B>,
        resolver: &Resolver,
        home: &Home,
    ) -> Result<(), Refusal> {
        if self.edits.any() && !home.rollout.observes(Stage::Resolve) {
            self.edits.make(request, resolver)?;
        }
        let extensions = request.extensions_mut();
        if extensions.is_empty() {
            *extensions = resolver.room.clone();
        }
        extensions.insert(self.resolution);
        Ok(())
    }
}

/// Takes the tenant's part out of the path. The whole target stays available as axum's `OriginalUri`.
fn strip_path<B>(request: &mut Request<B>, bytes: Range<usize>) -> Result<(), Refusal> {
    let misbuilt = || {
        Refusal::new(
            RejectionReason::MisbuiltStack,
            "an identifier wants bytes stripped that are no whole segments of the path",
        )
    };
    let path = request.uri().path();
    let (before, after) = match (path.get(..bytes.start), path.get(bytes.end..)) {
        (Some(before), Some(after)) if bytes.start <= bytes.end => (before, after),
        _ => return Err(misbuilt()),
    };
    let whole_segments = path[bytes].starts_with('/') && (after.is_empty() || after.starts_with('/'));
    if !whole_segments {
        return Err(misbuilt());
    }
    let path = match (before, after) {
        ("", "") => "/",
        _ => &[before, after].concat(),
    };
    let target = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let rewritten = with_target(request.uri(), &target).ok_or_else(misbuilt)?;
    let original = std::mem::replace(request.uri_mut(), rewritten);
    if request.extensions().get::<OriginalUri>().is_none() {
        request.extensions_mut().insert(OriginalUri(original));
    }
    Ok(())
}

fn with_target(uri: &Uri, target: &str) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.parse().ok()?);
    Uri::from_parts(parts).ok()
}
