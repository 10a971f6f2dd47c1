//! The contract of every cursor over internal entries: memtables, blocks, sstables, levels, merges.
//!
//! A cursor is made unpositioned ([`Cursor::valid`] is false). A seek positions it or leaves it invalid if nothing
//! matches. `next` and `prev` may be called only while it is valid; stepping over either end makes it invalid, and
//! only a seek makes it valid again. After an error it is invalid. `key` and `value` may be called only while it is
//! valid, and borrow from the cursor until it moves.

use crate::error::Result;

/// A double-ended cursor over internal entries in the order of [`crate::key::compare`].
pub trait Cursor {
    /// Whether the cursor stands on an entry.
    fn valid(&self) -> bool;

    /// Moves to the first entry.
    fn seek_to_first(&mut self) -> Result<()>;

    /// Moves to the last entry.
    fn seek_to_last(&mut self) -> Result<()>;

    /// Moves to the first entry at or after the encoded internal key `target`.
    fn seek(&mut self, target: &[u8]) -> Result<()>;

    /// Says that a seek follows, most likely to `target`, after the same call on other cursors: a chance to start
    /// fetching what it will look at. Until that seek the cursor counts as unpositioned.
    fn announce_seek(&mut self, target: &[u8]) {
        let _ = target;
    }

    /// Moves to the last entry at or before the encoded internal key `target`.
    fn seek_for_prev(&mut self, target: &[u8]) -> Result<()>;

    /// Moves to the entry after this one.
    fn next(&mut self) -> Result<()>;

    /// Moves to the entry before this one.
    fn prev(&mut self) -> Result<()>;

    /// The encoded internal key of this entry. At least [`crate::key::TRAILER_LEN`] bytes with a known kind:
    /// a cursor over a file reports anything else as corruption instead of standing on it.
    fn key(&self) -> &[u8];

    /// The value of this entry; empty for a delete.
    fn value(&self) -> &[u8];
}

impl<C: Cursor + ?Sized> Cursor for Box<C> {
    fn valid(&self) -> bool {
        (**self).valid()
    }
    fn seek_to_first(&mut self) -> Result<()> {
        (**self).seek_to_first()
    }
    fn seek_to_last(&mut self) -> Result<()> {
        (**self).seek_to_last()
    }
    fn seek(&mut self, target: &[u8]) -> Result<()> {
        (**self).seek(target)
    }
    fn announce_seek(&mut self, target: &[u8]) {
        (**self).announce_seek(target);
    }
    fn seek_for_prev(&mut self, target: &[u8]) -> Result<()> {
        (**self).seek_for_prev(target)
    }
    fn next(&mut self) -> Result<()> {
        (**self).next()
    }
    fn prev(&mut self) -> Result<()> {
        (**self).prev()
    }
    fn key(&self) -> &[u8] {
        (**self).key()
    }
    fn value(&self) -> &[u8] {
        (**self).value()
    }
}
