//! The workloads that write: fills, batches, bulk loads, overwrites, deletes, and the load before every other workload.

use std::time::Instant;

use super::drive::{Driven, Limit, Step, drive, histogram};
use crate::engine::{Key, Result, Store};
use crate::generator::{Entries, Numbers};

/// How many entries the load before a measurement writes at a time.
const LOAD_BATCH: usize = 1000;

/// Loads every entry in scattered order, so that sorted files overlap as they do in use.
pub fn load(store: &dyn Store, entries: &Entries, bytes_max: u64) -> Result<()> {
    // Large values, small batches: some engines limit the bytes of one.
    let len = (LOAD_BATCH as u64).min((4 << 20) / entries.entry_bytes()).max(1) as usize;
    let count = entries.keys().min(bytes_max / entries.entry_bytes());
    let mut session = store.session()?;
    let mut batch = Vec::new();
    let mut position = 0;
    while position < count {
        position = fill_batch(entries, position, len.min((count - position) as usize), &mut batch);
        session.write_batch(&batch)?;
    }
    Ok(())
}

/// Makes `batch` the entries from `position` of the scattered order on; returns the position behind them.
fn fill_batch(
    entries: &Entries,
    position: u64,
    len: usize,
    batch: &mut Vec<(Key, Vec<u8>)>,
) -> u64 {
    batch.resize_with(len, || ([0; size_of::<Key>()], Vec::new()));
    for (offset, (key, value)) in batch.iter_mut().enumerate() {
        let index = entries.scattered(position + offset as u64);
        *key = entries.key(index);
        entries.value(index, 0, value);
    }
    position + len as u64
}

/// Puts every key once.
pub fn fill(
    store: &dyn Store,
    entries: &Entries,
    scattered: bool,
    seconds_max: f64,
) -> Result<Driven> {
    let limit = Limit { steps: entries.keys(), seconds: seconds_max };
    drive(store, 1, limit, &|_| -> Step<'_> {
        let mut value = Vec::new();
        Box::new(move |session, number| {
            let index = if scattered { entries.scattered(number) } else { number };
            entries.value(index, 0, &mut value);
            session.put(&entries.key(index), &value)?;
            Ok(true)
        })
    })
}

/// Puts every key once, `len` at a time. An operation is an entry, a latency that of a batch.
pub fn batches(
    store: &dyn Store,
    entries: &Entries,
    len: usize,
    seconds_max: f64,
) -> Result<Driven> {
    let limit = Limit { steps: (entries.keys() / len as u64).max(1), seconds: seconds_max };
    let mut driven = drive(store, 1, limit, &|_| -> Step<'_> {
        let mut batch = Vec::new();
        Box::new(move |session, number| {
            fill_batch(entries, number * len as u64, len, &mut batch);
            session.write_batch(&batch)?;
            Ok(true)
        })
    })?;
    driven.operations *= len as u64;
    Ok(driven)
}

/// Loads every key by the engine's own way. The one latency is that of the whole.
pub fn bulk(store: &dyn Store, entries: &Entries) -> Result<Driven> {
    let mut sorted = (0..entries.keys()).map(|index| {
        let mut value = Vec::new();
        entries.value(index, 0, &mut value);
        (entries.key(index), value)
    });
    let start = Instant::now();
    store.bulk_load(&mut sorted)?;
    let elapsed = start.elapsed();
    let mut latencies = histogram()?;
    latencies.saturating_record(elapsed.as_nanos() as u64);
    let (operations, seconds) = (entries.keys(), elapsed.as_secs_f64());
    Ok(Driven { operations, steps_max: 1, seconds, latencies })
}

/// Puts random keys that exist, as many as there are.
pub fn overwrite(
    store: &dyn Store,
    entries: &Entries,
    seed: u64,
    seconds_max: f64,
) -> Result<Driven> {
    let limit = Limit { steps: entries.keys(), seconds: seconds_max };
    drive(store, 1, limit, &|_| -> Step<'_> {
        let (mut numbers, mut value) = (Numbers::new(seed), Vec::new());
        Box::new(move |session, number| {
            let index = numbers.below(entries.keys());
            entries.value(index, number + 1, &mut value);
            session.put(&entries.key(index), &value)?;
            Ok(true)
        })
    })
}

/// Deletes every key once, in scattered order.
pub fn delete(store: &dyn Store, entries: &Entries, seconds_max: f64) -> Result<Driven> {
    let limit = Limit { steps: entries.keys(), seconds: seconds_max };
    drive(store, 1, limit, &|_| -> Step<'_> {
        Box::new(|session, number| {
            session.delete(&entries.key(entries.scattered(number)))?;
            Ok(true)
        })
    })
}

/// Puts scattered keys by `threads` threads for a time, each its own.
pub fn puts(store: &dyn Store, entries: &Entries, threads: usize, seconds: f64) -> Result<Driven> {
    let limit = Limit { steps: u64::MAX, seconds };
    drive(store, threads, limit, &|thread| -> Step<'_> {
        let mut value = Vec::new();
        Box::new(move |session, number| {
            let index = entries.scattered(number * threads as u64 + thread as u64);
            entries.value(index, number, &mut value);
            session.put(&entries.key(index), &value)?;
            Ok(true)
        })
    })
}
