//! Databases of every format version that was ever released, kept in `testdata/`: they open for ever, with everything
//! that was in them. `ESKER_WRITE_FIXTURES=<directory>` writes those of the present version there, those with value files
//! into its `values`; they are kept as `format-<n>` and `format-<n>-values`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use esker_vfs::simulated::{CrashPolicy, Simulation};
use esker_vfs::{Fs, OpenMode, World};

use super::support::small;
use crate::{
    BackgroundStep, CompactionStrategy, Db, Durability, ErrorKind, KeyspaceOptions, ReadMode,
    RepairOptions, repair,
};

const DIR: &str = "/db";

type Content = BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>>;

/// One of each: strategies, compression, levels, deletes, a dropped keyspace, empty and long keys and values, and writes
/// that only the log holds. Never changed: it says what the fixtures hold.
fn fill(db: &Db) -> Content {
    let strategies = [
        ("leveled", CompactionStrategy::Leveled, true),
        ("tiered", CompactionStrategy::Tiered, false),
        ("fifo", CompactionStrategy::Fifo { size_bytes_max: 1 << 30 }, true),
    ];
    let mut content = Content::new();
    let mut write = |name: &'static str, key: Vec<u8>, value: Option<Vec<u8>>| {
        let ks = db.keyspace(name).unwrap();
        let entries = content.entry(name).or_default();
        match value {
            Some(value) => {
                ks.put_with(&key, &value, Durability::Buffered).unwrap();
                entries.insert(key, value);
            }
            None => {
                ks.delete(&key).unwrap();
                entries.remove(&key);
            }
        }
    };
    for (name, strategy, compress) in strategies {
        db.create_keyspace(
            name,
            KeyspaceOptions { strategy, compress, ..KeyspaceOptions::default() },
        )
        .unwrap();
    }
    db.keyspace("dropped").unwrap().put("a", "1").unwrap();
    for round in 0..4u32 {
        for at in 0..60u32 {
            let (name, ..) = strategies[(at % 3) as usize];
            let key = format!("key {:03}", (at * 7 + round * 11) % 97).into_bytes();
            let value: Vec<u8> =
                (0..(at * 5) % 120).map(|i| (i * at + round) as u8 & 0x3f).collect();
            write(name, key, (at % 9 != 8 || name == "fifo").then_some(value));
        }
        if round < 3 {
            db.flush().unwrap();
        }
        match round {
            0 => db.drop_keyspace("dropped").unwrap(),
            1 => db.compact().unwrap(),
            _ => {}
        }
    }
    write("leveled", Vec::new(), Some(b"of the empty key".to_vec()));
    write("leveled", vec![0xff; 1000], Some(Vec::new()));
    write("tiered", b"last".to_vec(), Some(vec![7; 2000]));
    db.sync().unwrap();
    content
}

/// Value files: compressed and not, emptied by merges, still full, small and joined; small values beside them, deletes, and
/// writes that only the log holds. Never changed: it says what the fixtures hold.
fn fill_values(db: &Db) -> Content {
    let strategies = [
        ("leveled", CompactionStrategy::Leveled, true),
        ("tiered", CompactionStrategy::Tiered, false),
    ];
    let mut content = Content::new();
    for (name, strategy, compress) in strategies {
        let large_value_bytes = Some(64);
        db.create_keyspace(name, KeyspaceOptions { strategy, compress, large_value_bytes })
            .unwrap();
    }
    for round in 0..9u32 {
        for at in 0..40u32 {
            let (name, ..) = strategies[(at % 2) as usize];
            let ks = db.keyspace(name).unwrap();
            let entries = content.entry(name).or_default();
            let key = format!("key {:03}", (at * 7 + round * 11) % 61).into_bytes();
            if at % 11 == 10 {
                ks.delete(&key).unwrap();
                entries.remove(&key);
            } else {
                let value: Vec<u8> =
                    (0..(at * 17) % 300).map(|i| (i * at + round) as u8 & 0x3f).collect();
                ks.put_with(&key, &value, Durability::Buffered).unwrap();
                entries.insert(key, value);
            }
        }
        if round < 8 {
            db.flush().unwrap();
        }
        if round == 3 || round == 6 {
            db.compact().unwrap();
        }
    }
    db.sync().unwrap();
    content
}

fn read(fs: &dyn Fs, path: &Path) -> Vec<u8> {
    let file = fs.open(path, OpenMode::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn copy(from: &dyn Fs, dir: &Path, to: &dyn Fs, target: &Path) {
    to.create_dir_all(target).unwrap();
    // The reserve holds no data, and a lock file need not be there.
    let names = from.list(dir).unwrap().into_iter();
    for name in names.filter(|name| name != "RESERVE" && name != "LOCK") {
        let file = to.create_new(&target.join(&name)).unwrap();
        file.write_all_at(&read(from, &dir.join(&name)), 0).unwrap();
        file.sync_all().unwrap();
    }
    to.sync_dir(target).unwrap();
}

fn check(db: &Db, content: &Content) {
    let names: Vec<&str> = content.keys().copied().collect();
    assert_eq!(db.keyspaces().unwrap(), names);
    for (name, entries) in content {
        let ks = db.keyspace(name).unwrap();
        let found: BTreeMap<_, _> = ks
            .iter()
            .map(|entry| entry.unwrap())
            .map(|(key, value)| (key.to_vec(), value.to_vec()))
            .collect();
        assert!(found == *entries, "{name}");
        for (key, value) in entries {
            assert_eq!(ks.get(key).unwrap().as_deref(), Some(&value[..]));
        }
    }
    db.verify().unwrap();
}

fn made(fill: fn(&Db) -> Content) -> (Simulation, Simulation, Content) {
    let sim = Simulation::new(1);
    let db = small(sim.world()).open(DIR).unwrap();
    let content = fill(&db);
    let killed = Simulation::with_fs(sim.fs.image(CrashPolicy::KeepAll, 2), 2);
    db.close().unwrap();
    (sim, killed, content)
}

#[test]
fn databases_of_every_format_version_open() {
    let real = World::real().fs;
    let make = |fill, folder: &str| {
        let (closed, killed, content) = made(fill);
        if let Ok(target) = std::env::var("ESKER_WRITE_FIXTURES") {
            let target = Path::new(&target).join(folder);
            copy(&*closed.world().fs, Path::new(DIR), &*real, &target.join("closed"));
            copy(&*killed.world().fs, Path::new(DIR), &*real, &target.join("killed"));
        }
        content
    };
    let (plain, apart) = (make(fill, ""), make(fill_values, "values"));
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut opened = 0;
    for version in real.list(&testdata).unwrap() {
        let has_values = version.ends_with("-values");
        let content = if has_values { &apart } else { &plain };
        for state in ["closed", "killed"] {
            let fixture = testdata.join(&version).join(state);
            let load = || {
                let sim = Simulation::new(3);
                copy(&*real, &fixture, &*sim.world().fs, Path::new(DIR));
                sim
            };
            // Sound, also for one who only reads, and for a repair.
            let sim = load();
            let before = sim.fs.image_hash();
            let options = RepairOptions { world: Some(sim.world()), ..RepairOptions::default() };
            assert!(repair(DIR, &options).unwrap().is_sound());
            assert_eq!(sim.fs.image_hash(), before);
            for mode in [ReadMode::Mapped, ReadMode::Positioned] {
                let sim = load();
                let open = || small(sim.world()).read_mode(mode).create_if_missing(false).open(DIR);
                let db = open().unwrap();
                check(&db, content);
                assert_eq!(db.metrics().value_files > 2, has_values);
                let exists = db.create_keyspace("tiered", KeyspaceOptions::default()).unwrap_err();
                assert_eq!(exists.kind(), ErrorKind::InvalidArgument);
                db.close().unwrap();
                // The present version goes on with it.
                let db = open().unwrap();
                check(&db, content);
                for name in content.keys() {
                    db.keyspace(name).unwrap().put("new", "1").unwrap();
                }
                db.compact().unwrap();
                for step in BackgroundStep::ALL {
                    db.run_background_step(step).unwrap();
                }
                db.close().unwrap();
                let mut content = content.clone();
                for entries in content.values_mut() {
                    entries.insert(b"new".to_vec(), b"1".to_vec());
                }
                check(&open().unwrap(), &content);
            }
            opened += 1;
        }
    }
    assert!(opened >= 4, "no fixtures in {}", testdata.display());
}
