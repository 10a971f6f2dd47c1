//! Models of the memtable: each is run once for every order of events that matters, stale values of
//! weakly ordered loads included. Two threads get all orders; three those in which threads are
//! interrupted at most [`PREEMPTIONS`] times where they need not wait.
//!
//! They run the product's own insert and search; only the atomics, the lock and the look at a node's
//! plain bytes are loom's (see `sync`). Run by `cargo test --manifest-path memtable/loom/Cargo.toml`.
//!
//! Each test without a planted bug passes; `every_planted_bug_is_found` starts this program again
//! with one bug at a time and expects the model named there to fail.
//!
//! What loom does not see, and what looks at it instead:
//! - The bytes themselves: a node's bytes count as one place, written when the node is made and read
//!   with its key. The arena's addresses, the provenance of pointers and the drop of the whole table
//!   are left to the address and thread sanitizers (`scripts/sanitizers.sh`).
//! - A cursor's `Arc`, which is that of `std`: the same.
//! - SeqCst, which the memtable does not use, and loads that see values stored later than what
//!   follows them, which its loads with Acquire rule out.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic as real;

use esker_base::{Cursor, EntryKind, InternalKey, SeqNo, key};
use loom::thread;

use super::check::check_levels;
use super::*;
use crate::sync::AtomicU64;
use crate::sync::modelled::VARIABLE;
use crate::{Memtable, MemtableCursor};

/// How often three threads together may be interrupted.
const PREEMPTIONS: usize = 4;

/// Makes the models themselves leave out what keeps two writers apart, to prove that they find it.
const NO_OWNER: &str = "ESKER_LOOM_NO_OWNER";

/// Whether one writer at a time has the table.
fn owned() -> bool {
    std::env::var_os(NO_OWNER).is_none()
}

type Entry = (Vec<u8>, u64);

/// Runs `model` in every order with at most so many preemptions, `None` for any number.
fn explore(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let orders = Arc::new(real::AtomicUsize::new(0));
    let count = Arc::clone(&orders);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 20_000;
    builder.check(move || {
        count.fetch_add(1, real::Ordering::Relaxed);
        model();
    });
    let name = std::thread::current().name().unwrap_or_default().to_string();
    let orders = orders.load(real::Ordering::Relaxed);
    println!("{name}: {orders} orders");
    assert!(orders >= 10, "the model has next to no choices");
}

/// The value that belongs to an entry, so that a reader can tell a misplaced one.
fn value_of(user_key: &[u8], seq: u64) -> Vec<u8> {
    [user_key, &[seq as u8; 3]].concat()
}

fn insert(table: &Memtable, user_key: &[u8], seq: u64) {
    table.insert(user_key, SeqNo(seq), EntryKind::Put, &value_of(user_key, seq));
}

/// A table with these keys, inserted in this order with sequence numbers from 1.
fn table_with(keys: &[&[u8]]) -> Arc<Memtable> {
    let table = Arc::new(Memtable::new());
    for (user_key, seq) in keys.iter().zip(1..) {
        insert(&table, user_key, seq);
    }
    table
}

/// The height of the node of `user_key`: the models need towers, and the heights come from a fixed
/// seed.
fn height_of(table: &Memtable, user_key: &[u8]) -> u32 {
    let node = table.list().seek(user_key, u64::MAX).unwrap();
    assert_eq!(node.key_parts().0, user_key);
    // SAFETY: S1, S2.
    unsafe { node.node.as_ref() }.height_and_key_len >> KEY_LEN_BITS
}

/// The entry that the cursor is on, which must be whole.
fn entry(cursor: &MemtableCursor) -> Option<Entry> {
    if !cursor.valid() {
        return None;
    }
    let found = InternalKey::decode(cursor.key()).unwrap();
    assert_eq!(cursor.value(), value_of(found.user_key, found.seq.0));
    Some((found.user_key.to_vec(), found.seq.0))
}

/// All entries from the first, which must ascend.
fn walk(table: &Arc<Memtable>) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut cursor = table.cursor();
    let mut before = Vec::new();
    cursor.seek_to_first().unwrap();
    while let Some(found) = entry(&cursor) {
        assert!(before.is_empty() || key::compare(&before, cursor.key()).is_lt());
        before = cursor.key().to_vec();
        entries.push(found);
        cursor.next().unwrap();
    }
    entries
}

fn seek(table: &Arc<Memtable>, user_key: &[u8]) -> Option<Entry> {
    let mut cursor = table.cursor();
    cursor.seek(&key::seek_key(user_key, SeqNo::MAX)).unwrap();
    entry(&cursor)
}

fn seek_for_prev(table: &Arc<Memtable>, user_key: &[u8]) -> Option<Entry> {
    let mut cursor = table.cursor();
    cursor.seek_for_prev(&key::seek_key(user_key, SeqNo::MAX)).unwrap();
    entry(&cursor)
}

/// What a commit owner does: it has the table to itself, takes the next sequence number, inserts and
/// publishes.
fn commit(table: &Memtable, owner: &Mutex<u64>, published: &AtomicU64, user_key: &[u8]) {
    let mut last = owned().then(|| owner.lock().unwrap());
    let seq = last.as_ref().map_or(0, |last| **last) + 1;
    insert(table, user_key, seq);
    published.store(seq, Ordering::Release);
    if let Some(last) = &mut last {
        **last = seq;
    }
}

/// Two threads commit one after the other, a third reads. It meets only whole entries in order, and
/// all that were published before it looked; what it has seen stays.
fn committers_and_a_reader(setup: &'static [&'static [u8]]) {
    let base = setup.len() as u64;
    let table = table_with(setup);
    let owner = Arc::new(Mutex::new(base));
    let published = Arc::new(AtomicU64::new(base));
    let writers = [&b"c"[..], b"d"].map(|user_key| {
        let (table, owner) = (Arc::clone(&table), Arc::clone(&owner));
        let published = Arc::clone(&published);
        thread::spawn(move || commit(&table, &owner, &published, user_key))
    });
    let visible = published.load(Ordering::Acquire);
    let seen = walk(&table);
    for seq in 1..=visible {
        assert!(seen.iter().any(|(_, other)| *other == seq), "{seq} of {visible} in {seen:?}");
    }
    for (user_key, seq) in &seen {
        let found = table.get(user_key, SeqNo(*seq)).unwrap();
        assert_eq!((found.seq, found.value), (SeqNo(*seq), &value_of(user_key, *seq)[..]));
    }
    // A later entry was inserted after an earlier one was complete.
    let newest = seen.iter().map(|(_, seq)| *seq).max().unwrap_or(0);
    assert_eq!(walk(&table).iter().filter(|(_, seq)| *seq <= newest).count() as u64, newest);
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!(check_levels(table.list()) as u64, base + 2);
    assert_eq!(table.len() as u64, base + 2);
    assert_eq!((table.first_seq(), table.last_seq()), (Some(SeqNo(1)), Some(SeqNo(base + 2))));
}

#[test]
fn committers_of_a_new_table_and_a_reader() {
    explore(Some(PREEMPTIONS), || committers_and_a_reader(&[]));
}

#[test]
fn committers_of_a_table_in_use_and_a_reader() {
    explore(Some(PREEMPTIONS), || committers_and_a_reader(&[b"b", b"e"]));
}

/// A node of two levels arrives between two others. Searches for keys on both sides of it find what
/// was there before, and step over the new node only where that is right (S5).
#[test]
fn searches_beside_a_tower() {
    explore(None, || {
        let table = table_with(&[b"a", b"m"]);
        let writer = {
            let table = Arc::clone(&table);
            thread::spawn(move || insert(&table, b"g", 3))
        };
        let (a, g, m) = ((b"a".to_vec(), 1), (b"g".to_vec(), 3), (b"m".to_vec(), 2));
        assert_eq!(seek(&table, b"h").as_ref(), Some(&m));
        let found = seek(&table, b"b").unwrap();
        assert!(found == g || found == m, "{found:?}");
        assert_eq!(table.get(b"m", SeqNo::MAX).unwrap().seq, SeqNo(2));
        assert_eq!(table.get(b"a", SeqNo::MAX).unwrap().seq, SeqNo(1));
        let before = seek_for_prev(&table, b"h").unwrap();
        assert!(before == g || before == a, "{before:?}");
        assert_eq!(seek_for_prev(&table, b"z").as_ref(), Some(&m));
        writer.join().unwrap();
        assert_eq!(height_of(&table, b"g"), 2);
        assert_eq!(check_levels(table.list()), 3);
    });
}

/// What a search finds through the upper levels, a walk along the lowest finds too (S4).
#[test]
fn upper_levels_show_nothing_that_the_lowest_does_not() {
    explore(None, || {
        let table = table_with(&[b"a", b"m"]);
        let writer = {
            let table = Arc::clone(&table);
            thread::spawn(move || insert(&table, b"g", 3))
        };
        let before = seek_for_prev(&table, b"h").unwrap();
        assert!(walk(&table).contains(&before), "{before:?}");
        writer.join().unwrap();
        assert_eq!(height_of(&table, b"g"), 2);
    });
}

/// A node that adds a level to the list arrives at its end while a cursor goes to the end and back.
#[test]
fn a_cursor_beside_a_tower_that_adds_a_level() {
    explore(None, || {
        let setup: [&[u8]; 6] = [b"a", b"b", b"c", b"d", b"e", b"f"];
        let table = table_with(&setup);
        assert_eq!(table.list().height.load(Ordering::Relaxed), 2);
        let writer = {
            let table = Arc::clone(&table);
            thread::spawn(move || insert(&table, b"g", 7))
        };
        let mut cursor = table.cursor();
        cursor.seek_to_last().unwrap();
        let last = entry(&cursor).unwrap();
        assert!(last.1 >= 6, "{last:?}");
        assert!(seek(&table, b"h").is_none());
        cursor.prev().unwrap();
        assert_eq!(entry(&cursor).unwrap().1, last.1 - 1);
        cursor.next().unwrap();
        assert!(entry(&cursor).unwrap().1 >= last.1);
        writer.join().unwrap();
        assert_eq!(height_of(&table, b"g"), 3);
        assert_eq!(check_levels(table.list()), 7);
    });
}

/// A second version of a key arrives: a reader gets the old one or the new one, whole, never the old
/// one after the new one, and always the one of its sequence number.
#[test]
fn versions_of_one_key() {
    explore(None, || {
        let table = table_with(&[b"j", b"k", b"l"]);
        let writer = {
            let table = Arc::clone(&table);
            thread::spawn(move || {
                insert(&table, b"k", 4);
                insert(&table, b"k", 5);
            })
        };
        let mut before = 0;
        for _ in 0..2 {
            let found = table.get(b"k", SeqNo::MAX).unwrap();
            assert!([2, 4, 5].contains(&found.seq.0) && found.seq.0 >= before, "{found:?}");
            assert_eq!(found.value, value_of(b"k", found.seq.0));
            before = found.seq.0;
        }
        assert_eq!(table.get(b"k", SeqNo(3)).unwrap().seq, SeqNo(2));
        if before == 5 {
            assert_eq!(table.get(b"k", SeqNo(4)).unwrap().seq, SeqNo(4));
        }
        writer.join().unwrap();
        assert_eq!(check_levels(table.list()), 5);
    });
}

/// Two threads that try to insert at the same time: each either has the list, its arena and its
/// counters to itself or is turned away. The values are large enough that the arena has to grow.
#[test]
fn two_threads_try_to_insert() {
    explore(None, || {
        const LARGE: usize = 1_300;
        let list = Arc::new(SkipList::new(TagBase::new(b"")));
        let bytes = Arc::new(AtomicUsize::new(0));
        let try_insert = |user_key: &'static [u8]| {
            let (list, bytes) = (Arc::clone(&list), Arc::clone(&bytes));
            move || {
                let Some(mut writer) = list.try_writer() else { return false };
                let before = writer.allocated_bytes();
                for seq in 1..=2 {
                    writer.insert(user_key, seq << 8 | 2, &[user_key[0]; LARGE]);
                }
                let added = writer.allocated_bytes() - before;
                let _held = owned().then_some(writer);
                // A load and a store do for an addition, as in the table's counters.
                bytes.store(bytes.load_own() + added, Ordering::Relaxed);
                true
            }
        };
        let other = thread::spawn(try_insert(b"a"));
        let mine = try_insert(b"b")();
        let others = other.join().unwrap();
        assert!(mine || others);
        let inserted = 2 * (usize::from(mine) + usize::from(others));
        assert_eq!(check_levels(&list), inserted);
        let mut node = list.first();
        while let Some(at) = node {
            assert_eq!(at.value(), [at.key()[0]; LARGE]);
            node = at.next();
        }
        let writer = list.try_writer().unwrap();
        assert_eq!(writer.allocated_bytes(), bytes.load(Ordering::Relaxed));
    });
}

/// Whether `model` passes in a process of its own, with `variable` set.
fn passes(model: &str, variable: &str, value: &str) -> bool {
    let name = format!("skiplist::models::{model}");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture", "--test-threads", "1"])
        .env(variable, value)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("running 1 test"), "{model} is no model:\n{said}");
    let why = String::from_utf8_lossy(&output.stderr);
    let line = why.lines().find(|line| !line.is_empty() && !line.contains("thread '"));
    println!("{model} with {value}: {}", line.unwrap_or("passes"));
    output.status.success()
}

/// A model that cannot fail proves nothing.
#[test]
fn every_planted_bug_is_found() {
    for bug in Bug::ALL {
        let model = match bug {
            Bug::NextStoreRelaxed => "versions_of_one_key",
            Bug::TagStoreRelaxed => "searches_beside_a_tower",
            Bug::TagBeforeNext => "searches_beside_a_tower",
            Bug::HighestLevelFirst => "upper_levels_show_nothing_that_the_lowest_does_not",
            Bug::HeadStoreRelaxed => "committers_of_a_new_table_and_a_reader",
            Bug::NextLoadRelaxed => "versions_of_one_key",
            Bug::TagLoadRelaxed => "searches_beside_a_tower",
            Bug::HeadLoadRelaxed => "committers_of_a_new_table_and_a_reader",
        };
        assert!(!passes(model, VARIABLE, &format!("{bug:?}")), "{model} does not find {bug:?}");
    }
    for model in ["committers_of_a_table_in_use_and_a_reader", "two_threads_try_to_insert"] {
        assert!(!passes(model, NO_OWNER, "1"), "{model} needs no owner");
    }
}
