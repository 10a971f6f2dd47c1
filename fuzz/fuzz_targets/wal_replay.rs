//! libFuzzer's entry to the `wal_replay` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: esker_fuzz::write_seeds("wal_replay"),
    |data: &[u8]| esker_fuzz::run("wal_replay", data)
);
