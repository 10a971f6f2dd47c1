//! libFuzzer's entry to the `json_item` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| esker_fuzz::json_item::check(data));
