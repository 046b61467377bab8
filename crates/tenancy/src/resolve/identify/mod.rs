//! What names the tenant in a request: the host, the path, a header, the query, a cookie, the origin, a claim
//! that authentication left, or a closure.
//!
//! An identifier reads the request's head and yields a key, without I/O. It gives one of four answers:
//!
//! * *absent*: what it looks for is not there. The next identifier of the [`Chain`] may try; if all are absent,
//!   the request is central where the application says so, and 404 otherwise.
//! * *a key*: it leads to a tenant or it does not, the store says.
//! * *nowhere*: what is there is well formed and can name no tenant, such as an address as the host: 404.
//! * *invalid*: what is there is malformed, or there twice: 400.
//!
//! The last two end the chain. What is present never makes room for another identifier by being wrong.
//!
//! | identifier | yields | absent when |
//! |---|---|---|
//! | [`Domain`] | `domain:shop.acme.com` | the host is central |
//! | [`Subdomain`] | `slug:acme` | the host is not one label under a base domain |
//! | [`DomainOrSubdomain`] | either | the host is a base domain, or more than one label under it |
//! | [`PathSegment`] | `slug:acme` | the path is shorter, or has another prefix |
//! | [`Header`], [`Query`], [`Cookie`] | `slug:acme`, or another kind | it is not in the request |
//! | [`Origin`] | what the host rules yield | there is no `Origin`, or its host is absent to the host rules |
//! | [`Claim`] | `id:acme` | there is no credential, or it is for no tenant |
//! | [`named`] closure | what it likes | it says so |
//!
//! None of them allocates for a request that is in normal form. Errors allocate, 64 bytes at most.
//!
//! Identifiers other than the host read what any client can write. They say which tenant is *meant*; that the
//! client may act in it is for the application's authentication to find out.

mod base;
mod chain;
mod claim;
mod cookie;
mod domain;
mod error;
mod header;
mod named;
mod origin;
mod path;
mod query;
mod shortcut;
mod subdomain;
mod value;

#[cfg(test)]
mod testing;

pub(crate) use base::is_public_suffix;
pub use chain::{Chain, ConflictPolicy};
pub use claim::Claim;
pub use cookie::Cookie;
pub use domain::Domain;
pub use error::IdentifierConfigError;
pub use header::Header;
pub use named::{Named, named};
pub use origin::Origin;
pub use path::PathSegment;
pub use query::Query;
pub(crate) use query::decode as decode_form;
pub(super) use shortcut::name_without_port;
pub use subdomain::{DomainOrSubdomain, Subdomain};
