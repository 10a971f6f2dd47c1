//! libFuzzer's entry to the `expression` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: esker_fuzz::write_seeds("expression"),
    |data: &[u8]| esker_fuzz::run("expression", data)
);
