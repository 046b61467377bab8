//! What it costs to read a key.

use axum::http::Request;
use tenancy::{
    core::{Identification, Identify, RequestHead},
    resolve::{Cookie, Header, Query},
};

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
