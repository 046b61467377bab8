use std::time::Duration;

use super::{options::Slots, slots::slot_of_tag};

/// What a load gives to [`Cache::remember_loaded`](super::Cache::remember_loaded): a value, and what is known of it only now.
///
/// ```
/// use std::time::Duration;
/// use tenancy::cache::Loaded;
///
/// let invoice = Loaded::new("paid").tag("customer:7").ttl(Duration::from_secs(3600));
/// # drop(invoice);
/// ```
#[derive(Clone, Debug)]
pub struct Loaded<V> {
    pub(super) value: V,
    pub(super) ttl: Option<Duration>,
    pub(super) stale_for: Option<Duration>,
    pub(super) slots: Slots,
    /// Whether it is as true where what was read for it was stale.
    pub(super) says_nothing_of_values: bool,
}

impl<V> Loaded<V> {
    /// The value, kept as the options of the call say.
    pub const fn new(value: V) -> Self {
        Self {
            value,
            ttl: None,
            stale_for: None,
            slots: Slots::NONE,
            says_nothing_of_values: false,
        }
    }

    /// It is kept also where a value that was served stale was read for it.
    pub(crate) fn saying_nothing_of_values(self) -> Self {
        Self {
            says_nothing_of_values: true,
            ..self
        }
    }

    /// How long it is fresh, instead of what the options say. Zero: it is handed to who asked, and not kept.
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// For how long after that it may be served as stale, instead of what the options say.
    pub const fn stale_for(mut self, grace: Duration) -> Self {
        self.stale_for = Some(grace);
        self
    }

    /// A flush of this tag flushes it, beside those of the options; also a flush that came while it was being loaded. See
    /// [`EntryOptions::tag`](super::EntryOptions::tag).
    pub fn tag(mut self, tag: impl AsRef<str>) -> Self {
        self.slots.push(slot_of_tag(tag.as_ref()));
        self
    }

    /// All of these, as [`tag`](Self::tag).
    pub fn tags<T: AsRef<str>>(self, tags: impl IntoIterator<Item = T>) -> Self {
        tags.into_iter().fold(self, Self::tag)
    }
}
