//! The memtable: the tree with its counters and the engine's vocabulary.
//!
//! The commit owner inserts; reads, scans and the flush look. This file contains no unsafe code.

use std::sync::Arc;

use esker_base::{EntryKind, SeqNo, key};

use crate::MemtableCursor;
use crate::sync::{AtomicU64, AtomicUsize, Ordering, OwnLoad};
use crate::tag::TagBase;
use crate::tree::{APPROACH_MAX, Tree, Writer, prefetch_bytes};

/// The longest shared prefix worth keeping, in bytes.
const COMMON_PREFIX_LEN_MAX: usize = 256;

/// The kind byte of a search: above every real kind, so that it comes before every entry of its
/// sequence number.
const SEEK_KIND: u64 = 0xff;

/// No sequence number: those have 56 bits.
const NO_SEQ: u64 = u64::MAX;

/// The newest entries of a keyspace, sorted by [`esker_base::key::compare`].
///
/// One thread at a time inserts, through [`Memtable::writer`]; any number read meanwhile without
/// waiting. Nothing is removed before the whole table is dropped.
///
/// ```
/// use esker_base::{EntryKind, SeqNo};
/// let table = esker_memtable::Memtable::new();
/// table.insert(b"k", SeqNo(1), EntryKind::Put, b"old");
/// table.insert(b"k", SeqNo(2), EntryKind::Put, b"new");
/// assert_eq!(table.get(b"k", SeqNo::MAX).unwrap().value, b"new");
/// assert_eq!(table.get(b"k", SeqNo(1)).unwrap().value, b"old");
/// assert!(table.get(b"k", SeqNo(0)).is_none());
/// ```
pub struct Memtable {
    tree: Tree,
    counters: Counters,
}

/// Changed by every insert, so kept on cache lines of their own: readers load the tree's root all
/// the time.
///
/// Only the writer stores, so a load and a store do for an addition.
#[repr(align(128))]
struct Counters {
    len: AtomicUsize,
    deletes: AtomicUsize,
    memory_bytes: AtomicUsize,
    seq_first: AtomicU64,
    seq_last: AtomicU64,
}

/// What [`Memtable::get`] found: the newest version that the reader may see, which may be a delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// When it was committed.
    pub seq: SeqNo,
    /// What it means.
    pub kind: EntryKind,
    /// Its value; empty for a delete.
    pub value: &'a [u8],
}

impl Default for Memtable {
    fn default() -> Memtable {
        Memtable::new()
    }
}

impl Memtable {
    /// An empty table. It takes memory for entries only with the first insert.
    pub fn new() -> Memtable {
        Memtable::with_common_prefix(&[])
    }

    /// An empty table for keys most of which are expected to begin with `prefix`, as those of the
    /// table before did ([`Memtable::common_prefix`]). Any key may be inserted; a good guess makes
    /// inserts and reads up to twice as fast where keys share 8 bytes or more.
    pub fn with_common_prefix(prefix: &[u8]) -> Memtable {
        let prefix = &prefix[..prefix.len().min(COMMON_PREFIX_LEN_MAX)];
        Memtable {
            tree: Tree::new(TagBase::new(prefix)),
            counters: Counters {
                len: AtomicUsize::new(0),
                deletes: AtomicUsize::new(0),
                memory_bytes: AtomicUsize::new(prefix.len()),
                seq_first: AtomicU64::new(NO_SEQ),
                seq_last: AtomicU64::new(NO_SEQ),
            },
        }
    }

    /// The right to insert, for one thread at a time. Take it once per group of inserts.
    ///
    /// # Panics
    /// If another [`Inserter`] of this table is alive: the engine has one commit owner.
    pub fn writer(&self) -> Inserter<'_> {
        let writer = self.tree.try_writer().expect("only one thread inserts into a memtable");
        Inserter { writer, counters: &self.counters }
    }

    /// Inserts one entry; see [`Inserter::insert`].
    pub fn insert(&self, user_key: &[u8], seq: SeqNo, kind: EntryKind, value: &[u8]) {
        self.writer().insert(user_key, seq, kind, value);
    }

    /// The newest version of `user_key` with a sequence number of at most `seq`.
    pub fn get(&self, user_key: &[u8], seq: SeqNo) -> Option<Found<'_>> {
        let entry = self.tree.seek(user_key, seq.0 << 8 | SEEK_KIND)?.entry();
        let (found_key, trailer) = entry.key_parts();
        if found_key != user_key {
            return None;
        }
        let kind = EntryKind::try_from(trailer as u8).expect("insert takes only known kinds");
        Some(Found { seq: SeqNo(trailer >> 8), kind, value: entry.value() })
    }

    /// A cursor that keeps the table alive. It sees entries that are inserted ahead of it.
    pub fn cursor(self: &Arc<Memtable>) -> MemtableCursor {
        MemtableCursor::new(Arc::clone(self))
    }

    /// The number of entries, versions and deletes counted one by one. While somebody inserts, this
    /// and the other counters may be a moment old, and not all of the same moment.
    pub fn len(&self) -> usize {
        self.counters.len.load(Ordering::Relaxed)
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of deletes among the entries.
    pub fn delete_count(&self) -> usize {
        self.counters.deletes.load(Ordering::Relaxed)
    }

    /// The heap memory that the table holds, in bytes, what its chunks have left free included. 0
    /// for an empty one.
    pub fn memory_bytes(&self) -> usize {
        self.counters.memory_bytes.load(Ordering::Relaxed)
    }

    /// The lowest sequence number inserted.
    pub fn first_seq(&self) -> Option<SeqNo> {
        seq(&self.counters.seq_first)
    }

    /// The highest sequence number inserted.
    pub fn last_seq(&self) -> Option<SeqNo> {
        seq(&self.counters.seq_last)
    }

    /// The longest prefix that all user keys share, up to 256 bytes; empty for an empty table.
    /// Meant for [`Memtable::with_common_prefix`] of the next one.
    pub fn common_prefix(&self) -> &[u8] {
        let (Some(first), Some(last)) = (self.tree.first(), self.tree.last()) else { return &[] };
        let (first, last) = (first.entry().key_parts().0, last.entry().key_parts().0);
        let shared = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        &first[..shared.min(COMMON_PREFIX_LEN_MAX)]
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }
}

/// The right to insert into a [`Memtable`]; gone when dropped.
pub struct Inserter<'a> {
    writer: Writer<'a>,
    counters: &'a Counters,
}

impl Inserter<'_> {
    /// How many keys [`Inserter::approach`] takes.
    pub const APPROACH_MAX: usize = APPROACH_MAX;

    /// Fetches what inserting these keys will look at, for all of them at once. Worth it where several
    /// keys are known and lie anywhere; keys beyond [`Inserter::APPROACH_MAX`] are left out.
    pub fn approach<'k>(&self, user_keys: impl Iterator<Item = &'k [u8]>) {
        self.writer.approach(user_keys);
    }

    /// Starts fetching bytes that are to be inserted soon: where sorted entries lie anywhere, waiting for them is most of
    /// what inserting them costs.
    #[inline]
    pub fn fetch(bytes: &[u8]) {
        prefetch_bytes(bytes);
    }

    /// Adds an entry, which every search that starts afterwards finds. Sequence numbers may come in
    /// any order, but each pair of key and sequence number only once.
    ///
    /// # Panics
    /// If the key is over [`esker_base::limits::KEY_LEN_MAX`], the value over
    /// [`esker_base::limits::BATCH_LEN_MAX`], the sequence number over [`SeqNo::MAX`] (a batch is
    /// checked against these long before), or if the same key, sequence number and kind was
    /// inserted before.
    pub fn insert(&mut self, user_key: &[u8], seq: SeqNo, kind: EntryKind, value: &[u8]) {
        assert!(seq <= SeqNo::MAX);
        let counters = self.counters;
        let bytes_before = self.writer.allocated_bytes();
        self.writer.insert(user_key, key::trailer(seq, kind), value);
        let bytes_added = self.writer.allocated_bytes() - bytes_before;
        if bytes_added > 0 {
            add(&counters.memory_bytes, bytes_added);
        }
        add(&counters.len, 1);
        if kind == EntryKind::Delete {
            add(&counters.deletes, 1);
        }
        let first = counters.seq_first.load_own();
        if seq.0 < first {
            counters.seq_first.store(seq.0, Ordering::Relaxed);
        }
        let last = counters.seq_last.load_own();
        if last == NO_SEQ || seq.0 > last {
            counters.seq_last.store(seq.0, Ordering::Relaxed);
        }
    }
}

/// Adds to a counter that only the caller stores to.
fn add(counter: &AtomicUsize, amount: usize) {
    counter.store(counter.load_own() + amount, Ordering::Relaxed);
}

fn seq(counter: &AtomicU64) -> Option<SeqNo> {
    Some(counter.load(Ordering::Relaxed)).filter(|&seq| seq != NO_SEQ).map(SeqNo)
}
