//! Calls that work in the foreground beside the same work in the background: each ends, however much is written
//! meanwhile, and a checkpoint amid them is a whole database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shuttle::thread;

use super::harness::{
    Machine, assert_no_stray_files, below, check, dir, durability, number_of, read, value,
};
use crate::{Background, BackgroundStep, Db};

fn work(db: &Db, what: u64) {
    match what {
        0 => db.flush().unwrap(),
        1 => db.compact().unwrap(),
        2 => {
            for step in BackgroundStep::ALL {
                db.run_background_step(step).unwrap();
            }
        }
        3 => {
            let _ = (db.metrics(), db.keyspaces().unwrap());
        }
        _ => {
            db.keyspace("another").unwrap().put("key", value(1, 1500)).unwrap();
        }
    }
}

/// Two such calls, a checkpoint, a writer and the threads.
fn works() {
    let machine = Machine::new();
    let db = machine.open();
    let keyspace = db.keyspace("k").unwrap();
    for round in 1..=3 {
        keyspace.put_with("key", value(round, 1500), durability(round)).unwrap();
    }
    let acknowledged = Arc::new(AtomicU64::new(3));
    let mut threads: Vec<_> = (0..2)
        .map(|_| {
            let (db, what) = (db.clone(), below(5));
            thread::spawn(move || work(&db, what))
        })
        .collect();
    {
        let (db, machine, acknowledged) = (db.clone(), machine.clone(), Arc::clone(&acknowledged));
        threads.push(thread::spawn(move || {
            let target = dir().with_extension("copy");
            let least = acknowledged.load(Ordering::SeqCst);
            db.checkpoint(&target).unwrap();
            let most = acknowledged.load(Ordering::SeqCst) + 1;
            let copy = machine.try_open(&target, Background::Manual).unwrap();
            let keyspace = copy.existing_keyspace("k").unwrap().unwrap();
            let found = read(&keyspace, "key");
            assert!((least..=most).contains(&found), "{found} of {least} to {most}");
            let all: Vec<_> = keyspace.iter().map(|e| number_of(&e.unwrap().1)).collect();
            assert_eq!(all, [found]);
            keyspace.put("key", value(1, 8)).unwrap();
            copy.close().unwrap();
        }));
    }
    for round in 4..=7 {
        keyspace.put_with("key", value(round, 1500), durability(round)).unwrap();
        acknowledged.store(round, Ordering::SeqCst);
    }
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(read(&keyspace, "key"), 7);
    db.verify().unwrap();
    db.close().unwrap();
    assert_no_stray_files(&machine, &db);
    drop((db, keyspace));
    assert_eq!(read(&machine.reopen().keyspace("k").unwrap(), "key"), 7);
}

#[test]
fn shuttle_work_in_the_foreground_and_the_background_ends() {
    check("works", works);
}

/// A frozen memtable is flushed without anybody asking: no call to work is lost between a look and a sleep.
fn idle() {
    let machine = Machine::new();
    let db = machine.open();
    let keyspace = db.keyspace("k").unwrap();
    for round in 1..=5 {
        keyspace.put_with("key", value(round, 1500), durability(round)).unwrap();
    }
    while !keyspace.inner.view().frozen.is_empty() {
        thread::yield_now();
    }
    assert_eq!(read(&keyspace, "key"), 5);
    db.close().unwrap();
}

#[test]
fn shuttle_the_threads_flush_what_is_frozen() {
    check("idle", idle);
}
