//! Micro-benchmark of compaction: several sstables whose keys are mixed are merged into the last level, by the engine and
//! into synced files, with and without lz4 and with large values apart; the throughput is in entries that are read. Run by
//! hand, to compare one commit with another on one machine; never a check.

// Entry points that only measure need no documentation of their own; a benchmark reads the clock itself.
#![allow(missing_docs, clippy::disallowed_methods)]

use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use esker::{Background, Db, Durability, Keyspace, KeyspaceOptions};

/// Half of the bytes are random, so that lz4 has something to do.
fn value(number: u64, bytes: usize) -> Vec<u8> {
    let mut value = Vec::with_capacity(bytes + 16);
    let mut state = number;
    while value.len() < bytes {
        state = mix(state);
        value.extend_from_slice(&state.to_be_bytes());
        value.extend_from_slice(b"and more");
    }
    value.truncate(bytes);
    value
}

/// SplitMix64's finish, one to one.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&mix(number).to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// What is merged.
struct Case {
    name: &'static str,
    files: u64,
    entries: u64,
    value_bytes: usize,
    options: KeyspaceOptions,
}

fn open(folder: &Path, options: &KeyspaceOptions) -> (Db, Keyspace) {
    let builder = Db::builder().durability(Durability::Buffered).background(Background::Manual);
    let db = builder.open(folder).expect("a database");
    let found = db.existing_keyspace("entries").expect("a healthy database");
    let keyspace = found.map_or_else(|| db.create_keyspace("entries", *options), Ok);
    let keyspace = keyspace.expect("room on the disk");
    (db, keyspace)
}

/// A database with the case's files in level 0.
fn filled(folder: &Path, case: &Case) -> Db {
    let (db, keyspace) = open(folder, &case.options);
    for file in 0..case.files {
        for number in (file..case.entries).step_by(case.files as usize) {
            keyspace.put(key(number), value(number, case.value_bytes)).expect("room on the disk");
        }
        db.flush().expect("room on the disk");
    }
    db
}

/// The time that merging takes, in a copy of the database.
fn merge(db: &Db, case: &Case) -> Duration {
    let folder = tempfile::tempdir().expect("a temporary folder");
    db.checkpoint(folder.path()).expect("an empty folder");
    let (copy, keyspace) = open(folder.path(), &case.options);
    let since = Instant::now();
    keyspace.compact().expect("room on the disk");
    let taken = since.elapsed();
    copy.close().expect("a healthy disk");
    taken
}

fn merges(c: &mut Criterion) {
    let plain = KeyspaceOptions { compress: false, ..Default::default() };
    let lz4 = KeyspaceOptions { compress: true, ..Default::default() };
    let apart = KeyspaceOptions { large_value_bytes: Some(512), ..plain };
    let small = |name, files, options: &KeyspaceOptions| Case {
        name,
        files,
        entries: 100_000,
        value_bytes: 100,
        options: *options,
    };
    let large = |name, options: &KeyspaceOptions| Case {
        name,
        files: 4,
        entries: 20_000,
        value_bytes: 1000,
        options: *options,
    };
    let cases = [
        small("of_2_plain", 2, &plain),
        small("of_4_plain", 4, &plain),
        small("of_16_plain", 16, &plain),
        small("of_4_lz4", 4, &lz4),
        large("of_4_1k_plain", &plain),
        large("of_4_1k_apart", &apart),
    ];
    let mut group = c.benchmark_group("compaction");
    group.sample_size(10);
    for case in cases {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let db = filled(folder.path(), &case);
        group.throughput(Throughput::Elements(case.entries));
        group.bench_function(case.name, |b| {
            b.iter_custom(|count| (0..count).map(|_| merge(&db, &case)).sum());
        });
        db.close().expect("a healthy disk");
    }
    group.finish();
}

criterion_group!(benches, merges);
criterion_main!(benches);
