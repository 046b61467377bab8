//! Claims of custom domains, by the binary.

use std::{
    net::UdpSocket,
    sync::{Arc, Mutex},
};

use serde_json::Value;

use crate::support::Workplace;

/// A name server for one TXT record: every name has it, or none. Stops with the test's process.
struct NameServer {
    address: String,
    text: Arc<Mutex<Option<String>>>,
}

impl NameServer {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let text = Arc::<Mutex<Option<String>>>::default();
        let known = Arc::clone(&text);
        std::thread::spawn(move || {
            let mut asked = [0; 1500];
            while let Ok((_, client)) = socket.recv_from(&mut asked) {
                let answer = answer(&asked, known.lock().unwrap().as_deref());
                socket.send_to(&answer, client).unwrap();
            }
        });
        Self { address, text }
    }
}

fn answer(asked: &[u8], text: Option<&str>) -> Vec<u8> {
    let question_end = 12 + asked[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    let (count, code) = (u8::from(text.is_some()), if text.is_some() { 0 } else { 3 });
    let mut answer = vec![asked[0], asked[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
    answer.extend_from_slice(&asked[12..question_end]);
    if let Some(text) = text {
        let length = u8::try_from(text.len()).unwrap();
        answer.extend_from_slice(&[0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 0, 0, length + 1, length]);
        answer.extend_from_slice(text.as_bytes());
    }
    answer
}

#[test]
fn a_claim_tells_what_to_do_and_is_listed_until_it_is_taken_back() {
    let place = Workplace::with_tenants();
    let told = place.done(&["domains", "claim", "globex", "Käse.example"]);
    let claim = place.json(&["domains", "claim", "globex", "käse.example"]);
    let token = claim["token"].as_str().unwrap();
    assert_eq!(token.len(), 32);
    assert_eq!(claim["id"], "globex");
    assert_eq!(claim["domain"], "xn--kse-qla.example");
    assert_eq!(claim["dns_name"], "_tenancy-challenge.xn--kse-qla.example.");
    assert_eq!(claim["made_by"], "cli:ada");
    let record = format!("  _tenancy-challenge.xn--kse-qla.example.  TXT  \"{token}\"\n");
    assert!(
        told.starts_with("Tenant globex claims: xn--kse-qla.example\n"),
        "{told}"
    );
    assert!(told.contains(&record), "{told}");
    assert!(
        told.ends_with("domains verify globex xn--kse-qla.example\n"),
        "{told}"
    );

    place.done(&["domains", "claim", "acme", "other.example"]);
    let listed = |arguments: &[&str]| -> Vec<String> {
        let list = place.json(arguments);
        let domain = |claim: &Value| claim["domain"].as_str().unwrap().to_owned();
        list["claims"].as_array().unwrap().iter().map(domain).collect()
    };
    assert_eq!(
        listed(&["domains", "claims"]),
        ["other.example", "xn--kse-qla.example"]
    );
    assert_eq!(listed(&["domains", "claims", "globex"]), ["xn--kse-qla.example"]);
    let table = place.done(&["domains", "claims", "globex"]);
    assert!(
        table.starts_with("ID      DOMAIN               LAST CHECK  EXPIRES"),
        "{table}"
    );
    assert_eq!(
        place.json(&["domains", "list", "globex"])["domains"],
        serde_json::json!([])
    );

    let taken_back = place.done(&["domains", "unclaim", "globex", "KÄSE.example"]);
    assert_eq!(taken_back, "Tenant globex claims no more: xn--kse-qla.example\n");
    assert_eq!(
        place.done(&["domains", "claims", "globex"]),
        "There is no claim.\n"
    );

    place.fails(&["domains", "unclaim", "globex", "käse.example"], 3);
    place.fails(&["domains", "claim", "globex", "shop.acme.example"], 4);
    place.fails(&["domains", "claim", "globex", "127.0.0.1"], 5);
    place.fails(&["domains", "claim", "globex", "shop.localhost"], 5);
    place.fails(&["domains", "claim", "nobody", "a.example"], 3);
    place.fails(&["domains", "claims", "nobody"], 3);
}

#[test]
fn the_services_own_names_are_those_of_the_settings() {
    let place = Workplace::with_tenants();
    place.write(
        "s.toml",
        "[tenancy]\nbase_domains = [\"service.example\"]\ncentral_hosts = [\"www.service.test\", \"127.0.0.1\"]\n",
    );
    let claim = |domain| ["domains", "claim", "acme", domain, "--settings", "s.toml"];
    for own in ["service.example", "a.b.service.example", "www.service.test"] {
        place.fails(&claim(own), 5);
    }
    place.done(&claim("service.test"));
}

#[cfg(feature = "dns")]
#[test]
fn a_claim_is_verified_by_the_name_server_that_is_named() {
    let place = Workplace::with_tenants();
    let server = NameServer::start();
    let verify = [
        "domains",
        "verify",
        "globex",
        "new.example",
        "--dns-server",
        &server.address,
    ];
    place.fails(&verify, 3);
    let claim = place.json(&["domains", "claim", "globex", "new.example"]);

    let not_yet = place.run(&verify);
    assert_eq!((not_yet.code, not_yet.err.as_str()), (1, ""));
    assert_eq!(
        not_yet.out,
        "Tenant globex does not have new.example yet: there is no TXT record at _tenancy-challenge.new.example.\n"
    );
    let seen = place.json(&["domains", "claims", "globex"]);
    assert!(
        seen["claims"][0]["last_error"]
            .as_str()
            .unwrap()
            .contains("no TXT record")
    );
    assert!(seen["claims"][0]["last_checked_at"].is_string());

    *server.text.lock().unwrap() = Some(claim["token"].as_str().unwrap().to_owned());
    let verified = place.json(&verify);
    assert_eq!(
        (&verified["verified"], &verified["state"]),
        (&true.into(), &"verified".into())
    );
    assert_eq!(place.done(&verify), "Tenant globex has: new.example\n");
    let shown = place.json(&["tenants", "show", "new.example"]);
    assert_eq!(shown["id"], "globex");
    place.fails(
        &[
            "domains",
            "verify",
            "acme",
            "new.example",
            "--dns-server",
            "127.0.0.1:9",
        ],
        3,
    );
}
