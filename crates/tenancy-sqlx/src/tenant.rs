use serde::{Deserialize, Serialize};
use tenancy_core::{Placement, TenantId, TenantRecord, TenantStatus};

/// A tenant to create. Build with [`new`](Self::new) and set the public fields that are known.
///
/// ```
/// let mut acme = tenancy_sqlx::NewTenant::new("acme");
/// acme.plan = Some("pro".into());
/// acme.settings = Some(r#"{"colour":"green"}"#.into());
/// acme.domains = vec!["shop.acme.example".into()];
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewTenant {
    /// Its short name: one lower-case DNS label of at most 48 characters.
    pub slug: String,
    /// Its id. Unset, it is the slug, or `slug-2`, `slug-3`, … if that id was ever used.
    pub id: Option<TenantId>,
    /// Name of its plan, at most 64 characters.
    pub plan: Option<String>,
    /// What kind of customer it is, at most 64 characters.
    pub tenant_type: Option<String>,
    /// The application's settings for it: JSON text of at most 64 KiB.
    pub settings: Option<String>,
    /// Where its data lives; `None` leaves it to the strategy's default.
    pub placement: Option<Placement>,
    /// Its domains; Unicode is accepted. The first one becomes the primary one.
    pub domains: Vec<String>,
    /// Its first status; active unless set. `Deleted` is refused.
    pub status: TenantStatus,
}

impl NewTenant {
    /// An active tenant with a slug and nothing else. The slug is checked when the tenant is created.
    pub fn new(slug: impl Into<String>) -> Self {
        Self {
            slug: slug.into(),
            id: None,
            plan: None,
            tenant_type: None,
            settings: None,
            placement: None,
            domains: Vec::new(),
            status: TenantStatus::Active,
        }
    }
}

/// What to change of a tenant. `None` leaves a field as it is; `Some(None)` clears it.
///
/// ```
/// let mut patch = tenancy_sqlx::TenantPatch::default();
/// patch.plan = Some(Some("pro".into()));
/// patch.settings = Some(None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TenantPatch {
    /// A new short name. The old one is free at once.
    pub slug: Option<String>,
    /// The plan.
    pub plan: Option<Option<String>>,
    /// The type.
    pub tenant_type: Option<Option<String>>,
    /// The settings, as JSON text.
    pub settings: Option<Option<String>>,
    /// Where the data lives. Changing it moves no data.
    pub placement: Option<Option<Placement>>,
}

/// A tenant as operators see it: its record, all its domains, and when it last changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TenantDetails {
    /// What requests see.
    pub record: TenantRecord,
    /// Its domains: the primary one first, then by name.
    pub domains: Vec<DomainDetails>,
    /// When it last changed, in milliseconds since 1970-01-01 UTC.
    pub updated_at_ms: i64,
}

/// One domain of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DomainDetails {
    /// The domain in canonical form.
    pub domain: String,
    /// Whether it leads to the tenant.
    pub is_active: bool,
    /// Whether it is the one to link to.
    pub is_primary: bool,
    /// When it was added, in milliseconds since 1970-01-01 UTC.
    pub created_at_ms: i64,
}

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
impl TenantDetails {
    pub(crate) fn new(record: TenantRecord, domains: Vec<DomainDetails>, updated_at_ms: i64) -> Self {
        Self {
            record,
            domains,
            updated_at_ms,
        }
    }
}
