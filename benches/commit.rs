//! Micro-benchmarks of commits: single puts and batches by 1, 8 and 32 threads, synced and not, through the whole engine.
//! The log's append alone is in `storage.rs`. Run by hand, to compare one commit with another on one machine; never a
//! check.

// Entry points that only measure need no documentation of their own; a benchmark reads the clock itself.
#![allow(missing_docs, clippy::disallowed_methods)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use esker::{Db, Durability, Keyspace};

/// Keys go round below this, so that a long measurement does not fill the disk.
const KEYS: u64 = 200_000;

/// Puts of a batch.
const BATCH: u64 = 100;

fn key(number: u64) -> [u8; 16] {
    let number = number % KEYS;
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The time in which `threads` threads together make `count` calls of `commit`, each with a number of its own.
fn by_threads(threads: u64, count: u64, commit: impl Fn(u64) + Sync) -> Duration {
    let next = AtomicU64::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    commit(number);
                }
            });
        }
    });
    start.elapsed()
}

fn commits(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = Db::open(folder.path()).expect("a fresh folder");
    let entries = db.keyspace("entries").expect("a fresh database");
    for (name, durability) in
        [("commit_synced", Durability::Sync), ("commit_buffered", Durability::Buffered)]
    {
        let mut group = c.benchmark_group(name);
        group.sample_size(20);
        for threads in [1, 8, 32] {
            group.throughput(Throughput::Elements(1));
            group.bench_function(format!("put_by_{threads}"), |b| {
                b.iter_custom(|count| {
                    by_threads(threads, count, |number| put(&entries, number, durability))
                });
            });
        }
        group.throughput(Throughput::Elements(BATCH));
        group.bench_function(format!("batch_of_{BATCH}_by_1"), |b| {
            b.iter_custom(|count| {
                by_threads(1, count, |number| batch(&db, &entries, number, durability))
            });
        });
        group.finish();
    }
    drop(entries);
    db.close().expect("a healthy disk");
}

fn put(entries: &Keyspace, number: u64, durability: Durability) {
    entries.put_with(key(number), [7; 100], durability).expect("a healthy disk");
}

fn batch(db: &Db, entries: &Keyspace, number: u64, durability: Durability) {
    let mut batch = db.batch();
    for place in 0..BATCH {
        batch.put(entries, key(number * BATCH + place), [7; 100]);
    }
    db.write_with(batch, durability).expect("a healthy disk");
}

criterion_group!(benches, commits);
criterion_main!(benches);
