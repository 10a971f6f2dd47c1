//! libFuzzer's entry to the `wal_replay` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| esker_fuzz::wal_replay::check(data));
