//! Credentials bound to tenants: a session, a token or a key of one tenant is refused by every other one.
//!
//! Authentication says who the client is. User 7 of one tenant and user 7 of another are two people, and a session
//! store, a signing key or a cookie that both tenants share does not know that. So a credential carries the tenant it
//! was given out for, a [`TenantRef`](crate::TenantRef), and is compared with the tenant that the request was
//! resolved to:
//!
//! * [`BindCredential`] is a layer behind your authentication. A closure tells it what the credential is bound to.
//! * [`Tenant::require`](crate::Tenant::require) is the same check in a handler.
//! * [`check_host_only`] is for tests: that no `Set-Cookie` of yours can reach another tenant's host.
//!
//! | request | no credential | credential without tenant | bound to this tenant | bound to another, or unreadable |
//! |---|---|---|---|---|
//! | of a tenant | passes | passes | passes | **403** |
//! | of a tenant, binding demanded | **401** | **403** | passes | **403** |
//! | central | passes | passes | – | **403** |
//! | central, binding demanded | **401** | passes | – | **403** |
//! | not resolved | **500** | **500** | **500** | **500** |
//!
//! On central hosts a credential without tenant is what an operator has, so that the demand is met by it there; a
//! tenant's credential is no good on them at all. A tenant that was recreated under its old name is another tenant:
//! credentials of the former one are refused, as long as they carry a `TenantRef` and not the id alone.
//!
//! What refuses looks like every other refusal, see [`rejection`](crate::rejection): the log says which tenants are
//! meant, the client is told nothing.
//!
//! **Caveats.** A layer can only judge what the closure tells. A credential whose tenant can not be read must be told
//! as [`CredentialClaim::Unreadable`], not as one without tenant; [`CredentialClaim::from_text`] does so.
//!
//! Passing costs what the closure costs and allocates nothing; it does not wait.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, body::Body, extract::Request, middleware::{self, Next}, response::Response, routing::get};
//! use tenancy::{MemoryStore, Tenancy, TenantRef, credential::CredentialClaim, resolve::Subdomain};
//! use tower::ServiceExt;
//!
//! /// What your authentication leaves in the request.
//! #[derive(Clone)]
//! struct SignedIn {
//!     user: u64,
//!     tenant: TenantRef,
//! }
//!
//! # async fn authenticate(mut request: Request, next: Next) -> Response {
//! #     let token = request.headers().get("authorization").and_then(|token| token.to_str().ok());
//! #     if let Some(tenant) = token.and_then(|token| token.parse().ok()) {
//! #         request.extensions_mut().insert(SignedIn { user: 7, tenant });
//! #     }
//! #     next.run(request).await
//! # }
//! let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme", "globex"])?);
//! let bound = tenancy.bind_credential(|head| match head.extensions().get::<SignedIn>() {
//!     Some(signed_in) => CredentialClaim::Bound(signed_in.tenant.clone()),
//!     None => CredentialClaim::Absent,
//! });
//! let routes = Router::new()
//!     .route("/orders", get(|| async { "orders" }))
//!     .route_layer(bound.demand())
//!     // The last one is the outermost: authentication runs before the check.
//!     .layer(middleware::from_fn(authenticate));
//! let app = tenancy.wrap(routes);
//!
//! let of_acme = tenancy.enter(&"acme".parse()?).await?.reference().to_string();
//! let orders = |host: &str, token: &str| {
//!     Request::get("/orders").header("host", host).header("authorization", token).body(Body::empty())
//! };
//! assert_eq!(app.clone().oneshot(orders("acme.example.com", &of_acme)?).await?.status(), 200);
//! assert_eq!(app.clone().oneshot(orders("globex.example.com", &of_acme)?).await?.status(), 403);
//! assert_eq!(app.oneshot(orders("acme.example.com", "nothing")?).await?.status(), 401);
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! ```
//! use tenancy::{Tenant, TenantRef, credential::CredentialRefused};
//!
//! struct Invitation {
//!     tenant: TenantRef,
//! }
//!
//! /// A handler may return the error: it is an answer.
//! async fn accept(tenant: Tenant, invitation: Invitation) -> Result<&'static str, CredentialRefused> {
//!     tenant.require(&invitation.tenant)?;
//!     Ok("welcome")
//! }
//! ```

mod bind;
mod claim;
mod cookies;
mod require;

pub use bind::{BindCredential, BindCredentialFuture, BindCredentialService};
pub use claim::CredentialClaim;
pub use cookies::{SharedCookie, check_host_only};
pub use require::CredentialRefused;
