//! libFuzzer's entry to the `manifest` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| esker_fuzz::manifest::check(data));
