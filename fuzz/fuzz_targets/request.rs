#![no_main]

use std::cell::OnceCell;

use tenancy_fuzz::bodies::Stacks;

thread_local! {
    static STACKS: OnceCell<Stacks> = const { OnceCell::new() };
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    STACKS.with(|stacks| stacks.get_or_init(Stacks::new).request(data));
});
