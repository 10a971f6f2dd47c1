//! Models of the memtable: each is run once for every order of events that matters, stale values of
//! weakly ordered loads included. Two threads get all orders; three those in which threads are
//! interrupted at most [`PREEMPTIONS`] times where they need not wait.
//!
//! They run the product's own insert and search; only the atomics, the lock and the look at an entry's
//! plain bytes are loom's (see `sync`). Run by `cargo test --manifest-path memtable/loom/Cargo.toml`.
//!
//! Each test without a planted bug passes; `every_planted_bug_is_found` starts this program again
//! with one bug at a time and expects the model named there to fail.
//!
//! What loom does not see, and what looks at it instead:
//! - The bytes themselves: an entry's bytes count as one place, written when the entry is made and read
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

use super::check::check_tree;
use super::*;
use crate::sync::modelled::VARIABLE;
use crate::sync::{AtomicU64, AtomicUsize};
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
    assert_eq!(check_tree(table.tree()) as u64, base + 2);
    assert_eq!(table.len() as u64, base + 2);
    assert_eq!((table.first_seq(), table.last_seq()), (Some(SeqNo(1)), Some(SeqNo(base + 2))));
}

#[test]
fn committers_of_a_new_table_and_a_reader() {
    explore(Some(PREEMPTIONS), || committers_and_a_reader(&[]));
}

#[test]
fn committers_of_a_table_in_use_and_a_reader() {
    // A leaf is replaced: many more steps than elsewhere.
    explore(Some(PREEMPTIONS - 1), || committers_and_a_reader(&[b"b", b"e"]));
}

/// Two full leaves under one root.
const TWO_LEAVES: &[&[u8]] = &[b"a", b"c", b"e", b"g", b"i", b"k"];

/// Three full leaves under a full root.
const FULL_ROOT: &[&[u8]] = &[b"a", b"c", b"e", b"g", b"i", b"k", b"m", b"o", b"q"];

fn entry_of(setup: &[&[u8]], at: usize) -> Entry {
    (setup[at].to_vec(), at as u64 + 1)
}

/// While `added` is inserted into the tree of `setup`, `look` looks; what is in the tree after that.
fn beside_an_insert(setup: &[&[u8]], added: &'static [u8], look: impl Fn(&Arc<Memtable>, &Entry)) {
    let table = table_with(setup);
    let seq = setup.len() as u64 + 1;
    let writer = {
        let table = Arc::clone(&table);
        thread::spawn(move || insert(&table, added, seq))
    };
    look(&table, &(added.to_vec(), seq));
    writer.join().unwrap();
    assert_eq!(check_tree(table.tree()), setup.len() + 1);
}

/// The only leaf is replaced and gets a root. Searches for keys on both sides find what was there before, and step over
/// the new entry only where that is right.
#[test]
fn searches_beside_the_first_split() {
    explore(None, || {
        let setup: [&[u8]; 3] = [b"a", b"m", b"o"];
        beside_an_insert(&setup, b"g", |table, added| {
            let found = seek(table, b"b").unwrap();
            assert!(found == *added || found == entry_of(&setup, 1), "{found:?}");
            assert_eq!(seek(table, b"h"), Some(entry_of(&setup, 1)));
            assert_eq!(table.get(b"o", SeqNo::MAX).unwrap().seq, SeqNo(3));
        });
    });
}

/// A leaf below a root is replaced by two: a search that saw the root as it was before and the left one meets nothing but
/// what it would have met before or after (T4).
#[test]
fn searches_beside_a_split() {
    explore(None, || {
        beside_an_insert(TWO_LEAVES, b"h", |table, _| {
            assert_eq!(table.get(b"k", SeqNo::MAX).unwrap().seq, SeqNo(6));
        });
    });
    explore(None, || {
        beside_an_insert(TWO_LEAVES, b"h", |table, added| {
            let found = seek(table, b"h").unwrap();
            assert!(found == *added || found == entry_of(TWO_LEAVES, 4), "{found:?}");
        });
    });
    explore(None, || {
        beside_an_insert(TWO_LEAVES, b"h", |table, added| {
            let found = seek_for_prev(table, b"i0").unwrap();
            assert_eq!(found, entry_of(TWO_LEAVES, 4));
            let found = seek_for_prev(table, b"h0").unwrap();
            assert!(found == *added || found == entry_of(TWO_LEAVES, 3), "{found:?}");
        });
    });
}

/// A leaf and the root above it are replaced.
#[test]
fn searches_beside_the_split_of_an_inner_node() {
    explore(Some(PREEMPTIONS), || {
        beside_an_insert(FULL_ROOT, b"b", |table, _| {
            assert_eq!(table.get(b"e", SeqNo::MAX).unwrap().seq, SeqNo(3));
            assert_eq!(table.get(b"q", SeqNo::MAX).unwrap().seq, SeqNo(9));
        });
    });
    explore(Some(PREEMPTIONS), || {
        beside_an_insert(FULL_ROOT, b"r", |table, added| {
            let mut cursor = table.cursor();
            cursor.seek_to_last().unwrap();
            let last = entry(&cursor).unwrap();
            assert!(last == *added || last == entry_of(FULL_ROOT, 8), "{last:?}");
        });
    });
}

/// A walk forward comes to a leaf that is replaced: it meets all that was there, and the new entry whole.
#[test]
fn a_walk_beside_a_split() {
    explore(None, || {
        beside_an_insert(TWO_LEAVES, b"h", |table, added| {
            let mut cursor = table.cursor();
            cursor.seek(&key::seek_key(b"e", SeqNo::MAX)).unwrap();
            let mut seen = Vec::new();
            while let Some(found) = entry(&cursor) {
                seen.push(found);
                cursor.next().unwrap();
            }
            seen.retain(|found| found != added);
            assert_eq!(seen, [2, 3, 4, 5].map(|at| entry_of(TWO_LEAVES, at)));
        });
    });
}

/// A walk backward comes to a leaf that is replaced.
#[test]
fn a_walk_backward_beside_a_split() {
    explore(None, || {
        beside_an_insert(TWO_LEAVES, b"d", |table, added| {
            let mut cursor = table.cursor();
            cursor.seek_for_prev(&key::seek_key(b"h", SeqNo::MAX)).unwrap();
            let mut seen = Vec::new();
            while let Some(found) = entry(&cursor) {
                seen.push(found);
                cursor.prev().unwrap();
            }
            seen.retain(|found| found != added);
            assert_eq!(seen, [3, 2, 1, 0].map(|at| entry_of(TWO_LEAVES, at)));
        });
    });
}

/// A cursor stands in the leaf that is replaced, and goes on from there both ways.
#[test]
fn a_cursor_whose_leaf_is_replaced() {
    explore(None, || {
        let setup: [&[u8]; 3] = [b"a", b"c", b"e"];
        beside_an_insert(&setup, b"d", |table, added| {
            let mut cursor = table.cursor();
            cursor.seek(&key::seek_key(b"c", SeqNo::MAX)).unwrap();
            cursor.next().unwrap();
            let found = entry(&cursor).unwrap();
            assert!(found == *added || found == entry_of(&setup, 2), "{found:?}");
            cursor.prev().unwrap();
            let back = entry(&cursor).unwrap();
            assert!(back == entry_of(&setup, 1) || found != *added && back == *added, "{back:?}");
        });
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
        assert_eq!(check_tree(table.tree()), 5);
    });
}

/// Two threads that try to insert at the same time: each either has the list, its arena and its
/// counters to itself or is turned away. The values are large enough that the arena has to grow.
#[test]
fn two_threads_try_to_insert() {
    explore(None, || {
        const LARGE: usize = 1_300;
        let list = Arc::new(Tree::new(TagBase::new(b"")));
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
        assert_eq!(check_tree(&list), inserted);
        let mut place = list.first();
        while let Some(at) = place {
            assert_eq!(at.entry().value(), [at.entry().key()[0]; LARGE]);
            place = at.next();
        }
        let writer = list.try_writer().unwrap();
        assert_eq!(writer.allocated_bytes(), bytes.load(Ordering::Relaxed));
    });
}

/// Whether `model` passes in a process of its own, with `variable` set.
fn passes(model: &str, variable: &str, value: &str) -> bool {
    let name = format!("tree::models::{model}");
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
            Bug::OrderStoreRelaxed | Bug::OrderLoadRelaxed => "versions_of_one_key",
            Bug::ChildStoreRelaxed | Bug::ChildLoadRelaxed => "searches_beside_a_split",
            Bug::NeighbourStoreRelaxed | Bug::NeighbourLoadRelaxed => "a_walk_beside_a_split",
            Bug::RootStoreRelaxed | Bug::RootLoadRelaxed => {
                "committers_of_a_new_table_and_a_reader"
            }
            Bug::LeftBeforeRight | Bug::SplitNotNoticed => "searches_beside_a_split",
        };
        assert!(!passes(model, VARIABLE, &format!("{bug:?}")), "{model} does not find {bug:?}");
    }
    for model in ["committers_of_a_table_in_use_and_a_reader", "two_threads_try_to_insert"] {
        assert!(!passes(model, NO_OWNER, "1"), "{model} needs no owner");
    }
}
