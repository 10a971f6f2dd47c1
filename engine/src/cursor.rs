//! Ranges: what a user sees of the entries between two bounds at one sequence, from either end.
//!
//! Made by `keyspace.rs` for every walk of a user, and by transactions. The cursors below are in `visible.rs` (versions)
//! and `children.rs` (memtables and files). Must never hand out an entry outside of the bounds, whatever the cursors find.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;
use esker_base::key;
use esker_base::{Error, Result, SeqNo, mutant};

use self::visible::VisibleCursor;
use crate::view::View;

mod apart;
mod children;
mod visible;

/// The entries of a keyspace between two bounds, in key order, at one moment: an iterator from both ends, which can also
/// jump. Writes that come later do not change it. It holds what it reads alive, so do not keep one for long.
///
/// The iterator yields entries that the caller owns. [`Range::next_entry`] and [`Range::next_back_entry`] take the same
/// steps and lend the entry instead: nothing is allocated for it. The two ways can be mixed.
///
/// After an error it ends.
///
/// ```
/// # fn main() -> esker::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = esker::Db::open(dir.path())?;
/// # let users = db.keyspace("users")?;
/// # users.put(b"alice", b"engineer")?;
/// let mut bytes = 0;
/// let mut range = users.iter();
/// while let Some((key, value)) = range.next_entry()? {
///     bytes += key.len() + value.len();
/// }
/// assert_eq!(bytes, 13);
/// # Ok(())
/// # }
/// ```
pub struct Range {
    view: Arc<View>,
    seq: SeqNo,
    bounds: Bounds,
    /// What to answer first: the call that made the range was wrong.
    error: Option<Error>,
    front: End,
    back: End,
}

/// One end of a range: its cursor, made when it is first used.
#[derive(Default)]
struct End {
    cursor: Option<VisibleCursor>,
    /// Where the next step starts instead of behind the last entry, after a seek.
    target: Option<Vec<u8>>,
    done: bool,
}

/// The bounds of a range, owned.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub(crate) start: Bound<Vec<u8>>,
    pub(crate) end: Bound<Vec<u8>>,
}

impl Bounds {
    pub(crate) fn new<K: AsRef<[u8]>>(range: impl RangeBounds<K>) -> Bounds {
        let owned = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
        Bounds { start: owned(range.start_bound()), end: owned(range.end_bound()) }
    }

    pub(crate) fn prefix(prefix: &[u8]) -> Bounds {
        Bounds {
            start: Bound::Included(prefix.to_vec()),
            end: key::prefix_end(prefix).map_or(Bound::Unbounded, Bound::Excluded),
        }
    }

    fn starts_before(&self, key: &[u8]) -> bool {
        match &self.start {
            Bound::Included(start) => &start[..] <= key,
            Bound::Excluded(start) => &start[..] < key,
            Bound::Unbounded => true,
        }
    }

    pub(crate) fn ends_after(&self, key: &[u8]) -> bool {
        match &self.end {
            Bound::Included(end) => key <= &end[..],
            Bound::Excluded(end) => key < &end[..],
            Bound::Unbounded => true,
        }
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        self.starts_before(key) && self.ends_after(key)
    }

    /// Whether a key from `low` to `high`, both included, may lie within.
    pub(crate) fn overlap(&self, low: &[u8], high: &[u8]) -> bool {
        self.starts_before(high) && self.ends_after(low)
    }
}

impl Range {
    pub(crate) fn new(view: Arc<View>, seq: SeqNo, bounds: Bounds, error: Option<Error>) -> Range {
        Range { view, seq, bounds, error, front: End::default(), back: End::default() }
    }

    /// Moves the front: the next [`Iterator::next`] yields the first entry at or after `key` within the bounds. Also
    /// backward: entries that were yielded before may be yielded again.
    pub fn seek(&mut self, key: impl AsRef<[u8]>) {
        self.front.target = Some(key.as_ref().to_vec());
        self.front.done = false;
    }

    /// Moves the back: the next [`DoubleEndedIterator::next_back`] yields the last entry at or before `key` within the
    /// bounds.
    pub fn seek_back(&mut self, key: impl AsRef<[u8]>) {
        self.back.target = Some(key.as_ref().to_vec());
        self.back.done = false;
    }

    /// The next entry from the front, as [`Iterator::next`] takes it, lent until the range is used again.
    pub fn next_entry(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        let found = self.advance_front()?;
        Ok(self.front.cursor.as_ref().filter(|_| found).map(VisibleCursor::entry))
    }

    /// The next entry from the back, as [`DoubleEndedIterator::next_back`] takes it, lent until the range is used again.
    pub fn next_back_entry(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        let found = self.advance_back()?;
        Ok(self.back.cursor.as_ref().filter(|_| found).map(VisibleCursor::entry))
    }

    fn fail_first(&mut self) -> Result<()> {
        match self.error.take() {
            None => Ok(()),
            Some(error) => {
                (self.front.done, self.back.done) = (true, true);
                Err(error)
            }
        }
    }

    /// Moves the front on; whether it stands on an entry then.
    fn advance_front(&mut self) -> Result<bool> {
        self.fail_first()?;
        if self.front.done {
            return Ok(false);
        }
        let step = self.step_front();
        self.front.done = !matches!(step, Ok(true));
        // Once the ends have met or the range failed, nothing is left for the other end either.
        self.back.done |= self.front.done && self.back.target.is_none();
        step
    }

    /// Moves the back on; whether it stands on an entry then.
    fn advance_back(&mut self) -> Result<bool> {
        self.fail_first()?;
        if self.back.done {
            return Ok(false);
        }
        let step = self.step_back();
        self.back.done = !matches!(step, Ok(true));
        self.front.done |= self.back.done && self.front.target.is_none();
        step
    }

    fn step_front(&mut self) -> Result<bool> {
        let cursor = match &mut self.front {
            // The common step, without a look at the bounds' start.
            End { cursor: Some(cursor), target: None, .. } => {
                cursor.next()?;
                cursor
            }
            End { cursor, target, .. } => {
                let cursor = cursor
                    .get_or_insert_with(|| VisibleCursor::new(&self.view, self.seq, &self.bounds));
                match (target.take(), &self.bounds.start) {
                    (Some(target), _) if self.bounds.starts_before(&target) => {
                        cursor.seek(&target)?;
                    }
                    (_, Bound::Included(start)) => cursor.seek(start)?,
                    (_, Bound::Excluded(start)) => cursor.seek_after(start)?,
                    (_, Bound::Unbounded) => cursor.seek_to_first()?,
                }
                cursor
            }
        };
        if !cursor.valid() || !self.bounds.ends_after(cursor.key()) {
            return Ok(false);
        }
        // The two ends meet: what the back yielded is not yielded again.
        let met = self.back.yielded().is_some_and(|last| cursor.key() >= last);
        if met && !mutant!("cursor_ends_cross") {
            return Ok(false);
        }
        cursor.resolve(&self.view)?;
        Ok(true)
    }

    fn step_back(&mut self) -> Result<bool> {
        let cursor = match &mut self.back {
            End { cursor: Some(cursor), target: None, .. } => {
                cursor.prev()?;
                cursor
            }
            End { cursor, target, .. } => {
                let cursor = cursor
                    .get_or_insert_with(|| VisibleCursor::new(&self.view, self.seq, &self.bounds));
                match (target.take(), &self.bounds.end) {
                    (Some(target), _) if self.bounds.ends_after(&target) => {
                        cursor.seek_for_prev(&target)?;
                    }
                    (_, Bound::Included(end)) => cursor.seek_for_prev(end)?,
                    (_, Bound::Excluded(end)) => cursor.seek_before(end)?,
                    (_, Bound::Unbounded) => cursor.seek_to_last()?,
                }
                cursor
            }
        };
        if !cursor.valid() || !self.bounds.starts_before(cursor.key()) {
            return Ok(false);
        }
        if self.front.yielded().is_some_and(|last| cursor.key() <= last) {
            return Ok(false);
        }
        cursor.resolve(&self.view)?;
        Ok(true)
    }
}

impl End {
    /// The key of the last entry that this end yielded, unless a seek has moved it since.
    fn yielded(&self) -> Option<&[u8]> {
        let cursor = self.cursor.as_ref().filter(|_| self.target.is_none() && !self.done)?;
        cursor.valid().then(|| cursor.key())
    }
}

impl Iterator for Range {
    type Item = Result<(Bytes, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry().map(|entry| entry.map(owned)).transpose()
    }
}

impl DoubleEndedIterator for Range {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.next_back_entry().map(|entry| entry.map(owned)).transpose()
    }
}

fn owned((key, value): (&[u8], &[u8])) -> (Bytes, Bytes) {
    (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value))
}

impl std::fmt::Debug for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Range").field("seq", &self.seq).field("bounds", &self.bounds).finish()
    }
}
