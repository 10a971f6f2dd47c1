//! Micro-benchmarks of what turns values into bytes and back: keys of tables, items, their JSON, and blocks by lz4. Run by
//! hand, to compare one commit with another on one machine; never a check.

// Entry points that only measure need no documentation of their own.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use esker_server::fuzzing::{item_from_json, item_to_json};
use esker_table::item::EncodedItem;
use esker_table::key_codec::{KeyPart, base_key, decode_base_key};
use esker_table::{AttributeValue, Item, Number};

/// About 1 KB in a few attributes of different types.
fn item() -> Item {
    let tags = ["blue", "green", "rather long"].map(AttributeValue::from).to_vec();
    Item::from([
        ("id".into(), AttributeValue::from("user-000000000042")),
        ("age".into(), AttributeValue::from(42)),
        ("balance".into(), AttributeValue::from(-123_456_789_012)),
        ("active".into(), AttributeValue::Bool(true)),
        ("tags".into(), AttributeValue::L(tags)),
        ("photo".into(), AttributeValue::B((0..100).collect())),
        ("text".into(), AttributeValue::from("what a user has written".repeat(32))),
    ])
}

fn keys(c: &mut Criterion) {
    let user = AttributeValue::from("user-000000000042");
    let time = AttributeValue::N(Number::from(1_764_000_000_123_i64));
    let part = |value| KeyPart::from_value(value).expect("a type that keys can have");
    let (partition, sort) = (part(&user), part(&time));
    let encoded = base_key(&partition, Some(&sort));
    let mut group = c.benchmark_group("table_key");
    group.bench_function("encode_string_and_number", |b| {
        b.iter(|| base_key(black_box(&partition), black_box(Some(&sort))));
    });
    group.bench_function("decode_string_and_number", |b| {
        let sort_type = Some(sort.scalar_type());
        b.iter(|| decode_base_key(black_box(&encoded), sort_type).is_ok());
    });
    group.finish();
}

fn items(c: &mut Criterion) {
    let mut item = item();
    let encoded = EncodedItem::encode(&mut item).expect("a valid item");
    let json = item_to_json(&item);
    let mut group = c.benchmark_group("item");
    group.throughput(Throughput::Bytes(encoded.as_bytes().len() as u64));
    group.bench_function("encode_1k", |b| {
        b.iter(|| EncodedItem::encode(black_box(&mut item)).expect("a valid item").logical_size());
    });
    group.bench_function("decode_1k", |b| {
        b.iter(|| black_box(&encoded).decode().expect("just encoded").len());
    });
    group.bench_function("one_attribute_1k", |b| {
        b.iter(|| black_box(&encoded).get(black_box("tags")).is_some());
    });
    group.throughput(Throughput::Bytes(json.len() as u64));
    group.bench_function("to_json_1k", |b| b.iter(|| item_to_json(black_box(&item)).len()));
    group.bench_function("from_json_1k", |b| {
        b.iter(|| item_from_json(black_box(&json)).expect("an item's JSON").len());
    });
    group.finish();
}

/// Entries as blocks have them: keys that begin alike, values half of random bytes.
fn block(bytes: usize) -> Vec<u8> {
    let mut block = Vec::with_capacity(bytes);
    let mut number = 1_u64;
    while block.len() < bytes {
        number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        block.extend_from_slice(b"user00000000");
        (0..7).for_each(|shift| block.extend_from_slice(&number.rotate_left(shift).to_be_bytes()));
        block.resize(block.len() + 50, b' ');
    }
    block.truncate(bytes);
    block
}

fn blocks(c: &mut Criterion) {
    let mut group = c.benchmark_group("lz4");
    for (name, bytes) in [("4k", 4 << 10), ("16k", 16 << 10)] {
        let block = block(bytes);
        let compressed = lz4_flex::block::compress(&block);
        let mut out = vec![0; bytes];
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("compress_{name}"), |b| {
            b.iter(|| lz4_flex::block::compress(black_box(&block)).len());
        });
        group.bench_function(format!("decompress_{name}"), |b| {
            b.iter(|| {
                lz4_flex::block::decompress_into(black_box(&compressed), &mut out)
                    .expect("just compressed")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, keys, items, blocks);
criterion_main!(benches);
