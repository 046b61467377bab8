//! What a million tenants and a million strangers cost. Each runs in a fresh process and prints one line of JSON.

use std::{
    panic,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Waker},
};

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use stats_alloc::Region;
use tenancy::{
    MemoryStore, Tenancy,
    core::{ManualClock, TenantStore},
    routes::TenancyApp,
};
use tokio::runtime::Runtime;
use tower::ServiceExt;

use crate::{
    ALLOCATOR, Failure,
    process::Process,
    request::BrowserRequest,
    scenario::{bare, identifier, say, stack_over},
    stores::{CountingStore, GeneratedStore},
};

fn runtime() -> Result<Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

/// Memory that holding tenants takes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) tenants: usize,
    /// Growth of the resident memory, in bytes.
    pub(crate) resident: i64,
    /// Growth of what the allocator was asked for, in bytes.
    pub(crate) heap: isize,
    /// Bytes of one tenant's own id and keys.
    pub(crate) own_text: usize,
    /// The most that one of the changes afterwards allocated, in bytes.
    pub(crate) largest_change: usize,
}

/// Loads `tenants` tenants from a store that holds none itself, then gives some of them one more key.
pub(crate) fn memory(tenants: usize, with_domains: bool) -> Result<(), Failure> {
    const CHANGES: usize = 200;
    let runtime = runtime()?;
    // Whatever a first stack sets up for the whole process is not the tenants'.
    drop(stack_over(&runtime, GeneratedStore::new(10, with_domains))?);

    let store = GeneratedStore::new(tenants, with_domains);
    let region = Region::new(ALLOCATOR);
    let before = Process::this().resident()?;
    let tenancy = stack_over(&runtime, store.clone())?;
    let resident = Process::this().resident()?.cast_signed() - before.cast_signed();
    let loaded = region.change();
    let heap = loaded.bytes_allocated.cast_signed() - loaded.bytes_deallocated.cast_signed();
    if tenancy.status().tenants != tenants {
        return Err(format!("{} of {tenants} tenants were loaded", tenancy.status().tenants).into());
    }

    let mut largest_change = 0;
    for change in 1..=CHANGES {
        let region = Region::new(ALLOCATOR);
        runtime.block_on(store.add_key(change * (tenants / CHANGES) - 1, change as u64))?;
        largest_change = largest_change.max(region.change().bytes_allocated);
    }
    say_json(&Memory {
        tenants,
        resident,
        heap,
        own_text: store.own_text(),
        largest_change,
    })
}

/// What strangers cost.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Flood {
    pub(crate) hosts: usize,
    /// Growth of the resident memory, in bytes.
    pub(crate) resident: i64,
    pub(crate) store_calls: u64,
    /// How many were told that there is no such tenant.
    pub(crate) not_found: u64,
    /// How many were told to come again later.
    pub(crate) unavailable: u64,
}

/// Sends one request for each of `hosts` hosts that nobody has.
pub(crate) fn flood(hosts: usize, finds_only: bool) -> Result<(), Failure> {
    let runtime = runtime()?;
    let store = CountingStore::new(MemoryStore::of(["acme"])?);
    let store = if finds_only { store.finding_only() } else { store };
    let (app, _tenancy) = runtime.block_on(app_with_still_clock(store.clone()))?;

    let send = |host: String| {
        runtime.block_on(async {
            let request = BrowserRequest::to(&host).build()?;
            Ok::<_, Failure>(app.clone().oneshot(request).await?.status())
        })
    };
    // Lazy set-up and the allocator's first pages are not the strangers'.
    for number in 0..100 {
        send(format!("first-{number}.example.com"))?;
    }
    let mut flood = Flood {
        hosts,
        resident: 0,
        store_calls: 0,
        not_found: 0,
        unavailable: 0,
    };
    let calls_before = if finds_only { 0 } else { store.calls() };
    let before = Process::this().resident()?;
    for number in 0..hosts {
        match send(format!("unknown-{number}.localhost:8000"))? {
            StatusCode::NOT_FOUND => flood.not_found += 1,
            StatusCode::SERVICE_UNAVAILABLE => flood.unavailable += 1,
            other => return Err(format!("a stranger was answered with {other}").into()),
        }
    }
    flood.resident = Process::this().resident()?.cast_signed() - before.cast_signed();
    flood.store_calls = store.calls() - calls_before;
    say_json(&flood)
}

/// The clock stands still: the budget for unknown keys is its burst, and no rate adds to it.
async fn app_with_still_clock(store: impl TenantStore) -> Result<(TenancyApp, Tenancy), Failure> {
    let tenancy = Tenancy::builder(identifier()?, store)
        .clock(ManualClock::new())
        .build()?;
    tenancy.ready().await;
    Ok((tenancy.wrap(bare()), tenancy))
}

/// What clients that hang up during one look-up leave behind.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct HangUps {
    pub(crate) store_calls: u64,
    pub(crate) panics: u64,
}

/// Lets `clients` ask for one tenant that is not known yet, and go away before the store has answered.
pub(crate) fn hang_ups(clients: usize) -> Result<(), Failure> {
    let panics = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&panics);
    panic::set_hook(Box::new(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
    }));
    let store = CountingStore::new(MemoryStore::of(["acme"])?).finding_only();
    store.hold(true);
    let request = BrowserRequest::to("acme.localhost:8000");
    runtime()?.block_on(async {
        let (app, _tenancy) = app_with_still_clock(store.clone()).await?;
        let mut waiting = Vec::new();
        for _ in 0..clients {
            let mut future = Box::pin(app.clone().oneshot(request.build()?));
            let mut context = Context::from_waker(Waker::noop());
            if future.as_mut().poll(&mut context).is_ready() {
                return Err("a request did not wait for the store".into());
            }
            waiting.push(future);
        }
        tokio::task::yield_now().await;
        drop(waiting);
        store.hold(false);
        // The answer that nobody waited for serves the next client.
        let response = pin!(app.oneshot(request.build()?)).await?;
        if response.status() != StatusCode::OK {
            return Err(format!("the client after them was answered with {}", response.status()).into());
        }
        Ok::<_, Failure>(())
    })?;
    say_json(&HangUps {
        store_calls: store.calls(),
        panics: panics.load(Ordering::SeqCst),
    })
}

fn say_json(value: &impl Serialize) -> Result<(), Failure> {
    say(&serde_json::to_string(value)?)
}
