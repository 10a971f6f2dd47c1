//! Tests of the memtable as its users see it: against a sorted map, with readers beside the writer,
//! and its counters.
#![allow(clippy::unwrap_used)]

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use esker_base::limits::{BATCH_LEN_MAX, KEY_LEN_MAX};
use esker_base::{Cursor, EntryKind, InternalKey, SeqNo, key};
use proptest::prelude::*;

use crate::{Memtable, MemtableCursor};

/// The order of internal keys, by tuples.
type Place = (Vec<u8>, Reverse<u64>);
type Versions = BTreeMap<Place, (EntryKind, Vec<u8>)>;

fn kind_of(delete: bool) -> EntryKind {
    if delete { EntryKind::Delete } else { EntryKind::Put }
}

/// Short keys from few bytes collide and share prefixes; 0x00 and 0xff are where padding and bounds
/// go wrong.
fn user_key() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop::sample::select(vec![0_u8, 1, b'a', 0xfe, 0xff]);
    prop_oneof![
        4 => prop::collection::vec(byte.clone(), 0..4),
        2 => prop::collection::vec(byte.clone(), 0..3)
            .prop_map(|tail| [b"aaaaaaaa", &tail[..]].concat()),
        1 => prop::collection::vec(byte, 0..3).prop_map(|tail| [&[0xff; 8], &tail[..]].concat()),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Insert { key: Vec<u8>, delete: bool, value_len: usize },
    Get { key: Vec<u8>, seq: u64 },
    First,
    Last,
    Seek { key: Vec<u8>, seq: u64 },
    SeekForPrev { key: Vec<u8>, seq: u64 },
    Next,
    Prev,
}

fn step() -> impl Strategy<Value = Step> {
    let insert = (user_key(), any::<bool>(), prop_oneof![9 => 0_usize..20, 1 => 500_usize..9_000]);
    prop_oneof![
        6 => insert.prop_map(|(key, delete, value_len)| Step::Insert { key, delete, value_len }),
        3 => (user_key(), 0_u64..100).prop_map(|(key, seq)| Step::Get { key, seq }),
        1 => Just(Step::First),
        1 => Just(Step::Last),
        2 => (user_key(), 0_u64..100).prop_map(|(key, seq)| Step::Seek { key, seq }),
        2 => (user_key(), 0_u64..100).prop_map(|(key, seq)| Step::SeekForPrev { key, seq }),
        5 => Just(Step::Next),
        5 => Just(Step::Prev),
    ]
}

/// The model's entry as the cursor shows it.
fn shown(entry: (&Place, &(EntryKind, Vec<u8>))) -> (Vec<u8>, Vec<u8>) {
    let ((user_key, seq), (kind, value)) = entry;
    (key::encode(user_key, SeqNo(seq.0), *kind), value.clone())
}

fn current(cursor: &MemtableCursor) -> Option<(Vec<u8>, Vec<u8>)> {
    cursor.valid().then(|| (cursor.key().to_vec(), cursor.value().to_vec()))
}

fn walk(steps: Vec<Step>, prefix: &[u8]) -> Result<(), TestCaseError> {
    let table = Arc::new(Memtable::with_common_prefix(prefix));
    let mut model = Versions::new();
    let mut cursor = table.cursor();
    // The model's key of the cursor's entry.
    let mut at = None;
    let mut seq_next = 1;
    for step in steps {
        let place = |key: &Vec<u8>, seq: u64| (key.clone(), Reverse(seq));
        match step {
            Step::Insert { key, delete, value_len } => {
                let value = vec![seq_next as u8; if delete { 0 } else { value_len }];
                table.insert(&key, SeqNo(seq_next), kind_of(delete), &value);
                model.insert(place(&key, seq_next), (kind_of(delete), value));
                seq_next += 1;
            }
            Step::Get { key, seq } => {
                let expected =
                    model.range(place(&key, seq)..).next().filter(|((found, _), _)| *found == key);
                let found = table.get(&key, SeqNo(seq));
                prop_assert_eq!(
                    found.map(|found| (found.seq.0, found.kind, found.value.to_vec())),
                    expected.map(|((_, seq), (kind, value))| (seq.0, *kind, value.clone()))
                );
            }
            Step::First => {
                cursor.seek_to_first()?;
                at = model.keys().next().cloned();
            }
            Step::Last => {
                cursor.seek_to_last()?;
                at = model.keys().next_back().cloned();
            }
            Step::Seek { key, seq } => {
                cursor.seek(&key::seek_key(&key, SeqNo(seq)))?;
                at = model.range(place(&key, seq)..).next().map(|(at, _)| at.clone());
            }
            Step::SeekForPrev { key, seq } => {
                // At the entry itself, where there is one.
                let kind = model.get(&place(&key, seq)).map_or(EntryKind::Put, |(kind, _)| *kind);
                cursor.seek_for_prev(&key::encode(&key, SeqNo(seq), kind))?;
                at = model.range(..=place(&key, seq)).next_back().map(|(at, _)| at.clone());
            }
            Step::Next => {
                if let Some(here) = at.take() {
                    cursor.next()?;
                    at = model.range(&here..).nth(1).map(|(at, _)| at.clone());
                }
            }
            Step::Prev => {
                if let Some(here) = at.take() {
                    cursor.prev()?;
                    at = model.range(..&here).next_back().map(|(at, _)| at.clone());
                }
            }
        }
        let expected = at.as_ref().map(|at| shown(model.get_key_value(at).unwrap()));
        prop_assert_eq!(current(&cursor), expected);
    }

    let forward: Vec<_> = model.iter().map(shown).collect();
    prop_assert_eq!(&all_forward(&table), &forward);
    let mut backward = all_backward(&table);
    backward.reverse();
    prop_assert_eq!(&backward, &forward);
    prop_assert!(forward.is_sorted_by(|a, b| key::compare(&a.0, &b.0).is_lt()));
    prop_assert_eq!(table.len(), model.len());
    let deletes = model.values().filter(|(kind, _)| *kind == EntryKind::Delete).count();
    prop_assert_eq!(table.delete_count(), deletes);
    prop_assert_eq!(table.last_seq(), (seq_next > 1).then(|| SeqNo(seq_next - 1)));
    Ok(())
}

fn all_forward(table: &Arc<Memtable>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut cursor = table.cursor();
    let mut all = Vec::new();
    cursor.seek_to_first().unwrap();
    while let Some(entry) = current(&cursor) {
        all.push(entry);
        cursor.next().unwrap();
    }
    all
}

fn all_backward(table: &Arc<Memtable>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut cursor = table.cursor();
    let mut all = Vec::new();
    cursor.seek_to_last().unwrap();
    while let Some(entry) = current(&cursor) {
        all.push(entry);
        cursor.prev().unwrap();
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 256 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Whatever is inserted and asked in whatever order, the table answers as a sorted map does.
    #[test]
    fn a_memtable_answers_like_a_sorted_map(
        steps in prop::collection::vec(step(), 1..if cfg!(miri) { 40 } else { 300 }),
        prefix in prop_oneof![Just(vec![]), Just(b"aaaaaaaa".to_vec()), user_key()],
    ) {
        walk(steps, &prefix)?;
    }
}

#[test]
fn an_empty_table_answers_and_holds_no_memory() {
    let table = Arc::new(Memtable::new());
    assert!(table.is_empty() && table.get(b"k", SeqNo::MAX).is_none());
    assert_eq!((table.first_seq(), table.last_seq()), (None, None));
    assert_eq!((table.memory_bytes(), table.common_prefix()), (0, &b""[..]));
    let mut cursor = table.cursor();
    assert!(!cursor.valid());
    cursor.seek_to_first().unwrap();
    assert!(!cursor.valid());
    cursor.seek_to_last().unwrap();
    assert!(!cursor.valid());
    cursor.seek(&key::seek_key(b"", SeqNo::MAX)).unwrap();
    assert!(!cursor.valid());
    cursor.seek_for_prev(&key::last_key(b"z")).unwrap();
    assert!(!cursor.valid());
}

#[test]
fn sequence_numbers_may_come_in_any_order() {
    let table = Memtable::new();
    for seq in [5, 9, 2, SeqNo::MAX.0, 0] {
        table.insert(b"k", SeqNo(seq), EntryKind::Put, &seq.to_le_bytes());
    }
    assert_eq!((table.first_seq(), table.last_seq()), (Some(SeqNo(0)), Some(SeqNo::MAX)));
    for (read, found) in
        [(0, 0), (1, 0), (4, 2), (5, 5), (8, 5), (100, 9), (SeqNo::MAX.0, SeqNo::MAX.0)]
    {
        assert_eq!(table.get(b"k", SeqNo(read)).unwrap().seq, SeqNo(found));
    }
}

#[test]
fn the_largest_keys_and_values_fit() {
    let table = Memtable::new();
    let long = vec![0xff; KEY_LEN_MAX];
    table.insert(&long, SeqNo(1), EntryKind::Put, b"v");
    table.insert(b"", SeqNo(2), EntryKind::Put, b"");
    assert_eq!(table.get(&long, SeqNo::MAX).unwrap().value, b"v");
    assert_eq!(table.get(b"", SeqNo::MAX).unwrap().value, b"");
    assert!(table.get(&long[1..], SeqNo::MAX).is_none());
    if !cfg!(miri) {
        let value = vec![7; BATCH_LEN_MAX];
        table.insert(b"large", SeqNo(3), EntryKind::Put, &value);
        assert_eq!(table.get(b"large", SeqNo::MAX).unwrap().value, value);
    }
}

#[test]
#[should_panic(expected = "only one thread inserts")]
fn a_second_writer_is_refused() {
    let table = Memtable::new();
    let _first = table.writer();
    let _second = table.writer();
}

#[test]
fn a_refused_insert_leaves_the_table_usable() {
    let table = Memtable::new();
    table.insert(b"k", SeqNo(1), EntryKind::Put, b"first");
    let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        table.insert(b"k", SeqNo(1), EntryKind::Put, b"again");
    }));
    assert!(again.is_err());
    table.insert(b"k", SeqNo(2), EntryKind::Delete, b"");
    assert_eq!(table.len(), 2);
    assert_eq!(table.get(b"k", SeqNo(1)).unwrap().value, b"first");
    assert_eq!(table.get(b"k", SeqNo(2)).unwrap().kind, EntryKind::Delete);
}

#[test]
fn memory_follows_the_entries() {
    let table = Memtable::new();
    table.insert(b"k", SeqNo(1), EntryKind::Put, b"v");
    assert_eq!(table.memory_bytes(), 4096);
    let mut entries = 0;
    let mut seq: u64 = 1;
    while entries < 4 << 20 {
        seq += 1;
        let value = vec![0; (seq * 37 % 3_000) as usize];
        table.insert(&seq.to_be_bytes(), SeqNo(seq), EntryKind::Put, &value);
        entries += value.len() + 16;
    }
    let held = table.memory_bytes();
    assert!(held > entries && held < entries * 5 / 4 + (1 << 20), "{held} for {entries}");
    assert_eq!(table.len() as u64, seq);
}

#[test]
fn the_common_prefix_is_that_of_all_keys() {
    let table = Memtable::new();
    for (seq, key) in [&b"user:17"[..], b"user:1", b"user:29"].into_iter().enumerate() {
        table.insert(key, SeqNo(seq as u64), EntryKind::Put, b"");
    }
    assert_eq!(table.common_prefix(), b"user:");
    assert_eq!(Memtable::with_common_prefix(&[1; 1000]).memory_bytes(), 256);
}

#[test]
fn a_cursor_outlives_every_other_handle() {
    let table = Arc::new(Memtable::new());
    table.insert(b"k", SeqNo(1), EntryKind::Put, b"v");
    let mut cursor = table.cursor();
    drop(table);
    cursor.seek_to_first().unwrap();
    let cursor = thread::spawn(move || {
        assert_eq!(cursor.value(), b"v");
        cursor
    })
    .join()
    .unwrap();
    assert_eq!(cursor.key(), key::encode(b"k", SeqNo(1), EntryKind::Put));
}

/// The value that belongs to an entry, so that a reader can tell a torn or misplaced one.
fn value_of(user_key: &[u8], seq: u64) -> Vec<u8> {
    let mut value = user_key.to_vec();
    value.extend_from_slice(&seq.to_le_bytes());
    value.resize(16 + (seq % 50) as usize, seq as u8);
    value
}

fn check(entry_key: &[u8], value: &[u8]) {
    let entry = InternalKey::decode(entry_key).unwrap();
    assert_eq!(value, value_of(entry.user_key, entry.seq.0));
}

/// While one thread inserts, readers see ordered, whole entries, and everything up to the published
/// sequence number.
#[test]
fn readers_beside_the_writer_see_order_and_whole_entries() {
    let entries: u64 = if cfg!(miri) { 150 } else { 60_000 };
    let keys = entries / 3;
    // A function of the sequence number, so that a reader can compute which key got which.
    let key_of = move |seq: u64| (seq.wrapping_mul(7_919) % keys).to_be_bytes();
    let table = Arc::new(Memtable::new());
    let published = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..3_u64)
        .map(|reader| {
            let (table, published) = (Arc::clone(&table), Arc::clone(&published));
            thread::spawn(move || {
                let mut random = 0x5eed + reader;
                let mut rounds = 0_u64;
                loop {
                    let visible = published.load(Ordering::Acquire);
                    read_once(&table, reader, visible, &key_of, &mut random);
                    rounds += 1;
                    if visible == entries {
                        return rounds;
                    }
                }
            })
        })
        .collect();
    let mut inserter = table.writer();
    for seq in 1..=entries {
        let user_key = key_of(seq);
        inserter.insert(&user_key, SeqNo(seq), EntryKind::Put, &value_of(&user_key, seq));
        published.store(seq, Ordering::Release);
    }
    drop(inserter);
    for reader in readers {
        assert!(reader.join().unwrap() > 0);
    }
    assert_eq!(all_forward(&table).len() as u64, entries);
}

fn read_once(
    table: &Arc<Memtable>,
    reader: u64,
    visible: u64,
    key_of: &impl Fn(u64) -> [u8; 8],
    random: &mut u64,
) {
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    if visible > 0 {
        let seq = 1 + (*random >> 20) % visible;
        let user_key = key_of(seq);
        let found = table.get(&user_key, SeqNo(seq)).unwrap();
        assert_eq!((found.seq, found.value), (SeqNo(seq), &value_of(&user_key, seq)[..]));
        assert!(table.get(&user_key, SeqNo(visible)).unwrap().seq >= SeqNo(seq));
    }
    let mut cursor = table.cursor();
    let from = key::seek_key(&key_of(*random >> 8), SeqNo::MAX);
    let backward = reader == 1;
    if backward { cursor.seek_for_prev(&from) } else { cursor.seek(&from) }.unwrap();
    let mut before = from;
    for _ in 0..if cfg!(miri) { 5 } else { 100 } {
        if !cursor.valid() {
            return;
        }
        check(cursor.key(), cursor.value());
        let order = key::compare(&before, cursor.key());
        assert!(if backward { order.is_gt() } else { order.is_lt() }, "{before:?}");
        before = cursor.key().to_vec();
        if backward { cursor.prev() } else { cursor.next() }.unwrap();
    }
}
