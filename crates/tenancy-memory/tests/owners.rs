//! The table of owners, full: in a program of its own, for it is the whole process's.

use std::alloc::{GlobalAlloc, Layout, System};

use tenancy_memory::{Account, OWNERS, Owned, Owner};

#[test]
fn a_place_is_given_to_another_only_when_all_blocks_of_its_last_owner_are_freed() {
    let (owned, layout) = (Owned::new(System), Layout::new::<u64>());
    let left_behind = {
        let owner = Owner::new().unwrap();
        let mut part = Account::new().part();
        part.run(|| {
            owner.own_current_part();
            // SAFETY: the size is not zero.
            unsafe { owned.alloc(layout) }
        })
    };
    let take_all = || -> Vec<Owner> { std::iter::from_fn(Owner::new).collect() };
    let owners = take_all();
    assert_eq!(owners.len(), OWNERS - 1);
    assert!(owners.iter().all(|owner| owner.live_bytes() == 0));
    // A clone keeps the place.
    let one = owners[7].clone();
    drop(owners);
    assert_eq!(take_all().len(), OWNERS - 2);
    drop(one);
    // SAFETY: the block is of that layout.
    unsafe { owned.dealloc(left_behind, layout) };
    assert_eq!(take_all().len(), OWNERS);
}
