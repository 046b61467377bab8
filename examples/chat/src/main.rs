//! A chat for two tenants: `cargo run -p example-chat`, then for example
//! `websocat ws://acme.localhost:3000/channels/general`.

use example_chat::{Channels, app};
use tenancy::{MemoryStore, Tenancy, resolve::Subdomain};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tenancy = Tenancy::new(Subdomain::of("localhost")?, MemoryStore::of(["acme", "globex"])?);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app(&tenancy, Channels::default())).await?;
    Ok(())
}
