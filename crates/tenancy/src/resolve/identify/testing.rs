//! What the tests of all identifiers share.

use http::{Request, request::Builder};
use tenancy_core::{Host, Identification, Identify, RequestHead};

/// An answer as text: `absent`, `nowhere`, `invalid`, or the key.
pub(super) fn describe(answer: &Identification<'_>) -> String {
    match answer {
        Identification::Absent => "absent".to_owned(),
        Identification::Key(found) => found.key().to_string(),
        Identification::Nowhere => "nowhere".to_owned(),
        Identification::Invalid(_) => "invalid".to_owned(),
        other => panic!("an answer that no test expects: {other:?}"),
    }
}

pub(super) fn outcome(identifier: &dyn Identify, request: Builder) -> String {
    let request = request.body(()).expect("the test's request is valid");
    describe(&identifier.identify(&RequestHead::of(&request)))
}

pub(super) fn host_outcome(identifier: &dyn Identify, host: &str) -> String {
    let host = Host::parse(host.as_bytes()).expect("the test's host is valid");
    let request = Request::new(());
    describe(&identifier.identify(&RequestHead::of(&request).with_host(&host)))
}

pub(super) fn uri_outcome(identifier: &dyn Identify, uri: &str) -> String {
    outcome(identifier, Request::get(uri))
}

/// The outcome for these lines of one header, in order.
pub(super) fn header_outcome<V: AsRef<[u8]>>(identifier: &dyn Identify, name: &str, lines: &[V]) -> String {
    let request = lines.iter().fold(Request::get("/"), |request, line| {
        request.header(name, line.as_ref())
    });
    outcome(identifier, request)
}
