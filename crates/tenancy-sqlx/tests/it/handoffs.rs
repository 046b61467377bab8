//! Single-use tokens in the catalogue's file, shared by several processes (here: by several opened stores).

use std::{sync::Arc, time::Duration};

use tenancy::{
    Tenancy, Tenant,
    handoff::{Grant, HandoffError, HandoffRefusal, HandoffRequest, Handoffs, Purpose},
    resolve::Subdomain,
};
use tenancy_core::{Clock, ManualClock};
use tenancy_sqlx::NewTenant;

use crate::support::{Place, on_every_database, run};

on_every_database!(
    of_two_processes_that_redeem_one_token_at_once_one_wins,
    a_token_burns_for_all_processes_and_expired_ones_make_room,
);

#[derive(Clone, Debug, Default)]
struct Hand(Arc<ManualClock>);

impl Clock for Hand {
    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn unix_time(&self) -> Duration {
        self.0.unix_time()
    }
}

/// One process over the file.
#[derive(Clone)]
struct Node {
    tenancy: Tenancy,
    handoffs: Handoffs,
}

impl Node {
    async fn over(place: &Place, clock: &Hand) -> Self {
        let store = place.open().await;
        let tokens = store.handoffs().await.unwrap();
        let tenancy = Tenancy::builder(Subdomain::of("app.test").unwrap(), store)
            .clock(clock.clone())
            .build()
            .unwrap();
        let handoffs = Handoffs::new(&tenancy, tokens);
        Self { tenancy, handoffs }
    }

    async fn tenant(&self, id: &str) -> Tenant {
        self.tenancy.enter(&id.parse().unwrap()).await.unwrap()
    }

    async fn issue(&self, user: &str) -> String {
        let request = HandoffRequest::impersonation(user, "sam@support");
        let token = self
            .handoffs
            .issue(&self.tenant("acme").await, request)
            .await
            .unwrap();
        token.as_str().to_owned()
    }

    async fn redeem(&self, tenant: &str, token: &str) -> Result<Grant, HandoffError> {
        let tenant = self.tenant(tenant).await;
        self.handoffs
            .redeem(&tenant, &Purpose::IMPERSONATION, token)
            .await
    }
}

async fn with_tenants(place: Place) -> Place {
    let store = place.open().await;
    for id in ["acme", "globex"] {
        store.create(NewTenant::new(id)).await.unwrap();
    }
    store.close().await;
    place
}

async fn of_two_processes_that_redeem_one_token_at_once_one_wins(place: Place) {
    let place = with_tenants(place).await;
    let clock = Hand::default();
    let nodes = [Node::over(&place, &clock).await, Node::over(&place, &clock).await];
    for round in 0..20 {
        let token = nodes[round % 2].issue("7").await;
        let tries = nodes.clone().map(|node| {
            let token = token.clone();
            tokio::spawn(async move { node.redeem("acme", &token).await })
        });
        let mut won = 0;
        for outcome in tries {
            match outcome.await.unwrap() {
                Ok(grant) => won += usize::from(grant.user() == "7"),
                Err(error) => assert_eq!(error.refusal(), Some(HandoffRefusal::Unknown), "{error:?}"),
            }
        }
        assert_eq!(won, 1);
    }
}

async fn a_token_burns_for_all_processes_and_expired_ones_make_room(place: Place) {
    let place = with_tenants(place).await;
    let clock = Hand::default();
    let (here, there) = (Node::over(&place, &clock).await, Node::over(&place, &clock).await);
    let burnt = here.issue("7").await;
    let refusal = there.redeem("globex", &burnt).await.unwrap_err().refusal();
    assert_eq!(refusal, Some(HandoffRefusal::WrongTenant));
    let refusal = here.redeem("acme", &burnt).await.unwrap_err().refusal();
    assert_eq!(refusal, Some(HandoffRefusal::Unknown));

    let kept = here.issue("it's \"7\"").await;
    assert_eq!(there.redeem("acme", &kept).await.unwrap().user(), "it's \"7\"");

    let late = here.issue("8").await;
    clock.0.advance(Duration::from_secs(60));
    let refusal = there.redeem("acme", &late).await.unwrap_err().refusal();
    assert_eq!(refusal, Some(HandoffRefusal::Expired));
    let forgotten = here.issue("9").await;
    clock.0.advance(Duration::from_secs(60));
    here.issue("10").await;
    let refusal = there.redeem("acme", &forgotten).await.unwrap_err().refusal();
    assert_eq!(
        refusal,
        Some(HandoffRefusal::Unknown),
        "deleted when room was made"
    );
}

#[tokio::test]
async fn a_full_file_refuses_new_tokens_and_takes_none_away() {
    let place = with_tenants(Place::new()).await;
    let clock = Hand::default();
    let node = Node::over(&place, &clock).await;
    let kept = node.issue("7").await;
    run(
        &mut place.raw().await,
        "WITH RECURSIVE others(number) AS (SELECT 2 UNION ALL SELECT number + 1 FROM others WHERE number < 100000)
         INSERT INTO tenancy_handoffs (token_hash, expires_at_ms, grant_json)
             SELECT randomblob(32), (SELECT max(expires_at_ms) FROM tenancy_handoffs), '{}' FROM others",
    )
    .await;
    let acme = node.tenant("acme").await;
    let one_more = async || {
        let request = HandoffRequest::impersonation("8", "sam@support");
        node.handoffs.issue(&acme, request).await
    };
    assert!(one_more().await.unwrap_err().is_unavailable());
    assert_eq!(node.redeem("acme", &kept).await.unwrap().user(), "7");
    one_more().await.unwrap();
    assert!(one_more().await.unwrap_err().is_unavailable());
    clock.0.advance(Duration::from_secs(60));
    one_more().await.unwrap();
}

#[tokio::test]
async fn the_file_holds_no_token_and_a_closed_store_is_unavailable() {
    let place = with_tenants(Place::new()).await;
    let store = place.open().await;
    let tenancy = Tenancy::new(Subdomain::of("app.test").unwrap(), store.clone());
    let handoffs = Handoffs::new(&tenancy, store.handoffs().await.unwrap());
    let node = Node { tenancy, handoffs };
    let token = node.issue("a user to be found").await;
    store.close().await;
    let file = std::fs::read(place.path()).unwrap();
    let has = |bytes: &[u8]| file.windows(bytes.len()).any(|there| there == bytes);
    assert!(has(b"a user to be found"), "the file was written");
    let digits = token
        .as_bytes()
        .chunks(2)
        .map(|digits| std::str::from_utf8(digits).unwrap());
    let secret: Vec<u8> = digits
        .map(|digits| u8::from_str_radix(digits, 16).unwrap())
        .collect();
    assert!(!has(token.as_bytes()) && !has(&secret));
    assert!(node.redeem("acme", &token).await.unwrap_err().is_unavailable());
}
