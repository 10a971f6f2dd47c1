//! libFuzzer's entry to the `value_file` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: esker_fuzz::write_seeds("value_file"),
    |data: &[u8]| esker_fuzz::run("value_file", data)
);
