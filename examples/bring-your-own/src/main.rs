//! An identifier and a store of one's own: tenants by API key, from a directory that is asked for each new key.
//!
//! `cargo run -p example-bring-your-own`, then `curl -H 'X-Api-Key: key-of-acme' http://127.0.0.1:3000/`.

use std::collections::HashMap;

use axum::{Router, routing::get};
use tenancy::{
    Tenancy, Tenant,
    core::{RequestHead, StoreError, TenantId, TenantKey, TenantRecord, TenantStore},
    resolve::named,
};

/// A closure or a function is an identifier. Keys of another space than `slug` and `domain`: an API key that is sent as a
/// host name finds nothing.
fn by_api_key(head: &RequestHead<'_>) -> Option<TenantKey<'static>> {
    let key = head.headers().get("x-api-key")?.to_str().ok()?;
    TenantKey::custom("api-key", key.to_owned()).ok()
}

/// Stands for a service that is asked over the network.
struct Directory {
    ids_by_key: HashMap<&'static str, &'static str>,
}

impl TenantStore for Directory {
    /// `Ok(None)`: no such tenant, 404. `Err`: could not tell, 503. What is found is kept for five minutes.
    async fn find(&self, key: &TenantKey<'_>) -> Result<Option<TenantRecord>, StoreError> {
        let Some(id) = self.ids_by_key.get(key.value()) else {
            return Ok(None);
        };
        let mut record = TenantRecord::new(TenantId::new(id).map_err(StoreError::corrupt)?);
        record.plan = Some("pro".into());
        Ok(Some(record))
    }
}

async fn hello(tenant: Tenant) -> String {
    let record = tenant.record();
    format!(
        "hello from {tenant}, plan {}\n",
        record.plan.as_deref().unwrap_or("none")
    )
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = Directory {
        ids_by_key: HashMap::from([("key-of-acme", "acme"), ("key-of-globex", "globex")]),
    };
    let tenancy = Tenancy::new(named("api key", by_api_key), directory);
    let app = tenancy.wrap(Router::new().route("/", get(hello)));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app).await?;
    Ok(())
}
