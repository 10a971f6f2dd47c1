//! libFuzzer's entry to the `json_item` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: esker_fuzz::write_seeds("json_item"),
    |data: &[u8]| esker_fuzz::run("json_item", data)
);
