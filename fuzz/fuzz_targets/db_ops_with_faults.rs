//! libFuzzer's entry to the `db_ops_with_faults` target; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: esker_fuzz::write_seeds("db_ops_with_faults"),
    |data: &[u8]| esker_fuzz::run("db_ops_with_faults", data)
);
