//! The workloads that read: hits, misses, skewed reads, scans, and reads beside a writer. Every value is checked; a wrong
//! one, or a key that is not there, is an error.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::drive::{Driven, Limit, Step, drive};
use crate::engine::{Failure, Key, Result, Session, Store};
use crate::generator::{Entries, Numbers};
use crate::zipf::{THETA, Zipf};

/// The rate of the writer beside the readers.
const WRITES_PER_SECOND: u64 = 20_000;

/// Gets a key that must be there with a valid value.
pub fn get_valid(session: &mut dyn Session, entries: &Entries, key: &Key) -> Result<()> {
    let mut valid = false;
    let found = session.get(key, &mut |value| valid = entries.is_valid(key, value))?;
    match (found, valid) {
        (true, true) => Ok(()),
        (true, false) => Err(wrong("a wrong value for", key)),
        (false, _) => Err(wrong("no value for", key)),
    }
}

fn wrong(what: &str, key: &[u8]) -> Failure {
    Failure::from(format!("{what} {}", String::from_utf8_lossy(key)))
}

/// Scans from a key on and checks order and values; returns how many entries there were.
pub fn scan_valid(
    session: &mut dyn Session,
    entries: &Entries,
    start: &Key,
    limit: usize,
) -> Result<usize> {
    let mut before = *start;
    let mut bad = None;
    let mut count_seen = 0;
    let count = session.scan(start, limit, &mut |key, value| {
        let in_order = if count_seen == 0 { key >= &before[..] } else { key > &before[..] };
        count_seen += 1;
        match <&Key>::try_from(key) {
            Ok(key) if in_order && entries.is_valid(key, value) => before = *key,
            _ => bad = Some(wrong("a wrong entry in a scan:", key)),
        }
    })?;
    match bad {
        Some(failure) => Err(failure),
        None if count != count_seen => Err(wrong("a scan miscounted from", start)),
        None => Ok(count),
    }
}

/// Gets random keys that exist.
pub fn hit(
    store: &dyn Store,
    entries: &Entries,
    threads: usize,
    seed: u64,
    seconds: f64,
) -> Result<Driven> {
    drive(store, threads, Limit { steps: u64::MAX, seconds }, &|thread| -> Step<'_> {
        let mut numbers = Numbers::new(seed ^ (thread as u64) << 32);
        Box::new(move |session, _| {
            let key = entries.key(numbers.below(entries.keys()));
            get_valid(session, entries, &key)?;
            Ok(true)
        })
    })
}

/// Gets keys in the midst of the others that do not exist.
pub fn miss(store: &dyn Store, entries: &Entries, seed: u64, seconds: f64) -> Result<Driven> {
    drive(store, 1, Limit { steps: u64::MAX, seconds }, &|_| -> Step<'_> {
        let mut numbers = Numbers::new(seed);
        Box::new(move |session, _| {
            let key = entries.missing_key(numbers.below(entries.keys()));
            match session.get(&key, &mut |_| ())? {
                true => Err(wrong("a value for the missing key", &key)),
                false => Ok(true),
            }
        })
    })
}

/// Gets keys by a Zipf distribution, the frequent ones scattered.
pub fn zipf(store: &dyn Store, entries: &Entries, seed: u64, seconds: f64) -> Result<Driven> {
    let ranks = &Zipf::new(entries.keys(), THETA);
    drive(store, 1, Limit { steps: u64::MAX, seconds }, &|_| -> Step<'_> {
        let mut numbers = Numbers::new(seed);
        Box::new(move |session, _| {
            let key = entries.key(entries.scattered(ranks.next(&mut numbers)));
            get_valid(session, entries, &key)?;
            Ok(true)
        })
    })
}

/// Gets `len` random keys that exist in one call. An operation is a key, a latency that of a call.
pub fn many(
    store: &dyn Store,
    entries: &Entries,
    len: usize,
    seed: u64,
    seconds: f64,
) -> Result<Driven> {
    let limit = Limit { steps: u64::MAX, seconds };
    let mut driven = drive(store, 1, limit, &|_| -> Step<'_> {
        let mut numbers = Numbers::new(seed);
        Box::new(move |session, _| {
            let keys: Vec<Key> =
                (0..len).map(|_| entries.key(numbers.below(entries.keys()))).collect();
            let mut valid = 0;
            session.get_many(&keys, &mut |position, value| {
                valid += usize::from(entries.is_valid(&keys[position], value));
            })?;
            if valid != len {
                return Err(Failure::from(format!("{valid} valid values for {len} keys")));
            }
            Ok(true)
        })
    })?;
    driven.operations *= len as u64;
    Ok(driven)
}

/// Scans of `len` entries from random keys on.
pub fn scan(
    store: &dyn Store,
    entries: &Entries,
    len: usize,
    seed: u64,
    seconds: f64,
) -> Result<Driven> {
    let starts = entries.keys().saturating_sub(len as u64).max(1);
    let expected = len.min(entries.keys() as usize);
    drive(store, 1, Limit { steps: u64::MAX, seconds }, &|_| -> Step<'_> {
        let mut numbers = Numbers::new(seed);
        Box::new(move |session, _| {
            let start = entries.key(numbers.below(starts));
            match scan_valid(session, entries, &start, len)? {
                count if count == expected => Ok(true),
                count => Err(Failure::from(format!("{count} entries, not {expected}"))),
            }
        })
    })
}

/// Gets while one thread overwrites random keys at a steady rate; the second result is the rate that it reached.
pub fn beside_writer(
    store: &dyn Store,
    entries: &Entries,
    seed: u64,
    seconds: f64,
) -> Result<(Driven, f64)> {
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<()> {
            let (mut numbers, mut value) = (Numbers::new(!seed), Vec::new());
            let mut session = store.session()?;
            let start = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                let due = (start.elapsed().as_secs_f64() * WRITES_PER_SECOND as f64) as u64;
                let done = written.load(Ordering::Relaxed);
                // It does not catch up behind a stall with a burst of more than a tenth of a second.
                for number in done..due.min(done + WRITES_PER_SECOND / 10) {
                    let index = numbers.below(entries.keys());
                    entries.value(index, number, &mut value);
                    session.put(&entries.key(index), &value)?;
                    written.store(number + 1, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        });
        let driven = hit(store, entries, 1, seed, seconds);
        stop.store(true, Ordering::Relaxed);
        writer.join().map_err(|_| Failure::from("the writer panicked"))??;
        let driven = driven?;
        let rate = written.load(Ordering::Relaxed) as f64 / driven.seconds.max(1e-9);
        Ok((driven, rate))
    })
}
