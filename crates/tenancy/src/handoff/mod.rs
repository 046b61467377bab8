//! Single-use tokens that carry a user to a tenant's host: impersonation, and single sign-on over one host.
//!
//! A session cookie that stays on its host can not be set by another one. Where the central host knows who somebody is
//! (a member of staff who helps a customer, a user whom an identity provider has signed in), it hands them over by a
//! token in a link, and the tenant's host opens the session.
//!
//! * A token is 256 random bits; the store has a hash of it. It is bound to a tenant of one incarnation, a user, a
//!   purpose and an expiry, 60 seconds unless set.
//! * It is taken out of the store before it is judged. Two who present it at once: one wins. Presented to another tenant,
//!   for another purpose or by another browser, it is refused and burnt.
//! * Forged, replayed, expired and misplaced tokens get one and the same answer, 403.
//! * What is issued, redeemed and refused is told to the log, under the target `tenancy::handoff`, and to the
//!   [listener](crate::event): who, for whom, what for; never the token.
//! * [`SignOn`] builds single sign-on for all tenants over one callback host on it, with a signed `state` that is bound
//!   to the browser, and [`ReturnPath`] for where to go afterwards.
//!
//! **Caveats.** Nothing here knows who may act for whom: check it before you issue. A token in a link is in the
//! history of the browser; it is worth nothing there once it was used, but answer its request with a redirect. Prefetching
//! mail clients burn links: do not send tokens by mail, or redeem on POST. After redeeming, begin a *new* session:
//! one that was there before may be somebody else's.
//!
//! Issuing and redeeming wait for the store, once each.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tenancy::{
//!     MemoryStore, Tenancy,
//!     handoff::{HandoffRequest, Handoffs, MemoryHandoffStore, Purpose},
//!     resolve::Subdomain,
//! };
//!
//! let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme", "globex"])?);
//! let handoffs = Handoffs::new(&tenancy, MemoryHandoffStore::new());
//!
//! // On the central host: sam of support signs in as user 7 of acme.
//! let acme = tenancy.enter(&"acme".parse()?).await?;
//! let token = handoffs.issue(&acme, HandoffRequest::impersonation("7", "sam@support")).await?;
//!
//! // On acme's host, where `acme` is what the handler extracted.
//! let grant = handoffs.redeem(&acme, &Purpose::IMPERSONATION, token.as_str()).await?;
//! assert_eq!((grant.user(), grant.issued_by()), ("7", "sam@support"));
//!
//! // Once.
//! assert!(handoffs.redeem(&acme, &Purpose::IMPERSONATION, token.as_str()).await.unwrap_err().is_refused());
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::http::{HeaderMap, header::COOKIE};
//! use tenancy::{
//!     MemoryStore, Tenancy,
//!     handoff::{Handoffs, MemoryHandoffStore, ReturnPath, SignOn},
//!     resolve::Subdomain,
//! };
//!
//! let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?);
//! let handoffs = Handoffs::new(&tenancy, MemoryHandoffStore::new());
//! let sign_on = SignOn::new(&tenancy, &handoffs, b"32 random bytes from your settings")?;
//! let acme = tenancy.enter(&"acme".parse()?).await?;
//!
//! // acme.example.com/sign-in?to=/orders: off to the provider.
//! let start = sign_on.begin(&acme, &ReturnPath::or_root("/orders"))?;
//! let cookie = start.set_cookie().to_str()?.split(';').next().unwrap_or_default().to_owned();
//!
//! // example.com/callback?code=…&state=…: which tenant asked?
//! let asked = sign_on.receive(start.state()).await?;
//! assert_eq!(asked.tenant(), &acme);
//! let token = sign_on.answer(asked, "7", "the provider").await?;
//!
//! // acme.example.com/signed-in?token=…, by the browser that began.
//! let mut headers = HeaderMap::new();
//! headers.insert(COOKIE, cookie.parse()?);
//! let grant = sign_on.redeem(&acme, token.as_str(), &headers).await?;
//! assert_eq!((grant.user(), grant.return_to().as_str()), ("7", "/orders"));
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```

mod audit;
mod error;
mod grant;
mod redeem;
mod return_path;
mod sign_on;
mod store;
mod token;

pub use audit::{HandoffAudit, HandoffRefusal, HandoffStep};
pub use error::HandoffError;
pub use grant::{Grant, HandoffRequest, Purpose};
pub use redeem::Handoffs;
pub use return_path::ReturnPath;
pub use sign_on::{SignOn, SignOnAsked, SignOnStart};
pub use store::{HandoffStore, MemoryHandoffStore};
pub use token::{HandoffToken, TokenHash};
