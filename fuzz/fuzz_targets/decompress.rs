//! libFuzzer's entry to the `decompress` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: esker_fuzz::write_seeds("decompress"),
    |data: &[u8]| esker_fuzz::run("decompress", data)
);
