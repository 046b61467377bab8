//! An entry as it lies in the shared level: what it was loaded under, and the value.
//!
//! All numbers little-endian: `tC`, format (1 byte), codec (1), schema (8), place (8), base number (8), time to live in ms
//! (8), time of being fresh in ms (8), cost of the load in µs (8), count of slots (1), of each slot its index (2) and number
//! (8), the value up to the end.

pub(crate) mod bench;
mod error;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};

pub(crate) use self::error::EnvelopeError;
use super::{
    codec::CacheCodec,
    key::CacheValue,
    schema,
    shared::{EntryName, ScopeName},
    versions::Stamp,
};

const MAGIC: [u8; 2] = *b"tC";
const FORMAT: u8 = 1;
/// Without the slots.
const HEAD_LEN: usize = 2 + 1 + 1 + 6 * 8 + 1;
const SLOT_LEN: usize = 2 + 8;

/// More than an entry may have tags.
const MOST_SLOTS: usize = 128;

/// What an entry says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// What it was loaded under.
    pub(crate) stamp: Stamp,
    /// How long it was to be kept, in whole milliseconds.
    pub(crate) ttl: Duration,
    /// How long it counts as fresh; at most `ttl`.
    pub(crate) fresh_for: Duration,
    /// How long the loader took, in whole microseconds.
    pub(crate) load_cost: Duration,
}

/// Where an entry belongs: an entry that was copied to another tenant's part, or under another key, is not read there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u64);

impl Place {
    pub(crate) fn new(scope: &ScopeName, name: &EntryName) -> Self {
        let digest = Sha256::new()
            .chain_update([scope.as_str().len() as u8])
            .chain_update(scope.as_str())
            .chain_update(name.as_bytes())
            .finalize();
        let first = digest.iter().take(8);
        Self(first.fold(0, |place, byte| place << 8 | u64::from(*byte)))
    }
}

/// Writes an entry. Allocates for the whole, and copies nothing of it.
///
/// # Errors
/// When the value's type is none for this codec, or its `Serialize` fails; or for a stamp of more than 128 slots.
pub(crate) fn seal<V: CacheValue>(
    place: Place,
    header: &Header,
    codec: CacheCodec,
    value: &V,
) -> Result<Bytes, EnvelopeError> {
    let codec = codec.fit_for::<V>();
    let head = write_header(place, header, codec, schema::of::<V>().id)?;
    let whole = codec.encode(value, head).map_err(EnvelopeError::codec)?;
    Ok(whole.into())
}

/// Bytes that an entry counts for where it is not written: its value as it would be written, and its slots.
///
/// # Errors
/// As [`seal`].
pub(crate) fn weigh<V: CacheValue>(
    codec: CacheCodec,
    stamp: &Stamp,
    value: &V,
) -> Result<usize, EnvelopeError> {
    let slots = checked_slots(stamp)?;
    let value = codec.fit_for::<V>().weigh(value).map_err(EnvelopeError::codec)?;
    Ok(HEAD_LEN + slots * SLOT_LEN + value)
}

fn checked_slots(stamp: &Stamp) -> Result<usize, EnvelopeError> {
    match stamp.slots().count() {
        slots if slots > MOST_SLOTS => Err(EnvelopeError::too_many_slots()),
        slots => Ok(slots),
    }
}

fn write_header(
    place: Place,
    header: &Header,
    codec: CacheCodec,
    schema: u64,
) -> Result<Vec<u8>, EnvelopeError> {
    let Header {
        stamp,
        ttl,
        fresh_for,
        load_cost,
    } = header;
    let slots = checked_slots(stamp)?;
    let mut head = Vec::with_capacity(256);
    head.extend_from_slice(&MAGIC);
    head.extend_from_slice(&[FORMAT, codec.mark()]);
    let ttl = saturated(ttl.as_millis());
    let fresh_for = saturated(fresh_for.as_millis()).min(ttl);
    let load_cost = saturated(load_cost.as_micros());
    for number in [schema, place.0, stamp.base(), ttl, fresh_for, load_cost] {
        head.extend_from_slice(&number.to_le_bytes());
    }
    // At most `MOST_SLOTS`.
    head.push(slots as u8);
    for (slot, number) in stamp.slots() {
        head.extend_from_slice(&slot.to_le_bytes());
        head.extend_from_slice(&number.to_le_bytes());
    }
    Ok(head)
}

fn saturated(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// An entry whose value was not yet read.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) header: Header,
    codec: CacheCodec,
    schema: u64,
    value: Bytes,
}

impl Opened {
    /// Reads an entry's header. Takes any bytes; copies nothing of the value.
    ///
    /// # Errors
    /// For what no [`seal`] has written for this place.
    pub(crate) fn open(place: Place, whole: &Bytes) -> Result<Self, EnvelopeError> {
        let mut reader = Reader { rest: whole };
        if reader.array() != Some(MAGIC) {
            return Err(EnvelopeError::broken());
        }
        if reader.array() != Some([FORMAT]) {
            return Err(EnvelopeError::other_format());
        }
        let (found_place, opened) = reader.opened().ok_or_else(EnvelopeError::broken)?;
        let Some(codec) = CacheCodec::of_mark(opened.codec_mark) else {
            return Err(EnvelopeError::other_format());
        };
        if found_place != place {
            return Err(EnvelopeError::misplaced());
        }
        Ok(Self {
            header: opened.header,
            codec,
            schema: opened.schema,
            value: whole.slice(whole.len() - reader.rest.len()..),
        })
    }

    /// Reads the value. Takes any bytes, if `V` does.
    ///
    /// # Errors
    /// When it was written as another type or as another state of this one, or cannot be read.
    pub(crate) fn value<V: CacheValue>(&self) -> Result<V, EnvelopeError> {
        if schema::of::<V>().id != self.schema {
            return Err(EnvelopeError::other_schema());
        }
        self.codec.decode(&self.value).map_err(EnvelopeError::codec)
    }

    /// Bytes of the written value.
    #[cfg(test)]
    pub(crate) fn value_len(&self) -> usize {
        self.value.len()
    }
}

struct ReadHeader {
    codec_mark: u8,
    schema: u64,
    header: Header,
}

struct Reader<'b> {
    rest: &'b [u8],
}

impl Reader<'_> {
    fn opened(&mut self) -> Option<(Place, ReadHeader)> {
        let [codec_mark] = self.array()?;
        let schema = self.number()?;
        let place = Place(self.number()?);
        let base = self.number()?;
        let ttl = Duration::from_millis(self.number()?);
        let fresh_for = Duration::from_millis(self.number()?);
        let load_cost = Duration::from_micros(self.number()?);
        let stamp = Stamp::from_parts(base, &self.slots()?)?;
        let header = Header {
            stamp,
            ttl,
            fresh_for,
            load_cost,
        };
        let read = ReadHeader {
            codec_mark,
            schema,
            header,
        };
        (fresh_for <= ttl).then_some((place, read))
    }

    fn slots(&mut self) -> Option<Vec<(u16, u64)>> {
        let [count] = self.array()?;
        let count = usize::from(count);
        // Nothing is allocated for slots that are not there.
        if count > MOST_SLOTS || self.rest.len() < count * SLOT_LEN {
            return None;
        }
        let slot = |_| Some((u16::from_le_bytes(self.array()?), self.number()?));
        (0..count).map(slot).collect()
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*array)
    }
}
