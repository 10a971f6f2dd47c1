//! Repairs into copies, from disks that cannot be read, and amid failing calls and power cuts.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use esker_base::names::FileKind;
use esker_base::{FileNumber, KeyspaceId, LogPosition, SeqNo};
use esker_manifest::Edit;
use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};
use esker_vfs::simulated::{CrashPolicy, Simulation};
use esker_vfs::{Call, World};

use super::coverage_support::*;
use super::support::small;
use crate::{ErrorKind, RepairOptions, RepairReport, Result, repair};

/// A database with tables and a log, its first table damaged.
fn damaged() -> Simulation {
    let sim = Simulation::new(1);
    let db = small(sim.world()).open(DIR).unwrap();
    let a = db.keyspace("a").unwrap();
    for at in 0..30 {
        a.put(format!("{at:02}"), [7; 100]).unwrap();
    }
    db.flush().unwrap();
    a.put("log", "log").unwrap();
    drop((a, db));
    let sim = sim.crash(CrashPolicy::KeepAll, 1);
    let table = files(&*sim.world().fs, FileKind::Sstable).remove(0);
    spoil(&*sim.world().fs, &table, 70);
    sim
}

fn copy(world: World) -> Result<RepairReport> {
    let to = Some("/copy".into());
    repair(DIR, &RepairOptions { apply: true, to, world: Some(world), ..RepairOptions::default() })
}

#[test]
fn a_copy_takes_an_empty_directory_and_does_without_links_and_current() {
    let sim = damaged();
    sim.world().fs.create_dir_all(Path::new("/copy")).unwrap();
    let fs = sim.world().fs;
    fs.remove_file(&Path::new(DIR).join("CURRENT")).unwrap();
    let faulty = FaultFs::new(Arc::clone(&fs));
    let no_links = Rule::new(Fault::Fail(Failure::Io)).on(&[Call::HardLink]).sticky();
    faulty.inject(no_links);
    let world = World { fs: Arc::new(faulty.clone()), ..sim.world() };
    let before = fs.list(Path::new(DIR)).unwrap();
    let report = copy(world).unwrap();
    assert!(report.is_applied && faulty.strikes() > 0);
    assert_eq!(fs.list(Path::new(DIR)).unwrap(), before);
    let db = small(sim.world()).create_if_missing(false).open("/copy").unwrap();
    db.verify().unwrap();
    let a = db.existing_keyspace("a").unwrap().unwrap();
    assert_eq!(a.get("log").unwrap().unwrap(), b"log"[..]);
}

#[test]
fn what_a_copy_cannot_read_is_zeros_there() {
    let sim = database(&["a"], vec![listed(5, None)]);
    // Five groups of 3 KiB each: the second and the third stand on the second sector.
    let group = |seq: u64| {
        let mut batch = esker_base::Batch::new();
        batch.put(KeyspaceId(1), &[b'0' + seq as u8], &[7; 3000]).unwrap();
        (1, payload(seq, &[(batch.as_bytes(), 1)]))
    };
    let starts = segment(&sim.world(), 5, &(1..=5).map(group).collect::<Vec<_>>());
    let found = esker_manifest::recover(&*sim.world().fs, Path::new(DIR)).unwrap().version;
    let end = LogPosition { file: FileNumber(5), offset: starts[5] };
    let synced = Edit { wal_synced: Some(end), ..Edit::default() };
    write_manifest(&sim.world(), 91, &found.apply(&synced).unwrap());
    let fs = FaultFs::new(sim.world().fs);
    let world = World { fs: Arc::new(fs.clone()), ..sim.world() };
    // The log: first the chunk as a whole, then its second sector.
    let unreadable = Rule::new(Fault::Fail(Failure::Io)).on(&[Call::ReadAt]).suffix(".wal");
    fs.inject(unreadable.clone());
    fs.inject(unreadable.after(2));
    let report = copy(world.clone()).unwrap();
    assert!(report.is_applied && fs.strikes() == 2, "{report:#?}");
    assert_eq!(report.lost_commits[0].from, SeqNo(2), "{report:#?}");
    let db = small(sim.world()).create_if_missing(false).open("/copy").unwrap();
    db.verify().unwrap();
    // A directory that cannot be looked at is not taken for an empty one.
    fs.clear();
    fs.inject(Rule::new(Fault::Fail(Failure::Io)).on(&[Call::List]).suffix("/copy"));
    assert_eq!(copy(world).unwrap_err().kind(), ErrorKind::Io);
}

/// A file that cannot be looked at is not taken for one that is missing: without `CURRENT` a copy would be rebuilt, without
/// `LOCK` nobody would be kept out.
#[test]
fn a_copy_is_not_made_without_what_cannot_be_looked_at() {
    for name in ["CURRENT", "LOCK"] {
        let sim = damaged();
        let fs = FaultFs::new(sim.world().fs);
        fs.inject(Rule::new(Fault::Fail(Failure::Io)).on(&[Call::Metadata]).suffix(name));
        let world = World { fs: Arc::new(fs.clone()), ..sim.world() };
        assert_eq!(copy(world).unwrap_err().kind(), ErrorKind::Io, "{name}");
        assert_eq!(fs.strikes(), 1, "{name}");
    }
}

/// Each call of a repair fails once: whatever comes of it, the next one succeeds and finds the same.
#[test]
fn a_failing_call_of_a_repair_leaves_what_can_be_repaired() {
    let (mut errors, mut successes) = (0, 0);
    for to_copy in [false, true] {
        let calls = {
            let sim = damaged();
            let fs = FaultFs::new(sim.world().fs);
            let world = World { fs: Arc::new(fs.clone()), ..sim.world() };
            let before = fs.calls();
            if to_copy {
                copy(world).unwrap()
            } else {
                run(world, true).unwrap()
            };
            fs.calls() - before
        };
        for call in (0..calls).step_by(2) {
            let sim = damaged();
            let fs = FaultFs::new(sim.world().fs);
            fs.inject(Rule::new(Fault::Fail(Failure::Io)).after(call));
            let world = World { fs: Arc::new(fs.clone()), ..sim.world() };
            let result = if to_copy { copy(world) } else { run(world, true) };
            match result {
                Ok(_) => successes += 1,
                Err(error) => {
                    errors += 1;
                    assert_ne!(error.kind(), ErrorKind::Unsupported, "call {call}: {error}");
                }
            }
            let report = run(sim.world(), true).unwrap_or_else(|e| panic!("call {call}: {e}"));
            assert!(!to_copy || !report.is_sound());
            let db = open(sim.world());
            db.verify().unwrap_or_else(|error| panic!("call {call}: {error}"));
        }
    }
    assert!(errors > 20 && successes > 5, "{errors} {successes}");
}

/// A repair that a power cut interrupts after it recorded what it found: the next one says it again, once.
#[test]
fn names_that_an_interrupted_repair_gave_are_reported_by_the_next() {
    let sim = database(&["a"], vec![]);
    segment(&sim.world(), 5, &[(1, group(1, 1, &["k"]))]);
    lose_manifest(&*sim.world().fs);
    let sim = sim.crash(CrashPolicy::KeepAll, 1);
    let whole = Simulation::with_fs(sim.fs.fork(), 2);
    let start = whole.fs.ops();
    run(whole.world(), true).unwrap();
    let calls = whole.fs.ops() - start;
    let mut told_again = 0;
    for call in 0..calls {
        let cut = Simulation::with_fs(sim.fs.fork(), 2);
        cut.fs.cut_power_at(cut.fs.ops() + call);
        let _ = run(cut.world(), true);
        let after = cut.crash(CrashPolicy::KeepAll, 3);
        let report = run(after.world(), true).unwrap();
        if !report.is_sound() {
            assert_eq!(report.unnamed_keyspaces, ["recovered-1"], "call {call}: {report:#?}");
            told_again += usize::from(!report.is_rebuilt);
        }
        assert_eq!(keys(&after, "recovered-1"), ["k"], "call {call}");
    }
    assert!(told_again > 0);
}
