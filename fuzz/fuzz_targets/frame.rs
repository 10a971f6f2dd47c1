//! libFuzzer's entry to the `frame` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: esker_fuzz::write_seeds("frame"),
    |data: &[u8]| esker_fuzz::run("frame", data)
);
