//! libFuzzer's entry to the `sst_open` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: esker_fuzz::write_seeds("sst_open"),
    |data: &[u8]| esker_fuzz::run("sst_open", data)
);
