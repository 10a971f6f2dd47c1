//! The cursor over a memtable. It owns its table, so that it can live as long as a scan needs it.
//!
//! It sees entries inserted while it lives, if they lie ahead of it; readers filter by sequence
//! number. Made by [`Memtable::cursor`]; merged with the cursors of sstables by the engine. Never
//! fails.

use std::sync::Arc;

use esker_base::key::TRAILER_LEN;
use esker_base::{Cursor, Result};

use crate::Memtable;
use crate::tree::{EntryRef, Place, Position};

/// A double-ended cursor over a [`Memtable`].
pub struct MemtableCursor {
    table: Arc<Memtable>,
    /// C1: always a position in this table's tree: set only by `stand_on`, from places of that tree.
    position: Option<Position>,
}

impl MemtableCursor {
    pub(crate) fn new(table: Arc<Memtable>) -> MemtableCursor {
        MemtableCursor { table, position: None }
    }

    #[inline]
    fn place(&self) -> Place<'_> {
        let position = self.position.expect("the cursor is used only while it is valid");
        // SAFETY: C1. `table` never changes and keeps its tree alive.
        unsafe { self.table.tree().at(position) }
    }

    #[inline]
    fn entry(&self) -> EntryRef<'_> {
        self.place().entry()
    }

    /// Stands on what a search of this table's tree found.
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
        self.stand_on(self.table.tree().first().map(Place::position))
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.stand_on(self.table.tree().last().map(Place::position))
    }

    fn seek(&mut self, target: &[u8]) -> Result<()> {
        let (user_key, trailer) = parts(target);
        self.stand_on(self.table.tree().seek(user_key, trailer).map(Place::position))
    }

    fn seek_for_prev(&mut self, target: &[u8]) -> Result<()> {
        let (user_key, trailer) = parts(target);
        let found = self.table.tree().seek_before(user_key, trailer, true);
        self.stand_on(found.map(Place::position))
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        self.stand_on(self.place().next().map(Place::position))
    }

    fn prev(&mut self) -> Result<()> {
        self.stand_on(self.place().prev().map(Place::position))
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.entry().key()
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.entry().value()
    }
}

fn parts(target: &[u8]) -> (&[u8], u64) {
    let (user_key, trailer) =
        target.split_last_chunk::<TRAILER_LEN>().expect("a seek target is an internal key");
    (user_key, u64::from_le_bytes(*trailer))
}
