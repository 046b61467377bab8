//! One binary for all integration tests of the crate.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail their test by panicking"
)]

mod app;
mod cache;
mod conformance;
mod factory;
mod recorder;
mod response_cache;
#[cfg(all(feature = "servers", target_os = "linux"))]
mod servers;
mod tenant_cache;

use axum::{
    body::Body,
    http::{Request, Response},
};

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

async fn text(response: Response<Body>) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}
