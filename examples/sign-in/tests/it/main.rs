//! Crossed credentials: what one tenant's host gave out is taken to another's, twice, late, by somebody else.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail their test by panicking")]

mod browser;

use axum::http::{StatusCode, header::LOCATION};
use example_sign_in::{Transport, site};
use tenancy::{
    core::{TenantEntry, TenantId, TenantKey, TenantRecord, TenantStatus},
    credential::check_host_only,
};

use browser::{Answer, Browser};

const ACME: &str = "acme.localhost";
const GLOBEX: &str = "globex.localhost";
const CENTRAL: &str = "localhost";

fn browser() -> Browser {
    Browser::of(site(Transport::Tls).unwrap())
}

/// A browser in which user 7 of acme is signed in.
async fn signed_in() -> Browser {
    let mut browser = browser();
    let answer = browser.post(ACME, "/sign-in", "user=7&password=acme-7").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(browser.get(ACME, "/account").await.text, "user 7 of acme\n");
    browser
}

/// The link by which support signs in as user 7 of acme: its path.
async fn impersonation(browser: &mut Browser) -> String {
    browser
        .post(CENTRAL, "/sign-in", "user=sam&password=support")
        .await;
    let answer = browser.post(CENTRAL, "/impersonate", "tenant=acme&user=7").await;
    answer.path_on("https://acme.localhost")
}

/// Goes to the provider and as far as the link that leads back to the tenant: its path.
async fn sign_on(browser: &mut Browser, to: &str) -> String {
    let begun = browser.get(ACME, &format!("/sign-on?to={to}")).await;
    let provider = browser.get(CENTRAL, &begun.path_on("https://localhost")).await;
    let callback = browser.get(CENTRAL, &provider.callback()).await;
    callback.path_on("https://acme.localhost")
}

#[tokio::test]
async fn a_session_of_one_tenant_is_refused_by_another_even_where_the_user_ids_match() {
    let mut browser = signed_in().await;
    let crossed = browser.get_with_cookies_of(ACME, GLOBEX, "/account").await;
    assert_eq!(crossed.status, StatusCode::FORBIDDEN);
    assert!(
        !crossed.text.contains("acme") && !crossed.text.contains("globex"),
        "{}",
        crossed.text
    );
    let central = browser
        .post_with_cookies_of(ACME, CENTRAL, "/impersonate", "tenant=acme&user=7")
        .await;
    assert_eq!(central.status, StatusCode::FORBIDDEN);
    assert_eq!(
        browser.get(GLOBEX, "/account").await.status,
        StatusCode::UNAUTHORIZED,
        "no cookie went there"
    );
}

#[tokio::test]
async fn a_password_of_one_tenant_is_none_of_another() {
    let mut browser = browser();
    let answer = browser.post(GLOBEX, "/sign-in", "user=7&password=acme-7").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let answer = browser.post(GLOBEX, "/sign-in", "user=7&password=globex-7").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_session_of_support_is_none_of_a_tenant() {
    let mut browser = browser();
    browser
        .post(CENTRAL, "/sign-in", "user=sam&password=support")
        .await;
    let crossed = browser.get_with_cookies_of(CENTRAL, ACME, "/account").await;
    assert_eq!(crossed.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn every_cookie_stays_on_the_host_that_set_it() {
    for (transport, over_tls) in [
        (Transport::Tls, true),
        (Transport::PlainHttp { port: 3000 }, false),
    ] {
        let mut browser = Browser::of(site(transport).unwrap());
        let signed_in = browser.post(ACME, "/sign-in", "user=7&password=acme-7").await;
        let support = browser
            .post(CENTRAL, "/sign-in", "user=sam&password=support")
            .await;
        let begun = browser.get(ACME, "/sign-on").await;
        for answer in [signed_in, support, begun] {
            assert!(answer.headers.contains_key("set-cookie"));
            check_host_only(&answer.headers, over_tls).unwrap();
        }
    }
}

#[tokio::test]
async fn a_recreated_slug_does_not_accept_the_old_session() {
    let mut browser = signed_in().await;
    let acme = TenantId::new("acme").unwrap();
    let tenants = browser.site.tenants.clone();
    tenants.set_status(&acme, TenantStatus::Suspended).await.unwrap();
    assert_eq!(browser.get(ACME, "/account").await.status, StatusCode::FORBIDDEN);
    tenants.remove(&acme).await.unwrap();
    assert_eq!(browser.get(ACME, "/account").await.status, StatusCode::NOT_FOUND);

    let mut record = TenantRecord::new(TenantId::new("acme-2").unwrap());
    record.slug = Some("acme".into());
    let keys = vec![TenantKey::slug("acme").unwrap()];
    tenants.insert(TenantEntry { record, keys }).await.unwrap();
    assert_eq!(browser.get(ACME, "/account").await.status, StatusCode::FORBIDDEN);
    assert_eq!(
        browser.get(ACME, "/").await.status,
        StatusCode::OK,
        "the new tenant's door is open"
    );
}

#[tokio::test]
async fn support_signs_in_as_a_user_once_and_it_shows() {
    let mut browser = browser();
    let link = impersonation(&mut browser).await;
    let entered = browser.get(ACME, &link).await;
    assert_eq!(entered.status, StatusCode::SEE_OTHER);
    assert_eq!(entered.headers[LOCATION], "/account");
    assert_eq!(entered.headers["referrer-policy"], "no-referrer");
    let account = browser.get(ACME, "/account").await;
    assert_eq!(account.text, "user 7 of acme, with sam at the keys\n");

    let mut another = browser.another();
    let replayed = another.get(ACME, &link).await;
    let forged = another
        .get(ACME, &format!("/impersonate?token={}", "0".repeat(64)))
        .await;
    assert_eq!(
        (replayed.status, forged.status),
        (StatusCode::FORBIDDEN, StatusCode::FORBIDDEN)
    );
    assert_eq!(replayed.without_reference(), forged.without_reference());
    assert_eq!(
        another.get(ACME, "/account").await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn nobody_but_support_gets_a_link() {
    let mut browser = browser();
    let answer = browser.post(CENTRAL, "/impersonate", "tenant=acme&user=7").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_follow_one_link_at_once_one_gets_in() {
    let mut support = browser();
    for _ in 0..10 {
        let link = impersonation(&mut support).await;
        let follow = |mut browser: Browser, link: String| {
            tokio::spawn(async move { browser.get(ACME, &link).await.status })
        };
        let (one, two) = (
            follow(support.another(), link.clone()),
            follow(support.another(), link),
        );
        let mut statuses = [one.await.unwrap(), two.await.unwrap()];
        statuses.sort();
        assert_eq!(statuses, [StatusCode::SEE_OTHER, StatusCode::FORBIDDEN]);
    }
}

#[tokio::test]
async fn a_link_that_was_followed_to_another_tenant_is_burnt() {
    let mut browser = browser();
    let link = impersonation(&mut browser).await;
    assert_eq!(browser.get(GLOBEX, &link).await.status, StatusCode::FORBIDDEN);
    assert_eq!(browser.get(ACME, &link).await.status, StatusCode::FORBIDDEN);
    assert_eq!(
        browser.get(GLOBEX, "/account").await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn one_callback_host_signs_users_of_a_tenant_in_on_its_own_host() {
    let mut browser = browser();
    let link = sign_on(&mut browser, "/account").await;
    let entered = browser.get(ACME, &link).await;
    assert_eq!(entered.headers[LOCATION], "/account");
    assert_eq!(browser.get(ACME, "/account").await.text, "user 7 of acme\n");
    assert_eq!(
        browser.get(ACME, &link).await.status,
        StatusCode::FORBIDDEN,
        "replayed"
    );
    let crossed = browser.get_with_cookies_of(ACME, GLOBEX, "/account").await;
    assert_eq!(crossed.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_sign_on_that_another_browser_finishes_signs_nobody_in() {
    let mut attacker = browser();
    let link = sign_on(&mut attacker, "/account").await;
    let mut victim = attacker.another();
    assert_eq!(victim.get(ACME, &link).await.status, StatusCode::FORBIDDEN);
    assert_eq!(
        attacker.get(ACME, &link).await.status,
        StatusCode::FORBIDDEN,
        "burnt"
    );
}

#[tokio::test]
async fn a_user_of_one_tenant_is_not_signed_on_to_another() {
    let mut browser = browser();
    let begun = browser.get(GLOBEX, "/sign-on").await;
    let provider = browser.get(CENTRAL, &begun.path_on("https://localhost")).await;
    let callback = browser.get(CENTRAL, &provider.callback()).await;
    assert_eq!(callback.status, StatusCode::FORBIDDEN, "dana is acme's");
}

#[tokio::test]
async fn a_sign_on_never_ends_on_another_host() {
    for elsewhere in [
        "//evil.example",
        "/%5Cevil.example",
        "https://evil.example/",
        "/%09/evil.example",
    ] {
        let mut browser = browser();
        let link = sign_on(&mut browser, elsewhere).await;
        let entered = browser.get(ACME, &link).await;
        assert_eq!(entered.headers[LOCATION], "/", "{elsewhere}");
    }
}

#[tokio::test]
async fn a_page_of_one_tenant_can_not_post_to_another_host() {
    let mut browser = signed_in().await;
    let answer: Answer = browser
        .post_from(
            "https://globex.localhost",
            ACME,
            "/sign-in",
            "user=7&password=acme-7",
        )
        .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}
