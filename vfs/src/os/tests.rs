//! What only the real machine has: its clock and its randomness. Its files are held by
//! `tests/conformance.rs`.
#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn monotonic_time_starts_at_the_clocks_birth_and_never_goes_back() {
    let clock = OsClock::new();
    let before = clock.monotonic();
    clock.sleep(Duration::from_millis(2));
    assert!(clock.monotonic() >= before + Duration::from_millis(2));
    // 2020-01-01: a machine that runs this has a later date.
    assert!(clock.wall_ms() > 1_577_836_800_000);
}

#[test]
fn random_bytes_fill_any_length() {
    OsRandom.fill(&mut []);
    let (mut one, mut two) = ([0; 600], [0; 600]);
    OsRandom.fill(&mut one);
    OsRandom.fill(&mut two);
    assert_ne!(one, two);
    assert!(one[584..].iter().any(|byte| *byte != 0));
}

#[test]
fn an_exclusive_lock_keeps_what_the_file_holds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("LOCK");
    fs::write(&path, b"kept").unwrap();
    drop(OsFs.lock(&path, LockMode::Exclusive).unwrap());
    assert_eq!(fs::read(&path).unwrap(), b"kept");
}

#[test]
fn a_name_that_is_not_utf8_is_listed_all_the_same() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    // macOS refuses such names altogether.
    if fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"\xff")), b"").is_ok() {
        assert_eq!(OsFs.list(dir.path()).unwrap(), ["\u{fffd}"]);
    }
}

/// A process that another thread was just starting held a copy of the descriptor, and a database that had been closed was
/// still locked for a moment.
#[test]
fn a_lock_goes_with_its_guard_though_copies_of_the_descriptor_stay() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("LOCK");
    let file = std::fs::File::create(&path).unwrap();
    file.try_lock().unwrap();
    let copy = file.try_clone().unwrap();
    let lock = super::OsLock { file };
    let taken = |mode| OsFs.lock(&path, mode).map(drop);
    assert_eq!(taken(LockMode::Shared).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    drop(lock);
    taken(LockMode::Exclusive).unwrap();
    drop(copy);
}
