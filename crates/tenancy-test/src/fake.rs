//! Made-up tenants, had in the one way in which tenants are had: from a stack that resolves them.

use std::{convert::Infallible, panic::resume_unwind, thread};

use axum::body::Body;
use http::{Request, Response};
use tenancy::{
    Tenancy, Tenant,
    resolve::Resolution,
    stack::{Stage, StageLayer},
};
use tenancy_core::{RequestHead, StoreError, TenantId, TenantKey, TenantRecord, TenantStore};
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;

use crate::TenantDraft;

/// A tenant of this id, active, with nothing else known of it.
///
/// Not a mock: a stack over a store of this one tenant resolves a request, on a short-lived thread with a runtime of
/// its own, and hands the tenant out. So it works in sync tests and in async ones, and there is no way to a
/// [`Tenant`] in the application that tests alone have. Two calls make two tenants that are not equal, as in two processes.
///
/// For more than an id, see [`TenantFactory`](crate::TenantFactory).
///
/// ```
/// use tenancy::scope;
///
/// # async fn example() {
/// let acme = tenancy_test::fake("acme");
/// let seen = scope::run(&acme, async { scope::current_tenant() }).await;
/// assert_eq!(seen, Some(acme));
/// # }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(example());
/// ```
///
/// # Panics
/// When `id` is no tenant id.
#[track_caller]
pub fn fake(id: &str) -> Tenant {
    id.into_tenant()
}

/// [`fake`] by the name under which one looks for it: `Tenant::fake("acme")`.
///
/// ```
/// use tenancy::Tenant;
/// use tenancy_test::FakeTenant;
///
/// assert_eq!(Tenant::fake("acme").id(), &"acme");
/// ```
pub trait FakeTenant: sealed::Sealed {
    /// As [`fake`].
    ///
    /// # Panics
    /// When `id` is no tenant id.
    fn fake(id: &str) -> Self;
}

impl FakeTenant for Tenant {
    #[track_caller]
    fn fake(id: &str) -> Self {
        fake(id)
    }
}

/// What a tenant can be made of, or is already: a name, a record, a [draft](TenantDraft), a [`Tenant`].
pub trait IntoTenant: sealed::Sealed {
    /// The tenant. All but a [`Tenant`] are made anew by each call, as [`fake`] does.
    ///
    /// # Panics
    /// When a name is no tenant id.
    #[track_caller]
    fn into_tenant(self) -> Tenant;
}

impl IntoTenant for Tenant {
    fn into_tenant(self) -> Tenant {
        self
    }
}

impl IntoTenant for &Tenant {
    fn into_tenant(self) -> Tenant {
        self.clone()
    }
}

impl IntoTenant for &str {
    #[track_caller]
    fn into_tenant(self) -> Tenant {
        TenantDraft::new(self).into_tenant()
    }
}

impl IntoTenant for TenantId {
    fn into_tenant(self) -> Tenant {
        self.as_str().into_tenant()
    }
}

impl IntoTenant for TenantDraft {
    fn into_tenant(self) -> Tenant {
        self.into_record().into_tenant()
    }
}

impl IntoTenant for TenantRecord {
    fn into_tenant(self) -> Tenant {
        let resolving = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(resolve(self)),
                Err(error) => panic!("no runtime could be started to make a tenant: {error}"),
            }
        });
        resolving.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

/// A store of one tenant, that every key leads to. It keeps the record as it is, numbers included.
struct OnlyStore(TenantRecord);

impl TenantStore for OnlyStore {
    async fn find(&self, _: &TenantKey<'_>) -> Result<Option<TenantRecord>, StoreError> {
        Ok(Some(self.0.clone()))
    }
}

/// Sends a request through the resolve stage alone: status is no obstacle here.
async fn resolve(record: TenantRecord) -> Tenant {
    let id = record.id.clone();
    let always = move |_: &RequestHead<'_>| TenantKey::id(&id).into_owned();
    let stage: StageLayer = Tenancy::new(always, OnlyStore(record)).stage(Stage::Resolve);
    let hand_out = service_fn(|request: Request<Body>| async move {
        let mut response = Response::new(Body::empty());
        let resolution = request.extensions().get::<Resolution>();
        if let Some(tenant) = resolution.and_then(Resolution::tenant) {
            response.extensions_mut().insert(tenant.clone());
        }
        Ok::<_, Infallible>(response)
    });
    let mut request = Request::new(Body::empty());
    request
        .headers_mut()
        .insert(http::header::HOST, http::HeaderValue::from_static("localhost"));
    let Ok(response) = stage.layer(hand_out).oneshot(request).await;
    match response.into_parts().0.extensions.remove::<Tenant>() {
        Some(tenant) => tenant,
        None => panic!("the stack did not resolve a tenant that its store has"),
    }
}

mod sealed {
    use tenancy::Tenant;
    use tenancy_core::{TenantId, TenantRecord};

    use crate::TenantDraft;

    pub trait Sealed {}

    impl Sealed for Tenant {}
    impl Sealed for &Tenant {}
    impl Sealed for &str {}
    impl Sealed for TenantId {}
    impl Sealed for TenantDraft {}
    impl Sealed for TenantRecord {}
}
