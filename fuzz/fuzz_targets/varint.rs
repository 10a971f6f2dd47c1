//! libFuzzer's entry to the `varint` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: esker_fuzz::write_seeds("varint"),
    |data: &[u8]| esker_fuzz::run("varint", data)
);
