//! Recent writes, for judging transactions without disk reads.
//!
//! Recording costs memory and time, so it runs only while a transaction is open. The first one starts it under the log's
//! lock, when no commit is under way; from then on every commit is recorded when it is validated, in queue order. So
//! for a transaction that reads at sequence `start`, the record is complete for everything above `start`, unless it
//! outgrew its bound: then it is emptied, the floor rises, and older transactions get Conflict.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::atomic::Ordering;

use esker_base::{BatchOp, Error, ErrorKind, KeyspaceId, Result, SeqNo, mutant};

use crate::cursor::Bounds;
use crate::sync::{AtomicBool, Mutex};

/// The record may take this many bytes of keys (and as much again in overhead).
const BYTES_MAX: usize = if cfg!(feature = "shuttle") { 256 } else { 16 << 20 };

type Key = (KeyspaceId, Vec<u8>);

/// What a transaction has read; what must not have changed when it commits.
#[derive(Debug, Default)]
pub(crate) struct ReadSet {
    pub(crate) start: SeqNo,
    /// Keys that were looked up, absent ones too.
    pub(crate) keys: BTreeSet<Key>,
    /// Ranges that were scanned, as far as they were scanned.
    pub(crate) ranges: Vec<(KeyspaceId, Bounds)>,
}

/// The bounded record of recent writes.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Only the list of snapshots is locked under this lock.
    state: Mutex<State>,
    /// Whether a transaction is open. Set under the log's lock and the state's, cleared under the state's. So a commit,
    /// which has the log's lock, may take `false` for true until it gives that up.
    is_on: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// How many open transactions read at which sequence.
    open: BTreeMap<SeqNo, usize>,
    /// The last write of each key that was recorded.
    writes: BTreeMap<Key, SeqNo>,
    /// What ingests brought: a keyspace's keys from one to another, both included.
    ranges: Vec<(KeyspaceId, [Vec<u8>; 2], SeqNo)>,
    bytes: usize,
    /// Writes at or below this sequence may be missing.
    floor: SeqNo,
}

impl History {
    /// Registers a transaction that reads at `start`. If nothing is recorded yet, the caller holds the log's lock and
    /// `start` is the last sequence of all.
    pub(crate) fn begin(&self, start: SeqNo) {
        let mut state = self.state.lock();
        if state.open.is_empty() {
            state.floor = start;
            self.is_on.store(true, Ordering::Release);
        }
        *state.open.entry(start).or_insert(0) += 1;
    }

    /// As [`History::begin`], if recording is on already; `false` otherwise.
    pub(crate) fn join(&self, snapshot: impl FnOnce() -> SeqNo) -> bool {
        let mut state = self.state.lock();
        if state.open.is_empty() {
            return false;
        }
        let start = snapshot();
        *state.open.entry(start).or_insert(0) += 1;
        true
    }

    /// Ends a transaction that [`History::begin`] or [`History::join`] registered.
    pub(crate) fn end(&self, start: SeqNo) {
        let mut state = self.state.lock();
        if let Some(count) = state.open.get_mut(&start) {
            *count -= 1;
            if *count == 0 {
                state.open.remove(&start);
            }
        }
        if state.open.is_empty() {
            state.clear();
            self.is_on.store(false, Ordering::Release);
        }
    }

    /// Records that everything from each of `ranges` to its end may have changed at `seq`. Called under the log's lock.
    pub(crate) fn record_ranges(
        &self,
        keyspace: KeyspaceId,
        ranges: Vec<[Vec<u8>; 2]>,
        seq: SeqNo,
    ) {
        let mut state = self.state.lock();
        if state.open.is_empty() {
            return;
        }
        for range in ranges {
            state.bytes += range_bytes(&range);
            state.ranges.push((keyspace, range, seq));
        }
        state.bound(seq);
    }

    /// Judges one commit and, if it passes, records its writes; called in queue order, under the log's lock,
    /// before the log is written. `last` is the sequence of its last operation.
    pub(crate) fn admit<'a>(
        &self,
        reads: Option<&ReadSet>,
        ops: impl Iterator<Item = BatchOp<'a>>,
        last: SeqNo,
    ) -> Result<()> {
        if reads.is_none() && !self.is_on.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut state = self.state.lock();
        if let Some(reads) = reads {
            state.judge(reads)?;
        }
        let is_plain = reads.is_none() && mutant!("commit_plain_writes_forgotten");
        if !state.open.is_empty() && !is_plain {
            for op in ops {
                state.record(op.keyspace, op.key, last);
            }
            state.bound(last);
        }
        Ok(())
    }
}

impl State {
    fn judge(&self, reads: &ReadSet) -> Result<()> {
        if reads.start < self.floor {
            return Err(conflict("the transaction is older than the history of recent writes"));
        }
        let ingested = || self.ranges.iter().filter(|(.., seq)| *seq > reads.start);
        let changed = |key: &Key| {
            self.writes.get(key).is_some_and(|&seq| seq > reads.start)
                || ingested()
                    .any(|(id, [low, high], _)| *id == key.0 && (low..=high).contains(&&key.1))
        };
        if reads.keys.iter().any(changed) {
            return Err(conflict("a key that the transaction read was changed by another commit"));
        }
        for (keyspace, bounds) in &reads.ranges {
            if mutant!("commit_phantom_missed") {
                break;
            }
            let start = match &bounds.start {
                Bound::Included(key) => Bound::Included((*keyspace, key.clone())),
                Bound::Excluded(key) => Bound::Excluded((*keyspace, key.clone())),
                Bound::Unbounded => Bound::Included((*keyspace, Vec::new())),
            };
            let in_range = self
                .writes
                .range((start, Bound::Unbounded))
                .take_while(|((id, key), _)| id == keyspace && bounds.ends_after(key));
            let overlaps = |[low, high]: &[Vec<u8>; 2]| bounds.overlap(low, high);
            if in_range.into_iter().any(|(_, &seq)| seq > reads.start)
                || ingested().any(|(id, range, _)| id == keyspace && overlaps(range))
            {
                return Err(conflict(
                    "a range that the transaction read was changed by another commit",
                ));
            }
        }
        Ok(())
    }

    fn record(&mut self, keyspace: KeyspaceId, key: &[u8], seq: SeqNo) {
        if self.writes.insert((keyspace, key.to_vec()), seq).is_none() {
            self.bytes += key.len() + 64;
        }
    }

    fn bound(&mut self, last: SeqNo) {
        if self.bytes <= BYTES_MAX {
            return;
        }
        // What every open transaction already sees is not needed.
        let oldest = self.open.keys().next().copied().unwrap_or(last);
        self.writes.retain(|_, &mut seq| seq > oldest);
        self.ranges.retain(|&(.., seq)| seq > oldest);
        self.bytes = self.writes.keys().map(|(_, key)| key.len() + 64).sum();
        self.bytes += self.ranges.iter().map(|(_, range, _)| range_bytes(range)).sum::<usize>();
        if self.bytes > BYTES_MAX / 2 {
            self.clear();
            self.floor = last;
        }
    }

    fn clear(&mut self) {
        self.writes.clear();
        self.ranges.clear();
        self.bytes = 0;
    }
}

/// What a recorded range takes, about.
fn range_bytes([low, high]: &[Vec<u8>; 2]) -> usize {
    low.len() + high.len() + 64
}

fn conflict(message: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("{message}; run it again"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KS: KeyspaceId = KeyspaceId(1);

    fn put(history: &History, key: &[u8], seq: u64) {
        let mut batch = esker_base::Batch::new();
        batch.put(KS, key, b"v").unwrap();
        history.admit(None, batch.ops(), SeqNo(seq)).unwrap();
    }

    fn judge(history: &History, reads: &ReadSet) -> bool {
        history.admit(Some(reads), std::iter::empty(), SeqNo(99)).is_ok()
    }

    #[test]
    fn a_changed_key_or_range_conflicts_and_an_untouched_one_does_not() {
        let history = History::default();
        history.begin(SeqNo(5));
        put(&history, b"m", 6);
        let read = |key: &[u8], start| ReadSet {
            start: SeqNo(start),
            keys: BTreeSet::from([(KS, key.to_vec())]),
            ranges: Vec::new(),
        };
        assert!(!judge(&history, &read(b"m", 5)));
        assert!(judge(&history, &read(b"m", 6)));
        assert!(judge(&history, &read(b"n", 5)));
        let scan = |from: &[u8], to: &[u8]| ReadSet {
            start: SeqNo(5),
            keys: BTreeSet::new(),
            ranges: vec![(KS, Bounds::new(from.to_vec()..to.to_vec()))],
        };
        assert!(!judge(&history, &scan(b"a", b"z")));
        assert!(judge(&history, &scan(b"a", b"m")));
        assert!(judge(&history, &scan(b"n", b"z")));
    }

    #[test]
    fn an_overflowing_history_refuses_older_transactions() {
        let history = History::default();
        history.begin(SeqNo(0));
        let key = vec![0; 60_000];
        for seq in 1..400 {
            let mut key = key.clone();
            key[..8].copy_from_slice(&u64::to_be_bytes(seq));
            put(&history, &key, seq);
        }
        assert!(!judge(&history, &ReadSet::default()));
        assert!(judge(&history, &ReadSet { start: SeqNo(399), ..ReadSet::default() }));
    }

    #[test]
    fn nothing_is_recorded_without_a_transaction() {
        let history = History::default();
        put(&history, b"k", 1);
        assert!(history.state.lock().writes.is_empty());
        history.begin(SeqNo(1));
        put(&history, b"k", 2);
        history.end(SeqNo(1));
        assert!(history.state.lock().writes.is_empty());
    }
}
