//! Micro-benchmarks of bulk loads: sorted entries through `Keyspace::ingest`, and through batches and a flush. Run by
//! hand, to compare one commit with another on one machine; never a check.

// Entry points that only measure need no documentation of their own; a benchmark reads the clock itself.
#![allow(missing_docs, clippy::disallowed_methods)]

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use esker::{Db, Durability, Keyspace};

/// Puts of a batch.
const BATCH: u64 = 10_000;

/// Half random, half compressible; made before the clock runs.
fn values() -> Vec<[u8; 100]> {
    let mut state = 1u64;
    let value = |_| {
        let mut value = [b'v'; 100];
        for part in value[..50].chunks_mut(8) {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            part.copy_from_slice(&state.to_be_bytes()[..part.len()]);
        }
        value
    };
    (0..1024).map(value).collect()
}

fn key(number: u64) -> [u8; 20] {
    let mut key = *b"user0000000000000000";
    key[12..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The time that `load` takes on a fresh database.
fn fresh(load: impl Fn(&Db, &Keyspace)) -> Duration {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = Db::open(folder.path()).expect("a fresh folder");
    let entries = db.keyspace("entries").expect("a fresh database");
    let start = Instant::now();
    load(&db, &entries);
    start.elapsed()
}

fn ingest(c: &mut Criterion) {
    let values = values();
    let entries = |count: u64| (0..count).map(|n| (key(n), &values[n as usize % values.len()]));
    let mut group = c.benchmark_group("bulk_load");
    group.sample_size(10);
    for count in [1_000u64, 100_000, 1_000_000] {
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::new("ingest", count), |b| {
            b.iter_custom(|rounds| {
                let load = |_: &Db, keyspace: &Keyspace| {
                    keyspace.ingest(entries(count)).expect("a sound disk");
                };
                (0..rounds).map(|_| fresh(load)).sum()
            });
        });
        group.bench_function(BenchmarkId::new("batches", count), |b| {
            b.iter_custom(|rounds| {
                let load = |db: &Db, keyspace: &Keyspace| {
                    let mut entries = entries(count).peekable();
                    while entries.peek().is_some() {
                        let mut batch = db.batch();
                        for (key, value) in entries.by_ref().take(BATCH as usize) {
                            batch.put(keyspace, key, value);
                        }
                        db.write_with(batch, Durability::Buffered).expect("a sound disk");
                    }
                    db.flush().expect("a sound disk");
                };
                (0..rounds).map(|_| fresh(load)).sum()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, ingest);
criterion_main!(benches);
