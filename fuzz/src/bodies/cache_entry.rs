//! The entries of the shared cache level, as any program with access to it may have written them, against the format as
//! it is written down.

use tenancy::bench::CacheEntry;

/// Opens bytes as an entry. Returns whether its value could be read, if it is one.
pub fn cache_entry(data: &[u8]) -> Option<bool> {
    // No random bytes say the right type and place: without these, nothing behind them would be reached.
    let mut data = data.to_vec();
    if let Some(lock) = data.get_mut(4..20) {
        lock.copy_from_slice(&CacheEntry::lock());
    }
    let opened = CacheEntry::open(&data);
    let found = opened.as_ref().map(|entry| Expected {
        base: entry.base,
        slots: entry.slots.clone(),
        times: [entry.ttl, entry.fresh_for, entry.load_cost],
    });
    assert_eq!(found, expected(&data));
    opened.map(|entry| entry.value.is_some())
}

#[derive(Debug, PartialEq)]
struct Expected {
    base: u64,
    slots: Vec<(u16, u64)>,
    times: [u128; 3],
}

fn expected(data: &[u8]) -> Option<Expected> {
    let number = |at: usize| Some(u64::from_le_bytes(data.get(at..at + 8)?.try_into().ok()?));
    if !data.starts_with(b"tC\x01") || !matches!(data.get(3)?, 1 | 2) {
        return None;
    }
    let (base, times) = (number(20)?, [number(28)?, number(36)?, number(44)?]);
    let count = usize::from(*data.get(52)?);
    let mut slots = Vec::new();
    for at in (53..).step_by(10).take(count) {
        let index = u16::from_le_bytes(data.get(at..at + 2)?.try_into().ok()?);
        slots.push((index, number(at + 2)?));
    }
    let ascending = slots.windows(2).all(|pair| pair[0].0 < pair[1].0);
    let versions = slots.iter().map(|slot| slot.1).chain([base]);
    let sound = count <= 128
        && ascending
        && slots.iter().all(|slot| slot.0 < 4096)
        && versions.max() < Some(1 << 53)
        && times[1] <= times[0];
    sound.then(|| Expected {
        base,
        slots,
        times: times.map(u128::from),
    })
}
