use bytes::Bytes;

use super::{Header, Opened, Place, seal};
use crate::cache::{
    codec::CacheCodec,
    schema,
    shared::{EntryName, ScopeName},
};

/// An entry of the shared level, as it was read from bytes.
#[derive(Debug)]
pub struct CacheEntry {
    /// Its version.
    pub base: u64,
    /// Those of its slots.
    pub slots: Vec<(u16, u64)>,
    /// In milliseconds.
    pub ttl: u128,
    /// In milliseconds.
    pub fresh_for: u128,
    /// In microseconds.
    pub load_cost: u128,
    /// If it could be read.
    pub value: Option<Sample>,
}

/// The type of the value.
type Sample = (String, Vec<Option<u32>>);

impl CacheEntry {
    /// The sixteen bytes, from the fifth on, that say of which type the value is and where it belongs.
    pub fn lock() -> [u8; 16] {
        let numbers = [schema::of::<Sample>().id, place().0].map(u64::to_le_bytes);
        let mut lock = [0; 16];
        lock.copy_from_slice(numbers.as_flattened());
        lock
    }

    /// Reads an entry, and its value.
    ///
    /// # Panics
    /// If the value, written anew, is read differently.
    pub fn open(data: &[u8]) -> Option<Self> {
        let opened = Opened::open(place(), &Bytes::copy_from_slice(data)).ok()?;
        let value = opened.value::<Sample>().ok();
        if let Some(value) = &value {
            for codec in [CacheCodec::Postcard, CacheCodec::Json] {
                let again = sealed_and_opened(&opened.header, codec, value);
                assert_eq!(again, Some((opened.header.clone(), value.clone())));
            }
        }
        let Header {
            stamp,
            ttl,
            fresh_for,
            load_cost,
        } = opened.header;
        Some(Self {
            base: stamp.base(),
            slots: stamp.slots().collect(),
            ttl: ttl.as_millis(),
            fresh_for: fresh_for.as_millis(),
            load_cost: load_cost.as_micros(),
            value,
        })
    }
}

fn place() -> Place {
    Place::new(&ScopeName::central(), &EntryName::new(b"fuzzed"))
}

fn sealed_and_opened(header: &Header, codec: CacheCodec, value: &Sample) -> Option<(Header, Sample)> {
    let whole = seal(place(), header, codec, value).ok()?;
    let opened = Opened::open(place(), &whole).ok()?;
    let value = opened.value().ok()?;
    Some((opened.header, value))
}
