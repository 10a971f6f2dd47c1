//! Large values apart from their keys: what users see is what the plain map says, through flushes, merges that empty value
//! files, snapshots, crashes and reopens; and no file stays that nothing needs.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use esker_vfs::simulated::{CrashPolicy, Simulation};
use esker_vfs::{Fs, OpenMode};

use super::support::{Rng, seeds, small};
use crate::{
    BackgroundStep, CompactionStrategy, Db, ErrorKind, Keyspace, KeyspaceOptions, ReadMode,
    RepairOptions, Snapshot, repair,
};

const DIR: &str = "/db";

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn options(strategy: CompactionStrategy, compress: bool) -> KeyspaceOptions {
    KeyspaceOptions { strategy, compress, large_value_bytes: Some(16) }
}

fn value_names(fs: &dyn Fs, dir: &str) -> Vec<String> {
    let names = fs.list(Path::new(dir)).unwrap().into_iter();
    names.filter(|name| name.ends_with(".val")).collect()
}

trait Values {
    fn value(&mut self) -> Vec<u8>;
}

impl Values for Rng {
    fn value(&mut self) -> Vec<u8> {
        let len = match self.below(4) {
            0 => self.below(16),
            1 => 16 + self.below(16),
            _ => 100 + self.below(900),
        };
        let first = self.below(256) as u8;
        let plain = self.below(2) == 0;
        (0..len)
            .map(
                |at| {
                    if plain { first } else { self.0.rotate_left(at as u32 % 64) as u8 ^ at as u8 }
                },
            )
            .collect()
    }
}

fn check(ks: &Keyspace, at: Option<&Snapshot>, model: &Map, rng: &mut Rng) {
    let range = match at {
        Some(snapshot) => ks.range_at::<&[u8]>(snapshot, ..),
        None => ks.iter(),
    };
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut back: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut range = range;
    // From both ends in turn, so that they meet somewhere.
    loop {
        let (list, entry) = match rng.below(2) {
            0 => (&mut found, range.next()),
            _ => (&mut back, range.next_back()),
        };
        let Some(entry) = entry else { break };
        let (key, value) = entry.unwrap();
        list.push((key.to_vec(), value.to_vec()));
    }
    found.extend(back.into_iter().rev());
    let expected: Vec<_> = model.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    assert_eq!(found, expected);
    let keys: Vec<Vec<u8>> = (0..40u8).map(|key| vec![b'k', key]).collect();
    for key in &keys {
        let got = match at {
            Some(snapshot) => ks.get_at(snapshot, key).unwrap(),
            None => ks.get(key).unwrap(),
        };
        assert_eq!(got.as_deref(), model.get(key).map(Vec::as_slice), "{key:?}");
        if at.is_none() {
            let read = ks.get_and(key, <[u8]>::to_vec).unwrap();
            assert_eq!(read.as_ref(), model.get(key));
        }
    }
    if at.is_none() {
        let many = ks.get_many(&keys).unwrap();
        for (key, got) in keys.iter().zip(many) {
            assert_eq!(got.as_deref(), model.get(key).map(Vec::as_slice));
        }
    }
}

fn history(seed: u64, strategy: CompactionStrategy, compress: bool, mode: ReadMode) {
    let mut sim = Simulation::new(seed);
    let mut rng = Rng(seed);
    let open = |sim: &Simulation| small(sim.world()).read_mode(mode).open(DIR).unwrap();
    let mut db = open(&sim);
    let mut ks = db.create_keyspace("k", options(strategy, compress)).unwrap();
    let mut model = Map::new();
    let mut snapshots: Vec<(Snapshot, Map)> = Vec::new();
    for step in 0..300 {
        match rng.below(40) {
            0..=24 => {
                let (key, value) = (vec![b'k', rng.below(40) as u8], rng.value());
                ks.put(&key, &value).unwrap();
                model.insert(key, value);
            }
            25..=27 => {
                let key = vec![b'k', rng.below(40) as u8];
                ks.delete(&key).unwrap();
                model.remove(&key);
            }
            28..=30 => db.flush().unwrap(),
            31 => ks.compact().unwrap(),
            32..=34 => {
                let _ = db.run_background_step(BackgroundStep::Compact).unwrap();
                let _ = db.run_background_step(BackgroundStep::CleanUp).unwrap();
            }
            35 if snapshots.len() < 3 => snapshots.push((db.snapshot(), model.clone())),
            36 if !snapshots.is_empty() => {
                let at = rng.below(snapshots.len() as u64) as usize;
                let (snapshot, then) = snapshots.swap_remove(at);
                check(&ks, Some(&snapshot), &then, &mut rng);
            }
            37 => {
                let before = db.verify().unwrap();
                assert!(before.separated_values > 0 || before.value_files == 0);
                while db.run_background_step(BackgroundStep::Scrub).unwrap() {}
                assert_eq!(db.metrics().scrub_errors, 0);
            }
            38 => {
                snapshots.clear();
                drop(ks);
                if rng.below(2) == 0 {
                    db.close().unwrap();
                    drop(db);
                } else {
                    sim = sim.crash(CrashPolicy::DropAll, rng.below(1 << 40));
                    drop(db);
                }
                db = open(&sim);
                ks = db.existing_keyspace("k").unwrap().unwrap();
            }
            39 => check(&ks, None, &model, &mut rng),
            _ => {}
        }
        if step % 60 == 59 {
            check(&ks, None, &model, &mut rng);
        }
    }
    for (snapshot, then) in &snapshots {
        check(&ks, Some(snapshot), then, &mut rng);
    }
    snapshots.clear();
    ks.compact().unwrap();
    while db.run_background_step(BackgroundStep::Compact).unwrap() {}
    while db.run_background_step(BackgroundStep::CleanUp).unwrap() {}
    check(&ks, None, &model, &mut rng);
    db.verify().unwrap();
    let metrics = db.metrics();
    assert_eq!(value_names(&*sim.world().fs, DIR).len() as u64, metrics.value_files);
    let live = metrics.value_file_bytes - metrics.value_garbage_bytes;
    assert!(metrics.value_garbage_bytes <= live / 2 + 1024, "{metrics:?}");
}

#[test]
fn histories_agree_with_a_plain_map() {
    for seed in 0..seeds(24) {
        let strategy = match seed % 3 {
            0 | 1 => CompactionStrategy::Leveled,
            _ => CompactionStrategy::Tiered,
        };
        let mode = if seed % 4 < 2 { ReadMode::Mapped } else { ReadMode::Positioned };
        history(seed, strategy, seed % 2 == 0, mode);
    }
}

fn filled() -> (Simulation, Db, Keyspace) {
    let sim = Simulation::new(1);
    let db = small(sim.world()).open(DIR).unwrap();
    let ks = db.create_keyspace("k", options(CompactionStrategy::Leveled, false)).unwrap();
    for key in 0..20u8 {
        ks.put([key], vec![key; 500]).unwrap();
    }
    db.flush().unwrap();
    (sim, db, ks)
}

#[test]
fn a_flush_separates_and_a_merge_moves_pointers() {
    let (sim, db, ks) = filled();
    let names = value_names(&*sim.world().fs, DIR);
    assert_eq!(names.len(), 1);
    ks.put(b"small", b"stays").unwrap();
    ks.compact().unwrap();
    while db.run_background_step(BackgroundStep::CleanUp).unwrap() {}
    assert_eq!(value_names(&*sim.world().fs, DIR), names, "no value was copied");
    let shown = &db.inspect().keyspaces[0];
    assert_eq!((shown.value_files.len(), shown.large_value_bytes), (1, Some(16)));
    assert_eq!((shown.value_files[0].values, shown.value_files[0].live_values), (20, 20));
    assert!(db.metrics().sstable_bytes < 2000);
    assert_eq!(db.verify().unwrap().separated_values, 20);
}

#[test]
fn a_value_file_leaves_with_its_last_reader() {
    let (sim, db, ks) = filled();
    let mut walk = ks.iter();
    walk.next().unwrap().unwrap();
    for key in 0..20u8 {
        ks.delete([key]).unwrap();
    }
    ks.compact().unwrap();
    while db.run_background_step(BackgroundStep::CleanUp).unwrap() {}
    assert_eq!(db.metrics().value_files, 0);
    assert_eq!(value_names(&*sim.world().fs, DIR).len(), 1, "the walk needs it");
    let rest: Vec<_> = walk.by_ref().map(|entry| entry.unwrap().1[0]).collect();
    assert_eq!(rest, (1..20).collect::<Vec<u8>>());
    drop(walk);
    while db.run_background_step(BackgroundStep::CleanUp).unwrap() {}
    assert!(value_names(&*sim.world().fs, DIR).is_empty());
}

#[test]
fn a_checkpoint_and_a_dropped_keyspace_know_value_files() {
    let (sim, db, ks) = filled();
    db.checkpoint("/copy").unwrap();
    drop(ks);
    db.drop_keyspace("k").unwrap();
    while db.run_background_step(BackgroundStep::CleanUp).unwrap() {}
    assert!(value_names(&*sim.world().fs, DIR).is_empty());
    let copy = small(sim.world()).open("/copy").unwrap();
    let ks = copy.existing_keyspace("k").unwrap().unwrap();
    assert_eq!(ks.get([7]).unwrap().unwrap(), vec![7; 500]);
    copy.verify().unwrap();
}

#[test]
fn damage_is_named_and_costs_no_other_value() {
    for mode in [ReadMode::Mapped, ReadMode::Positioned] {
        let (sim, db, ks) = filled();
        drop(ks);
        db.close().unwrap();
        let name = value_names(&*sim.world().fs, DIR).remove(0);
        let path = Path::new(DIR).join(&name);
        let file = sim.world().fs.open(&path, OpenMode::ReadWrite).unwrap();
        // In the third value.
        file.write_all_at(b"?", 48 + 2 * 513 + 100).unwrap();
        let db = small(sim.world()).read_mode(mode).open(DIR).unwrap();
        let ks = db.existing_keyspace("k").unwrap().unwrap();
        let error = ks.get([2]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        assert_eq!((error.path().unwrap(), error.offset()), (&*path, Some(48 + 2 * 513)));
        assert_eq!(ks.get_and([2], <[u8]>::to_vec).unwrap_err().kind(), ErrorKind::Corruption);
        assert_eq!(ks.get([3]).unwrap().unwrap(), vec![3; 500]);
        let mut walk = ks.iter();
        assert!(walk.next().unwrap().is_ok() && walk.next().unwrap().is_ok());
        assert!(walk.next().unwrap().is_err() && walk.next().is_none());
        assert_eq!(db.verify().unwrap_err().kind(), ErrorKind::Corruption);
        while db.run_background_step(BackgroundStep::Scrub).unwrap() {}
        assert_eq!(db.metrics().scrub_errors, 1);
        // One that is missing, or another file, keeps the database from opening.
        drop((walk, ks));
        db.close().unwrap();
        drop(db);
        file.write_all_at(b"?", 30).unwrap();
        assert_eq!(small(sim.world()).open(DIR).unwrap_err().kind(), ErrorKind::Corruption);
        sim.world().fs.remove_file(&path).unwrap();
        let error = small(sim.world()).open(DIR).unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::Corruption, Some(&*path)));
    }
}

/// Every byte of a value file changed in turn, with the manifest and without: a repair makes it open again, keeps every
/// value that can be read, and names the others.
#[test]
fn a_repair_keeps_what_can_be_read_and_names_the_rest() {
    let (sim, db, ks) = filled();
    drop(ks);
    db.close().unwrap();
    drop(db);
    let name = value_names(&*sim.world().fs, DIR).remove(0);
    let path = Path::new(DIR).join(&name);
    let len = sim.world().fs.metadata(&path).unwrap().len;
    for keeps_manifest in [true, false] {
        for at in (0..60).chain((60..len).step_by(199)).chain(len - 48..len) {
            let sim = Simulation::with_fs(sim.fs.fork(), at);
            let fs = sim.world().fs;
            let file = fs.open(&path, OpenMode::ReadWrite).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 4], at).unwrap();
            if !keeps_manifest {
                let current = fs.list(Path::new(DIR)).unwrap();
                for name in current.iter().filter(|n| n.ends_with(".manifest")) {
                    fs.remove_file(&Path::new(DIR).join(name)).unwrap();
                }
            }
            let options =
                RepairOptions { apply: true, world: Some(sim.world()), ..RepairOptions::default() };
            let report = repair(DIR, &options).unwrap();
            assert!(report.is_applied, "{at}: {report:?}");
            let db = small(sim.world()).open(DIR).unwrap();
            let names = db.keyspaces().unwrap();
            let ks = db.existing_keyspace(&names[0]).unwrap().unwrap();
            let header = at < 48 && !keeps_manifest;
            for key in 0..20u8 {
                let got = ks.get([key]).unwrap();
                let is_named = report.lost_keys.iter().any(|lost| {
                    lost.from.as_deref().is_none_or(|from| from <= &[key][..])
                        && lost.through.as_deref().is_none_or(|through| &[key][..] <= through)
                });
                match got {
                    Some(value) => assert_eq!(value, vec![key; 500], "{at}"),
                    None => assert!(is_named, "{at}: {key} is lost and not named: {report:?}"),
                }
            }
            let kept = (0..20u8).filter(|key| ks.get([*key]).unwrap().is_some()).count();
            assert!(kept >= 19 || header, "{at}: {kept} are kept: {report:?}");
            db.verify().unwrap();
        }
    }
}

/// The manifest is lost: sstables and value files find each other again.
#[test]
fn a_repair_without_a_manifest_finds_the_values() {
    let (sim, db, ks) = filled();
    for key in 0..10u8 {
        ks.put([key], vec![key + 100; 600]).unwrap();
    }
    db.flush().unwrap();
    drop(ks);
    db.close().unwrap();
    drop(db);
    let fs = sim.world().fs;
    for name in fs.list(Path::new(DIR)).unwrap() {
        if name.ends_with(".manifest") || name == "CURRENT" {
            fs.remove_file(&Path::new(DIR).join(name)).unwrap();
        }
    }
    let options =
        RepairOptions { apply: true, world: Some(sim.world()), ..RepairOptions::default() };
    let report = repair(DIR, &options).unwrap();
    assert!(report.is_rebuilt && report.lost_keys.is_empty(), "{report:?}");
    let db = small(sim.world()).open(DIR).unwrap();
    let ks = db.existing_keyspace(&db.keyspaces().unwrap()[0]).unwrap().unwrap();
    for key in 0..20u8 {
        let expected = if key < 10 { vec![key + 100; 600] } else { vec![key; 500] };
        assert_eq!(ks.get([key]).unwrap().unwrap(), expected);
    }
    assert_eq!(db.verify().unwrap().value_files, 2);
}
