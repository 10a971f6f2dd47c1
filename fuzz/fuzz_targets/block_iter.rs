//! libFuzzer's entry to the `block_iter` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: esker_fuzz::write_seeds("block_iter"),
    |data: &[u8]| esker_fuzz::run("block_iter", data)
);
