use std::{borrow::Cow, fmt};

use tenancy_core::{Identification, Identify, RequestHead};

/// Gives a closure the name by which people know it.
///
/// The closure sees the head, with what layers further out have attached to it, such as the claims of a verified
/// token. Its key owns its value.
///
/// ```
/// # use tenancy::resolve::named;
/// use tenancy_core::{Identify, InvalidIdentifier, TenantKey};
///
/// #[derive(Clone)]
/// struct Claims {
///     tenant: String,
/// }
///
/// let by_claim = named("token claim tenant", |head| {
///     let claims = head.extensions().get::<Claims>()?;
///     TenantKey::slug(claims.tenant.clone()).ok()
/// });
/// assert_eq!(by_claim.name(), "token claim tenant");
/// ```
pub fn named<F, R>(name: impl Into<Box<str>>, closure: F) -> Named<F>
where
    F: Fn(&RequestHead<'_>) -> R + Send + Sync + 'static,
    R: Into<Identification<'static>>,
{
    Named {
        name: name.into(),
        closure,
    }
}

/// A closure with a name. Made by [`named`].
#[derive(Clone)]
pub struct Named<F> {
    name: Box<str>,
    closure: F,
}

impl<F: Identify> Identify for Named<F> {
    fn identify<'a>(&self, head: &RequestHead<'a>) -> Identification<'a> {
        self.closure.identify(head)
    }

    fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }
}

impl<F> fmt::Debug for Named<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named").field("name", &self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::outcome;
    use super::*;
    use http::Request;
    use tenancy_core::TenantKey;

    #[derive(Clone)]
    struct Claim(&'static str);

    #[test]
    fn a_closure_reads_what_layers_attached() {
        let by_claim = named("token claim", |head| {
            head.extensions()
                .get::<Claim>()
                .map_or(Identification::Absent, |claim| TenantKey::slug(claim.0).into())
        });
        let with = |claim| Request::get("/").extension(Claim(claim));
        assert_eq!(outcome(&by_claim, with("acme")), "slug:acme");
        assert_eq!(outcome(&by_claim, with("ACME")), "invalid");
        assert_eq!(outcome(&by_claim, Request::get("/")), "absent");
        assert_eq!(by_claim.name(), "token claim");
    }
}
