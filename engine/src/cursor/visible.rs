//! The newest visible version of each key, deletes left out; a cursor over user keys.
//!
//! The only caller is `cursor.rs`. Nothing is allocated for an entry: forward, the value stays where it lies.

use bytes::Bytes;
use esker_base::cursor::Cursor;
use esker_base::key::{self, TRAILER_LEN, same_user_key};
use esker_base::merge::MergingCursor;
use esker_base::{EntryKind, Result, SeqNo, mutant};

use super::Bounds;
use super::children::{Child, children};
use crate::read::has_value;
use crate::view::View;

/// See the module.
pub(super) struct VisibleCursor {
    inner: MergingCursor<Child>,
    seq: SeqNo,
    /// The current user key; while nothing is valid, the one that the search last looked at.
    key: Vec<u8>,
    /// Whether the entry points to its value, which stands in a value file.
    points: bool,
    /// The value that it points to, once [`VisibleCursor::resolve`] was called.
    separated: Option<Bytes>,
    /// The current value when walking backward, where `inner` has left it already.
    value: Vec<u8>,
    valid: bool,
    /// Whether `inner` stands on the current entry (forward) or before all versions of its key (backward).
    backward: bool,
    /// Reused for seek keys.
    target: Vec<u8>,
}

/// After this many hidden versions of one key a seek is cheaper than stepping on.
const STEPS_BEFORE_SEEK: usize = 8;

impl VisibleCursor {
    pub(super) fn new(view: &View, seq: SeqNo, bounds: &Bounds) -> VisibleCursor {
        VisibleCursor {
            inner: MergingCursor::new(children(view, bounds)),
            seq,
            key: Vec::new(),
            points: false,
            separated: None,
            value: Vec::new(),
            valid: false,
            backward: false,
            target: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn valid(&self) -> bool {
        self.valid
    }

    #[inline]
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Key and value; the one place where a value is handed out.
    #[inline]
    pub(super) fn entry(&self) -> (&[u8], &[u8]) {
        match &self.separated {
            Some(value) => (&self.key, value),
            None => (&self.key, self.stored()),
        }
    }

    /// The entry's value as it stands in memtable or sstable.
    #[inline]
    fn stored(&self) -> &[u8] {
        if self.backward { &self.value } else { self.inner.value() }
    }

    /// Fetches the value if it stands in a value file; for an entry that is going to be shown.
    #[inline]
    pub(super) fn resolve(&mut self, view: &View) -> Result<()> {
        self.separated = match self.points {
            true => Some(view.levels.values().get(self.stored())?),
            false => None,
        };
        Ok(())
    }

    pub(super) fn seek_to_first(&mut self) -> Result<()> {
        self.inner.seek_to_first()?;
        self.forward(false)
    }

    pub(super) fn seek_to_last(&mut self) -> Result<()> {
        self.inner.seek_to_last()?;
        self.settle_backward()
    }

    pub(super) fn seek(&mut self, user_key: &[u8]) -> Result<()> {
        key::seek_key_into(user_key, SeqNo::MAX, &mut self.target);
        self.inner.seek(&self.target)?;
        self.forward(false)
    }

    pub(super) fn seek_after(&mut self, user_key: &[u8]) -> Result<()> {
        self.inner.seek(&key::last_key(user_key))?;
        self.forward(false)
    }

    pub(super) fn seek_for_prev(&mut self, user_key: &[u8]) -> Result<()> {
        self.inner.seek_for_prev(&key::last_key(user_key))?;
        self.settle_backward()
    }

    pub(super) fn seek_before(&mut self, user_key: &[u8]) -> Result<()> {
        key::seek_key_into(user_key, SeqNo::MAX, &mut self.target);
        self.inner.seek_for_prev(&self.target)?;
        self.settle_backward()
    }

    #[inline]
    pub(super) fn next(&mut self) -> Result<()> {
        if self.backward {
            self.inner.seek(&key::last_key(&self.key))?;
        } else {
            self.inner.next()?;
        }
        self.forward(true)
    }

    pub(super) fn prev(&mut self) -> Result<()> {
        if !self.backward {
            let passed = std::mem::take(&mut self.key);
            return self.seek_before(&passed);
        }
        self.settle_backward()
    }

    /// Steps `inner` forward to the next entry that is visible and no delete. With `hides`, and behind a delete, what
    /// stands in `self.key` is not shown.
    #[inline]
    fn forward(&mut self, mut hides: bool) -> Result<()> {
        (self.valid, self.backward) = (false, false);
        let mut steps = 0;
        while self.inner.valid() {
            let (user_key, trailer) = split(self.inner.key());
            let is_hidden = hides && same_user_key(user_key, &self.key);
            if !is_hidden && trailer >> 8 <= self.seq.0 {
                self.key.clear();
                self.key.extend_from_slice(user_key);
                if is_put(trailer)? {
                    self.points = is_pointer(trailer);
                    self.valid = true;
                    return Ok(());
                }
                hides = !mutant!("cursor_delete_shows_older");
                steps = 0;
            }
            steps += 1;
            if is_hidden && steps > STEPS_BEFORE_SEEK {
                self.inner.seek(&key::last_key(&self.key))?;
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
                let (user_key, trailer) = split(self.inner.key());
                if !same_user_key(user_key, &self.key) {
                    break;
                }
                if trailer >> 8 <= self.seq.0 {
                    // Versions come oldest first here, so a later one replaces this.
                    let has_value = is_put(trailer)?;
                    found = has_value || found && mutant!("cursor_reverse_shows_deleted");
                    if has_value {
                        self.points = is_pointer(trailer);
                        self.value.clear();
                        self.value.extend_from_slice(self.inner.value());
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

/// The user key and the trailer of an entry.
#[inline]
fn split(encoded: &[u8]) -> (&[u8], u64) {
    // Cursors over files report a malformed key as corruption and never stand on one.
    let (user_key, trailer) = encoded
        .split_last_chunk::<TRAILER_LEN>()
        .expect("invariant: cursors stand on well-formed keys");
    (user_key, u64::from_le_bytes(*trailer))
}

/// Whether an entry of this trailer points to its value.
#[inline]
fn is_pointer(trailer: u64) -> bool {
    trailer as u8 == EntryKind::ValuePointer as u8
}

/// Whether an entry of this trailer has a value.
#[inline]
fn is_put(trailer: u64) -> Result<bool> {
    match trailer as u8 {
        kind if kind == EntryKind::Put as u8 => Ok(true),
        kind if kind == EntryKind::Delete as u8 => Ok(false),
        kind => has_value(
            EntryKind::try_from(kind).expect("invariant: cursors stand on entries of a known kind"),
        ),
    }
}
