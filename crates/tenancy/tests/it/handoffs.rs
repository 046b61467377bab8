//! Single-use tokens: once, for one tenant, one purpose, one browser, and not for long.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    http::{
        HeaderMap, HeaderValue,
        header::{COOKIE, SET_COOKIE},
    },
    response::IntoResponse,
};
use futures_util::future::join_all;
use tenancy::{
    MemoryStore, Tenancy, Tenant, TenantRef,
    core::{StoreError, TenantStatus},
    credential::check_host_only,
    event::Event,
    handoff::{
        Grant, HandoffAudit, HandoffError, HandoffRefusal, HandoffRequest, HandoffStep, HandoffStore,
        HandoffToken, Handoffs, MemoryHandoffStore, Purpose, ReturnPath, SignOn, TokenHash,
    },
};

use crate::{
    gates::logs,
    lookups::Hand,
    scopes::{enter, id, subdomains},
    support::text,
};

const SECRET: &[u8; 32] = b"a secret of exactly thirty-two b";

struct Site {
    store: MemoryStore,
    tenancy: Tenancy,
    handoffs: Handoffs,
    clock: Hand,
    audit: Arc<Mutex<Vec<Arc<HandoffAudit>>>>,
}

impl Site {
    fn new() -> Self {
        Self::with(MemoryHandoffStore::new())
    }

    fn with(tokens: impl HandoffStore) -> Self {
        let clock = Hand::default();
        let audit = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&audit);
        let store = MemoryStore::of(["acme", "globex"]).unwrap();
        let tenancy = Tenancy::builder(subdomains(), store.clone())
            .clock(clock.clone())
            .listener(move |event: &Event| {
                if let Event::Handoff { audit } = event {
                    kept.lock().unwrap().push(Arc::clone(audit));
                }
            })
            .build()
            .unwrap();
        let handoffs = Handoffs::new(&tenancy, tokens);
        Self {
            store,
            tenancy,
            handoffs,
            clock,
            audit,
        }
    }

    async fn tenant(&self, id: &str) -> Tenant {
        enter(&self.tenancy, id).await
    }

    /// A token for user 7 of acme.
    async fn token(&self) -> HandoffToken {
        let request = HandoffRequest::impersonation("7", "sam@support");
        self.handoffs
            .issue(&self.tenant("acme").await, request)
            .await
            .unwrap()
    }

    async fn redeem(&self, tenant: &str, token: &str) -> Result<Grant, HandoffError> {
        self.handoffs
            .redeem(&self.tenant(tenant).await, &Purpose::IMPERSONATION, token)
            .await
    }

    fn sign_on(&self) -> SignOn {
        SignOn::new(&self.tenancy, &self.handoffs, SECRET).unwrap()
    }

    fn steps(&self) -> Vec<HandoffStep> {
        let audit = std::mem::take(&mut *self.audit.lock().unwrap());
        audit.iter().map(|line| line.step).collect()
    }
}

fn refused<T: std::fmt::Debug>(outcome: Result<T, HandoffError>) -> HandoffRefusal {
    outcome.unwrap_err().refusal().unwrap()
}

#[tokio::test]
async fn a_token_says_who_for_whom_and_works_once() {
    let site = Site::new();
    let request =
        HandoffRequest::impersonation("7", "sam@support").return_to(ReturnPath::new("/orders").unwrap());
    let acme = site.tenant("acme").await;
    let token = site.handoffs.issue(&acme, request).await.unwrap();
    let grant = site.redeem("acme", token.as_str()).await.unwrap();
    assert_eq!(grant.tenant(), &acme.reference());
    assert_eq!(grant.purpose(), &Purpose::IMPERSONATION);
    assert_eq!((grant.user(), grant.issued_by()), ("7", "sam@support"));
    assert_eq!(grant.return_to().as_str(), "/orders");
    assert_eq!(
        refused(site.redeem("acme", token.as_str()).await),
        HandoffRefusal::Unknown
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_present_one_token_at_once_one_wins() {
    let site = Arc::new(Site::new());
    for _ in 0..20 {
        let token: Arc<str> = site.token().await.as_str().into();
        let tries = (0..8).map(|_| {
            let (site, token) = (Arc::clone(&site), Arc::clone(&token));
            tokio::spawn(async move { site.redeem("acme", &token).await.is_ok() })
        });
        let won = join_all(tries)
            .await
            .into_iter()
            .filter(|won| *won.as_ref().unwrap());
        assert_eq!(won.count(), 1);
    }
}

#[tokio::test]
async fn a_token_that_was_presented_in_the_wrong_place_is_burnt() {
    let site = Site::new();
    let token = site.token().await;
    assert_eq!(
        refused(site.redeem("globex", token.as_str()).await),
        HandoffRefusal::WrongTenant
    );
    assert_eq!(
        refused(site.redeem("acme", token.as_str()).await),
        HandoffRefusal::Unknown
    );

    let token = site.token().await;
    let acme = site.tenant("acme").await;
    let wrong = site
        .handoffs
        .redeem(&acme, &Purpose::SIGN_ON, token.as_str())
        .await;
    assert_eq!(refused(wrong), HandoffRefusal::WrongPurpose);
    assert_eq!(
        refused(site.redeem("acme", token.as_str()).await),
        HandoffRefusal::Unknown
    );
}

#[tokio::test]
async fn a_token_expires_at_its_moment_and_not_before() {
    let site = Site::new();
    let token = site.token().await;
    site.clock.advance(Duration::from_millis(59_999));
    assert!(site.redeem("acme", token.as_str()).await.is_ok());
    let token = site.token().await;
    site.clock.advance(Duration::from_secs(60));
    assert_eq!(
        refused(site.redeem("acme", token.as_str()).await),
        HandoffRefusal::Expired
    );
}

/// Answers every take with what it was given, as a broken or restored store may.
#[derive(Clone, Default)]
struct Replaying(Arc<Mutex<Option<Grant>>>);

impl HandoffStore for Replaying {
    async fn put(&self, _: TokenHash, grant: &Grant, _: u64) -> Result<(), StoreError> {
        *self.0.lock().unwrap() = Some(grant.clone());
        Ok(())
    }

    async fn take(&self, _: TokenHash) -> Result<Option<Grant>, StoreError> {
        Ok(self.0.lock().unwrap().clone())
    }
}

#[tokio::test]
async fn a_token_of_a_former_tenant_is_refused_by_the_one_that_has_its_name_now() {
    let tokens = Replaying::default();
    let site = Site::with(tokens.clone());
    let token = site.token().await;
    let former = TenantRef::new(id("acme"), 999);
    let text = serde_json::to_string(tokens.0.lock().unwrap().as_ref().unwrap()).unwrap();
    let present = site.tenant("acme").await.reference().to_string();
    let text = text.replace(&present, &former.to_string());
    *tokens.0.lock().unwrap() = serde_json::from_str(&text).unwrap();
    assert_eq!(
        refused(site.redeem("acme", token.as_str()).await),
        HandoffRefusal::WrongTenant
    );
}

#[tokio::test]
async fn all_refusals_look_alike_to_the_client_and_none_to_the_operator() {
    let site = Site::new();
    let used = site.token().await;
    site.redeem("acme", used.as_str()).await.unwrap();
    let forged = "0".repeat(64);
    let elsewhere = site.token().await;
    let late = site.token().await;
    site.steps();
    let outcomes = [
        site.redeem("acme", used.as_str()).await,
        site.redeem("acme", &forged).await,
        site.redeem("globex", elsewhere.as_str()).await,
        {
            site.clock.advance(Duration::from_secs(60));
            site.redeem("acme", late.as_str()).await
        },
        site.redeem("acme", "no token").await,
    ];
    use HandoffRefusal::{Expired, Malformed, Unknown, WrongTenant};
    assert_eq!(
        site.steps(),
        [Unknown, Unknown, WrongTenant, Expired, Malformed].map(HandoffStep::Refused)
    );
    let mut answers = Vec::new();
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        let shown = error.to_string();
        let response = error.into_response();
        let reference = response.headers()["tenancy-reference"]
            .to_str()
            .unwrap()
            .to_owned();
        let status = response.status();
        let headers = format!("{:?}", response.headers());
        let answer = format!("{shown} {status} {headers} {}", text(response).await);
        answers.push(answer.replace(&reference, "REFERENCE"));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(
        answers[0].contains("403") && !answers[0].contains("acme"),
        "{answers:?}"
    );
}

#[tokio::test]
async fn errors_are_answered_in_the_words_of_the_application() {
    let tenancy = Tenancy::builder(subdomains(), MemoryStore::of(["acme"]).unwrap())
        .on_rejection(|rejection| (rejection.status(), "sorry").into_response())
        .build()
        .unwrap();
    let handoffs = Handoffs::new(&tenancy, MemoryHandoffStore::new());
    let sign_on = SignOn::new(&tenancy, &handoffs, SECRET).unwrap();
    let acme = enter(&tenancy, "acme").await;
    let too_long = HandoffRequest::impersonation(&"7".repeat(10_000), "sam@support");
    for (error, status) in [
        (
            handoffs
                .redeem(&acme, &Purpose::IMPERSONATION, "forged")
                .await
                .unwrap_err(),
            403,
        ),
        (sign_on.receive("forged").await.unwrap_err(), 403),
        (handoffs.issue(&acme, too_long).await.unwrap_err(), 400),
        (SignOn::new(&tenancy, &handoffs, b"short").unwrap_err(), 400),
    ] {
        let response = error.into_response();
        assert_eq!(response.status(), status);
        assert!(response.headers().contains_key("tenancy-reference"));
        assert_eq!(text(response).await, "sorry");
    }
}

#[tokio::test]
async fn the_audit_has_who_for_whom_and_what_for_and_never_the_token() {
    let site = Site::new();
    let captured = logs::capture();
    let token = site.token().await;
    site.redeem("acme", token.as_str()).await.unwrap();
    let stolen = site.token().await;
    site.redeem("globex", stolen.as_str()).await.unwrap_err();
    let logged = captured.text();
    let acme = site.tenant("acme").await.reference().to_string();
    for part in [
        "tenancy::handoff",
        "sam@support",
        "impersonation",
        "wrong_tenant",
        &acme,
        "globex",
    ] {
        assert!(logged.contains(part), "{part} in {logged}");
    }
    let audit = std::mem::take(&mut *site.audit.lock().unwrap());
    let told = format!("{audit:?}");
    for token in [&token, &stolen] {
        assert!(!logged.contains(token.as_str()) && !told.contains(token.as_str()));
    }
    assert_eq!(
        audit[0].reference, audit[1].reference,
        "issue and redemption can be told to belong together"
    );
    assert_ne!(audit[0].reference, audit[2].reference);
    let last = audit.last().unwrap();
    assert_eq!(last.grant.as_ref().unwrap().issued_by(), "sam@support");
    assert_eq!(last.presented_to.as_ref().unwrap().id(), "globex");
}

#[tokio::test]
async fn what_is_out_of_bounds_is_not_given_out() {
    let site = Site::new();
    let acme = site.tenant("acme").await;
    let usual = || HandoffRequest::impersonation("7", "sam");
    for request in [
        HandoffRequest::impersonation("", "sam"),
        HandoffRequest::impersonation("7", ""),
        HandoffRequest::impersonation("7\n8", "sam"),
        HandoffRequest::impersonation("7", &"s".repeat(257)),
        usual().expires_in(Duration::ZERO),
        usual().expires_in(HandoffRequest::MAX_LIFETIME + Duration::from_millis(1)),
    ] {
        assert!(
            site.handoffs
                .issue(&acme, request)
                .await
                .unwrap_err()
                .is_invalid()
        );
    }
    assert!(site.steps().is_empty());
    let longest = usual().expires_in(HandoffRequest::MAX_LIFETIME);
    assert!(site.handoffs.issue(&acme, longest).await.is_ok());
    assert!(Purpose::named("Sign On").is_err());
    assert!(
        SignOn::new(&site.tenancy, &site.handoffs, &SECRET[..31])
            .unwrap_err()
            .is_invalid()
    );
}

struct Away;

impl HandoffStore for Away {
    async fn put(&self, _: TokenHash, _: &Grant, _: u64) -> Result<(), StoreError> {
        Err(StoreError::unavailable("away"))
    }

    async fn take(&self, _: TokenHash) -> Result<Option<Grant>, StoreError> {
        Err(StoreError::unavailable("away"))
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_no_refusal_and_no_grant() {
    let site = Site::with(Away);
    let acme = site.tenant("acme").await;
    let issued = site
        .handoffs
        .issue(&acme, HandoffRequest::impersonation("7", "sam"))
        .await;
    assert!(issued.unwrap_err().is_unavailable());
    let error = site.redeem("acme", &"0".repeat(64)).await.unwrap_err();
    assert!(error.is_unavailable() && !error.is_refused());
    assert_eq!(error.into_response().status(), 503);
    assert_eq!(site.steps(), [HandoffStep::Failed; 2]);
}

fn with_cookie(set_cookie: &HeaderValue) -> HeaderMap {
    let pair = set_cookie.to_str().unwrap().split(';').next().unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(COOKIE, pair.parse().unwrap());
    headers
}

#[tokio::test]
async fn a_sign_on_ends_at_the_tenant_and_in_the_browser_that_began() {
    let site = Site::new();
    let sign_on = site.sign_on();
    let (acme, globex) = (site.tenant("acme").await, site.tenant("globex").await);
    let path = ReturnPath::new("/a.b?c=1.2").unwrap();
    let start = sign_on.begin(&acme, &path).unwrap();
    let browser = with_cookie(start.set_cookie());
    let another = with_cookie(sign_on.begin(&acme, &path).unwrap().set_cookie());
    let mut both = browser.clone();
    both.append(COOKIE, another[COOKIE].clone());

    let token = async || {
        let asked = sign_on.receive(start.state()).await.unwrap();
        assert_eq!((asked.tenant(), asked.return_to()), (&acme, &path));
        assert_eq!(asked.oidc_nonce(), start.oidc_nonce());
        sign_on.answer(asked, "7", "provider").await.unwrap()
    };
    for (tenant, headers, expected) in [
        (&acme, &another, HandoffRefusal::WrongBrowser),
        (&acme, &HeaderMap::new(), HandoffRefusal::WrongBrowser),
        (&acme, &both, HandoffRefusal::WrongBrowser),
        (&globex, &browser, HandoffRefusal::WrongTenant),
    ] {
        let token = token().await;
        assert_eq!(
            refused(sign_on.redeem(tenant, token.as_str(), headers).await),
            expected
        );
        let again = sign_on.redeem(&acme, token.as_str(), &browser).await;
        assert_eq!(refused(again), HandoffRefusal::Unknown, "burnt");
    }
    // Nor by the way that asks for no browser.
    let unbound = site
        .handoffs
        .redeem(&acme, &Purpose::SIGN_ON, token().await.as_str())
        .await;
    assert_eq!(refused(unbound), HandoffRefusal::WrongBrowser);
    // Nor is a token good here that is for any browser.
    let for_any = HandoffRequest::new(Purpose::SIGN_ON, "7", "provider");
    let for_any = site.handoffs.issue(&acme, for_any).await.unwrap();
    let outcome = sign_on.redeem(&acme, for_any.as_str(), &browser).await;
    assert_eq!(refused(outcome), HandoffRefusal::WrongBrowser);

    let grant = sign_on
        .redeem(&acme, token().await.as_str(), &browser)
        .await
        .unwrap();
    assert_eq!((grant.user(), grant.return_to()), ("7", path.clone()));
}

#[tokio::test]
async fn a_state_that_was_changed_or_is_old_is_refused() {
    let site = Site::new();
    let sign_on = site.sign_on();
    let acme = site.tenant("acme").await;
    let start = sign_on
        .begin(&acme, &ReturnPath::new("/orders").unwrap())
        .unwrap();
    let state = start.state();
    assert!(state.len() <= 800);
    let other_key = SignOn::new(&site.tenancy, &site.handoffs, &[7; 32]).unwrap();
    let foreign = other_key.begin(&acme, &ReturnPath::default()).unwrap();
    let mut forged = vec![
        String::new(),
        ".".repeat(10),
        state.replace("acme", "globex"),
        state.replace("/orders", "//evil.example"),
        state.replace("/orders", "/orderz"),
        state.replacen("1.", "2.", 1),
        state.to_uppercase(),
        format!("{state}x"),
        foreign.state().to_owned(),
    ];
    // Any one byte changed.
    forged.extend((0..state.len()).map(|at| {
        let mut bytes = state.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        String::from_utf8(bytes).unwrap()
    }));
    for forged in forged {
        let outcome = sign_on.receive(&forged).await;
        assert_eq!(refused(outcome), HandoffRefusal::Malformed, "{forged}");
    }
    site.clock.advance(Duration::from_secs(599));
    assert!(sign_on.receive(state).await.is_ok());
    site.clock.advance(Duration::from_secs(1));
    assert_eq!(refused(sign_on.receive(state).await), HandoffRefusal::Expired);
}

#[tokio::test]
async fn a_sign_on_of_a_tenant_that_is_not_served_ends_at_the_callback() {
    let site = Site::new();
    let sign_on = site.sign_on();
    let start = sign_on
        .begin(&site.tenant("acme").await, &ReturnPath::default())
        .unwrap();
    site.store
        .set_status(&id("acme"), TenantStatus::Suspended)
        .await
        .unwrap();
    let outcome = sign_on.receive(start.state()).await;
    assert_eq!(refused(outcome), HandoffRefusal::TenantNotServed);
    site.store.remove(&id("acme")).await.unwrap();
    let outcome = sign_on.receive(start.state()).await;
    assert_eq!(refused(outcome), HandoffRefusal::TenantNotServed);
}

#[tokio::test]
async fn the_cookie_of_a_sign_on_stays_on_its_host() {
    let site = Site::new();
    let acme = site.tenant("acme").await;
    let set = |cookie: &HeaderValue| HeaderMap::from_iter([(SET_COOKIE, cookie.clone())]);
    let secure = site.sign_on();
    let start = secure.begin(&acme, &ReturnPath::default()).unwrap();
    check_host_only(&set(start.set_cookie()), true).unwrap();
    check_host_only(&set(&secure.clear_cookie()), true).unwrap();
    let plain = site.sign_on().over_plain_http();
    let start = plain.begin(&acme, &ReturnPath::default()).unwrap();
    check_host_only(&set(start.set_cookie()), false).unwrap();
    assert!(!start.set_cookie().to_str().unwrap().contains("Secure"));
}
