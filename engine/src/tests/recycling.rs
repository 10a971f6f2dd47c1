//! Log segments that are made of retired ones.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use esker_vfs::simulated::{CrashPolicy, Simulation};
use esker_vfs::{Fs, OpenMode};

use super::support::small;
use crate::{Background, BackgroundStep, Db, Durability, Keyspace, ReadMode};

const DIR: &str = "/db";

fn open(sim: &Simulation) -> (Db, Keyspace) {
    let db = small(sim.world()).open(DIR).unwrap();
    let ks = db.keyspace("k").unwrap();
    (db, ks)
}

fn run(db: &Db, steps: &[BackgroundStep]) {
    for step in steps {
        while db.run_background_step(*step).unwrap() && *step != BackgroundStep::Scrub {}
    }
}

/// Fills several segments, and lets all but the current one go.
fn turn_over(db: &Db, ks: &Keyspace, round: u32) {
    for at in 0..40 {
        let durability = if at % 3 == 0 { Durability::Sync } else { Durability::Buffered };
        ks.put_with(format!("{at} of {round}"), vec![round as u8 + 1; 300], durability).unwrap();
        run(db, &[BackgroundStep::SpareSegment]);
    }
    db.flush().unwrap();
    run(db, &[BackgroundStep::CleanUp]);
}

fn logs(fs: &dyn Fs) -> Vec<String> {
    let names = fs.list(Path::new(DIR)).unwrap().into_iter();
    names.filter(|name| name.contains(".wal")).collect()
}

fn check(sim: &Simulation, rounds: u32) {
    let (db, ks) = open(sim);
    for round in 0..rounds {
        for at in 0..40 {
            let value = ks.get(format!("{at} of {round}")).unwrap().unwrap();
            assert_eq!(value, vec![round as u8 + 1; 300]);
        }
    }
    db.close().unwrap();
}

#[test]
fn retired_segments_become_new_ones_and_a_close_leaves_none() {
    let sim = Simulation::new(1);
    let (db, ks) = open(&sim);
    for round in 0..6 {
        turn_over(&db, &ks, round);
        let metrics = db.metrics();
        assert!((1..=4).contains(&metrics.wal_segments_retired), "{metrics:?}");
        assert!(metrics.wal_segments_recycled >= u64::from(round), "{metrics:?}");
        for policy in [CrashPolicy::KeepAll, CrashPolicy::DropAll] {
            check(&Simulation::with_fs(sim.fs.image(policy, 7), 7), round);
        }
    }
    db.close().unwrap();
    // The sealed one alone.
    assert_eq!(logs(&sim.fs).len(), 1);
    check(&sim, 6);
    assert_eq!(logs(&sim.fs).len(), 1);
}

/// A copy by links that somebody made keeps its content.
#[test]
fn a_segment_with_another_name_is_not_used_again() {
    let sim = Simulation::new(1);
    let (db, ks) = open(&sim);
    turn_over(&db, &ks, 0);
    let dir = Path::new(DIR);
    let read = |name: &str| {
        let file = sim.fs.open(&dir.join(name), OpenMode::Read).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    let before = db.metrics().wal_segments_recycled;
    ks.put("a", vec![1; 3000]).unwrap();
    run(&db, &[BackgroundStep::SpareSegment]);
    let (names, kept) = (logs(&sim.fs), db.metrics().wal_segments_retired);
    let names: Vec<_> = names.into_iter().filter(|name| name.ends_with(".wal")).collect();
    for name in &names {
        sim.fs.hard_link(&dir.join(name), &dir.join(format!("{name}.copy"))).unwrap();
    }
    let contents: Vec<_> = names.iter().map(|name| read(name)).collect();
    ks.put("b", vec![1; 3000]).unwrap();
    db.flush().unwrap();
    run(&db, &[BackgroundStep::CleanUp]);
    assert_eq!(db.metrics().wal_segments_retired, kept);
    assert_eq!(db.metrics().wal_segments_recycled, before + 1);
    let retired = names.iter().position(|name| !logs(&sim.fs).contains(name)).unwrap();
    assert_eq!(read(&format!("{}.copy", names[retired])), contents[retired]);
}

/// Who wants failures of the disk as errors gets no map.
#[test]
fn positioned_reads_mean_written_logs() {
    use ReadMode::{Mapped, Positioned};
    use esker_vfs::fault::FaultFs;
    use esker_vfs::{Call, World};
    use std::sync::Arc;
    for (mode, asked, maps) in [
        (Mapped, None, true),
        (Positioned, None, false),
        (Mapped, Some(false), false),
        (Positioned, Some(true), true),
    ] {
        let sim = Simulation::new(1);
        let faults = Arc::new(FaultFs::new(sim.world().fs));
        let world = World { fs: faults.clone(), ..sim.world() };
        let builder = Db::builder()
            .memory_budget_bytes(1 << 20)
            .wal_segment_bytes(4096)
            .read_mode(mode)
            .background(Background::Manual)
            .world(world);
        let builder = asked.map_or(builder.clone(), |asked| builder.wal_mapped(asked));
        let db = builder.open(DIR).unwrap();
        turn_over(&db, &db.keyspace("k").unwrap(), 0);
        assert_eq!(faults.calls_of(Call::MapForWrites) > 1, maps);
    }
}

/// Where nothing syncs the log, nothing else let go of the files of retired segments: each kept a descriptor and its
/// space on the disk.
#[test]
fn retired_segments_that_were_never_synced_are_let_go_of() {
    let sim = Simulation::new(1);
    let (db, ks) = open(&sim);
    for round in 0..10u32 {
        for at in 0..40u32 {
            ks.put_with(at.to_be_bytes(), vec![round as u8; 300], Durability::Buffered).unwrap();
            run(&db, &[BackgroundStep::SpareSegment]);
        }
        db.flush().unwrap();
        run(&db, &[BackgroundStep::CleanUp]);
        assert!(db.core().log.lock().writer().unwrap().unsynced_segments() <= 1);
    }
}

/// The manifest is lost, and with it the list of the log's segments.
#[test]
fn a_repair_does_not_take_a_retired_segment_for_a_part_of_the_log() {
    use esker_base::names::CURRENT;

    use crate::repair::{RepairOptions, repair};

    let sim = Simulation::new(1);
    let (db, ks) = open(&sim);
    for at in 0..100u32 {
        ks.put(at.to_be_bytes(), vec![7; 1000]).unwrap();
    }
    db.flush().unwrap();
    for at in 0..5u32 {
        ks.put(at.to_be_bytes(), "new").unwrap();
    }
    run(&db, &[BackgroundStep::CleanUp]);
    assert!(db.metrics().wal_segments_retired >= 4);
    let sim = Simulation::with_fs(sim.fs.image(CrashPolicy::KeepAll, 1), 1);
    let dir = Path::new(DIR);
    for name in sim.fs.list(dir).unwrap() {
        if name == CURRENT || name.ends_with(".manifest") {
            sim.fs.remove_file(&dir.join(name)).unwrap();
        }
    }
    let options =
        RepairOptions { apply: true, world: Some(sim.world()), ..RepairOptions::default() };
    let report = repair(DIR, &options).unwrap();
    assert!(report.is_rebuilt && report.lost_commits.is_empty(), "{report:?}");
    let db = small(sim.world()).open(DIR).unwrap();
    let name = report.unnamed_keyspaces.first().map_or("k", String::as_str);
    let ks = db.existing_keyspace(name).unwrap().unwrap();
    for at in 0..5u32 {
        assert_eq!(ks.get(at.to_be_bytes()).unwrap().as_deref(), Some(&b"new"[..]));
    }
}
