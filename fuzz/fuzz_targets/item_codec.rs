//! libFuzzer's entry to the `item_codec` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| esker_fuzz::item_codec::check(data));
