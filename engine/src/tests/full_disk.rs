//! A full disk, and space that comes back: what was acknowledged is served all the time, and writes go on without a
//! restart, also in a database that was opened while the disk was full.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};
use esker_vfs::simulated::{CrashPolicy, Simulation};
use esker_vfs::{Call, Fs, World};

use super::support::small;
use crate::{Background, BackgroundStep, Db, Durability, ErrorKind};

const DIR: &str = "/db";

fn count(db: &Db) -> usize {
    db.keyspace("k").unwrap().iter().map(Result::unwrap).count()
}

/// What a killed process left: something in an sstable, something in the log alone, and no space, not even the reserve.
fn full() -> Simulation {
    let sim = Simulation::new(1);
    let db = small(sim.world()).open(DIR).unwrap();
    let ks = db.keyspace("k").unwrap();
    for at in 0..30u32 {
        ks.put(at.to_be_bytes(), [7; 300]).unwrap();
        if at == 15 {
            db.flush().unwrap();
        }
    }
    let left = Simulation::with_fs(sim.fs.image(CrashPolicy::KeepAll, 2), 2);
    left.world().fs.remove_file(&Path::new(DIR).join("RESERVE")).unwrap();
    left.fs.set_capacity(0);
    left
}

fn names(sim: &Simulation) -> Vec<String> {
    sim.world().fs.list(Path::new(DIR)).unwrap()
}

/// It used to stay read-only until it was opened again.
#[test]
fn a_database_opened_on_a_full_disk_takes_writes_when_there_is_space() {
    let sim = full();
    let before = names(&sim);
    let db = small(sim.world()).open(DIR).unwrap();
    let ks = db.keyspace("k").unwrap();
    assert_eq!(count(&db), 30);
    for _ in 0..3 {
        assert_eq!(ks.put("x", "1").unwrap_err().kind(), ErrorKind::NoSpace);
        assert_eq!(db.flush().unwrap_err().kind(), ErrorKind::NoSpace);
        assert_eq!(db.compact().unwrap_err().kind(), ErrorKind::NoSpace);
        assert_eq!(db.checkpoint("/copy").unwrap_err().kind(), ErrorKind::NoSpace);
        assert_eq!(db.keyspace("new").unwrap_err().kind(), ErrorKind::NoSpace);
        assert_eq!(db.drop_keyspace("k").unwrap_err().kind(), ErrorKind::NoSpace);
        assert_eq!(db.sync().unwrap_err().kind(), ErrorKind::NoSpace);
        let mut tx = db.transaction().unwrap();
        tx.put(&ks, "x", "1").unwrap();
        assert_eq!(tx.commit().unwrap_err().kind(), ErrorKind::NoSpace);
        db.verify().unwrap();
    }
    assert!(db.metrics().read_only_cause.unwrap().contains("space"));
    assert_eq!(names(&sim), before, "attempts leave nothing behind");

    sim.fs.set_capacity(u64::MAX);
    ks.put("x", "1").unwrap();
    assert_eq!(db.metrics().read_only_cause, None);
    assert!(names(&sim).contains(&"RESERVE".to_owned()));
    // What the resumed database says is durable is, and everything works.
    let cut = Simulation::with_fs(sim.fs.image(CrashPolicy::DropAll, 3), 3);
    assert_eq!(count(&small(cut.world()).open(DIR).unwrap()), 31);
    db.flush().unwrap();
    db.compact().unwrap();
    db.verify().unwrap();
    db.checkpoint("/copy").unwrap();
    assert_eq!(count(&small(sim.world()).open("/copy").unwrap()), 31);
    db.close().unwrap();
    assert_eq!(count(&small(sim.world()).open(DIR).unwrap()), 31);
}

#[test]
fn the_background_step_makes_it_take_writes_too() {
    let sim = full();
    let db = small(sim.world()).open(DIR).unwrap();
    let error = db.run_background_step(BackgroundStep::CleanUp).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    sim.fs.set_capacity(u64::MAX);
    db.run_background_step(BackgroundStep::CleanUp).unwrap();
    assert_eq!(db.metrics().read_only_cause, None);
    assert_eq!(db.inspect().last_seq.0, 30);
}

/// With threads nobody has to write: they look again by themselves.
#[test]
fn the_threads_notice_that_there_is_space() {
    let sim = full();
    let db = small(sim.world()).background(Background::Threads).open(DIR).unwrap();
    assert!(db.metrics().read_only_cause.is_some());
    sim.fs.set_capacity(u64::MAX);
    let clock = World::real().clock;
    let began = clock.monotonic();
    while db.metrics().read_only_cause.is_some() {
        assert!(clock.monotonic() - began < Duration::from_secs(60));
        clock.sleep(Duration::from_millis(2));
    }
    db.keyspace("k").unwrap().put("x", "1").unwrap();
    assert_eq!(count(&db), 31);
}

#[test]
fn a_database_that_was_opened_on_a_full_disk_closes_as_it_was() {
    let sim = full();
    let before = sim.fs.image_hash();
    let db = small(sim.world()).open(DIR).unwrap();
    db.close().unwrap();
    assert_eq!(sim.fs.image_hash(), before);
    assert_eq!(db.keyspace("k").unwrap_err().kind(), ErrorKind::Closed);
    sim.fs.set_capacity(u64::MAX);
    assert_eq!(count(&small(sim.world()).open(DIR).unwrap()), 30);
}

/// The disk lets an attempt come further and further before it says no. Whatever it leaves behind, a power cut between
/// two attempts and after the last one loses nothing and is not refused.
#[test]
fn attempts_that_fail_at_any_call_leave_what_opens() {
    let mut most = 0;
    for call in 0.. {
        let sim = full();
        let faults = Arc::new(FaultFs::new(sim.world().fs));
        let world = World { fs: faults.clone(), ..sim.world() };
        let db = small(world).open(DIR).unwrap();
        let ks = db.keyspace("k").unwrap();
        sim.fs.set_capacity(u64::MAX);
        faults.inject(Rule::new(Fault::Fail(Failure::NoSpace)).after(call).sticky());
        let result = ks.put("x", "1");
        let struck = faults.strikes() > 0;
        let check = |what: &str| {
            for (seed, policy) in [CrashPolicy::DropAll, CrashPolicy::KeepAll, CrashPolicy::Posix]
                .into_iter()
                .enumerate()
            {
                let cut = Simulation::with_fs(sim.fs.image(policy, seed as u64), 4);
                let found = count(&small(cut.world()).open(DIR).unwrap());
                let least = 30 + usize::from(result.is_ok());
                assert!((least..=31).contains(&found), "{found} {what}, call {call}");
            }
        };
        check("between");
        faults.clear();
        if result.is_err() {
            assert_eq!(count(&db), 30);
            // The second attempt is cut off at every call, too.
            let image = sim.fs.fork();
            for second in 0..most {
                let again = Simulation::with_fs(image.fork(), 5);
                again.fs.cut_power_at(again.fs.ops() + second);
                let _ = small(again.world()).open(DIR);
                let after = again.crash(CrashPolicy::KeepAll, 6);
                assert!(count(&small(after.world()).open(DIR).unwrap()) >= 30);
            }
            match ks.put("x", "1") {
                Ok(()) => assert_eq!(count(&db), 31),
                // A failed sync of a directory, say, is for the next open.
                Err(error) => assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}"),
            }
        }
        check("after");
        if !struck {
            assert!(result.is_ok() && call > 10, "{call}");
            return;
        }
        most = 30;
    }
}

/// The first attempt may have become the live manifest although it failed. The log segment of the second one used to look
/// like a lost part of the first one's log, and a power cut between the two made the database unopenable.
#[test]
fn a_second_attempt_is_not_taken_for_a_lost_part_of_the_first() {
    let sim = full();
    sim.fs.set_capacity(u64::MAX);
    // The last sync of the directory, behind the swap of CURRENT, fails although it was done.
    let probe = Simulation::with_fs(sim.fs.fork(), 2);
    let start = probe.fs.ops();
    drop(small(probe.world()).open(DIR).unwrap());
    let ops = probe.fs.ops() - start;
    for nth in 0..4 {
        for cut in 0..2 * ops {
            let sim = Simulation::with_fs(sim.fs.fork(), 2);
            let faults = Arc::new(FaultFs::new(sim.world().fs));
            let rule =
                Rule::new(Fault::FailAfter(Failure::NoSpace)).on(&[Call::SyncDir]).after(nth);
            faults.inject(rule);
            sim.fs.cut_power_at(sim.fs.ops() + cut);
            let _ = small(World { fs: faults, ..sim.world() }).open(DIR);
            let after = sim.crash(CrashPolicy::KeepAll, 3);
            let db = small(after.world()).open(DIR);
            let db = db.unwrap_or_else(|error| panic!("sync {nth}, cut at {cut}: {error}"));
            assert_eq!(count(&db), 30);
        }
    }
}

/// A process that has run out of files when it looks again has not lost anything: it used to stay read-only for ever.
#[test]
fn too_many_open_files_do_not_end_the_wait_for_space() {
    for call in [Call::List, Call::CreateNew, Call::SyncDir] {
        let sim = full();
        let faults = Arc::new(FaultFs::new(sim.world().fs));
        let db = small(World { fs: faults.clone(), ..sim.world() }).open(DIR).unwrap();
        let ks = db.keyspace("k").unwrap();
        sim.fs.set_capacity(u64::MAX);
        faults.inject(Rule::new(Fault::Fail(Failure::TooManyFiles)).on(&[call]).sticky());
        for _ in 0..2 {
            assert_eq!(ks.put("x", "1").unwrap_err().kind(), ErrorKind::Io, "{call:?}");
            assert_eq!(count(&db), 30);
        }
        faults.clear();
        ks.put("x", "1").unwrap();
        assert_eq!(db.metrics().read_only_cause, None);
        let cut = Simulation::with_fs(sim.fs.image(CrashPolicy::DropAll, 3), 3);
        assert_eq!(count(&small(cut.world()).open(DIR).unwrap()), 31);
    }
}

/// `RESERVE` is given up on a full disk and used to stay short after a crash.
#[test]
fn the_reserve_has_its_size_again_after_the_next_open() {
    let sim = Simulation::new(1);
    let path = Path::new(DIR).join("RESERVE");
    let len = |fs: &dyn Fs| fs.metadata(&path).map(|found| found.len).unwrap_or(0);
    let db = small(sim.world()).open(DIR).unwrap();
    db.keyspace("k").unwrap().put("a", "1").unwrap();
    drop(db);
    let whole = len(&*sim.world().fs);
    assert!(whole >= 1 << 20);
    let file = sim.world().fs.open(&path, esker_vfs::OpenMode::ReadWrite).unwrap();
    file.truncate(100).unwrap();
    file.sync_all().unwrap();
    drop(file);
    drop(small(sim.world()).open(DIR).unwrap());
    assert_eq!(len(&*sim.world().fs), whole);
    let after = sim.crash(CrashPolicy::DropAll, 3);
    assert_eq!(len(&*after.world().fs), whole);
    // Given up on a full disk, it is there again later.
    let left = full();
    let db = small(left.world()).open(DIR).unwrap();
    assert_eq!(len(&*left.world().fs), 0);
    left.fs.set_capacity(u64::MAX);
    db.keyspace("k").unwrap().put("b", "1").unwrap();
    assert_eq!(len(&*left.world().fs), whole);
}

/// A full disk under threads: writers are told, nobody hangs, and the same threads go on when there is space.
#[test]
fn writers_of_a_full_disk_are_told_and_go_on() {
    let sim = Simulation::new(3);
    let db = small(sim.world()).background(Background::Threads).open(DIR).unwrap();
    let ks = db.keyspace("k").unwrap();
    sim.fs.set_capacity(0);
    let told = (0..10_000u32)
        .find_map(|at| ks.put_with(at.to_be_bytes(), [1; 500], Durability::Buffered).err());
    assert_eq!(told.unwrap().kind(), ErrorKind::NoSpace);
    sim.fs.set_capacity(u64::MAX);
    let clock = World::real().clock;
    let began = clock.monotonic();
    while let Err(error) = ks.put("after", "1") {
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
        assert!(clock.monotonic() - began < Duration::from_secs(60));
        clock.sleep(Duration::from_millis(2));
    }
    db.flush().unwrap();
    db.verify().unwrap();
    db.close().unwrap();
}
