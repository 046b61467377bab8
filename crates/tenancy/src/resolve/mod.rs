//! Which tenant a request is for, known before routing.
//!
//! * The host is checked by the rules of RFC 9110, 9112 and 9113, for HTTP/1 and HTTP/2: no `Host`, two of them, a
//!   malformed one, or one that contradicts the target is answered with 400.
//! * Identifiers read the request's head and yield a key ([`Domain`], [`Subdomain`], [`DomainOrSubdomain`],
//!   [`PathSegment`], [`Header`], [`Query`], [`Cookie`], [`Origin`], any closure), in a [`Chain`] if there are more.
//! * The key leads to a tenant: at once where it is known, through one call of the store where it is not.
//! * No tenant: 404. Could not tell: 503 with `Retry-After`. A tenant is never guessed; on your own machine see
//!   [`dev_tenant`](crate::stack::TenancyBuilder::dev_tenant).
//!
//! **Caveats.** Header, query and cookie identifiers read what any client can write: use them behind something that
//! checks that this client may act in that tenant. A forwarded host counts only from [`TrustedProxies`].
//! Stores that can be watched are held in memory completely; for others, a change is seen when the entry expires
//! (300 s), or after [`Tenancy::forget`](crate::Tenancy::forget).
//!
//! On a hit nothing is allocated, locked or awaited.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use tenancy::{MemoryStore, Tenancy, Tenant, resolve::Subdomain};
//! use tower::ServiceExt;
//!
//! let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?);
//! let app = tenancy.wrap(Router::new().route("/", get(|tenant: Tenant| async move { tenant.to_string() })));
//!
//! let request = |host| Request::get("/").header("host", host).body(Body::empty());
//! assert_eq!(app.clone().oneshot(request("acme.example.com")?).await?.status(), 200);
//! assert_eq!(app.clone().oneshot(request("other.example.com")?).await?.status(), 404);
//! assert_eq!(app.oneshot(request("acme.example.com, b.example.com")?).await?.status(), 400);
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::http::Request;
//! use tenancy::{
//!     MemoryStore, Tenancy,
//!     resolve::{Chain, ConflictPolicy, Header, PathSegment, Subdomain},
//! };
//!
//! // The host decides; a header may repeat it. Whoever sends both and means two tenants is refused.
//! let who = Chain::new(ConflictPolicy::AgreeOrRefuse)
//!     .with(Subdomain::of("example.com")?)?
//!     .with(Header::named("x-tenant")?)?;
//! let tenancy = Tenancy::new(who, MemoryStore::of(["acme", "globex"])?);
//!
//! let request = Request::get("/").header("host", "acme.example.com").header("x-tenant", "globex").body(())?;
//! let explanation = tenancy.explain(&request).await;
//! assert_eq!(explanation.status, Some(400));
//! println!("{explanation}");
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```

mod authority;
mod central;
mod dev_tenant;
mod directory;
mod exempt;
mod explain;
mod follow;
mod found;
pub mod identify;
mod lookup;
mod resolution;
mod resolver;
mod settings;
mod snapshot_file;
mod table;

pub(crate) use authority::{Authority, any_speaks_for_a_proxy};
pub use authority::{InvalidProxy, TrustedProxies};
pub(crate) use central::CentralHosts;
pub(crate) use dev_tenant::DevTenant;
pub(crate) use exempt::is_acme_challenge;
pub(crate) use explain::FirstLook;
pub use explain::{Explanation, ExplanationStep};
pub(crate) use found::{Found, room_for_extensions};
pub use identify::{
    Chain, Claim, ConflictPolicy, Cookie, Domain, DomainOrSubdomain, Header, IdentifierConfigError, Named,
    Origin, PathSegment, Query, Subdomain, named,
};
pub(crate) use identify::{decode_form, is_public_suffix};
pub use lookup::Source;
pub(crate) use lookup::{Lookup, Trust};
pub use resolution::Resolution;
pub(crate) use resolver::{Outcome, Pending, Refusal, Resolver, authority_of};
pub use settings::ResolveSettings;
