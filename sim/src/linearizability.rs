//! Linearizability: threads read, write, compare and set, count and transfer at the same time, and an order must exist
//! that explains every answer. Small histories are searched completely; long ones of transfers between many accounts
//! are judged by the versions that they have read. Meanwhile memtables are flushed and files merged.

mod history;
mod order;
mod store;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use esker::vfs::simulated::Simulation;
use esker::{Background, BackgroundStep, Db, Durability, Keyspace, ReadMode, Result};

use crate::report::{Budget, CheckReport, Floor};
use crate::{Rng, parallel};
use history::{Event, Op, Recorder};
use order::Seen;
use store::{Store, number, pause, transact};

/// The check's name.
pub const NAME: &str = "linearizability";

const SMALL: &str = "histories";

/// What must be reached.
pub const FLOORS: &[Floor] = &[Floor::new(SMALL, 10_000, 500_000)];

/// Threads of a small history, and operations of each.
const THREADS: u64 = 3;
const OPS: u64 = 4;

/// Histories on one database, one after the other.
const HISTORIES: u64 = 50;

/// Threads of a long history, transactions of each, and the accounts that they transfer between.
const LONG_THREADS: u64 = 4;
const LONG_OPS: u64 = 30;
const ACCOUNTS: u64 = 5;
const BALANCE: u64 = 100;

/// Runs small and long histories.
pub fn check(budget: &Budget) -> CheckReport {
    let units = budget.count(4, 400, 12_000);
    let seed = budget.seed.wrapping_mul(1 << 20);
    let work = move |unit: u64, report: &mut CheckReport| {
        if let Err(error) = small_histories(seed + unit, report) {
            report.find(format!("seed {}: an operation failed: {error:?}", seed + unit));
        }
        if let Err(error) = long_history(seed + unit, report) {
            report.find(format!("seed {}: a transfer failed: {error:?}", seed + unit));
        }
    };
    parallel::run(NAME, budget, units, Arc::new(work))
}

/// A database whose background work is done by its own threads or, without any, by [`disturb`] alone.
fn open(seed: u64) -> Result<(Db, Keyspace)> {
    let background = if seed.is_multiple_of(2) { Background::Threads } else { Background::Manual };
    let db = Db::builder()
        .memory_budget_bytes(1 << 20)
        .sstable_bytes(4096)
        .read_mode(ReadMode::Positioned)
        .wal_mapped(true)
        .background(background)
        .world(Simulation::new(seed).world())
        .open("/db")?;
    let keyspace = db.keyspace("k")?;
    Ok((db, keyspace))
}

/// Flushes, merges and cleans up until told to stop.
fn disturb(db: &Db, seed: u64, stop: &AtomicBool) -> Result<()> {
    let mut rng = Rng::new(seed);
    while !stop.load(Ordering::Acquire) {
        match rng.below(8) {
            0 => db.flush()?,
            1 => db.compact()?,
            at => {
                let step = BackgroundStep::ALL[at as usize % BackgroundStep::ALL.len()];
                db.run_background_step(step)?;
            }
        }
        for _ in 0..rng.below(20) {
            thread::yield_now();
        }
    }
    Ok(())
}

/// The operations of one thread of one history.
fn plan(rng: &mut Rng) -> Vec<Op> {
    let mut op = || {
        let (key, value) = (rng.below(2) as usize, rng.below(4));
        match rng.below(9) {
            0 => Op::Get(key),
            1 => Op::Put(key, value),
            2 => Op::Delete(key),
            3 | 4 => Op::CompareAndSet(key, rng.chance(70).then(|| rng.below(4)), value),
            5 => Op::Add(key, 1),
            6 | 7 => Op::Move(key, 1 + value),
            _ => Op::GetBoth,
        }
    };
    (0..OPS).map(|_| op()).collect()
}

/// Joins a thread whose panic shall be this thread's.
fn join<T>(handle: thread::ScopedJoinHandle<'_, T>) -> T {
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn small_histories(seed: u64, report: &mut CheckReport) -> Result<()> {
    let (db, keyspace) = open(seed)?;
    let (recorder, barrier) = (Recorder::default(), Barrier::new(THREADS as usize));
    let stop = AtomicBool::new(false);
    let run = |thread: u64| -> Result<Vec<Vec<Event>>> {
        let mut rng = Rng::new(seed.wrapping_mul(THREADS) + thread);
        let mut histories = Vec::new();
        let mut outcome = Ok(());
        for history in 0..HISTORIES {
            let store = Store { db: &db, keyspace: &keyspace, history };
            let plan = plan(&mut rng);
            // After a failure the thread still comes to the barrier, so that nobody waits for it in vain.
            barrier.wait();
            let mut events = Vec::new();
            for op in &plan {
                if outcome.is_err() {
                    break;
                }
                pause(&mut rng);
                match recorder.record(*op, || store.run(*op, &mut rng)) {
                    Ok(event) => events.push(event),
                    Err(error) => outcome = Err(error),
                }
            }
            histories.push(events);
        }
        outcome.map(|()| histories)
    };
    let (run, db_ref) = (&run, &db);
    let parts = thread::scope(|scope| {
        let disturber = scope.spawn(|| disturb(db_ref, seed, &stop));
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || run(thread))).collect();
        let parts: Vec<_> = threads.into_iter().map(join).collect();
        stop.store(true, Ordering::Release);
        join(disturber).and_then(|()| parts.into_iter().collect::<Result<Vec<_>>>())
    })?;
    for history in 0..HISTORIES as usize {
        let events: Vec<Event> = parts.iter().flat_map(|part| &part[history]).copied().collect();
        report.add(SMALL, 1);
        report.add("operations", events.len() as u64);
        report.add("operations that overlap another", history::overlapping(&events));
        if !history::is_linearizable(&events) {
            report.find(format!("seed {seed}, history {history}: no order explains {events:#?}"));
        }
    }
    report.add("conflicts", db.metrics().conflicts);
    db.close()
}

/// An account: its version and its balance.
fn account(bytes: Option<esker::Value>) -> Result<(u64, u64)> {
    match bytes {
        None => Ok((0, BALANCE)),
        Some(bytes) => {
            let (version, balance) = bytes.split_at(bytes.len() / 2);
            Ok((number(version)?, number(balance)?))
        }
    }
}

/// One transfer between two accounts, or a look at all of them; what was read, and the sum of a look.
fn transfer(db: &Db, keyspace: &Keyspace, rng: &mut Rng) -> Result<(Seen, Option<u64>)> {
    let durability = *rng.pick(&[Durability::Volatile, Durability::Buffered]);
    let looks = rng.chance(30);
    let (from, to) = (rng.below(ACCOUNTS), rng.below(ACCOUNTS));
    let amount = rng.below(20);
    transact(db, durability, |tx| {
        let mut seen = Seen { wrote: !looks && from != to, ..Seen::default() };
        if !seen.wrote {
            let mut sum = 0;
            for key in 0..ACCOUNTS {
                let (version, balance) = account(tx.get(keyspace, key.to_be_bytes())?)?;
                pause(rng);
                seen.read.insert(key, version);
                sum += balance;
            }
            return Ok((seen, Some(sum)));
        }
        let mut accounts = BTreeMap::new();
        for key in [from, to] {
            let (version, balance) = account(tx.get(keyspace, key.to_be_bytes())?)?;
            pause(rng);
            seen.read.insert(key, version);
            accounts.insert(key, (version + 1, balance));
        }
        let amount = amount.min(accounts[&from].1);
        for (key, (version, balance)) in accounts {
            let balance = if key == from { balance - amount } else { balance + amount };
            let value = [version.to_le_bytes(), balance.to_le_bytes()].concat();
            tx.put(keyspace, key.to_be_bytes(), value)?;
        }
        Ok((seen, None))
    })
}

fn long_history(seed: u64, report: &mut CheckReport) -> Result<()> {
    let (db, keyspace) = open(seed)?;
    let recorder = Recorder::default();
    let (stop, wrong_sums) = (AtomicBool::new(false), parking_lot::Mutex::new(Vec::new()));
    let run = |thread: u64| -> Result<Vec<Seen>> {
        let mut rng = Rng::new(seed.wrapping_mul(LONG_THREADS) + thread);
        let mut all = Vec::new();
        for _ in 0..LONG_OPS {
            let called = recorder.tick();
            let (seen, sum) = transfer(&db, &keyspace, &mut rng)?;
            all.push(Seen { called, answered: recorder.tick(), ..seen });
            wrong_sums.lock().extend(sum.filter(|sum| *sum != ACCOUNTS * BALANCE));
        }
        Ok(all)
    };
    let (run, db_ref) = (&run, &db);
    let parts = thread::scope(|scope| {
        let disturber = scope.spawn(|| disturb(db_ref, seed, &stop));
        let threads: Vec<_> =
            (0..LONG_THREADS).map(|thread| scope.spawn(move || run(thread))).collect();
        let parts: Vec<_> = threads.into_iter().map(join).collect();
        stop.store(true, Ordering::Release);
        join(disturber).and_then(|()| parts.into_iter().collect::<Result<Vec<_>>>())
    })?;
    let all = parts.concat();
    report.add("long histories", 1);
    report.add("transfers", all.len() as u64);
    for sum in wrong_sums.lock().iter() {
        report.find(format!("seed {seed}: the accounts were seen to hold {sum} together"));
    }
    if let Err(why) = order::check(&all) {
        report.find(format!("seed {seed}: {why}"));
    }
    report.add("conflicts", db.metrics().conflicts);
    db.close()
}

#[cfg(test)]
mod tests;
