//! What a caller is told of a commit that failed: in doubt, when it may be there after the next open, and anything else
//! when it never happened and never will.
#![allow(clippy::unwrap_used)]

use std::error::Error as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};
use esker_vfs::simulated::{CrashPolicy, Simulation, SyncFailure};
use esker_vfs::{Call, Clock, World};

use super::support::small;
use crate::{Background, Builder, Db, Durability, Error, ErrorKind};

const DIR: &str = "/db";

fn builder(world: World) -> Builder {
    small(world).wal_segment_bytes(16 << 10)
}

/// A disk that can be told to fail, and a database on it with one durable entry.
fn start() -> (Simulation, Arc<FaultFs>, Db) {
    let sim = Simulation::new(1);
    let faults = Arc::new(FaultFs::new(sim.world().fs));
    let db = builder(World { fs: faults.clone(), ..sim.world() }).open(DIR).unwrap();
    db.keyspace("k").unwrap().put("a", "1").unwrap();
    (sim, faults, db)
}

/// The keys after the process was killed and the database opened again.
fn keys_after_a_kill(sim: &Simulation) -> Vec<String> {
    keys_after(sim, CrashPolicy::KeepAll)
}

fn keys_after(sim: &Simulation, policy: CrashPolicy) -> Vec<String> {
    let left = Simulation::with_fs(sim.fs.image(policy, 7), 7);
    let db = builder(left.world()).open(DIR).unwrap();
    let keys = db.keyspace("k").unwrap().iter().map(|entry| entry.unwrap().0.to_vec());
    keys.map(|key| String::from_utf8(key).unwrap()).collect()
}

fn cause(error: &Error) -> &Error {
    error.source().unwrap().downcast_ref().unwrap()
}

/// All writes of a group whose sync failed are in doubt, whatever durability they asked for; later ones are refused.
#[test]
fn a_failed_sync_leaves_its_own_commits_in_doubt_and_refuses_later_ones() {
    for mode in
        [SyncFailure::LostStillCached, SyncFailure::LostReverted, SyncFailure::PersistedAnyway]
    {
        let (sim, _, db) = start();
        let ks = db.keyspace("k").unwrap();
        for suffix in [".wal", ".wal.tmp"] {
            sim.fs.fail_syncs(suffix, mode, Some(1));
        }
        let mut pending = Vec::new();
        for (key, durability) in
            [("b", Durability::Volatile), ("c", Durability::Sync), ("d", Durability::Buffered)]
        {
            let mut batch = db.batch();
            batch.put(&ks, key, "2");
            pending.push(db.submit_with(batch, durability).unwrap());
        }
        for pending in pending {
            let error = pending.wait().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
            assert_eq!(cause(&error).kind(), ErrorKind::Io);
            assert!(error.to_string().contains("sync") && !error.is_retryable(), "{error}");
        }
        let mut tx = db.transaction().unwrap();
        tx.put(&ks, "e", "2").unwrap();
        for error in
            [ks.put("e", "2").unwrap_err(), tx.commit().unwrap_err(), db.sync().unwrap_err()]
        {
            assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
            assert_eq!(cause(&error).kind(), ErrorKind::Io);
        }
        assert_eq!(ks.iter().count(), 1);
        sim.fs.heal_syncs();
        // The one that was refused is never there; those in doubt are there together or not at all.
        let found = keys_after_a_kill(&sim);
        assert!(found == ["a"] || found == ["a", "b", "c", "d"], "{found:?}");
        let found = keys_after(&sim, CrashPolicy::DropAll);
        assert!(found == ["a"] || found == ["a", "b", "c", "d"], "{found:?}");
    }
}

#[test]
fn a_sync_that_fails_says_so_of_what_was_acknowledged_before() {
    let (sim, _, db) = start();
    let ks = db.keyspace("k").unwrap();
    ks.put_with("b", "2", Durability::Buffered).unwrap();
    for suffix in [".wal", ".wal.tmp"] {
        sim.fs.fail_syncs(suffix, SyncFailure::LostReverted, Some(1));
    }
    assert_eq!(db.sync().unwrap_err().kind(), ErrorKind::Indeterminate);
    assert_eq!(ks.get("b").unwrap().unwrap(), "2");
    assert_eq!(db.sync().unwrap_err().kind(), ErrorKind::ReadOnly);
}

/// A write can fail although all of its bytes are there. It used to be answered as if nothing had happened, and was there
/// after the process was killed.
#[test]
fn a_failed_write_that_is_told_from_doubt_is_never_there() {
    for fault in [
        Fault::Fail(Failure::Io),
        Fault::FailHalfway(Failure::NoSpace),
        Fault::FailAfter(Failure::Io),
        Fault::FailAfter(Failure::NoSpace),
    ] {
        let (sim, faults, db) = start();
        let ks = db.keyspace("k").unwrap();
        faults.inject(
            Rule::new(fault.clone()).on(&[Call::WriteAllAt, Call::Store]).suffix(".wal.tmp"),
        );
        let error = ks.put("b", "2").unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Io | ErrorKind::NoSpace), "{error}");
        assert_eq!(faults.strikes(), 1);
        for policy in [CrashPolicy::KeepAll, CrashPolicy::DropAll] {
            assert_eq!(keys_after(&sim, policy), ["a"], "{fault:?}");
        }
        assert_eq!(db.metrics().read_only_cause, None);
        ks.put("c", "3").unwrap();
        assert_eq!(keys_after(&sim, CrashPolicy::DropAll), ["a", "c"], "{fault:?}");
    }
}

/// Where the log cannot be led around a failed write either, the write is in doubt until it can.
#[test]
fn a_failed_write_is_in_doubt_while_the_log_cannot_go_on() {
    let (sim, faults, db) = start();
    let ks = db.keyspace("k").unwrap();
    let fault = Fault::FailAfter(Failure::NoSpace);
    faults.inject(Rule::new(fault).on(&[Call::WriteAllAt, Call::Store]).suffix(".wal.tmp"));
    faults.inject(Rule::new(Fault::Fail(Failure::NoSpace)).on(&[Call::CreateNew]).sticky());
    let error = ks.put("b", "2").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
    assert_eq!(cause(&error).kind(), ErrorKind::NoSpace);
    assert_eq!(keys_after_a_kill(&sim), ["a", "b"]);
    // A later write does not reach the disk: nothing is in doubt about it.
    assert_eq!(ks.put("c", "3").unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(db.metrics().read_only_cause, None);
    assert_eq!(keys_after_a_kill(&sim), ["a", "b"]);
    faults.clear();
    ks.put("d", "4").unwrap();
    // Now it is certain.
    assert_eq!(ks.get("b").unwrap(), None);
    for policy in [CrashPolicy::KeepAll, CrashPolicy::DropAll] {
        assert_eq!(keys_after(&sim, policy), ["a", "d"]);
    }
}

/// A Volatile write that was acknowledged stays in line behind a failed write, and the commit that pushed it is told.
#[test]
fn acknowledged_writes_in_line_survive_the_failure_of_a_later_one() {
    let (sim, faults, db) = start();
    let ks = db.keyspace("k").unwrap();
    ks.put_with("b", "2", Durability::Volatile).unwrap();
    let fault = Fault::FailAfter(Failure::Io);
    faults.inject(Rule::new(fault).on(&[Call::WriteAllAt, Call::Store]).suffix(".wal.tmp"));
    assert_eq!(ks.put("c", "3").unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(ks.get("b").unwrap().unwrap(), "2");
    ks.put("d", "4").unwrap();
    assert_eq!(keys_after(&sim, CrashPolicy::DropAll), ["a", "b", "d"]);
}

/// A new keyspace and a drop are changes of the manifest; where that is in doubt, so are they.
#[test]
fn a_keyspace_made_or_dropped_while_the_manifest_failed_is_in_doubt() {
    for is_drop in [false, true] {
        let (sim, _, db) = start();
        let ks = db.keyspace("k").unwrap();
        for suffix in [".manifest", ".manifest.tmp"] {
            sim.fs.fail_syncs(suffix, SyncFailure::PersistedAnyway, Some(1));
        }
        let error = match is_drop {
            true => db.drop_keyspace("k").unwrap_err(),
            false => db.keyspace("new").unwrap_err(),
        };
        assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
        assert_eq!(db.keyspace("newer").unwrap_err().kind(), ErrorKind::ReadOnly);
        assert!(ks.put("b", "2").is_err());
        let left = Simulation::with_fs(sim.fs.image(CrashPolicy::KeepAll, 7), 7);
        let db = builder(left.world()).open(DIR).unwrap();
        let expected: &[&str] = if is_drop { &[] } else { &["k", "new"] };
        assert_eq!(db.keyspaces().unwrap(), expected);
    }
}

/// A drop that the full manifest refuses changes nothing: the memtable, which a flush once forgot then, is there.
#[test]
fn a_drop_that_fails_midway_keeps_the_memtable() {
    let (sim, faults, db) = start();
    let ks = db.keyspace("k").unwrap();
    // Edits until the manifest would have to grow, which the full disk refuses before anything is written.
    let rule = Rule::new(Fault::Fail(Failure::NoSpace)).on(&[Call::Allocate]);
    faults.inject(rule.suffix(".manifest.tmp").sticky());
    let filled = (0..10_000).find_map(|at| db.keyspace(&format!("{at:0200}")).err());
    assert_eq!(filled.unwrap().kind(), ErrorKind::NoSpace);
    while db.keyspace(&format!("{}", db.keyspaces().unwrap().len())).is_ok() {}
    ks.put("b", "2").unwrap();
    let error = db.drop_keyspace("k").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert!(db.flush().is_err());
    assert_eq!(ks.get("b").unwrap().unwrap(), "2");
    ks.put("c", "3").unwrap();
    assert_eq!(keys_after(&sim, CrashPolicy::DropAll), ["a", "b", "c"]);
    faults.clear();
    db.flush().unwrap();
    assert_eq!(ks.iter().count(), 3);
    db.drop_keyspace("k").unwrap();
    assert_eq!(ks.get("b").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(keys_after(&sim, CrashPolicy::DropAll), [""; 0]);
}

/// A clock whose sleep panics, and with it the call that a fault delays by it.
#[derive(Debug)]
struct Panicking;

impl Clock for Panicking {
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn wall_ms(&self) -> u64 {
        0
    }

    fn sleep(&self, _: Duration) {
        panic!("planted");
    }
}

fn panicking() -> Fault {
    Fault::Delay { clock: Arc::new(Panicking), duration: Duration::from_secs(1) }
}

#[test]
fn after_a_panic_amid_a_commit_all_writers_are_told_and_the_database_closes() {
    for calls in [&[Call::WriteAllAt, Call::Store][..], &[Call::SyncData]] {
        let (sim, faults, db) = start();
        let ks = db.keyspace("k").unwrap();
        faults.inject(Rule::new(panicking()).on(calls).suffix(".wal.tmp"));
        let submit = |key: &str, len: usize| {
            let mut batch = db.batch();
            batch.put(&ks, key, vec![0; len]);
            db.submit(batch).unwrap()
        };
        // The first two share the group that panics; the third is in line behind it.
        let (own, same, behind) = (submit("b", 1), submit("c", 1 << 20), submit("d", 1));
        let caught = catch_unwind(AssertUnwindSafe(|| own.wait()));
        assert!(caught.is_err());
        let _ = same.wait().unwrap_err();
        assert!(behind.wait().is_err());
        assert_eq!(ks.put("e", "1").unwrap_err().kind(), ErrorKind::ReadOnly);
        assert!(db.metrics().read_only_cause.unwrap().contains("panicked"));
        assert_eq!(ks.get("a").unwrap().unwrap(), "1");
        assert_eq!(db.flush().unwrap_err().kind(), ErrorKind::ReadOnly);
        db.close().unwrap();
        let found = keys_after_a_kill(&sim);
        assert!(found.starts_with(&["a".to_owned()]) && !found.contains(&"e".to_owned()));
    }
}

/// With threads it is the commit thread that panics, and other threads that wait.
#[test]
fn a_panic_in_the_commit_thread_wakes_whoever_waits() {
    let sim = Simulation::new(2);
    let faults = Arc::new(FaultFs::new(sim.world().fs));
    let world = World { fs: faults.clone(), ..sim.world() };
    let db = builder(world).background(Background::Threads).open(DIR).unwrap();
    let ks = db.keyspace("k").unwrap();
    faults.inject(Rule::new(panicking()).on(&[Call::SyncData]).suffix(".wal.tmp").sticky());
    let pending: Vec<_> = (0..20u8)
        .filter_map(|at| {
            let mut batch = db.batch();
            batch.put(&ks, [at], "1");
            db.submit(batch).ok()
        })
        .collect();
    assert!(!pending.is_empty());
    for pending in pending {
        let error = pending.wait().unwrap_err();
        let kinds = [ErrorKind::Indeterminate, ErrorKind::ReadOnly, ErrorKind::Io];
        assert!(kinds.contains(&error.kind()), "{error}");
    }
    assert_eq!(ks.put("x", "1").unwrap_err().kind(), ErrorKind::ReadOnly);
    assert!(ks.iter().next().is_none());
    db.close().unwrap();
}

/// The same in a thread that flushes or merges: nothing hangs, reads go on, and the cause is named.
#[test]
fn a_panic_in_a_background_thread_is_the_databases_failure() {
    let sim = Simulation::new(3);
    let faults = Arc::new(FaultFs::new(sim.world().fs));
    let world = World { fs: faults.clone(), ..sim.world() };
    let db = builder(world).background(Background::Threads).open(DIR).unwrap();
    let ks = db.keyspace("k").unwrap();
    faults.inject(Rule::new(panicking()).on(&[Call::CreateNew]).suffix(".sst").sticky());
    // Written until a memtable is full and its flush panics.
    let told = (0..100_000u32)
        .find_map(|at| ks.put_with(at.to_be_bytes(), [1; 1000], Durability::Volatile).err());
    assert_eq!(told.unwrap().kind(), ErrorKind::ReadOnly);
    let cause = db.metrics().read_only_cause.unwrap();
    assert!(cause.contains("esker-flush panicked"), "{cause}");
    assert!(ks.get(0u32.to_be_bytes()).unwrap().is_some());
    db.close().unwrap();
}
