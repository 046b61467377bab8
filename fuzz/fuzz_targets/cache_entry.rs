#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tenancy_fuzz::bodies::cache_entry(data);
});
