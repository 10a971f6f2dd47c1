//! libFuzzer's entry to the `manifest` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: esker_fuzz::write_seeds("manifest"),
    |data: &[u8]| esker_fuzz::run("manifest", data)
);
