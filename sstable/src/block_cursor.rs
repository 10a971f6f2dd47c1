//! A cursor over the entries of one data block, in both directions.
//!
//! Used by the sstable cursor and by verify. Forward it builds each key from the one before. Backward it decodes the
//! restart interval in front of the current entry once and then walks through what it remembers.

use std::cmp::Ordering;
use std::ops::Range;

use bytes::Bytes;
use esker_base::key;

use crate::block::{Block, Layout, kind_of};
use crate::format::Defect;

/// A cursor that owns its block. The contract of [`esker_base::Cursor`], with defects for errors.
#[derive(Default)]
pub(crate) struct BlockCursor {
    content: Bytes,
    layout: Layout,
    valid: bool,
    /// Where the current entry starts.
    offset: usize,
    /// The current internal key.
    key: Vec<u8>,
    value: Range<usize>,
    /// Entries before the current one, back to a restart; empty when unknown. The nearest is last.
    before: Vec<Remembered>,
    before_keys: Vec<u8>,
}

struct Remembered {
    offset: usize,
    key_start: usize,
    value: Range<usize>,
}

impl BlockCursor {
    /// Starts over on another block, unpositioned; keeps its buffers.
    pub fn reset(&mut self, content: Bytes) -> Result<(), Defect> {
        self.valid = false;
        self.before.clear();
        self.layout = Layout::parse(&content)?;
        self.content = content;
        Ok(())
    }

    /// Leaves the block; invalid until the next reset.
    pub fn clear(&mut self) {
        self.valid = false;
        self.before.clear();
        self.content = Bytes::new();
        self.layout = Layout::default();
    }

    pub fn valid(&self) -> bool {
        self.valid
    }

    pub fn key(&self) -> &[u8] {
        &self.key
    }

    pub fn value(&self) -> &[u8] {
        &self.content[self.value.clone()]
    }

    pub fn content(&self) -> &[u8] {
        &self.content
    }

    pub fn block(&self) -> Block<'_> {
        self.layout.of(&self.content)
    }

    pub fn seek_to_first(&mut self) -> Result<(), Defect> {
        self.key.clear();
        self.before.clear();
        self.read(0)
    }

    pub fn seek_to_last(&mut self) -> Result<(), Defect> {
        self.before.clear();
        self.offset = self.layout.entries_end;
        self.prev()
    }

    pub fn seek(&mut self, target: &[u8]) -> Result<(), Defect> {
        self.valid = false;
        let (wanted, trailer_max) = target.split_at(target.len() - key::TRAILER_LEN);
        let trailer_max = crate::format::u64_at(trailer_max, 0);
        let block = self.block();
        let restart = block.last_restart_where(|user_key, trailer| match user_key.cmp(wanted) {
            Ordering::Less => true,
            Ordering::Equal => trailer > trailer_max,
            Ordering::Greater => false,
        })?;
        let start = block.restart(restart);
        self.key.clear();
        self.before.clear();
        self.read(start)?;
        while self.valid && key::compare(&self.key, target) == Ordering::Less {
            self.next()?;
        }
        Ok(())
    }

    pub fn next(&mut self) -> Result<(), Defect> {
        self.before.clear();
        self.read(self.value.end)
    }

    pub fn prev(&mut self) -> Result<(), Defect> {
        self.valid = false;
        if self.before.is_empty() && !self.remember()? {
            return Ok(());
        }
        let Some(entry) = self.before.pop() else { return Ok(()) };
        self.key.clear();
        self.key.extend_from_slice(&self.before_keys[entry.key_start..]);
        self.before_keys.truncate(entry.key_start);
        self.offset = entry.offset;
        self.value = entry.value;
        self.valid = true;
        Ok(())
    }

    /// Reads the entry at `offset`, whose predecessor's key is in `self.key` (cleared at a restart); invalid at the
    /// end of the entries.
    fn read(&mut self, offset: usize) -> Result<(), Defect> {
        self.valid = false;
        if offset >= self.layout.entries_end {
            return Ok(());
        }
        let content = &self.content;
        let entry = self.layout.of(content).entry(offset)?;
        kind_of(entry.trailer)?;
        let user_key_len = self.key.len().saturating_sub(key::TRAILER_LEN);
        if entry.shared > user_key_len {
            return Err(Defect::Damaged("an entry shares more than its predecessor has"));
        }
        self.key.truncate(entry.shared);
        self.key.extend_from_slice(&content[entry.suffix]);
        self.key.extend_from_slice(&entry.trailer.to_le_bytes());
        self.value = entry.value;
        self.offset = offset;
        self.valid = true;
        Ok(())
    }

    /// Decodes the entries from the last restart before `self.offset` up to it into `before`; false if there are
    /// none.
    fn remember(&mut self) -> Result<bool, Defect> {
        let block = self.layout.of(&self.content);
        if self.offset == 0 {
            return Ok(false);
        }
        let (mut low, mut high) = (0, block.restart_count());
        while high - low > 1 {
            let middle = low.midpoint(high);
            if block.restart(middle) < self.offset { low = middle } else { high = middle }
        }
        let mut offset = block.restart(low);
        self.before_keys.clear();
        // The user key of the entry before, within `before_keys`.
        let mut last = 0..0;
        while offset < self.offset {
            let entry = block.entry(offset)?;
            kind_of(entry.trailer)?;
            if entry.shared > last.len() {
                return Err(Defect::Damaged("an entry shares more than its predecessor has"));
            }
            let key_start = self.before_keys.len();
            self.before_keys.extend_from_within(last.start..last.start + entry.shared);
            self.before_keys.extend_from_slice(&self.content[entry.suffix]);
            last = key_start..self.before_keys.len();
            self.before_keys.extend_from_slice(&entry.trailer.to_le_bytes());
            let end = entry.value.end;
            self.before.push(Remembered { offset, key_start, value: entry.value });
            offset = end;
        }
        Ok(!self.before.is_empty())
    }
}
