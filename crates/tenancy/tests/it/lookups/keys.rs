//! What it costs to read a key, and who gets to see it.

use axum::http::Request;
use tenancy::{
    MemoryStore, Tenancy,
    core::{Identification, Identify, RequestHead},
    resolve::{Cookie, Header, Query},
};

use super::{Service, get};
use crate::gates::logs;

#[test]
fn an_id_that_a_client_writes_out_is_read_without_an_allocation() {
    let request = Request::get("/?tenant=acme_1")
        .header("x-tenant", "acme_1")
        .header("cookie", "tenant=acme_1")
        .body(())
        .unwrap();
    let identifiers: [Box<dyn Identify>; 3] = [
        Box::new(Header::named("x-tenant").unwrap().as_id()),
        Box::new(Query::named("tenant").unwrap().as_id()),
        Box::new(Cookie::named("tenant").unwrap().as_id()),
    ];
    for identifier in identifiers {
        let head = RequestHead::of(&request);
        let mut seen = None;
        let used = allocation_counter::measure(|| seen = Some(identifier.identify(&head)));
        assert!(
            matches!(&seen, Some(Identification::Key(found)) if found.key().to_string() == "id:acme_1"),
            "{seen:?}"
        );
        assert_eq!(used.count_total, 0, "{}", identifier.name());
    }
}

#[tokio::test]
async fn a_key_that_may_be_a_secret_is_not_logged() {
    let by_key = || Header::named("x-key").unwrap();
    for (identifier, logged_as) in [
        (by_key().as_custom("api-key").unwrap(), "the space api-key"),
        (by_key(), "slug:k-s3cr3t"),
    ] {
        let store = MemoryStore::of(["acme"]).unwrap();
        let service = Service::built(Tenancy::builder(identifier, store));
        let captured = logs::capture();
        let mut request = get("app.test", "/");
        request.headers_mut().insert("x-key", "k-s3cr3t".parse().unwrap());
        assert_eq!(service.send(request).await.status, 404);
        let logged = captured.text();
        assert!(logged.contains(logged_as), "{logged}");
        assert_eq!(
            logged.contains("s3cr3t"),
            logged_as.contains("s3cr3t"),
            "{logged}"
        );
    }
}
