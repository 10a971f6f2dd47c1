//! Merges that copy values out of value files, and repairs that look for them, amid damage and failing calls: what passes
//! costs nothing, what does not is in nobody's way, and no merge grows without bound.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use esker_base::FileNumber;
use esker_base::names::FileKind;
use esker_manifest::FileMeta;
use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};
use esker_vfs::simulated::Simulation;
use esker_vfs::{Call, World};

use super::coverage_support::{run, write_manifest};
use super::support::small;
use super::values::{DIR, damage, filled, inside_value, options, repaired, value_names};
use crate::{BackgroundStep, CompactionStrategy, Db, Keyspace, RepairReport, Result};

fn step(db: &Db) -> Result<bool> {
    db.run_background_step(BackgroundStep::Compact)
}

fn scrub(db: &Db) {
    while db.run_background_step(BackgroundStep::Scrub).unwrap() {}
}

/// Twelve flushes, each of a key less than the one before: of each value file but the last one value stays, and the next
/// step is to remove the rest.
fn overwritten(world: World) -> (Db, Keyspace) {
    let db = small(world).open(DIR).unwrap();
    let ks = db.create_keyspace("k", options(CompactionStrategy::Leveled, false)).unwrap();
    for round in 0..12u8 {
        for key in round..20u8 {
            ks.put([key], vec![key ^ round; 500]).unwrap();
        }
        db.flush().unwrap();
    }
    assert!(step(&db).unwrap());
    assert!(db.metrics().value_garbage_bytes > 50_000);
    (db, ks)
}

fn check_overwritten(ks: &Keyspace) {
    for key in 0..20u8 {
        assert_eq!(ks.get([key]).unwrap().unwrap(), vec![key ^ key.min(11); 500]);
    }
}

const GARBAGE_LEFT: u64 = 10_260 / 2 + 256;

/// Too many open files once made sound value files count as damaged until the next open.
#[test]
fn a_failure_that_passes_costs_one_merge() {
    let sim = Simulation::new(1);
    let faults = FaultFs::new(sim.world().fs);
    let (db, ks) = overwritten(World { fs: Arc::new(faults.clone()), ..sim.world() });
    let denied = Fault::Fail(Failure::TooManyFiles);
    faults.inject(Rule::new(denied).on(&[Call::Open]).suffix(".val"));
    assert!(step(&db).is_err());
    assert_eq!(faults.strikes(), 1);
    while step(&db).unwrap() {}
    assert!(db.metrics().value_garbage_bytes <= GARBAGE_LEFT, "{:?}", db.metrics());
    assert_eq!(db.metrics().scrub_errors, 0);
    check_overwritten(&ks);
}

/// A device that fails for a while: its value files are left alone until scrubbing has read them.
#[test]
fn scrubbing_takes_back_what_a_merge_said_of_a_value_file() {
    let sim = Simulation::new(1);
    let faults = FaultFs::new(sim.world().fs);
    let (db, ks) = overwritten(World { fs: Arc::new(faults.clone()), ..sim.world() });
    faults.inject(Rule::new(Fault::Fail(Failure::Io)).on(&[Call::ReadAt]).suffix(".val").sticky());
    while step(&db).unwrap() {}
    let damaged = db.metrics().scrub_errors;
    assert!(damaged > 0);
    scrub(&db);
    assert!(db.metrics().scrub_errors > damaged, "scrubbing cannot read them either");
    faults.clear();
    while step(&db).unwrap() {}
    assert!(db.metrics().value_garbage_bytes > 50_000, "nobody has read them since");
    scrub(&db);
    while step(&db).unwrap() {}
    assert!(db.metrics().value_garbage_bytes <= GARBAGE_LEFT, "{:?}", db.metrics());
    check_overwritten(&ks);
}

/// A merge once copied all that was to be copied, tens of gigabytes, and level 0 waited.
#[test]
fn a_merge_copies_a_bounded_part_of_the_values() {
    let sim = Simulation::new(1);
    let db = small(sim.world()).open(DIR).unwrap();
    let ks = db.create_keyspace("k", options(CompactionStrategy::Leveled, false)).unwrap();
    for key in 0..200u8 {
        ks.put([key], vec![key; 1000]).unwrap();
    }
    db.flush().unwrap();
    for round in 0..11u8 {
        for key in (round..200).step_by(15) {
            ks.delete([key]).unwrap();
        }
        db.flush().unwrap();
    }
    let is_left = |key: u8| key % 15 > 10;
    let left = (0..200u8).filter(|key| is_left(*key)).count() as u64;
    assert!(left * 1013 > 3 * 4 * 4096);
    let (mut before, mut merges, mut most) = (0, 0, 0);
    while step(&db).unwrap() {
        let written = db.metrics().compaction_write_bytes;
        most = most.max(written - before);
        (before, merges) = (written, merges + 1);
        assert!(merges < 50, "merges come to rest");
    }
    // Four files of 4 KiB, the value that reaches that, and an sstable.
    assert!(most > 8192 && most <= 4 * 4096 + 1013 + 4096, "{most}");
    assert!(db.metrics().value_garbage_bytes * 2 <= left * 1013 + 512, "{:?}", db.metrics());
    for key in 0..200u8 {
        let expected = is_left(key).then(|| vec![key; 1000]);
        assert_eq!(ks.get([key]).unwrap().map(|value| value.to_vec()), expected);
    }
    db.verify().unwrap();
}

/// Garbage behind a damaged sstable once was tried again and again, before all other merges of the keyspace.
#[test]
fn a_damaged_sstable_with_garbage_behind_it_holds_up_no_other_merge() {
    let sim = Simulation::new(1);
    let open = || small(sim.world()).open(DIR).unwrap();
    let db = open();
    let ks = db.create_keyspace("k", options(CompactionStrategy::Tiered, false)).unwrap();
    for round in 0..4u8 {
        for key in round..20u8 {
            ks.put([key], vec![key ^ round; 500]).unwrap();
        }
        for key in 0..100u8 {
            ks.put([1, key], [key; 10]).unwrap();
        }
        db.flush().unwrap();
    }
    assert!(step(&db).unwrap());
    let tables = |fs: &dyn esker_vfs::Fs| {
        let names = fs.list(Path::new(DIR)).unwrap().into_iter();
        names.filter(|name| name.ends_with(".sst")).collect::<Vec<_>>()
    };
    while db.run_background_step(BackgroundStep::CleanUp).unwrap() {}
    let table = tables(&*sim.world().fs).remove(0);
    for key in 0..3u8 {
        ks.put([2, key], b"inline").unwrap();
        db.flush().unwrap();
    }
    drop(ks);
    db.close().unwrap();
    drop(db);
    // In its first block.
    damage(&sim, &table, 60);
    let db = open();
    let count = || db.metrics().sstables;
    let (before, garbage) = (count(), db.metrics().value_garbage_bytes);
    assert!(garbage > 20_000, "{garbage}");
    assert!(step(&db).unwrap());
    assert_eq!(count(), before - 2, "the three new ones are one");
    assert_eq!(db.metrics().background_errors, 1);
    assert!(!step(&db).unwrap(), "it is not tried again");
    assert_eq!(db.metrics().value_garbage_bytes, garbage);
    // It was a passing fault of the device, say.
    damage(&sim, &table, 60);
    scrub(&db);
    assert!(step(&db).unwrap());
    while step(&db).unwrap() {}
    assert!(db.metrics().value_garbage_bytes <= GARBAGE_LEFT, "{:?}", db.metrics());
    db.verify().unwrap();
}

fn is_named(report: &RepairReport, key: &[u8]) -> bool {
    report.lost_keys.iter().any(|lost| {
        lost.from.as_deref().is_none_or(|from| from <= key)
            && lost.through.as_deref().is_none_or(|through| key <= through)
    })
}

/// Each read of a value file fails once, in one way or the other: a repair that succeeds deletes nothing but what it names,
/// and one that fails can be run again.
#[test]
fn a_repair_deletes_nothing_that_it_did_not_name() {
    let (sim, db, ks) = filled();
    drop(ks);
    db.close().unwrap();
    drop(db);
    damage(&sim, &value_names(&*sim.world().fs, DIR)[0], inside_value(2));
    let (mut failed, mut succeeded) = (0, 0);
    for (failure, call) in [
        (Failure::Io, Call::ReadAt),
        (Failure::TooManyFiles, Call::ReadAt),
        (Failure::Io, Call::Open),
        (Failure::TooManyFiles, Call::Open),
    ] {
        for at in 0.. {
            let sim = Simulation::with_fs(sim.fs.fork(), at);
            let faults = FaultFs::new(sim.world().fs);
            faults.inject(Rule::new(Fault::Fail(failure)).on(&[call]).suffix(".val").after(at));
            let world = World { fs: Arc::new(faults.clone()), ..sim.world() };
            let report = match run(world, true) {
                Ok(report) => {
                    succeeded += 1;
                    report
                }
                Err(_) => {
                    failed += 1;
                    repaired(&sim)
                }
            };
            let db = small(sim.world()).open(DIR).unwrap();
            let ks = db.existing_keyspace("k").unwrap().unwrap();
            for key in 0..20u8 {
                let is_there = ks.get([key]).unwrap().is_some();
                assert!(is_there || is_named(&report, &[key]), "{failure:?} {call:?} {at}: {key}");
            }
            db.verify().unwrap();
            if faults.strikes() == 0 {
                break;
            }
        }
    }
    assert!(failed > 20 && succeeded > 20, "{failed} {succeeded}");
}

/// The manifest says that there is one entry more than can be found, and nothing tells where it was.
#[test]
fn entries_that_are_lost_nobody_knows_where_are_named_by_the_whole_file() {
    let (sim, db, ks) = filled();
    drop(ks);
    db.close().unwrap();
    drop(db);
    let fs = sim.world().fs;
    let mut version = esker_manifest::recover(&*fs, Path::new(DIR)).unwrap().version;
    let mut table = None;
    for state in version.keyspaces.values_mut() {
        for file in Arc::make_mut(state).levels.iter_mut().flatten() {
            let entry_count = file.entry_count + 1;
            *file = Arc::new(FileMeta { entry_count, ..FileMeta::clone(file) });
            table = Some(file.number);
        }
    }
    version.next_file = FileNumber(91);
    write_manifest(&sim.world(), 90, &version);
    let name = FileKind::Sstable.name(table.unwrap());
    let len = fs.metadata(&Path::new(DIR).join(&name)).unwrap().len;
    let mut whole = 0;
    for at in 48..len {
        let sim = Simulation::with_fs(sim.fs.fork(), at);
        damage(&sim, &name, at);
        let report = run(sim.world(), false).unwrap();
        assert!(!report.is_sound() && !report.lost_keys.is_empty(), "{at}: {report:?}");
        let ends = [Some(vec![0]), Some(vec![19])];
        let lost = &report.lost_keys[0];
        whole += u64::from([lost.from.clone(), lost.through.clone()] == ends);
    }
    assert!(whole > 0);
}
