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

/// Who blanks a file by calls ahead of the stores relies on it.
#[test]
fn stores_and_writes_are_seen_in_the_order_they_are_made() {
    let dir = tempfile::tempdir().unwrap();
    let file = OsFs.create_new(&dir.path().join("file")).unwrap();
    let len = 1 << 20;
    let mut model = vec![7; len];
    file.write_all_at(&model, 0).unwrap();
    let Some(mut map) = file.map_for_writes(len as u64).unwrap() else { return };
    // Longer, behind the map.
    file.allocate(2 * len as u64).unwrap();
    model.resize(2 * len, 0);
    let mut at = 5;
    for round in 0..400_usize {
        let bytes = vec![round as u8; 1 + round * 37 % 9000];
        let range = at..at + bytes.len();
        if round % 3 == 0 || range.end > len {
            file.write_all_at(&bytes, at as u64).unwrap();
        } else {
            map.store(&bytes, at as u64).unwrap();
        }
        model[range].copy_from_slice(&bytes);
        at = (at + bytes.len() / 2) % (2 * len - 9000);
        if round % 50 == 0 {
            file.sync_data().unwrap();
        }
    }
    let mut found = vec![0; 2 * len];
    file.read_exact_at(&mut found, 0).unwrap();
    assert!(found == model);
}

#[test]
fn a_durable_write_is_seen_as_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let file = OsFs.create_new(&dir.path().join("file")).unwrap();
    file.write_all_at(&[1; 10_000], 0).unwrap();
    file.sync_all().unwrap();
    file.write_all_at(&[2; 100], 9_000).unwrap();
    file.write_durably_at(&[3; 5_000], 100).unwrap();
    let mut found = vec![0; 10_000];
    file.read_exact_at(&mut found, 0).unwrap();
    let mut model = vec![1; 10_000];
    model[9_000..9_100].fill(2);
    model[100..5_100].fill(3);
    assert!(found == model);
}
