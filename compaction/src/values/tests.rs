//! Which value files are emptied, and by which merge.
#![allow(clippy::unwrap_used)]

use esker_base::{KeyspaceId, SeqNo, ValueReference, key};
use esker_manifest::KeyspaceMeta;
use proptest::{prop_assert, prop_assert_eq, proptest};

use super::*;

fn file(number: u64, values: &[(u64, u64)]) -> Arc<FileMeta> {
    let bound = |at: &[u8]| key::encode(at, SeqNo(1), EntryKind::Put);
    let of = |&(file, bytes)| ValueReference { file: FileNumber(file), entries: 1, bytes };
    Arc::new(FileMeta {
        number: FileNumber(number),
        file_id: FileId::default(),
        len: 100,
        checksum: 0,
        smallest: bound(b"a"),
        largest: bound(b"b"),
        min_seq: SeqNo(1),
        max_seq: SeqNo(1),
        entry_count: 10,
        delete_count: 0,
        seq_override: None,
        created_ms: 0,
        values: values.iter().map(of).collect(),
    })
}

/// A keyspace with these sstables in its last level, and value files of 100 bytes.
fn state(files: &[Arc<FileMeta>], value_files: &[u64]) -> KeyspaceState {
    let mut state = KeyspaceState::new(Arc::new(KeyspaceMeta::new(KeyspaceId(1), "k")));
    state.levels[6] = files.to_vec();
    for &number in value_files {
        let meta = ValueFileMeta {
            number: FileNumber(number),
            file_id: FileId::default(),
            len: 196,
            checksum: 0,
            record_count: 10,
            record_bytes: 100,
        };
        state.value_files.insert(meta.number, Arc::new(meta));
    }
    state
}

fn numbers(emptied: &BTreeMap<FileNumber, Arc<ValueFileMeta>>) -> Vec<u64> {
    emptied.keys().map(|number| number.0).collect()
}

#[test]
fn the_worst_files_are_emptied_until_the_rest_is_within_the_bound() {
    // 10, 50, 90 and 100 bytes of 100 are live: 150 bytes of garbage, 250 live.
    let files = [file(1, &[(11, 10), (12, 50)]), file(2, &[(13, 90)]), file(3, &[(14, 100)])];
    let state = state(&files, &[11, 12, 13, 14]);
    assert_eq!(ValueUsage::of(&state), ValueUsage { live_bytes: 250, garbage_bytes: 150 });
    assert_eq!(numbers(&worst(&state, 60, 0, &BTreeSet::new())), [] as [u64; 0]);
    assert_eq!(numbers(&worst(&state, 50, 0, &BTreeSet::new())), [11]);
    assert_eq!(numbers(&worst(&state, 20, 0, &BTreeSet::new())), [11, 12]);
    assert_eq!(
        numbers(&worst(&state, 1, 0, &BTreeSet::new())),
        [11, 12],
        "13 has too little garbage"
    );
    assert_eq!(numbers(&worst(&state, 20, 150, &BTreeSet::new())), [] as [u64; 0]);
    let idle = BTreeSet::new();
    let task = pick(&state.levels, &idle, &worst(&state, 20, 0, &BTreeSet::new())).unwrap();
    assert_eq!((task.inputs[0].1.number, task.output_level), (FileNumber(1), 6));
    let busy = BTreeSet::from([FileNumber(1)]);
    assert_eq!(pick(&state.levels, &busy, &worst(&state, 20, 0, &BTreeSet::new())), None);
    assert_eq!(pick(&state.levels, &idle, &BTreeMap::new()), None);
}

#[test]
fn a_damaged_file_is_neither_emptied_nor_counted() {
    let files = [file(1, &[(11, 10), (12, 50)]), file(2, &[(13, 90)])];
    let state = state(&files, &[11, 12, 13]);
    let damaged = BTreeSet::from([FileNumber(11)]);
    let usage = ValueUsage::without(&state, &damaged);
    assert_eq!(usage, ValueUsage { live_bytes: 140, garbage_bytes: 60 });
    assert_eq!(numbers(&worst(&state, 40, 0, &damaged)), [12]);
    assert_eq!(numbers(&worst(&state, 50, 0, &damaged)), [] as [u64; 0]);
}

#[test]
fn small_files_that_a_merge_empties_for_good_are_joined() {
    let values: Vec<_> = (11..16).map(|number| (number, 10)).collect();
    let of = |inputs: &[&Arc<FileMeta>]| Task {
        inputs: inputs.iter().map(|file| (6, Arc::clone(file))).collect(),
        output_level: 6,
        kind: TaskKind::Merge,
        reason: "",
    };
    let files = [file(1, &values), file(2, &[(15, 10)])];
    let state = state(&files, &[11, 12, 13, 14, 15]);
    let none = BTreeSet::new();
    // A file of 100 bytes is small where one is cut at more than 1600.
    assert_eq!(numbers(&small(&state, &of(&[&files[0]]), 1615, &none)), [] as [u64; 0]);
    assert_eq!(numbers(&small(&state, &of(&[&files[0]]), 1616, &none)), [11, 12, 13, 14]);
    let both = of(&[&files[0], &files[1]]);
    assert_eq!(numbers(&small(&state, &both, 1616, &none)), [11, 12, 13, 14, 15]);
    assert_eq!(numbers(&small(&state, &both, 1600, &none)), [] as [u64; 0]);
    let damaged = BTreeSet::from([FileNumber(11)]);
    assert_eq!(numbers(&small(&state, &both, 1616, &damaged)), [12, 13, 14, 15]);
    assert_eq!(numbers(&small(&state, &of(&[&files[0]]), 1616, &damaged)), [] as [u64; 0]);
    assert_eq!(numbers(&small(&state, &of(&[&files[1]]), 1616, &none)), [] as [u64; 0]);
}

proptest! {
    /// Emptying the worst files, one merge after the other, comes to an end, and then the garbage is within the bound.
    #[test]
    fn emptying_comes_to_rest(live in proptest::collection::vec((0u64..8, 0u64..8, 1u64..40), 1..40)) {
        let mut tables: BTreeMap<u64, BTreeMap<u64, u64>> = BTreeMap::new();
        for (table, values, bytes) in live {
            let held = tables.entry(table).or_default().entry(100 + values).or_default();
            *held += bytes;
        }
        for next in 200..300 {
            let list: Vec<_> = tables
                .iter()
                .map(|(number, held)| {
                    let held: Vec<_> = held.iter().map(|(file, bytes)| (*file, *bytes)).collect();
                    file(*number, &held)
                })
                .collect();
            let mut state = state(&list, &[]);
            for (number, live) in state.live_values() {
                // A file holds 400 bytes when it comes from a flush, and nothing but live ones from a merge.
                let record_bytes = if number.0 < 200 { 400.max(live.bytes) } else { live.bytes };
                let meta = ValueFileMeta {
                    number,
                    file_id: FileId::default(),
                    len: record_bytes + 96,
                    checksum: 0,
                    record_count: 10,
                    record_bytes,
                };
                state.value_files.insert(number, Arc::new(meta));
            }
            let emptied = worst(&state, GARBAGE_PERCENT_RIDE, 0, &BTreeSet::new());
            let Some(task) = pick(&state.levels, &BTreeSet::new(), &emptied) else {
                prop_assert!(emptied.is_empty());
                return Ok(());
            };
            let held = tables.get_mut(&task.inputs[0].1.number.0).unwrap();
            let moved: u64 =
                held.iter().filter(|(f, _)| emptied.contains_key(&FileNumber(**f))).map(|(_, b)| b).sum();
            prop_assert!(moved > 0);
            held.retain(|f, _| !emptied.contains_key(&FileNumber(*f)));
            held.insert(next, moved);
        }
        prop_assert_eq!("never at rest", "");
    }
}
