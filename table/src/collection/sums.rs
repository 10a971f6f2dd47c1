//! What is known of the sizes of item collections, and the work that makes it known. A collection whose size was asked
//! for is put in line; steps of [`Tables::run_index_step`] sum it up, a bounded piece each, as of a snapshot. What is
//! committed meanwhile is collected beside, and what is committed afterwards goes into the sum.
//!
//! A commit that is published just as a sum begins may count twice in it; that is all by which a sum is wrong. What
//! cannot be read is not known, and not tried again for some minutes. While a sum is under way, what its snapshot sees
//! keeps its space. Nothing is read on a thread that writes.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use esker::Snapshot;
use parking_lot::Mutex;

use super::MAX_ITEM_COLLECTION_BYTES;
use crate::error::{Result, TableError};
use crate::item::ItemView;
use crate::key_codec::{collection_hash, collection_prefix};
use crate::table::{Table, TableDelta};
use crate::{Tables, message};

/// So many collections are known at most.
const SUMS_MAX: usize = 1 << 16;

/// Of so many known ones the smallest is forgotten for another: it is the farthest from the limit, and soon summed again.
const FORGET_AMONG: usize = 16;

/// So many collections are in line at most; others come when they are asked for again. Far less than are known.
const WANTED_MAX: usize = 1 << 10;

/// Items and entries of one step.
const STEP_ITEMS: usize = 1 << 10;
/// A step ends with the item or entry that brings it to so many stored bytes.
const STEP_BYTES: usize = 1 << 20;

/// A collection that could not be read is left alone for so long.
const RETRY_AFTER: Duration = Duration::from_secs(300);

/// Table id and hash of the partition key.
pub(super) type CollectionId = (u64, u64);

/// What is known of a collection.
enum Sum {
    Wanted,
    /// With the bytes that were committed since its snapshot was taken.
    UnderWay(i64),
    Known(u64),
    /// It could not be read, and is not to be tried before this.
    Unreadable(Duration),
}

/// A collection to be summed up.
struct Wanted {
    id: CollectionId,
    table: String,
    prefix: Vec<u8>,
}

/// How far a sum is.
struct Progress {
    wanted: Wanted,
    snapshot: Snapshot,
    /// How many keyspaces are summed: that of the items, then those of the local indexes.
    keyspaces: usize,
    /// The last key that is in the sum, in the next of them.
    after: Vec<u8>,
    bytes: u64,
}

#[derive(Default)]
struct State {
    sums: BTreeMap<CollectionId, Sum>,
    wanted: VecDeque<Wanted>,
    /// The sum that is under way, but for the time of its steps.
    current: Option<Progress>,
    /// Where it was last looked for one to be forgotten.
    hand: CollectionId,
}

/// What is known of all collections, and the limit.
pub(crate) struct Collections {
    pub(super) limit_bytes: AtomicU64,
    /// A leaf.
    state: Mutex<State>,
    /// How many collections it knows anything of.
    count: AtomicUsize,
}

impl Default for Collections {
    fn default() -> Self {
        Self {
            limit_bytes: AtomicU64::new(MAX_ITEM_COLLECTION_BYTES),
            state: Mutex::default(),
            count: AtomicUsize::new(0),
        }
    }
}

impl State {
    /// Puts a collection in line of which nothing is known; true if there was room.
    fn want(&mut self, wanted: Wanted) -> bool {
        if self.wanted.len() >= WANTED_MAX {
            return false;
        }
        if self.sums.len() >= SUMS_MAX {
            self.forget_one();
        }
        self.sums.insert(wanted.id, Sum::Wanted);
        self.wanted.push_back(wanted);
        true
    }

    /// Makes room for another: the smallest of the next few that are known is forgotten.
    fn forget_one(&mut self) {
        let after = self.sums.range((Bound::Excluded(self.hand), Bound::Unbounded));
        let known = after.chain(self.sums.range(..=self.hand)).filter_map(|(id, sum)| match sum {
            Sum::Known(bytes) => Some((*bytes, *id)),
            Sum::Unreadable(_) => Some((u64::MAX, *id)),
            Sum::Wanted | Sum::UnderWay(_) => None,
        });
        let mut smallest = None;
        for candidate in known.take(FORGET_AMONG) {
            self.hand = candidate.1;
            smallest = Some(smallest.map_or(candidate, |least| candidate.min(least)));
        }
        if let Some((_, id)) = smallest {
            self.sums.remove(&id);
        }
    }
}

impl Collections {
    /// Says what a committed write changed.
    pub(crate) fn add(&self, table_id: u64, delta: &TableDelta) {
        if delta.collections.is_empty() || self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut state = self.state.lock();
        for (hash, bytes) in &delta.collections {
            match state.sums.get_mut(&(table_id, *hash)) {
                Some(Sum::Known(sum)) => *sum = sum.saturating_add_signed(*bytes),
                Some(Sum::UnderWay(sum)) => *sum = sum.saturating_add(*bytes),
                Some(Sum::Wanted | Sum::Unreadable(_)) | None => {}
            }
        }
    }

    /// Whether a sum is wanted or under way.
    pub(crate) fn has_work(&self) -> bool {
        let state = self.state.lock();
        state.current.is_some() || !state.wanted.is_empty()
    }

    /// The sum to go on with, or the next that is wanted. Whoever gets it ends it.
    fn next(&self, tables: &Tables) -> Option<Progress> {
        let wanted = {
            let mut state = self.state.lock();
            if let Some(current) = state.current.take() {
                return Some(current);
            }
            let wanted = state.wanted.pop_front()?;
            state.sums.insert(wanted.id, Sum::UnderWay(0));
            wanted
        };
        // No earlier: what is committed behind the snapshot has to be collected.
        let snapshot = tables.db().snapshot();
        Some(Progress { wanted, snapshot, keyspaces: 0, after: Vec::new(), bytes: 0 })
    }

    fn learn(&self, id: CollectionId, bytes: u64) {
        if let Some(sum) = self.state.lock().sums.get_mut(&id)
            && let Sum::UnderWay(since) = sum
        {
            *sum = Sum::Known(bytes.saturating_add_signed(*since));
        }
    }
}

/// Notes that a sum cannot be made, unless it is told otherwise: however a step ends.
struct Failing<'t> {
    tables: &'t Tables,
    id: CollectionId,
    has_failed: bool,
}

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        if self.has_failed {
            let until = self.tables.monotonic() + RETRY_AFTER;
            self.tables.collections().state.lock().sums.insert(self.id, Sum::Unreadable(until));
        }
    }
}

impl Tables {
    fn monotonic(&self) -> Duration {
        self.db().world().clock.monotonic()
    }

    /// The bytes of the collection that a key is in, if they are known; otherwise they will be.
    pub(crate) fn collection_bytes(&self, table: &Table, key: &[u8]) -> Option<u64> {
        let id = (table.id(), collection_hash(key));
        {
            let collections = self.collections();
            let mut state = collections.state.lock();
            match state.sums.get(&id) {
                Some(Sum::Known(bytes)) => return Some(*bytes),
                Some(Sum::Wanted | Sum::UnderWay(_)) => return None,
                Some(Sum::Unreadable(until)) if self.monotonic() < *until => return None,
                Some(Sum::Unreadable(_)) | None => {}
            }
            let prefix = collection_prefix(key).ok()?.to_vec();
            if !state.want(Wanted { id, table: table.name.clone(), prefix }) {
                return None;
            }
            collections.count.store(state.sums.len(), Ordering::Relaxed);
        }
        self.begin_index_work();
        None
    }

    /// Does one step of the sum that is under way, or of the next that is wanted; false if there is none. One at a
    /// time.
    pub(crate) fn sum_step(&self) -> bool {
        let collections = self.collections();
        let Some(mut sum) = collections.next(self) else { return false };
        let mut failing = Failing { tables: self, id: sum.wanted.id, has_failed: true };
        let Ok(is_whole) = self.sum_some(&mut sum) else { return true };
        failing.has_failed = false;
        if is_whole {
            collections.learn(sum.wanted.id, sum.bytes);
        } else {
            collections.state.lock().current = Some(sum);
        }
        true
    }

    /// Goes on with a sum; true if it is whole.
    fn sum_some(&self, sum: &mut Progress) -> Result<bool> {
        let Wanted { id, table, prefix } = &sum.wanted;
        let table = self.find(table).filter(|table| table.id() == id.0);
        let table = table.ok_or_else(|| TableError::not_found(message::TABLE_NOT_FOUND))?;
        let local = table.local_indexes().map(|index| &index.entries);
        let keyspaces = std::iter::once(&table.items).chain(local).skip(sum.keyspaces);
        let (mut items, mut stored_bytes) = (0, 0);
        for keyspace in keyspaces {
            let start = match &sum.after[..] {
                [] => Bound::Included(&prefix[..]),
                after => Bound::Excluded(after),
            };
            let range = (start, Bound::Unbounded);
            for stored in keyspace.range_at::<&[u8]>(&sum.snapshot, range) {
                let (key, value) = stored?;
                if !key.starts_with(prefix) {
                    break;
                }
                sum.bytes += u64::from(ItemView::new(&value)?.logical_size());
                items += 1;
                stored_bytes += value.len();
                if items >= STEP_ITEMS || stored_bytes >= STEP_BYTES {
                    sum.after = key.to_vec();
                    return Ok(false);
                }
            }
            sum.keyspaces += 1;
            sum.after.clear();
        }
        Ok(true)
    }

    /// What is known of the collection of a key.
    #[cfg(test)]
    pub(crate) fn known_collection_bytes(&self, table: &Table, key: &[u8]) -> Option<u64> {
        match self.collections().state.lock().sums.get(&(table.id(), collection_hash(key))) {
            Some(Sum::Known(bytes)) => Some(*bytes),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(hash: u64) -> Wanted {
        Wanted { id: (1, hash), table: "things".to_owned(), prefix: Vec::new() }
    }

    #[test]
    fn one_sum_at_a_time_is_forgotten_for_others() {
        let mut state = State::default();
        let count = SUMS_MAX as u64;
        // The least of the first few is not the first.
        let bytes = |hash: u64| if hash == 3 { 1 } else { 1000 + hash };
        state.sums.extend((0..count).map(|hash| ((1, hash), Sum::Known(bytes(hash)))));
        assert!(state.want(wanted(count)));
        assert_eq!(state.sums.len(), SUMS_MAX);
        assert!(!state.sums.contains_key(&(1, 3)));
        // The next comes from among those behind, and nothing that is in line goes.
        for hash in 1..=100 {
            assert!(state.want(wanted(count + hash)));
        }
        assert_eq!(state.sums.len(), SUMS_MAX);
        assert!(state.sums.contains_key(&(1, 0)));
        assert!(!state.sums.contains_key(&(1, 16)));
        assert_eq!(state.sums.values().filter(|sum| matches!(sum, Sum::Wanted)).count(), 101);
    }

    #[test]
    fn the_line_of_wanted_sums_is_bounded() {
        let mut state = State::default();
        let count = WANTED_MAX as u64;
        assert!((0..count).all(|hash| state.want(wanted(hash))));
        assert!(!state.want(wanted(count)));
        assert_eq!((state.wanted.len(), state.sums.len()), (WANTED_MAX, WANTED_MAX));
        state.wanted.pop_front();
        assert!(state.want(wanted(count)));
    }
}
