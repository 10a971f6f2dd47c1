//! Edits against pictures: what fits, what is refused.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use esker_base::{EntryKind, ErrorKind, FileId};
use proptest::prelude::*;

use super::*;
use crate::edit::{AddedFile, AddedValueFile, MovedFile, RemovedFile, WalEnd};

fn file(number: u64, low: u8, high: u8, max_seq: u64) -> Arc<FileMeta> {
    Arc::new(FileMeta {
        number: FileNumber(number),
        file_id: FileId([number as u8; 16]),
        len: 100,
        checksum: 1,
        smallest: key::encode(&[low], SeqNo(max_seq), EntryKind::Put),
        largest: key::encode(&[high], SeqNo(0), EntryKind::Put),
        min_seq: SeqNo(0),
        max_seq: SeqNo(max_seq),
        entry_count: 2,
        delete_count: 0,
        seq_override: None,
        created_ms: 0,
        values: Vec::new(),
    })
}

fn created() -> Version {
    let meta = KeyspaceMeta::new(KeyspaceId(1), "users");
    let edit = Edit { created_keyspaces: vec![meta], ..Edit::default() };
    Version::new([9; 16]).apply(&edit).unwrap()
}

fn add(level: usize, file: Arc<FileMeta>) -> AddedFile {
    AddedFile { keyspace: KeyspaceId(1), level, file }
}

fn added(files: &[(usize, Arc<FileMeta>)]) -> Edit {
    let added_files = files.iter().map(|(level, file)| add(*level, file.clone())).collect();
    Edit { added_files, ..Edit::default() }
}

fn refused(version: &Version, edit: &Edit) -> String {
    let before = version.clone();
    let error = version.apply(edit).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(*version, before);
    error.to_string()
}

#[test]
fn level_0_is_ordered_by_newest_entry_and_counters_follow() {
    let files = [(0, file(7, 1, 9, 30)), (0, file(9, 1, 9, 20)), (0, file(8, 1, 9, 40))];
    let version = created().apply(&added(&files)).unwrap();
    let level: Vec<u64> =
        version.keyspaces[&KeyspaceId(1)].levels[0].iter().map(|f| f.number.0).collect();
    assert_eq!(level, [8, 7, 9]);
    assert_eq!((version.next_file, version.last_seq), (FileNumber(10), SeqNo(40)));
    version.check().unwrap();
}

#[test]
fn overlap_below_level_0_is_refused_also_at_the_border() {
    let version = created().apply(&added(&[(1, file(1, 10, 20, 5))])).unwrap();
    for (low, high) in [(0, 10), (20, 30), (12, 13), (0, 99)] {
        refused(&version, &added(&[(1, file(2, low, high, 6))]));
    }
    for (low, high) in [(0, 9), (21, 30)] {
        version.apply(&added(&[(1, file(2, low, high, 6))])).unwrap().check().unwrap();
    }
}

#[test]
fn a_file_is_added_once_and_removed_where_it_is() {
    let version = created().apply(&added(&[(1, file(1, 10, 20, 5))])).unwrap();
    assert!(refused(&version, &added(&[(2, file(1, 40, 50, 6))])).contains("already"));
    let gone =
        |level, number| RemovedFile { keyspace: KeyspaceId(1), level, number: FileNumber(number) };
    for wrong in [gone(2, 1), gone(1, 2), gone(9, 1)] {
        refused(&version, &Edit { removed_files: vec![wrong], ..Edit::default() });
    }
    // One edit may put a new file in the place of an old one.
    let mut replace = added(&[(1, file(2, 15, 25, 6))]);
    replace.removed_files.push(gone(1, 1));
    version.apply(&replace).unwrap().check().unwrap();
}

#[test]
fn a_moved_file_keeps_its_identity() {
    let version = created().apply(&added(&[(0, file(1, 10, 20, 5))])).unwrap();
    let step = MovedFile { keyspace: KeyspaceId(1), number: FileNumber(1), from: 0, to: 6 };
    let moved = version.apply(&Edit { moved_files: vec![step], ..Edit::default() }).unwrap();
    assert!(moved.keyspaces[&KeyspaceId(1)].levels[0].is_empty());
    assert_eq!(moved.keyspaces[&KeyspaceId(1)].levels[6], [file(1, 10, 20, 5)]);
    // The older picture is untouched.
    assert_eq!(version.keyspaces[&KeyspaceId(1)].levels[0].len(), 1);
}

#[test]
fn keyspace_ids_and_names_are_not_reused() {
    let version = created();
    let drop = Edit { dropped_keyspaces: vec![KeyspaceId(1)], ..Edit::default() };
    let dropped = version.apply(&drop).unwrap();
    refused(&dropped, &drop);
    let again = |id, name: &str| Edit {
        created_keyspaces: vec![KeyspaceMeta::new(KeyspaceId(id), name)],
        ..Edit::default()
    };
    refused(&dropped, &again(1, "users"));
    refused(&version, &again(2, "users"));
    refused(&version, &again(2, ""));
    assert_eq!(dropped.apply(&again(5, "users")).unwrap().next_keyspace, KeyspaceId(6));
    let mut contradictory = again(2, "log");
    contradictory.created_keyspaces[0].strategy = StrategyKind::Fifo;
    refused(&version, &contradictory);
}

#[test]
fn flushed_through_and_epochs_only_rise() {
    let flushed =
        |seq| Edit { flushed_through: vec![(KeyspaceId(1), SeqNo(seq))], ..Edit::default() };
    let version = created().apply(&flushed(7)).unwrap();
    assert_eq!(version.last_seq, SeqNo(7));
    refused(&version, &flushed(6));
    version.apply(&flushed(7)).unwrap();
    let opened = |epoch| Edit { opened: Some(Epoch(epoch)), ..Edit::default() };
    let version = version.apply(&opened(3)).unwrap();
    refused(&version, &opened(3));
}

fn segment(number: u64) -> WalSegmentMeta {
    WalSegmentMeta {
        number: FileNumber(number),
        file_id: FileId([number as u8; 16]),
        epoch: Epoch(0),
        ends_at: None,
        last_seq: None,
    }
}

#[test]
fn log_segments_end_once_and_where_the_next_begins() {
    let edit = Edit { wal_added: vec![segment(3), segment(5)], ..Edit::default() };
    let version = created().apply(&edit).unwrap();
    refused(&version, &edit);
    let end = |segment, ends_at, next| Edit {
        wal_ended: vec![WalEnd {
            segment: FileNumber(segment),
            ends_at,
            last_seq: Some(SeqNo(8)),
            continued_by: Some(FileNumber(next)),
        }],
        ..Edit::default()
    };
    refused(&version, &end(3, 100, 6));
    refused(&version, &end(4, 100, 5));
    let ended = version.apply(&end(3, 100, 5)).unwrap();
    assert_eq!((ended.wal[0].ends_at, ended.last_seq), (Some(100), SeqNo(8)));
    refused(&ended, &end(3, 90, 5));
    // A recovery drops the segments behind the tear and continues with a fresh one.
    let mut recovery = end(3, 100, 6);
    recovery.wal_removed.push(FileNumber(5));
    recovery.wal_added.push(segment(6));
    version.apply(&recovery).unwrap().check().unwrap();
}

#[test]
fn a_closed_picture_takes_nothing_but_an_open() {
    let version =
        created().apply(&Edit { wal_added: vec![segment(3)], ..Edit::default() }).unwrap();
    let close = |number| {
        let seal =
            ClosedSeal { segment: FileNumber(number), len: 64, checksum: 5, last_seq: SeqNo(70) };
        Edit { closed: Some(seal), ..Edit::default() }
    };
    refused(&version, &close(4));
    let closed = version.apply(&close(3)).unwrap();
    assert!(matches!(closed.shutdown, Shutdown::Closed(_)));
    assert_eq!(closed.last_seq, SeqNo(70));
    refused(&closed, &Edit { last_seq: Some(SeqNo(80)), ..Edit::default() });
    let opened = closed.apply(&Edit { opened: Some(Epoch(1)), ..Edit::default() }).unwrap();
    assert_eq!(opened.shutdown, Shutdown::Open);
}

#[test]
fn one_number_is_one_file() {
    let mut version = created();
    version.apply_in_place(&added(&[(1, file(1, 10, 20, 5))])).unwrap();
    let meta = KeyspaceMeta::new(KeyspaceId(2), "fork");
    let mut shared = Edit { created_keyspaces: vec![meta], ..Edit::default() };
    shared.added_files.push(AddedFile {
        keyspace: KeyspaceId(2),
        level: 1,
        file: file(1, 10, 20, 5),
    });
    version.apply(&shared).unwrap().check().unwrap();
    Arc::make_mut(&mut shared.added_files[0].file).file_id = FileId([0; 16]);
    version.apply(&shared).unwrap().check().unwrap_err();
}

/// A file whose parts contradict each other, and what is said of it.
type BadFile = (fn(&mut FileMeta), &'static str);

const BAD_FILES: &[BadFile] = &[
    (|f| f.smallest = b"short".to_vec(), "bound"),
    (|f| f.largest = vec![0; 9], "bound"),
    (|f| std::mem::swap(&mut f.smallest, &mut f.largest), "above the largest"),
    (|f| f.min_seq = SeqNo(6), "sequence numbers"),
    (|f| f.max_seq = SeqNo(SeqNo::MAX.0 + 1), "sequence numbers"),
    (|f| f.entry_count = 0, "counts"),
    (|f| f.delete_count = 3, "counts"),
];

#[test]
fn a_file_that_contradicts_itself_is_refused() {
    let version = created();
    for (spoil, why) in BAD_FILES {
        let mut bad = file(1, 10, 20, 5);
        spoil(Arc::make_mut(&mut bad));
        let message = refused(&version, &added(&[(0, bad)]));
        assert!(message.contains(why), "{message}");
    }
}

#[test]
fn what_an_edit_names_must_be_there_and_in_range() {
    let version = created().apply(&Edit { wal_added: vec![segment(3)], ..Edit::default() });
    let version = version.unwrap().apply(&added(&[(1, file(1, 10, 20, 5))])).unwrap();
    let (top, next) = (COUNTER_MAX, COUNTER_MAX + 1);
    let meta = |id, name: String| Edit {
        created_keyspaces: vec![KeyspaceMeta::new(KeyspaceId(id), name)],
        ..Edit::default()
    };
    let mut later = segment(9);
    later.epoch = Epoch(1);
    let mut used = segment(9);
    used.last_seq = Some(SeqNo(SeqNo::MAX.0 + 1));
    let mut elsewhere = added(&[(1, file(2, 1, 2, 6))]);
    elsewhere.added_files[0].keyspace = KeyspaceId(9);
    let step = |from, to| MovedFile { keyspace: KeyspaceId(1), number: FileNumber(1), from, to };
    let none = Edit::default;
    for (edit, why) in [
        (meta(top, "far".into()), "used before or out of range"),
        (meta(u64::MAX, "far".into()), "used before or out of range"),
        (meta(5, "x".repeat(KEYSPACE_NAME_LEN_MAX + 1)), "256 bytes"),
        (added(&[(2, file(top, 1, 2, 6))]), "out of range"),
        (added(&[(LEVEL_COUNT, file(2, 1, 2, 6))]), "does not exist"),
        (elsewhere, "keyspace 9 does not exist"),
        (Edit { wal_added: vec![segment(3)], ..none() }, "there twice"),
        (Edit { wal_added: vec![segment(u64::MAX)], ..none() }, "out of range"),
        (Edit { wal_added: vec![later], ..none() }, "later epoch"),
        (Edit { wal_added: vec![used], ..none() }, "out of range"),
        (Edit { wal_removed: vec![FileNumber(4)], ..none() }, "not live"),
        (Edit { last_seq: Some(SeqNo(u64::MAX)), ..none() }, "out of range"),
        (Edit { flushed_through: vec![(KeyspaceId(9), SeqNo(1))], ..none() }, "not exist"),
        (Edit { opened: Some(Epoch(next)), ..none() }, "out of range"),
        (Edit { next_file: Some(FileNumber(next)), ..none() }, "out of range"),
        (Edit { next_keyspace: Some(KeyspaceId(next)), ..none() }, "out of range"),
        (Edit { moved_files: vec![step(1, LEVEL_COUNT)], ..none() }, "does not exist"),
        (Edit { moved_files: vec![step(2, 1)], ..none() }, "not in level 2"),
    ] {
        let message = refused(&version, &edit);
        assert!(message.contains(why), "{why}: {message}");
    }
    // Floors raise the counters and never lower them.
    let floors = |file, keyspace| Edit {
        next_file: Some(FileNumber(file)),
        next_keyspace: Some(KeyspaceId(keyspace)),
        ..Edit::default()
    };
    let raised = version.apply(&floors(70, 80)).unwrap().apply(&floors(1, 1)).unwrap();
    assert_eq!((raised.next_file, raised.next_keyspace), (FileNumber(70), KeyspaceId(80)));
    // A segment may end without saying what comes next, and says so once.
    let end = WalEnd { segment: FileNumber(3), ends_at: 64, last_seq: None, continued_by: None };
    let ended = version.apply(&Edit { wal_ended: vec![end], ..none() }).unwrap();
    assert_eq!((ended.wal[0].ends_at, ended.wal[0].last_seq), (Some(64), None));
}

/// Each invariant of the whole picture, broken alone: a snapshot's checksum says nothing of its sense.
#[test]
fn a_picture_that_contradicts_itself_is_refused() {
    let mut good = created();
    let meta = KeyspaceMeta::new(KeyspaceId(2), "other");
    let mut edit = added(&[(0, file(1, 1, 9, 5)), (0, file(2, 1, 9, 6)), (1, file(4, 1, 9, 7))]);
    edit.added_files.push(add(1, file(5, 10, 19, 8)));
    edit.created_keyspaces.push(meta);
    edit.wal_added.push(segment(3));
    good.apply_in_place(&edit).unwrap();
    good.check().unwrap();
    let state = |version: &mut Version, change: fn(&mut KeyspaceState)| {
        change(Arc::make_mut(version.keyspaces.get_mut(&KeyspaceId(1)).unwrap()));
    };
    type Spoil = fn(&mut Version, fn(&mut Version, fn(&mut KeyspaceState)));
    let cases: &[(Spoil, &str)] = &[
        (|v, state| state(v, |s| Arc::make_mut(&mut s.meta).id = KeyspaceId(7)), "out of place"),
        (|v, _| v.next_keyspace = KeyspaceId(2), "out of place"),
        (|v, state| state(v, |s| Arc::make_mut(&mut s.meta).name = "other".into()), "two"),
        (|v, state| state(v, |s| Arc::make_mut(&mut s.meta).name.clear()), "0 bytes"),
        (|v, state| state(v, |s| s.flushed_through = SeqNo(9)), "flushed past"),
        (|v, state| state(v, |s| drop(s.levels.pop())), "levels"),
        (|v, state| state(v, |s| s.levels.push(Vec::new())), "levels"),
        (|v, state| state(v, |s| s.levels[0].reverse()), "out of order"),
        (|v, state| state(v, |s| s.levels[1].reverse()), "out of order"),
        (|v, state| state(v, |s| s.levels[1][0] = file(4, 1, 10, 7)), "out of order"),
        (|v, state| state(v, |s| s.levels[2].push(file(4, 1, 9, 7))), "twice"),
        (|v, state| state(v, |s| s.levels[2].push(file(6, 1, 9, 8))), "above the counters"),
        (|v, _| v.last_seq = SeqNo(7), "above the counters"),
        (|v, _| v.next_file = FileNumber(5), "above the counters"),
        (|v, _| v.wal.push(segment(6)), "not yet"),
        (|v, _| v.wal.push(segment(3)), "there twice"),
        (|v, _| v.wal.push(segment(4)), "a log segment and an sstable"),
        (|v, _| v.wal[0].epoch = Epoch(1), "later epoch"),
        (|v, _| v.epoch = Epoch(COUNTER_MAX + 1), "out of range"),
        (|v, _| v.next_file = FileNumber(u64::MAX), "out of range"),
        (|v, _| v.next_keyspace = KeyspaceId(u64::MAX), "out of range"),
        (|v, _| v.last_seq = SeqNo(SeqNo::MAX.0 + 1), "out of range"),
    ];
    for (at, (spoil, why)) in cases.iter().enumerate() {
        let mut bad = good.clone();
        spoil(&mut bad, state);
        let error = bad.check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(why), "{at}: {error}");
    }
    for (spoil, why) in BAD_FILES {
        let mut bad = good.clone();
        let state = Arc::make_mut(bad.keyspaces.get_mut(&KeyspaceId(1)).unwrap());
        spoil(Arc::make_mut(&mut state.levels[0][1]));
        assert!(bad.check().unwrap_err().to_string().contains(why));
    }
}

#[test]
fn a_keyspace_knows_its_bytes_and_where_a_key_may_be() {
    let files = [(0, file(1, 0, 9, 5)), (1, file(2, 10, 20, 6)), (1, file(3, 30, 40, 7))];
    let version = created().apply(&added(&files)).unwrap();
    let state = &version.keyspaces[&KeyspaceId(1)];
    assert_eq!((state.level_bytes(1), state.level_bytes(99), state.total_bytes()), (200, 0, 300));
    let found = |key: u8| state.file_for(1, &[key]).map(|file| file.number.0);
    let expected = [(9, None), (10, Some(2)), (20, Some(2)), (25, None), (40, Some(3)), (41, None)];
    for (key, number) in expected {
        assert_eq!(found(key), number, "{key}");
    }
    assert!(state.file_for(99, b"x").is_none());
}

/// The number of keyspaces is bounded, in edits and in snapshots.
#[test]
fn the_most_keyspaces_are_a_million() {
    let mut version = Version::new([9; 16]);
    let meta = |id: u64| KeyspaceMeta::new(KeyspaceId(id), id.to_string());
    for id in 1..=KEYSPACE_COUNT_MAX as u64 {
        let state = KeyspaceState { levels: vec![], ..KeyspaceState::new(Arc::new(meta(id))) };
        version.keyspaces.insert(KeyspaceId(id), Arc::new(state));
    }
    version.next_keyspace = KeyspaceId(KEYSPACE_COUNT_MAX as u64 + 1);
    let over = KEYSPACE_COUNT_MAX as u64 + 1;
    let edit = Edit { created_keyspaces: vec![meta(over)], ..Edit::default() };
    let error = version.apply_in_place(&edit).unwrap_err();
    assert!(error.to_string().contains("more than"), "{error}");
    version.keyspaces.insert(KeyspaceId(over), Arc::new(KeyspaceState::new(Arc::new(meta(over)))));
    assert!(version.check().unwrap_err().to_string().contains("more than"));
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Create { id: u64, name: u8 },
    Drop { id: u64 },
    Add { id: u64, level: usize, number: u64, low: u8, width: u8 },
    Remove { id: u64, level: usize, number: u64 },
    Move { id: u64, number: u64, from: usize, to: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let (id, level, number) = (1u64..5, 0usize..4, 1u64..12);
    prop_oneof![
        2 => (id.clone(), 0u8..4).prop_map(|(id, name)| Step::Create { id, name }),
        1 => id.clone().prop_map(|id| Step::Drop { id }),
        8 => (id.clone(), level.clone(), number.clone(), 0u8..40, 0u8..8).prop_map(
            |(id, level, number, low, width)| Step::Add { id, level, number, low, width }
        ),
        3 => (id.clone(), level.clone(), number.clone())
            .prop_map(|(id, level, number)| Step::Remove { id, level, number }),
        3 => (id, number, level.clone(), level)
            .prop_map(|(id, number, from, to)| Step::Move { id, number, from, to }),
    ]
}

type Files = BTreeMap<u64, (usize, u8, u8)>;

/// The same rules, written as plainly as possible: keyspace -> (name, number -> (level, low,
/// high)).
#[derive(Clone, Default)]
struct Model {
    keyspaces: BTreeMap<u64, (u8, Files)>,
    next_keyspace: u64,
}

impl Model {
    fn place(&mut self, id: u64, number: u64, level: usize, low: u8, high: u8) -> Option<()> {
        let (_, files) = self.keyspaces.get_mut(&id)?;
        let clash =
            files.values().any(|&(l, a, b)| level > 0 && l == level && a <= high && low <= b);
        if clash || files.contains_key(&number) {
            return None;
        }
        files.insert(number, (level, low, high));
        Some(())
    }

    fn take(&mut self, id: u64, number: u64, level: usize) -> Option<(u8, u8)> {
        let (_, files) = self.keyspaces.get_mut(&id)?;
        files.get(&number).filter(|&&(l, ..)| l == level)?;
        files.remove(&number).map(|(_, low, high)| (low, high))
    }

    fn step(&mut self, step: &Step) -> Option<()> {
        match *step {
            Step::Create { id, name } => {
                if id < self.next_keyspace || self.keyspaces.values().any(|(n, _)| *n == name) {
                    return None;
                }
                self.next_keyspace = id + 1;
                self.keyspaces.insert(id, (name, BTreeMap::new()));
                Some(())
            }
            Step::Drop { id } => self.keyspaces.remove(&id).map(drop),
            Step::Add { id, level, number, low, width } => {
                self.place(id, number, level, low, low + width)
            }
            Step::Remove { id, level, number } => self.take(id, number, level).map(drop),
            Step::Move { id, number, from, to } => {
                let (low, high) = self.take(id, number, from)?;
                self.place(id, number, to, low, high)
            }
        }
    }
}

fn value_file(number: u64, record_count: u64) -> AddedValueFile {
    let file = ValueFileMeta {
        number: FileNumber(number),
        file_id: FileId([number as u8; 16]),
        len: 96 + 100 * record_count,
        checksum: 1,
        record_count,
        record_bytes: 100 * record_count,
    };
    AddedValueFile { keyspace: KeyspaceId(1), file: Arc::new(file) }
}

fn pointing(number: u64, low: u8, references: &[(u64, u64)]) -> Arc<FileMeta> {
    let of =
        |&(file, entries)| ValueReference { file: FileNumber(file), entries, bytes: 100 * entries };
    let mut file = FileMeta::clone(&file(number, low, low + 1, number));
    file.values = references.iter().map(of).collect();
    Arc::new(file)
}

fn value_files(version: &Version) -> Vec<u64> {
    version.check().unwrap();
    let state = &version.keyspaces[&KeyspaceId(1)];
    let stored = crate::edit::v2::encode_snapshot(version).unwrap();
    assert_eq!(crate::edit::v2::decode_snapshot(&stored).unwrap(), *version);
    state.value_files.keys().map(|number| number.0).collect()
}

#[test]
fn a_value_file_stays_as_long_as_an_sstable_points_into_it() {
    let files = [(1, pointing(1, 10, &[(3, 2)])), (1, pointing(2, 20, &[(3, 3), (4, 1)]))];
    let edit =
        Edit { added_value_files: vec![value_file(3, 5), value_file(4, 2)], ..added(&files) };
    let stored = crate::edit::v2::encode_edit(&edit).unwrap();
    assert_eq!(crate::edit::v2::decode_edit(&stored).unwrap(), edit);
    let version = created().apply(&edit).unwrap();
    assert_eq!(value_files(&version), [3, 4]);
    assert_eq!(version.live_value_files(), BTreeSet::from([FileNumber(3), FileNumber(4)]));
    assert_eq!(version.next_file, FileNumber(5));
    let live = version.keyspaces[&KeyspaceId(1)].live_values();
    assert_eq!(live[&FileNumber(3)].entries, 5);
    assert_eq!(live[&FileNumber(4)].bytes, 100);
    let gone = |number| RemovedFile { keyspace: KeyspaceId(1), level: 1, number };
    let without = |number| Edit { removed_files: vec![gone(number)], ..Edit::default() };
    let version = version.apply(&without(FileNumber(2))).unwrap();
    assert_eq!(value_files(&version), [3], "its last reference took 4 along");
    // A rewrite keeps what it points to, and a relocation lets go.
    let rewrite = |references: &[(u64, u64)], brought: Vec<AddedValueFile>| Edit {
        added_value_files: brought,
        removed_files: vec![gone(FileNumber(1))],
        ..added(&[(1, pointing(7, 10, references))])
    };
    assert_eq!(value_files(&version.apply(&rewrite(&[(3, 1)], vec![])).unwrap()), [3]);
    let relocated = version.apply(&rewrite(&[(8, 1)], vec![value_file(8, 1)])).unwrap();
    assert_eq!(value_files(&relocated), [8]);
    assert!(value_files(&version.apply(&without(FileNumber(1))).unwrap()).is_empty());
    let dropped = Edit { dropped_keyspaces: vec![KeyspaceId(1)], ..Edit::default() };
    assert!(version.apply(&dropped).unwrap().live_value_files().is_empty());
}

#[test]
fn references_and_value_files_must_agree() {
    let with = |references: &[(u64, u64)], brought: Vec<AddedValueFile>| Edit {
        added_value_files: brought,
        ..added(&[(1, pointing(1, 10, references))])
    };
    let version = created();
    refused(&version, &with(&[(3, 1)], vec![]));
    refused(&version, &with(&[(3, 3)], vec![value_file(3, 2)]));
    refused(&version, &with(&[(3, 1)], vec![value_file(3, 1), value_file(4, 1)]));
    refused(&version, &with(&[(3, 1)], vec![value_file(3, 1), value_file(3, 1)]));
    refused(&version, &with(&[(4, 1), (3, 1)], vec![value_file(3, 1), value_file(4, 1)]));
    refused(&version, &with(&[(3, 0)], vec![value_file(3, 1)]));
    refused(&version, &Edit { added_value_files: vec![value_file(3, 1)], ..Edit::default() });
    let good = version.apply(&with(&[(3, 1)], vec![value_file(3, 1)])).unwrap();
    let broken = |change: fn(&mut KeyspaceState)| {
        let mut bad = good.clone();
        change(Arc::make_mut(bad.keyspaces.get_mut(&KeyspaceId(1)).unwrap()));
        bad.check().unwrap_err()
    };
    broken(|state| state.value_files.clear());
    broken(|state| state.levels[1].clear());
    broken(|state| {
        let file = state.value_files.remove(&FileNumber(3)).unwrap();
        state.value_files.insert(FileNumber(4), file);
    });
}

fn edit_of(step: &Step) -> Edit {
    let mut edit = Edit::default();
    match *step {
        Step::Create { id, name } => {
            edit.created_keyspaces.push(KeyspaceMeta::new(KeyspaceId(id), format!("k{name}")));
        }
        Step::Drop { id } => edit.dropped_keyspaces.push(KeyspaceId(id)),
        Step::Add { id, level, number, low, width } => edit.added_files.push(AddedFile {
            keyspace: KeyspaceId(id),
            level,
            file: file(number, low, low + width, number),
        }),
        Step::Remove { id, level, number } => edit.removed_files.push(RemovedFile {
            keyspace: KeyspaceId(id),
            level,
            number: FileNumber(number),
        }),
        Step::Move { id, number, from, to } => edit.moved_files.push(MovedFile {
            keyspace: KeyspaceId(id),
            number: FileNumber(number),
            from,
            to,
        }),
    }
    edit
}

proptest! {
    /// A picture accepts what the plain rules accept, holds what they hold, and survives its bytes.
    #[test]
    fn random_histories_agree_with_the_plain_rules(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut version = Version::new([1; 16]);
        let mut model = Model { next_keyspace: 1, ..Model::default() };
        for step in &steps {
            let mut after = model.clone();
            let edit = edit_of(step);
            let stored = crate::edit::v2::encode_edit(&edit).unwrap();
            prop_assert_eq!(&crate::edit::v2::decode_edit(&stored).unwrap(), &edit);
            match (after.step(step), version.apply(&edit)) {
                (Some(()), Ok(next)) => {
                    version = next;
                    model = after;
                }
                (None, Err(_)) => {}
                (expected, got) => prop_assert!(false, "{step:?}: {expected:?}, {got:?}"),
            }
        }
        let held: BTreeMap<u64, Files> = version
            .keyspaces
            .iter()
            .map(|(id, state)| {
                let place = |(level, f): (usize, &Arc<FileMeta>)| {
                    (f.number.0, (level, f.smallest_user_key()[0], f.largest_user_key()[0]))
                };
                (id.0, state.files().map(place).collect())
            })
            .collect();
        let expected: BTreeMap<_, _> =
            model.keyspaces.iter().map(|(id, (_, files))| (*id, files.clone())).collect();
        prop_assert_eq!(held, expected);
        version.check().unwrap();
        let stored = crate::edit::v2::encode_snapshot(&version).unwrap();
        prop_assert_eq!(crate::edit::v2::decode_snapshot(&stored).unwrap(), version);
    }
}
