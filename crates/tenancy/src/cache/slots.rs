//! Which version cell a tag or a key has: the same in every process and every release, since they share the numbers.

use super::shared::SLOTS;

/// The slot of a tag.
pub(crate) fn slot_of_tag(tag: &str) -> u16 {
    slot(b't', tag.as_bytes())
}

/// The own slot of an entry, by its encoded key.
pub(crate) fn slot_of_key(encoded: &[u8]) -> u16 {
    slot(b'k', encoded)
}

/// FNV-1a with the finish of MurmurHash3, because the low bits of FNV alone depend on the low bits of its input only.
///
/// Whoever can choose tags or keys can make them share a slot. That costs them misses in their own scope, nothing else.
fn slot(kind: u8, bytes: &[u8]) -> u16 {
    let start = step(0xcbf2_9ce4_8422_2325, kind);
    let mut hash = bytes.iter().fold(start, |hash, byte| step(hash, *byte));
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 33;
    (hash % u64::from(SLOTS)) as u16
}

fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_never_change_from_release_to_release() {
        // Computed by another program. Processes of two releases share the numbers while one replaces the other.
        let known = [
            ("", 827, 101),
            ("orders", 2385, 3151),
            ("orders:7", 1295, 2781),
            ("ä", 2873, 2493),
        ];
        for (name, of_tag, of_key) in known {
            assert_eq!(
                (slot_of_tag(name), slot_of_key(name.as_bytes())),
                (of_tag, of_key),
                "{name}"
            );
        }
    }

    #[test]
    fn names_in_a_row_spread_over_the_slots() {
        let mut taken = vec![0_u32; usize::from(SLOTS)];
        for number in 0..u32::from(SLOTS) * 8 {
            taken[usize::from(slot_of_tag(&format!("note:{number}")))] += 1;
        }
        // Eight are expected in each; a fair hash leaves 1.4 of the slots empty and has 22 at most in one.
        assert!(taken.iter().filter(|count| **count == 0).count() < 16);
        assert!(taken.iter().all(|count| *count < 32));
    }
}
