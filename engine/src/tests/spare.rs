//! The log's next segment, and what is done for the log behind the writers' back.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};
use esker_vfs::simulated::{CrashPolicy, Simulation};
use esker_vfs::{Call, World};
use parking_lot::Mutex;

use super::support::{hook, small};
use crate::{Background, BackgroundStep, Db, Durability, Error, ErrorKind};

const DIR: &str = "/db";

fn log_bytes(sim: &Simulation) -> u64 {
    let fs = sim.world().fs;
    let names = fs.list(Path::new(DIR)).unwrap().into_iter();
    let logs = names.filter(|name| name.contains(".wal"));
    logs.map(|name| fs.metadata(&Path::new(DIR).join(name)).unwrap().len).sum()
}

fn spare(db: &Db) -> bool {
    db.run_background_step(BackgroundStep::SpareSegment).unwrap()
}

/// The spare was listed in the manifest, synced, under the log's lock, and a flush synced the log under it: on a slow disk
/// every writer waited for both.
#[test]
fn nothing_is_synced_under_the_logs_lock_while_spares_are_made_in_time() {
    let sim = Simulation::new(1);
    let faults = Arc::new(FaultFs::new(sim.world().fs));
    let db = small(World { fs: faults.clone(), ..sim.world() })
        .wal_segment_bytes(64 << 10)
        .open(DIR)
        .unwrap();
    let [a, b] = ["a", "b"].map(|name| db.keyspace(name).unwrap());
    let held = Arc::new(Mutex::new(Vec::new()));
    for call in Call::SYNCS {
        let (inner, held) = (db.clone(), held.clone());
        let look = move || {
            if inner.core().log.try_lock().is_none() {
                held.lock().push(call);
            }
        };
        faults.inject(hook(look).on(&[call]));
    }
    for at in 0..3000u32 {
        let keyspace = if at % 2 == 0 { &a } else { &b };
        keyspace.put_with(at.to_be_bytes(), [7; 200], Durability::Buffered).unwrap();
        for step in [BackgroundStep::SpareSegment, BackgroundStep::Flush, BackgroundStep::CleanUp] {
            db.run_background_step(step).unwrap();
        }
    }
    let metrics = db.metrics();
    assert!(metrics.flushes > 1 && metrics.wal_segments_recycled > 1, "{metrics:?}");
    assert_eq!(*held.lock(), []);
}

/// The first segment of an open is smaller than the others and never reached half of their size.
#[test]
fn the_first_segment_gets_a_spare_too_and_they_grow_with_the_rate() {
    let sim = Simulation::new(1);
    let db = Db::builder()
        .memory_budget_bytes(1 << 30)
        .background(Background::Manual)
        .world(sim.world())
        .open(DIR)
        .unwrap();
    let ks = db.keyspace("k").unwrap();
    let segments = || db.inspect().wal.len();
    assert_eq!((segments(), log_bytes(&sim)), (1, 1 << 20));
    ks.put_with("a", vec![7; 200 << 10], Durability::Buffered).unwrap();
    assert!(spare(&db) && !spare(&db));
    assert_eq!((segments(), log_bytes(&sim)), (2, 5 << 20));
    // A fast writer gets larger ones.
    for at in 0..5u8 {
        ks.put_with([at], vec![7; 600 << 10], Durability::Buffered).unwrap();
        spare(&db);
    }
    assert_eq!((segments(), log_bytes(&sim)), (3, (1 + 4 + 16) << 20));
    // A slow one small ones.
    for at in 0..40u8 {
        sim.clock.advance(Duration::from_secs(100));
        ks.put_with([at], vec![7; 600 << 10], Durability::Buffered).unwrap();
        spare(&db);
    }
    let sizes = |sim: &Simulation| log_bytes(sim) >> 20;
    let before = sizes(&sim);
    assert!(before < 60, "{before}");
    for at in 0..5u8 {
        sim.clock.advance(Duration::from_secs(100));
        ks.put_with([at], vec![7; 600 << 10], Durability::Buffered).unwrap();
        spare(&db);
    }
    assert!(sizes(&sim) <= before + 5);
}

/// A database that nobody writes to kept three segments of 64 MiB.
#[test]
fn an_idle_log_gives_up_what_it_does_not_need() {
    for is_flushed in [false, true] {
        let sim = Simulation::new(1);
        let db = Db::builder()
            .memory_budget_bytes(96 << 20)
            .background(Background::Manual)
            .world(sim.world())
            .open(DIR)
            .unwrap();
        let ks = db.keyspace("k").unwrap();
        let write = || {
            for at in 0..30u8 {
                ks.put_with([at], vec![at; 400 << 10], Durability::Buffered).unwrap();
                spare(&db);
            }
        };
        write();
        if is_flushed {
            db.flush().unwrap();
        }
        let settle = || {
            for _ in 0..5 {
                db.run_background_step(BackgroundStep::CleanUp).unwrap();
                spare(&db);
                sim.clock.advance(Duration::from_secs(1));
            }
            assert!(!spare(&db), "there is an end to it");
        };
        let before = log_bytes(&sim);
        settle();
        let after = log_bytes(&sim);
        match is_flushed {
            true => assert_eq!(after, 1 << 20),
            false => assert!(after < before, "{after} {before}"),
        }
        // What is still in memory alone is still in the log.
        for policy in [CrashPolicy::KeepAll, CrashPolicy::DropAll] {
            let after = Simulation::with_fs(sim.fs.image(policy, 7), 7);
            let found = Db::builder().world(after.world()).background(Background::Manual);
            let found = found.open(DIR).unwrap().keyspace("k").unwrap().iter().count();
            assert!(found == 30 || (!is_flushed && policy == CrashPolicy::DropAll), "{found}");
        }
        // It goes on as before.
        write();
        ks.put("last", "1").unwrap();
        db.verify().unwrap();
        db.close().unwrap();
        let db = Db::builder().world(sim.world()).open(DIR).unwrap();
        assert_eq!(db.keyspace("k").unwrap().iter().count(), 31);
        db.verify().unwrap();
    }
}

/// An open after a kill copies what is not known to be synced, and that could be the whole log.
#[test]
fn a_log_that_nobody_syncs_is_synced_behind_the_writers() {
    let sim = Simulation::new(1);
    let db = small(sim.world()).wal_segment_bytes(16 << 10).open(DIR).unwrap();
    let ks = db.keyspace("k").unwrap();
    let memtable = db.core().options.memtable_bytes() as u64;
    let mut live = 0;
    for at in 0..1000u32 {
        ks.put_with((at % 500).to_be_bytes(), [7; 1000], Durability::Buffered).unwrap();
        spare(&db);
        let log = db.core().log.lock();
        live = live.max(log.live_bytes());
        let frozen = db.core().metrics.frozen_bytes.get().min(2 * memtable);
        assert!(log.unsynced_bytes() <= memtable / 2 * 3 + frozen + (32 << 10), "{at}");
    }
    assert!(live > 2 * memtable, "{live}");
    let after = sim.crash(CrashPolicy::DropAll, 3);
    let db = small(after.world()).open(DIR).unwrap();
    assert!(db.keyspace("k").unwrap().iter().count() >= 400);
}

/// With a large budget an open after a kill copied hundreds of megabytes into one segment.
#[test]
fn what_is_not_synced_is_bounded_however_large_memtables_are() {
    let sim = Simulation::new(1);
    let db = small(sim.world()).memory_budget_bytes(300 << 20).wal_segment_bytes(4 << 20);
    let db = db.open(DIR).unwrap();
    let ks = db.keyspace("k").unwrap();
    let mut most = 0;
    for at in 0..480u32 {
        ks.put_with(at.to_be_bytes(), vec![7; 256 << 10], Durability::Buffered).unwrap();
        spare(&db);
        most = most.max(db.core().log.lock().unsynced_bytes());
    }
    // Two memtables are frozen, and all that was written is in the log. The segment in use is not counted.
    assert!(db.core().metrics.frozen_bytes.get() > 90 << 20);
    assert!(db.core().log.lock().live_bytes() > 110 << 20);
    assert!(most > 56 << 20 && most <= (64 << 20) + (5 << 20), "{most}");
}

/// The system tells but one of those that sync the same file at a time: the other's commit was taken for durable.
#[test]
fn a_sync_that_fails_beside_a_commit_fails_that_too() {
    let sim = Simulation::new(1);
    let db = small(sim.world()).open(DIR).unwrap();
    let ks = db.keyspace("k").unwrap();
    ks.put("1", [7; 200]).unwrap();
    let failed = Error::new(ErrorKind::Io, "planned");
    *db.core().sync_outside.failure.lock() = Some(failed);
    assert_eq!(ks.put("2", "1").unwrap_err().kind(), ErrorKind::Indeterminate);
    assert_eq!(ks.put("3", "1").unwrap_err().kind(), ErrorKind::ReadOnly);
    assert!(ks.contains("1").unwrap() && !ks.contains("2").unwrap());
}

/// A flush that syncs the log beside the writers tells of a failure as ever.
#[test]
fn a_failed_sync_of_a_flush_makes_the_database_read_only() {
    let sim = Simulation::new(1);
    let faults = Arc::new(FaultFs::new(sim.world().fs));
    let db = small(World { fs: faults.clone(), ..sim.world() }).open(DIR).unwrap();
    for name in ["a", "b"] {
        let ks = db.keyspace(name).unwrap();
        ks.put_with("1", [7; 200], Durability::Buffered).unwrap();
    }
    let fault = Rule::new(Fault::Fail(Failure::Io)).on(&[Call::SyncData]);
    faults.inject(fault.suffix(".wal.tmp"));
    assert!(db.flush().is_err());
    let ks = db.keyspace("a").unwrap();
    assert_eq!(ks.put("3", "1").unwrap_err().kind(), ErrorKind::ReadOnly);
    assert!(ks.contains("1").unwrap());
}
