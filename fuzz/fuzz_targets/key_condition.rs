//! libFuzzer's entry to the `key_condition` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: esker_fuzz::write_seeds("key_condition"),
    |data: &[u8]| esker_fuzz::run("key_condition", data)
);
