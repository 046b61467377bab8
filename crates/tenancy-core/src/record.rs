use std::{any::Any, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    InvalidName, TenantId,
    attachment::{self, Attachment},
};

/// Where a tenant stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TenantStatus {
    /// Being set up; not served yet.
    Pending,
    /// Served.
    Active,
    /// Not served until resumed.
    Suspended,
    /// Deleted but not purged: not served, its names are still taken.
    Deleted,
}

impl TenantStatus {
    /// `pending`, `active`, `suspended` or `deleted`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deleted => "deleted",
        }
    }

    /// The status that [`as_str`](Self::as_str) names.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn parse(name: &str) -> Result<Self, InvalidName> {
        [Self::Pending, Self::Active, Self::Suspended, Self::Deleted]
            .into_iter()
            .find(|status| status.as_str() == name)
            .ok_or_else(|| {
                InvalidName::new(
                    "tenant status",
                    name,
                    "known are pending, active, suspended, deleted",
                )
            })
    }
}

impl fmt::Display for TenantStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a tenant, or the whole service, answers while it is in maintenance.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Maintenance {
    /// Status of the answer, 400 to 599; 503 unless set.
    pub status: u16,
    /// Seconds for `Retry-After`; 60 unless set.
    pub retry_after: u32,
    /// Where to send browsers instead of answering with a page: a path or an absolute http(s) URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Box<str>>,
    /// HTML to answer with instead of the default page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<Box<str>>,
    /// Key of the bypass, in hex: `tenancy::gate::BypassKey::from_secret(..)?.to_hex()`. The secret itself is stored
    /// nowhere. Who can read the key can make bypass cookies: `Debug` leaves it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bypass_key: Option<Box<str>>,
}

impl Default for Maintenance {
    fn default() -> Self {
        Self {
            status: 503,
            retry_after: 60,
            redirect: None,
            page: None,
            bypass_key: None,
        }
    }
}

impl fmt::Debug for Maintenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            status,
            retry_after,
            redirect,
            page,
            bypass_key,
        } = self;
        f.debug_struct("Maintenance")
            .field("status", status)
            .field("retry_after", retry_after)
            .field("redirect", redirect)
            .field("page", page)
            .field("bypass_key", &bypass_key.as_ref().map(|_| "redacted"))
            .finish()
    }
}

/// Where a tenant's data lives. Filled by the catalogue, read by isolation strategies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Placement {
    /// Name of the server, as settings name it. Empty: the default one.
    pub server: Box<str>,
    /// Database, schema or file on that server. Empty: derived from the tenant's id.
    pub database: Box<str>,
    /// Name of the strategy that keeps the data apart. Empty: the default one.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub isolation: Box<str>,
}

/// What the catalogue knows of one tenant.
///
/// Build with [`new`](Self::new) and set the public fields that are known.
///
/// ```
/// use tenancy_core::{TenantId, TenantRecord, TenantStatus};
///
/// let mut record = TenantRecord::new(TenantId::new("acme")?);
/// record.plan = Some("pro".into());
/// record.settings = Some(r#"{"colour":"green"}"#.into());
/// assert_eq!(record.status, TenantStatus::Active);
/// # Ok::<(), tenancy_core::InvalidName>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TenantRecord {
    /// The tenant's id.
    pub id: TenantId,
    /// Its short name, if that differs from the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slug: Option<Box<str>>,
    /// Where it stands in its life.
    pub status: TenantStatus,
    /// Name of its plan, for limits and features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Box<str>>,
    /// What kind of customer it is (`trial`, `internal`, …); free text of the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_type: Option<Box<str>>,
    /// The application's settings for it, as raw JSON text. Parsed at its first typed use, not here. They may hold
    /// secrets: `Debug` leaves them out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Box<str>>,
    /// Where its data lives; `None` leaves it to the strategy's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Box<Placement>>,
    /// Set while the tenant is in maintenance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Box<Maintenance>>,
    /// Change number of its last change. A record with a lower epoch never replaces one with a higher.
    #[serde(default)]
    pub epoch: u64,
    /// Change number of its creation: tells a tenant from an earlier one that had the same name.
    #[serde(default)]
    pub incarnation: u64,
    /// When it was created, in milliseconds since 1970-01-01 UTC; 0 if not known.
    #[serde(default)]
    pub created_at_ms: i64,
    /// Boxed, for most stores attach nothing and a million records are held.
    #[serde(
        rename = "data",
        default,
        skip_serializing_if = "attachment::cannot_be_written"
    )]
    attachment: Option<Box<Attachment>>,
}

impl fmt::Debug for TenantRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            slug,
            status,
            plan,
            tenant_type,
            settings,
            placement,
            maintenance,
            epoch,
            incarnation,
            created_at_ms,
            attachment,
        } = self;
        f.debug_struct("TenantRecord")
            .field("id", id)
            .field("slug", slug)
            .field("status", status)
            .field("plan", plan)
            .field("tenant_type", tenant_type)
            .field("settings", &settings.as_ref().map(|_| "redacted"))
            .field("placement", placement)
            .field("maintenance", maintenance)
            .field("epoch", epoch)
            .field("incarnation", incarnation)
            .field("created_at_ms", created_at_ms)
            .field("attachment", attachment)
            .finish()
    }
}

impl TenantRecord {
    /// An active tenant with nothing else known.
    pub fn new(id: TenantId) -> Self {
        Self {
            id,
            slug: None,
            status: TenantStatus::Active,
            plan: None,
            tenant_type: None,
            settings: None,
            placement: None,
            maintenance: None,
            epoch: 0,
            incarnation: 0,
            created_at_ms: 0,
            attachment: None,
        }
    }

    /// The short name; the id where none is set.
    pub fn slug(&self) -> &str {
        self.slug.as_deref().unwrap_or(self.id.as_str())
    }

    /// Attaches the application's own row of this tenant, or whatever else the store knows, in place of what was
    /// attached before. Allocates twice.
    ///
    /// Two records with equal fields differ if different values are attached: each call makes one more value. A store
    /// that reads the same row again may keep its `Arc` and use [`attach_shared`](Self::attach_shared), so that this is no
    /// change of the tenant. A value is kept in memory only, not in the snapshot file.
    ///
    /// ```
    /// use tenancy_core::{TenantId, TenantRecord};
    ///
    /// struct Customer { seats: u32 }
    ///
    /// let mut record = TenantRecord::new(TenantId::new("acme")?);
    /// record.attach(Customer { seats: 12 });
    /// let customer = record.attachment().and_then(|attached| attached.value::<Customer>());
    /// assert_eq!(customer.unwrap().seats, 12);
    /// # Ok::<(), tenancy_core::InvalidName>(())
    /// ```
    pub fn attach<T: Any + Send + Sync>(&mut self, value: T) {
        self.attach_shared(Arc::new(value));
    }

    /// As [`attach`](Self::attach), a value that is shared already.
    pub fn attach_shared<T: Any + Send + Sync>(&mut self, value: Arc<T>) {
        self.attachment = Some(Box::new(Attachment::of_value(value)));
    }

    /// Attaches a row as JSON text. It is parsed at its first typed use, not here, and kept in the snapshot file.
    pub fn attach_json(&mut self, text: impl Into<Box<str>>) {
        self.attachment = Some(Box::new(Attachment::of_json(text.into())));
    }

    /// Takes away what is attached.
    pub fn detach(&mut self) {
        self.attachment = None;
    }

    /// What the store attached; `None` when it attaches nothing.
    pub fn attachment(&self) -> Option<&Attachment> {
        self.attachment.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_not_shown() {
        let mut record = TenantRecord::new(TenantId::new("acme").unwrap());
        record.settings = Some(r#"{"smtp_password":"hunter2"}"#.into());
        record.maintenance = Some(Box::new(Maintenance {
            bypass_key: Some("opensesame".into()),
            ..Maintenance::default()
        }));
        record.attach_json(r#"{"iban":"DE00"}"#);
        let shown = format!("{record:?}");
        assert!(shown.contains("acme"), "{shown}");
        for secret in ["hunter2", "opensesame", "DE00"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn a_record_that_is_printed_does_not_show_the_key_of_its_bypass() {
        let mut record = TenantRecord::new(TenantId::new("acme").unwrap());
        let maintenance = Maintenance {
            bypass_key: Some("5ec2e7".into()),
            ..Maintenance::default()
        };
        record.maintenance = Some(Box::new(maintenance));
        let printed = format!("{record:?} {record:#?}");
        assert!(
            printed.contains("redacted") && !printed.contains("5ec2e7"),
            "{printed}"
        );
    }

    fn acme() -> TenantRecord {
        TenantRecord::new(TenantId::new("acme").unwrap())
    }

    #[test]
    fn an_attachment_costs_one_pointer_that_the_allocator_gave_away_before() {
        assert_eq!(size_of::<TenantRecord>(), 136, "it was 128 before");
        // With the counters of its `Arc` and the allocator's own word, both make one block of 160 bytes with glibc.
        let block =
            |record: usize| (record + 2 * size_of::<usize>() + size_of::<usize>()).next_multiple_of(16);
        assert_eq!(block(size_of::<TenantRecord>()), block(128));
    }

    #[test]
    fn a_record_with_another_attachment_is_another_record() {
        let attached = |text: &str| {
            let mut record = acme();
            record.attach_json(text);
            record
        };
        assert_eq!(attached("{}"), attached("{}"));
        assert_ne!(attached("{}"), attached("{ }"));
        assert_ne!(attached("{}"), acme());

        let mut first = acme();
        first.attach(7_u32);
        let mut second = acme();
        second.attach(7_u32);
        assert_eq!(first, first.clone());
        assert_ne!(first, second, "nobody can tell whether the values are equal");
        second.attach_shared(first.attachment().unwrap().value::<u32>().unwrap());
        assert_eq!(first, second);
        assert_ne!(first, attached("7"));
        second.detach();
        assert_eq!(second, acme());
    }

    #[test]
    fn a_value_comes_out_as_its_own_type_only() {
        let mut record = acme();
        record.attach(String::from("own"));
        let attached = record.attachment().unwrap();
        assert_eq!(attached.value::<String>().unwrap().as_str(), "own");
        assert!(attached.value::<u32>().is_none() && attached.json().is_none());
        assert_eq!(attached.type_name(), "alloc::string::String");
    }

    #[test]
    fn json_outlives_writing_a_value_does_not_and_neither_is_printed() {
        let mut record = acme();
        record.attach_json(r#"{"token":"s3cr3t"}"#);
        let read = |record: &TenantRecord| -> TenantRecord {
            serde_json::from_str(&serde_json::to_string(record).unwrap()).unwrap()
        };
        assert_eq!(read(&record), record);
        assert!(!format!("{record:?}").contains("s3cr3t"));
        record.attach("s3cr3t");
        assert!(read(&record).attachment().is_none());
        assert!(!format!("{record:?}").contains("s3cr3t"));
    }
}
