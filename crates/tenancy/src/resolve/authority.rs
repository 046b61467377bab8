//! Which host a request is for: the rules that hyper and axum leave to the application.
//!
//! RFC 9112 §3.2 (Host), §3.2.2 (absolute form), §3.2.3 (authority form), §3.2.4 (asterisk form);
//! RFC 9113 §8.3.1 (`:authority`); RFC 8441 (extended CONNECT).

use std::{fmt, net::IpAddr, net::SocketAddr, str::FromStr, sync::Arc};

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use ipnet::IpNet;
use tenancy_core::Host;

use crate::rejection::RejectionReason;

/// The proxies whose word on the original host counts.
///
/// Without this, no forwarding header is ever believed. With it, a request from one of these addresses is for the
/// host that the proxy names, and is refused with 400 when the proxy names none or two; a request from any other
/// address is for the host it names itself. What is not believed is taken out of the request: with a list, every
/// forwarding header of a peer that is not on it; without one, those that name a host or a target.
///
/// The peer's address comes from axum's `ConnectInfo<SocketAddr>`: serve the application with
/// `into_make_service_with_connect_info::<SocketAddr>()`. Where that is missing, every request is answered with 500
/// and the log says so.
///
/// ```
/// use tenancy::resolve::TrustedProxies;
///
/// let proxies = TrustedProxies::new(["10.0.0.0/8", "::1"])?;
/// assert!(TrustedProxies::new(["10.0.0.0/33"]).is_err());
/// # Ok::<(), tenancy::resolve::InvalidProxy>(())
/// ```
#[derive(Clone, Debug)]
pub struct TrustedProxies {
    networks: Arc<[IpNet]>,
}

/// An entry of a proxy list is neither an address nor a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidProxy {
    entry: String,
}

impl fmt::Display for InvalidProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "trusted proxy {:?} is neither an IP address nor a network such as 10.0.0.0/8",
            self.entry
        )
    }
}

impl std::error::Error for InvalidProxy {}

impl TrustedProxies {
    /// Addresses (`127.0.0.1`, `::1`) and networks (`10.0.0.0/8`).
    ///
    /// # Errors
    /// When an entry is neither.
    pub fn new<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidProxy> {
        let network = |entry: &str| {
            let invalid = |_| InvalidProxy {
                entry: entry.chars().take(64).collect(),
            };
            entry
                .parse::<IpNet>()
                .or_else(|_| IpAddr::from_str(entry).map(IpNet::from).map_err(invalid))
        };
        Ok(Self {
            networks: entries.into_iter().map(network).collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn contains(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.networks.iter().any(|network| network.contains(&peer))
    }
}

/// What one pass over the headers' names found.
#[derive(Clone, Copy)]
pub(crate) struct HeaderScan<'a> {
    host: Option<&'a HeaderValue>,
    more_than_one_host: bool,
    forwarded: bool,
}

impl<'a> HeaderScan<'a> {
    #[inline]
    pub(crate) fn of(headers: &'a HeaderMap) -> Self {
        let forwarded = any_speaks_for_a_proxy(headers);
        // Only a map with more values than names has any header twice.
        let more_than_one_host =
            headers.len() != headers.keys_len() && headers.get_all(header::HOST).iter().nth(1).is_some();
        Self {
            host: headers.get(header::HOST),
            more_than_one_host,
            forwarded,
        }
    }

    /// Whether any header is there that speaks for a proxy.
    pub(crate) fn has_forwarding(&self) -> bool {
        self.forwarded
    }
}

static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Whether any header is there that speaks for a proxy. One pass over the names.
#[inline(always)]
pub(crate) fn any_speaks_for_a_proxy(headers: &HeaderMap) -> bool {
    let mut any = false;
    for name in headers.keys() {
        // Most headers of a browser end here.
        if let Some(b'x' | b'f') = name.as_str().as_bytes().first() {
            any |= speaks_for_a_proxy(name.as_str());
        }
    }
    any
}

/// Headers by which a proxy, or somebody who plays one, names another host, scheme, client, user or target.
fn speaks_for_a_proxy(name: &str) -> bool {
    match name.strip_prefix("x-") {
        Some(rest) => {
            rest.starts_with("forwarded-")
                || rest.starts_with("original-")
                || matches!(
                    rest,
                    "host" | "http-host-override" | "rewrite-url" | "real-ip" | "client-ip"
                )
        }
        None => name == "forwarded",
    }
}

/// Of the above, those that name a host or a target: taken out even where no proxy is configured.
fn names_a_host(name: &str) -> bool {
    matches!(
        name,
        "forwarded"
            | "x-forwarded-host"
            | "x-forwarded-server"
            | "x-forwarded-uri"
            | "x-host"
            | "x-original-host"
            | "x-original-uri"
            | "x-original-url"
            | "x-http-host-override"
            | "x-rewrite-url"
    )
}

/// What became of the question which host a request is for.
pub(crate) struct Authority<'a> {
    pub(crate) host: Host<'a>,
    /// Whether the peer is a trusted proxy; forwarding headers stay in the request then.
    pub(crate) by_proxy: bool,
    /// Whether the client spoke TLS, as far as can be told.
    pub(crate) secure: bool,
}

pub(crate) struct Target<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) version: Version,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) extensions: &'a Extensions,
}

type Refused = (RejectionReason, &'static str);

fn bad(reason: &'static str) -> Refused {
    (RejectionReason::BadHost, reason)
}

/// Decides which host the request is for, or why it is refused.
#[inline]
pub(crate) fn effective_host<'a>(
    target: &Target<'a>,
    scan: &HeaderScan<'a>,
    proxies: Option<&TrustedProxies>,
) -> Result<Authority<'a>, Refused> {
    check_target_form(target)?;
    let (direct, secure) = match target.uri.scheme_str() {
        // The target is a path: HTTP/1 from a client or a proxy.
        None if target.uri.authority().is_none() => match scan.host {
            Some(_) if scan.more_than_one_host => return Err(bad("there is more than one Host line")),
            Some(host) => (parse(host.as_bytes())?, false),
            // RFC 9112 §3.2 asks for 400 from HTTP/1.1 on; a tenant is not guessed for HTTP/1.0 either.
            None if target.version < Version::HTTP_2 => return Err(bad("there is no Host line")),
            None => return Err(bad("there is neither :authority nor Host")),
        },
        scheme => (
            direct_host(target, scan)?,
            scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
        ),
    };
    let by_proxy = match proxies {
        None => false,
        Some(proxies) => proxies.contains(peer(target.extensions)?),
    };
    if by_proxy {
        let host = forwarded_host(target.headers)?;
        let secure = secure || forwarded_proto_is_https(target.headers);
        return Ok(Authority {
            host,
            by_proxy,
            secure,
        });
    }
    Ok(Authority {
        host: direct,
        by_proxy,
        secure,
    })
}

/// RFC 9112 §3.2: each form of target only with its methods. RFC 9110 §9.3.6: CONNECT makes a tunnel, which is
/// no business of an origin server, but for the WebSocket handshake of RFC 8441.
#[inline]
fn check_target_form(target: &Target<'_>) -> Result<(), Refused> {
    if *target.method == Method::CONNECT && !is_websocket_connect(target) {
        return Err((RejectionReason::ConnectRefused, "CONNECT asks for a tunnel"));
    }
    match target.uri.path().as_bytes() {
        [b'/', ..] => Ok(()),
        b"*" if *target.method == Method::OPTIONS => Ok(()),
        b"*" => Err(bad("the target * is for OPTIONS only")),
        _ => Err(bad("the target has an authority and no path")),
    }
}

#[cfg(feature = "http2")]
fn is_websocket_connect(target: &Target<'_>) -> bool {
    target.version == Version::HTTP_2
        && target
            .extensions
            .get::<hyper::ext::Protocol>()
            .is_some_and(|protocol| protocol.as_str() == "websocket")
}

#[cfg(not(feature = "http2"))]
fn is_websocket_connect(_: &Target<'_>) -> bool {
    false
}

fn direct_host<'a>(target: &Target<'a>, scan: &HeaderScan<'a>) -> Result<Host<'a>, Refused> {
    if scan.more_than_one_host {
        return Err(bad("there is more than one Host line"));
    }
    let header = scan.host.map(|value| parse(value.as_bytes())).transpose()?;
    let authority = match target.uri.authority() {
        Some(authority) => Some(parse(authority.as_str().as_bytes())?),
        None => None,
    };
    if target.version < Version::HTTP_2 && header.is_none() {
        // RFC 9112 §3.2 asks for 400 from HTTP/1.1 on; a tenant is not guessed for HTTP/1.0 either.
        return Err(bad("there is no Host line"));
    }
    let default_port = match target.uri.scheme_str() {
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => 443,
        Some(scheme) if !scheme.eq_ignore_ascii_case("http") => {
            return Err(bad("the scheme of the target is neither http nor https"));
        }
        _ => 80,
    };
    match (authority, header) {
        (None, Some(host)) | (Some(host), None) => Ok(host),
        (None, None) => Err(bad("there is neither :authority nor Host")),
        (Some(authority), Some(header)) => {
            if authority.is_same_place(&header, Some(default_port)) {
                Ok(authority)
            } else {
                Err(bad("the target and Host name different hosts"))
            }
        }
    }
}

fn parse(raw: &[u8]) -> Result<Host<'_>, Refused> {
    Host::parse(raw).map_err(|invalid| bad(invalid.reason()))
}

fn peer(extensions: &Extensions) -> Result<IpAddr, Refused> {
    match extensions.get::<ConnectInfo<SocketAddr>>() {
        Some(ConnectInfo(peer)) => Ok(peer.ip()),
        None => Err((
            RejectionReason::PeerUnknown,
            "trusted proxies are configured, but the request has no ConnectInfo<SocketAddr>; \
             serve with into_make_service_with_connect_info::<SocketAddr>()",
        )),
    }
}

/// The one host that a trusted proxy names, by `X-Forwarded-Host`, by `Forwarded` (RFC 7239), or by both alike.
fn forwarded_host(headers: &HeaderMap) -> Result<Host<'_>, Refused> {
    let by_x = single(
        headers,
        &X_FORWARDED_HOST,
        "there is more than one X-Forwarded-Host line",
    )?
    .map(|value| parse(value.as_bytes()))
    .transpose()?;
    let by_rfc = single(
        headers,
        &header::FORWARDED,
        "there is more than one Forwarded line",
    )?
    .map(host_of_forwarded)
    .transpose()?
    .flatten();
    match (by_x, by_rfc) {
        (Some(host), None) | (None, Some(host)) => Ok(host),
        (Some(a), Some(b)) if a.is_same_place(&b, None) => Ok(a),
        (Some(_), Some(_)) => Err(bad("X-Forwarded-Host and Forwarded name different hosts")),
        // A client can make some proxies strip their own header ("Connection: X-Forwarded-Host"): Host is no
        // substitute for it.
        (None, None) => Err(bad("a trusted proxy sent no forwarded host")),
    }
}

fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    more_than_one: &'static str,
) -> Result<Option<&'a HeaderValue>, Refused> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(bad(more_than_one));
    }
    Ok(first)
}

/// The `host` of a `Forwarded` line with one element. Two elements are two proxies, of which one is a guess.
fn host_of_forwarded(value: &HeaderValue) -> Result<Option<Host<'_>>, Refused> {
    let text = value.to_str().map_err(|_| bad("Forwarded is not ASCII"))?;
    if text.contains(',') {
        return Err(bad("Forwarded has more than one element"));
    }
    let mut found = None;
    for pair in text.split(';') {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(bad("Forwarded is malformed"));
        };
        if !name.trim().eq_ignore_ascii_case("host") {
            continue;
        }
        let value = value.trim();
        let value = match value.strip_prefix('"') {
            Some(quoted) => quoted
                .strip_suffix('"')
                .ok_or(bad("Forwarded has an open quote"))?,
            None => value,
        };
        if found.replace(parse(value.as_bytes())?).is_some() {
            return Err(bad("Forwarded names two hosts"));
        }
    }
    Ok(found)
}

fn forwarded_proto_is_https(headers: &HeaderMap) -> bool {
    match single(headers, &X_FORWARDED_PROTO, "") {
        Ok(Some(value)) => value.as_bytes().eq_ignore_ascii_case(b"https"),
        _ => false,
    }
}

/// Takes out the forwarding headers that were not believed, so that nothing further in believes them.
pub(crate) fn remove_unbelieved(headers: &mut HeaderMap, proxies_are_configured: bool) {
    let is_unbelieved = if proxies_are_configured {
        speaks_for_a_proxy
    } else {
        names_a_host
    };
    let names = headers.keys().filter(|name| is_unbelieved(name.as_str()));
    for name in names.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn decide(request: &Request<()>, proxies: Option<&TrustedProxies>) -> Result<String, Refused> {
        let target = Target {
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
            extensions: request.extensions(),
        };
        effective_host(&target, &HeaderScan::of(request.headers()), proxies)
            .map(|authority| authority.host.name().to_owned())
    }

    fn from(peer: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::get("/").header("host", "acme.app.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        let peer: SocketAddr = peer.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    }

    #[test]
    fn a_trusted_peer_names_the_host_and_nobody_else_does() {
        let proxies = TrustedProxies::new(["10.0.0.0/8", "::1"]).unwrap();
        let host = |peer, headers: &[(&str, &str)]| decide(&from(peer, headers), Some(&proxies));
        let x = ("x-forwarded-host", "beta.app.test");
        assert_eq!(host("10.1.2.3:9", &[x]).unwrap(), "beta.app.test");
        assert_eq!(host("[::1]:9", &[x]).unwrap(), "beta.app.test");
        assert_eq!(
            host("[::ffff:10.1.2.3]:9", &[x]).unwrap(),
            "beta.app.test",
            "a mapped address"
        );
        assert_eq!(host("11.1.2.3:9", &[x]).unwrap(), "acme.app.test", "untrusted");
        let forwarded = ("forwarded", "for=1.2.3.4;Host=\"beta.app.test:443\";proto=https");
        assert_eq!(host("10.1.2.3:9", &[forwarded]).unwrap(), "beta.app.test");
    }

    #[test]
    fn a_trusted_peer_that_is_unclear_is_refused() {
        let proxies = TrustedProxies::new(["10.0.0.0/8"]).unwrap();
        let x = ("x-forwarded-host", "beta.app.test");
        for headers in [
            &[][..],
            &[x, x],
            &[("x-forwarded-host", "a.test, b.test")],
            &[("x-forwarded-host", "")],
            &[x, ("forwarded", "host=acme.app.test")],
            &[("forwarded", "host=a.test, host=b.test")],
            &[("forwarded", "host=a.test;host=b.test")],
            &[("forwarded", "host=\"a.test")],
            &[("forwarded", "for=1.2.3.4")],
            &[("forwarded", "nonsense")],
        ] {
            let (reason, _) = decide(&from("10.1.2.3:9", headers), Some(&proxies)).unwrap_err();
            assert_eq!(reason, RejectionReason::BadHost, "{headers:?}");
        }
    }

    #[test]
    fn a_trust_list_without_peer_addresses_is_a_named_error() {
        let proxies = TrustedProxies::new(["10.0.0.0/8"]).unwrap();
        let request = Request::get("/").header("host", "a.test").body(()).unwrap();
        let (reason, text) = decide(&request, Some(&proxies)).unwrap_err();
        assert_eq!(reason, RejectionReason::PeerUnknown);
        assert!(text.contains("into_make_service_with_connect_info"));
    }

    #[test]
    fn what_was_not_believed_is_taken_out() {
        let of_a_host = [
            "forwarded",
            "x-forwarded-host",
            "x-forwarded-server",
            "x-forwarded-uri",
            "x-host",
            "x-http-host-override",
            "x-original-host",
            "x-original-uri",
            "x-original-url",
            "x-rewrite-url",
        ];
        let of_a_client = [
            "x-client-ip",
            "x-forwarded-client-cert",
            "x-forwarded-for",
            "x-forwarded-port",
            "x-forwarded-prefix",
            "x-forwarded-proto",
            "x-forwarded-user",
            "x-original-forwarded-for",
            "x-real-ip",
        ];
        let others = [
            "accept",
            "forward",
            "forwarded-for",
            "x-forward",
            "x-hosts",
            "x-mine",
        ];
        let mut headers = HeaderMap::new();
        for name in of_a_host.into_iter().chain(of_a_client).chain(others) {
            headers.append(name, HeaderValue::from_static("beta.app.test"));
            headers.append(name, HeaderValue::from_static("again"));
        }
        assert!(HeaderScan::of(&headers).has_forwarding());
        let left = |proxies_are_configured| {
            let mut headers = headers.clone();
            remove_unbelieved(&mut headers, proxies_are_configured);
            let mut left: Vec<_> = headers.keys().map(|name| name.as_str().to_owned()).collect();
            left.sort_unstable();
            left
        };
        assert_eq!(left(true), others);
        let mut without_proxies = [of_a_client.as_slice(), &others].concat();
        without_proxies.sort_unstable();
        assert_eq!(left(false), without_proxies);
    }

    #[test]
    fn whatever_names_a_host_speaks_for_a_proxy() {
        for name in [
            "forwarded",
            "x-forwarded-uri",
            "x-host",
            "x-original-uri",
            "x-rewrite-url",
        ] {
            assert!(names_a_host(name) && speaks_for_a_proxy(name), "{name}");
        }
        for name in ["host", "x-hos", "x-", "", "forwardedx"] {
            assert!(!speaks_for_a_proxy(name), "{name}");
        }
    }
}
