use std::{
    any::{Any, type_name},
    error::Error,
    fmt,
    sync::Arc,
};

use serde::de::DeserializeOwned;
use tenancy_core::{TenantId, TenantRecord};

use super::Tenant;

impl Tenant {
    /// The application's own row of this tenant, as the store attached it.
    ///
    /// `SqlStore` over your own tables attaches the columns that the adoption names; a store of your own attaches what
    /// it likes with [`TenantRecord::attach`] or [`attach_json`](TenantRecord::attach_json). Text is parsed at the first
    /// use after a change, and the last type asked for is kept: further calls copy a pointer. Does no I/O.
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use tenancy::{MemoryStore, Tenancy, core::{TenantEntry, TenantId, TenantRecord}, resolve::Subdomain};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Customer { name: String }
    ///
    /// let mut record = TenantRecord::new(TenantId::new("acme")?);
    /// record.attach_json(r#"{"name":"Acme Ltd"}"#);
    /// let tenants = MemoryStore::from_entries([TenantEntry { record, keys: Vec::new() }])?;
    ///
    /// let tenancy = Tenancy::new(Subdomain::of("localhost")?, tenants);
    /// let acme = tenancy.enter(&TenantId::new("acme")?).await?;
    /// assert_eq!(acme.data::<Customer>()?.name, "Acme Ltd");
    /// # Ok(())
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
    /// ```
    ///
    /// # Errors
    /// When nothing is attached, a value of another type is, or the text does not have this shape. The error names the
    /// tenant and the type, and is for logs.
    pub fn data<T>(&self) -> Result<Arc<T>, DataError>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let record = self.record();
        let Some(text) = record.attachment().and_then(|attached| attached.json()) else {
            return self.attached_to::<T>(&record);
        };
        self.block
            .extras()
            .data
            .get(&record, text)
            .map_err(|source| self.data_error::<T>(Kind::Unreadable(source)))
    }

    /// As [`data`](Self::data), for values that cannot be parsed from text: what a store attached with
    /// [`TenantRecord::attach`]. Copies a pointer.
    ///
    /// # Errors
    /// When nothing is attached, or not a value of this type.
    pub fn attached<T>(&self) -> Result<Arc<T>, DataError>
    where
        T: Any + Send + Sync,
    {
        self.attached_to(&self.record())
    }

    fn attached_to<T: Any + Send + Sync>(&self, record: &TenantRecord) -> Result<Arc<T>, DataError> {
        let attached = record
            .attachment()
            .ok_or_else(|| self.data_error::<T>(Kind::Missing))?;
        attached
            .value()
            .ok_or_else(|| self.data_error::<T>(Kind::OtherType(attached.type_name())))
    }

    fn data_error<T>(&self, kind: Kind) -> DataError {
        DataError {
            tenant: self.id().clone(),
            wanted: type_name::<T>(),
            kind,
        }
    }
}

#[derive(Debug)]
enum Kind {
    Missing,
    OtherType(&'static str),
    Unreadable(serde_json::Error),
}

/// A tenant's own row is not there, or is not of the type that was asked for.
#[derive(Debug)]
pub struct DataError {
    tenant: TenantId,
    wanted: &'static str,
    kind: Kind,
}

impl DataError {
    /// Whose row it is.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Whether the store attached nothing to this tenant.
    pub fn is_missing(&self) -> bool {
        matches!(self.kind, Kind::Missing)
    }

    /// Whether the store attached something of another type.
    pub fn is_other_type(&self) -> bool {
        matches!(self.kind, Kind::OtherType(_))
    }

    /// Whether the attached text does not have the shape of the type.
    pub fn is_unreadable(&self) -> bool {
        matches!(self.kind, Kind::Unreadable(_))
    }
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, wanted, kind } = self;
        match kind {
            Kind::Missing => write!(f, "tenant {tenant} has no data to read as {wanted}"),
            Kind::OtherType(found) => write!(f, "the data of tenant {tenant} is {found}, not {wanted}"),
            Kind::Unreadable(_) => write!(f, "the data of tenant {tenant} can not be read as {wanted}"),
        }
    }
}

impl Error for DataError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            Kind::Unreadable(source) => Some(source),
            Kind::Missing | Kind::OtherType(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::tenant::tests::tenant;

    use super::*;

    #[derive(serde::Deserialize, Debug, PartialEq)]
    struct Customer {
        name: String,
    }

    fn with(edit: impl FnOnce(&mut TenantRecord)) -> Tenant {
        let tenant = tenant("acme");
        change(&tenant, edit);
        tenant
    }

    fn change(tenant: &Tenant, edit: impl FnOnce(&mut TenantRecord)) {
        let mut record = (*tenant.record()).clone();
        edit(&mut record);
        tenant.block().update(record);
    }

    #[test]
    fn a_row_is_parsed_once_for_each_change_and_type() {
        let tenant = with(|record| record.attach_json(r#"{"name":"Acme"}"#));
        let first = tenant.data::<Customer>().unwrap();
        assert_eq!(first.name, "Acme");
        assert!(Arc::ptr_eq(&first, &tenant.data().unwrap()));
        assert_eq!(tenant.data::<serde_json::Value>().unwrap()["name"], "Acme");
        change(&tenant, |record| record.attach_json(r#"{"name":"Acme Ltd"}"#));
        assert_eq!(tenant.data::<Customer>().unwrap().name, "Acme Ltd");
        assert_eq!(first.name, "Acme", "what is held stays as it is");
    }

    #[test]
    fn what_parses_or_drops_a_value_may_ask_for_one() {
        thread_local! {
            static ASKS: std::cell::RefCell<Option<Tenant>> = const { std::cell::RefCell::new(None) };
        }
        struct Asking;
        fn ask() {
            ASKS.with_borrow(|tenant| {
                if let Some(tenant) = tenant {
                    tenant.data::<Customer>().unwrap();
                    tenant.settings::<serde_json::Value>().unwrap();
                }
            });
        }
        impl<'de> serde::Deserialize<'de> for Asking {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                ask();
                serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
            }
        }
        impl Drop for Asking {
            fn drop(&mut self) {
                ask();
            }
        }
        let tenant = with(|record| record.attach_json(r#"{"name":"Acme"}"#));
        ASKS.set(Some(tenant.clone()));
        tenant.data::<Asking>().unwrap();
        tenant.settings::<Asking>().unwrap();
        assert_eq!(tenant.data::<Customer>().unwrap().name, "Acme");
        tenant.settings::<serde_json::Value>().unwrap();
        ASKS.set(None);
    }

    #[test]
    fn settings_of_the_same_type_are_kept_apart() {
        let tenant = with(|record| {
            record.settings = Some(r#"{"name":"settings"}"#.into());
            record.attach_json(r#"{"name":"data"}"#);
        });
        for _ in 0..2 {
            assert_eq!(tenant.settings::<Customer>().unwrap().name, "settings");
            assert_eq!(tenant.data::<Customer>().unwrap().name, "data");
        }
    }

    #[test]
    fn a_value_comes_as_it_was_attached() {
        struct NotSerde(u8);
        let tenant = with(|record| record.attach(NotSerde(7)));
        assert_eq!(tenant.attached::<NotSerde>().unwrap().0, 7);
        change(&tenant, |record| record.attach(Customer { name: "own".into() }));
        assert_eq!(tenant.data::<Customer>().unwrap().name, "own");
        assert!(Arc::ptr_eq(
            &tenant.data::<Customer>().unwrap(),
            &tenant.attached().unwrap()
        ));
    }

    #[test]
    fn what_is_not_there_or_of_another_type_names_tenant_and_type() {
        let error = tenant("acme").data::<Customer>().unwrap_err();
        assert!(error.is_missing());
        let other = with(|record| record.attach(7_u32))
            .data::<Customer>()
            .unwrap_err();
        assert!(other.is_other_type());
        let text = with(|record| record.attach_json("{}"));
        let unreadable = text.data::<Customer>().unwrap_err();
        assert!(unreadable.is_unreadable() && unreadable.source().is_some());
        assert!(text.attached::<Customer>().unwrap_err().is_other_type());
        for error in [error, other, unreadable] {
            let text = error.to_string();
            assert!(text.contains("acme") && text.contains("Customer"), "{text}");
            assert_eq!(error.tenant().as_str(), "acme");
        }
    }
}
