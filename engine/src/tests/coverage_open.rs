//! Opening what is not there, what is forged, and what others left in the directory.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use esker_base::names::FileKind;
use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};
use esker_vfs::simulated::{CrashPolicy, Simulation};
use esker_vfs::{Call, World};

use super::coverage_support::*;
use super::support::small;
use crate::{ErrorKind, Result};

fn open(sim: &Simulation) -> Result<crate::Db> {
    small(sim.world()).open(DIR)
}

/// The keys of a keyspace, whose values must be the keys.
fn keys(db: &crate::Db, name: &str) -> Vec<String> {
    let keyspace = db.existing_keyspace(name).unwrap().unwrap();
    keyspace
        .iter()
        .map(|entry| {
            let (key, value) = entry.unwrap();
            assert_eq!(key, value);
            String::from_utf8(key.to_vec()).unwrap()
        })
        .collect()
}

#[test]
fn where_no_database_is_none_is_made_unless_asked_for() {
    let sim = Simulation::new(1);
    for create in [false, true] {
        let missing = small(sim.world()).create_if_missing(create).read_only(create).open(DIR);
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
        assert!(!sim.world().fs.exists(Path::new(DIR)).unwrap());
    }
    // A directory with a lock file, in which the making of a database was cut short.
    sim.world().fs.create_dir_all(Path::new(DIR)).unwrap();
    sim.world().fs.create_new(&Path::new(DIR).join("LOCK")).unwrap();
    for builder in [
        small(sim.world()).read_only(true),
        small(sim.world()).create_if_missing(false),
        small(sim.world()).create_if_missing(false).read_only(true),
    ] {
        assert_eq!(builder.open(DIR).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(sim.world().fs.list(Path::new(DIR)).unwrap(), ["LOCK"]);
    }
    open(&sim).unwrap().close().unwrap();
}

#[test]
fn a_root_directory_a_relative_one_and_a_parent_that_may_not_be_synced_do() {
    let sim = Simulation::new(1);
    small(sim.world()).open("/").unwrap().close().unwrap();
    small(sim.world()).open("relative/db").unwrap().close().unwrap();
    let sim = Simulation::new(1);
    sim.world().fs.create_dir_all(Path::new(DIR)).unwrap();
    let denying = Denying { inner: sim.world().fs, open: "", sync_dir: "/" };
    let world = World { fs: Arc::new(denying), ..sim.world() };
    small(world.clone()).open(DIR).unwrap().close().unwrap();
    // A directory that is made here is made durable here.
    let error = small(world).open("/other").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}

#[test]
fn names_of_others_stay_and_unfinished_files_of_ours_go() {
    let sim = Simulation::new(1);
    open(&sim).unwrap().close().unwrap();
    let fs = sim.world().fs;
    let unfinished = ["CURRENT.tmp", "0000000050.wal.tmp", "0000000051.manifest.tmp"];
    // The last two are numbers from which no database could count on.
    let foreign = ["notes.tmp", "notes", "18446744073709551614.sst", "18446744073709551615.wal"];
    for name in unfinished.iter().chain(&foreign) {
        fs.create_new(&Path::new(DIR).join(name)).unwrap();
    }
    let db = open(&sim).unwrap();
    db.keyspace("a").unwrap().put("k", "k").unwrap();
    db.flush().unwrap();
    db.close().unwrap();
    let names = fs.list(Path::new(DIR)).unwrap();
    assert!(foreign.iter().all(|name| names.iter().any(|found| found == name)), "{names:?}");
    assert!(!unfinished.iter().any(|name| names.iter().any(|found| found == name)), "{names:?}");
    // The numbers of unfinished files are not used again.
    let tables = files(&*fs, FileKind::Sstable);
    assert!(tables.iter().any(|path| *path > Path::new(DIR).join("0000000051.sst")), "{tables:?}");
    assert_eq!(keys(&open(&sim).unwrap(), "a"), ["k"]);
}

/// Groups that were never committed by an engine, and what an open says of them.
#[test]
fn a_log_whose_groups_contradict_themselves_is_refused() {
    let two = puts(1, &["x", "y"]);
    let unknown = puts(2, &["z"]);
    for (what, batch, count, is_refused) in [
        ("as it says", two.as_bytes(), 2, false),
        ("more operations than it says", two.as_bytes(), 1, true),
        ("fewer operations than it says", two.as_bytes(), 3, true),
        ("cut off within an operation", &two.as_bytes()[..7], 2, true),
        ("no operation", b"\xff", 1, true),
        ("a keyspace that was never made", unknown.as_bytes(), 1, true),
    ] {
        let sim = database(&["a"], vec![listed(5, None)]);
        let frames = [(1, group(1, 1, &["k"])), (1, payload(2, &[(batch, count)]))];
        segment(&sim.world(), 5, &frames);
        let before = sim.fs.image_hash();
        match open(&sim) {
            Ok(db) => {
                assert!(!is_refused, "{what}");
                assert_eq!(keys(&db, "a"), ["k", "x", "y"]);
            }
            Err(error) => {
                assert!(is_refused, "{what}: {error}");
                assert_eq!(error.kind(), ErrorKind::Corruption, "{what}: {error}");
                assert!(error.path().is_some() && error.offset().is_some());
                assert_eq!(sim.fs.image_hash(), before, "{what}");
            }
        }
    }
}

#[test]
fn operations_of_a_dropped_keyspace_are_passed_over() {
    let sim = database(&["a", "b"], vec![listed(5, None)]);
    segment(&sim.world(), 5, &[(1, group(1, 1, &["k"])), (1, group(2, 2, &["gone"]))]);
    let recovered = esker_manifest::recover(&*sim.world().fs, Path::new(DIR)).unwrap();
    let dropped = esker_manifest::Edit {
        dropped_keyspaces: vec![esker_base::KeyspaceId(2)],
        ..Default::default()
    };
    write_manifest(&sim.world(), 91, &recovered.version.apply(&dropped).unwrap());
    let db = open(&sim).unwrap();
    assert_eq!((keys(&db, "a"), db.keyspaces().unwrap()), (vec!["k".into()], vec!["a".into()]));
    assert!(db.existing_keyspace("b").unwrap().is_none());
}

/// The manifest on disk changes while the database is open.
#[test]
fn verify_holds_the_manifest_on_disk_against_the_picture_in_memory() {
    let sim = Simulation::new(1);
    let db = open(&sim).unwrap();
    db.keyspace("a").unwrap().put("k", "k").unwrap();
    db.verify().unwrap();
    let fs = sim.world().fs;
    let manifest = files(&*fs, FileKind::Manifest).pop().unwrap();
    let last = manifest_frames(&*fs, &manifest).pop().unwrap();
    let bytes = bytes_of(&*fs, &manifest);
    // Without its last edit the manifest still reads, as after a torn write.
    let zeros = vec![0; bytes.len() - last as usize];
    overwrite(&*fs, &manifest, last, &zeros);
    esker_manifest::recover(&*fs, Path::new(DIR)).unwrap();
    let error = db.verify().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert!(error.to_string().contains("not what was written"), "{error}");
    overwrite(&*fs, &manifest, 0, &bytes);
    db.verify().unwrap();
    let total = || -> u64 {
        let keyspaces = db.inspect().keyspaces;
        keyspaces.iter().flat_map(|keyspace| &keyspace.levels).map(|level| level.bytes()).sum()
    };
    assert_eq!(total(), 0);
    db.flush().unwrap();
    let [table] = &files(&*fs, FileKind::Sstable)[..] else { panic!("one table") };
    assert_eq!(total(), fs.metadata(table).unwrap().len);
}

/// A database that was opened on a full disk, and a disk that fails when there is space again: it stays read-only, says
/// why, and everything is there at the next open.
#[test]
fn a_disk_that_fails_while_writes_resume_leaves_the_database_read_only() {
    let sim = Simulation::new(1);
    let db = open(&sim).unwrap();
    for key in ["a", "b"] {
        db.keyspace("k").unwrap().put(key, key).unwrap();
    }
    let left = Simulation::with_fs(sim.fs.image(CrashPolicy::KeepAll, 2), 2);
    left.world().fs.remove_file(&Path::new(DIR).join("RESERVE")).unwrap();
    left.fs.set_capacity(0);
    let fs = FaultFs::new(left.world().fs);
    let world = World { fs: Arc::new(fs.clone()), ..left.world() };
    let db = small(world).open(DIR).unwrap();
    let k = db.keyspace("k").unwrap();
    assert_eq!(k.put("c", "c").unwrap_err().kind(), ErrorKind::NoSpace);
    left.fs.set_capacity(u64::MAX);
    fs.inject(Rule::new(Fault::Fail(Failure::Io)).on(&[Call::SyncAll]));
    let error = k.put("c", "c").unwrap_err();
    assert_ne!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert_eq!(fs.strikes(), 1);
    // The disk is well again, but what the failure left on it is not known.
    assert_eq!(k.put("c", "c").unwrap_err().kind(), ErrorKind::ReadOnly);
    assert!(db.metrics().read_only_cause.is_some());
    assert_eq!(keys(&db, "k"), ["a", "b"]);
    drop((k, db));
    let db = open(&left).unwrap();
    db.keyspace("k").unwrap().put("c", "c").unwrap();
    assert_eq!(keys(&db, "k"), ["a", "b", "c"]);
}
