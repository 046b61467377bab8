//! What the tests share.

pub(crate) mod faulty;

use axum::{
    body::{Body, Bytes},
    http::{Request, Response},
};
use tenancy::routes::TenancyApp;
use tower::ServiceExt;

/// A GET for this host and path.
pub(crate) fn get(host: &str, path: &str) -> Request<Body> {
    Request::get(path)
        .header("host", host)
        .body(Body::empty())
        .unwrap()
}

/// Sends one request through the application.
pub(crate) async fn send(app: &TenancyApp, request: Request<Body>) -> Response<Body> {
    app.clone().oneshot(request).await.unwrap()
}

/// The whole body.
pub(crate) async fn body(response: Response<Body>) -> Bytes {
    axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap()
}

/// The whole body as text.
pub(crate) async fn text(response: Response<Body>) -> String {
    String::from_utf8(body(response).await.to_vec()).unwrap()
}
