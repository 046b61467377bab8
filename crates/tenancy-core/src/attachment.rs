use std::{
    any::{Any, type_name},
    fmt,
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a store gave along with a tenant: the application's own row, as JSON text or as a value.
///
/// Set it with [`TenantRecord::attach`](crate::TenantRecord::attach) or
/// [`attach_json`](crate::TenantRecord::attach_json); handlers read it by `tenancy::Tenant::data`.
///
/// Two texts are equal when they are the same byte for byte, two values when they are the very same one. `Debug`
/// shows neither.
#[derive(Clone)]
pub struct Attachment(Form);

#[derive(Clone)]
enum Form {
    Json(Box<str>),
    Value {
        value: Arc<dyn Any + Send + Sync>,
        type_name: &'static str,
    },
}

impl Attachment {
    pub(crate) fn of_json(text: Box<str>) -> Self {
        Self(Form::Json(text))
    }

    pub(crate) fn of_value<T: Any + Send + Sync>(value: Arc<T>) -> Self {
        Self(Form::Value {
            value,
            type_name: type_name::<T>(),
        })
    }

    /// The JSON text; `None` for a value.
    pub fn json(&self) -> Option<&str> {
        match &self.0 {
            Form::Json(text) => Some(text),
            Form::Value { .. } => None,
        }
    }

    /// The value; `None` for JSON text and for a value of another type. Copies a pointer.
    pub fn value<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        match &self.0 {
            Form::Json(_) => None,
            Form::Value { value, .. } => Arc::clone(value).downcast().ok(),
        }
    }

    /// What it is, for messages: the name of the value's type, or `JSON text`.
    pub fn type_name(&self) -> &'static str {
        match self.0 {
            Form::Json(_) => "JSON text",
            Form::Value { type_name, .. } => type_name,
        }
    }
}

impl PartialEq for Attachment {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Form::Json(a), Form::Json(b)) => a == b,
            (Form::Value { value: a, .. }, Form::Value { value: b, .. }) => {
                // The addresses alone: one type may have several vtables.
                std::ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b))
            }
            (Form::Json(_), Form::Value { .. }) | (Form::Value { .. }, Form::Json(_)) => false,
        }
    }
}

impl Eq for Attachment {}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Attachment").field(&self.type_name()).finish()
    }
}

/// A value cannot be written down: what reads the record again finds no attachment.
pub(crate) fn cannot_be_written(attachment: &Option<Box<Attachment>>) -> bool {
    attachment
        .as_ref()
        .is_none_or(|attachment| attachment.json().is_none())
}

impl Serialize for Attachment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Attachment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<str>::deserialize(deserializer).map(Self::of_json)
    }
}
