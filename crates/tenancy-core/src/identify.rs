use std::{borrow::Cow, fmt, ops::Range};

use http::{Extensions, HeaderMap, HeaderName, Method, Uri, Version, request::Parts};

use crate::{Host, TenantKey};

/// What an identifier may look at: the head of a request, and its validated host.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    method: &'a Method,
    uri: &'a Uri,
    version: Version,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
    host: Option<&'a Host<'a>>,
}

impl<'a> RequestHead<'a> {
    /// The head of a request whose host was not looked at: [`host`](Self::host) is `None`.
    pub fn new(parts: &'a Parts) -> Self {
        Self {
            method: &parts.method,
            uri: &parts.uri,
            version: parts.version,
            headers: &parts.headers,
            extensions: &parts.extensions,
            host: None,
        }
    }

    /// The head of a request that is still whole.
    pub fn of<B>(request: &'a http::Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
            extensions: request.extensions(),
            host: None,
        }
    }

    /// The same head with the host that the request was found to be for.
    #[must_use]
    pub fn with_host(mut self, host: &'a Host<'a>) -> Self {
        self.host = Some(host);
        self
    }

    /// The method.
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// The request target, as received. Its path is raw: nothing is decoded.
    pub fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// The protocol version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The headers. What names a host here was not checked; use [`host`](Self::host).
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// What layers further out have attached, such as the claims of a verified token.
    pub fn extensions(&self) -> &'a Extensions {
        self.extensions
    }

    /// The host that the request is for, after all rules on `Host`, `:authority`, absolute targets and trusted
    /// proxies. `None` where nobody looked, and on central hosts, which name no tenant.
    pub fn host(&self) -> Option<&'a Host<'a>> {
        self.host
    }
}

/// Why an identifier is present but means nothing. The text is for logs, never for clients.
#[derive(Clone, PartialEq, Eq)]
pub struct InvalidIdentifier {
    reason: Cow<'static, str>,
}

impl InvalidIdentifier {
    /// Completes "the identifier is not valid: ".
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

impl fmt::Display for InvalidIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl fmt::Debug for InvalidIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for InvalidIdentifier {}

impl From<crate::InvalidName> for InvalidIdentifier {
    fn from(name: crate::InvalidName) -> Self {
        Self::new(name.to_string())
    }
}

/// A key, and what the inner router should not see of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identified<'a> {
    key: TenantKey<'a>,
    strip: Option<Range<usize>>,
}

impl<'a> Identified<'a> {
    /// A key that leaves the request as it is.
    pub fn new(key: TenantKey<'a>) -> Self {
        Self { key, strip: None }
    }

    /// A key that stood in these bytes of the raw path, to be taken out before the router sees the path.
    /// The range begins at a `/` and ends before the next one or at the end.
    #[must_use]
    pub fn strip_path(mut self, bytes: Range<usize>) -> Self {
        self.strip = Some(bytes);
        self
    }

    /// The key.
    pub fn key(&self) -> &TenantKey<'a> {
        &self.key
    }

    /// The bytes of the raw path to take out.
    pub fn stripped_path(&self) -> Option<Range<usize>> {
        self.strip.clone()
    }

    /// Gives up the key.
    pub fn into_key(self) -> TenantKey<'a> {
        self.key
    }
}

/// What one identifier saw in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Identification<'a> {
    /// Nothing that it looks for. The next identifier may try.
    Absent,
    /// A key. Whether it leads anywhere, the store says.
    Key(Identified<'a>),
    /// What it looks for is there, is well formed, and can name no tenant. The request is answered with 404; no
    /// other identifier is asked.
    Nowhere,
    /// What it looks for is there and is malformed. The request is refused; no other identifier is asked.
    Invalid(InvalidIdentifier),
}

impl<'a> From<TenantKey<'a>> for Identification<'a> {
    fn from(key: TenantKey<'a>) -> Self {
        Self::Key(Identified::new(key))
    }
}

impl<'a> From<Option<TenantKey<'a>>> for Identification<'a> {
    fn from(key: Option<TenantKey<'a>>) -> Self {
        key.map_or(Self::Absent, Self::from)
    }
}

impl<'a, E: Into<InvalidIdentifier>> From<Result<TenantKey<'a>, E>> for Identification<'a> {
    fn from(key: Result<TenantKey<'a>, E>) -> Self {
        key.map_or_else(|e| Self::Invalid(e.into()), Self::from)
    }
}

/// What part of a request an identifier reads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reads {
    /// Host, path and query alone: what every cache has in its key.
    Target,
    /// This header.
    Header(HeaderName),
    /// What layers further out have left in the request's extensions, such as a verified credential. Means nothing
    /// where such a layer runs later, so that a stack may refuse the identifier.
    Extensions,
    /// Not known.
    Anything,
}

/// Reads the head of a request and yields the key it names. Does no I/O and does not wait.
///
/// Every `Fn(&RequestHead) -> impl Into<Identification>` is an identifier: a closure may return
/// `Option<TenantKey>`, `Result<TenantKey, InvalidName>`, or an [`Identification`].
///
/// It is called once for each request, on the hot path: borrow from the head where you can.
pub trait Identify: Send + Sync + 'static {
    /// Looks at the head.
    fn identify<'a>(&self, head: &RequestHead<'a>) -> Identification<'a>;

    /// What it reads. Caches between client and server are told by `Vary`, so that none hands one tenant's answer to
    /// another. An identifier that does not say may read anything.
    fn reads(&self) -> Reads {
        Reads::Anything
    }

    /// What people call it, in logs, in `explain` and in the request's context: "header x-tenant".
    fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed("closure")
    }
}

impl<F, R> Identify for F
where
    F: Fn(&RequestHead<'_>) -> R + Send + Sync + 'static,
    R: Into<Identification<'static>>,
{
    fn identify<'a>(&self, head: &RequestHead<'a>) -> Identification<'a> {
        self(head).into()
    }
}
