//! Getting at data blocks as they are stored: from the memory map, from the cache, or from the file.
//!
//! Called by point reads and cursors. When a block is verified: in mapped mode on its first touch by this reader and
//! then never again (the pages belong to the system; damage that appears in memory later is not seen); without a map
//! each time it is read into the cache, so again after it was evicted. `verify` looks at everything each time.

use std::cell::Cell;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use esker_base::{Error, FileId, Result, SeqNo};
use esker_vfs::os::memory;
use esker_vfs::{Advice, File, OpenMode};

use crate::ahead::Fetched;
use crate::block::Layout;
use crate::cache::BlockKey;
use crate::format::{self, BLOCK_TRAILER_LEN, Compression, Defect};
use crate::prefetch;
use crate::reader::Reader;

/// Where the bytes of a file come from.
pub(crate) enum Source {
    Mapped(Map),
    Positioned(Arc<dyn File>),
}

/// A mapped file, and what of it was fetched ahead.
pub(crate) struct Map {
    bytes: Bytes,
    fetched: Fetched,
}

/// What the index keeps of each block of a mapped file. This one was not looked at yet.
const UNKNOWN: u16 = 0;
/// A verified block that is not packed.
const PLAIN: u16 = 1;
/// A verified block with packed values.
const PACKED: u16 = 2;

/// Cache lines at the front of a block that are asked for at once: restarts and keys of a typical block.
const FRONT_LINES: usize = 8;

/// Of how many reads of mapped blocks one looks whether the block is in memory. Asking the system each time would cost
/// more than the read.
const READS_PER_LOOK: u32 = 61;

thread_local! {
    /// Reads of mapped blocks by this thread.
    static READS: Cell<u32> = const { Cell::new(0) };
}

/// The content of a verified block, as it is stored.
pub(crate) enum Stored<'a> {
    /// Within the map.
    Mapped(&'a [u8]),
    Owned(Bytes),
}

impl Stored<'_> {
    #[inline]
    pub fn content(&self) -> &[u8] {
        match self {
            Stored::Mapped(content) => content,
            Stored::Owned(content) => content,
        }
    }
}

impl Reader {
    /// The map, if the file is mapped.
    #[inline]
    pub(crate) fn map(&self) -> Option<&Bytes> {
        match &self.source {
            Source::Mapped(map) => Some(&map.bytes),
            Source::Positioned(_) => None,
        }
    }

    /// A handle for reading by position; `None` if the name is gone, when only a map is left.
    pub(crate) fn file_for_cursor(&self) -> Option<Arc<dyn File>> {
        match &self.source {
            Source::Mapped(_) => self.fs().open(self.path(), OpenMode::Read).ok(),
            Source::Positioned(file) => Some(file.clone()),
        }
    }

    /// `len` bytes of the file from `offset`, which the caller has held against the file's length.
    pub(crate) fn read_from(&self, file: &dyn File, offset: u64, len: usize) -> Result<Bytes> {
        read_exact(file, self.path(), offset, len)
    }
    /// Starts to fetch the block that may hold a version of `user_key` that a reader at `seq` may see; a hint. For who
    /// is about to read several keys and would otherwise wait for each.
    pub fn announce(&self, user_key: &[u8], seq: SeqNo) {
        let Some(at) = self.index().find(user_key, seq.0 << 8 | 0xff) else { return };
        let handle = self.index().handle(at);
        match &self.source {
            Source::Mapped(map) => {
                let stored = &map.bytes[handle.offset as usize..handle.end() as usize];
                prefetch::front(stored, FRONT_LINES);
                if self.index().state(at) == UNKNOWN {
                    self.fetch_first(map, at, true);
                } else if self.is_cold(stored) {
                    memory::will_need(stored);
                }
            }
            Source::Positioned(file) => {
                if !self.cache.holds(&self.cache_key(handle.offset)) {
                    file.advise(handle.offset, u64::from(handle.len), Advice::WillNeed);
                }
            }
        }
    }

    /// Asks for a mapped block that was not looked at before, and for what is around it while that pays, if it is not in
    /// memory. A fault does for a block of one page, unless it `is_ahead` of the read.
    #[cold]
    fn fetch_first(&self, map: &Map, at: usize, is_ahead: bool) {
        let handle = self.index().handle(at);
        let stored = &map.bytes[handle.offset as usize..handle.end() as usize];
        if memory::is_resident(stored) {
            return;
        }
        let payoff = &self.cache.payoff;
        let bytes = handle.offset..handle.end();
        if payoff.pays() {
            match map.fetched.fetch(&bytes) {
                Some(chunks) => {
                    payoff.fetched();
                    let end = (chunks.end as usize).min(map.bytes.len());
                    return memory::will_need(&map.bytes[chunks.start as usize..end]);
                }
                // Who asks for several keys asks for the same chunk again while it is on its way.
                None if is_ahead || map.fetched.is_latest(&bytes) => {}
                None => payoff.lost(),
            }
        }
        if is_ahead || memory::spans_pages(stored) {
            memory::will_need(stored);
        }
    }

    /// Whether mapped blocks have to be expected not to be in memory. Looks at this one, which was looked at before, from
    /// time to time.
    #[inline]
    fn is_cold(&self, stored: &[u8]) -> bool {
        let reads = READS.get().wrapping_add(1);
        READS.set(reads);
        if reads.is_multiple_of(READS_PER_LOOK) && !memory::is_resident(stored) {
            self.cache.set_cold();
            self.cache.payoff.is_short();
        }
        self.cache.is_cold()
    }

    /// Asks for the front of block `at` (below the index's count), where it is mapped; a hint.
    pub(crate) fn prefetch_block(&self, at: usize) {
        if let Source::Mapped(map) = &self.source {
            let handle = self.index().handle(at);
            prefetch::front(&map.bytes[handle.offset as usize..handle.end() as usize], FRONT_LINES);
        }
    }

    fn cache_key(&self, offset: u64) -> BlockKey {
        let mixed = esker_base::mutant!("sstable_cache_key_without_file");
        let file_id = if mixed { FileId::default() } else { self.identity().file_id };
        BlockKey { file_id, offset }
    }

    /// How the values of block `at` (below the index's count) are stored, and its content; without a map it enters the
    /// cache if `fill_cache`. `fetch` if nobody asked for its memory yet.
    #[inline]
    pub(crate) fn block(
        &self,
        at: usize,
        fill_cache: bool,
        fetch: bool,
    ) -> Result<(Compression, Stored<'_>)> {
        let Source::Mapped(map) = &self.source else { return self.read_in(at, fill_cache) };
        let handle = self.index().handle(at);
        let stored = &map.bytes[handle.offset as usize..handle.end() as usize];
        let state = self.index().state(at);
        if fetch {
            prefetch::front(stored, FRONT_LINES);
            if state == UNKNOWN {
                self.fetch_first(map, at, false);
            } else if self.is_cold(stored) && memory::spans_pages(stored) {
                // Each page would be a fault and a read of its own.
                memory::will_need(stored);
            }
        }
        let compression = match state {
            PLAIN => Compression::None,
            PACKED => Compression::Lz4,
            _ => self.first_touch(at, stored)?,
        };
        // Verified, so there is a trailer; it is not looked at again, as it is far from the keys.
        Ok((compression, Stored::Mapped(&stored[..stored.len() - BLOCK_TRAILER_LEN])))
    }

    /// Verifies a mapped block.
    #[cold]
    fn first_touch(&self, at: usize, stored: &[u8]) -> Result<Compression> {
        let (compression, _) = self.checked(at, stored)?;
        let state = match compression {
            Compression::None => PLAIN,
            Compression::Lz4 => PACKED,
        };
        debug_assert_ne!(state, UNKNOWN);
        self.index().set_state(at, state);
        Ok(compression)
    }

    /// Verifies the stored bytes of block `at`; how its values are stored, and its content.
    fn checked<'a>(&self, at: usize, stored: &'a [u8]) -> Result<(Compression, &'a [u8])> {
        let (file_id, offset) = (self.identity().file_id, self.index().handle(at).offset);
        let checked = || -> std::result::Result<_, Defect> {
            let (compression, content, len) = format::open_block(file_id, offset, stored)?;
            Layout::checked(content, compression, len)?;
            Ok((compression, content))
        };
        checked().map_err(|defect| self.block_defect(at, defect))
    }

    /// As [`Reader::block`] for a cursor, which keeps what it is on.
    pub(crate) fn block_bytes(&self, at: usize, fill_cache: bool) -> Result<(Compression, Bytes)> {
        let (compression, stored) = self.block(at, fill_cache, true)?;
        let content = match (stored, self.map()) {
            (Stored::Owned(content), _) => content,
            (Stored::Mapped(content), Some(map)) => map.slice_ref(content),
            (Stored::Mapped(content), None) => Bytes::copy_from_slice(content),
        };
        Ok((compression, content))
    }

    /// Verifies the stored bytes of block `at`, which were read from the file; its content is a slice of them.
    pub(crate) fn checked_block(&self, at: usize, stored: &Bytes) -> Result<(Compression, Bytes)> {
        let (compression, content) = self.checked(at, stored)?;
        Ok((compression, stored.slice_ref(content)))
    }

    /// Takes a block of a file without a map from the cache, or reads and verifies it.
    fn read_in(&self, at: usize, fill_cache: bool) -> Result<(Compression, Stored<'static>)> {
        let handle = self.index().handle(at);
        let key = self.cache_key(handle.offset);
        if let Some(stored) = self.cache.get(&key) {
            let defect = |defect| self.block_defect(at, defect);
            let (compression, content, _) = format::open_verified(&stored).map_err(defect)?;
            return Ok((compression, Stored::Owned(stored.slice_ref(content))));
        }
        self.cache.missed(&key);
        let stored = self.source.read(self.path(), handle.offset, handle.len as usize)?;
        let (compression, content) = self.checked_block(at, &stored)?;
        if fill_cache {
            self.cache.insert(key, stored);
        }
        Ok((compression, Stored::Owned(content)))
    }
}

impl Source {
    pub fn mapped(bytes: Bytes) -> Source {
        let fetched = Fetched::new(bytes.len() as u64);
        Source::Mapped(Map { bytes, fetched })
    }

    /// Starts to fetch a part of the file that is about to be read from front to back, where a fault would fetch a page.
    pub fn will_need(&self, range: Range<u64>) {
        if let Source::Mapped(map) = self
            && let Some(bytes) = map.bytes.get(range.start as usize..range.end as usize)
        {
            memory::will_need(bytes);
        }
    }

    /// `len` bytes from `offset`, which the caller has held against the file's length.
    pub(crate) fn read(&self, path: &Path, offset: u64, len: usize) -> Result<Bytes> {
        match self {
            Source::Mapped(map) => {
                let from = offset as usize;
                Ok(map.bytes.slice(from..from + len))
            }
            Source::Positioned(file) => read_exact(&**file, path, offset, len),
        }
    }
}

fn read_exact(file: &dyn File, path: &Path, offset: u64, len: usize) -> Result<Bytes> {
    let mut buffer = vec![0; len];
    file.read_exact_at(&mut buffer, offset).map_err(|error| Error::io("read", path, error))?;
    Ok(Bytes::from(buffer))
}
