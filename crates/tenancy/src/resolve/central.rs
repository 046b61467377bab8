//! Hosts that are nobody's.

use tenancy_core::Host;

/// Canonical names of hosts that are nobody's.
pub(crate) struct CentralHosts {
    names: Box<[Box<str>]>,
    /// Bit n is set where some name has n bytes, modulo 64: most other hosts are told apart by this alone.
    lengths: u64,
}

impl CentralHosts {
    pub(crate) fn new(names: Vec<Box<str>>) -> Self {
        Self {
            lengths: names.iter().fold(0, |bits, name| bits | length_bit(name.len())),
            names: names.into(),
        }
    }

    pub(super) fn contain(&self, host: &Host<'_>) -> bool {
        self.names.iter().any(|name| host.is_named(name))
    }

    /// Whether these bytes are one of the names, in normal form.
    #[inline]
    pub(super) fn contain_raw(&self, raw: &[u8]) -> bool {
        self.lengths & length_bit(raw.len()) != 0 && self.names.iter().any(|name| name.as_bytes() == raw)
    }
}

fn length_bit(length: usize) -> u64 {
    1 << (length % 64)
}
