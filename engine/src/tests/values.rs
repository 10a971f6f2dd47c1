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

pub(super) const DIR: &str = "/db";

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

pub(super) fn options(strategy: CompactionStrategy, compress: bool) -> KeyspaceOptions {
    KeyspaceOptions { strategy, compress, large_value_bytes: Some(16) }
}

pub(super) fn value_names(fs: &dyn Fs, dir: &str) -> Vec<String> {
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

pub(super) fn filled() -> (Simulation, Db, Keyspace) {
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

pub(super) fn damage(sim: &Simulation, name: &str, at: u64) {
    let file = sim.world().fs.open(&Path::new(DIR).join(name), OpenMode::ReadWrite).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

/// Where value `number` of [`filled`] stands in its file.
pub(super) fn inside_value(number: u64) -> u64 {
    48 + number * 513 + 100
}

/// A merge that meets a value that it cannot read once failed, and with it every later one of the keyspace.
#[test]
fn a_damaged_value_holds_up_no_merge_and_is_not_forgotten() {
    for compact in [true, false] {
        let (sim, db, ks) = filled();
        drop(ks);
        db.close().unwrap();
        drop(db);
        let name = value_names(&*sim.world().fs, DIR).remove(0);
        damage(&sim, &name, inside_value(2));
        let db = small(sim.world()).open(DIR).unwrap();
        let ks = db.existing_keyspace("k").unwrap().unwrap();
        for round in 0..12u8 {
            for key in 4..20u8 {
                ks.put([key], vec![key ^ round; 400]).unwrap();
            }
            db.flush().unwrap();
        }
        if compact {
            ks.compact().unwrap();
        }
        let mut steps = 0;
        while db.run_background_step(BackgroundStep::Compact).unwrap() {
            steps += 1;
            assert!(steps < 200, "merges come to rest");
        }
        let metrics = db.metrics();
        assert_eq!((metrics.scrub_errors, metrics.background_errors), (1, 0));
        assert!(metrics.scrub_error.unwrap().contains(&name));
        let check = |ks: &Keyspace| {
            assert_eq!(ks.get([2]).unwrap_err().kind(), ErrorKind::Corruption);
            for key in (0..20u8).filter(|key| *key != 2) {
                let expected = if key < 4 { vec![key; 500] } else { vec![key ^ 11; 400] };
                assert_eq!(ks.get([key]).unwrap().unwrap(), expected);
            }
        };
        check(&ks);
        let live = metrics.value_file_bytes - metrics.value_garbage_bytes;
        let held = 20 * 513;
        assert!(metrics.value_garbage_bytes <= live / 2 + held + 1024, "only that file is kept");
        drop(ks);
        db.close().unwrap();
        drop(db);
        let db = small(sim.world()).open(DIR).unwrap();
        let ks = db.existing_keyspace("k").unwrap().unwrap();
        check(&ks);
        // What is not needed any more goes as ever.
        ks.delete([2]).unwrap();
        ks.compact().unwrap();
        while db.run_background_step(BackgroundStep::CleanUp).unwrap() {}
        assert!(!value_names(&*sim.world().fs, DIR).contains(&name));
        db.verify().unwrap();
    }
}

/// Garbage was no debt, so it waited as long as any other keyspace had something to merge.
#[test]
fn garbage_does_not_wait_for_the_merges_of_a_busier_keyspace() {
    let sim = Simulation::new(1);
    let db = small(sim.world()).open(DIR).unwrap();
    let ks = db.create_keyspace("k", options(CompactionStrategy::Leveled, false)).unwrap();
    let busy = db.create_keyspace("busy", KeyspaceOptions::default()).unwrap();
    // Of each value file one value stays.
    for round in 0..12u8 {
        for key in round..20u8 {
            ks.put([key], vec![key ^ round; 500]).unwrap();
        }
        db.flush().unwrap();
    }
    assert!(db.run_background_step(BackgroundStep::Compact).unwrap());
    let garbage = || db.metrics().value_garbage_bytes;
    assert!(garbage() > 50_000, "{}", garbage());
    for round in 0..60u32 {
        for at in 0..12u32 {
            let key = (round * 12 + at).wrapping_mul(0x9e37_79b9).to_be_bytes();
            busy.put(b"a", []).unwrap();
            busy.put(key, [7; 300]).unwrap();
            busy.put(b"z", []).unwrap();
            db.flush().unwrap();
        }
        assert!(db.run_background_step(BackgroundStep::Compact).unwrap());
    }
    assert!(garbage() <= 10_260 / 2 + 256, "{}", garbage());
}

/// Each flush leaves a value file, however few large values there are.
#[test]
fn small_value_files_are_joined() {
    let sim = Simulation::new(1);
    let db = small(sim.world()).open(DIR).unwrap();
    let ks = db.create_keyspace("k", options(CompactionStrategy::Leveled, false)).unwrap();
    for key in 0..12u8 {
        ks.put([key], [key; 20]).unwrap();
        db.flush().unwrap();
    }
    assert_eq!(db.metrics().value_files, 12);
    ks.compact().unwrap();
    while db.run_background_step(BackgroundStep::CleanUp).unwrap() {}
    assert_eq!(value_names(&*sim.world().fs, DIR).len(), 1);
    assert_eq!((db.metrics().value_files, db.metrics().value_garbage_bytes), (1, 0));
    for key in 0..12u8 {
        assert_eq!(ks.get([key]).unwrap().unwrap(), vec![key; 20]);
    }
    db.verify().unwrap();
}

pub(super) fn repaired(sim: &Simulation) -> crate::RepairReport {
    let options =
        RepairOptions { apply: true, world: Some(sim.world()), ..RepairOptions::default() };
    repair(DIR, &options).unwrap()
}

fn lose_manifest(sim: &Simulation) {
    let fs = sim.world().fs;
    for name in fs.list(Path::new(DIR)).unwrap() {
        if name.ends_with(".manifest") || name == "CURRENT" {
            fs.remove_file(&Path::new(DIR).join(name)).unwrap();
        }
    }
}

/// The key whose newest value is lost had an older one: it must not come back as if nothing had been.
#[test]
fn a_repair_that_loses_a_value_does_not_bring_an_older_one_back() {
    for keeps_manifest in [true, false] {
        let (sim, db, ks) = filled();
        for key in 0..10u8 {
            ks.put([key], vec![key + 100; 500]).unwrap();
        }
        db.flush().unwrap();
        drop(ks);
        db.close().unwrap();
        drop(db);
        let names = value_names(&*sim.world().fs, DIR);
        damage(&sim, &names[1], inside_value(2));
        // An older version of a key that has a newer one: lost, and nobody sees it.
        damage(&sim, &names[0], inside_value(5));
        if !keeps_manifest {
            lose_manifest(&sim);
        }
        let report = repaired(&sim);
        let gone: Vec<_> = report.lost_keys.iter().filter(|lost| lost.is_deleted).collect();
        let is_named = |key: &[u8]| gone.iter().any(|lost| lost.from.as_deref() == Some(key));
        assert!(is_named(&[2]) && is_named(&[5]) && gone.len() == 2, "{report:?}");
        let db = small(sim.world()).open(DIR).unwrap();
        let ks = db.existing_keyspace(&db.keyspaces().unwrap()[0]).unwrap().unwrap();
        let check = || {
            for key in 0..20u8 {
                let expected = match key {
                    2 => None,
                    0..10 => Some(vec![key + 100; 500]),
                    _ => Some(vec![key; 500]),
                };
                assert_eq!(ks.get([key]).unwrap().map(|value| value.to_vec()), expected);
            }
        };
        check();
        db.verify().unwrap();
        ks.compact().unwrap();
        check();
    }
}

/// A damaged sstable without a manifest: what its readable entries point to may be lost too, and is named then.
#[test]
fn a_rebuild_names_the_lost_values_of_a_damaged_sstable() {
    let (sim, db, ks) = filled();
    drop(ks);
    db.close().unwrap();
    drop(db);
    lose_manifest(&sim);
    let fs = sim.world().fs;
    let names = fs.list(Path::new(DIR)).unwrap();
    let table = names.iter().find(|name| name.ends_with(".sst")).unwrap();
    let len = fs.metadata(&Path::new(DIR).join(table)).unwrap().len;
    damage(&sim, &value_names(&*fs, DIR)[0], inside_value(7));
    for at in (0..len).step_by(3) {
        let sim = Simulation::with_fs(sim.fs.fork(), at);
        damage(&sim, table, at);
        let report = repaired(&sim);
        let db = small(sim.world()).open(DIR).unwrap();
        let keyspaces = db.keyspaces().unwrap();
        let ks = keyspaces.first().map(|name| db.existing_keyspace(name).unwrap().unwrap());
        for key in 0..20u8 {
            let found = ks.as_ref().and_then(|ks| ks.get([key]).unwrap());
            let is_named = report.lost_keys.iter().any(|lost| {
                lost.from.as_deref().is_none_or(|from| from <= &[key][..])
                    && lost.through.as_deref().is_none_or(|through| &[key][..] <= through)
            });
            assert!(found.is_some() || is_named, "{at}: {key} is lost and not named: {report:?}");
        }
        db.verify().unwrap();
    }
}
