//! Transactions under many schedules: of two that conflict one commits, counters lose nothing, and neither the start nor
//! the trimming of the history lets a conflict pass.

use shuttle::thread;

use super::harness::{Machine, below, check, durability, number_of, read, value};
use crate::{Db, ErrorKind, Keyspace};

/// Two transactions that were both begun before either committed.
fn two() {
    let machine = Machine::new();
    let db = machine.open();
    let keyspace = db.keyspace("k").unwrap();
    keyspace.put("key", value(1, 8)).unwrap();
    let commit = |number: u64| {
        let keyspace = keyspace.clone();
        let mut transaction = db.transaction().unwrap();
        let by_range = below(2) == 0;
        move || {
            let found = match by_range {
                true => transaction.range::<&[u8]>(&keyspace, ..).next().unwrap().unwrap().1,
                false => transaction.get(&keyspace, "key").unwrap().unwrap(),
            };
            assert_eq!(number_of(&found), 1);
            transaction.put(&keyspace, "key", value(number, 8)).unwrap();
            transaction.commit_with(durability(number))
        }
    };
    let commits = [commit(2), commit(3)];
    let threads = commits.map(thread::spawn);
    let results = threads.map(|thread| thread.join().unwrap());
    let wins: Vec<_> = results.iter().map(Result::is_ok).collect();
    assert_eq!(wins.iter().filter(|&&won| won).count(), 1, "{results:?}");
    let lost = results.iter().find_map(|result| result.as_ref().err()).unwrap();
    assert_eq!(lost.kind(), ErrorKind::Conflict);
    assert_eq!(read(&keyspace, "key"), if wins[0] { 2 } else { 3 });
    db.close().unwrap();
}

#[test]
fn shuttle_one_of_two_conflicting_transactions_commits() {
    check("two transactions", two);
}

/// Adds one, again and again until it commits.
fn add(db: &Db, keyspace: &Keyspace) {
    loop {
        let mut transaction = db.transaction().unwrap();
        let found = transaction.get(keyspace, "count").unwrap();
        let next = found.map_or(0, |value| number_of(&value)) + 1;
        transaction.put(keyspace, "count", value(next, 8)).unwrap();
        match transaction.commit_with(durability(next)) {
            Ok(()) => return,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
        }
        thread::yield_now();
    }
}

/// Transactions that begin and end all the time, so that the history is started, emptied and trimmed, beside plain
/// writes that outgrow it.
fn counter() {
    let machine = Machine::new();
    let db = machine.open();
    let keyspace = db.keyspace("k").unwrap();
    let adders: Vec<_> = (0..3)
        .map(|_| {
            let (db, keyspace) = (db.clone(), keyspace.clone());
            thread::spawn(move || (0..2).for_each(|_| add(&db, &keyspace)))
        })
        .collect();
    let plain = {
        let keyspace = keyspace.clone();
        thread::spawn(move || {
            for round in 0..4 {
                keyspace.put_with(format!("plain{round}"), "x", durability(round)).unwrap();
            }
        })
    };
    // One that only looks: what it sees does not change.
    let transaction = db.transaction().unwrap();
    let seen = transaction.get(&keyspace, "count").unwrap();
    plain.join().unwrap();
    assert_eq!(transaction.get(&keyspace, "count").unwrap(), seen);
    transaction.commit().unwrap();
    for adder in adders {
        adder.join().unwrap();
    }
    assert_eq!(read(&keyspace, "count"), 6, "an addition is lost");
    db.close().unwrap();
}

#[test]
fn shuttle_no_addition_is_lost_while_the_history_comes_and_goes() {
    check("counter", counter);
}

/// Each of two transactions looks for any entry and adds its own if there is none: a phantom would let both.
fn phantoms() {
    let machine = Machine::new();
    let db = machine.open();
    let keyspace = db.keyspace("k").unwrap();
    let claim = |name: &'static str| {
        let (db, keyspace) = (db.clone(), keyspace.clone());
        move || {
            let mut transaction = db.transaction().unwrap();
            if transaction.prefix(&keyspace, "claim").next().is_some() {
                return false;
            }
            transaction.put(&keyspace, name, "x").unwrap();
            transaction.commit().is_ok()
        }
    };
    let threads = [thread::spawn(claim("claim-a")), thread::spawn(claim("claim-b"))];
    keyspace.put("other", "x").unwrap();
    let claims = threads.map(|thread| thread.join().unwrap());
    assert_eq!(claims.iter().filter(|&&claimed| claimed).count(), 1, "{claims:?}");
    assert_eq!(keyspace.prefix("claim").count(), 1);
    db.close().unwrap();
}

#[test]
fn shuttle_no_phantom_gets_between_a_scan_and_its_commit() {
    check("phantoms", phantoms);
}
