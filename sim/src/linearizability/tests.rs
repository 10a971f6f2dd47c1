//! The check finds nothing in the engine, and finds what a careless user of it does: conditional writes without a
//! transaction, and transfers as two writes.
#![allow(clippy::unwrap_used)]

use super::history::Answer;
use super::*;

#[test]
fn the_engine_is_linearizable() {
    let report = check(&Budget::test(1));
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert_eq!(report.figure("histories"), 4 * HISTORIES);
    assert_eq!(report.figure("transfers"), 4 * LONG_THREADS * LONG_OPS);
}

/// Two threads count up by reading and then writing, and meet in between: one of the two is lost.
#[test]
fn a_count_without_a_transaction_is_found() {
    let (db, keyspace) = open(1).unwrap();
    let (recorder, barrier) = (Recorder::default(), Barrier::new(2));
    let store = Store { db: &db, keyspace: &keyspace, history: 0 };
    let add = || {
        let op = Op::Add(0, 1);
        let event = recorder.record(op, || {
            let before = keyspace.get(store.key(0))?.map(|bytes| number(&bytes)).transpose()?;
            barrier.wait();
            keyspace.put(store.key(0), (before.unwrap_or(0) + 1).to_le_bytes())?;
            Result::Ok(Answer::Value(before))
        });
        event.unwrap()
    };
    let events: Vec<Event> = thread::scope(|scope| {
        let threads = [scope.spawn(add), scope.spawn(add)];
        threads.into_iter().map(join).collect()
    });
    assert!(!history::is_linearizable(&events), "{events:?}");
}

/// A transfer written as two batches, and somebody who looks in between.
#[test]
fn a_transfer_in_two_steps_is_found() {
    let (db, keyspace) = open(1).unwrap();
    let (recorder, barrier) = (Recorder::default(), Barrier::new(2));
    let store = Store { db: &db, keyspace: &keyspace, history: 0 };
    let mut rng = Rng::new(1);
    let fill = Op::Put(0, 10);
    let mut events = vec![recorder.record(fill, || store.run(fill, &mut rng)).unwrap()];
    let (moved, looked) = thread::scope(|scope| {
        let moved = scope.spawn(|| {
            let run = || {
                keyspace.put(store.key(0), 6u64.to_le_bytes())?;
                barrier.wait();
                barrier.wait();
                keyspace.put(store.key(1), 4u64.to_le_bytes())?;
                Result::Ok(Answer::Both([Some(10), None]))
            };
            recorder.record(Op::Move(0, 4), run).unwrap()
        });
        barrier.wait();
        let looked = recorder.record(Op::GetBoth, || store.run(Op::GetBoth, &mut rng)).unwrap();
        barrier.wait();
        (join(moved), looked)
    });
    events.extend([moved, looked]);
    assert!(!history::is_linearizable(&events), "{events:?}");
}

/// As the engine, but with transactions that are not judged: both read, then both write.
#[test]
fn transfers_that_are_not_judged_are_found() {
    let (db, keyspace) = open(1).unwrap();
    let (recorder, barrier) = (Recorder::default(), Barrier::new(2));
    let careless = || {
        let called = recorder.tick();
        let mut seen = Seen { wrote: true, ..Seen::default() };
        let mut batch = db.batch();
        for key in 0..2u64 {
            let (version, balance) = account(keyspace.get(key.to_be_bytes()).unwrap()).unwrap();
            seen.read.insert(key, version);
            let value = [(version + 1).to_le_bytes(), balance.to_le_bytes()].concat();
            batch.put(&keyspace, key.to_be_bytes(), value);
        }
        barrier.wait();
        db.write(batch).unwrap();
        Seen { called, answered: recorder.tick(), ..seen }
    };
    let all: Vec<Seen> = thread::scope(|scope| {
        let threads = [scope.spawn(careless), scope.spawn(careless)];
        threads.into_iter().map(join).collect()
    });
    assert!(order::check(&all).unwrap_err().contains("lost update"));
}
