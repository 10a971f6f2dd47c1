//! Manifests whose checksums match and whose content does not, and disks that fail a read.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use esker_base::{KeyspaceId, SeqNo};
use esker_vfs::Call;
use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};
use esker_vfs::simulated::Simulation;

use super::*;
use crate::ManifestLog;
use crate::edit::{AddedFile, Edit};
use crate::version::{ClosedSeal, FileMeta, KeyspaceMeta, WalSegmentMeta};

const DIR: &str = "/";
const NUMBER: FileNumber = FileNumber(1);
const ID: FileId = FileId([7; 16]);
const DATABASE: [u8; 16] = [0x22; 16];

/// A frame to forge: kind, version, payload.
type Forged = (u8, u8, Vec<u8>);

fn part(index: u32, count: u32, bytes: &[u8]) -> Forged {
    (1, 2, [&index.to_le_bytes()[..], &count.to_le_bytes(), bytes].concat())
}

fn edit(edit: &Edit) -> Forged {
    (2, 2, v2::encode_edit(edit).unwrap())
}

fn snapshot(version: &Version) -> Vec<u8> {
    v2::encode_snapshot(version).unwrap()
}

fn keyspace() -> Edit {
    let meta = KeyspaceMeta::new(KeyspaceId(1), "users");
    Edit { created_keyspaces: vec![meta], ..Edit::default() }
}

/// A sound database whose manifest's frames are replaced by `frames`.
fn forged(frames: &[Forged]) -> Simulation {
    let simulation = Simulation::new(1);
    let world = simulation.world();
    ManifestLog::create(&world, Path::new(DIR), NUMBER, ID, &Version::new(DATABASE)).unwrap();
    let file = world.fs.open(Path::new("/0000000001.manifest"), OpenMode::ReadWrite).unwrap();
    let len = file.len().unwrap();
    let mut bytes = Vec::new();
    for (kind, version, payload) in frames {
        let offset = (HEADER_LEN + bytes.len()) as u64;
        let synced = LogPosition { file: NUMBER, offset };
        frame::encode(ID, offset, *kind, *version, synced, payload, &mut bytes);
    }
    bytes.resize(bytes.len().max(len as usize - HEADER_LEN), 0);
    file.write_all_at(&bytes, HEADER_LEN as u64).unwrap();
    simulation
}

fn outcome(frames: &[Forged]) -> Result<Recovered> {
    recover(&*forged(frames).world().fs, Path::new(DIR))
}

/// Corruption that says `why` about the frame at `at`.
fn refused(frames: &[Forged], at: u64, why: &str) {
    let error = outcome(frames).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption, "{why}: {error}");
    assert!(error.to_string().contains(why), "{why}: {error}");
    assert_eq!(error.offset(), Some(at), "{why}: {error}");
}

fn end_of(frames: &[Forged]) -> u64 {
    let len = |(_, _, payload): &Forged| frame::encoded_len(payload.len());
    (HEADER_LEN + frames.iter().map(len).sum::<usize>()) as u64
}

#[test]
fn a_snapshot_comes_in_parts_that_follow_one_another() {
    let version = Version::new(DATABASE).apply(&keyspace()).unwrap();
    let bytes = snapshot(&version);
    let (front, back) = bytes.split_at(5);
    let whole = [part(0, 2, front), part(1, 2, back)];
    assert_eq!(outcome(&whole).unwrap().version, version);
    let start = HEADER_LEN as u64;
    let expected = "a snapshot part was expected here";
    refused(&[], start, "nothing was written here");
    refused(&[edit(&keyspace())], start, expected);
    refused(&[part(1, 2, &bytes)], start, expected);
    refused(&[part(0, 0, &bytes)], start, expected);
    refused(&[part(0, u32::MAX, &bytes)], start, "too many snapshot parts");
    refused(&[part(0, PART_COUNT_MAX + 1, &bytes)], start, "too many snapshot parts");
    refused(&[(1, 2, vec![0; PART_PREFIX_LEN - 1])], start, "without its numbers");
    let second = end_of(&whole[..1]);
    refused(&whole[..1], second, "nothing was written here");
    refused(&[part(0, 2, front), part(0, 2, back)], second, expected);
    refused(&[part(0, 2, front), part(1, 1, back)], second, expected);
    refused(&[part(0, 2, front), edit(&keyspace())], second, expected);
    refused(&[part(0, 1, front)], start, "does not decode");
    refused(&[part(0, 1, &snapshot(&Version::new([1; 16])))], start, "another database");
    let mut contradictory = version;
    contradictory.next_keyspace = KeyspaceId(1);
    refused(&[part(0, 1, &snapshot(&contradictory))], start, "out of place");
}

#[test]
fn edits_must_fit_and_end_with_the_closing_one() {
    let segment = WalSegmentMeta {
        number: FileNumber(2),
        file_id: FileId([2; 16]),
        epoch: Default::default(),
        ends_at: None,
        last_seq: None,
    };
    let log = Edit { wal_added: vec![segment], ..Edit::default() };
    let seal = ClosedSeal { segment: FileNumber(2), len: 64, checksum: 1, last_seq: SeqNo(3) };
    let close = Edit { closed: Some(seal.clone()), ..Edit::default() };
    let first = part(0, 1, &snapshot(&Version::new(DATABASE)));
    let start = [first.clone(), edit(&keyspace()), edit(&log)];
    let at = end_of(&start);
    let with = |more: &[Forged]| [&start[..], more].concat();
    assert_eq!(outcome(&with(&[edit(&close)])).unwrap().version.shutdown, Shutdown::Closed(seal));
    refused(&with(&[first]), at, "a second snapshot");
    refused(&with(&[(2, 2, b"?".to_vec())]), at, "does not decode");
    refused(&with(&[edit(&keyspace())]), at, "used before");
    let behind = end_of(&with(&[edit(&close)]));
    refused(&with(&[edit(&close), edit(&Edit::default())]), behind, "behind the closing one");
    // Each part fits, the whole does not: one number for a log segment and an sstable.
    let key = |key| esker_base::key::encode(key, SeqNo(1), esker_base::EntryKind::Put);
    let file = FileMeta {
        number: FileNumber(2),
        file_id: FileId([3; 16]),
        len: 100,
        checksum: 1,
        smallest: key(b"a"),
        largest: key(b"b"),
        min_seq: SeqNo(1),
        max_seq: SeqNo(1),
        entry_count: 2,
        delete_count: 0,
        seq_override: None,
        created_ms: 0,
        values: Vec::new(),
    };
    let added = AddedFile { keyspace: KeyspaceId(1), level: 0, file: Arc::new(file) };
    let table = edit(&Edit { added_files: vec![added], ..Edit::default() });
    let end = end_of(&with(std::slice::from_ref(&table)));
    refused(&with(&[table]), end, "a log segment and an sstable");
}

#[test]
fn a_frame_from_another_place_is_corruption() {
    let simulation = forged(&[part(0, 1, &snapshot(&Version::new(DATABASE)))]);
    let fs = simulation.world().fs;
    let at = end_of(&[part(0, 1, &snapshot(&Version::new(DATABASE)))]);
    let file = fs.open(Path::new("/0000000001.manifest"), OpenMode::ReadWrite).unwrap();
    for (number, offset) in [(2, at), (1, at + 8), (1, 0)] {
        let synced = LogPosition { file: FileNumber(number), offset };
        let mut bytes = Vec::new();
        frame::encode(ID, at, 2, 2, synced, &edit(&keyspace()).2, &mut bytes);
        file.write_all_at(&bytes, at).unwrap();
        let error = recover(&*fs, Path::new(DIR)).unwrap_err();
        assert_eq!((error.kind(), error.offset()), (ErrorKind::Corruption, Some(at)));
    }
}

/// A failed read is an error of the file system: neither damage nor a directory without a database.
#[test]
fn a_disk_that_fails_is_told_from_damage() {
    let simulation = forged(&[part(0, 1, &snapshot(&Version::new(DATABASE)))]);
    let fs = FaultFs::new(simulation.world().fs);
    recover(&fs, Path::new(DIR)).unwrap();
    let fails = |calls: &[Call], suffix: &str| {
        fs.clear();
        fs.inject(Rule::new(Fault::Fail(Failure::Io)).on(calls).suffix(suffix));
        let error = recover(&fs, Path::new(DIR)).unwrap_err();
        assert_eq!((error.kind(), fs.strikes()), (ErrorKind::Io, 1), "{calls:?} {suffix}");
        fs.clear();
    };
    let mut strikes = 0;
    for (call, suffix) in [
        (Call::Open, "CURRENT"),
        (Call::ReadAt, "CURRENT"),
        (Call::Open, ".manifest"),
        (Call::Len, ".manifest"),
        (Call::ReadAt, ".manifest"),
    ] {
        let fs = FaultFs::new(simulation.world().fs);
        fs.inject(Rule::new(Fault::Fail(Failure::Io)).on(&[call]).suffix(suffix));
        let error = recover(&fs, Path::new(DIR)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{call:?} {suffix}");
        strikes += fs.strikes();
    }
    assert_eq!(strikes, 5);
    simulation.fs.remove_file(Path::new("/CURRENT")).unwrap();
    fails(&[Call::List], "");
}

#[test]
fn a_manifest_over_the_limit_is_refused_without_being_read() {
    let dir = tempfile::tempdir().unwrap();
    let world = esker_vfs::World::real();
    ManifestLog::create(&world, dir.path(), NUMBER, ID, &Version::new(DATABASE)).unwrap();
    let path = dir.path().join("0000000001.manifest");
    // Sparse: nothing is allocated.
    world.fs.open(&path, OpenMode::ReadWrite).unwrap().truncate(MANIFEST_LEN_MAX + 1).unwrap();
    let error = recover(&*world.fs, dir.path()).unwrap_err();
    assert_eq!((error.kind(), error.offset()), (ErrorKind::Corruption, Some(MANIFEST_LEN_MAX + 1)));
}
