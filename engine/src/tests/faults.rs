//! Disks that say no: full, failing to sync, failing to read. The outcome is a typed error and never a lost or a wrong
//! answer; what was acknowledged is there after a power cut.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};
use esker_vfs::simulated::{CrashPolicy, Simulation, SyncFailure};
use esker_vfs::{Call, OpenMode, World};

use crate::{
    Background, BackgroundStep, Builder, Db, Durability, Error, ErrorKind, KeyspaceOptions,
    ReadMode,
};

fn builder(world: World) -> Builder {
    Db::builder()
        .memory_budget_bytes(1 << 20)
        .wal_segment_bytes(16 << 10)
        .read_mode(ReadMode::Positioned)
        .wal_mapped(true)
        .background(Background::Manual)
        .world(world)
}

fn count(db: &Db) -> usize {
    db.keyspace("k").unwrap().iter().map(Result::unwrap).count()
}

#[test]
fn a_failed_log_sync_makes_the_database_read_only_and_a_reopen_serves_what_was_acknowledged() {
    for mode in
        [SyncFailure::LostStillCached, SyncFailure::LostReverted, SyncFailure::PersistedAnyway]
    {
        let sim = Simulation::new(1);
        let db = builder(sim.world()).open("/db").unwrap();
        let ks = db.keyspace("k").unwrap();
        ks.put("a", "1").unwrap();
        sim.fs.fail_syncs(".wal", mode, Some(1));
        sim.fs.fail_syncs(".wal.tmp", mode, Some(1));
        let error = ks.put("b", "2").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
        // Not acknowledged, so not visible; reads go on, and every later write hears the cause.
        assert_eq!(ks.get("b").unwrap(), None);
        assert_eq!(ks.get("a").unwrap().unwrap(), "1");
        sim.fs.heal_syncs();
        let error = ks.put_with("c", "3", Durability::Volatile).unwrap_err();
        assert!(error.to_string().contains("sync"), "{error}");
        assert!(db.metrics().read_only_cause.is_some());
        assert!(db.flush().is_err());
        drop((ks, db));

        // A restart of the process sees the page cache; a power cut afterwards must not take back what it showed.
        let db = builder(sim.world()).open("/db").unwrap();
        let shown = count(&db);
        assert!(shown >= 1);
        drop(db);
        let after = sim.crash(CrashPolicy::DropAll, 7);
        let db = builder(after.world()).open("/db").unwrap();
        assert_eq!(count(&db), shown, "{mode:?}");
    }
}

/// A sync under the log's lock succeeds, but the one that ran outside of it has failed: the system told only that one.
/// What was written counted as synced all the same, and the next sync, which had nothing left to do, said yes.
#[test]
fn a_failure_that_another_sync_was_told_of_is_told_to_every_later_one() {
    let sim = Simulation::new(13);
    let db = builder(sim.world()).open("/db").unwrap();
    let ks = db.keyspace("k").unwrap();
    ks.put_with("a", "1", Durability::Buffered).unwrap();
    let core = db.core();
    let failure = Error::new(ErrorKind::Io, "the disk failed");
    *core.sync_outside.failure.lock() = Some(failure);
    let mut log = core.log.lock();
    let known = log.writer().unwrap().known_synced();
    for _ in 0..2 {
        let error = core.sync_log(&mut log).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
        assert_eq!(log.writer().unwrap().known_synced(), known);
    }
    drop(log);
    assert!(db.sync().is_err());
}

#[test]
fn writes_resume_when_a_full_disk_has_space_again() {
    let sim = Simulation::new(2);
    let db = builder(sim.world()).open("/db").unwrap();
    let ks = db.keyspace("k").unwrap();
    ks.put("before", "1").unwrap();
    sim.fs.set_capacity(0);
    let mut written = 1;
    let value = [7; 1000];
    let error = loop {
        match ks.put(format!("{written}"), value) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 10_000);
    };
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert_eq!(ks.put("again", value).unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(count(&db), written);
    assert!(db.flush().is_err());
    assert_eq!(count(&db), written);

    // It opens while the disk is still full, with all that was acknowledged.
    let full = Simulation::with_fs(sim.fs.image(CrashPolicy::DropAll, 1), 3);
    let reopened = builder(full.world()).open("/db").unwrap();
    assert_eq!(count(&reopened), written);

    sim.fs.set_capacity(u64::MAX);
    ks.put("after", value).unwrap();
    db.flush().unwrap();
    assert_eq!(count(&db), written + 1);
    let after = sim.crash(CrashPolicy::DropAll, 7);
    assert_eq!(count(&builder(after.world()).open("/db").unwrap()), written + 1);
}

#[test]
fn a_write_that_fails_halfway_is_never_followed_by_one_that_is_acknowledged_and_lost() {
    for failure in [Failure::Io, Failure::NoSpace] {
        let sim = Simulation::new(3);
        let faults = Arc::new(FaultFs::new(sim.world().fs));
        let world = World { fs: faults.clone(), ..sim.world() };
        let db = builder(world).open("/db").unwrap();
        let ks = db.keyspace("k").unwrap();
        ks.put("a", "1").unwrap();
        ks.put_with("buffered", "1", Durability::Buffered).unwrap();
        faults.inject(
            Rule::new(Fault::FailHalfway(failure))
                .on(&[Call::WriteAllAt, Call::Store])
                .suffix(".wal.tmp"),
        );
        assert!(ks.put("b", "2").is_err());
        assert_eq!(faults.strikes(), 1);
        faults.clear();
        assert_eq!(ks.get("b").unwrap(), None);
        ks.put("c", "3").unwrap();
        let after = sim.crash(CrashPolicy::DropAll, 7);
        let db = builder(after.world()).open("/db").unwrap();
        let ks = db.keyspace("k").unwrap();
        assert_eq!(ks.get("a").unwrap().unwrap(), "1");
        assert_eq!(ks.get("buffered").unwrap().unwrap(), "1");
        assert_eq!(ks.get("b").unwrap(), None);
        assert_eq!(ks.get("c").unwrap().unwrap(), "3");
    }
}

#[test]
fn a_failed_flush_keeps_the_memtable_and_a_later_one_succeeds() {
    for call in [Call::SyncAll, Call::WriteAllAt, Call::CreateNew, Call::SyncDir] {
        let sim = Simulation::new(4);
        let faults = Arc::new(FaultFs::new(sim.world().fs));
        let world = World { fs: faults.clone(), ..sim.world() };
        let db = builder(world).open("/db").unwrap();
        let ks = db.keyspace("k").unwrap();
        ks.put("a", "1").unwrap();
        let suffix = if call == Call::SyncDir { "/db" } else { ".sst" };
        faults.inject(Rule::new(Fault::Fail(Failure::Io)).on(&[call]).suffix(suffix));
        assert!(db.flush().is_err(), "{call:?}");
        faults.clear();
        assert_eq!(ks.get("a").unwrap().unwrap(), "1");
        db.flush().unwrap();
        assert_eq!(db.metrics().sstables, 1);
        db.verify().unwrap();
    }
}

#[test]
fn a_failed_manifest_sync_deletes_nothing_and_the_next_open_has_everything() {
    let sim = Simulation::new(5);
    let db = builder(sim.world()).open("/db").unwrap();
    let ks = db.keyspace("k").unwrap();
    for i in 0..100 {
        ks.put(format!("{i}"), [1; 500]).unwrap();
        if i % 30 == 0 {
            db.flush().unwrap();
        }
    }
    for suffix in [".manifest", ".manifest.tmp"] {
        sim.fs.fail_syncs(suffix, SyncFailure::PersistedAnyway, None);
    }
    assert!(db.compact().is_err());
    sim.fs.heal_syncs();
    assert_eq!(ks.put("x", "1").unwrap_err().kind(), ErrorKind::ReadOnly);
    for step in BackgroundStep::ALL {
        let _ = db.run_background_step(step);
    }
    assert_eq!(count(&db), 100);
    drop((ks, db));
    let db = builder(sim.world()).open("/db").unwrap();
    assert_eq!(count(&db), 100);
    db.verify().unwrap();
}

#[test]
fn a_failed_read_is_an_error_and_not_a_missing_key() {
    let sim = Simulation::new(6);
    let faults = Arc::new(FaultFs::new(sim.world().fs));
    let world = World { fs: faults.clone(), ..sim.world() };
    let db = builder(world).open("/db").unwrap();
    let ks = db.keyspace("k").unwrap();
    ks.put("a", "1").unwrap();
    db.flush().unwrap();
    faults.inject(Rule::new(Fault::Fail(Failure::Io)).suffix(".sst").sticky());
    assert_eq!(ks.get("a").unwrap_err().kind(), ErrorKind::Io);
    assert!(ks.iter().next().unwrap().is_err());
    faults.clear();
    assert_eq!(ks.get("a").unwrap().unwrap(), "1");
}

#[test]
fn a_failed_read_of_the_log_refuses_to_open_and_changes_nothing() {
    let sim = Simulation::new(7);
    let db = builder(sim.world()).open("/db").unwrap();
    db.keyspace("k").unwrap().put("a", "1").unwrap();
    drop(db);
    let before = sim.fs.image_hash();
    let faults = Arc::new(FaultFs::new(sim.world().fs));
    let world = World { fs: faults.clone(), ..sim.world() };
    faults.inject(Rule::new(Fault::Fail(Failure::Io)).on(&[Call::ReadAt]).suffix(".wal"));
    assert_eq!(builder(world).open("/db").unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(sim.fs.image_hash(), before);
    assert_eq!(count(&builder(sim.world()).open("/db").unwrap()), 1);
}

/// A write that failed used to be taken for a failed sync by the next flush or sync, which made the database read-only
/// for good although nothing was in doubt.
#[test]
fn a_failed_write_does_not_make_a_later_sync_fail() {
    for flush in [false, true] {
        let sim = Simulation::new(8);
        let faults = Arc::new(FaultFs::new(sim.world().fs));
        let world = World { fs: faults.clone(), ..sim.world() };
        let db = builder(world).open("/db").unwrap();
        let ks = db.keyspace("k").unwrap();
        ks.put_with("a", "1", Durability::Buffered).unwrap();
        let fault = Fault::FailHalfway(Failure::NoSpace);
        faults.inject(Rule::new(fault).on(&[Call::WriteAllAt, Call::Store]).suffix(".wal.tmp"));
        assert_eq!(ks.put("b", "2").unwrap_err().kind(), ErrorKind::NoSpace);
        if flush {
            db.flush().unwrap()
        } else {
            db.sync().unwrap()
        }
        let image = Simulation::with_fs(sim.fs.image(CrashPolicy::DropAll, 7), 7);
        assert_eq!(count(&builder(image.world()).open("/db").unwrap()), 1);
        ks.put("c", "3").unwrap();
        let image = Simulation::with_fs(sim.fs.image(CrashPolicy::DropAll, 7), 7);
        assert_eq!(count(&builder(image.world()).open("/db").unwrap()), 2);
    }
}

/// The history holds what a commit was about to write. When the log failed, new transactions used to read before that
/// sequence number and conflicted with it again and again, as long as an older one was open.
#[test]
fn a_failed_commit_does_not_conflict_with_the_transactions_after_it() {
    let sim = Simulation::new(9);
    let faults = Arc::new(FaultFs::new(sim.world().fs));
    let world = World { fs: faults.clone(), ..sim.world() };
    let db = builder(world).open("/db").unwrap();
    let ks = db.keyspace("k").unwrap();
    let long = db.transaction().unwrap();
    let fault = Fault::Fail(Failure::NoSpace);
    faults.inject(Rule::new(fault).on(&[Call::WriteAllAt, Call::Store]).suffix(".wal.tmp"));
    assert!(ks.put("a", "1").is_err());
    let mut tx = db.transaction().unwrap();
    assert_eq!(tx.get(&ks, "a").unwrap(), None);
    tx.put(&ks, "a", "2").unwrap();
    tx.commit().unwrap();
    assert_eq!(long.get(&ks, "a").unwrap(), None);
    assert_eq!(ks.get("a").unwrap().unwrap(), "2");
}

/// Only the last part of a new path used to be synced, so a power cut took the database with the parts before it.
#[test]
fn a_new_directory_survives_with_all_its_parents() {
    let sim = Simulation::new(10);
    let db = builder(sim.world()).open("/some/where/db").unwrap();
    db.keyspace("k").unwrap().put("a", "1").unwrap();
    db.checkpoint("/else/where/copy").unwrap();
    let after = sim.crash(CrashPolicy::DropAll, 7);
    for path in ["/some/where/db", "/else/where/copy"] {
        let db = builder(after.world()).create_if_missing(false).open(path).unwrap();
        assert_eq!(count(&db), 1);
    }
}

/// A directory that is there need not be durable: a process that made it may have been killed before it synced the name.
#[test]
fn a_directory_that_was_made_by_others_survives_too() {
    let sim = Simulation::new(13);
    for path in ["/made", "/copied"] {
        sim.world().fs.create_dir_all(std::path::Path::new(path)).unwrap();
    }
    let db = builder(sim.world()).open("/made").unwrap();
    db.keyspace("k").unwrap().put("a", "1").unwrap();
    db.checkpoint("/copied").unwrap();
    let after = sim.crash(CrashPolicy::DropAll, 7);
    for path in ["/made", "/copied"] {
        assert_eq!(count(&builder(after.world()).create_if_missing(false).open(path).unwrap()), 1);
    }
}

/// Every failed attempt used to leave a whole log segment behind, until the disk was full of them.
#[test]
fn a_segment_that_cannot_be_listed_does_not_stay() {
    let sim = Simulation::new(11);
    let faults = Arc::new(FaultFs::new(sim.world().fs));
    let world = World { fs: faults.clone(), ..sim.world() };
    let db = builder(world).open("/db").unwrap();
    let ks = db.keyspace("k").unwrap();
    ks.put("a", [1; 10_000]).unwrap();
    // Edits until the manifest has to grow, which fails.
    let allocate = Rule::new(Fault::Fail(Failure::NoSpace)).on(&[Call::Allocate]);
    faults.inject(allocate.suffix(".manifest.tmp").sticky());
    for width in [200, 8] {
        let full = (0..10_000).find_map(|at| db.keyspace(&format!("{at:0width$}")).err());
        assert_eq!(full.unwrap().kind(), ErrorKind::NoSpace);
    }
    let segments = || {
        let names = sim.world().fs.list(std::path::Path::new("/db")).unwrap();
        names.into_iter().filter(|name| name.contains(".wal")).count()
    };
    let before = segments();
    for _ in 0..5 {
        assert!(db.run_background_step(BackgroundStep::SpareSegment).is_err());
        db.run_background_step(BackgroundStep::CleanUp).unwrap();
        assert!(ks.put("b", [1; 10_000]).is_err());
        db.run_background_step(BackgroundStep::CleanUp).unwrap();
    }
    // One is kept for the next that is made.
    assert_eq!(segments(), before + db.metrics().wal_segments_retired as usize);
    faults.clear();
    ks.put("b", "2").unwrap();
}

/// The keyspace that was furthest behind was always merged first, so one that could not be merged kept all others from
/// it for ever.
#[test]
fn a_keyspace_that_cannot_be_merged_does_not_keep_the_others_from_it() {
    let sim = Simulation::new(12);
    let faults = Arc::new(FaultFs::new(sim.world().fs));
    let world = World { fs: faults.clone(), ..sim.world() };
    let db = builder(world).open("/db").unwrap();
    let [broken, sound] = ["broken", "sound"].map(|name| db.keyspace(name).unwrap());
    for round in 0..5u8 {
        broken.put("a", vec![round; 5000]).unwrap();
        sound.put("a", [round]).unwrap();
        db.flush().unwrap();
    }
    let files = |name: &str| {
        let keyspaces = db.inspect().keyspaces;
        let found = keyspaces.into_iter().find(|keyspace| keyspace.name == name).unwrap();
        found.levels.into_iter().flat_map(|level| level.sstables).collect::<Vec<_>>()
    };
    let suffix = format!("{:010}.sst", files("broken")[0].number);
    faults.inject(Rule::new(Fault::Fail(Failure::Io)).suffix(&suffix).sticky());
    assert!(db.run_background_step(BackgroundStep::Compact).unwrap());
    assert_eq!((files("broken").len(), files("sound").len()), (5, 1));
    assert_eq!(db.metrics().background_errors, 1);
    // With nothing else to do, the failure is reported.
    assert_eq!(db.run_background_step(BackgroundStep::Compact).unwrap_err().kind(), ErrorKind::Io);
    faults.clear();
    assert!(db.run_background_step(BackgroundStep::Compact).unwrap());
    assert_eq!(files("broken").len(), 1);
}

/// A drop marks the keyspace before its edit is durable. A flush that saw the mark used to forget the memtable, and where
/// the edit then failed, the keyspace lived on without it.
#[test]
fn a_flush_during_a_drop_that_fails_loses_nothing() {
    let sim = Simulation::new(14);
    let db = builder(sim.world()).open("/db").unwrap();
    let ks = db.keyspace("k").unwrap();
    ks.put("a", "1").unwrap();
    ks.inner.set_dropped(true);
    let _ = db.flush();
    ks.inner.set_dropped(false);
    assert_eq!(ks.get("a").unwrap().unwrap(), "1");
    let after = sim.crash(CrashPolicy::DropAll, 7);
    assert_eq!(count(&builder(after.world()).open("/db").unwrap()), 1);
}

/// A spare that was listed behind a segment that the log could not be led into made the log's numbers go back, which
/// opening refuses. A writer that failed has no use for a spare.
#[test]
fn no_spare_is_made_for_a_log_that_failed() {
    let sim = Simulation::new(15);
    let faults = Arc::new(FaultFs::new(sim.world().fs));
    let world = World { fs: faults.clone(), ..sim.world() };
    let db = builder(world).open("/db").unwrap();
    let ks = db.keyspace("k").unwrap();
    ks.put("a", [1; 12_000]).unwrap();
    let fault = Fault::FailHalfway(Failure::NoSpace);
    faults.inject(Rule::new(fault).on(&[Call::WriteAllAt, Call::Store]).suffix(".wal.tmp"));
    assert!(ks.put("b", "1").is_err());
    let segments = db.inspect().wal.len();
    assert!(!db.run_background_step(BackgroundStep::SpareSegment).unwrap());
    assert_eq!(db.inspect().wal.len(), segments);
    ks.put("c", "1").unwrap();
    let after = sim.crash(CrashPolicy::DropAll, 7);
    assert_eq!(count(&builder(after.world()).open("/db").unwrap()), 2);
}

/// A damaged last edit of the manifest looks like a tear. Where that edit led the log into another segment after a failed
/// write, opening without it used to lose every commit since, and said nothing.
#[test]
fn a_lost_edit_that_led_the_log_on_is_told_from_a_tear() {
    let sim = Simulation::new(16);
    let faults = Arc::new(FaultFs::new(sim.world().fs));
    let world = World { fs: faults.clone(), ..sim.world() };
    let db = builder(world).open("/db").unwrap();
    let ks = db.keyspace("k").unwrap();
    ks.put("a", "1").unwrap();
    let fault = Fault::FailHalfway(Failure::NoSpace);
    faults.inject(Rule::new(fault).on(&[Call::WriteAllAt, Call::Store]).suffix(".wal.tmp"));
    assert!(ks.put("b", "2").is_err());
    ks.put("c", "3").unwrap();
    let after = sim.crash(CrashPolicy::DropAll, 7);
    let fs = after.world().fs;
    let dir = std::path::Path::new("/db");
    let names = fs.list(dir).unwrap();
    let name = names.iter().rfind(|name| name.ends_with(".manifest")).unwrap();
    let file = fs.open(&dir.join(name), OpenMode::ReadWrite).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let last = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    file.write_all_at(&[bytes[last] ^ 1], last as u64).unwrap();
    let before = after.fs.image_hash();
    for read_only in [true, false] {
        let refused = builder(after.world()).read_only(read_only).open("/db").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corruption, "{refused}");
        assert!(refused.path().unwrap().extension().unwrap() == "wal", "{refused}");
    }
    assert_eq!(after.fs.image_hash(), before);
    // With the edit there is nothing wrong.
    file.write_all_at(&[bytes[last]], last as u64).unwrap();
    assert_eq!(count(&builder(after.world()).open("/db").unwrap()), 2);
}

#[test]
fn scrubbing_names_a_damaged_file_and_the_database_goes_on() {
    let sim = Simulation::new(17);
    let db = builder(sim.world()).open("/db").unwrap();
    let options = KeyspaceOptions { large_value_bytes: None, ..KeyspaceOptions::default() };
    let [first, second] =
        ["first", "second"].map(|name| db.create_keyspace(name, options).unwrap());
    let value = |at: u32| (0..1000).map(|i| ((i * at) >> 3) as u8 ^ i as u8).collect::<Vec<_>>();
    for at in 0..100u32 {
        first.put(at.to_be_bytes(), value(at)).unwrap();
        second.put(at.to_be_bytes(), value(at)).unwrap();
    }
    db.flush().unwrap();
    let pass = || {
        let mut pieces = 0;
        while db.run_background_step(BackgroundStep::Scrub).unwrap() {
            pieces += 1;
        }
        pieces
    };
    assert!(pass() >= 2);
    let sound = db.metrics();
    assert_eq!((sound.scrub_files, sound.scrub_errors, sound.scrub_error), (2, 0, None));
    assert_eq!(sound.scrub_bytes, sound.sstable_bytes);

    let fs = sim.world().fs;
    let names = fs.list(std::path::Path::new("/db")).unwrap();
    let name = names.iter().find(|name| name.ends_with(".sst")).unwrap();
    let path = std::path::Path::new("/db").join(name);
    let file = fs.open(&path, OpenMode::ReadWrite).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 2000).unwrap();
    file.write_all_at(&[!byte[0]], 2000).unwrap();
    assert!(pass() >= 2);
    let damaged = db.metrics();
    assert_eq!((damaged.scrub_files, damaged.scrub_errors), (3, 1));
    assert!(damaged.scrub_error.unwrap().contains(name.as_str()));
    second.put("more", "1").unwrap();
    assert_eq!(second.get("more").unwrap().unwrap(), "1");
}

/// A copy of a database whose log had failed used to lack commits that were acknowledged and visible, and to hold the one
/// whose sync had failed.
#[test]
fn a_database_that_failed_gives_no_checkpoint() {
    let sim = Simulation::new(13);
    let db = builder(sim.world()).open("/db").unwrap();
    let ks = db.keyspace("k").unwrap();
    ks.put("a", "1").unwrap();
    ks.put_with("b", "2", Durability::Volatile).unwrap();
    sim.fs.fail_syncs(".wal", SyncFailure::PersistedAnyway, Some(1));
    sim.fs.fail_syncs(".wal.tmp", SyncFailure::PersistedAnyway, Some(1));
    assert_eq!(ks.put("c", "3").unwrap_err().kind(), ErrorKind::Indeterminate);
    sim.fs.heal_syncs();
    let error = db.checkpoint("/copy").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
    assert!(!sim.world().fs.exists(std::path::Path::new("/copy")).unwrap());
    drop((ks, db));
    let db = builder(sim.world()).open("/db").unwrap();
    db.checkpoint("/copy").unwrap();
    assert_eq!(count(&builder(sim.world()).open("/copy").unwrap()), count(&db));
}
