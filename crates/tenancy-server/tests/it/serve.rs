//! Listening. How serving ends is tested on a real process, by the example server.

use std::{error::Error, net::SocketAddr};

use tenancy_server::serve::{self, End};

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn port_0_takes_a_free_port_and_the_listener_knows_it() {
    let listener = serve::bind(address("127.0.0.1:0")).await.unwrap();
    assert_ne!(listener.local_addr().unwrap().port(), 0);
}

#[tokio::test]
async fn a_taken_port_is_named_with_what_to_do() {
    let listener = serve::bind(address("127.0.0.1:0")).await.unwrap();
    let taken = listener.local_addr().unwrap();
    let error = serve::bind(taken).await.unwrap_err();
    assert!(error.is_in_use());
    let text = error.to_string();
    assert!(
        text.contains(&taken.to_string()) && text.contains("choose another port"),
        "{text}"
    );
    assert!(error.source().is_some(), "the cause is kept");
}

#[tokio::test]
async fn an_address_of_another_machine_is_not_mistaken_for_a_taken_port() {
    // TEST-NET-1 of RFC 5737: no machine has it.
    let error = serve::bind(address("192.0.2.1:0")).await.unwrap_err();
    assert!(!error.is_in_use());
    let text = error.to_string();
    assert!(
        text.contains("192.0.2.1") && !text.contains("another port"),
        "{text}"
    );
}

#[test]
fn the_two_ends_are_told_apart() {
    assert_ne!(End::Drained.to_string(), End::CutOff.to_string());
}
