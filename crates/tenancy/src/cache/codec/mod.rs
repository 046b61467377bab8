//! How values are written where they leave the process.

mod error;
mod strict;
#[cfg(test)]
mod tests;

use std::io;

use postcard::ser_flavors::{ExtendFlavor, Size};
use serde::{Serialize, de::DeserializeOwned};

pub(crate) use self::error::CodecError;
use crate::cache::schema::{self, Schema};

/// How values are written to the shared level. Values in the process's own memory are not written at all.
///
/// What was written one way is read that way, also after the setting has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheCodec {
    /// [postcard](https://docs.rs/postcard): small and fast, without the names of fields.
    ///
    /// Cannot take types that look at what comes before they know what to read (`#[serde(flatten)]`, `untagged`,
    /// `tag = "…"`, `serde_json::Value`), nor fields that are left out at times (`skip_serializing_if`): writing them is
    /// refused.
    ///
    /// A type with a field that takes only certain values (an address that is checked when it is read) is written as JSON: what comes
    /// after such a field can not be looked at beforehand, so that only names tell whether a release has changed it.
    #[default]
    Postcard,
    /// JSON: several times larger and slower; takes what `serde_json` takes.
    Json,
}

impl CacheCodec {
    /// One byte in each entry.
    pub(crate) fn mark(self) -> u8 {
        match self {
            Self::Postcard => 1,
            Self::Json => 2,
        }
    }

    pub(crate) fn of_mark(mark: u8) -> Option<Self> {
        [Self::Postcard, Self::Json]
            .into_iter()
            .find(|codec| codec.mark() == mark)
    }

    /// The one that values of this type are written by: bytes without names are safe only where the schema has all of the type.
    pub(crate) fn fit_for<V: DeserializeOwned + 'static>(self) -> Self {
        match self {
            Self::Postcard if is_half_seen(schema::of::<V>()) => Self::Json,
            chosen => chosen,
        }
    }

    /// `head`, and the value behind it. What leaves a field out is refused; a field that serde skips in both directions is not seen.
    pub(crate) fn encode<V>(self, value: &V, head: Vec<u8>) -> Result<Vec<u8>, CodecError>
    where
        V: Serialize + DeserializeOwned + 'static,
    {
        match self {
            Self::Postcard if schema::of::<V>().looks_ahead => Err(CodecError::looks_ahead()),
            Self::Postcard => encode_postcard(value, head),
            Self::Json => encode_json(value, head),
        }
    }

    /// Bytes of the written value, which is not written. Allocates nothing of its own.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub(crate) fn weigh<V>(self, value: &V) -> Result<usize, CodecError>
    where
        V: Serialize + DeserializeOwned + 'static,
    {
        match self {
            Self::Postcard if schema::of::<V>().looks_ahead => Err(CodecError::looks_ahead()),
            Self::Postcard => weigh_postcard(value),
            Self::Json => weigh_json(value),
        }
    }

    /// Takes any bytes: never panics, as long as `V`'s `Deserialize` does not, and allocates in proportion to them.
    pub(crate) fn decode<V: DeserializeOwned>(self, bytes: &[u8]) -> Result<V, CodecError> {
        match self {
            Self::Postcard => match postcard::take_from_bytes(bytes) {
                Ok((value, [])) => Ok(value),
                Ok(_) => Err(CodecError::unread_rest()),
                Err(error) => Err(CodecError::not_readable(error)),
            },
            Self::Json => serde_json::from_slice(bytes).map_err(|error| CodecError::not_json(&error)),
        }
    }
}

fn is_half_seen(schema: Schema) -> bool {
    !schema.is_complete && !schema.looks_ahead
}

fn encode_postcard<V: Serialize>(value: &V, head: Vec<u8>) -> Result<Vec<u8>, CodecError> {
    let mut serializer = postcard::Serializer {
        output: ExtendFlavor::new(head),
    };
    strict::serialize(value, &mut serializer)?;
    postcard::ser_flavors::Flavor::finalize(serializer.output).map_err(CodecError::not_writable)
}

fn weigh_postcard<V: Serialize>(value: &V) -> Result<usize, CodecError> {
    let mut serializer = postcard::Serializer {
        output: Size::default(),
    };
    strict::serialize(value, &mut serializer)?;
    postcard::ser_flavors::Flavor::finalize(serializer.output).map_err(CodecError::not_writable)
}

/// Counts what is written to it.
struct Scale {
    bytes: usize,
}

impl io::Write for Scale {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn weigh_json<V: Serialize>(value: &V) -> Result<usize, CodecError> {
    let mut scale = Scale { bytes: 0 };
    serde_json::to_writer(&mut scale, value).map_err(CodecError::not_writable)?;
    Ok(scale.bytes)
}

fn encode_json<V: Serialize>(value: &V, mut head: Vec<u8>) -> Result<Vec<u8>, CodecError> {
    serde_json::to_writer(&mut head, value).map_err(CodecError::not_writable)?;
    Ok(head)
}
