//! Repair of what the engine's own crashes do not leave: forged groups, logs that were copied or overlap, foreign tables,
//! newer formats; and what a repair refuses.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use esker_base::names::FileKind;
use esker_base::{EntryKind, FileNumber, KeyspaceId, SeqNo, checksum, key};
use esker_manifest::{Edit, StrategyKind, WalEnd};
use esker_sstable::{Writer, WriterOptions};
use esker_vfs::simulated::{CrashPolicy, Simulation};
use esker_vfs::{OpenMode, World};

use super::coverage_support::*;
use super::support::small;
use crate::{CompactionStrategy, Durability, ErrorKind, KeyspaceOptions, RepairOptions, repair};

#[test]
fn what_is_no_damage_is_not_repaired() {
    // Nothing there.
    let sim = Simulation::new(1);
    sim.world().fs.create_dir_all(Path::new(DIR)).unwrap();
    assert_eq!(run(sim.world(), true).unwrap_err().kind(), ErrorKind::NotFound);
    // A log frame of a later version.
    let sim = database(&["a"], vec![listed(5, None)]);
    segment(&sim.world(), 5, &[(9, vec![1])]);
    assert_eq!(run(sim.world(), true).unwrap_err().kind(), ErrorKind::Unsupported);
    // A table of a later version.
    let sim = Simulation::new(1);
    let db = small(sim.world()).open(DIR).unwrap();
    db.keyspace("a").unwrap().put("k", "k").unwrap();
    db.flush().unwrap();
    db.close().unwrap();
    let fs = sim.world().fs;
    let table = files(&*fs, FileKind::Sstable).remove(0);
    let sound = bytes_of(&*fs, &table)[..48].to_vec();
    let mut header = sound.clone();
    header[8] = 4;
    let crc = checksum::plain(&header[..44]);
    header[44..].copy_from_slice(&crc.to_le_bytes());
    overwrite(&*fs, &table, 0, &header);
    let before = sim.fs.image_hash();
    assert_eq!(run(sim.world(), true).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(sim.fs.image_hash(), before);
    // A table that may not be read by whoever asks.
    overwrite(&*fs, &table, 0, &sound);
    let denying = Denying { inner: sim.world().fs, open: ".sst", sync_dir: "" };
    let error = run(World { fs: Arc::new(denying), ..sim.world() }, true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(run(sim.world(), false).unwrap().is_sound());
}

#[test]
fn a_malformed_group_ends_the_log_or_is_skipped() {
    let two = puts(1, &["x", "y"]);
    for (batch, count) in [(two.as_bytes(), 1), (two.as_bytes(), 3), (&two.as_bytes()[..7], 2)] {
        for skip_damaged_log in [false, true] {
            let sim = database(&["a"], vec![listed(5, None)]);
            let frames = [
                (1, group(1, 1, &["k"])),
                (1, payload(2, &[(batch, count)])),
                (1, group(2 + u64::from(count), 1, &["z"])),
            ];
            segment(&sim.world(), 5, &frames);
            let world = Some(sim.world());
            let options = RepairOptions { apply: true, skip_damaged_log, world, to: None };
            let report = repair(DIR, &options).unwrap();
            assert_eq!(report.lost_commits[0].from, SeqNo(2), "{report:#?}");
            let expected: &[&str] = if skip_damaged_log { &["k", "z"] } else { &["k"] };
            assert_eq!(keys(&sim, "a"), expected);
            assert!(run(sim.world(), false).unwrap().is_sound());
        }
    }
}

/// A group for a keyspace that the manifest does not know yet: its creation is lost, its writes are not.
#[test]
fn a_keyspace_whose_creation_is_lost_gets_a_name_that_is_free() {
    let sim = database(&["recovered-2", "recovered-3"], vec![listed(5, None)]);
    let frames = [
        (1, group(1, 1, &["k"])),
        (1, group(2, 3, &["new"])),
        // No keyspace can have this id.
        (1, group(3, u64::MAX, &["nowhere"])),
    ];
    segment(&sim.world(), 5, &frames);
    let report = repaired(&sim);
    assert_eq!(report.unnamed_keyspaces, ["recovered-3-"]);
    assert_eq!(keys(&sim, "recovered-3-"), ["new"]);
    assert_eq!(keys(&sim, "recovered-2"), ["k"]);
}

/// The end that the manifest recorded for a finished segment, and less in it.
#[test]
fn a_segment_that_ends_before_its_recorded_end_lost_commits() {
    for (what, lost_from) in [("blank", 2), ("sound", 0)] {
        let groups = || vec![(1, group(1, 1, &["a"])), (1, group(2, 1, &["b"]))];
        let probe = segment(&database(&["a"], vec![]).world(), 5, &groups());
        let sim = database(&["a"], vec![listed(5, Some(probe[2])), listed(6, None)]);
        segment(&sim.world(), 5, &groups());
        segment(&sim.world(), 6, &[(1, group(3, 1, &["c"]))]);
        if what == "sound" {
            assert!(run(sim.world(), false).unwrap().is_sound());
            continue;
        }
        let zeros = vec![0; (probe[2] - probe[1]) as usize];
        overwrite(&*sim.world().fs, &path(FileKind::Wal, 5), probe[1], &zeros);
        let report = repaired(&sim);
        assert_eq!(report.lost_commits[0].from, SeqNo(lost_from));
        assert_eq!(keys(&sim, "a"), ["a"]);
    }
    // The last segment of all, with a recorded end.
    let groups = || vec![(1, group(1, 1, &["a"])), (1, group(2, 1, &["b"]))];
    let probe = segment(&database(&["a"], vec![]).world(), 5, &groups());
    let sim = database(&["a"], vec![listed(5, Some(probe[2]))]);
    segment(&sim.world(), 5, &groups());
    let zeros = vec![0; (probe[2] - probe[1]) as usize];
    overwrite(&*sim.world().fs, &path(FileKind::Wal, 5), probe[1], &zeros);
    let report = repaired(&sim);
    assert_eq!(report.lost_commits[0].from, SeqNo(2));
    assert_eq!(keys(&sim, "a"), ["a"]);
}

/// Without a manifest all segments are read: where numbers come twice, the later segment holds what counts.
#[test]
fn of_commits_that_stand_twice_in_the_log_the_later_ones_are_taken() {
    for (later, expected) in [
        // The same group again, as a recovery copies it.
        (group(2, 1, &["b", "c"]), vec!["a", "b", "c", "e"]),
        // Another group under the same first number.
        (group(2, 1, &["B", "C"]), vec!["B", "C", "a", "e"]),
        // One that begins in the middle of the first, and so leaves a hole.
        (group(3, 1, &["C"]), vec!["a"]),
        // One that takes in the group before.
        (group(1, 1, &["A", "B", "C"]), vec!["A", "B", "C", "e"]),
    ] {
        let sim = database(&["a"], vec![]);
        let first = [(1, group(1, 1, &["a"])), (1, group(2, 1, &["b", "c"]))];
        segment(&sim.world(), 5, &first);
        segment(&sim.world(), 6, &[(1, later), (1, group(4, 1, &["e"]))]);
        lose_manifest(&*sim.world().fs);
        let report = repaired(&sim);
        assert!(report.is_rebuilt);
        assert_eq!(keys(&sim, "recovered-1"), expected, "{report:#?}");
    }
    // Twice in one segment: the later place counts there too.
    let sim = database(&["a"], vec![]);
    let frames =
        [(1, group(1, 1, &["a"])), (1, group(1, 1, &["A", "B"])), (1, group(3, 1, &["c"]))];
    segment(&sim.world(), 5, &frames);
    lose_manifest(&*sim.world().fs);
    repaired(&sim);
    assert_eq!(keys(&sim, "recovered-1"), ["A", "B", "c"]);
}

#[test]
fn a_segment_without_its_header_is_read_if_a_manifest_tells_its_identity() {
    for is_listed in [true, false] {
        let wal = if is_listed { vec![listed(5, None)] } else { vec![] };
        let sim = database(&["a"], wal);
        segment(&sim.world(), 5, &[(1, group(1, 1, &["k"]))]);
        let fs = sim.world().fs;
        overwrite(&*fs, &path(FileKind::Wal, 5), 0, &[0xff; 64]);
        // The manifest is cut short behind its snapshot: not to be followed, but it tells.
        let manifest = files(&*fs, FileKind::Manifest).remove(0);
        let file = fs.open(&manifest, OpenMode::ReadWrite).unwrap();
        file.truncate(file.len().unwrap() - 8).unwrap();
        let report = repaired(&sim);
        assert!(report.is_rebuilt);
        let expected: &[&str] = if is_listed { &["k"] } else { &[] };
        assert_eq!(keys(&sim, "a"), expected, "{report:#?}");
        assert_eq!(report.lost_commits.is_empty(), is_listed);
    }
}

/// Writes a table that no manifest knows.
fn table(world: &World, number: u64, keyspace: u64, keys: &[&str]) {
    let options = WriterOptions { keyspace: KeyspaceId(keyspace), ..WriterOptions::default() };
    let (fs, number) = (Arc::clone(&world.fs), FileNumber(number));
    let mut writer = Writer::create(fs, Path::new(DIR), number, id_of(number.0), options).unwrap();
    for name in keys {
        let key = key::encode(name.as_bytes(), SeqNo(number.0), EntryKind::Put);
        writer.add(&key, name.as_bytes()).unwrap();
    }
    writer.finish().unwrap();
}

/// The id of a keyspace stands in a table's properties; a value that counting cannot go on from is no keyspace.
#[test]
fn a_table_of_an_impossible_keyspace_goes_aside() {
    for damaged in [false, true] {
        let sim = database(&["a"], vec![]);
        let fs = sim.world().fs;
        table(&sim.world(), 10, 1, &["k"]);
        table(&sim.world(), 11, u64::MAX, &["nowhere"]);
        if damaged {
            spoil(&*fs, &path(FileKind::Sstable, 11), 60);
        }
        lose_manifest(&*fs);
        let report = repaired(&sim);
        assert_eq!(keys(&sim, "recovered-1"), ["k"]);
        assert_eq!(report.unnamed_keyspaces, ["recovered-1"]);
        assert!(report.damage.iter().any(|what| what.contains("0000000011.sst")), "{report:#?}");
        assert!(!report.is_lossless());
        assert!(report.moved.contains(&"0000000011.sst".to_string()), "{report:#?}");
    }
}

#[test]
fn tables_of_a_dropped_keyspace_do_not_come_back() {
    let sim = Simulation::new(1);
    let db = small(sim.world()).open(DIR).unwrap();
    for name in ["a", "b", "c"] {
        db.keyspace(name).unwrap().put("k", name).unwrap();
    }
    db.flush().unwrap();
    let fs = sim.world().fs;
    let manifest = files(&*fs, FileKind::Manifest).pop().unwrap();
    let hole = manifest_frames(&*fs, &manifest)[1];
    // A copy of what the drop removes.
    let tables: Vec<_> = files(&*fs, FileKind::Sstable)
        .into_iter()
        .map(|path| (bytes_of(&*fs, &path), path))
        .collect();
    db.drop_keyspace("b").unwrap();
    drop(db);
    let sim = sim.crash(CrashPolicy::KeepAll, 1);
    let fs = sim.world().fs;
    for (bytes, path) in tables {
        if !fs.exists(&path).unwrap() {
            fs.create_new(&path).unwrap().write_all_at(&bytes, 0).unwrap();
        }
    }
    // The first edit, by which a keyspace was made, is gone; the drop can still be read.
    spoil(&*fs, &manifest, hole + 3);
    let report = repaired(&sim);
    assert!(report.is_rebuilt, "{report:#?}");
    let db = open(sim.world());
    assert_eq!(db.keyspaces().unwrap().len(), 2, "{:?}", db.keyspaces());
    assert!(db.existing_keyspace("b").unwrap().is_none());
}

/// A rebuilt picture merges tables of unknown order, but not those of FIFO, which follow one another.
#[test]
fn rebuilt_keyspaces_keep_their_strategy() {
    let sim = Simulation::new(1);
    let db = small(sim.world()).open(DIR).unwrap();
    let fifo = CompactionStrategy::Fifo { size_bytes_max: 1 << 20 };
    let options = KeyspaceOptions { strategy: fifo, ..KeyspaceOptions::default() };
    db.create_keyspace("queue", options).unwrap();
    db.create_keyspace("plain", KeyspaceOptions::default()).unwrap();
    for round in ["1", "2", "3"] {
        for name in ["queue", "plain"] {
            db.keyspace(name).unwrap().put(round, round).unwrap();
        }
        db.flush().unwrap();
    }
    db.close().unwrap();
    let fs = sim.world().fs;
    let manifest = files(&*fs, FileKind::Manifest).pop().unwrap();
    let file = fs.open(&manifest, OpenMode::ReadWrite).unwrap();
    file.truncate(file.len().unwrap() - 8).unwrap();
    let report = repaired(&sim);
    assert!(report.is_rebuilt && report.is_lossless(), "{report:#?}");
    for name in ["queue", "plain"] {
        assert_eq!(keys(&sim, name), ["1", "2", "3"]);
    }
    let found = esker_manifest::recover(&*fs, Path::new(DIR)).unwrap().version;
    let state = |name: &str| Arc::clone(found.keyspace_named(name).unwrap());
    assert_eq!(state("queue").meta.strategy, StrategyKind::Fifo);
    // What the log still holds is in a table of its own.
    assert_eq!(state("queue").levels[0].len(), 4);
    assert_eq!((state("plain").levels[0].len(), state("plain").levels[6].len()), (0, 1));
}

/// A table whose header is gone is read under the identity that the damaged manifest still tells.
#[test]
fn a_table_without_its_header_is_found_through_what_is_left_of_the_manifest() {
    let sim = Simulation::new(1);
    let db = small(sim.world()).open(DIR).unwrap();
    db.keyspace("a").unwrap().put("k", "k").unwrap();
    db.flush().unwrap();
    db.close().unwrap();
    let fs = sim.world().fs;
    let manifest = files(&*fs, FileKind::Manifest).pop().unwrap();
    let file = fs.open(&manifest, OpenMode::ReadWrite).unwrap();
    file.truncate(file.len().unwrap() - 8).unwrap();
    let table = files(&*fs, FileKind::Sstable).remove(0);
    overwrite(&*fs, &table, 0, &[0xff; 48]);
    let report = repaired(&sim);
    assert!(report.is_rebuilt && report.lost_keys.is_empty(), "{report:#?}");
    assert_eq!((keys(&sim, "a"), report.replaced_sstables), (vec!["k".to_string()], 1));
}

/// After a power cut an open copies the unproven tail of the log; the segment that it was copied from may still be there.
#[test]
fn a_tail_that_was_copied_counts_once() {
    let sim = Simulation::new(1);
    let db = small(sim.world()).open(DIR).unwrap();
    let a = db.keyspace("a").unwrap();
    for at in 0..4 {
        a.put_with(format!("{at}"), "x", Durability::Sync).unwrap();
    }
    for at in 4..8 {
        a.put_with(format!("{at}"), "x", Durability::Buffered).unwrap();
    }
    db.write_with(db.batch(), Durability::Buffered).unwrap();
    drop((a, db));
    let sim = sim.crash(CrashPolicy::KeepAll, 1);
    let before = files(&*sim.world().fs, FileKind::Wal);
    let db = open(sim.world());
    db.keyspace("a").unwrap().put_with("8", "x", Durability::Sync).unwrap();
    drop(db);
    let sim = sim.crash(CrashPolicy::KeepAll, 2);
    assert!(files(&*sim.world().fs, FileKind::Wal).len() > before.len());
    lose_manifest(&*sim.world().fs);
    let report = repaired(&sim);
    assert_eq!(keys(&sim, "recovered-1").len(), 9, "{report:#?}");
}

/// More log than a repair holds in memory, and more tables than one file takes.
#[test]
fn a_large_rebuild_is_written_in_parts() {
    let sim = database(&["a"], vec![]);
    let value = |at: u64| -> Vec<u8> {
        let mut rng = super::support::Rng(at);
        (0..1 << 20).map(|_| rng.below(256) as u8).collect()
    };
    let values: Vec<_> = (0..4).map(value).collect();
    let mut frames = Vec::new();
    for at in 0..70u64 {
        let mut batch = esker_base::Batch::new();
        let key = format!("{:03}", at / 2);
        batch.put(KeyspaceId(1), key.as_bytes(), &values[at as usize % 4]).unwrap();
        frames.push((1, payload(at + 1, &[(batch.as_bytes(), 1)])));
    }
    segment(&sim.world(), 5, &frames);
    lose_manifest(&*sim.world().fs);
    let report = run(sim.world(), true).unwrap();
    assert_eq!(report.log_entries, 70);
    let found = esker_manifest::recover(&*sim.world().fs, Path::new(DIR)).unwrap().version;
    let state = found.keyspace_named("recovered-1").unwrap();
    // All versions of a key are in one file.
    let counts: Vec<_> = state.levels[6].iter().map(|file| file.entry_count).collect();
    assert_eq!((counts.len(), counts.iter().sum()), (2, 70), "{counts:?}");
    assert!(counts.iter().all(|count| count % 2 == 0), "{counts:?}");
    let db = open(sim.world());
    let a = db.keyspace("recovered-1").unwrap();
    for at in 0..35usize {
        assert_eq!(a.get(format!("{at:03}")).unwrap().unwrap(), values[(at * 2 + 1) % 4]);
    }
}

/// An edit that a crash cut off ended a segment; the picture before it does not know its end.
#[test]
fn a_recorded_end_is_known_from_the_manifest_before_the_damage() {
    let groups =
        || vec![(1, group(1, 1, &["a"])), (1, group(2, 1, &["b"])), (1, group(3, 1, &["void"]))];
    let probe = segment(&database(&["a"], vec![]).world(), 5, &groups());
    let sim = database(&["a"], vec![listed(5, None), listed(6, None)]);
    let fs = sim.world().fs;
    let recovered = esker_manifest::recover(&*fs, Path::new(DIR)).unwrap();
    let end = WalEnd {
        segment: FileNumber(5),
        ends_at: probe[2],
        last_seq: None,
        continued_by: Some(FileNumber(6)),
    };
    let ended = recovered.version.apply(&Edit { wal_ended: vec![end], ..Edit::default() }).unwrap();
    write_manifest(&sim.world(), 91, &ended);
    segment(&sim.world(), 5, &groups());
    segment(&sim.world(), 6, &[(1, group(3, 1, &["c"]))]);
    let manifest = path(FileKind::Manifest, 91);
    let file = fs.open(&manifest, OpenMode::ReadWrite).unwrap();
    file.truncate(file.len().unwrap() - 8).unwrap();
    let report = repaired(&sim);
    assert!(report.is_rebuilt, "{report:#?}");
    assert_eq!(keys(&sim, "a"), ["a", "b", "c"]);
}
