//! How many bytes of level 1 warming may fill.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// An entry stays in level 1 for a known time: what was brought before that is there no more, or was asked for since.
pub(super) struct Room {
    budget: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    brought: VecDeque<(Duration, u64)>,
    brought_bytes: u64,
    reserved: u64,
}

impl Room {
    pub(super) fn new(budget: u64) -> Self {
        Self {
            budget,
            state: Mutex::default(),
        }
    }

    /// Room for this much; `None` if there is not enough. With a budget of nothing there is none for anybody.
    pub(super) fn reserve(self: &Arc<Self>, bytes: u64, now: Duration, stay: Duration) -> Option<Reserved> {
        let mut state = self.state();
        state.forget(now.saturating_sub(stay));
        let taken = state.brought_bytes.saturating_add(state.reserved);
        if taken >= self.budget || bytes > self.budget - taken {
            return None;
        }
        state.reserved += bytes;
        Some(Reserved {
            room: Arc::clone(self),
            bytes,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget(&mut self, before: Duration) {
        while let Some(&(at, bytes)) = self.brought.front()
            && at < before
        {
            self.brought.pop_front();
            self.brought_bytes = self.brought_bytes.saturating_sub(bytes);
        }
    }
}

/// Given back when it is dropped.
pub(super) struct Reserved {
    room: Arc<Room>,
    bytes: u64,
}

impl Reserved {
    /// So much came in its place.
    pub(super) fn fill(self, bytes: u64, now: Duration) {
        if bytes == 0 {
            return;
        }
        let mut state = self.room.state();
        state.brought_bytes = state.brought_bytes.saturating_add(bytes);
        // One for each second at most.
        match state.brought.back_mut() {
            Some((at, sum)) if at.as_secs() == now.as_secs() => *sum = sum.saturating_add(bytes),
            _ => state.brought.push_back((now, bytes)),
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut state = self.room.state();
        state.reserved = state.reserved.saturating_sub(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAY: Duration = Duration::from_secs(60);

    #[test]
    fn what_was_brought_makes_room_after_its_time() {
        let room = Arc::new(Room::new(100));
        let at = Duration::from_secs;
        let first = room.reserve(60, at(0), STAY).unwrap();
        assert!(room.reserve(50, at(0), STAY).is_none(), "reserved");
        first.fill(90, at(1));
        assert!(room.reserve(20, at(1), STAY).is_none());
        let rest = room.reserve(0, at(1), STAY).unwrap();
        rest.fill(40, at(30));
        assert!(
            room.reserve(0, at(31), STAY).is_none(),
            "more came than there was room for"
        );
        drop(room.reserve(0, at(62), STAY).unwrap());
        assert!(room.reserve(60, at(62), STAY).is_some());
        assert!(room.reserve(u64::MAX, at(1000), STAY).is_none());
        assert!(Arc::new(Room::new(0)).reserve(0, at(0), STAY).is_none());
    }
}
