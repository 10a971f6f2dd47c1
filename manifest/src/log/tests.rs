//! The manifest on a simulated disk: round trips, crashes at every call, every truncation, every
//! flipped bit.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use esker_base::{EntryKind, ErrorKind, KeyspaceId, SeqNo, key};
use esker_vfs::OpenMode;
use esker_vfs::simulated::{CrashPolicy, SimulatedFs, Simulation, SyncFailure};

use super::*;
use crate::edit::AddedFile;
use crate::recover::recover;
use crate::version::{ClosedSeal, FileMeta, KeyspaceMeta, WalSegmentMeta};

const DIR: &str = "/db";

fn dir() -> &'static Path {
    Path::new(DIR)
}

fn manifest_path(number: u64) -> PathBuf {
    dir().join(FileKind::Manifest.name(FileNumber(number)))
}

/// A simulated world with an empty, durable directory.
fn simulation() -> Simulation {
    let simulation = Simulation::new(1);
    simulation.fs.create_dir_all(dir()).unwrap();
    simulation.fs.sync_dir(dir()).unwrap();
    simulation.fs.sync_dir(Path::new("/")).unwrap();
    simulation
}

fn first() -> Version {
    let segment = WalSegmentMeta {
        number: FileNumber(2),
        file_id: FileId([2; 16]),
        epoch: Default::default(),
        ends_at: None,
        last_seq: None,
    };
    let edit = Edit {
        created_keyspaces: vec![KeyspaceMeta::new(KeyspaceId(1), "users")],
        wal_added: vec![segment],
        ..Edit::default()
    };
    Version::new([0x22; 16]).apply(&edit).unwrap()
}

/// Edit number `n`: a flush into level 0.
fn flush(n: u64) -> Edit {
    let file = FileMeta {
        number: FileNumber(100 + n),
        file_id: FileId([n as u8; 16]),
        len: 1000 + n,
        checksum: 77,
        smallest: key::encode(b"a", SeqNo(n), EntryKind::Put),
        largest: key::encode(b"z", SeqNo(n), EntryKind::Delete),
        min_seq: SeqNo(n),
        max_seq: SeqNo(n),
        entry_count: 2,
        delete_count: 1,
        seq_override: None,
        created_ms: 5,
        values: Vec::new(),
    };
    Edit {
        added_files: vec![AddedFile { keyspace: KeyspaceId(1), level: 0, file: Arc::new(file) }],
        flushed_through: vec![(KeyspaceId(1), SeqNo(n))],
        wal_synced: Some(LogPosition { file: FileNumber(2), offset: 64 * n }),
        ..Edit::default()
    }
}

fn close() -> Edit {
    let seal = ClosedSeal { segment: FileNumber(2), len: 640, checksum: 9, last_seq: SeqNo(99) };
    Edit { closed: Some(seal), ..Edit::default() }
}

fn create(simulation: &Simulation, number: u64, version: &Version) -> Result<ManifestLog> {
    let id = FileId([number as u8; 16]);
    ManifestLog::create(&simulation.world(), dir(), FileNumber(number), id, version)
}

/// A database of `count` flushes, the pictures after each, and whether it is closed at the end.
fn written(count: u64, closed: bool) -> (Simulation, Vec<Version>) {
    let simulation = simulation();
    let mut states = vec![first()];
    let mut log = create(&simulation, 1, &states[0]).unwrap();
    let last = closed.then(close);
    for edit in (1..=count).map(flush).chain(last) {
        states.push(states.last().unwrap().apply(&edit).unwrap());
        log.append(&edit).unwrap();
    }
    (simulation, states)
}

fn read(fs: &SimulatedFs, path: &Path) -> Vec<u8> {
    let file = fs.open(path, OpenMode::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn overwrite(fs: &SimulatedFs, path: &Path, offset: u64, bytes: &[u8]) {
    fs.open(path, OpenMode::ReadWrite).unwrap().write_all_at(bytes, offset).unwrap();
}

#[test]
fn edits_come_back_also_past_the_reserve() {
    let (simulation, states) = written(400, false);
    let recovered = recover(&simulation.fs, dir()).unwrap();
    assert_eq!(recovered.version, *states.last().unwrap());
    assert_eq!((recovered.edit_count, recovered.torn_bytes), (400, 0));
    assert_eq!(recovered.number, FileNumber(1));
    assert!(read(&simulation.fs, &manifest_path(1)).len() as u64 > 2 * RESERVE_BYTES);
}

#[test]
fn the_bytes_of_a_manifest_are_pinned() {
    let simulation = simulation();
    let mut log = create(&simulation, 1, &Version::new([0x22; 16])).unwrap();
    let frames = HEADER_LEN;
    let created = log.size_bytes() as usize;
    let edit = Edit {
        created_keyspaces: vec![KeyspaceMeta::new(KeyspaceId(1), "users")],
        ..Edit::default()
    };
    log.append(&edit).unwrap();
    log.append(&flush(7)).unwrap();
    let bytes = read(&simulation.fs, &manifest_path(1));
    let hex = |range: std::ops::Range<usize>| -> String {
        bytes[range].iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let payload = |at: usize, len: usize| hex(at + 32..at + 32 + len);
    // Part 0 of 1; database id, epoch 0, next file 1, next keyspace 1, seven zeros.
    assert_eq!(
        payload(frames, 8 + 16 + 10),
        format!("0000000001000000{}00010100000000000000", "22".repeat(16))
    );
    // No epoch; keyspace 1 `users`, leveled, no limit, lz4, no separation; the rest absent.
    let keyspace_len = 27;
    assert_eq!(
        payload(created, keyspace_len),
        "000101057573657273010002000000000000000000000000000000"
    );
    // File 107 in level 0 of keyspace 1; flushed through 7; the log synced to byte 448 of file 2.
    let flush_at = created + frame::encoded_len(keyspace_len);
    let file = format!(
        "0100 6b {} fbef03 4d 09 6102 07000000000000 09 7a01 07000000000000 07 07 02 01 00 05 00",
        "07".repeat(16)
    );
    let expected = format!("00 00 00 00 00 01 {file} 01 0107 00 00 00 00 00 00 00 01 02fbc001 00");
    let expected = expected.replace(' ', "");
    assert_eq!(payload(flush_at, expected.len() / 2), expected);
    assert_eq!(log.size_bytes() as usize, flush_at + frame::encoded_len(expected.len() / 2));
}

#[test]
fn a_rewrite_starts_over_and_keeps_the_old_manifest() {
    let (simulation, mut states) = written(3, false);
    let mut log = create(&simulation, 4, states.last().unwrap()).unwrap();
    let edit = flush(9);
    states.push(states.last().unwrap().apply(&edit).unwrap());
    log.append(&edit).unwrap();
    log.rewrite(FileNumber(5), FileId([5; 16]), states.last().unwrap()).unwrap();
    assert_eq!(log.number(), FileNumber(5));
    let recovered = recover(&simulation.fs, dir()).unwrap();
    assert_eq!((recovered.number, recovered.edit_count), (FileNumber(5), 0));
    assert_eq!(recovered.version, *states.last().unwrap());
    assert!(simulation.fs.exists(&manifest_path(4)).unwrap());
}

#[test]
fn an_empty_directory_is_told_from_a_lost_current() {
    let simulation = simulation();
    let kind = |fs: &SimulatedFs| recover(fs, dir()).unwrap_err().kind();
    assert_eq!(kind(&SimulatedFs::new()), ErrorKind::NotFound);
    assert_eq!(kind(&simulation.fs), ErrorKind::NotFound);
    create(&simulation, 1, &first()).unwrap();
    simulation.fs.remove_file(&dir().join(CURRENT)).unwrap();
    // What a crash in the middle of a creation leaves.
    assert_eq!(kind(&simulation.fs), ErrorKind::NotFound);
    create(&simulation, 1, &first()).unwrap();
    simulation.fs.create_new(&dir().join("0000000002.wal")).unwrap();
    recover(&simulation.fs, dir()).unwrap();
    simulation.fs.remove_file(&dir().join(CURRENT)).unwrap();
    assert_eq!(kind(&simulation.fs), ErrorKind::Corruption);
}

#[test]
fn a_missing_or_foreign_manifest_is_refused() {
    let (simulation, _) = written(2, false);
    let other = written(1, false).0;
    create(&other, 1, &Version::new([0x33; 16])).unwrap();
    let foreign = read(&other.fs, &manifest_path(1));
    overwrite(&simulation.fs, &manifest_path(1), 0, &foreign);
    assert_eq!(recover(&simulation.fs, dir()).unwrap_err().kind(), ErrorKind::Corruption);
    simulation.fs.remove_file(&manifest_path(1)).unwrap();
    assert_eq!(recover(&simulation.fs, dir()).unwrap_err().kind(), ErrorKind::Corruption);
}

#[test]
fn a_truncation_anywhere_is_refused() {
    for name in [manifest_path(1), dir().join(CURRENT)] {
        let (simulation, _) = written(3, true);
        let len = read(&simulation.fs, &name).len() as u64;
        for len in (0..len).rev() {
            simulation.fs.open(&name, OpenMode::ReadWrite).unwrap().truncate(len).unwrap();
            let error = recover(&simulation.fs, dir()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption, "{len}");
            assert!(error.path().is_some() && error.offset().is_some());
        }
    }
}

/// Flips every bit of what was written and some of the reserve, and hands each outcome to `judge`.
fn flip_every_bit(
    simulation: &Simulation,
    path: &Path,
    mut judge: impl FnMut(usize, Result<crate::Recovered>),
) {
    let bytes = read(&simulation.fs, path);
    let used = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    let reserve = (used * 8..bytes.len() * 8).step_by(97);
    for bit in (0..used * 8).chain(reserve) {
        let (at, mask) = (bit / 8, 1 << (bit % 8));
        overwrite(&simulation.fs, path, at as u64, &[bytes[at] ^ mask]);
        judge(at, recover(&simulation.fs, dir()));
        overwrite(&simulation.fs, path, at as u64, &[bytes[at]]);
    }
}

#[test]
fn a_flipped_bit_costs_at_most_the_last_edit_or_is_refused() {
    let (simulation, states) = written(4, false);
    let (mut refused, mut torn) = (0, 0);
    flip_every_bit(&simulation, &manifest_path(1), |at, outcome| match outcome {
        Ok(recovered) => {
            let whole = recovered.version == states[4];
            assert!(whole || recovered.version == states[3], "byte {at}");
            assert!(recovered.torn_bytes > 0, "byte {at}");
            torn += 1;
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corruption, "byte {at}: {error}");
            refused += 1;
        }
    });
    assert!(refused > 1000 && torn > 1000, "{refused} {torn}");
}

#[test]
fn a_flipped_bit_of_a_closed_manifest_is_refused_or_costs_the_seal() {
    let (simulation, states) = written(4, true);
    flip_every_bit(&simulation, &manifest_path(1), |at, outcome| match outcome {
        Ok(recovered) => {
            // The seal itself: the log's own seal then stands in for it. Behind it nothing counts.
            let is_open = recovered.torn_bytes > 0;
            let expected = if is_open { &states[4] } else { states.last().unwrap() };
            assert_eq!(recovered.version, *expected, "byte {at}");
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Corruption, "byte {at}: {error}"),
    });
}

/// After a power cut ext4 may show what once stood in the blocks that were reserved. A closed database was refused for
/// that.
#[test]
fn what_stands_behind_the_closing_edit_does_not_count() {
    let (simulation, states) = written(4, true);
    let path = manifest_path(1);
    let bytes = read(&simulation.fs, &path);
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    for at in [end.next_multiple_of(8), end.next_multiple_of(512), end.next_multiple_of(1024)] {
        let junk: Vec<u8> = (at..bytes.len()).map(|i| (i * 31 % 251) as u8 | 1).collect();
        overwrite(&simulation.fs, &path, at as u64, &junk);
        let recovered = recover(&simulation.fs, dir()).unwrap();
        assert_eq!(recovered.version, *states.last().unwrap());
        assert_eq!(recovered.torn_bytes, 0);
        overwrite(&simulation.fs, &path, at as u64, &bytes[at..]);
    }
}

#[test]
fn a_flipped_bit_of_current_is_refused() {
    let (simulation, _) = written(1, true);
    flip_every_bit(&simulation, &dir().join(CURRENT), |at, outcome| {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Corruption, "byte {at}");
    });
}

#[test]
fn frames_of_a_later_version_are_unsupported_not_torn() {
    for (kind, version) in [(2, 3), (3, 2)] {
        let simulation = simulation();
        let log = create(&simulation, 1, &first()).unwrap();
        let mut bytes = Vec::new();
        let synced = LogPosition { file: FileNumber(1), offset: log.size_bytes() };
        frame::encode(FileId([1; 16]), log.size_bytes(), kind, version, synced, b"?", &mut bytes);
        overwrite(&simulation.fs, &manifest_path(1), log.size_bytes(), &bytes);
        assert_eq!(recover(&simulation.fs, dir()).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}

#[test]
fn a_whole_edit_that_contradicts_the_picture_is_corruption() {
    let (simulation, _) = written(1, false);
    let mut log = create(&simulation, 3, &first()).unwrap();
    log.append(&flush(1)).unwrap();
    log.append(&flush(1)).unwrap();
    let error = recover(&simulation.fs, dir()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
}

#[test]
fn a_failed_sync_poisons_and_the_edit_is_there_or_not() {
    for failure in
        [SyncFailure::LostStillCached, SyncFailure::LostReverted, SyncFailure::PersistedAnyway]
    {
        let simulation = simulation();
        let mut log = create(&simulation, 1, &first()).unwrap();
        log.append(&flush(1)).unwrap();
        simulation.fs.fail_syncs("", failure, Some(1));
        let error = log.append(&flush(2)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert_eq!(log.append(&flush(3)).unwrap_err().to_string(), error.to_string());
        assert!(log.rewrite(FileNumber(9), FileId([9; 16]), &first()).is_err());
        assert!(log.failure().is_some());
        let after = simulation.crash(CrashPolicy::DropAll, 0);
        assert!((1..=2).contains(&recover(&after.fs, dir()).unwrap().edit_count));
    }
}

#[test]
fn a_closed_manifest_takes_nothing_more() {
    let simulation = simulation();
    let mut log = create(&simulation, 1, &first()).unwrap();
    log.append(&close()).unwrap();
    let rewritten = log.rewrite(FileNumber(9), FileId([9; 16]), &first());
    for error in [log.append(&flush(1)).unwrap_err(), rewritten.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    }
    assert!(log.failure().is_none());
    assert_eq!(recover(&simulation.fs, dir()).unwrap().edit_count, 1);
}

#[test]
fn an_edit_over_the_limit_changes_nothing() {
    let simulation = simulation();
    let mut log = create(&simulation, 1, &first()).unwrap();
    let name = "x".repeat(esker_base::limits::FRAME_PAYLOAD_MAX);
    let edit =
        Edit { created_keyspaces: vec![KeyspaceMeta::new(KeyspaceId(2), name)], ..Edit::default() };
    assert_eq!(log.append(&edit).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert!(log.failure().is_none());
    log.append(&flush(1)).unwrap();
    // Nor is a picture that contradicts itself ever written.
    let mut bad = first();
    bad.next_keyspace = KeyspaceId(1);
    assert!(log.rewrite(FileNumber(9), FileId([9; 16]), &bad).is_err());
    assert_eq!(recover(&simulation.fs, dir()).unwrap().edit_count, 1);
}

/// Each call of a rewrite, and of an append that outgrows the reserve, fails once. Where the log says that it can go
/// on, it does, and everything acknowledged is there; where it is in doubt, it takes nothing more.
#[test]
fn a_failure_at_any_call_of_a_rewrite_or_an_extension_is_survived() {
    use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};
    let (mut in_doubt, mut goes_on) = (0, 0);
    for is_rewrite in [true, false] {
        for (fault, call) in [Fault::Fail, Fault::FailAfter]
            .into_iter()
            .flat_map(|fault| (0..20).map(move |call| (fault, call)))
        {
            let simulation = simulation();
            let fs = FaultFs::new(simulation.world().fs);
            let mut world = simulation.world();
            world.fs = Arc::new(fs.clone());
            let mut version = first();
            let id = FileId([1; 16]);
            let mut log = ManifestLog::create(&world, dir(), FileNumber(1), id, &version).unwrap();
            let mut count = 0;
            let mut append = |log: &mut ManifestLog, version: &mut Version| {
                count += 1;
                log.append(&flush(count)).map(|()| version.apply_in_place(&flush(count)).unwrap())
            };
            append(&mut log, &mut version).unwrap();
            // Up to the edit for which the file has to grow.
            while !is_rewrite && log.live.end + 300 < log.live.allocated {
                append(&mut log, &mut version).unwrap();
            }
            fs.inject(Rule::new(fault(Failure::Io)).after(call));
            let result = match is_rewrite {
                true => log.rewrite(FileNumber(9), FileId([9; 16]), &version),
                false => (0..3).try_for_each(|_| append(&mut log, &mut version)),
            };
            if fs.strikes() == 0 {
                assert!(result.is_ok());
                break;
            }
            fs.clear();
            let what = format!("rewrite {is_rewrite}, call {call}: {result:?}");
            if log.failure().is_some() {
                in_doubt += 1;
                let before = fs.calls();
                let again = log.append(&flush(5000)).unwrap_err();
                assert_eq!(again.to_string(), result.unwrap_err().to_string(), "{what}");
                assert_eq!(fs.calls(), before, "{what}");
            } else {
                goes_on += 1;
                let edit = flush(5000);
                log.append(&edit).unwrap_or_else(|error| panic!("{what}: {error}"));
                version.apply_in_place(&edit).unwrap();
            }
            let after = simulation.crash(CrashPolicy::DropAll, 0);
            let found = recover(&after.fs, dir()).unwrap_or_else(|e| panic!("{what}: {e}"));
            let files = |version: &Version| version.live_sstables();
            assert!(files(&found.version).is_superset(&files(&version)), "{what}");
        }
    }
    assert!(in_doubt > 3 && goes_on > 8, "{in_doubt} {goes_on}");
}

#[test]
fn a_full_disk_stops_an_edit_and_room_lets_it_through() {
    let simulation = simulation();
    let mut log = create(&simulation, 1, &first()).unwrap();
    simulation.fs.set_capacity(RESERVE_BYTES + 1024);
    let mut count = 0;
    let error = loop {
        match log.append(&flush(count + 1)) {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert!(count > 50, "the reserve held {count} edits");
    assert!(log.failure().is_none());
    let mut version = first();
    (1..=count).for_each(|n| version.apply_in_place(&flush(n)).unwrap());
    let error = log.rewrite(FileNumber(9), FileId([9; 16]), &version).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert_eq!(recover(&simulation.fs, dir()).unwrap().version, version);
    simulation.fs.set_capacity(u64::MAX);
    log.append(&flush(count + 1)).unwrap();
    assert_eq!(recover(&simulation.fs, dir()).unwrap().edit_count, count + 1);
}

/// Power cuts before every call of: create, append, grow, rewrite, append, close. What was
/// acknowledged before the cut is there after it, whatever the disk kept of the rest.
#[test]
fn a_crash_at_any_call_leaves_a_prefix_with_every_acknowledged_edit() {
    let simulation = simulation();
    simulation.fs.record_states();
    // The call number after which so many edits are acknowledged.
    let mut acknowledged = Vec::new();
    let mut states = vec![first()];
    let mut log = create(&simulation, 1, &states[0]).unwrap();
    acknowledged.push(simulation.fs.ops());
    // Enough to outgrow the reserve of the second manifest.
    let count = 180;
    for n in 1..=count {
        let edit = flush(n);
        states.push(states.last().unwrap().apply(&edit).unwrap());
        log.append(&edit).unwrap();
        acknowledged.push(simulation.fs.ops());
        if n == 3 {
            log.rewrite(FileNumber(3), FileId([3; 16]), states.last().unwrap()).unwrap();
        }
    }
    assert!(log.size_bytes() > RESERVE_BYTES + 1024);
    states.push(states.last().unwrap().apply(&close()).unwrap());
    log.append(&close()).unwrap();
    acknowledged.push(simulation.fs.ops());
    let mut images = 0u64;
    for (op, disk) in simulation.fs.take_states() {
        let at_least = acknowledged.iter().take_while(|&&after| after <= op).count();
        let seeded = [CrashPolicy::Ordered, CrashPolicy::Posix, CrashPolicy::Hostile];
        let mut cases: Vec<(CrashPolicy, u64)> =
            disk.exhaustive_policies(512).into_iter().map(|policy| (policy, 0)).collect();
        for policy in seeded {
            cases.extend((0..6).map(|seed| (policy, seed)));
        }
        for (policy, seed) in cases {
            images += 1;
            let image = disk.image(policy, seed);
            match recover(&image, dir()) {
                Ok(recovered) => {
                    let n = states.iter().position(|state| *state == recovered.version);
                    let n = n.unwrap_or_else(|| panic!("op {op} {policy:?} {seed}: no prefix"));
                    assert!(n + 1 >= at_least, "op {op} {policy:?} {seed}: {n} of {at_least}");
                }
                Err(error) => {
                    let creating = at_least == 0 && error.kind() == ErrorKind::NotFound;
                    assert!(creating, "op {op} {policy:?} {seed}: {error}");
                }
            }
        }
    }
    println!("{images} crash images");
    assert!(images > 2000);
}
