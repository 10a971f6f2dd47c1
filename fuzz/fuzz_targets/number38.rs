//! libFuzzer's entry to the `number38` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| esker_fuzz::number38::check(data));
