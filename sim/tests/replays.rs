//! The replay files in `replays/`: each showed a bug, planted or real, when it was written, and finds nothing now.
//!
//! A finding of `esker-sim` that is fixed leaves its file there; nothing else needs to be changed.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::Path;

use esker_sim::replay;

#[test]
fn what_was_found_once_is_not_found_again() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("replays");
    let mut count = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let report = replay::run(&std::fs::read_to_string(&path).unwrap());
        let report = report.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(report.findings.is_empty(), "{}: {:?}", path.display(), report.findings);
        assert!(!report.figures.is_empty(), "{}", path.display());
        count += 1;
    }
    assert!(count >= 5, "{count}");
}
