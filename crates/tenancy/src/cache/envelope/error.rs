use std::{error::Error, fmt};

use super::super::codec::CodecError;

/// An entry of the shared level could not be written or read. Says nothing of the value.
#[derive(Debug)]
pub(crate) struct EnvelopeError {
    fault: Fault,
}

#[derive(Debug)]
enum Fault {
    Broken,
    OtherFormat,
    OtherSchema,
    Misplaced,
    TooManySlots,
    Codec(CodecError),
}

impl EnvelopeError {
    pub(super) fn broken() -> Self {
        Fault::Broken.into()
    }

    pub(super) fn other_format() -> Self {
        Fault::OtherFormat.into()
    }

    pub(super) fn other_schema() -> Self {
        Fault::OtherSchema.into()
    }

    pub(super) fn misplaced() -> Self {
        Fault::Misplaced.into()
    }

    pub(super) fn too_many_slots() -> Self {
        Fault::TooManySlots.into()
    }

    pub(super) fn codec(source: CodecError) -> Self {
        Fault::Codec(source).into()
    }

    /// Whether another release of the application has written it, or of this crate: to be expected while one replaces
    /// the other.
    pub(crate) fn is_of_another_release(&self) -> bool {
        matches!(self.fault, Fault::OtherFormat | Fault::OtherSchema)
    }

    /// Whether it was written for another scope or key: somebody has copied it.
    #[cfg(test)]
    pub(crate) fn is_misplaced(&self) -> bool {
        matches!(self.fault, Fault::Misplaced)
    }

    /// Whether values of this type cannot be written with this codec.
    #[cfg(test)]
    pub(crate) fn is_unfit_type(&self) -> bool {
        matches!(&self.fault, Fault::Codec(error) if error.is_unfit_type())
    }
}

impl From<Fault> for EnvelopeError {
    fn from(fault: Fault) -> Self {
        Self { fault }
    }
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.fault {
            Fault::Broken => "these bytes are no entry of a tenant cache",
            Fault::OtherFormat => "the entry was written by another release of tenancy",
            Fault::OtherSchema => "the entry was written for another type, or for another state of this one",
            Fault::Misplaced => "the entry was written for another scope or key",
            Fault::TooManySlots => "the entry depends on too much",
            Fault::Codec(_) => "the entry's value could not be written or read",
        })
    }
}

impl Error for EnvelopeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.fault {
            Fault::Codec(source) => Some(source),
            Fault::Broken
            | Fault::OtherFormat
            | Fault::OtherSchema
            | Fault::Misplaced
            | Fault::TooManySlots => None,
        }
    }
}
