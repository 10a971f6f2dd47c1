//! libFuzzer's entry to the `number38` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: esker_fuzz::write_seeds("number38"),
    |data: &[u8]| esker_fuzz::run("number38", data)
);
