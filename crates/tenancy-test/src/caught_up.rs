//! Waiting for a stack that follows a store.

use std::time::Duration;

use tenancy::Tenancy;
use tenancy_core::{ChangeBatch, ChangeMark, TenantStore};

/// How long a follower may take before the test fails.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits until a stack has seen all that its store holds now, by whatever way it got there: another process, raw SQL.
///
/// Sleeps nowhere: the store's signal wakes the stack, and the stack says when it is done. `store` is the one that the stack was
/// built with, or a clone of it. Returns at once for a store that cannot be watched. Changes made through the store itself need no
/// such wait: they return when the stacks of this process have seen them.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use tenancy::{MemoryStore, Tenancy, resolve::Subdomain};
///
/// let store = MemoryStore::of(["acme"])?;
/// let tenancy = Tenancy::new(Subdomain::of("example.com")?, store.clone());
/// tenancy_test::caught_up(&tenancy, &store).await;
/// assert_eq!(tenancy.status().tenants, 1);
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
/// ```
///
/// # Panics
/// When the store does not say where its log stands, or the stack takes more than a minute.
pub async fn caught_up(tenancy: &Tenancy, store: &impl TenantStore) {
    let Some(signal) = store.signal() else {
        return;
    };
    tenancy.ready().await;
    let mark = match store.changes(ChangeMark::NONE, 1).await {
        Ok(ChangeBatch::Reload { mark }) => mark,
        Ok(other) => panic!("the store does not say where its log stands, but {other:?}"),
        Err(error) => panic!("the store does not say where its log stands: {error:?}"),
    };
    assert!(
        signal.announce(mark.number, LIMIT).await,
        "the stack has not seen change {} of its store within {LIMIT:?}",
        mark.number
    );
}
