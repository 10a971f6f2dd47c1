//! Everything at once on the real file system: writers of every durability, readers, snapshots, transactions, keyspaces
//! that come and go, flushes, compactions and checkpoints. Each thread checks what it alone can know; afterwards the
//! database is closed, reopened and checked again. It ends after a number of rounds, not after a time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::support::Rng;
use crate::{Db, Durability, ErrorKind, Keyspace};

const WRITERS: u64 = 3;
const ROUNDS: u64 = 400;
const ACCOUNTS: u64 = 8;
const START_BALANCE: u64 = 1000;

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().unwrap())
}

fn value(number: u64, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(8 + rng.below(2000) as usize, 7);
    bytes
}

struct Stress {
    db: Db,
    /// Each writer counts up under its own key, in both keyspaces with one batch.
    left: Keyspace,
    right: Keyspace,
    accounts: Keyspace,
    /// What the writers know to be committed, in memory at least.
    done: [AtomicU64; WRITERS as usize],
    stop: AtomicBool,
}

impl Stress {
    fn write(&self, writer: u64) {
        let mut rng = Rng(writer);
        for round in 1..=ROUNDS {
            let durability = match rng.below(16) {
                0 => Durability::Sync,
                1..6 => Durability::Volatile,
                _ => Durability::Buffered,
            };
            let mut batch = self.db.batch();
            batch.put(&self.left, writer.to_be_bytes(), value(round, &mut rng));
            batch.put(&self.right, writer.to_be_bytes(), value(round, &mut rng));
            batch.put(&self.right, (100 + rng.below(500)).to_be_bytes(), value(round, &mut rng));
            batch.delete(&self.left, (100 + rng.below(500)).to_be_bytes());
            if rng.below(4) == 0 {
                self.db.submit_with(batch, durability).unwrap().wait().unwrap();
            } else {
                self.db.write_with(batch, durability).unwrap();
            }
            self.done[writer as usize].store(round, Ordering::Release);
        }
    }

    fn read(&self) {
        let mut seen = [0; WRITERS as usize];
        let mut snapshots = Vec::new();
        while !self.stop.load(Ordering::Acquire) {
            for writer in 0..WRITERS {
                let at = writer as usize;
                let least = self.done[at].load(Ordering::Acquire).max(seen[at]);
                let found = self.left.get(writer.to_be_bytes()).unwrap().map_or(0, |v| number(&v));
                assert!(found >= least, "writer {writer} went back from {least} to {found}");
                seen[at] = found;
            }
            let snapshot = self.db.snapshot();
            let picture = self.picture(&snapshot);
            snapshots.push((snapshot, picture));
            if snapshots.len() > 8 {
                let (old, picture) = snapshots.remove(0);
                assert!(self.picture(&old) == picture, "a snapshot changed");
            }
        }
    }

    /// The counters and the accounts' sum as a snapshot sees them, from both ends.
    fn picture(&self, snapshot: &crate::Snapshot) -> Vec<u64> {
        let mut picture = Vec::new();
        for writer in 0..WRITERS {
            let key = writer.to_be_bytes();
            let [left, right] = [&self.left, &self.right]
                .map(|k| k.get_at(snapshot, key).unwrap().map_or(0, |v| number(&v)));
            assert_eq!(left, right, "a batch was seen in part");
            picture.push(left);
        }
        let sum = |entries: &mut dyn Iterator<Item = crate::Result<(_, crate::Value)>>| -> u64 {
            entries.map(|entry| number(&entry.unwrap().1)).sum()
        };
        let range = || self.accounts.range_at::<&[u8]>(snapshot, ..);
        assert_eq!(sum(&mut range()), ACCOUNTS * START_BALANCE);
        assert_eq!(sum(&mut range().rev()), ACCOUNTS * START_BALANCE);
        picture.push(self.right.range_at::<&[u8]>(snapshot, ..).count() as u64);
        picture
    }

    fn transfer(&self, seed: u64) {
        let mut rng = Rng(seed);
        let mut moved = 0;
        while moved < ROUNDS / 4 {
            let (from, to) = (rng.below(ACCOUNTS).to_be_bytes(), rng.below(ACCOUNTS).to_be_bytes());
            let mut tx = self.db.transaction().unwrap();
            let balance = |tx: &crate::Transaction, key| {
                number(&tx.get(&self.accounts, key).unwrap().unwrap())
            };
            let amount = rng.below(balance(&tx, from) + 1);
            let left = balance(&tx, from) - amount;
            tx.put(&self.accounts, from, left.to_le_bytes()).unwrap();
            let got = balance(&tx, to) + amount;
            tx.put(&self.accounts, to, got.to_le_bytes()).unwrap();
            if rng.below(8) == 0 {
                let all = tx.range::<&[u8]>(&self.accounts, ..);
                let sum: u64 = all.map(|entry| number(&entry.unwrap().1)).sum();
                assert_eq!(sum, ACCOUNTS * START_BALANCE);
            }
            match tx.commit_with(Durability::Buffered) {
                Ok(()) => moved += 1,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
            }
        }
    }

    fn come_and_go(&self) {
        let mut rng = Rng(77);
        for round in 0..20u64 {
            let keyspace = self.db.keyspace("passing").unwrap();
            for key in 0..20u64 {
                let put = keyspace.put_with(
                    key.to_be_bytes(),
                    value(round, &mut rng),
                    Durability::Volatile,
                );
                put.unwrap();
            }
            assert_eq!(keyspace.iter().count(), 20);
            let walk = keyspace.iter();
            self.db.drop_keyspace("passing").unwrap();
            assert_eq!(walk.count(), 20, "a walk that has begun goes on");
            assert_eq!(keyspace.get("x").unwrap_err().kind(), ErrorKind::NotFound);
        }
    }

    fn maintain(&self, dir: &std::path::Path) {
        for round in 0..6 {
            self.db.flush().unwrap();
            self.left.compact().unwrap();
            let target = dir.join(format!("copy{round}"));
            self.db.checkpoint(&target).unwrap();
            self.db.verify().unwrap();
            let copy = Db::builder().memory_budget_bytes(1 << 20).open(&target).unwrap();
            let keyspaces = ["left", "right", "accounts"].map(|name| copy.keyspace(name).unwrap());
            check_closed(&keyspaces);
            assert!(self.db.metrics().read_only_cause.is_none());
        }
    }
}

/// What holds at every moment between two commits.
fn check_closed([left, right, accounts]: &[Keyspace; 3]) {
    for writer in 0..WRITERS {
        let [left, right] =
            [left, right].map(|k| k.get(writer.to_be_bytes()).unwrap().map_or(0, |v| number(&v)));
        assert_eq!(left, right, "a batch is there in part");
    }
    let sum: u64 = accounts.iter().map(|entry| number(&entry.unwrap().1)).sum();
    assert_eq!(sum, ACCOUNTS * START_BALANCE);
}

#[test]
fn everything_at_once_keeps_every_promise() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let open = || Db::builder().memory_budget_bytes(2 << 20).sstable_bytes(64 << 10).open(&path);
    let db = open().unwrap();
    let stress = Stress {
        left: db.keyspace("left").unwrap(),
        right: db.keyspace("right").unwrap(),
        accounts: db.keyspace("accounts").unwrap(),
        done: Default::default(),
        stop: AtomicBool::new(false),
        db,
    };
    let mut batch = stress.db.batch();
    for account in 0..ACCOUNTS {
        batch.put(&stress.accounts, account.to_be_bytes(), START_BALANCE.to_le_bytes());
    }
    stress.db.write(batch).unwrap();
    thread::scope(|scope| {
        let stress = &stress;
        let readers = [(); 2].map(|()| scope.spawn(|| stress.read()));
        let mut workers: Vec<_> =
            (0..WRITERS).map(|writer| scope.spawn(move || stress.write(writer))).collect();
        workers.extend((0..2).map(|seed| scope.spawn(move || stress.transfer(seed))));
        workers.push(scope.spawn(|| stress.come_and_go()));
        workers.push(scope.spawn(|| stress.maintain(dir.path())));
        let failed = workers.into_iter().filter_map(|worker| worker.join().err()).next();
        stress.stop.store(true, Ordering::Release);
        let failed = failed.or(readers.into_iter().filter_map(|reader| reader.join().err()).next());
        if let Some(panic) = failed {
            std::panic::resume_unwind(panic);
        }
    });
    stress.db.close().unwrap();
    drop(stress);
    let db = open().unwrap();
    db.verify().unwrap();
    let keyspaces = ["left", "right", "accounts"].map(|name| db.keyspace(name).unwrap());
    check_closed(&keyspaces);
    for writer in 0..WRITERS {
        let last = keyspaces[0].get(writer.to_be_bytes()).unwrap().unwrap();
        assert_eq!(number(&last), ROUNDS);
    }
    assert!(db.existing_keyspace("passing").unwrap().is_none());
}

/// A close in the middle of everything: every call ends, with `Closed` at worst, and what was acknowledged is there.
#[test]
fn a_close_in_the_middle_leaves_nobody_waiting() {
    for round in 0..10 {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::builder().memory_budget_bytes(1 << 20).open(dir.path()).unwrap();
        let ks = db.keyspace("k").unwrap();
        let acknowledged: Vec<u64> = thread::scope(|scope| {
            let writers: Vec<_> = (0..4u64)
                .map(|writer| {
                    let (db, ks) = (&db, &ks);
                    scope.spawn(move || {
                        let mut written = 0;
                        loop {
                            let mut batch = db.batch();
                            batch.put(ks, writer.to_be_bytes(), (written + 1u64).to_le_bytes());
                            let result = match writer % 2 {
                                0 => db.write_with(batch, Durability::Buffered),
                                _ => db
                                    .submit_with(batch, Durability::Volatile)
                                    .and_then(|commit| commit.wait().map(|_| ())),
                            };
                            match result {
                                Ok(()) => written += 1,
                                Err(error) => {
                                    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
                                    return written;
                                }
                            }
                        }
                    })
                })
                .collect();
            // Until the writers have got somewhere.
            while db.metrics().commits < 50 * (round + 1) {
                thread::yield_now();
            }
            db.close().unwrap();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        drop((ks, db));
        let db = Db::open(dir.path()).unwrap();
        let ks = db.keyspace("k").unwrap();
        for (writer, written) in (0u64..).zip(acknowledged) {
            let found = ks.get(writer.to_be_bytes()).unwrap().map_or(0, |v| number(&v));
            assert_eq!(found, written, "writer {writer} in round {round}");
        }
    }
}
