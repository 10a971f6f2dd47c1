//! Merges from end to end on a simulated disk, against a plain map of versions; and what is left
//! after a failure.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use esker_base::{EntryKind, KeyspaceId, SeqNo};
use esker_manifest::{AddedFile, Edit, KeyspaceMeta, MovedFile, RemovedFile, Version};
use esker_sstable::{BlockCache, Identity, ReadMode};
use esker_vfs::Call;
use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};
use esker_vfs::simulated::{CrashPolicy, SimulatedFs};
use proptest::{prelude::any, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::strategy::{Leveled, Options, Picture, Strategy, Tiered, pick_range};

const KEYSPACE: KeyspaceId = KeyspaceId(1);

/// A cursor over sorted entries; only what a merge needs goes anywhere.
struct Entries {
    entries: Vec<(Vec<u8>, Vec<u8>)>,
    at: usize,
    positioned: bool,
}

impl Entries {
    fn new(mut entries: Vec<(Vec<u8>, Vec<u8>)>) -> Entries {
        entries.sort_by(|a, b| key::compare(&a.0, &b.0));
        Entries { entries, at: 0, positioned: false }
    }
}

impl Cursor for Entries {
    fn valid(&self) -> bool {
        self.positioned && self.at < self.entries.len()
    }
    fn seek_to_first(&mut self) -> Result<()> {
        (self.at, self.positioned) = (0, true);
        Ok(())
    }
    fn seek_to_last(&mut self) -> Result<()> {
        (self.at, self.positioned) = (self.entries.len().wrapping_sub(1), true);
        Ok(())
    }
    fn seek(&mut self, target: &[u8]) -> Result<()> {
        self.at = self.entries.partition_point(|(k, _)| key::compare(k, target).is_lt());
        self.positioned = true;
        Ok(())
    }
    fn seek_for_prev(&mut self, target: &[u8]) -> Result<()> {
        let after = self.entries.partition_point(|(k, _)| key::compare(k, target).is_le());
        (self.at, self.positioned) = (after.wrapping_sub(1), true);
        Ok(())
    }
    fn next(&mut self) -> Result<()> {
        self.at += 1;
        Ok(())
    }
    fn prev(&mut self) -> Result<()> {
        self.at = self.at.wrapping_sub(1);
        Ok(())
    }
    fn key(&self) -> &[u8] {
        &self.entries[self.at].0
    }
    fn value(&self) -> &[u8] {
        &self.entries[self.at].1
    }
}

fn put(key: &str, seq: u64, value: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (key::encode(key.as_bytes(), SeqNo(seq), EntryKind::Put), value.to_vec())
}

/// A limiter that counts.
#[derive(Default)]
struct Counting(Mutex<u64>);

impl Limiter for Counting {
    fn spend(&self, bytes: u64) {
        *self.0.lock().unwrap() += bytes;
    }
}

/// A disk, a picture and what the engine would hand in.
struct Bench {
    fs: Arc<dyn Fs>,
    cache: Arc<BlockCache>,
    version: Version,
    next: u64,
    last_number: u64,
    target_file_bytes: u64,
    grandparent_bytes_max: u64,
    grandparents: Vec<Arc<FileMeta>>,
    cancel: AtomicBool,
    limiter: Counting,
}

impl Bench {
    fn new(fs: Arc<dyn Fs>) -> Bench {
        fs.create_dir_all(Path::new("/db")).unwrap();
        let mut edit = Edit::default();
        edit.created_keyspaces.push(KeyspaceMeta::new(KEYSPACE, "k"));
        Bench {
            fs,
            cache: Arc::new(BlockCache::new(0)),
            version: Version::new([0; 16]).apply(&edit).unwrap(),
            next: 1,
            last_number: u64::MAX,
            target_file_bytes: 2000,
            grandparent_bytes_max: u64::MAX,
            grandparents: Vec::new(),
            cancel: AtomicBool::new(false),
            limiter: Counting::default(),
        }
    }

    fn levels(&self) -> &[Vec<Arc<FileMeta>>] {
        &self.version.keyspaces[&KEYSPACE].levels
    }

    /// Runs `work` with a context and everything it may need.
    fn with<T>(&mut self, work: impl FnOnce(&mut BuildContext<'_>) -> T) -> T {
        let (next, last) = (&mut self.next, self.last_number);
        let mut next_file = || {
            if *next == last {
                return Err(Error::invalid("no more numbers"));
            }
            *next += 1;
            Ok((FileNumber(*next), FileId([*next as u8; 16])))
        };
        let mut ctx = BuildContext {
            fs: self.fs.clone(),
            dir: Path::new("/db"),
            writer: WriterOptions {
                block_size_bytes: 256,
                compression: esker_sstable::Compression::None,
                filter_bits_per_key: 0,
                ..WriterOptions::default()
            },
            values: ValuePolicy::none(),
            target_file_bytes: self.target_file_bytes,
            grandparents: self.grandparents.clone(),
            grandparent_bytes_max: self.grandparent_bytes_max,
            cancel: &self.cancel,
            limiter: &self.limiter,
            next_file: &mut next_file,
            now_ms: 7,
        };
        work(&mut ctx)
    }

    fn build(
        &mut self,
        entries: Vec<(Vec<u8>, Vec<u8>)>,
        snapshots: &[SeqNo],
    ) -> Result<Vec<FileMeta>> {
        let rules = Rules { snapshots, floor: None, keep_tombstones: false };
        let retain = Retain::new(rules, Below::unknown());
        self.with(|ctx| build(&mut Entries::new(entries), retain, ctx)).map(|built| built.files)
    }

    fn compact(&mut self, task: &Task, rules: Rules<'_>) -> Result<Vec<FileMeta>> {
        let (fs, cache) = (self.fs.clone(), self.cache.clone());
        let open = move |meta: &Arc<FileMeta>| open_file(&fs, &cache, meta).map(Arc::new);
        let levels = self.levels().to_vec();
        self.with(|ctx| compact(task, &levels, rules, &open, ctx)).map(|built| built.files)
    }

    fn add(&mut self, level: usize, outputs: Vec<FileMeta>, task: Option<&Task>) {
        let mut edit = Edit::default();
        for (from, file) in task.into_iter().flat_map(|task| &task.inputs) {
            let (keyspace, number, from) = (KEYSPACE, file.number, *from);
            if task.is_some_and(|task| task.kind == TaskKind::Move) {
                edit.moved_files.push(MovedFile { keyspace, number, from, to: level });
            } else {
                edit.removed_files.push(RemovedFile { keyspace, level: from, number });
            }
        }
        edit.added_files.extend(outputs.into_iter().map(|file| AddedFile {
            keyspace: KEYSPACE,
            level,
            file: Arc::new(file),
        }));
        self.version = self.version.apply(&edit).unwrap();
        self.version.check().unwrap();
    }

    /// Every version in the files: key -> sequence -> value, `None` for a delete.
    fn content(&self) -> BTreeMap<Vec<u8>, BTreeMap<u64, Option<Vec<u8>>>> {
        let mut content: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for file in self.levels().iter().flatten() {
            let mut cursor =
                Arc::new(open_file(&self.fs, &self.cache, file).unwrap()).cursor(false);
            cursor.seek_to_first().unwrap();
            while cursor.valid() {
                let entry = esker_base::InternalKey::decode(cursor.key()).unwrap();
                let value = (entry.kind == EntryKind::Put).then(|| cursor.value().to_vec());
                content.entry(entry.user_key.to_vec()).or_default().insert(entry.seq.0, value);
                cursor.next().unwrap();
            }
        }
        content
    }

    fn names(&self) -> BTreeSet<String> {
        self.fs.list(Path::new("/db")).unwrap().into_iter().collect()
    }
}

fn open_file(fs: &Arc<dyn Fs>, cache: &Arc<BlockCache>, meta: &FileMeta) -> Result<Reader> {
    let FileMeta { number, file_id, len, checksum, .. } = *meta;
    let identity = Identity { number, file_id, len, checksum };
    Reader::open(fs, Path::new("/db"), &identity, ReadMode::Positioned, cache.clone())
}

fn simulated() -> Bench {
    Bench::new(Arc::new(SimulatedFs::new()))
}

/// A hundred keys with values of a hundred bytes.
fn hundred(seq: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    (0..100).map(|n| put(&format!("k{n:03}"), seq + n, &[n as u8; 100])).collect()
}

#[test]
fn outputs_are_cut_at_the_target_and_recorded_exactly() {
    let mut bench = simulated();
    let outputs = bench.build(hundred(1), &[SeqNo(500)]).unwrap();
    assert!((5..=7).contains(&outputs.len()), "{}", outputs.len());
    assert_eq!(outputs.iter().map(|file| file.entry_count).sum::<u64>(), 100);
    assert!(outputs.iter().all(|file| file.created_ms == 7 && file.validate().is_ok()));
    let written: u64 = outputs.iter().map(|file| file.len).sum();
    assert_eq!(*bench.limiter.0.lock().unwrap(), written);
    bench.add(1, outputs, None);
    assert_eq!(bench.content().len(), 100);
}

#[test]
fn outputs_survive_a_power_cut_with_their_names() {
    let disk = SimulatedFs::new();
    let mut bench = Bench::new(Arc::new(disk.clone()));
    disk.sync_dir(Path::new("/")).unwrap();
    let outputs = bench.build(hundred(1), &[SeqNo(500)]).unwrap();
    bench.add(1, outputs, None);
    bench.fs = Arc::new(disk.crash(CrashPolicy::DropAll, 0));
    assert_eq!(bench.content().len(), 100);
}

#[test]
fn nothing_to_write_makes_no_file() {
    let mut bench = simulated();
    assert!(bench.build(Vec::new(), &[SeqNo(500)]).unwrap().is_empty());
    assert!(bench.names().is_empty());
}

#[test]
fn versions_of_one_key_are_never_split() {
    let mut bench = simulated();
    let mut entries: Vec<_> = (0..200).map(|seq| put("m", seq, &[0; 100])).collect();
    entries.extend([put("a", 300, b""), put("z", 301, b"")]);
    // Without snapshots every version stays.
    let outputs = bench.build(entries, &[]).unwrap();
    assert_eq!(outputs.len(), 2);
    assert_eq!(outputs[0].entry_count, 201);
    bench.add(1, outputs, None);
}

#[test]
fn outputs_are_cut_early_where_they_would_overlap_too_much_below() {
    let mut bench = simulated();
    bench.target_file_bytes = 6000;
    let below = bench.build(hundred(1), &[SeqNo(500)]).unwrap();
    bench.target_file_bytes = 16_000;
    let whole = bench.build(hundred(200), &[SeqNo(500)]).unwrap();
    assert!(below.len() > 1 && whole.len() == 1);
    bench.grandparents = below.iter().cloned().map(Arc::new).collect();
    bench.grandparent_bytes_max = 1;
    let cut = bench.build(hundred(200), &[SeqNo(500)]).unwrap();
    let ends = |files: &[FileMeta]| -> Vec<Vec<u8>> {
        files.iter().map(|file| file.largest_user_key().to_vec()).collect()
    };
    assert_eq!(ends(&cut)[0], ends(&below)[0]);
    assert_eq!(cut.len(), below.len());
}

#[test]
fn a_cancelled_merge_leaves_nothing() {
    let mut bench = simulated();
    bench.cancel.store(true, Ordering::Relaxed);
    let error = bench.build(hundred(1), &[SeqNo(500)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(bench.names().is_empty());
}

/// The flag is looked at after so many entries, and after so many bytes of values, of which few entries may bring many.
#[test]
fn a_merge_that_copies_large_values_hears_of_a_cancellation() {
    let disk = FaultFs::new(Arc::new(SimulatedFs::new()));
    let mut bench = Bench::new(Arc::new(disk.clone()));
    let (number, id) = (FileNumber(900), FileId([9; 16]));
    let (fs, dir) = (bench.fs.clone(), Path::new("/db"));
    let none = esker_sstable::Compression::None;
    let mut writer = esker_sstable::ValueWriter::create(fs, dir, number, id, none).unwrap();
    let entries = (0..100u8).map(|at| {
        let mut pointer = Vec::new();
        writer.add(&vec![at; 64 << 10]).unwrap().encode_into(&mut pointer);
        (key::encode(&[at], SeqNo(1), EntryKind::ValuePointer), pointer)
    });
    let entries: Vec<_> = entries.collect();
    let meta = Arc::new(crate::value_file_meta(writer.finish().unwrap()));
    let before = disk.calls_of(Call::ReadAt);
    let cancel = AtomicBool::new(false);
    let error = bench.with(|ctx| {
        // Cancelled when the first value is to be copied.
        let mut next_file = || {
            cancel.store(true, Ordering::Relaxed);
            (ctx.next_file)()
        };
        let rules = Rules { snapshots: &[], floor: None, keep_tombstones: false };
        let mut ctx = BuildContext {
            fs: ctx.fs.clone(),
            dir: ctx.dir,
            writer: ctx.writer.clone(),
            values: ValuePolicy {
                emptied: BTreeMap::from([(number, meta)]),
                copy_bytes_max: u64::MAX,
                ..ValuePolicy::none()
            },
            target_file_bytes: u64::MAX,
            grandparents: Vec::new(),
            grandparent_bytes_max: u64::MAX,
            cancel: &cancel,
            limiter: ctx.limiter,
            next_file: &mut next_file,
            now_ms: 7,
        };
        build(&mut Entries::new(entries), Retain::new(rules, Below::unknown()), &mut ctx)
    });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Closed);
    let reads = disk.calls_of(Call::ReadAt) - before;
    assert!((10..30).contains(&reads), "{reads}");
    assert_eq!(bench.names().len(), 1);
}

#[test]
fn every_failing_call_leaves_the_inputs_and_nothing_else() {
    let disk = FaultFs::new(Arc::new(SimulatedFs::new()));
    let mut bench = Bench::new(Arc::new(disk.clone()));
    bench.target_file_bytes = u64::MAX;
    for seq in [1, 200, 400] {
        let outputs = bench.build(hundred(seq), &[SeqNo(900)]).unwrap();
        bench.add(0, outputs, None);
    }
    bench.target_file_bytes = 2000;
    let (before, snapshots) = (bench.names(), [SeqNo(900)]);
    let options = Options::default();
    let busy = BTreeSet::new();
    let levels = bench.levels().to_vec();
    let picture = Picture { levels: &levels, busy: &busy, options: &options };
    let task = pick_range(&picture, None, None).unwrap();
    let rules = Rules { snapshots: &snapshots, floor: None, keep_tombstones: false };
    let mut failures = 0;
    for call in [
        Call::Open,
        Call::ReadAt,
        Call::CreateNew,
        Call::WriteAllAt,
        Call::SyncData,
        Call::SyncAll,
        Call::SyncDir,
    ] {
        for at in 0.. {
            disk.clear();
            disk.inject(Rule::new(Fault::Fail(Failure::Io)).on(&[call]).after(at));
            match bench.compact(&task, rules) {
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Io, "{call:?} {at}: {error}");
                    assert_eq!(bench.names(), before, "{call:?} {at}");
                    failures += 1;
                }
                Ok(outputs) => {
                    for file in outputs {
                        bench.fs.remove_file(&Path::new("/db").join(file.name())).unwrap();
                    }
                    break;
                }
            }
        }
    }
    println!("{failures} failing calls");
    assert!(failures > 20);
}

#[test]
fn a_full_disk_leaves_the_inputs_and_nothing_else() {
    let disk = SimulatedFs::new();
    let mut bench = Bench::new(Arc::new(disk.clone()));
    let outputs = bench.build(hundred(1), &[SeqNo(900)]).unwrap();
    let len: u64 = outputs.iter().map(|file| file.len).sum();
    let before = bench.names();
    disk.set_capacity(len + 5000);
    let error = bench.build(hundred(200), &[SeqNo(900)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert_eq!(bench.names(), before);
}

#[test]
fn numbers_that_run_out_take_everything_back() {
    let mut bench = simulated();
    bench.last_number = 3;
    let error = bench.build(hundred(1), &[SeqNo(900)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(bench.names().is_empty());
}

/// What a reader at `seq` sees.
fn view(
    content: &BTreeMap<Vec<u8>, BTreeMap<u64, Option<Vec<u8>>>>,
    seq: u64,
) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let newest = |versions: &BTreeMap<u64, Option<Vec<u8>>>| {
        versions.range(..=seq).next_back().and_then(|(_, value)| value.clone())
    };
    let seen = content.iter().filter_map(|(key, versions)| Some((key.clone(), newest(versions)?)));
    seen.collect()
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(48))]

    /// Random writes, flushes and merges: at every snapshot the files say what the plain map says,
    /// and once everything is merged nothing is left that nobody sees.
    #[test]
    fn merges_change_nothing_that_a_reader_sees(
        writes in proptest::collection::vec((0u8..30, 0u8..4, 0usize..200), 1..400),
        flush_every in 5usize..60,
        snapshot_every in 10u64..200,
        tiered in any::<bool>(),
        floor_back in proptest::option::of(0u64..50),
    ) {
        let mut bench = simulated();
        let options = Options {
            base_level_bytes: 3000,
            level_multiplier: 3,
            level0_trigger: 2,
            target_file_bytes: 2000,
            ..Options::default()
        };
        bench.grandparent_bytes_max = 4000;
        let strategy: &dyn Strategy = if tiered { &Tiered } else { &Leveled };
        let mut model: BTreeMap<Vec<u8>, BTreeMap<u64, Option<Vec<u8>>>> = BTreeMap::new();
        let (mut seq, mut snapshots) = (0, Vec::new());
        for chunk in writes.chunks(flush_every) {
            let mut entries = Vec::new();
            for &(id, kind, len) in chunk {
                seq += 1;
                let name = format!("key{id:02}").into_bytes();
                let value = (kind > 0).then(|| vec![id; len]);
                let kind = if value.is_some() { EntryKind::Put } else { EntryKind::Delete };
                let stored = value.clone().unwrap_or_default();
                entries.push((key::encode(&name, SeqNo(seq), kind), stored));
                model.entry(name).or_default().insert(seq, value);
                if seq % snapshot_every == 0 {
                    snapshots.push(SeqNo(seq));
                }
            }
            let mut points = snapshots.clone();
            points.push(SeqNo(seq));
            points.dedup();
            let floor = floor_back.map(|back| SeqNo(seq.saturating_sub(back)));
            let rules = Rules { snapshots: &points, floor, keep_tombstones: false };
            let retain = Retain::new(rules, Below::unknown());
            bench.target_file_bytes = u64::MAX;
            let flushed = bench.with(|ctx| build(&mut Entries::new(entries), retain, ctx)).unwrap().files;
            bench.target_file_bytes = 2000;
            bench.add(0, flushed, None);
            let options =
                Options { droppable_through: rules.droppable_through(), ..options.clone() };
            loop {
                let (levels, busy) = (bench.levels().to_vec(), BTreeSet::new());
                let picture = Picture { levels: &levels, busy: &busy, options: &options };
                let Some(task) = strategy.pick(&picture) else { break };
                let outputs = match task.kind {
                    TaskKind::Merge => bench.compact(&task, rules).unwrap(),
                    _ => Vec::new(),
                };
                bench.add(task.output_level, outputs, Some(&task));
                let content = bench.content();
                let history = floor.map_or(seq, |floor| floor.0)..=seq;
                for point in points.iter().map(|point| point.0).chain(history) {
                    prop_assert_eq!(view(&content, point), view(&model, point), "at {}", point);
                }
            }
        }
        // With no reader but the newest and no history, a full merge leaves live puts only.
        let newest = [SeqNo(seq)];
        let rules = Rules { snapshots: &newest, floor: None, keep_tombstones: false };
        let (levels, busy) = (bench.levels().to_vec(), BTreeSet::new());
        let picture = Picture { levels: &levels, busy: &busy, options: &options };
        if let Some(task) = pick_range(&picture, None, None) {
            let outputs = bench.compact(&task, rules).unwrap();
            bench.add(task.output_level, outputs, Some(&task));
            let content = bench.content();
            prop_assert_eq!(view(&content, seq), view(&model, seq));
            let all = content.values().flat_map(BTreeMap::values);
            prop_assert!(all.clone().all(Option::is_some));
            prop_assert_eq!(all.count(), view(&model, seq).len());
        }
    }
}
