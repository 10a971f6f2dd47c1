//! The cursor over a memtable. It owns its table, so that it can live as long as a scan needs it.
//!
//! It sees entries inserted while it lives, if they lie ahead of it; readers filter by sequence
//! number. Made by [`Memtable::cursor`]; merged with the cursors of sstables by the engine. Never
//! fails.

use std::sync::Arc;

use esker_base::key::TRAILER_LEN;
use esker_base::{Cursor, Result};

use crate::Memtable;
use crate::skiplist::{NodeRef, Position};

/// A double-ended cursor over a [`Memtable`]. Stepping back costs a search, stepping forward one
/// load.
pub struct MemtableCursor {
    table: Arc<Memtable>,
    /// C1: always a position in this table's list: set only by `stand_on`, from nodes of that list.
    position: Option<Position>,
}

impl MemtableCursor {
    pub(crate) fn new(table: Arc<Memtable>) -> MemtableCursor {
        MemtableCursor { table, position: None }
    }

    #[inline]
    fn node(&self) -> NodeRef<'_> {
        let position = self.position.expect("the cursor is used only while it is valid");
        // SAFETY: C1. `table` never changes and keeps its list alive.
        unsafe { self.table.list().at(position) }
    }

    /// Stands on what a search of this table's list found.
    #[inline]
    fn stand_on(&mut self, position: Option<Position>) -> Result<()> {
        self.position = position;
        Ok(())
    }
}

impl Cursor for MemtableCursor {
    #[inline]
    fn valid(&self) -> bool {
        self.position.is_some()
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.stand_on(self.table.list().first().map(NodeRef::position))
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.stand_on(self.table.list().last().map(NodeRef::position))
    }

    fn seek(&mut self, target: &[u8]) -> Result<()> {
        let (user_key, trailer) = parts(target);
        self.stand_on(self.table.list().seek(user_key, trailer).map(NodeRef::position))
    }

    fn seek_for_prev(&mut self, target: &[u8]) -> Result<()> {
        let (user_key, trailer) = parts(target);
        let found = self.table.list().seek_before(user_key, trailer, true);
        self.stand_on(found.map(NodeRef::position))
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        self.stand_on(self.node().next().map(NodeRef::position))
    }

    fn prev(&mut self) -> Result<()> {
        let (user_key, trailer) = self.node().key_parts();
        let found = self.table.list().seek_before(user_key, trailer, false);
        self.stand_on(found.map(NodeRef::position))
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.node().key()
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.node().value()
    }
}

fn parts(target: &[u8]) -> (&[u8], u64) {
    let (user_key, trailer) =
        target.split_last_chunk::<TRAILER_LEN>().expect("a seek target is an internal key");
    (user_key, u64::from_le_bytes(*trailer))
}
