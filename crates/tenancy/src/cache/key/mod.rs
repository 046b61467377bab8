//! What a cached value is called: typed where it is written, the same bytes in every process.

mod any;
mod arg;
mod bytes;
mod explain;
mod mark;
mod read;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    hash::{BuildHasher, Hash, Hasher},
    marker::PhantomData,
    sync::LazyLock,
};

use serde::{Serialize, de::DeserializeOwned};

pub use self::{
    any::AnyKey,
    arg::{KeyArg, KeyWriter, KeyWritten},
    read::KeyTextError,
};
use self::{
    bytes::{KeyBuffer, KeyBytes},
    explain::Explained,
};
use crate::cache::{shared::EntryName, slots::slot_of_key};

/// What can be cached: everything that serde can write and read again, and that threads may share.
pub trait CacheValue: Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<V: Serialize + DeserializeOwned + Send + Sync + 'static> CacheValue for V {}

/// A kind of cached value: its name, what tells one from another, and its type. Make it a `const`.
///
/// `A` is the shape of the arguments, with `'static` for what is borrowed; [`key`](Self::key) takes any lifetime.
/// See [`KeyArg`] for what there is, and for arguments of your own types.
///
/// ```
/// use tenancy::cache::Keys;
///
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// struct Note { text: String }
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// struct Settings { theme: String }
///
/// const NOTES: Keys<(u32, &str), Vec<Note>> = Keys::new("notes", 1);
/// const SETTINGS: Keys<(), Settings> = Keys::new("settings", 1);
///
/// let status = String::from("open");
/// let key = NOTES.key((7, &status));
/// assert_eq!(key, NOTES.key((7, "open")));
/// assert_ne!(key, NOTES.key((8, "open")));
/// assert_eq!(key.to_string(), r#"notes@1(7, "open")"#);
/// assert_eq!(SETTINGS.key(()).to_string(), "settings@1()");
/// ```
///
/// Arguments that do not fit do not compile, nor do names that are not allowed:
///
/// ```compile_fail,E0308
/// # use tenancy::cache::Keys;
/// const NOTES: Keys<(u32, &str), String> = Keys::new("notes", 1);
/// NOTES.key(("open", 7));
/// ```
///
/// ```compile_fail,E0080
/// # use tenancy::cache::Keys;
/// const NOTES: Keys<(), String> = Keys::new("my notes", 1);
/// NOTES.key(());
/// ```
pub struct Keys<A, V> {
    name: &'static str,
    version: u32,
    of: PhantomData<fn(A) -> V>,
}

impl<A, V> Keys<A, V> {
    /// The kind `name`: 1 to 64 characters of `a-z`, `0-9`, `_`, `.` and `-`.
    ///
    /// Count `version` up when the values mean something else than before. That their type has changed is noticed without. A field
    /// with `#[serde(skip)]` is not stored: other processes have its default.
    ///
    /// # Panics
    /// If the name is not allowed; for a `const` the compiler says so.
    pub const fn new(name: &'static str, version: u32) -> Self {
        assert!(
            is_kind_name(name),
            "a kind of cached value has a name of 1 to 64 characters of a-z, 0-9, '_', '.' and '-'"
        );
        Self {
            name,
            version,
            of: PhantomData,
        }
    }

    /// The name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The version.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// The key of the value with these arguments. Equal keys have equal arguments, whatever they contain.
    ///
    /// Allocates nothing if name and arguments take up to 64 bytes: a number takes one byte and its size, a text two and its
    /// length. Above 256 bytes they are hashed with SHA-256, so that no client makes a key long.
    pub fn key(&self, args: A::Given<'_>) -> CacheKey<V>
    where
        A: KeyArg,
    {
        let mut buffer = KeyBuffer::of_kind(self.name, self.version);
        let _written = A::write(args, KeyWriter::new(&mut buffer));
        let encoded = buffer.finish();
        CacheKey {
            kind: self.name,
            hash: hash_in_process(encoded.as_bytes()),
            encoded,
            of: PhantomData,
        }
    }
}

/// Of an encoded key, in this process. Keyed at random: nobody outside can make two keys meet.
pub(crate) fn hash_in_process(encoded: &[u8]) -> u64 {
    static HASHES: LazyLock<foldhash::quality::RandomState> = LazyLock::new(Default::default);
    let mut hasher = HASHES.build_hasher();
    hasher.write(encoded);
    hasher.finish()
}

pub(crate) const fn is_kind_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !matches!(bytes[at], b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-') {
            return false;
        }
        at += 1;
    }
    !bytes.is_empty() && bytes.len() <= 64
}

impl<A, V> Clone for Keys<A, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A, V> Copy for Keys<A, V> {}

impl<A, V> fmt::Debug for Keys<A, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({}@{})", self.name, self.version)
    }
}

/// The key of one cached value of type `V`, made by [`Keys::key`]. It names no tenant: that is the cache's part.
///
/// Its text, `notes@1(7, "open")`, has the arguments in it, and is for people who may read them. It is escaped for logs, and
/// [`AnyKey`] reads it. Cloning allocates nothing.
pub struct CacheKey<V> {
    kind: &'static str,
    /// Of `encoded`: a key is looked up more than once for each value that is loaded.
    hash: u64,
    encoded: KeyBytes,
    of: PhantomData<fn() -> V>,
}

impl<V> CacheKey<V> {
    /// The name of its kind.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The same in every process; at most 256 bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.encoded.as_bytes()
    }

    /// Another one in each process.
    #[inline]
    pub(crate) fn hash_in_process(&self) -> u64 {
        self.hash
    }

    /// Its own version cell. Reads the whole key: not for hits.
    pub(crate) fn slot(&self) -> u16 {
        slot_of_key(self.as_bytes())
    }

    /// Allocates.
    pub(crate) fn entry_name(&self) -> EntryName {
        EntryName::new(self.as_bytes())
    }
}

impl<V> Clone for CacheKey<V> {
    fn clone(&self) -> Self {
        Self {
            kind: self.kind,
            hash: self.hash,
            encoded: self.encoded.clone(),
            of: PhantomData,
        }
    }
}

impl<V> PartialEq for CacheKey<V> {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl<V> Eq for CacheKey<V> {}

impl<V> Hash for CacheKey<V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl<V> fmt::Display for CacheKey<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Explained(self.as_bytes()).fmt(f)
    }
}

impl<V> fmt::Debug for CacheKey<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CacheKey({self})")
    }
}
