//! libFuzzer's entry to the `sigv4` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: esker_fuzz::write_seeds("sigv4"),
    |data: &[u8]| esker_fuzz::run("sigv4", data)
);
