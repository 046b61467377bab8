use std::{error::Error, fmt};

use tenancy_core::BoxError;

/// A value could not be written or read. Says nothing of what is in it.
#[derive(Debug)]
pub(crate) struct CodecError {
    fault: Fault,
}

#[derive(Debug)]
enum Fault {
    LooksAhead,
    LeavesOut(&'static str),
    NotWritable(BoxError),
    NotReadable(BoxError),
    /// The error's own text would quote the value.
    NotJson {
        column: usize,
    },
    UnreadRest,
}

impl CodecError {
    pub(super) fn looks_ahead() -> Self {
        Fault::LooksAhead.into()
    }

    pub(super) fn leaves_out(field: &'static str) -> Self {
        Fault::LeavesOut(field).into()
    }

    pub(super) fn not_writable(source: impl Into<BoxError>) -> Self {
        Fault::NotWritable(source.into()).into()
    }

    pub(super) fn not_readable(source: impl Into<BoxError>) -> Self {
        Fault::NotReadable(source.into()).into()
    }

    pub(super) fn not_json(source: &serde_json::Error) -> Self {
        Fault::NotJson {
            column: source.column(),
        }
        .into()
    }

    pub(super) fn unread_rest() -> Self {
        Fault::UnreadRest.into()
    }

    /// Whether the value's type is none for this codec: it fails for each value, or for many.
    #[cfg(test)]
    pub(crate) fn is_unfit_type(&self) -> bool {
        matches!(self.fault, Fault::LooksAhead | Fault::LeavesOut(_))
    }
}

impl From<Fault> for CodecError {
    fn from(fault: Fault) -> Self {
        Self { fault }
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            Fault::LooksAhead => f.write_str(
                "the type looks at what comes before it knows what to read (flatten, untagged, tag, serde_json::Value), \
                 which takes the JSON codec",
            ),
            Fault::LeavesOut(field) => write!(
                f,
                "the field {field} is left out at times (skip_serializing_if), which takes the JSON codec"
            ),
            Fault::NotWritable(_) => f.write_str("the value could not be written"),
            Fault::NotReadable(_) => f.write_str("the bytes are no value of this type"),
            Fault::NotJson { column } => {
                write!(f, "the bytes are no value of this type, at byte {column}")
            }
            Fault::UnreadRest => f.write_str("the bytes go on after the value"),
        }
    }
}

impl Error for CodecError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.fault {
            Fault::NotWritable(source) | Fault::NotReadable(source) => Some(&**source),
            Fault::LooksAhead | Fault::LeavesOut(_) | Fault::NotJson { .. } | Fault::UnreadRest => None,
        }
    }
}
