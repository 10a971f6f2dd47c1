//! libFuzzer's entry to the `batch` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: esker_fuzz::write_seeds("batch"),
    |data: &[u8]| esker_fuzz::run("batch", data)
);
