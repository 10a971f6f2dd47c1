//! Views under many schedules: whatever flush and compaction swap meanwhile, a reader sees every write that was
//! acknowledged before it began, a snapshot stays what it was, and a cursor outlives the view that it walks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shuttle::thread;

use super::harness::{Machine, below, check, durability, number_of, read, value};
use crate::{Db, Keyspace, Snapshot};

const KEYS: u64 = 3;

/// What was acknowledged for each key.
type Acknowledged = Arc<[AtomicU64; KEYS as usize]>;

fn key(at: u64) -> String {
    format!("key{at}")
}

fn writer(keyspace: &Keyspace, acknowledged: &Acknowledged, rounds: u64) {
    for round in 1..=rounds {
        for at in 0..KEYS {
            let value = value(round, 1500);
            keyspace.put_with(key(at), value, durability(round + at)).unwrap();
            acknowledged[at as usize].store(round, Ordering::SeqCst);
        }
    }
}

/// What a cursor yields, as numbers by key.
fn walk(entries: impl Iterator<Item = crate::Result<(crate::Value, crate::Value)>>) -> Vec<u64> {
    let mut found = vec![0; KEYS as usize];
    for entry in entries {
        let (key, value) = entry.unwrap();
        let at: usize = std::str::from_utf8(&key[3..]).unwrap().parse().unwrap();
        found[at] = number_of(&value);
    }
    found
}

fn at_snapshot(keyspace: &Keyspace, snapshot: &Snapshot) -> Vec<u64> {
    let get = |at| keyspace.get_at(snapshot, key(at)).unwrap();
    (0..KEYS).map(|at| get(at).map_or(0, |value| number_of(&value))).collect()
}

fn reader(db: &Db, keyspace: &Keyspace, acknowledged: &Acknowledged) {
    let load = || -> Vec<u64> {
        acknowledged.iter().map(|number| number.load(Ordering::SeqCst)).collect()
    };
    let covers = |found: &[u64], least: &[u64], what: &str| {
        let behind = found.iter().zip(least).any(|(found, least)| found < least);
        assert!(!behind, "{what} found {found:?}, but {least:?} was acknowledged before");
        // The writer goes round: no earlier key may be behind a later one.
        assert!(found.is_sorted_by(|a, b| a >= b) && found[0] - found[2] <= 1, "{what}: {found:?}");
    };
    for _ in 0..2 {
        let least = load();
        let at = below(KEYS);
        let found = read(keyspace, &key(at));
        assert!(found >= least[at as usize], "a read found {found}, but {least:?}");
        let least = load();
        let mut cursor = keyspace.iter();
        let first = cursor.next().transpose().unwrap();
        let snapshot = db.snapshot();
        let then = at_snapshot(keyspace, &snapshot);
        covers(&then, &least, "a snapshot");
        let rest = walk(first.map(Ok).into_iter().chain(cursor));
        covers(&rest, &least, "a cursor");
        assert_eq!(walk(keyspace.range_at::<&[u8]>(&snapshot, ..)), then, "the snapshot's range");
        let mut backward = walk(keyspace.range_at::<&[u8]>(&snapshot, ..).rev());
        assert_eq!(backward, then, "backward");
        backward = at_snapshot(keyspace, &snapshot);
        assert_eq!(backward, then, "the snapshot again");
    }
}

/// A writer that fills memtables, readers, and somebody who flushes and compacts beside the background threads.
fn swaps() {
    let machine = Machine::new();
    let db = machine.open();
    let keyspace = db.keyspace("k").unwrap();
    let acknowledged: Acknowledged = Arc::default();
    let mut threads = Vec::new();
    for _ in 0..2 {
        let (db, keyspace) = (db.clone(), keyspace.clone());
        let acknowledged = Arc::clone(&acknowledged);
        threads.push(thread::spawn(move || reader(&db, &keyspace, &acknowledged)));
    }
    {
        let db = db.clone();
        threads.push(thread::spawn(move || match below(3) {
            0 => db.flush().unwrap(),
            1 => db.compact().unwrap(),
            _ => {}
        }));
    }
    writer(&keyspace, &acknowledged, 5);
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(walk(keyspace.iter()), [5, 5, 5]);
    db.close().unwrap();
}

#[test]
fn shuttle_readers_see_every_acknowledged_write_whatever_is_swapped() {
    check("swaps", swaps);
}

/// One key, of which a memtable holds several versions and a file only the newest that anybody sees.
fn hot() {
    let machine = Machine::new();
    let db = machine.open();
    let keyspace = db.keyspace("k").unwrap();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (keyspace, acknowledged) = (keyspace.clone(), Arc::clone(&acknowledged));
            thread::spawn(move || {
                for _ in 0..2 {
                    let least = acknowledged.load(Ordering::SeqCst);
                    let found = read(&keyspace, "hot");
                    assert!(found >= least, "{found} is read, but {least} was acknowledged before");
                }
            })
        })
        .collect();
    for round in 1..=6 {
        keyspace.put_with("hot", value(round, 1500), durability(round)).unwrap();
        acknowledged.store(round, Ordering::SeqCst);
    }
    for reader in readers {
        reader.join().unwrap();
    }
    db.close().unwrap();
}

#[test]
fn shuttle_a_read_finds_the_newest_version_while_older_ones_go() {
    check("hot", hot);
}

/// A cursor and a snapshot from before everything that follows: their files are merged away and others come.
fn old_readers() {
    let machine = Machine::new();
    let db = machine.open();
    let keyspace = db.keyspace("k").unwrap();
    let acknowledged: Acknowledged = Arc::default();
    writer(&keyspace, &acknowledged, 2);
    let old = {
        let (keyspace, snapshot) = (keyspace.clone(), db.snapshot());
        let mut cursor = keyspace.iter();
        // Some files are opened before they are merged away, others only behind it.
        let first = (below(2) == 0).then(|| cursor.next().unwrap());
        thread::spawn(move || {
            let found = walk(first.into_iter().chain(cursor));
            assert_eq!(found, [2, 2, 2], "the old cursor");
            assert_eq!(at_snapshot(&keyspace, &snapshot), [2, 2, 2], "the old snapshot");
        })
    };
    let compacting = {
        let db = db.clone();
        thread::spawn(move || db.compact().unwrap())
    };
    for round in 3..=4 {
        for at in 0..KEYS {
            keyspace.put(key(at), value(round, 1500)).unwrap();
        }
    }
    compacting.join().unwrap();
    db.compact().unwrap();
    old.join().unwrap();
    assert_eq!(walk(keyspace.iter()), [4, 4, 4]);
    db.close().unwrap();
}

#[test]
fn shuttle_an_old_cursor_and_an_old_snapshot_outlive_their_view() {
    check("old readers", old_readers);
}
