//! A tenant for requests of this machine that name none, while one develops.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use http::{Request, header};
use tenancy_core::{Host, HostForm, TenantId, TenantKey};

use super::authority::{Authority, HeaderScan};

/// Whose requests are that name no tenant and come from this machine.
pub(crate) struct DevTenant {
    id: TenantId,
    /// A place behind those of the chain, for its name.
    pub(super) identifier: u8,
}

impl DevTenant {
    pub(crate) const NAME: &'static str = "dev tenant";

    pub(crate) fn new(id: TenantId, identifier: u8) -> Self {
        Self { id, identifier }
    }

    pub(super) fn key(&self) -> TenantKey<'_> {
        TenantKey::id(&self.id)
    }

    /// Judges all but what the identifiers saw. Says why the request is not the dev tenant's.
    pub(super) fn admit<B>(
        request: &Request<B>,
        scan: &HeaderScan<'_>,
        authority: &Authority<'_>,
    ) -> Result<(), &'static str> {
        // Whoever stands behind a proxy or a tunnel on this machine is not on this machine.
        if authority.by_proxy || scan.has_forwarding() || request.headers().contains_key(header::VIA) {
            return Err("a header says that the request was forwarded");
        }
        // A page of elsewhere can have its name resolved to 127.0.0.1 and read the answers as its own.
        if !is_this_machine(&authority.host) {
            return Err("the host is neither localhost nor a loopback address");
        }
        match request.extensions().get::<ConnectInfo<SocketAddr>>() {
            None => {
                Err("the peer is not known; serve with into_make_service_with_connect_info::<SocketAddr>()")
            }
            Some(ConnectInfo(peer)) if peer.ip().to_canonical().is_loopback() => Ok(()),
            Some(_) => Err("the peer is not on this machine"),
        }
    }
}

fn is_this_machine(host: &Host<'_>) -> bool {
    let name = host.name();
    if host.form() == HostForm::Name {
        return name == "localhost";
    }
    let address = name
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Whether the host is an address, which no tenant can have as its domain.
pub(super) fn is_address(host: &Host<'_>) -> bool {
    !matches!(host.form(), HostForm::Name | HostForm::OtherName)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_goes_by_few_names() {
        for (host, expected) in [
            ("localhost", true),
            ("LOCALHOST:8000", true),
            ("127.0.0.1", true),
            ("127.9.9.9:8000", true),
            ("[::1]:8000", true),
            ("[::ffff:127.0.0.1]", true),
            ("acme.localhost", false),
            ("localhost.example.com", false),
            ("127.0.0.1.example.com", false),
            ("0.0.0.0", false),
            ("[::]", false),
            ("192.168.0.1", false),
            ("example.com", false),
        ] {
            let host = Host::parse(host.as_bytes()).unwrap();
            assert_eq!(is_this_machine(&host), expected, "{host:?}");
        }
    }
}
