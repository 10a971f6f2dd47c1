//! A few cycles of each check on the real kernel, with the built program as the victim.
//!
//! What this machine cannot do is skipped, as in the checks themselves; none depends on how fast it is.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use esker_sim::kernel;
use esker_sim::report::{Budget, CheckReport};

fn assert_clean(report: &CheckReport) {
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert!(report.skipped.is_some() || !report.figures.is_empty());
}

#[test]
fn victims_are_killed_starved_and_lied_to_and_lose_nothing() {
    let program = Path::new(env!("CARGO_BIN_EXE_esker-sim"));
    for name in ["kill9", "failed-syncs", "descriptors", "open-time"] {
        assert_clean(&kernel::run_with(name, &Budget::test(1), program).unwrap());
    }
    assert!(kernel::run_with("unknown", &Budget::test(1), program).is_none());
}

#[test]
fn a_file_system_is_cut_off_and_loses_nothing_that_was_synced() {
    assert_clean(&kernel::power_cuts(&Budget::test(2)));
}

#[test]
fn a_file_system_runs_full_and_writes_go_on_when_there_is_space() {
    assert_clean(&kernel::full_disk(&Budget::test(3)));
}
