//! Keyspaces that are not leveled, from end to end: they keep what they promise through flushes, compactions, reopens.

use esker_vfs::simulated::Simulation;

use super::support::small;
use crate::{
    BackgroundStep, CompactionStrategy, Db, Durability, ErrorKind, Keyspace, KeyspaceOptions,
};

fn open(sim: &Simulation, strategy: CompactionStrategy) -> (Db, Keyspace) {
    let db = small(sim.world()).open("/db").unwrap();
    let options = KeyspaceOptions { strategy, compress: false, ..KeyspaceOptions::default() };
    let keyspace = match db.existing_keyspace("k").unwrap() {
        Some(keyspace) => keyspace,
        None => db.create_keyspace("k", options).unwrap(),
    };
    (db, keyspace)
}

fn run_all(db: &Db) {
    for step in [BackgroundStep::Flush, BackgroundStep::Compact, BackgroundStep::CleanUp] {
        while db.run_background_step(step).unwrap() {}
    }
}

fn files(db: &Db) -> usize {
    db.inspect().keyspaces[0].levels.iter().map(|level| level.sstables.len()).sum()
}

#[test]
fn a_tiered_keyspace_keeps_few_runs_and_every_newest_version() {
    let sim = Simulation::new(1);
    for round in 0..40u32 {
        let (db, ks) = open(&sim, CompactionStrategy::Tiered);
        for key in 0..50u32 {
            let key = (key * 7 + round) % 90;
            if (key + round) % 5 == 0 {
                ks.delete(key.to_be_bytes()).unwrap();
            } else {
                let value = vec![round as u8; 100];
                ks.put_with(key.to_be_bytes(), value, Durability::Buffered).unwrap();
            }
        }
        db.flush().unwrap();
        run_all(&db);
        assert_eq!(db.inspect().keyspaces[0].strategy, "tiered");
        for key in 0..90u32 {
            let newest =
                (0..=round).rev().find(|round| (key + 90 * 7 - round % 90) % 90 * 13 % 90 < 50);
            let want = newest.filter(|round| (key + round) % 5 != 0);
            let found = ks.get(key.to_be_bytes()).unwrap();
            assert_eq!(found.map(|value| value[0]), want.map(|round| round as u8), "{key} {round}");
        }
        let runs = db.inspect().keyspaces[0]
            .levels
            .iter()
            .map(|level| if level.level == 0 { level.sstables.len() } else { 1 })
            .sum::<usize>();
        assert!(runs <= 4, "{runs} runs in round {round}");
    }
    let (db, ks) = open(&sim, CompactionStrategy::Tiered);
    let before = ks.iter().count();
    db.compact().unwrap();
    assert_eq!(ks.iter().count(), before);
    let entries: u64 =
        db.inspect().keyspaces[0].levels.iter().flat_map(|l| &l.sstables).map(|f| f.entries).sum();
    assert_eq!(entries as usize, before, "nothing but the newest versions is left");
    db.verify().unwrap();
}

#[test]
fn a_fifo_keyspace_forgets_the_oldest_and_only_beyond_its_size() {
    let sim = Simulation::new(1);
    let strategy = CompactionStrategy::Fifo { size_bytes_max: 60_000 };
    for round in 0..30u32 {
        let (db, ks) = open(&sim, strategy);
        for key in 0..10u32 {
            ks.put_with((round * 10 + key).to_be_bytes(), [1; 500], Durability::Buffered).unwrap();
        }
        db.flush().unwrap();
        run_all(&db);
        // What is there is the newest without a gap, and as much of it as fits.
        let keys: Vec<u32> = ks
            .iter()
            .map(|entry| u32::from_be_bytes(entry.unwrap().0[..].try_into().unwrap()))
            .collect();
        let newest = round * 10 + 10;
        assert!(keys.iter().copied().eq(newest - keys.len() as u32..newest), "round {round}");
        assert!(keys.len() >= 80.min(newest as usize), "{} keys in round {round}", keys.len());
        assert!(db.metrics().sstable_bytes <= 60_000);
        db.compact().unwrap();
        assert_eq!(ks.iter().count(), keys.len(), "compacting merges and drops nothing");
    }
    let (db, ks) = open(&sim, strategy);
    assert!(files(&db) > 3);
    // A delete hides an older put in another file.
    let key = 295u32.to_be_bytes();
    assert!(ks.contains(key).unwrap());
    ks.delete(key).unwrap();
    db.flush().unwrap();
    assert!(!ks.contains(key).unwrap());
    db.verify().unwrap();
}

#[test]
fn a_fifo_keyspace_of_no_size_is_refused() {
    let sim = Simulation::new(1);
    let db = small(sim.world()).open("/db").unwrap();
    let options = KeyspaceOptions {
        strategy: CompactionStrategy::Fifo { size_bytes_max: 0 },
        ..KeyspaceOptions::default()
    };
    let error = db.create_keyspace("k", options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(db.existing_keyspace("k").unwrap().is_none());
}
