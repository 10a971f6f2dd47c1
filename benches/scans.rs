//! Micro-benchmarks of walks: short scans from random places over a memtable, level 0 and deeper levels, long walks both
//! ways, owned and lent entries, and merges of many children. Everything runs from the page cache. Run by hand; never a
//! check.

// Entry points that only measure need no documentation of their own.
#![allow(missing_docs)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use esker::{Background, Db, Durability, Keyspace, KeyspaceOptions};
use esker_base::merge::MergingCursor;
use esker_base::{Cursor, EntryKind, SeqNo};
use esker_memtable::Memtable;

const ENTRIES: u64 = 300_000;
const SCAN_LEN: usize = 100;

/// The finish of SplitMix64: one to one, in no order.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn key(number: u64) -> Vec<u8> {
    format!("user{:016x}", mix(number)).into_bytes()
}

/// A value that compresses to about half.
fn value(number: u64) -> [u8; 100] {
    let mut value = [b' '; 100];
    for (at, word) in value[..48].chunks_mut(8).enumerate() {
        word.copy_from_slice(&mix(number * 7 + at as u64).to_le_bytes());
    }
    value
}

/// A keyspace with entries in every place that a walk merges.
fn filled(db: &Db, name: &str, compress: bool) -> Keyspace {
    let options = KeyspaceOptions { compress, ..Default::default() };
    let keyspace = db.create_keyspace(name, options).expect("a new name");
    let put = |numbers: std::ops::Range<u64>| {
        for chunk in numbers.collect::<Vec<_>>().chunks(1000) {
            let mut batch = db.batch();
            chunk.iter().for_each(|&number| batch.put(&keyspace, key(number), value(number)));
            db.write_with(batch, Durability::Volatile).expect("room on the disk");
        }
    };
    put(0..ENTRIES);
    keyspace.compact().expect("room on the disk");
    for part in 1..4 {
        put(ENTRIES / 4 * part..ENTRIES / 4 * part + ENTRIES / 50);
        db.flush().expect("room on the disk");
    }
    put(0..ENTRIES / 100);
    keyspace
}

fn walks(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = Db::builder()
        .memory_budget_bytes(128 << 20)
        .background(Background::Manual)
        .open(folder.path())
        .expect("an empty folder");
    for (name, compress) in [("plain", false), ("lz4", true)] {
        let keyspace = filled(&db, name, compress);
        let mut group = c.benchmark_group(format!("scans_{name}"));
        let mut number = 0;
        let mut start = || {
            number = (number + 7919) % ENTRIES;
            key(number)
        };
        for len in [1, SCAN_LEN] {
            group.throughput(Throughput::Elements(len as u64));
            group.bench_function(format!("from_random_lent_{len}"), |b| {
                b.iter(|| {
                    let mut range = keyspace.range(start()..);
                    let mut bytes = 0;
                    for _ in 0..len {
                        let Some((key, value)) = range.next_entry().expect("healthy") else {
                            break;
                        };
                        bytes += key.len() + value.len();
                    }
                    bytes
                });
            });
        }
        group.bench_function("from_random_owned_100", |b| {
            b.iter(|| keyspace.range(start()..).take(SCAN_LEN).map(Result::unwrap).count());
        });
        group.sample_size(20);
        group.throughput(Throughput::Elements(ENTRIES));
        group.bench_function("all_forward", |b| {
            b.iter(|| {
                let (mut range, mut bytes) = (keyspace.iter(), 0);
                while let Some((key, value)) = range.next_entry().expect("healthy") {
                    bytes += key.len() + usize::from(value[0]);
                }
                bytes
            });
        });
        group.bench_function("all_backward", |b| {
            b.iter(|| {
                let (mut range, mut bytes) = (keyspace.iter(), 0);
                while let Some((key, value)) = range.next_back_entry().expect("healthy") {
                    bytes += key.len() + usize::from(value[0]);
                }
                bytes
            });
        });
        group.finish();
    }
}

fn merges(c: &mut Criterion) {
    let mut group = c.benchmark_group("merge_memtables");
    group.sample_size(20);
    group.throughput(Throughput::Elements(ENTRIES));
    for count in [1, 2, 4, 8, 16] {
        let tables: Vec<Arc<Memtable>> = (0..count).map(|_| Arc::new(Memtable::new())).collect();
        for number in 0..ENTRIES {
            let table = &tables[(mix(number) % count) as usize];
            table.insert(&key(number), SeqNo(number + 1), EntryKind::Put, &value(number));
        }
        group.bench_function(format!("forward_of_{count}"), |b| {
            b.iter(|| {
                let mut merged = MergingCursor::new(tables.iter().map(Memtable::cursor).collect());
                let mut bytes = 0;
                merged.seek_to_first().expect("in memory");
                while merged.valid() {
                    bytes += black_box(merged.key()).len();
                    merged.next().expect("in memory");
                }
                bytes
            });
        });
    }
    group.finish();
}

criterion_group!(benches, walks, merges);
criterion_main!(benches);
