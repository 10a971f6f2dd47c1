//! libFuzzer's entry to the `key_condition` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| esker_fuzz::key_condition::check(data));
