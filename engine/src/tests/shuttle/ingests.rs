//! Ingests under many schedules: beside readers, writers, compactions and each other they appear whole and at one place in
//! the order of commits, and nothing that was there goes.

use shuttle::thread;

use super::harness::{Machine, assert_no_stray_files, below, check, durability, number_of, value};
use crate::Keyspace;

/// What every ingest brings.
const KEYS: [&str; 3] = ["m", "n", "o"];

/// Written after each ingest.
const AFTER: &str = "p";

fn load(keyspace: &Keyspace, number: u64) {
    // Small ones are built by the caller, others by a thread.
    let len = [8, 1000][below(2) as usize];
    keyspace.ingest(KEYS.map(|key| (key, value(number, len)))).unwrap();
}

/// The number of the ingest that a walk finds, and that under `AFTER`; other keys are passed.
fn walk(entries: impl Iterator<Item = crate::Result<(crate::Value, crate::Value)>>) -> (u64, u64) {
    let (mut loaded, mut after) = (Vec::new(), 0);
    for entry in entries {
        let (key, value) = entry.unwrap();
        if KEYS.iter().any(|loaded| loaded.as_bytes() == &key[..]) {
            loaded.push(number_of(&value));
        } else if AFTER.as_bytes() == &key[..] {
            after = number_of(&value);
        }
    }
    let is_whole = loaded.len() == KEYS.len() && loaded.iter().all(|number| *number == loaded[0]);
    assert!(loaded.is_empty() || is_whole, "{loaded:?}");
    (loaded.first().copied().unwrap_or(0), after)
}

/// An ingest, then a commit, twice; readers; a writer who fills memtables that have to be flushed before.
fn beside_readers() {
    let machine = Machine::new();
    let db = machine.open();
    let keyspace = db.keyspace("k").unwrap();
    let mut threads = Vec::new();
    {
        let (db, keyspace) = (db.clone(), keyspace.clone());
        threads.push(thread::spawn(move || {
            for _ in 0..2 {
                let (loaded, after) = walk(keyspace.iter());
                assert!(loaded >= after, "the commit after ingest {after} is seen, not the ingest");
                let snapshot = db.snapshot();
                let range = || walk(keyspace.range_at::<&[u8]>(&snapshot, ..));
                let then = range();
                assert!(then.0 >= then.1 && then >= (loaded, after), "{then:?}");
                assert_eq!(range(), then, "the snapshot again");
            }
        }));
    }
    if below(2) == 0 {
        let keyspace = keyspace.clone();
        threads.push(thread::spawn(move || {
            for round in 1..=3 {
                keyspace.put_with("other", value(round, 1500), durability(round)).unwrap();
            }
        }));
    }
    for round in 1..=2 {
        load(&keyspace, round);
        keyspace.put_with(AFTER, value(round, 8), durability(round)).unwrap();
    }
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(walk(keyspace.iter()), (2, 2));
    db.close().unwrap();
    assert_no_stray_files(&machine, &db);
    drop((db, keyspace));
    assert_eq!(walk(machine.reopen().keyspace("k").unwrap().iter()), (2, 2));
}

#[test]
fn shuttle_a_reader_sees_an_ingest_whole_and_before_what_came_after() {
    check("beside readers", beside_readers);
}

/// A merge whose inputs leave a gap, and an ingest that fits into it: both may go to the last level.
fn beside_a_compaction() {
    let machine = Machine::new();
    let db = machine.open();
    let keyspace = db.keyspace("k").unwrap();
    for ends in [["a", "b"], ["y", "z"]] {
        for key in ends {
            keyspace.put(key, value(1, 8)).unwrap();
        }
        db.flush().unwrap();
    }
    let level0 = || -> Vec<_> {
        let view = keyspace.inner.view();
        view.levels.0.first().into_iter().flatten().map(|file| file.meta.number).collect()
    };
    let before = level0();
    assert_eq!(before.len(), 2);
    let compacting = {
        let db = db.clone();
        thread::spawn(move || db.compact().unwrap())
    };
    load(&keyspace, 1);
    compacting.join().unwrap();
    // An ingest that changed the picture was no reason not to merge.
    assert!(!level0().iter().any(|number| before.contains(number)));
    assert_eq!((keyspace.iter().count(), walk(keyspace.iter())), (4 + KEYS.len(), (1, 0)));
    db.verify().unwrap();
    db.close().unwrap();
    assert_no_stray_files(&machine, &db);
}

#[test]
fn shuttle_an_ingest_and_a_compaction_do_not_meet() {
    check("beside a compaction", beside_a_compaction);
}

/// Two load the same keys again and again: whoever is acknowledged last is what is left.
fn beside_each_other() {
    let machine = Machine::new();
    let db = machine.open();
    let keyspace = db.keyspace("k").unwrap();
    let loads = |me: u64| {
        let keyspace = keyspace.clone();
        move || {
            for round in 1..=2 {
                load(&keyspace, 10 * me + round);
                let found = walk(keyspace.iter()).0;
                assert!(found == 10 * me + round || found / 10 != me, "{found}");
            }
        }
    };
    let threads: Vec<_> = (1..=2).map(|me| thread::spawn(loads(me))).collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let left = walk(keyspace.iter());
    assert!([(12, 0), (22, 0)].contains(&left), "{left:?}");
    assert_eq!(db.metrics().ingests, 4);
    db.close().unwrap();
    assert_no_stray_files(&machine, &db);
    drop((db, keyspace));
    assert_eq!(walk(machine.reopen().keyspace("k").unwrap().iter()), left);
}

#[test]
fn shuttle_ingests_of_the_same_keys_come_one_after_the_other() {
    check("beside each other", beside_each_other);
}
