//! The switch, in a program of its own: it is the whole process's.

use std::{alloc::System, hint::black_box};

use tenancy_memory::{Account, Metered, Owned, Owner, are_owners_kept, is_installed, is_on, switch};

#[global_allocator]
static ALLOCATOR: Metered<Owned<System>> = Metered::new(Owned::new(System));

fn allocated(run: impl FnOnce()) -> u64 {
    let account = Account::new();
    let mut part = account.part();
    part.run(run);
    drop(part);
    account.usage().allocated
}

/// One test: what is switched is seen by all.
#[test]
fn the_meter_can_be_switched_at_any_time_and_tags_can_not() {
    let work = || drop(black_box(vec![0_u8; 1_000]));
    assert!(is_on());
    switch(false);
    assert!(is_installed(), "also while it is off");
    assert!(!is_on());
    assert_eq!(allocated(work), 0);
    switch(true);
    assert_eq!(allocated(work), 1_000);

    assert!(are_owners_kept());
    let owner = Owner::new().unwrap();
    let mut part = Account::new().part();
    let mut kept = Vec::new();
    for on in [true, false, true] {
        switch(on);
        part.run(|| {
            owner.own_current_part();
            kept.push(black_box(vec![0_u8; 1_000]));
        });
    }
    // The list of them is the owner's, too.
    let list = size_of::<Vec<u8>>() * kept.capacity();
    assert_eq!(owner.live_bytes(), (3_000 + list) as u64);
    switch(false);
    drop(kept);
    switch(true);
    assert_eq!(owner.live_bytes(), 0);
}
