//! Another order of stages, a layer of one's own in between, and an order that is refused.
//!
//! `cargo run -p example-custom-order`, then `curl -i -H 'Host: acme.localhost' http://127.0.0.1:3000/`.

use std::{
    io::{self, Write},
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderName, HeaderValue},
    routing::get,
};
use tenancy::{
    MemoryStore, Tenancy, Tenant,
    resolve::Subdomain,
    stack::{Order, Stage},
};
use tower_http::set_header::SetResponseHeaderLayer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A cache that is opened before the tenant is known would be shared by all: refused, with all mistakes at once.
    if let Err(mistakes) = Order::from_names(["cache_scope", "resolve", "gaet"]) {
        writeln!(io::stdout(), "refused, as it should be: {mistakes}\n")?;
    }

    // Names as a settings file has them; the order of the stages, outside in.
    let order = Order::from_names([
        "maintenance",
        "resolve",
        "gate",
        "body_limit",
        "deadline",
        "cache_scope",
    ])?;

    // Right behind the resolve stage: answers of unknown hosts do not get the header, all others do.
    let version = SetResponseHeaderLayer::overriding(
        HeaderName::from_static("x-version"),
        HeaderValue::from_static("7"),
    );

    let tenancy = Tenancy::builder(Subdomain::of("localhost")?, MemoryStore::of(["acme", "globex"])?)
        .order(order)
        .insert_after(Stage::Resolve, version)
        .body_limit(64 * 1024)
        .deadline(Duration::from_secs(5))
        .build()?;
    writeln!(io::stdout(), "order in force: {}", tenancy.order())?;

    let hello = get(|tenant: Tenant| async move { format!("hello from {tenant}\n") });
    let app = tenancy.wrap(Router::new().route("/", hello));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app).await?;
    Ok(())
}
