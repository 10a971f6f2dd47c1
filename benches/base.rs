//! Micro-benchmarks of the vocabulary: varints, frames, batches and the merging cursor. Run by hand, to compare one
//! commit with another on one machine; never a check.

// Entry points that only measure need no documentation of their own.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use esker_base::frame::{self, Parsed};
use esker_base::merge::MergingCursor;
use esker_base::{
    Batch, Cursor, EntryKind, FileId, FileNumber, KeyspaceId, LogPosition, Result, SeqNo, batch,
    key, varint,
};

const ID: FileId = FileId([7; 16]);

fn varints(c: &mut Criterion) {
    let mut bytes = Vec::new();
    for number in 0..1000u64 {
        varint::encode(number * number, &mut bytes);
    }
    let mut group = c.benchmark_group("varint");
    group.throughput(Throughput::Elements(1000));
    group.bench_function("decode_1000", |b| {
        b.iter(|| {
            let mut input = black_box(&bytes[..]);
            let mut sum = 0u64;
            while let Some(value) = varint::decode(&mut input) {
                sum = sum.wrapping_add(value);
            }
            sum
        });
    });
    group.finish();
}

fn frames(c: &mut Criterion) {
    let payload = vec![0xa5; 4096];
    let synced = LogPosition { file: FileNumber(1), offset: 64 };
    let mut file = Vec::new();
    frame::encode(ID, 0, 1, 1, synced, &payload, &mut file);
    let mut group = c.benchmark_group("frame");
    group.throughput(Throughput::Bytes(payload.len() as u64));
    group.bench_function("encode_4k", |b| {
        let mut out = Vec::with_capacity(file.len());
        b.iter(|| {
            out.clear();
            frame::encode(ID, 0, 1, 1, synced, black_box(&payload), &mut out);
        });
    });
    group.bench_function("decode_4k", |b| {
        b.iter(|| match frame::decode(ID, 0, black_box(&file)) {
            Parsed::Frame(found) => found.payload.len(),
            other => panic!("{other:?}"),
        });
    });
    group.finish();
}

fn batches(c: &mut Criterion) {
    let mut full = Batch::new();
    for number in 0..100u64 {
        full.put(KeyspaceId(1), &number.to_be_bytes(), &[1; 100]).expect("far below the limit");
    }
    let mut group = c.benchmark_group("batch");
    group.throughput(Throughput::Elements(100));
    group.bench_function("put_100", |b| {
        let mut batch = Batch::new();
        b.iter(|| {
            batch.clear();
            for number in 0..100u64 {
                let key = black_box(number).to_be_bytes();
                batch.put(KeyspaceId(1), &key, &[1; 100]).expect("far below the limit");
            }
        });
    });
    group.bench_function("ops_100", |b| {
        b.iter(|| {
            batch::ops(black_box(full.as_bytes())).flatten().map(|op| op.key.len()).sum::<usize>()
        });
    });
    group.finish();
}

/// A cursor over sorted keys in memory: what is measured is the merge, not the source.
struct Keys {
    keys: Vec<Vec<u8>>,
    at: usize,
}

impl Cursor for Keys {
    fn valid(&self) -> bool {
        self.at < self.keys.len()
    }
    fn seek_to_first(&mut self) -> Result<()> {
        self.at = 0;
        Ok(())
    }
    fn seek_to_last(&mut self) -> Result<()> {
        self.at = self.keys.len().wrapping_sub(1);
        Ok(())
    }
    fn seek(&mut self, target: &[u8]) -> Result<()> {
        self.at = self.keys.partition_point(|entry| key::compare(entry, target).is_lt());
        Ok(())
    }
    fn seek_for_prev(&mut self, target: &[u8]) -> Result<()> {
        let after = self.keys.partition_point(|entry| key::compare(entry, target).is_le());
        self.at = after.wrapping_sub(1);
        Ok(())
    }
    fn next(&mut self) -> Result<()> {
        self.at += 1;
        Ok(())
    }
    fn prev(&mut self) -> Result<()> {
        self.at = self.at.wrapping_sub(1);
        Ok(())
    }
    fn key(&self) -> &[u8] {
        &self.keys[self.at]
    }
    fn value(&self) -> &[u8] {
        &[]
    }
}

fn merges(c: &mut Criterion) {
    let mut group = c.benchmark_group("merge");
    group.throughput(Throughput::Elements(8000));
    group.bench_function("forward_8_x_1000", |b| {
        let children = || {
            (0..8u64)
                .map(|child| {
                    let user_keys = (0..1000u64).map(|number| (number * 8 + child).to_be_bytes());
                    let keys =
                        user_keys.map(|k| key::encode(&k, SeqNo(1), EntryKind::Put)).collect();
                    Keys { keys, at: usize::MAX }
                })
                .collect()
        };
        b.iter_batched(
            || MergingCursor::new(children()),
            |mut merged| {
                let mut count = 0;
                merged.seek_to_first().expect("keys in memory cannot fail");
                while merged.valid() {
                    count += merged.key().len();
                    merged.next().expect("keys in memory cannot fail");
                }
                count
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, varints, frames, batches, merges);
criterion_main!(benches);
