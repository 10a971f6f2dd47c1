//! Which value files are emptied, and by which merge.
#![allow(clippy::unwrap_used)]

use esker_base::{KeyspaceId, SeqNo, ValueReference, key};
use esker_manifest::KeyspaceMeta;
use proptest::{prop_assert, prop_assert_eq, proptest};

use super::*;
use esker_vfs::Call;
use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};
use esker_vfs::simulated::SimulatedFs;

/// A value file of so many values of 100 bytes; what the manifest knows of it, and where they stand.
fn written(fs: &Arc<dyn Fs>, number: u64, count: u8) -> (Arc<ValueFileMeta>, Vec<ValuePointer>) {
    let (number, id) = (FileNumber(number), FileId([number as u8; 16]));
    let (fs, dir) = (Arc::clone(fs), Path::new("/"));
    let mut writer = ValueWriter::create(fs, dir, number, id, Compression::None).unwrap();
    let pointers = (0..count).map(|value| writer.add(&[value; 100]).unwrap()).collect();
    (Arc::new(value_file_meta(writer.finish().unwrap())), pointers)
}

fn emptying(files: &[Arc<ValueFileMeta>], copy_bytes_max: u64) -> Values {
    let emptied = files.iter().map(|file| (file.number, Arc::clone(file))).collect();
    Values::new(ValuePolicy { emptied, copy_bytes_max, ..ValuePolicy::none() })
}

/// Where a merge leaves the value of an entry.
fn placed(values: &mut Values, fs: &Arc<dyn Fs>, pointer: &ValuePointer) -> Result<ValuePointer> {
    let mut next = 1000 + values.copied_bytes();
    let mut next_file = || {
        next += 1;
        Ok((FileNumber(next), FileId([9; 16])))
    };
    let mut place = Place { fs, dir: Path::new("/"), next_file: &mut next_file };
    let key = key::encode(b"k", SeqNo(1), EntryKind::ValuePointer);
    let mut encoded = Vec::new();
    pointer.encode_into(&mut encoded);
    let (_, value) = values.place(&key, &encoded, &mut place)?;
    Ok(ValuePointer::decode(value).unwrap())
}

#[test]
fn few_value_files_are_open_at_once() {
    let fs: Arc<dyn Fs> = Arc::new(SimulatedFs::new());
    let files: Vec<_> = (1..=70).map(|number| written(&fs, number, 2)).collect();
    let metas: Vec<_> = files.iter().map(|(meta, _)| Arc::clone(meta)).collect();
    let mut values = emptying(&metas, u64::MAX);
    for at in 0..2 {
        for (meta, pointers) in &files {
            let now = placed(&mut values, &fs, &pointers[at]).unwrap();
            assert_ne!(now.file, meta.number);
            assert!(values.sources.len() <= 64);
        }
    }
    assert!(values.take_damaged().is_empty());
}

#[test]
fn a_merge_copies_a_bounded_number_of_bytes_and_something_each_time() {
    let fs: Arc<dyn Fs> = Arc::new(SimulatedFs::new());
    let (meta, pointers) = written(&fs, 1, 10);
    // A record has 113 bytes.
    for (bytes_max, expected) in [(0, 0), (1, 1), (113, 1), (114, 2), (300, 3), (10_000, 10)] {
        let mut values = emptying(&[Arc::clone(&meta)], bytes_max);
        let now: Vec<_> = pointers.iter().map(|p| placed(&mut values, &fs, p).unwrap()).collect();
        let copied = now.iter().zip(&pointers).filter(|(now, old)| now != old).count();
        assert_eq!(copied, expected, "{bytes_max}");
        assert_eq!(now[copied..], pointers[copied..], "the rest stays");
        values.remove(&*fs, Path::new("/"));
    }
}

/// Too many open files once made a sound value file count as damaged until the next open.
#[test]
fn only_what_cannot_be_read_is_damage() {
    let disk: Arc<dyn Fs> = Arc::new(SimulatedFs::new());
    let (meta, pointers) = written(&disk, 1, 2);
    let faults = FaultFs::new(disk);
    let fs: Arc<dyn Fs> = Arc::new(faults.clone());
    let rule = |failure, call| Rule::new(Fault::Fail(failure)).on(&[call]).suffix("0000000001.val");
    let outcome = |rules: Vec<Rule>| {
        let mut values = emptying(&[Arc::clone(&meta)], u64::MAX);
        faults.clear();
        rules.into_iter().for_each(|rule| faults.inject(rule));
        let first = placed(&mut values, &fs, &pointers[0]).map(|now| now != pointers[0]);
        faults.clear();
        let second = placed(&mut values, &fs, &pointers[1]).map(|now| now != pointers[1]);
        let damaged = values.take_damaged().len();
        values.remove(&*fs, Path::new("/"));
        (first.map_err(|error| error.kind()), second.unwrap_or(false), damaged)
    };
    let (io, again) = (Failure::Io, Failure::TooManyFiles);
    assert_eq!(outcome(vec![]), (Ok(true), true, 0));
    // It fails once: opening, its two reads, and the record's.
    assert_eq!(outcome(vec![rule(io, Call::Open)]), (Ok(true), true, 0));
    for at in 0..3 {
        assert_eq!(outcome(vec![rule(io, Call::ReadAt).after(at)]), (Ok(true), true, 0), "{at}");
    }
    // It fails for good.
    assert_eq!(outcome(vec![rule(io, Call::ReadAt).sticky()]), (Ok(false), false, 1));
    assert_eq!(outcome(vec![rule(io, Call::ReadAt).after(2).sticky()]), (Ok(false), true, 1));
    // It is not the file's.
    let kind = Err(ErrorKind::Io);
    assert_eq!(outcome(vec![rule(again, Call::Open).sticky()]).0, kind);
    assert_eq!(outcome(vec![rule(again, Call::Open).sticky()]).2, 0);
    assert_eq!(outcome(vec![rule(again, Call::ReadAt).after(2).sticky()]).0, kind);
    assert_eq!(outcome(vec![rule(Failure::NoSpace, Call::ReadAt)]).0, Err(ErrorKind::NoSpace));
}

#[test]
fn a_merge_that_level_0_waits_for_copies_less() {
    // 10 of 100 bytes are live in each.
    let files = [file(1, &[(11, 10), (12, 10), (13, 10), (14, 10)]), file(2, &[(15, 10)])];
    let state = state(&files, &[11, 12, 13, 14, 15]);
    let of = |level: usize| Task {
        inputs: vec![(level, Arc::clone(&files[0]))],
        output_level: 6,
        kind: TaskKind::Merge,
        reason: "",
    };
    let chosen = |level, target| {
        let (emptied, bytes) = to_empty(&state, &of(level), (30, 0), target, &BTreeSet::new());
        (numbers(&emptied), bytes)
    };
    assert_eq!(chosen(6, 1000), (vec![11, 12, 13, 14, 15], 4000));
    assert_eq!(chosen(0, 1000), (vec![11, 12, 13, 14, 15], 1000));
    // They are small: then those that the merge joins go, all of them.
    assert_eq!(chosen(6, 2000), (vec![11, 12, 13, 14, 15], 8400));
    assert_eq!(chosen(0, 2000), (vec![11, 12, 13, 14], 400));
}

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
    fn emptying_comes_to_rest(
        live in proptest::collection::vec((0u64..8, 0u64..8, 1u64..40), 1..40),
        copy_bytes_max in 20u64..200,
    ) {
        let mut tables: BTreeMap<u64, BTreeMap<u64, u64>> = BTreeMap::new();
        for (table, values, bytes) in live {
            let held = tables.entry(table).or_default().entry(100 + values).or_default();
            *held += bytes;
        }
        for next in 200..400 {
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
            // Byte by byte, as many as a merge copies.
            let mut moved = 0;
            for (_, bytes) in held.iter_mut().filter(|(f, _)| emptied.contains_key(&FileNumber(**f))) {
                let some = (*bytes).min(copy_bytes_max - moved);
                *bytes -= some;
                moved += some;
            }
            prop_assert!(moved > 0);
            held.retain(|_, bytes| *bytes > 0);
            held.insert(next, moved);
        }
        prop_assert_eq!("never at rest", "");
    }
}
