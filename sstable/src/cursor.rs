//! The cursor over one sstable, in both directions; blocks are loaded when it gets to them.
//!
//! Made by [`Reader::cursor`]; merged with others by the engine and by compaction.

use std::sync::Arc;

use esker_base::{Cursor, Result, key};

use crate::block_cursor::BlockCursor;
use crate::format::{Defect, u64_at};
use crate::readahead::Readahead;
use crate::reader::Reader;
use crate::value_file::ValuePointer;

/// A cursor over all entries of a file. Holds the reader, and so the file, open.
pub struct SstableCursor {
    reader: Arc<Reader>,
    fill_cache: bool,
    /// The block that `block` is on; meaningless while that is invalid.
    at: usize,
    /// Whether block `at` is loaded, so that a seek into it need not load it again.
    loaded: bool,
    block: BlockCursor,
    ahead: Readahead,
    /// The target of the last announced seek, and the block that it leads to.
    announced: Vec<u8>,
    leads_to: Option<usize>,
}

impl Reader {
    /// A cursor over the file. With `fill_cache` it reads through map and cache and leaves its blocks there, as scans
    /// for users want it. Without, it reads long stretches from the file past both and verifies every block, as
    /// compaction wants it.
    pub fn cursor(self: &Arc<Self>, fill_cache: bool) -> SstableCursor {
        let block = BlockCursor::default();
        let ahead = Readahead::default();
        SstableCursor {
            reader: self.clone(),
            fill_cache,
            at: 0,
            loaded: false,
            block,
            ahead,
            announced: Vec::new(),
            leads_to: None,
        }
    }
}

impl SstableCursor {
    /// Makes block `at` the current one, unpositioned.
    fn load(&mut self, at: usize) -> Result<()> {
        if self.loaded && self.at == at {
            return Ok(());
        }
        self.ahead.moves(self.loaded && at == self.at + 1);
        self.loaded = false;
        self.block.clear();
        let (compression, content) = if self.fill_cache {
            self.ahead.hint(&self.reader, at);
            self.reader.block_bytes(at, true)?
        } else {
            self.ahead.fetch(&self.reader, at)?
        };
        self.at = at;
        let result = self.block.reset(content, compression);
        self.check(result)?;
        self.loaded = true;
        Ok(())
    }

    /// Hands the value pointers among the next `count` entries to `visit`, as far as they stand in the current block: those
    /// behind the current entry that were not handed out before, or with `from_here` the current one and those behind it.
    /// How many entries that were. For who wants to have what they point to fetched.
    pub fn look_ahead(
        &mut self,
        count: usize,
        from_here: bool,
        visit: &mut impl FnMut(ValuePointer),
    ) -> usize {
        self.block.look_ahead(count, from_here, visit)
    }

    /// The block that may hold the first entry at or after `target`.
    fn block_of(&self, target: &[u8]) -> Option<usize> {
        let user_key = key::user_key(target);
        self.reader.index().find(user_key, u64_at(target, user_key.len()))
    }

    #[inline]
    fn check(&self, result: std::result::Result<(), Defect>) -> Result<()> {
        result.map_err(|defect| self.reader.block_defect(self.at, defect))
    }

    /// If the block is exhausted, goes to the first entry after it.
    fn skip_forward(&mut self) -> Result<()> {
        while !self.block.valid() && self.at + 1 < self.reader.index().block_count() {
            self.load(self.at + 1)?;
            let result = self.block.seek_to_first();
            self.check(result)?;
        }
        Ok(())
    }

    /// If the block is exhausted, goes to the last entry before it.
    fn skip_backward(&mut self) -> Result<()> {
        while !self.block.valid() && self.at > 0 {
            self.load(self.at - 1)?;
            let result = self.block.seek_to_last();
            self.check(result)?;
        }
        Ok(())
    }
}

impl Cursor for SstableCursor {
    #[inline]
    fn valid(&self) -> bool {
        self.block.valid()
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.load(0)?;
        let result = self.block.seek_to_first();
        self.check(result)?;
        self.skip_forward()
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.load(self.reader.index().block_count() - 1)?;
        let result = self.block.seek_to_last();
        self.check(result)?;
        self.skip_backward()
    }

    fn announce_seek(&mut self, target: &[u8]) {
        self.leads_to = self.block_of(target);
        self.announced.clear();
        self.announced.extend_from_slice(target);
        if let Some(at) = self.leads_to {
            self.reader.prefetch_block(at);
        }
    }

    fn seek(&mut self, target: &[u8]) -> Result<()> {
        let leads_to = if self.announced == target { self.leads_to } else { self.block_of(target) };
        match leads_to {
            Some(at) => {
                self.load(at)?;
                let result = self.block.seek(target);
                self.check(result)?;
                self.skip_forward()
            }
            None => {
                self.block.clear();
                self.loaded = false;
                Ok(())
            }
        }
    }

    fn seek_for_prev(&mut self, target: &[u8]) -> Result<()> {
        self.seek(target)?;
        if !self.valid() {
            return self.seek_to_last();
        }
        if self.key() == target { Ok(()) } else { self.prev() }
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        let result = self.block.next();
        self.check(result)?;
        if self.block.valid() { Ok(()) } else { self.skip_forward() }
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        let result = self.block.prev();
        self.check(result)?;
        if self.block.valid() { Ok(()) } else { self.skip_backward() }
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.block.key()
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.block.value()
    }
}
