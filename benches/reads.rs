//! Micro-benchmarks of point reads: filter, one sstable, and a whole database that is flushed and merged, from the page
//! cache. Run by hand; never a check.

// Entry points that only measure need no documentation of their own.
#![allow(missing_docs)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use esker::{Db, Durability, Keyspace, KeyspaceOptions};
use esker_base::{EntryKind, FileId, FileNumber, SeqNo, key};
use esker_sstable::{
    BlockCache, Compression, Identity, ReadMode, Reader, Writer, WriterOptions, key_hash,
};
use esker_vfs::World;

const ENTRIES: u64 = 300_000;

/// Even numbers are written, odd ones are not.
fn user_key(number: u64) -> Vec<u8> {
    format!("user{number:016x}").into_bytes()
}

/// 100 bytes, half of them all alike.
fn value(number: u64) -> [u8; 100] {
    let mut value = [b' '; 100];
    for (at, chunk) in value[..48].as_chunks_mut::<8>().0.iter_mut().enumerate() {
        *chunk = mixed(number * 8 + at as u64).to_le_bytes();
    }
    value
}

/// Numbers in no order (SplitMix64's finish).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn sstable(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (fs, dir) = (World::real().fs, folder.path());
    let mut group = c.benchmark_group("reads/sstable");
    group.throughput(Throughput::Elements(1));
    for (number, compression) in [(1, Compression::None), (2, Compression::Lz4)] {
        let options = WriterOptions { compression, ..WriterOptions::default() };
        let id = FileId([number as u8; 16]);
        let mut writer =
            Writer::create(fs.clone(), dir, FileNumber(number), id, options).expect("a new name");
        for number in 0..ENTRIES {
            let key = key::encode(&user_key(2 * number), SeqNo(1), EntryKind::Put);
            writer.add(&key, &value(number)).expect("ascending keys");
        }
        let identity = Identity::from(&writer.finish().expect("room on the disk"));
        // A cache for a small part of the blocks.
        let cache = Arc::new(BlockCache::new(2 << 20));
        let reader =
            Reader::open(&fs, dir, &identity, ReadMode::Mapped, cache).expect("just written");
        let mut number = 0;
        group.bench_function(format!("filter_{compression:?}"), |b| {
            b.iter(|| {
                number += 1;
                reader.may_contain_hash(key_hash(black_box(&user_key(mixed(number)))))
            });
        });
        group.bench_function(format!("hit_{compression:?}"), |b| {
            b.iter(|| {
                number += 1;
                let key = user_key(2 * (mixed(number) % ENTRIES));
                let hash = key_hash(&key);
                let found = reader.get_with(&key, hash, SeqNo::MAX, |found| found.value.len());
                found.expect("a healthy file").expect("it was written")
            });
        });
    }
    group.finish();
}

fn filled(db: &Db, name: &str, compress: bool) -> Keyspace {
    let options = KeyspaceOptions { compress, ..KeyspaceOptions::default() };
    let keyspace = db.create_keyspace(name, options).expect("a new name");
    for first in (0..ENTRIES).step_by(1000) {
        let mut batch = db.batch();
        for number in first..first + 1000 {
            batch.put(&keyspace, user_key(2 * number), value(number));
        }
        db.write(batch).expect("room on the disk");
    }
    keyspace.compact().expect("room on the disk");
    keyspace
}

fn engine(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = Db::builder()
        .memory_budget_bytes(16 << 20)
        .durability(Durability::Buffered)
        .open(folder.path())
        .expect("a new database");
    let mut group = c.benchmark_group("reads/engine");
    for (name, compress) in [("none", false), ("lz4", true)] {
        let keyspace = filled(&db, name, compress);
        let mut number = 0;
        let mut next = |odd: u64| {
            number += 1;
            user_key(2 * (mixed(number) % ENTRIES) + odd)
        };
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("hit_{name}"), |b| {
            b.iter(|| keyspace.get_and(next(0), <[u8]>::len).expect("open").expect("written"));
        });
        group.bench_function(format!("miss_{name}"), |b| {
            b.iter(|| keyspace.get_and(next(1), <[u8]>::len).expect("open"));
        });
        group.throughput(Throughput::Elements(16));
        group.bench_function(format!("many_16_{name}"), |b| {
            b.iter(|| {
                let keys: Vec<Vec<u8>> = (0..16).map(|_| next(0)).collect();
                keyspace.get_many(&keys).expect("open").len()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, sstable, engine);
criterion_main!(benches);
