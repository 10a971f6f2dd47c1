//! Reading ahead for cursors that go forward through a file.
//!
//! Maps are advised for random access, so that point reads fetch no more than they need; a cursor therefore looks
//! ahead itself. One that fills the cache asks the system for the next stretch once it has gone on for some blocks.
//! One that does not (compaction) reads stretches by position, past map and cache, and verifies each block anew.

use std::sync::Arc;

use bytes::Bytes;
use esker_base::Result;
use esker_vfs::{Advice, File};

use crate::format::Compression;
use crate::reader::Reader;

/// Blocks in a row before a cursor counts as going on.
const BLOCKS_BEFORE: u32 = 4;
/// Bytes that are fetched ahead.
const STRETCH_LEN: u64 = 256 * 1024;

/// What one cursor has read or asked for ahead.
#[derive(Default)]
pub(crate) struct Readahead {
    /// Blocks loaded one after the other up to now.
    in_a_row: u32,
    /// Opened when first needed; `None` within if the file cannot be opened any more, and the map has to do.
    file: Option<Option<Arc<dyn File>>>,
    /// The system was asked for everything up to here.
    asked_until: u64,
    /// Stored blocks, and where the first byte stands in the file.
    stretch: Bytes,
    stretch_start: u64,
}

impl Readahead {
    /// Tells how the cursor moves before each load.
    pub fn moves(&mut self, to_next_block: bool) {
        self.in_a_row = if to_next_block { self.in_a_row.saturating_add(1) } else { 0 };
    }

    /// Asks for the blocks after `at` if the cursor is going on. Does nothing for files that are not mapped: there the
    /// system sees the reads and looks ahead by itself.
    pub fn hint(&mut self, reader: &Reader, at: usize) {
        if self.in_a_row < BLOCKS_BEFORE || reader.map().is_none() {
            return;
        }
        let here = reader.index().handle(at).offset;
        if self.in_a_row == BLOCKS_BEFORE {
            self.asked_until = here;
        }
        if here + STRETCH_LEN / 2 < self.asked_until {
            return;
        }
        let start = self.asked_until.max(here);
        let end = (start + STRETCH_LEN).min(reader.blocks_end());
        if start < end
            && let Some(file) = self.file(reader)
        {
            file.advise(start, end - start, Advice::WillNeed);
        }
        self.asked_until = end;
    }

    /// The content of block `at`, read from the file together with what follows if the cursor is going on.
    pub fn fetch(&mut self, reader: &Reader, at: usize) -> Result<(Compression, Bytes)> {
        let handle = reader.index().handle(at);
        let held = self.stretch_start..self.stretch_start + self.stretch.len() as u64;
        if handle.offset < held.start || handle.end() > held.end {
            let Some(file) = self.file(reader).cloned() else {
                return reader.block_bytes(at, false);
            };
            let going_on = self.in_a_row > 0;
            let wanted = if going_on { STRETCH_LEN } else { 0 };
            let len = (reader.blocks_end() - handle.offset).min(wanted).max(u64::from(handle.len));
            self.stretch = Bytes::new();
            self.stretch = reader.read_from(&*file, handle.offset, len as usize)?;
            self.stretch_start = handle.offset;
        }
        let from = (handle.offset - self.stretch_start) as usize;
        reader.checked_block(at, &self.stretch.slice(from..from + handle.len as usize))
    }

    fn file(&mut self, reader: &Reader) -> Option<&Arc<dyn File>> {
        self.file.get_or_insert_with(|| reader.file_for_cursor()).as_ref()
    }
}
