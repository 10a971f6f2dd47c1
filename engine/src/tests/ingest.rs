//! Bulk loads: what they bring, when it is seen, and what is left of them when something fails.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use esker_base::SeqNo;
use esker_base::names::CURRENT;
use esker_vfs::fault::FaultFs;
use esker_vfs::simulated::{CrashPolicy, Simulation};
use esker_vfs::{Call, Fs, World};
use proptest::prelude::*;

use super::support::{Rng, hook, seeds, small};
use crate::cursor::{Bounds, Range};
use crate::pacing::FULL_LEVEL0;
use crate::read;
use crate::view::View;
use crate::{
    BackgroundStep, CompactionStrategy, Db, Durability, ErrorKind, Keyspace, KeyspaceOptions,
    RepairOptions, repair,
};

const DIR: &str = "/db";

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn entries(keyspace: &Keyspace) -> Map {
    keyspace.iter().map(|entry| entry.unwrap()).map(|(k, v)| (k.to_vec(), v.to_vec())).collect()
}

fn files(sim: &Simulation) -> Vec<String> {
    let mut names = sim.world().fs.list(DIR.as_ref()).unwrap();
    names.retain(|name| name.contains(".sst") || name.contains(".val"));
    names
}

fn levels(db: &Db, name: &str) -> Vec<usize> {
    let inspection = db.inspect();
    let keyspace = inspection.keyspaces.iter().find(|keyspace| keyspace.name == name).unwrap();
    let mut counts = vec![0; 7];
    keyspace.levels.iter().for_each(|level| counts[level.level] = level.sstables.len());
    counts
}

fn number(n: u64) -> [u8; 8] {
    n.to_be_bytes()
}

#[test]
fn a_threaded_load_of_many_chunks_is_there_after_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let db = Db::builder().sstable_bytes(64 << 10).memory_budget_bytes(8 << 20);
        db.open(dir.path()).unwrap()
    };
    let db = open();
    let keyspace = db.keyspace("k").unwrap();
    let value = |n: u64| vec![n as u8; 100 + n as usize % 50];
    let mut ingest = keyspace.start_ingest().unwrap();
    for n in 0..30_000 {
        ingest.put(number(n), value(n)).unwrap();
    }
    assert_eq!(keyspace.iter().count(), 0);
    ingest.finish().unwrap();
    let check = |keyspace: &Keyspace| {
        assert_eq!(keyspace.iter().count(), 30_000);
        for n in (0..30_000).step_by(97) {
            assert_eq!(keyspace.get(number(n)).unwrap().as_deref(), Some(&value(n)[..]));
        }
    };
    check(&keyspace);
    // All went to the last level, in files of the usual size.
    let levels = levels(&db, "k");
    assert!(levels[..6].iter().all(|&count| count == 0) && levels[6] > 3, "{levels:?}");
    assert_eq!(db.metrics().ingests, 1);
    keyspace.put(number(5), "later").unwrap();
    assert_eq!(keyspace.get(number(5)).unwrap().as_deref(), Some(&b"later"[..]));
    keyspace.put(number(5), value(5)).unwrap();
    db.verify().unwrap();
    drop(keyspace);
    db.close().unwrap();
    let db = open();
    check(&db.keyspace("k").unwrap());
    db.verify().unwrap();
}

#[test]
fn the_first_key_out_of_order_is_named_and_the_ingest_is_void() {
    let sim = Simulation::new(1);
    let db = small(sim.world()).open(DIR).unwrap();
    let keyspace = db.keyspace("k").unwrap();
    let mut ingest = keyspace.start_ingest().unwrap();
    ingest.put("b", "1").unwrap();
    let same = ingest.put("b", "2").unwrap_err();
    assert_eq!(same.kind(), ErrorKind::InvalidArgument);
    assert!(same.to_string().contains("\"b\" comes after \"b\""), "{same}");
    assert_eq!(ingest.put("c", "3").unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(ingest.finish().unwrap_err().to_string(), same.to_string());
    let below = keyspace.ingest([(&b"b\n"[..], "1"), (b"a\xff", "2")]).unwrap_err();
    assert!(below.to_string().contains("\"a\\xff\" comes after \"b\\n\""), "{below}");
    let long = keyspace.ingest([(vec![0; 70_000], "")]).unwrap_err();
    assert_eq!(long.kind(), ErrorKind::InvalidArgument);
    assert_eq!(entries(&keyspace), Map::new());
    assert_eq!(files(&sim), Vec::<String>::new());
    // The empty key comes before all others; nothing at all is fine too.
    keyspace.ingest([("", "0"), ("\0", "1")]).unwrap();
    keyspace.ingest::<&str, &str>([]).unwrap();
    assert_eq!(entries(&keyspace).len(), 2);
}

#[test]
fn dropped_it_leaves_nothing() {
    let sim = Simulation::new(2);
    let db = small(sim.world()).open(DIR).unwrap();
    let options = KeyspaceOptions { large_value_bytes: Some(100), ..Default::default() };
    let keyspace = db.create_keyspace("k", options).unwrap();
    let before = files(&sim);
    let mut ingest = keyspace.start_ingest().unwrap();
    for n in 0..200 {
        ingest.put(number(n), vec![7; 50 + n as usize]).unwrap();
    }
    assert!(files(&sim).len() > before.len() + 2);
    drop(ingest);
    while db.run_background_step(BackgroundStep::CleanUp).unwrap() {}
    assert_eq!(files(&sim), before);
    // Given up while its thread builds.
    let dir = tempfile::tempdir().unwrap();
    let db = Db::builder().memory_budget_bytes(1 << 20).open(dir.path()).unwrap();
    let mut ingest = db.keyspace("k").unwrap().start_ingest().unwrap();
    for n in 0..20_000 {
        ingest.put(number(n), [1; 100]).unwrap();
    }
    drop(ingest);
    let names = World::real().fs.list(dir.path()).unwrap();
    assert!(!names.iter().any(|name| name.contains(".sst")), "{names:?}");
}

#[test]
fn snapshots_and_transactions_of_before_do_not_see_it_and_conflict() {
    let sim = Simulation::new(3);
    let db = small(sim.world()).open(DIR).unwrap();
    let keyspace = db.keyspace("k").unwrap();
    let other = db.keyspace("other").unwrap();
    keyspace.put("b", "old").unwrap();
    let snapshot = db.snapshot();
    let begin = || {
        let mut transaction = db.transaction().unwrap();
        transaction.put(&other, "x", "y").unwrap();
        transaction
    };
    let (read_key, read_absent, read_range, read_elsewhere, read_other) =
        (begin(), begin(), begin(), begin(), begin());
    assert_eq!(read_key.get(&keyspace, "b").unwrap().as_deref(), Some(&b"old"[..]));
    assert_eq!(read_absent.get(&keyspace, "c").unwrap(), None);
    assert_eq!(read_range.range(&keyspace, "c".."d").count(), 0);
    assert_eq!(read_elsewhere.range(&keyspace, "x"..).count(), 0);
    assert_eq!(read_other.get(&other, "b").unwrap(), None);
    keyspace.ingest([("a", "1"), ("b", "2"), ("c", "3")]).unwrap();
    assert_eq!(keyspace.get_at(&snapshot, "b").unwrap().as_deref(), Some(&b"old"[..]));
    assert_eq!(keyspace.range_at::<&str>(&snapshot, ..).count(), 1);
    assert_eq!(keyspace.iter().count(), 3);
    assert_eq!(read_key.get(&keyspace, "a").unwrap(), None);
    for conflicts in [read_key, read_absent, read_range] {
        assert_eq!(conflicts.commit().unwrap_err().kind(), ErrorKind::Conflict);
    }
    read_elsewhere.commit().unwrap();
    read_other.commit().unwrap();
    let after = begin();
    assert_eq!(after.get(&keyspace, "b").unwrap().as_deref(), Some(&b"2"[..]));
    after.commit().unwrap();
    db.compact().unwrap();
    assert_eq!(keyspace.get_at(&snapshot, "b").unwrap().as_deref(), Some(&b"old"[..]));
}

/// A reader takes its view first and the visible sequence second. Between the two an ingest is installed and a commit
/// follows: the view showed the commit, whose memtable it shared, without the ingest.
#[test]
fn a_view_of_before_does_not_show_what_came_after() {
    let sim = Simulation::new(11);
    let db = small(sim.world()).open(DIR).unwrap();
    let keyspace = db.keyspace("k").unwrap();
    let shown = |view: &Arc<View>| {
        let seq = db.core().snapshots.visible();
        let bounds = Bounds::new::<&[u8]>(..);
        let range = Range::new(Arc::clone(view), seq, bounds, None).map(|entry| entry.unwrap().0);
        let keys: Vec<_> = range.map(|key| key.to_vec()).collect();
        for key in [&b"a"[..], b"b", b"z"] {
            let found = read::get(view, key, seq, &db.core().metrics).unwrap();
            assert_eq!(found.is_some(), keys.iter().any(|shown| shown == key));
        }
        keys
    };
    let before = keyspace.inner.view();
    keyspace.ingest([("a", "1"), ("b", "1")]).unwrap();
    let between = keyspace.inner.view();
    keyspace.put("z", "2").unwrap();
    assert_eq!(shown(&before), Vec::<Vec<u8>>::new());
    assert_eq!(shown(&between), [b"a", b"b", b"z"]);
    let memory = keyspace.inner.view().active.memory_bytes() as u64;
    assert_eq!(db.metrics().memtable_bytes, memory);
}

/// Two that were begun in one order and finished in the other: the second to finish is the newer, so its files are
/// written again.
#[test]
fn an_overtaken_ingest_is_stamped_again() {
    let sim = Simulation::new(4);
    let db = small(sim.world()).open(DIR).unwrap();
    let options = KeyspaceOptions { large_value_bytes: Some(64), ..Default::default() };
    let keyspace = db.create_keyspace("k", options).unwrap();
    let fill = |first: u64, fill: u8| {
        let mut ingest = keyspace.start_ingest().unwrap();
        for n in first..first + 100 {
            ingest.put(number(n), vec![fill; 40 + n as usize]).unwrap();
        }
        ingest
    };
    let first = fill(0, 1);
    let second = fill(50, 2);
    second.finish().unwrap();
    let snapshot = db.snapshot();
    first.finish().unwrap();
    assert_eq!(db.metrics().ingests_restamped, 1);
    let value = |n: u64| keyspace.get(number(n)).unwrap().unwrap()[0];
    assert_eq!((value(0), value(70), value(120)), (1, 1, 2));
    let at = |n: u64| keyspace.get_at(&snapshot, number(n)).unwrap().map(|value| value[0]);
    assert_eq!((at(0), at(70), at(120)), (None, Some(2), Some(2)));
    drop(snapshot);
    db.compact().unwrap();
    assert_eq!((value(0), value(70), value(120)), (1, 1, 2));
    db.verify().unwrap();
    while db.run_background_step(BackgroundStep::CleanUp).unwrap() {}
    drop(keyspace);
    db.close().unwrap();
    let db = small(sim.world()).open(DIR).unwrap();
    assert_eq!(db.keyspace("k").unwrap().iter().count(), 150);
}

/// While a large ingest that was overtaken is written again, a small one is finished: it overtook the large one again,
/// and so for ever.
#[test]
fn while_it_is_stamped_again_no_other_one_overtakes_it() {
    let sim = Simulation::new(12);
    let faults = Arc::new(FaultFs::new(sim.world().fs));
    let world = World { fs: faults.clone(), ..sim.world() };
    let db = small(world).open(DIR).unwrap();
    let keyspace = db.keyspace("k").unwrap();
    let fill = |last: &str| {
        let mut ingest = keyspace.start_ingest().unwrap();
        (0..100).for_each(|n| ingest.put(number(n), [1; 90]).unwrap());
        ingest.put("last", last).unwrap();
        ingest
    };
    let (first, second) = (fill("first"), fill("second"));
    second.finish().unwrap();
    let smalls = Arc::new(Mutex::new(Vec::new()));
    let amid = {
        let (me, smalls) = (std::thread::current().id(), Arc::clone(&smalls));
        let (core, keyspace) = (Arc::clone(db.core()), keyspace.clone());
        move || {
            let mut smalls = smalls.lock().unwrap();
            // One each time that the files are written.
            let written = core.metrics.ingests_restamped.get() as usize;
            if std::thread::current().id() != me || smalls.len() != written || written == 9 {
                return;
            }
            let keyspace = keyspace.clone();
            let small = std::thread::spawn(move || keyspace.ingest([("small", "1")]).unwrap());
            // Until it is there, or waits.
            while !small.is_finished() && core.ingests.installing.try_lock().is_some() {
                std::thread::yield_now();
            }
            smalls.push(small);
        }
    };
    faults.inject(hook(amid).on(&[Call::CreateNew]));
    first.finish().unwrap();
    faults.clear();
    let smalls = std::mem::take(&mut *smalls.lock().unwrap());
    assert_eq!(smalls.len(), 1);
    smalls.into_iter().for_each(|small| small.join().unwrap());
    // The large one, and perhaps the small one after it.
    assert!(db.metrics().ingests_restamped <= 2);
    assert_eq!(keyspace.get("last").unwrap().as_deref(), Some(&b"first"[..]));
    assert_eq!(keyspace.iter().count(), 102);
}

/// Writers fill memtables while those of the keyspace are flushed: commits waited at the gate for all that were frozen by
/// then, those of other keyspaces too.
#[test]
fn commits_wait_for_one_short_flush() {
    let sim = Simulation::new(15);
    let faults = Arc::new(FaultFs::new(sim.world().fs));
    let world = World { fs: faults.clone(), ..sim.world() };
    let db = small(world).open(DIR).unwrap();
    let (keyspace, other) = (db.keyspace("k").unwrap(), db.keyspace("other").unwrap());
    keyspace.put("before", "1").unwrap();
    let flushes = Arc::new(Mutex::new([0u64; 2]));
    let amid = {
        let (core, flushes) = (Arc::clone(db.core()), Arc::clone(&flushes));
        let keyspace = keyspace.clone();
        move || {
            let is_gated = core.ingests.is_gated();
            let mut flushes = flushes.lock().unwrap();
            flushes[usize::from(is_gated)] += 1;
            if is_gated {
                return;
            }
            if flushes[0] <= 2 {
                // More than a memtable takes.
                other.put("other", vec![1; 176 << 10]).unwrap();
            }
            keyspace.put_with("later", number(flushes[0]), Durability::Buffered).unwrap();
        }
    };
    faults.inject(hook(amid).on(&[Call::CreateNew]).suffix(".sst"));
    keyspace.ingest([("a", "1")]).unwrap();
    faults.clear();
    let [beside, gated] = *flushes.lock().unwrap();
    assert_eq!(gated, 1, "{beside} before");
    assert!(!db.core().ingests.is_gated());
    assert_eq!(keyspace.get("later").unwrap().as_deref(), Some(&number(beside)[..]));
    db.verify().unwrap();
}

#[test]
fn a_file_goes_as_deep_as_nothing_above_it_overlaps() {
    let sim = Simulation::new(5);
    let db = small(sim.world()).sstable_bytes(1 << 20).open(DIR).unwrap();
    let keyspace = db.keyspace("k").unwrap();
    keyspace.ingest([("m", "1"), ("p", "1")]).unwrap();
    keyspace.ingest([("a", "1"), ("b", "1")]).unwrap();
    assert_eq!(levels(&db, "k"), [0, 0, 0, 0, 0, 0, 2]);
    // A little does not begin a level.
    keyspace.ingest([("n", "2"), ("q", "2")]).unwrap();
    assert_eq!(levels(&db, "k"), [1, 0, 0, 0, 0, 0, 2]);
    keyspace.ingest([("c", "2"), ("d", "2")]).unwrap();
    assert_eq!(levels(&db, "k"), [1, 0, 0, 0, 0, 0, 3]);
    let mut rng = Rng(1);
    let mut noise = || (0..80).flat_map(|_| number(rng.below(u64::MAX))).collect::<Vec<u8>>();
    let large = (0..2000u64).map(|n| ([&b"a"[..], &number(n)].concat(), noise()));
    keyspace.ingest(large).unwrap();
    let now = levels(&db, "k");
    assert!(now[5] > 0 && now[6] == 3 && now[0] == 1, "{now:?}");
    for name in ["tiered", "fifo"] {
        let strategy = match name {
            "fifo" => CompactionStrategy::Fifo { size_bytes_max: 1 << 20 },
            _ => CompactionStrategy::Tiered,
        };
        let options = KeyspaceOptions { strategy, ..Default::default() };
        let keyspace = db.create_keyspace(name, options).unwrap();
        keyspace.ingest([("m", "1"), ("p", "1")]).unwrap();
        keyspace.put("n", "0").unwrap();
        keyspace.ingest([("n", "2"), ("p", "2")]).unwrap();
        assert_eq!(keyspace.get("n").unwrap().as_deref(), Some(&b"2"[..]));
        assert_eq!(levels(&db, name)[0], if name == "fifo" { 3 } else { 2 });
        db.compact().unwrap();
        assert_eq!(keyspace.get("p").unwrap().as_deref(), Some(&b"2"[..]));
    }
    db.verify().unwrap();
}

/// Small ingests that overlap go to level 0 one after the other, past everything that slows writers down. While nothing is
/// merged, they wait once it is full.
#[test]
fn many_that_overlap_wait_for_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::builder().memory_budget_bytes(1 << 20).open(dir.path()).unwrap();
    let keyspace = db.keyspace("k").unwrap();
    let level0 = || keyspace.inner.view().levels.0[0].len() as u64;
    let merging = db.core().compacting.lock();
    std::thread::scope(|scope| {
        let loads = scope.spawn(|| {
            for round in 0..FULL_LEVEL0 + 20 {
                keyspace.ingest([("a", number(round)), ("z", number(round))]).unwrap();
            }
        });
        while !loads.is_finished() && db.metrics().write_stalls == 0 {
            std::thread::yield_now();
        }
        assert_eq!(level0(), FULL_LEVEL0);
        drop(merging);
        loads.join().unwrap();
    });
    assert!(level0() <= FULL_LEVEL0);
    let last = number(FULL_LEVEL0 + 19);
    assert_eq!(keyspace.get("z").unwrap().as_deref(), Some(&last[..]));
    // Whoever waits hears of a close.
    let merging = db.core().compacting.lock();
    std::thread::scope(|scope| {
        let loads = scope.spawn(|| {
            (0..).find_map(|n| keyspace.ingest([("a", number(n)), ("z", number(n))]).err())
        });
        let stalls = db.metrics().write_stalls;
        while db.metrics().write_stalls == stalls {
            std::thread::yield_now();
        }
        let closing = scope.spawn(|| db.close());
        assert_eq!(loads.join().unwrap().unwrap().kind(), ErrorKind::Closed);
        drop(merging);
        closing.join().unwrap().unwrap();
    });
}

#[test]
fn it_is_refused_where_writes_are() {
    let sim = Simulation::new(6);
    let db = small(sim.world()).open(DIR).unwrap();
    let keyspace = db.keyspace("k").unwrap();
    let mut open = keyspace.start_ingest().unwrap();
    let mut dropped = keyspace.start_ingest().unwrap();
    for ingest in [&mut open, &mut dropped] {
        (0..300).for_each(|n| ingest.put(number(n), [3; 100]).unwrap());
    }
    db.drop_keyspace("k").unwrap();
    assert_eq!(dropped.finish().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(keyspace.start_ingest().unwrap_err().kind(), ErrorKind::NotFound);
    let other = db.keyspace("other").unwrap();
    let mut late = other.start_ingest().unwrap();
    (0..300).for_each(|n| late.put(number(n), [3; 100]).unwrap());
    db.close().unwrap();
    assert_eq!(late.finish().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(other.start_ingest().unwrap_err().kind(), ErrorKind::Closed);
    drop(open);
    drop((db, keyspace, other));
    let db = small(sim.world()).read_only(true).open(DIR).unwrap();
    let other = db.keyspace("other").unwrap();
    assert_eq!(other.start_ingest().unwrap_err().kind(), ErrorKind::ReadOnly);
    drop((other, db));
    let db = small(sim.world()).open(DIR).unwrap();
    assert_eq!(files(&sim), Vec::<String>::new());
    db.verify().unwrap();
}

/// Whoever closes waits for the thread that builds, and that thread waited for chunks for ever.
#[test]
fn a_close_does_not_wait_for_an_open_ingest() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::builder().memory_budget_bytes(1 << 20).open(dir.path()).unwrap();
    let mut ingest = db.keyspace("k").unwrap().start_ingest().unwrap();
    for n in 0..5_000 {
        ingest.put(number(n), [1; 100]).unwrap();
    }
    db.close().unwrap();
    assert_eq!(ingest.finish().unwrap_err().kind(), ErrorKind::Closed);
}

/// What was acknowledged before an ingest may not be lost where the ingest survives.
#[test]
fn what_survives_a_power_cut_is_a_prefix_that_ends_with_the_ingest() {
    for policy in [CrashPolicy::DropAll, CrashPolicy::Posix, CrashPolicy::Hostile] {
        let sim = Simulation::new(7);
        let db = small(sim.world()).durability(Durability::Volatile).open(DIR).unwrap();
        let (a, b) = (db.keyspace("a").unwrap(), db.keyspace("b").unwrap());
        a.put("1", "before").unwrap();
        b.put("1", "before").unwrap();
        b.ingest((0..100u64).map(|n| (number(n), [1; 100]))).unwrap();
        a.put("2", "after").unwrap();
        let image = Simulation::with_fs(sim.fs.image(policy, 8), 8);
        let db = small(image.world()).open(DIR).unwrap();
        assert_eq!(db.keyspace("b").unwrap().iter().count(), 101);
        assert!(db.keyspace("a").unwrap().contains("1").unwrap());
        let before = db.snapshot().seq();
        db.keyspace("b").unwrap().put("x", "y").unwrap();
        assert!(db.snapshot().seq() > before);
        db.verify().unwrap();
    }
}

/// The power goes before every call of an ingest in turn: all of it is there or nothing, nothing else is lost, and no
/// file stays that nothing names.
#[test]
fn at_every_power_cut_it_is_all_or_nothing() {
    let run = |db: &Db| -> crate::Result<()> {
        let keyspace = db.keyspace("k")?;
        keyspace.put_with(number(0), "old", Durability::Buffered)?;
        keyspace.ingest((0..120u64).map(|n| (number(n), [1; 90])))
    };
    let mut calls = 0;
    loop {
        let sim = Simulation::new(9);
        let options = KeyspaceOptions { large_value_bytes: Some(64), ..Default::default() };
        let db = small(sim.world()).open(DIR).unwrap();
        db.create_keyspace("k", options).unwrap();
        let first = sim.fs.ops();
        sim.fs.cut_power_at(first + calls);
        let result = run(&db);
        let is_done = result.is_ok();
        drop(db);
        for policy in [CrashPolicy::DropAll, CrashPolicy::Posix, CrashPolicy::Hostile] {
            let image = Simulation::with_fs(sim.fs.image(policy, calls), calls);
            let db = small(image.world()).open(DIR).unwrap();
            let count = db.keyspace("k").unwrap().iter().count();
            assert!(count <= 1 || count == 120, "{count} after {calls} calls");
            assert!(!is_done || count == 120, "lost after {calls} calls");
            db.verify().unwrap();
            let listed = db.metrics().sstables + db.metrics().value_files;
            assert_eq!(files(&image).len() as u64, listed);
        }
        if is_done {
            break;
        }
        calls += 1;
    }
    assert!(calls > 20, "{calls}");
}

/// An ingest is under way, with files finished, when the process dies; then the manifest is lost. The repair took them for
/// the newest that there is, above commits that were acknowledged after them.
#[test]
fn a_repair_without_a_manifest_takes_nothing_of_an_unfinished_ingest() {
    let sim = Simulation::new(14);
    let db = small(sim.world()).open(DIR).unwrap();
    let options = KeyspaceOptions { large_value_bytes: Some(64), ..Default::default() };
    let keyspace = db.create_keyspace("k", options).unwrap();
    keyspace.put(number(0), "old").unwrap();
    let mut ingest = keyspace.start_ingest().unwrap();
    (0..300).for_each(|n| ingest.put(number(n), vec![1; 40 + n as usize]).unwrap());
    assert!(files(&sim).len() > 3, "{:?}", files(&sim));
    keyspace.put(number(0), "new").unwrap();
    let sim = Simulation::with_fs(sim.fs.image(CrashPolicy::KeepAll, 1), 1);
    let dir = std::path::Path::new(DIR);
    for name in sim.fs.list(dir).unwrap() {
        if name == CURRENT || name.ends_with(".manifest") {
            sim.fs.remove_file(&dir.join(name)).unwrap();
        }
    }
    let options =
        RepairOptions { apply: true, world: Some(sim.world()), ..RepairOptions::default() };
    let report = repair(DIR, &options).unwrap();
    assert!(report.is_rebuilt && report.is_lossless(), "{report:?}");
    let db = small(sim.world()).open(DIR).unwrap();
    let name = report.unnamed_keyspaces.first().map_or("k", String::as_str);
    let keyspace = db.existing_keyspace(name).unwrap().unwrap();
    assert_eq!(entries(&keyspace), Map::from([(number(0).to_vec(), b"new".to_vec())]));
    db.close().unwrap();
    assert!(!files(&sim).iter().any(|name| name.ends_with(".tmp")), "{:?}", files(&sim));
}

#[derive(Clone, Debug)]
enum Op {
    Put(u8, u8),
    Delete(u8),
    Ingest(Vec<(u8, Option<u8>)>),
    /// Begun before another that is finished first.
    Interleaved(Vec<(u8, Option<u8>)>, Vec<(u8, Option<u8>)>),
    Snapshot,
    Check,
    Flush,
    Compact,
    Step(u8),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let batch = || {
        let entry = (any::<u8>(), prop::option::weighted(0.8, any::<u8>()));
        prop::collection::btree_map(entry.0, entry.1, 1..60)
            .prop_map(|map| map.into_iter().collect())
    };
    prop_oneof![
        6 => (any::<u8>(), any::<u8>()).prop_map(|(key, value)| Op::Put(key, value)),
        2 => any::<u8>().prop_map(Op::Delete),
        4 => batch().prop_map(Op::Ingest),
        1 => (batch(), batch()).prop_map(|(a, b)| Op::Interleaved(a, b)),
        1 => Just(Op::Snapshot),
        1 => Just(Op::Check),
        1 => Just(Op::Flush),
        1 => Just(Op::Compact),
        4 => any::<u8>().prop_map(Op::Step),
        1 => Just(Op::Reopen),
    ]
}

fn value(key: u8, value: u8) -> Vec<u8> {
    vec![value; usize::from(key) * 3 % 200]
}

fn ingest(keyspace: &Keyspace, batch: &[(u8, Option<u8>)]) -> crate::Ingest {
    let mut ingest = keyspace.start_ingest().unwrap();
    for (key, fill) in batch {
        match fill {
            Some(fill) => ingest.put([*key], value(*key, *fill)).unwrap(),
            None => ingest.delete([*key]).unwrap(),
        }
    }
    ingest
}

fn apply(model: &mut Map, batch: &[(u8, Option<u8>)]) {
    for (key, fill) in batch {
        match fill {
            Some(fill) => model.insert(vec![*key], value(*key, *fill)),
            None => model.remove(&vec![*key]),
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(seeds(60) as u32))]
    #[test]
    fn it_agrees_with_a_map(
        ops in prop::collection::vec(op(), 1..60),
        tiered in any::<bool>(),
        large in prop::option::of(1u32..300),
        sstable in 4096u64..20_000,
    ) {
        let sim = Simulation::new(10);
        let open = || small(sim.world()).sstable_bytes(sstable).open(DIR).unwrap();
        let mut db = open();
        let strategy =
            if tiered { CompactionStrategy::Tiered } else { CompactionStrategy::Leveled };
        let options = KeyspaceOptions { strategy, large_value_bytes: large, compress: tiered };
        let mut keyspace = db.create_keyspace("k", options).unwrap();
        let mut model = Map::new();
        let mut held: Vec<(crate::Snapshot, Map)> = Vec::new();
        for op in ops {
            match op {
                Op::Put(key, fill) => {
                    keyspace.put_with([key], value(key, fill), Durability::Buffered).unwrap();
                    model.insert(vec![key], value(key, fill));
                }
                Op::Delete(key) => {
                    keyspace.delete([key]).unwrap();
                    model.remove(&vec![key]);
                }
                Op::Ingest(batch) => {
                    ingest(&keyspace, &batch).finish().unwrap();
                    apply(&mut model, &batch);
                }
                Op::Interleaved(a, b) => {
                    let (first, second) = (ingest(&keyspace, &a), ingest(&keyspace, &b));
                    keyspace.put([0], "between").unwrap();
                    second.finish().unwrap();
                    first.finish().unwrap();
                    model.insert(vec![0], b"between".to_vec());
                    apply(&mut model, &b);
                    apply(&mut model, &a);
                }
                Op::Snapshot => held.push((db.snapshot(), model.clone())),
                Op::Check => {
                    for (snapshot, then) in &held {
                        let seen: Map = keyspace
                            .range_at::<&[u8]>(snapshot, ..)
                            .map(|entry| entry.unwrap())
                            .map(|(k, v)| (k.to_vec(), v.to_vec()))
                            .collect();
                        prop_assert_eq!(&seen, then);
                    }
                }
                Op::Flush => db.flush().unwrap(),
                Op::Compact => db.compact().unwrap(),
                Op::Step(step) => {
                    let steps = BackgroundStep::ALL;
                    db.run_background_step(steps[usize::from(step) % steps.len()]).unwrap();
                }
                Op::Reopen => {
                    held.clear();
                    drop(keyspace);
                    db.close().unwrap();
                    db = open();
                    keyspace = db.keyspace("k").unwrap();
                }
            }
            prop_assert_eq!(entries(&keyspace), model.clone());
            for key in model.keys().step_by(7) {
                let found = keyspace.get(key).unwrap();
                prop_assert_eq!(found.as_deref(), model.get(key).map(Vec::as_slice));
            }
        }
        db.verify().unwrap();
        prop_assert!(db.snapshot().seq() < SeqNo::MAX);
    }
}

/// Writers and ingests of the same keys at once, with threads: every key ends with the last value that its ingest or its
/// writer was told of, whichever came last, and a reader never sees a part of an ingest.
#[test]
fn beside_writers_it_appears_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::builder()
        .memory_budget_bytes(1 << 20)
        .durability(Durability::Buffered)
        .open(dir.path())
        .unwrap();
    let keyspace = db.keyspace("k").unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Its own keys, between those of the ingests: their memtables have to be flushed again and again.
            let mut n = 0u64;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                keyspace.put([&number(n % 500)[..], b"w"].concat(), number(n)).unwrap();
                n += 1;
            }
        });
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let view = db.snapshot();
                let own = keyspace.range_at::<&[u8]>(&view, ..).map(|entry| entry.unwrap());
                let rounds: Vec<u8> =
                    own.filter(|(key, _)| key.len() == 8).map(|(_, value)| value[0]).collect();
                assert!(rounds.is_empty() || rounds.len() == 500);
                assert!(rounds.iter().all(|round| *round == rounds[0]));
            }
        });
        for round in 0..20u8 {
            keyspace.ingest((0..500u64).map(|n| (number(n), [round; 50]))).unwrap();
            assert_eq!(keyspace.get(number(3)).unwrap().unwrap()[0], round);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    db.verify().unwrap();
}
