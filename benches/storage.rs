//! Micro-benchmarks of the parts that hold data: the log's append, the memtable and the sstable. Everything but the
//! log's sync runs from memory or from the page cache. Run by hand; never a check.

// Entry points that only measure need no documentation of their own.
#![allow(missing_docs)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use esker_base::{
    Batch, Cursor, EntryKind, Epoch, FileId, FileNumber, KeyspaceId, LogPosition, SeqNo,
};
use esker_memtable::Memtable;
use esker_sstable::{
    BlockCache, Compression, FilterKind, Identity, ReadMode, Reader, Summary, WriterOptions,
    key_hash,
};
use esker_vfs::{Fs, World};
use esker_wal::{GroupBuilder, SegmentSpec, create_segment};

const ENTRIES: u64 = 100_000;

/// Keys that come in no order (SplitMix64's finish, one to one).
fn user_key(number: u64) -> [u8; 16] {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let mut key = [0; 16];
    key[..8].copy_from_slice(&(z ^ (z >> 31)).to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

fn log(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let world = World::real();
    let mut batch = Batch::new();
    batch.put(KeyspaceId(1), &user_key(1), &[7; 100]).expect("small");
    let mut number = 0;
    let mut group = c.benchmark_group("wal");
    for (name, sync) in [("append_116_bytes", false), ("append_and_sync_116_bytes", true)] {
        group.bench_function(name, |b| {
            // A fresh segment for each measurement, larger than the appends of one can fill.
            number += 1;
            let new_segment = |number| {
                let mut id = [0; 16];
                world.random.fill(&mut id);
                let spec = SegmentSpec {
                    number: FileNumber(number),
                    file_id: FileId(id),
                    epoch: Epoch(1),
                    size_bytes: 256 << 20,
                    zero_fill: false,
                    recycle: None,
                    map: false,
                };
                create_segment(&*world.fs, folder.path(), &spec).expect("room on the disk")
            };
            let mut writer =
                esker_wal::Writer::new(new_segment(number), SeqNo(0), LogPosition::default());
            let mut builder = GroupBuilder::new();
            b.iter(|| {
                builder.start(0, writer.last_seq().next());
                builder.push(batch.as_bytes(), batch.count()).expect("small");
                if !writer.fits(builder.payload().len()) {
                    number += 1;
                    writer.rotate(new_segment(number)).expect("a healthy disk");
                }
                writer.append(&mut builder).expect("a healthy disk");
                if sync {
                    writer.sync().expect("a healthy disk");
                }
            });
        });
    }
    group.finish();
}

fn filled() -> Arc<Memtable> {
    let table = Memtable::new();
    let mut inserter = table.writer();
    for number in 0..ENTRIES {
        inserter.insert(&user_key(number), SeqNo(number + 1), EntryKind::Put, &[7; 100]);
    }
    drop(inserter);
    Arc::new(table)
}

fn memtable(c: &mut Criterion) {
    let mut group = c.benchmark_group("memtable");
    group.sample_size(20);
    group.throughput(Throughput::Elements(ENTRIES));
    group.bench_function("insert_100k_random", |b| {
        b.iter_batched(|| (), |()| filled(), BatchSize::LargeInput);
    });
    let table = filled();
    group.bench_function("scan_100k", |b| b.iter(|| walk(&mut table.cursor())));
    group.throughput(Throughput::Elements(1));
    let mut number = 0;
    group.bench_function("get_random", |b| {
        b.iter(|| {
            number = (number + 7919) % ENTRIES;
            table.get(black_box(&user_key(number)), SeqNo::MAX).is_some()
        });
    });
    group.finish();
}

fn write_sstable(fs: &Arc<dyn Fs>, dir: &Path, number: u64, from: &Arc<Memtable>) -> Summary {
    write_with(WriterOptions::default(), fs, dir, number, from)
}

fn write_with(
    options: WriterOptions,
    fs: &Arc<dyn Fs>,
    dir: &Path,
    number: u64,
    from: &Arc<Memtable>,
) -> Summary {
    let number = FileNumber(number);
    let mut writer =
        esker_sstable::Writer::create(fs.clone(), dir, number, FileId([1; 16]), options)
            .expect("a new name");
    let mut cursor = from.cursor();
    cursor.seek_to_first().expect("in memory");
    while cursor.valid() {
        writer.add(cursor.key(), cursor.value()).expect("ascending keys");
        cursor.next().expect("in memory");
    }
    writer.finish().expect("room on the disk")
}

fn walk(cursor: &mut impl Cursor) -> usize {
    let mut bytes = 0;
    cursor.seek_to_first().expect("a healthy file");
    while cursor.valid() {
        bytes += cursor.key().len() + cursor.value().len();
        cursor.next().expect("a healthy file");
    }
    bytes
}

fn sstable(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (fs, dir) = (World::real().fs, folder.path());
    let entries = filled();
    let mut group = c.benchmark_group("sstable");
    group.sample_size(20);
    group.throughput(Throughput::Elements(ENTRIES));
    let mut number = 1;
    group.bench_function("write_100k", |b| {
        b.iter(|| {
            number += 1;
            write_sstable(&fs, dir, number, &entries).len
        });
    });
    let identity = Identity::from(&write_sstable(&fs, dir, 1, &entries));
    for (mode, name) in [(ReadMode::Mapped, "mapped"), (ReadMode::Positioned, "positioned")] {
        let cache = Arc::new(BlockCache::new(64 << 20));
        let reader = Reader::open(&fs, dir, &identity, mode, cache).expect("just written");
        let reader = Arc::new(reader);
        group.throughput(Throughput::Elements(ENTRIES));
        group.bench_function(format!("scan_100k_{name}"), |b| {
            b.iter(|| walk(&mut reader.cursor(true)));
        });
        group.throughput(Throughput::Elements(1));
        let mut number = 0;
        group.bench_function(format!("get_random_{name}"), |b| {
            b.iter(|| {
                number = (number + 7919) % ENTRIES;
                reader.get(black_box(&user_key(number)), SeqNo::MAX).expect("a healthy file")
            });
        });
        group.bench_function(format!("get_missing_{name}"), |b| {
            b.iter(|| {
                number += 1;
                let missing = user_key(ENTRIES + number);
                reader.get(black_box(&missing), SeqNo::MAX).expect("a healthy file")
            });
        });
    }
    group.finish();
}

/// Building a filter is what writing costs with it beyond writing without; a probe asks for a key that is not there.
fn filter(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (fs, dir) = (World::real().fs, folder.path());
    let entries = filled();
    let mut group = c.benchmark_group("filter");
    group.sample_size(20);
    let mut number = 0;
    for (name, bits, kind) in [
        ("none", 0, FilterKind::Blocked),
        ("blocked", 12, FilterKind::Blocked),
        ("bloom", 12, FilterKind::Bloom),
    ] {
        let options = WriterOptions {
            filter_bits_per_key: bits,
            filter_kind: kind,
            compression: Compression::None,
            ..WriterOptions::default()
        };
        group.throughput(Throughput::Elements(ENTRIES));
        group.bench_function(format!("write_100k_{name}"), |b| {
            b.iter(|| {
                number += 1;
                write_with(options.clone(), &fs, dir, number, &entries).len
            });
        });
        number += 1;
        let identity = Identity::from(&write_with(options, &fs, dir, number, &entries));
        let cache = Arc::new(BlockCache::new(64 << 20));
        let reader =
            Reader::open(&fs, dir, &identity, ReadMode::Mapped, cache).expect("just written");
        group.throughput(Throughput::Elements(1));
        let mut missing = ENTRIES;
        group.bench_function(format!("probe_{name}"), |b| {
            b.iter(|| {
                missing += 1;
                reader.may_contain_hash(key_hash(black_box(&user_key(missing))))
            });
        });
    }
    group.finish();
}

/// A get from a file of a single block: neither filter nor index have anything to do.
fn block(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (fs, dir) = (World::real().fs, folder.path());
    const IN_A_BLOCK: u64 = 25;
    let table = Arc::new(Memtable::new());
    for number in 0..IN_A_BLOCK {
        let seq = SeqNo(number + 1);
        table.writer().insert(&user_key(number), seq, EntryKind::Put, &[7; 100]);
    }
    let mut group = c.benchmark_group("block");
    for (file, compression) in [(1, Compression::None), (2, Compression::Lz4)] {
        let options =
            WriterOptions { filter_bits_per_key: 0, compression, ..WriterOptions::default() };
        let identity = Identity::from(&write_with(options, &fs, dir, file, &table));
        let cache = Arc::new(BlockCache::new(64 << 20));
        let reader =
            Reader::open(&fs, dir, &identity, ReadMode::Mapped, cache).expect("just written");
        let mut number = 0;
        group.bench_function(format!("search_{compression:?}"), |b| {
            b.iter(|| {
                number = (number + 7) % IN_A_BLOCK;
                reader.get(black_box(&user_key(number)), SeqNo::MAX).expect("a healthy file")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, log, memtable, sstable, filter, block);
criterion_main!(benches);
