//! Background work that meets something else, at a moment that the test chooses: a hook runs amid a call of the file
//! system. A close, a checkpoint, a verification, writes that keep arriving; disks and clocks that are slow or jump.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use esker_vfs::fault::{Fault, FaultFs, Rule};
use esker_vfs::simulated::{CrashPolicy, Simulation};
use esker_vfs::{Call, World};

use super::support::{hook, small};
use crate::{Background, BackgroundStep, Db, Durability, ErrorKind, Keyspace};

const DIR: &str = "/db";

fn start() -> (Simulation, Arc<FaultFs>, Db, Keyspace) {
    let sim = Simulation::new(1);
    let faults = Arc::new(FaultFs::new(sim.world().fs));
    let db = small(World { fs: faults.clone(), ..sim.world() }).open(DIR).unwrap();
    let ks = db.keyspace("k").unwrap();
    (sim, faults, db, ks)
}

/// More than a memtable takes with 1 MiB of memory, so it is frozen.
fn fill(ks: &Keyspace, key: &str) {
    ks.put(key, vec![7; 176 << 10]).unwrap();
}

/// The lock used to be given up while a step was still writing.
#[test]
fn a_close_waits_for_the_step_that_is_under_way() {
    for step in [BackgroundStep::Flush, BackgroundStep::Compact] {
        let (sim, faults, db, ks) = start();
        for at in 0..8 {
            // Files that overlap, so that they are merged and not moved.
            ks.put("shared", format!("{at}")).unwrap();
            fill(&ks, &format!("{at}"));
            ks.put("z", format!("{at}")).unwrap();
            if step == BackgroundStep::Compact {
                db.flush().unwrap();
            }
        }
        let (reached, is_reached) = mpsc::channel();
        let (go, may_go) = mpsc::channel::<()>();
        let gate = hook(move || {
            let _ = reached.send(());
            // Later calls find the gate open.
            let _ = may_go.recv();
        });
        faults.inject(gate.on(&[Call::SyncAll]).suffix(".sst"));
        let second = |sim: &Simulation| small(sim.world()).open(DIR);
        std::thread::scope(|scope| {
            let work = scope.spawn(|| db.run_background_step(step));
            is_reached.recv().unwrap();
            let close = scope.spawn(|| db.close());
            while db.keyspaces().is_ok() {
                std::thread::yield_now();
            }
            // The step stands still, and the directory is not given up.
            assert_eq!(second(&sim).unwrap_err().kind(), ErrorKind::Locked);
            assert!(!close.is_finished());
            drop(go);
            let _ = work.join();
            close.join().unwrap().unwrap();
        });
        faults.clear();
        drop((ks, db));
        let db = second(&sim).unwrap();
        assert_eq!(db.keyspace("k").unwrap().iter().count(), 10);
        db.verify().unwrap();
    }
}

/// Files whose removal a clean-up took up just before a checkpoint began used to be missing in the copy.
#[test]
fn a_clean_up_amid_a_checkpoint_takes_nothing_from_it() {
    for call in [Call::HardLink, Call::CreateNew, Call::SyncDir, Call::ReadAt] {
        let (sim, faults, db, ks) = start();
        for at in 0..6 {
            fill(&ks, &format!("{at}"));
            db.flush().unwrap();
        }
        let (inner, steps) = (db.clone(), Arc::new(AtomicU64::new(0)));
        let counted = steps.clone();
        let work = hook(move || {
            if counted.fetch_add(1, Ordering::Relaxed) == 0 {
                // The files that the checkpoint is about to link are merged away, and so is the log.
                inner.keyspace("k").unwrap().put("later", "1").unwrap();
                inner.compact().unwrap();
            }
            for step in [BackgroundStep::CleanUp, BackgroundStep::Flush, BackgroundStep::CleanUp] {
                let _ = inner.run_background_step(step);
            }
        });
        faults.inject(work.on(&[call]));
        db.checkpoint("/copy").unwrap();
        assert!(steps.load(Ordering::Relaxed) > 0, "{call:?}");
        faults.clear();
        // Once it is done, the files go.
        db.run_background_step(BackgroundStep::CleanUp).unwrap();
        let names = sim.world().fs.list(Path::new(DIR)).unwrap();
        let files = names.iter().filter(|name| name.ends_with(".sst")).count() as u64;
        assert_eq!(files, db.metrics().sstables);
        assert_eq!(ks.iter().count(), 7);
        let copy = small(sim.world()).open("/copy").unwrap();
        copy.verify().unwrap();
        let found = copy.keyspace("k").unwrap().iter().count();
        assert!((6..=7).contains(&found), "{call:?}: {found}");
    }
}

#[test]
fn a_clean_up_amid_a_verification_takes_nothing_from_it() {
    let (_sim, faults, db, ks) = start();
    for at in 0..6 {
        fill(&ks, &format!("{at}"));
        db.flush().unwrap();
        ks.put(format!("logged {at}"), [1; 3000]).unwrap();
    }
    let inner = db.clone();
    let work = hook(move || {
        let _ = inner.compact();
        let _ = inner.flush();
        let _ = inner.run_background_step(BackgroundStep::CleanUp);
    });
    faults.inject(work.on(&[Call::Open, Call::ReadAt]).suffix(".wal"));
    db.verify().unwrap();
    faults.clear();
    db.verify().unwrap();
    assert_eq!(ks.iter().count(), 12);
}

/// A flush used to go on for as long as others kept filling memtables.
#[test]
fn a_flush_ends_although_memtables_keep_being_filled() {
    for one_keyspace in [false, true] {
        let (_sim, faults, db, ks) = start();
        ks.put("a", "1").unwrap();
        let runs = Arc::new(AtomicU64::new(0));
        let (counted, inner) = (runs.clone(), ks.clone());
        let work = hook(move || {
            if counted.fetch_add(1, Ordering::Relaxed) < 2 {
                fill(&inner, "later");
            }
        });
        faults.inject(work.on(&[Call::CreateNew]).suffix(".sst"));
        match one_keyspace {
            true => db.core().flush_keyspace(&ks.inner).unwrap(),
            false => db.flush().unwrap(),
        }
        assert_eq!(runs.load(Ordering::Relaxed), 1, "what came later was not waited for");
        faults.clear();
        assert!(db.run_background_step(BackgroundStep::Flush).unwrap());
        assert!(ks.contains("later").unwrap());
    }
}

/// A compaction used to start over for as long as others kept flushing.
#[test]
fn a_compaction_ends_although_files_keep_arriving() {
    let (_sim, faults, db, ks) = start();
    for at in 0..3 {
        fill(&ks, &format!("{at}"));
        db.flush().unwrap();
    }
    let runs = Arc::new(AtomicU64::new(0));
    let (counted, inner) = (runs.clone(), db.clone());
    let work = hook(move || {
        // Amid the merge, not amid the flush before it.
        if inner.core().flushing.try_lock().is_some() && counted.load(Ordering::Relaxed) < 5 {
            let at = counted.fetch_add(1, Ordering::Relaxed);
            fill(&inner.keyspace("k").unwrap(), &format!("later {at}"));
            inner.flush().unwrap();
        }
    });
    faults.inject(work.on(&[Call::SyncAll]).suffix(".sst"));
    db.compact().unwrap();
    faults.clear();
    assert!(runs.load(Ordering::Relaxed) > 0);
    assert_eq!(db.metrics().compactions, 1);
    assert_eq!(ks.iter().count() as u64, 3 + runs.load(Ordering::Relaxed));
    db.verify().unwrap();
}

/// Every sync takes seconds: writes wait that long and no longer, and the metrics say so.
#[test]
fn a_disk_that_is_slow_by_seconds_only_slows() {
    let (sim, faults, db, ks) = start();
    let seconds = Duration::from_secs(5);
    let slow = || Fault::Delay { clock: sim.world().clock, duration: seconds };
    faults.inject(Rule::new(slow()).on(&Call::SYNCS).sticky());
    let began = sim.world().clock.monotonic();
    for at in 0..20 {
        ks.put(format!("{at}"), [1; 100]).unwrap();
    }
    let took = sim.world().clock.monotonic() - began;
    assert!(took >= 20 * seconds && took < 40 * seconds, "{took:?}");
    assert!(db.metrics().wal_sync_us_max >= seconds.as_micros() as u64);
    faults.inject(Rule::new(slow()).on(&[Call::WriteAllAt, Call::Store, Call::ReadAt]).sticky());
    db.flush().unwrap();
    db.compact().unwrap();
    db.checkpoint("/copy").unwrap();
    db.close().unwrap();
    assert_eq!(small(sim.world()).open(DIR).unwrap().keyspace("k").unwrap().iter().count(), 20);
}

/// With threads, and memtables that fill faster than they are flushed: writers stall, are counted, and finish.
#[test]
fn writers_outrun_a_slow_disk_without_a_deadlock() {
    let sim = Simulation::new(2);
    let faults = Arc::new(FaultFs::new(sim.world().fs));
    let slow = Fault::Delay { clock: sim.world().clock, duration: Duration::from_secs(2) };
    let world = World { fs: faults.clone(), ..sim.world() };
    let db = small(world).background(Background::Threads).open(DIR).unwrap();
    let keyspaces = ["a", "b", "c"].map(|name| db.keyspace(name).unwrap());
    faults.inject(Rule::new(slow).on(&[Call::WriteAllAt, Call::SyncAll]).suffix(".sst").sticky());
    std::thread::scope(|scope| {
        for ks in &keyspaces {
            scope.spawn(move || {
                for at in 0..60u32 {
                    let durability =
                        if at % 7 == 0 { Durability::Sync } else { Durability::Volatile };
                    ks.put_with(at.to_be_bytes(), vec![1; 30_000], durability).unwrap();
                }
            });
        }
    });
    faults.clear();
    db.flush().unwrap();
    for ks in &keyspaces {
        assert_eq!(ks.iter().count(), 60);
    }
    db.verify().unwrap();
    db.close().unwrap();
}

/// The order of writes is that of their sequence numbers, whatever the wall clock says meanwhile.
#[test]
fn a_clock_that_jumps_does_not_reorder_writes() {
    let mut sim = Simulation::new(3);
    let jumps = [0, -1_000_000_000_000, 2_000_000_000_000, i64::MIN / 4, i64::MAX / 4, -5];
    for (at, jump) in jumps.into_iter().enumerate() {
        sim.clock.jump_wall_ms(jump);
        let db = small(sim.world()).open(DIR).unwrap();
        let ks = db.keyspace("k").unwrap();
        if at > 0 {
            assert_eq!(ks.get("a").unwrap().unwrap(), format!("{}", at - 1));
        }
        for value in 0..=at {
            ks.put("a", format!("{value}")).unwrap();
        }
        match at % 3 {
            0 => db.flush().unwrap(),
            1 => db.compact().unwrap(),
            _ => {}
        }
        for step in BackgroundStep::ALL {
            db.run_background_step(step).unwrap();
        }
        assert_eq!(ks.get("a").unwrap().unwrap(), format!("{at}"));
        db.verify().unwrap();
        drop((ks, db));
        sim = sim.crash(CrashPolicy::DropAll, at as u64);
    }
}

/// A merge and a verification used to keep the memtables of their beginning in memory until their ends.
#[test]
fn long_work_over_files_keeps_no_memtable() {
    for verifies in [false, true] {
        let (_sim, faults, db, ks) = start();
        for at in 0..3 {
            fill(&ks, &format!("{at}"));
            db.flush().unwrap();
        }
        let dropped = Arc::new(AtomicU64::new(0));
        let (counted, inner, keyspace) = (dropped.clone(), db.clone(), ks.clone());
        let mut memtable = None;
        let work = hook(move || match &memtable {
            // Amid the work, not amid the flush before it.
            None if inner.core().flushing.try_lock().is_none() => {}
            None => {
                let weak = Arc::downgrade(&keyspace.inner.view().active);
                memtable = Some(weak.clone());
                keyspace.put("later", "1").unwrap();
                inner.flush().unwrap();
                counted.store(1 + u64::from(weak.upgrade().is_none()), Ordering::Relaxed);
            }
            Some(_) => {}
        });
        match verifies {
            true => {
                faults.inject(work.on(&[Call::ReadAt]).suffix(".sst"));
                db.verify().unwrap();
            }
            false => {
                faults.inject(work.on(&[Call::CreateNew]).suffix(".sst"));
                db.compact().unwrap();
            }
        }
        assert_eq!(dropped.load(Ordering::Relaxed), 2, "verifies: {verifies}");
    }
}
