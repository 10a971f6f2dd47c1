//! libFuzzer's entry to the `whole_directory` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: esker_fuzz::write_seeds("whole_directory"),
    |data: &[u8]| esker_fuzz::run("whole_directory", data)
);
