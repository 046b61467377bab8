//! Custom domains over real files: several opened stores are several processes.

mod claims;
mod dns;
mod name_server;
mod over_http;
mod races;
mod rechecks;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use tenancy::{
    Tenancy, Tenant,
    domains::{Challenge, CheckAnswer, DomainCheck, DomainClaim, DomainError, Domains, Verification},
    event::Event,
    resolve::DomainOrSubdomain,
    routes::TenancyApp,
};
use tenancy_core::{Clock, ManualClock};
use tenancy_sqlx::{NewTenant, store::SqlStore};
use tower::ServiceExt as _;

use crate::support::{Place, id};

#[derive(Clone, Debug, Default)]
pub(super) struct Hand(Arc<ManualClock>);

impl Clock for Hand {
    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn unix_time(&self) -> Duration {
        self.0.unix_time()
    }
}

/// A check whose answer is known before.
#[derive(Clone, Debug)]
pub(super) struct Says {
    pub(super) answer: CheckAnswer,
    pub(super) shows_control: bool,
}

impl Says {
    pub(super) fn proven() -> Self {
        Self {
            answer: CheckAnswer::Proven,
            shows_control: true,
        }
    }

    pub(super) fn points_here() -> Self {
        Self {
            shows_control: false,
            ..Self::proven()
        }
    }

    pub(super) fn not_yet() -> Self {
        Self {
            answer: CheckAnswer::not_yet("nothing is there"),
            shows_control: true,
        }
    }
}

impl DomainCheck for Says {
    async fn check(&self, _: &Challenge) -> CheckAnswer {
        self.answer.clone()
    }

    fn shows_control(&self) -> bool {
        self.shows_control
    }
}

/// One process over the file.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) store: SqlStore,
    pub(super) tenancy: Tenancy,
    pub(super) domains: Domains,
    pub(super) app: TenancyApp,
    pub(super) events: Arc<Mutex<Vec<String>>>,
}

impl Process {
    pub(super) async fn start(place: &Place, clock: &Hand) -> Self {
        let store = place.open().await;
        let events = Arc::<Mutex<Vec<String>>>::default();
        let told = Arc::clone(&events);
        let tenancy = Tenancy::builder(DomainOrSubdomain::of("app.test").unwrap(), store.clone())
            .central_hosts(["app.test", "www.service.test"])
            .clock(clock.clone())
            .listener(move |event: &Event| {
                if let Event::DomainChecked { report } = event {
                    let line = format!(
                        "{} {} {} {}",
                        report.tenant,
                        report.domain,
                        report.answer.as_str(),
                        report.effect
                    );
                    told.lock().unwrap().push(line);
                }
            })
            .build()
            .unwrap();
        tenancy.ready().await;
        let domains = Domains::of(&tenancy, store.acting_as("ada"))
            .own_domains(["app.test"])
            .unwrap();
        let app = tenancy.wrap(Router::new().fallback(|tenant: Tenant| async move { tenant.to_string() }));
        Self {
            store,
            tenancy,
            domains,
            app,
            events,
        }
    }

    pub(super) async fn claim(&self, tenant: &str, domain: &str) -> Result<DomainClaim, DomainError> {
        self.domains.claim(&id(tenant), domain).await
    }

    pub(super) async fn verify(
        &self,
        tenant: &str,
        domain: &str,
        check: &impl DomainCheck,
    ) -> Result<Verification, DomainError> {
        self.domains.verify(&id(tenant), domain, check).await
    }

    /// The tenant that a host leads to, or the status.
    pub(super) async fn leads_to(&self, host: &str) -> Result<String, StatusCode> {
        let request = Request::get("/")
            .header("host", host)
            .body(Body::empty())
            .unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        if response.status() != StatusCode::OK {
            return Err(response.status());
        }
        let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
        Ok(String::from_utf8(body.to_vec()).unwrap())
    }

    /// Waits until the poll, which is due each half second, has brought it.
    pub(super) async fn until(&self, host: &str, expected: Result<&str, StatusCode>) {
        let seen = async {
            while self.leads_to(host).await.as_deref() != expected.as_deref() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(60), seen).await;
        assert!(in_time.is_ok(), "{host} never became {expected:?}");
    }

    pub(super) async fn kinds_of_changes(&self) -> Vec<String> {
        let changes = self.store.changes_since(0, 100).await.unwrap();
        changes.into_iter().map(|change| change.kind).collect()
    }
}

pub(super) async fn place() -> (Place, Hand) {
    let place = Place::new();
    let store = place.open().await;
    for slug in ["acme", "globex"] {
        store.create(NewTenant::new(slug)).await.unwrap();
    }
    store.close().await;
    (place, Hand::default())
}
