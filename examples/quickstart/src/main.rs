//! The smallest application: two tenants under their own subdomains, kept in memory.
//!
//! `cargo run -p example-quickstart`, then `curl -H 'Host: acme.localhost' http://127.0.0.1:3000/`.

use axum::{Router, routing::get};
use tenancy::{MemoryStore, Tenancy, Tenant, resolve::Subdomain};

async fn hello(tenant: Tenant) -> String {
    format!("hello from {tenant}\n")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tenants = MemoryStore::of(["acme", "globex"])?;
    let tenancy = Tenancy::new(Subdomain::of("localhost")?, tenants);
    let app = tenancy.wrap(Router::new().route("/", get(hello)));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app).await?;
    Ok(())
}
