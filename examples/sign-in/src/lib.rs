//! The application of this example. What to look at:
//!
//! * [`session`]: the session carries the tenant, its cookie stays on its host, and the check that compares.
//! * `tenant`: sign-in, and the two ways by which the central host hands a user over.
//! * `central`: support signs in as a user of a tenant; the one callback address of the identity provider.

mod accounts;
mod central;
mod provider;
pub mod session;
mod tenant;

use std::sync::Arc;

use axum::{http::HeaderName, middleware};
use tenancy::{
    MemoryStore, Tenancy, Tenant,
    core::BoxError,
    handoff::{Handoffs, MemoryHandoffStore, SignOn},
    resolve::Subdomain,
    routes::TenancyApp,
};
use tower::ServiceBuilder;
use tower_http::csrf::CsrfLayer;

use crate::{accounts::Accounts, provider::Provider};

/// How browsers reach the site.
#[derive(Clone, Copy, Debug)]
pub enum Transport {
    /// Behind something that ends TLS: cookies are `Secure` and have `__Host-` names.
    Tls,
    /// Local development.
    PlainHttp {
        /// The port that browsers use.
        port: u16,
    },
}

impl Transport {
    fn is_tls(self) -> bool {
        matches!(self, Self::Tls)
    }

    /// Made of what is configured, never of the `Host` that a client sent.
    fn url(self, host: &str, path: &str) -> String {
        match self {
            Self::Tls => format!("https://{host}{path}"),
            Self::PlainHttp { port } => format!("http://{host}:{port}{path}"),
        }
    }
}

const BASE: &str = "localhost";

/// What handlers share.
#[derive(Clone)]
struct Services {
    tenancy: Tenancy,
    accounts: Arc<Accounts>,
    handoffs: Handoffs,
    sign_on: SignOn,
    provider: Provider,
    transport: Transport,
}

impl Services {
    fn tenant_url(&self, tenant: &Tenant, path: &str) -> String {
        self.transport
            .url(&format!("{}.{BASE}", tenant.record().slug()), path)
    }

    fn central_url(&self, path: &str) -> String {
        self.transport.url(BASE, path)
    }
}

/// The application, and what tests need to steer it.
#[derive(Debug)]
pub struct Site {
    /// To be served.
    pub app: TenancyApp,
    /// Where the tenants are.
    pub tenants: MemoryStore,
}

/// Puts the site together.
///
/// # Errors
/// When the settings are not valid, or the system has no random numbers.
pub fn site(transport: Transport) -> Result<Site, BoxError> {
    let tenants = MemoryStore::of(["acme", "globex"])?;
    let tenancy = Tenancy::builder(Subdomain::of(BASE)?, tenants.clone())
        .central_hosts([BASE])
        .always_https(transport.is_tls())
        .build()?;

    // In production: SqlStore::handoffs and a secret from your settings, so that all processes share them.
    let handoffs = Handoffs::new(&tenancy, MemoryHandoffStore::new());
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    let mut sign_on = SignOn::new(&tenancy, &handoffs, &secret)?;
    if !transport.is_tls() {
        sign_on = sign_on.over_plain_http();
    }

    let services = Services {
        tenancy: tenancy.clone(),
        accounts: Arc::default(),
        handoffs,
        sign_on,
        provider: Provider::default(),
        transport,
    };

    // Outside in. Hosts below one base domain are one *site* to browsers, so that SameSite does not keep one tenant's
    // pages from posting to another's: that is what CsrfLayer is for. Then the session, and who it is. Whether it is theirs, the routes check.
    let bound = session::bound(&tenancy);
    let guards = ServiceBuilder::new()
        .layer(CsrfLayer::new())
        .layer(session::manager(transport))
        .layer(middleware::from_fn(session::authenticate));
    let app = tenancy
        .routes()
        .tenant(
            tenant::routes(&bound)
                .with_state(services.clone())
                .layer(guards.clone()),
        )
        .central(central::routes(&bound).with_state(services).layer(guards))
        .build();
    Ok(Site { app, tenants })
}

/// Keeps a page from telling the next one where it was: tokens stand in addresses.
const NO_REFERRER: (HeaderName, &str) = (axum::http::header::REFERRER_POLICY, "no-referrer");
