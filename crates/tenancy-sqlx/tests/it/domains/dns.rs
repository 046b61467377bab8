use std::time::Duration;

use tenancy::domains::{Challenge, CheckAnswer, DnsCheck, DomainCheck as _, Verification};

use super::{
    Process,
    name_server::{Entry, NameServer},
    place,
};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const NAME: &str = "_tenancy-challenge.shop.test.";

fn texts(records: &[&[&str]]) -> Entry {
    let strings = |record: &&[&str]| record.iter().map(ToString::to_string).collect();
    Entry::Texts(records.iter().map(strings).collect())
}

async fn checked(server: &NameServer) -> CheckAnswer {
    let check = DnsCheck::with_servers([server.address]).unwrap();
    check.check(&Challenge::new("shop.test", TOKEN)).await
}

#[tokio::test]
async fn the_token_may_stand_in_one_of_several_records_and_in_pieces() {
    let server = NameServer::start().await;
    let (first, rest) = TOKEN.split_at(7);
    for (entry, proven) in [
        (texts(&[&[TOKEN]]), true),
        (texts(&[&[first, rest]]), true),
        (texts(&[&["v=spf1 -all"], &["x", "y"], &[TOKEN]]), true),
        (texts(&[&[&format!(" {TOKEN} ")]]), true),
        (texts(&[&[""]]), false),
        (texts(&[&[first], &[rest]]), false),
        (texts(&[&[&format!("{TOKEN}0")]]), false),
        (texts(&[&[&TOKEN.to_uppercase()]]), false),
        (texts(&[&["another token"]]), false),
        (texts(&[]), false),
        (Entry::NoText, false),
        (Entry::Alias("nowhere.test."), false),
    ] {
        server.set(NAME, entry);
        let answer = checked(&server).await;
        assert_eq!(answer.is_proven(), proven, "{answer}");
        assert_eq!(answer.as_str(), if proven { "proven" } else { "not_yet" });
        assert!(
            !answer.to_string().contains("another token"),
            "what is found is not quoted"
        );
    }
}

#[tokio::test]
async fn an_alias_is_followed() {
    let server = NameServer::start().await;
    server.set(NAME, Entry::Alias("proofs.elsewhere.test."));
    server.set_text("proofs.elsewhere.test.", TOKEN);
    assert_eq!(checked(&server).await, CheckAnswer::Proven);
}

#[tokio::test]
async fn the_absolute_name_is_asked_for_and_no_other() {
    let server = NameServer::start().await;
    let answer = checked(&server).await;
    assert_eq!(
        answer,
        CheckAnswer::not_yet(format!("there is no TXT record at {NAME}"))
    );
    let asked = server.asked.lock().unwrap().clone();
    assert!(
        !asked.is_empty() && asked.iter().all(|name| name == NAME),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_name_server_that_fails_proves_nothing_either_way() {
    let server = NameServer::start().await;
    for entry in [Entry::Fails(2), Entry::Fails(5), Entry::Silent] {
        server.set(NAME, entry);
        let check = DnsCheck::with_servers([server.address]).unwrap();
        let check = check.deadline(Duration::from_millis(300));
        let answer = check.check(&Challenge::new("shop.test", TOKEN)).await;
        assert_eq!(answer.as_str(), "could_not_tell", "{answer}");
    }
    assert!(DnsCheck::with_servers([]).unwrap_err().is_invalid());
}

#[tokio::test]
async fn who_puts_the_token_into_dns_gets_the_domain_and_nobody_else() {
    let server = NameServer::start().await;
    let (place, clock) = place().await;
    let process = Process::start(&place, &clock).await;
    let check = DnsCheck::with_servers([server.address]).unwrap();
    let claim = process.claim("acme", "shop.test").await.unwrap();
    let thief = process.claim("globex", "shop.test").await.unwrap();
    server.set_text(&claim.challenge().dns_name(), &claim.token);

    let outcome = process.verify("globex", "shop.test", &check).await.unwrap();
    assert!(matches!(outcome, Verification::NotYet { .. }), "{outcome:?}");
    assert_ne!(thief.token, claim.token);
    // What is kept of no answer does not hold up the next.
    assert!(
        process
            .verify("acme", "shop.test", &check)
            .await
            .unwrap()
            .is_verified()
    );
    assert!(
        process
            .verify("globex", "shop.test", &check)
            .await
            .unwrap_err()
            .is_not_found()
    );
    assert_eq!(process.leads_to("shop.test").await.as_deref(), Ok("acme"));
}
