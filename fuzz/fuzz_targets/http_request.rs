//! libFuzzer's entry to the `http_request` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: esker_fuzz::write_seeds("http_request"),
    |data: &[u8]| esker_fuzz::run("http_request", data)
);
