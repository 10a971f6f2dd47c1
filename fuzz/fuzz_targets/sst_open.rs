//! libFuzzer's entry to the `sst_open` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| esker_fuzz::sst_open::check(data));
