//! Ranges: what a user sees of the entries between two bounds at one sequence, from either end.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;
use esker_base::cursor::Cursor;
use esker_base::key::{self, InternalKey};
use esker_base::merge::MergingCursor;
use esker_base::{Error, Result, SeqNo, mutant};
use esker_sstable::LevelCursor;

use crate::read::has_value;
use crate::view::{LevelFile, View};

type Child = Box<dyn Cursor + Send + Sync>;

/// The entries of a keyspace between two bounds, in key order, at one moment: an iterator from both ends, which can also
/// jump. Writes that come later do not change it. It holds what it reads alive, so do not keep one for long.
///
/// After an error it ends.
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

    fn step_front(&mut self) -> Result<Option<(Bytes, Bytes)>> {
        let target = self.front.target.take();
        let first = self.front.cursor.is_none();
        let cursor =
            self.front.cursor.get_or_insert_with(|| VisibleCursor::new(&self.view, self.seq));
        match target {
            Some(target) if self.bounds.starts_before(&target) => cursor.seek(&target)?,
            target if target.is_some() || first => match &self.bounds.start {
                Bound::Included(start) => cursor.seek(start)?,
                Bound::Excluded(start) => cursor.seek_after(start)?,
                Bound::Unbounded => cursor.seek_to_first()?,
            },
            _ => cursor.next()?,
        }
        // The two ends meet: what the back yielded is not yielded again.
        let met = |key: &[u8]| self.back.yielded().is_some_and(|last| key >= last);
        let crosses = mutant!("cursor_ends_cross");
        if !cursor.valid || !self.bounds.ends_after(&cursor.key) || met(&cursor.key) && !crosses {
            return Ok(None);
        }
        Ok(Some(cursor.entry()))
    }

    fn step_back(&mut self) -> Result<Option<(Bytes, Bytes)>> {
        let target = self.back.target.take();
        let first = self.back.cursor.is_none();
        let cursor =
            self.back.cursor.get_or_insert_with(|| VisibleCursor::new(&self.view, self.seq));
        match target {
            Some(target) if self.bounds.ends_after(&target) => cursor.seek_for_prev(&target)?,
            target if target.is_some() || first => match &self.bounds.end {
                Bound::Included(end) => cursor.seek_for_prev(end)?,
                Bound::Excluded(end) => cursor.seek_before(end)?,
                Bound::Unbounded => cursor.seek_to_last()?,
            },
            _ => cursor.prev()?,
        }
        let met = |key: &[u8]| self.front.yielded().is_some_and(|last| key <= last);
        if !cursor.valid || !self.bounds.starts_before(&cursor.key) || met(&cursor.key) {
            return Ok(None);
        }
        Ok(Some(cursor.entry()))
    }
}

impl End {
    /// The key of the last entry that this end yielded, unless a seek has moved it since.
    fn yielded(&self) -> Option<&[u8]> {
        let cursor = self.cursor.as_ref().filter(|_| self.target.is_none() && !self.done)?;
        cursor.valid.then_some(&cursor.key[..])
    }
}

impl Iterator for Range {
    type Item = Result<(Bytes, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.error.take() {
            (self.front.done, self.back.done) = (true, true);
            return Some(Err(error));
        }
        if self.front.done {
            return None;
        }
        let step = self.step_front();
        self.front.done = !matches!(step, Ok(Some(_)));
        // Once the ends have met or the range failed, nothing is left for the other end either.
        self.back.done |= self.front.done && self.back.target.is_none();
        step.transpose()
    }
}

impl DoubleEndedIterator for Range {
    fn next_back(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.error.take() {
            (self.front.done, self.back.done) = (true, true);
            return Some(Err(error));
        }
        if self.back.done {
            return None;
        }
        let step = self.step_back();
        self.back.done = !matches!(step, Ok(Some(_)));
        self.front.done |= self.back.done && self.front.target.is_none();
        step.transpose()
    }
}

impl std::fmt::Debug for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Range").field("seq", &self.seq).field("bounds", &self.bounds).finish()
    }
}

/// The newest visible version of each key, deletes left out; a cursor over user keys.
struct VisibleCursor {
    inner: MergingCursor<Child>,
    seq: SeqNo,
    key: Vec<u8>,
    value: Bytes,
    valid: bool,
    /// Whether `inner` stands on the current entry (forward) or before all versions of its key (backward).
    backward: bool,
    /// Reused for seek keys.
    target: Vec<u8>,
}

/// After this many hidden versions of one key a seek is cheaper than stepping on.
const STEPS_BEFORE_SEEK: usize = 8;

impl VisibleCursor {
    fn new(view: &View, seq: SeqNo) -> VisibleCursor {
        let mut children: Vec<Child> = Vec::new();
        for memtable in std::iter::once(&view.active).chain(&view.frozen) {
            if !memtable.is_empty() {
                children.push(Box::new(memtable.cursor()));
            }
        }
        for (level, files) in view.levels.0.iter().enumerate() {
            let single = |file| LevelCursor::new(vec![LevelFile(Arc::clone(file))], true);
            if level == 0 {
                children.extend(files.iter().map(|file| Box::new(single(file)) as Child));
            } else if !files.is_empty() {
                let files = files.iter().map(|file| LevelFile(Arc::clone(file))).collect();
                children.push(Box::new(LevelCursor::new(files, true)));
            }
        }
        VisibleCursor {
            inner: MergingCursor::new(children),
            seq,
            key: Vec::new(),
            value: Bytes::new(),
            valid: false,
            backward: false,
            target: Vec::new(),
        }
    }

    fn entry(&self) -> (Bytes, Bytes) {
        (Bytes::copy_from_slice(&self.key), self.value.clone())
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.inner.seek_to_first()?;
        self.forward(None)
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.inner.seek_to_last()?;
        self.settle_backward()
    }

    fn seek(&mut self, user_key: &[u8]) -> Result<()> {
        key::seek_key_into(user_key, SeqNo::MAX, &mut self.target);
        self.inner.seek(&self.target)?;
        self.forward(None)
    }

    fn seek_after(&mut self, user_key: &[u8]) -> Result<()> {
        self.inner.seek(&key::last_key(user_key))?;
        self.forward(None)
    }

    fn seek_for_prev(&mut self, user_key: &[u8]) -> Result<()> {
        self.inner.seek_for_prev(&key::last_key(user_key))?;
        self.settle_backward()
    }

    fn seek_before(&mut self, user_key: &[u8]) -> Result<()> {
        key::seek_key_into(user_key, SeqNo::MAX, &mut self.target);
        self.inner.seek_for_prev(&self.target)?;
        self.settle_backward()
    }

    fn next(&mut self) -> Result<()> {
        let passed = std::mem::take(&mut self.key);
        if self.backward {
            self.inner.seek(&key::last_key(&passed))?;
        } else {
            self.inner.next()?;
        }
        self.forward(Some(passed))
    }

    fn prev(&mut self) -> Result<()> {
        if !self.backward {
            let passed = std::mem::take(&mut self.key);
            return self.seek_before(&passed);
        }
        self.settle_backward()
    }

    /// Steps `inner` forward to the next entry that is visible, not deleted and not of the key `hidden`.
    fn forward(&mut self, mut hidden: Option<Vec<u8>>) -> Result<()> {
        (self.valid, self.backward) = (false, false);
        let mut steps = 0;
        while self.inner.valid() {
            let InternalKey { user_key, seq, kind } = decode(self.inner.key())?;
            let is_hidden = hidden.as_deref() == Some(user_key);
            if seq <= self.seq && !is_hidden {
                if has_value(kind)? {
                    self.key.clear();
                    self.key.extend_from_slice(user_key);
                    self.value = Bytes::copy_from_slice(self.inner.value());
                    self.valid = true;
                    return Ok(());
                }
                let mut buffer = hidden.take().unwrap_or_default();
                buffer.clear();
                buffer.extend_from_slice(user_key);
                hidden = Some(buffer).filter(|_| !mutant!("cursor_delete_shows_older"));
                steps = 0;
            }
            steps += 1;
            if is_hidden && steps > STEPS_BEFORE_SEEK {
                let target = key::last_key(user_key);
                self.inner.seek(&target)?;
                steps = 0;
            } else {
                self.inner.next()?;
            }
        }
        Ok(())
    }

    /// With `inner` on the oldest version of some key, takes the newest visible version of the first key, going
    /// backward, that has a value; leaves `inner` before all versions of it.
    fn settle_backward(&mut self) -> Result<()> {
        (self.valid, self.backward) = (false, true);
        while self.inner.valid() {
            self.key.clear();
            self.key.extend_from_slice(key::user_key(self.inner.key()));
            let mut found = false;
            while self.inner.valid() {
                let InternalKey { user_key, seq, kind } = decode(self.inner.key())?;
                if user_key != &self.key[..] {
                    break;
                }
                if seq <= self.seq {
                    // Versions come oldest first here, so a later one replaces this.
                    found = has_value(kind)? || found && mutant!("cursor_reverse_shows_deleted");
                    if has_value(kind)? {
                        self.value = Bytes::copy_from_slice(self.inner.value());
                    }
                }
                self.inner.prev()?;
            }
            if found {
                self.valid = true;
                return Ok(());
            }
        }
        Ok(())
    }
}

fn decode(encoded: &[u8]) -> Result<InternalKey<'_>> {
    // Cursors over files report a malformed key as corruption and never stand on one.
    Ok(InternalKey::decode(encoded).expect("invariant: cursors stand on well-formed keys"))
}
