//! Edits against pictures: what fits, what is refused.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use esker_base::{EntryKind, ErrorKind, FileId};
use proptest::prelude::*;

use super::*;
use crate::edit::{AddedFile, MovedFile, RemovedFile, WalEnd};

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
            let stored = crate::edit::v1::encode_edit(&edit).unwrap();
            prop_assert_eq!(&crate::edit::v1::decode_edit(&stored).unwrap(), &edit);
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
        let stored = crate::edit::v1::encode_snapshot(&version).unwrap();
        prop_assert_eq!(crate::edit::v1::decode_snapshot(&stored).unwrap(), version);
    }
}
