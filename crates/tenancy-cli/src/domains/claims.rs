//! `domains claim`, `claims`, `verify`, `unclaim`.

use serde::Serialize;
use tenancy::{
    core::{Clock as _, SystemClock},
    domains::{DomainClaim, Domains},
};
use tenancy_server::settings::Settings;
use tenancy_sqlx::{canonical_domain, store::SqlStore};

use crate::{
    CliContext, CliError,
    output::{Output, moment},
    tenants::find,
};

/// A claim, with what its tenant has to do.
#[derive(Serialize)]
struct ClaimView<'a> {
    id: &'a str,
    domain: &'a str,
    token: &'a str,
    dns_name: String,
    http_path: String,
    http_body: String,
    made_by: Option<&'a str>,
    made_at: Option<String>,
    expires_at: Option<String>,
    is_expired: bool,
    last_checked_at: Option<String>,
    last_error: Option<&'a str>,
}

impl<'a> ClaimView<'a> {
    fn of(claim: &'a DomainClaim) -> Self {
        let challenge = claim.challenge();
        let now_ms = i64::try_from(SystemClock::new().unix_time().as_millis()).unwrap_or(i64::MAX);
        Self {
            id: claim.tenant.as_str(),
            domain: &claim.domain,
            token: &claim.token,
            dns_name: challenge.dns_name(),
            http_path: challenge.http_path(),
            http_body: challenge.http_body(),
            made_by: claim.made_by.as_deref(),
            made_at: moment(claim.made_at_ms),
            expires_at: moment(claim.expires_at_ms),
            is_expired: claim.is_expired_at(now_ms),
            last_checked_at: claim.last_checked_ms.and_then(moment),
            last_error: claim.last_error.as_deref(),
        }
    }

    fn row(&self) -> [String; 4] {
        let expires = match &self.expires_at {
            Some(_) if self.is_expired => "expired".to_owned(),
            Some(moment) => moment.clone(),
            None => "-".to_owned(),
        };
        [
            self.id.to_owned(),
            self.domain.to_owned(),
            self.last_error.unwrap_or("-").to_owned(),
            expires,
        ]
    }
}

#[derive(Serialize)]
struct ClaimList<'a> {
    claims: Vec<ClaimView<'a>>,
}

/// Claims over a catalogue, with the service's own names refused.
fn domains(settings: &Settings, store: &SqlStore) -> Result<Domains, CliError> {
    let stack = &settings.tenancy;
    let own = stack
        .base_domains
        .iter()
        .chain(stack.central_hosts.iter().flatten());
    // A central host may be an address, which nobody can claim anyway.
    let own = own.filter_map(|host| canonical_domain(host).ok());
    Domains::new(store.clone())
        .own_domains(own)
        .map_err(CliError::from_domains)
}

pub(super) async fn claim(
    id: &str,
    domain: &str,
    context: &CliContext,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    let id = find::parse_id(id)?;
    let settings = context.settings()?.settings;
    let store = context.catalogue_of(&settings).await?;
    let made = match domains(&settings, &store)?.claim(&id, domain).await {
        Ok(claim) => Ok(claim),
        Err(error) => Err(find::refused_claim(&store, &id, error).await),
    };
    store.close().await;
    let claim = made?;
    let view = ClaimView::of(&claim);
    if out.is_json() {
        return out.json(&view);
    }
    out.line(format_args!(
        "Tenant {} claims: {}\n\nPut this record into the DNS of the domain until {}:\n\n  {}  TXT  \"{}\"\n\nThen run: \
         domains verify {} {}",
        view.id,
        view.domain,
        view.expires_at.as_deref().unwrap_or("-"),
        view.dns_name,
        view.token,
        view.id,
        view.domain,
    ))
}

pub(super) async fn list(
    id: Option<&str>,
    context: &CliContext,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    let id = id.map(find::parse_id).transpose()?;
    let store = context.catalogue_to_read().await?;
    if let Some(id) = &id {
        find::by_id(&store, id).await?;
    }
    let domains = Domains::new(store.clone());
    let mut claims = Vec::new();
    loop {
        let page = domains.claims(id.as_ref(), claims.last()).await;
        let page = page.map_err(CliError::from_domains)?;
        if page.is_empty() {
            break;
        }
        claims.extend(page);
    }
    store.close().await;
    let list = ClaimList {
        claims: claims.iter().map(ClaimView::of).collect(),
    };
    if out.is_json() {
        return out.json(&list);
    }
    if list.claims.is_empty() {
        return out.line("There is no claim.");
    }
    out.table(
        ["ID", "DOMAIN", "LAST CHECK", "EXPIRES"],
        list.claims.iter().map(ClaimView::row),
    )
}

pub(super) async fn unclaim(
    id: &str,
    domain: &str,
    context: &CliContext,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    let id = find::parse_id(id)?;
    let store = context.catalogue().await?;
    let done = match Domains::new(store.clone()).unclaim(&id, domain).await {
        Ok(()) => Ok(()),
        Err(error) => Err(find::refused_claim(&store, &id, error).await),
    };
    store.close().await;
    done?;
    let domain = canonical_domain(domain).unwrap_or_else(|_| domain.to_owned());
    if out.is_json() {
        return out.json(&serde_json::json!({ "id": id.as_str(), "domain": domain, "claimed": false }));
    }
    out.line(format_args!("Tenant {id} claims no more: {domain}"))
}

#[cfg(feature = "dns")]
pub(super) use self::verify::VerifyArgs;

#[cfg(feature = "dns")]
mod verify {
    use std::net::{IpAddr, SocketAddr};

    use clap::Args;
    use serde::Serialize;
    use tenancy::domains::{DnsCheck, Verification};
    use tenancy_sqlx::canonical_domain;

    use super::domains;
    use crate::{CliContext, CliError, output::Output, tenants::find};

    #[derive(Clone, Debug, Args)]
    pub(crate) struct VerifyArgs {
        /// The tenant's id
        id: String,
        /// The domain; Unicode is accepted
        domain: String,
        /// A name server to ask, such as 9.9.9.9 or 127.0.0.1:5353, instead of those of this machine
        #[arg(long = "dns-server", value_name = "ADDR", value_parser = parse_server)]
        dns_servers: Vec<SocketAddr>,
    }

    #[derive(Serialize)]
    struct VerifiedView<'a> {
        id: &'a str,
        domain: &'a str,
        verified: bool,
        state: &'static str,
        reason: Option<&'a str>,
    }

    impl VerifyArgs {
        pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
            let id = find::parse_id(&self.id)?;
            let check = if self.dns_servers.is_empty() {
                DnsCheck::of_system()
            } else {
                DnsCheck::with_servers(self.dns_servers)
            };
            let check = check.map_err(CliError::from_domains)?;
            let settings = context.settings()?.settings;
            let store = context.catalogue_of(&settings).await?;
            let done = match domains(&settings, &store)?
                .verify(&id, &self.domain, &check)
                .await
            {
                Ok(verification) => Ok(verification),
                Err(error) => Err(find::refused_claim(&store, &id, error).await),
            };
            store.close().await;
            let domain = canonical_domain(&self.domain).unwrap_or(self.domain);
            tell(id.as_str(), &domain, &done?, out)
        }
    }

    fn tell(
        id: &str,
        domain: &str,
        verification: &Verification,
        out: &mut Output<'_>,
    ) -> Result<(), CliError> {
        let (state, reason) = match verification {
            Verification::Verified => ("verified", None),
            Verification::CouldNotTell { reason } => ("could_not_tell", Some(reason.as_str())),
            Verification::NotYet { reason } => ("not_yet", Some(reason.as_str())),
            _ => ("not_yet", None),
        };
        let verified = verification.is_verified();
        let view = VerifiedView {
            id,
            domain,
            verified,
            state,
            reason,
        };
        match (out.is_json(), verified) {
            (true, _) => out.json(&view)?,
            (false, true) => out.line(format_args!("Tenant {id} has: {domain}"))?,
            (false, false) => {
                let reason = reason.unwrap_or("it is not proven");
                out.line(format_args!("Tenant {id} does not have {domain} yet: {reason}"))?;
            }
        }
        if verified {
            return Ok(());
        }
        Err(CliError::failed("the domain is not verified").told())
    }

    fn parse_server(text: &str) -> Result<SocketAddr, String> {
        let address = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53));
        address
            .or_else(|_| text.parse::<SocketAddr>())
            .map_err(|_| "it is no IP address, with or without a port".to_owned())
    }

    #[cfg(test)]
    mod tests {
        use super::parse_server;

        #[test]
        fn a_name_server_has_a_port_of_its_own_or_the_usual_one() {
            for (text, expected) in [
                ("9.9.9.9", "9.9.9.9:53"),
                ("127.0.0.1:5353", "127.0.0.1:5353"),
                ("::1", "[::1]:53"),
                ("[::1]:5353", "[::1]:5353"),
            ] {
                assert_eq!(parse_server(text).unwrap().to_string(), expected);
            }
            assert!(parse_server("dns.example").is_err());
        }
    }
}
