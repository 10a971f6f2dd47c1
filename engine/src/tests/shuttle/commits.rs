//! The line of commits under many schedules: every writer returns, in the order of the sequences, and nobody sees a part
//! of a batch; a sync that fails in the middle of a group tells everybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use esker_vfs::Call;
use esker_vfs::simulated::CrashPolicy;
use shuttle::thread;

use super::harness::{Machine, below, check, durability, number_of, read, value};
use crate::{Batch, Durability, ErrorKind, Keyspace};

/// Three writers of every durability, one of which submits and waits, and a reader.
fn writers() {
    let machine = Machine::new();
    let db = machine.open();
    let left = db.keyspace("left").unwrap();
    let right = db.keyspace("right").unwrap();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let writer = |me: u64| {
        let (db, left, right) = (db.clone(), left.clone(), right.clone());
        let acknowledged = Arc::clone(&acknowledged);
        move || {
            let mut last = (0, 0);
            for round in 1..=3 {
                let number = 10 * me + round;
                let mut batch = Batch::new();
                batch.put(&left, format!("own{me}"), value(number, 8));
                batch.put(&right, "shared", value(number, 1000));
                batch.put(&right, format!("own{me}"), value(number, 8));
                let before = acknowledged.load(Ordering::SeqCst);
                let durability = durability(me + round);
                let seq = match me {
                    2 => db.submit_with(batch, durability).unwrap().wait().unwrap(),
                    _ => db.core().queue.write(db.core(), batch, durability, None).unwrap(),
                };
                assert!(seq.0 > before, "{seq:?} was given out before {before} was acknowledged");
                acknowledged.fetch_max(seq.0, Ordering::SeqCst);
                assert!(db.core().snapshots.visible() >= seq, "acknowledged before it can be seen");
                assert_eq!(read(&left, &format!("own{me}")), number);
                last = (seq.0, number);
            }
            last
        }
    };
    let threads: Vec<_> = (0..3).map(|me| thread::spawn(writer(me))).collect();
    for _ in 0..3 {
        let snapshot = db.snapshot();
        let number = |keyspace: &Keyspace, me: u64| {
            let found = keyspace.get_at(&snapshot, format!("own{me}")).unwrap();
            found.map_or(0, |value| number_of(&value))
        };
        for me in 0..3 {
            assert_eq!(number(&left, me), number(&right, me), "half of a batch");
        }
        let found: Vec<_> = right.iter().map(|entry| number_of(&entry.unwrap().1)).collect();
        // Whoever wrote `shared` last also wrote its own key in the same batch.
        assert!(found.last().is_none_or(|shared| found.contains(shared)), "{found:?}");
        assert!(found.is_empty() || found[..found.len() - 1].contains(found.last().unwrap()));
    }
    let last = threads.into_iter().map(|thread| thread.join().unwrap()).max().unwrap();
    assert_eq!(read(&right, "shared"), last.1, "the last sequence wins");
    db.close().unwrap();
    let db = machine.reopen();
    assert_eq!(read(&db.keyspace("right").unwrap(), "shared"), last.1);
}

#[test]
fn shuttle_every_commit_returns_in_order_and_whole() {
    check("writers", writers);
}

/// Commits that nobody waits for, in line together with blocking ones.
fn submitted() {
    let machine = Machine::new();
    let db = machine.open();
    let keyspace = db.keyspace("k").unwrap();
    let blocking = {
        let keyspace = keyspace.clone();
        thread::spawn(move || {
            for round in 1..=2 {
                keyspace.put_with("blocking", value(round, 700), durability(round)).unwrap();
            }
        })
    };
    let mut pending = Vec::new();
    for round in 1..=4 {
        let mut batch = db.batch();
        batch.put(&keyspace, "submitted", value(round, 700));
        pending.push(db.submit_with(batch, durability(round)).unwrap());
    }
    // Some are waited for, in no order; the others are done all the same before the database is closed.
    let second = pending.swap_remove(below(4) as usize);
    let waiter = thread::spawn(move || second.wait().unwrap());
    drop(pending.split_off(1 + below(2) as usize));
    for pending in pending {
        pending.wait().unwrap();
    }
    waiter.join().unwrap();
    blocking.join().unwrap();
    db.close().unwrap();
    let db = machine.reopen();
    let keyspace = db.keyspace("k").unwrap();
    assert_eq!((read(&keyspace, "submitted"), read(&keyspace, "blocking")), (4, 2));
}

#[test]
fn shuttle_submitted_commits_are_done_without_anybody_waiting() {
    check("submitted", submitted);
}

/// A sync of the log fails while several writers share it.
fn failing_sync() {
    let machine = Machine::new();
    let db = machine.open();
    let keyspace = db.keyspace("k").unwrap();
    machine.fail(&[Call::SyncData], ".wal", below(4));
    let writer = |me: u64| {
        let keyspace = keyspace.clone();
        move || {
            let key = format!("key{me}");
            let mut last = 0;
            for round in 1..=3 {
                match keyspace.put_with(&key, value(round, 300), Durability::Sync) {
                    Ok(()) => last = round,
                    Err(error) => {
                        let told = [ErrorKind::Indeterminate, ErrorKind::ReadOnly];
                        assert!(told.contains(&error.kind()), "{error}");
                        break;
                    }
                }
            }
            // What was not acknowledged is not seen either: it may be gone after a crash.
            assert_eq!(read(&keyspace, &key), last);
            (key, last)
        }
    };
    let threads: Vec<_> = (0..3).map(|me| thread::spawn(writer(me))).collect();
    let last: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    if last.iter().any(|(_, round)| *round < 3) {
        assert_eq!(keyspace.put("more", "x").unwrap_err().kind(), ErrorKind::ReadOnly);
        assert_eq!(db.flush().unwrap_err().kind(), ErrorKind::ReadOnly);
    }
    let closed = db.close();
    assert!(closed.is_ok() || db.core().health.cause().is_some());
    drop((db, keyspace));
    for policy in [CrashPolicy::DropAll, CrashPolicy::KeepAll] {
        let db = machine.crash(policy).reopen();
        let keyspace = db.keyspace("k").unwrap();
        for (key, round) in &last {
            assert!(read(&keyspace, key) >= *round, "an acknowledged commit is lost");
        }
    }
}

#[test]
fn shuttle_a_failed_sync_reaches_every_member_of_the_group() {
    check("failing sync", failing_sync);
}
