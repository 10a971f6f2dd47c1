//! libFuzzer's entry to the `varint` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| esker_fuzz::varint::check(data));
