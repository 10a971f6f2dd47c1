//! The manifest under the engine: started afresh when it has grown, in doubt after a failure, and made first in a new
//! database.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};
use esker_vfs::simulated::{CrashPolicy, Simulation, SyncFailure};
use esker_vfs::{Call, World};

use super::support::small;
use crate::{BackgroundStep, Db, ErrorKind};

const DIR: &str = "/db";

/// As `MANIFEST_BYTES_MAX` in `core.rs`.
const GROWN: u64 = 4 << 20;

fn manifests(fs: &dyn esker_vfs::Fs) -> Vec<String> {
    let names = fs.list(Path::new(DIR)).unwrap().into_iter();
    names.filter(|name| name.ends_with(".manifest")).collect()
}

fn written(db: &Db) -> u64 {
    db.core().manifest.lock().log.as_ref().unwrap().size_bytes()
}

/// A database whose manifest is within one edit of being started afresh: history of keyspaces that came and went.
fn grown() -> (Simulation, Arc<FaultFs>, Db) {
    let sim = Simulation::new(1);
    let faults = Arc::new(FaultFs::new(sim.world().fs));
    let db = small(World { fs: faults.clone(), ..sim.world() }).open(DIR).unwrap();
    let ks = db.keyspace("kept").unwrap();
    ks.put("flushed", "1").unwrap();
    db.flush().unwrap();
    ks.put("logged", "2").unwrap();
    let name = "n".repeat(255);
    let (mut before, mut edit) = (written(&db), 0);
    while before + edit < GROWN {
        db.keyspace(&name).unwrap();
        let made = written(&db);
        if made + 200 >= GROWN {
            break;
        }
        db.drop_keyspace(&name).unwrap();
        edit = (written(&db) - before).max(edit);
        before = written(&db);
    }
    assert!(written(&db) < GROWN);
    (sim, faults, db)
}

fn check(db: &Db) {
    let ks = db.existing_keyspace("kept").unwrap().unwrap();
    let found: Vec<_> = ks.iter().map(|entry| entry.unwrap().0.to_vec()).collect();
    assert_eq!(found, [&b"flushed"[..], b"logged"]);
    db.verify().unwrap();
}

#[test]
fn a_manifest_that_has_grown_is_started_afresh_and_no_power_cut_amid_it_loses_anything() {
    let (sim, _, db) = grown();
    let old = manifests(&*sim.world().fs);
    // Every state that the disk is in from here on.
    sim.fs.record_states();
    let mut made = 0;
    while manifests(&*sim.world().fs) == old {
        db.keyspace(&format!("more{made}")).unwrap();
        made += 1;
    }
    assert!(written(&db) < GROWN / 2);
    db.run_background_step(BackgroundStep::CleanUp).unwrap();
    db.keyspace("last").unwrap();
    let states = sim.fs.take_states();
    assert_eq!(manifests(&*sim.world().fs).len(), 1, "the old one is removed");
    check(&db);
    assert!(states.len() > 10, "{}", states.len());
    for (call, state) in states {
        for (seed, policy) in
            [CrashPolicy::DropAll, CrashPolicy::KeepAll, CrashPolicy::Posix].into_iter().enumerate()
        {
            let after = Simulation::with_fs(state.crash(policy, seed as u64), 2);
            let db = small(after.world()).open(DIR);
            let db = db.unwrap_or_else(|error| panic!("cut at call {call}: {error}"));
            check(&db);
        }
    }
    db.close().unwrap();
    let db = small(sim.world()).open(DIR).unwrap();
    check(&db);
    assert_eq!(
        db.keyspaces().unwrap().iter().filter(|name| name.starts_with("more")).count(),
        made
    );
}

/// A rewrite that fails is no harm, and is tried again; one that leaves in doubt which manifest is live is the end.
#[test]
fn a_manifest_that_cannot_be_started_afresh_goes_on_until_it_can() {
    let (sim, faults, db) = grown();
    let old = manifests(&*sim.world().fs);
    faults.inject(Rule::new(Fault::Fail(Failure::NoSpace)).on(&[Call::CreateNew]).sticky());
    for at in 0..4 {
        db.keyspace(&format!("{at}{}", "w".repeat(200))).unwrap();
    }
    assert!(written(&db) >= GROWN && faults.strikes() > 0);
    assert!(db.metrics().background_errors > 0);
    assert_eq!(manifests(&*sim.world().fs), old);
    faults.clear();
    db.keyspace("more").unwrap();
    assert!(written(&db) < GROWN);
    check(&db);
    assert_eq!(db.metrics().read_only_cause, None);
    let after = sim.crash(CrashPolicy::DropAll, 1);
    check(&small(after.world()).open(DIR).unwrap());
}

#[test]
fn a_rewrite_in_doubt_makes_the_database_read_only_and_removes_nothing() {
    let (sim, faults, db) = grown();
    let old = manifests(&*sim.world().fs);
    faults.inject(Rule::new(Fault::FailAfter(Failure::Io)).on(&[Call::Rename]).suffix("CURRENT"));
    // The edit itself is durable.
    while db.metrics().read_only_cause.is_none() {
        db.keyspace(&format!("more{}", db.keyspaces().unwrap().len())).unwrap();
    }
    assert_eq!(db.keyspace("other").unwrap_err().kind(), ErrorKind::ReadOnly);
    for step in BackgroundStep::ALL {
        let _ = db.run_background_step(step);
    }
    assert!(manifests(&*sim.world().fs).starts_with(&old));
    check(&db);
    for policy in [CrashPolicy::DropAll, CrashPolicy::KeepAll] {
        let after = Simulation::with_fs(sim.fs.image(policy, 1), 1);
        check(&small(after.world()).open(DIR).unwrap());
    }
}

/// Whether the failed edit is in the file nobody knows. A verification used to call that damage.
#[test]
fn a_verification_after_a_failed_edit_finds_no_damage() {
    for mode in
        [SyncFailure::LostStillCached, SyncFailure::LostReverted, SyncFailure::PersistedAnyway]
    {
        let sim = Simulation::new(2);
        let db = small(sim.world()).open(DIR).unwrap();
        let ks = db.keyspace("kept").unwrap();
        ks.put("flushed", "1").unwrap();
        db.flush().unwrap();
        ks.put("logged", "2").unwrap();
        sim.fs.fail_syncs(".manifest", mode, None);
        sim.fs.fail_syncs(".manifest.tmp", mode, None);
        assert_eq!(db.keyspace("new").unwrap_err().kind(), ErrorKind::Indeterminate);
        sim.fs.heal_syncs();
        check(&db);
        assert_eq!(db.flush().unwrap_err().kind(), ErrorKind::ReadOnly);
        check(&db);
        drop((ks, db));
        check(&small(sim.world()).open(DIR).unwrap());
    }
}

/// The log of a new database once came before its manifest: cut between the two, the directory held a log that nothing
/// named, and was refused for ever.
#[test]
fn a_new_database_cut_anywhere_opens_and_keeps_what_was_acknowledged() {
    let live = |world: World| {
        let db = small(world).open(DIR)?;
        let ks = db.keyspace("k")?;
        ks.put("a", "1")?;
        Ok::<_, crate::Error>(db)
    };
    let probe = Simulation::new(3);
    drop(live(probe.world()).unwrap());
    let calls = probe.fs.ops();
    assert!(calls > 20);
    for call in 0..=calls {
        let sim = Simulation::new(3);
        sim.fs.cut_power_at(call);
        let acknowledged = live(sim.world()).is_ok();
        for policy in sim.fs.exhaustive_policies(512) {
            let after = Simulation::with_fs(sim.fs.image(policy, 4), 4);
            let db = small(after.world()).open(DIR);
            let db = db.unwrap_or_else(|error| panic!("cut at {call}, {policy:?}: {error}"));
            let found = db.keyspace("k").unwrap().get("a").unwrap();
            assert!(found.is_some() || !acknowledged, "cut at {call}, {policy:?}");
        }
    }
}

/// `CURRENT`, log and manifest are read before anything is written: an error of the disk there is no end of the log and
/// no missing database, whichever read it is.
#[test]
fn a_failed_read_in_recovery_is_an_error_and_changes_nothing() {
    let sim = Simulation::new(4);
    let db = small(sim.world()).open(DIR).unwrap();
    let ks = db.keyspace("kept").unwrap();
    ks.put("flushed", "1").unwrap();
    db.flush().unwrap();
    ks.put("logged", "2").unwrap();
    let left = Simulation::with_fs(sim.fs.image(CrashPolicy::KeepAll, 2), 2);
    let reads = [Call::Open, Call::ReadAt, Call::Len, Call::List, Call::Metadata, Call::Map];
    for read_only in [true, false] {
        for nth in 0.. {
            let sim = Simulation::with_fs(left.fs.fork(), 2);
            let before = sim.fs.image_hash();
            let faults = Arc::new(FaultFs::new(sim.world().fs));
            faults.inject(Rule::new(Fault::Fail(Failure::Io)).on(&reads).after(nth));
            let world = World { fs: faults.clone(), ..sim.world() };
            match small(world).read_only(read_only).open(DIR) {
                Ok(db) => {
                    // It struck where nothing depends on it, or not at all.
                    let struck = faults.strikes() > 0;
                    faults.clear();
                    check(&db);
                    if !struck {
                        assert!(nth > 5, "{nth}");
                        break;
                    }
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Io, "{nth}: {error}");
                    if read_only {
                        assert_eq!(sim.fs.image_hash(), before, "{nth}");
                    }
                }
            }
            check(&small(sim.world()).open(DIR).unwrap());
        }
    }
}
