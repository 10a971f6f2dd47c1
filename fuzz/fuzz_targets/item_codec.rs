//! libFuzzer's entry to the `item_codec` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: esker_fuzz::write_seeds("item_codec"),
    |data: &[u8]| esker_fuzz::run("item_codec", data)
);
