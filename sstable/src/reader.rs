//! Reading an sstable: opening it, point reads, and loading blocks for cursors and verify.
//!
//! The engine's read path and compaction call this through `Arc<Reader>`. Nothing here writes, and nothing is
//! allocated from a length that was not held against the file's own length first.
//!
//! When a block is verified: in mapped mode on its first touch by this reader and then never again (the pages belong to
//! the system; damage that appears in memory later is not seen); without a map each time it is read into the cache, so
//! again after it was evicted. `verify` looks at everything each time.
//!
//! A point read of a compressed block that is not in the cache decodes it into memory of the thread, and only up to the
//! value that it is after. The block enters the cache if it is read again soon, see `cache.rs`.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use esker_base::names::FileKind;
use esker_base::{EntryKind, Error, FileId, FileNumber, Result, SeqNo};
use esker_vfs::os::memory;
use esker_vfs::{Advice, File, Fs, OpenMode};

use crate::block::{Layout, check_value, kind_of};
use crate::cache::{BlockCache, BlockKey};
use crate::filter::{Filter, KeyHash, key_hash};
use crate::format::{
    self, BLOCK_TRAILER_LEN, BlockHandle, Compression, Defect, FOOTER_LEN, Footer, HEADER_LEN,
};
use crate::index::Index;
use crate::lz4::{Decoder, SLACK_LEN};
use crate::prefetch;
use crate::properties::Properties;
use crate::writer::Summary;

/// What the manifest says about a file; a reader refuses a file that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The number in the file's name.
    pub number: FileNumber,
    /// The identity in the file's header.
    pub file_id: FileId,
    /// Length in bytes.
    pub len: u64,
    /// CRC-32 of the whole file; compared by [`Reader::verify`] only.
    pub checksum: u32,
}

impl From<&Summary> for Identity {
    fn from(summary: &Summary) -> Identity {
        let Summary { number, file_id, len, checksum, .. } = *summary;
        Identity { number, file_id, len, checksum }
    }
}

/// How a reader gets at the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// Through a memory map: no copy and no system call for resident pages. An unreadable sector ends the process.
    Mapped,
    /// By positioned reads through the block cache: an unreadable sector is an error of that read.
    Positioned,
}

/// The newest visible version of a key in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// When it was committed.
    pub seq: SeqNo,
    /// Put, delete or value pointer.
    pub kind: EntryKind,
    /// The value or the pointer to it, a slice of the block or the map that it was found in; empty for a delete.
    pub value: Bytes,
}

/// As [`Found`], borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundRef<'a> {
    /// When it was committed.
    pub seq: SeqNo,
    /// Put, delete or value pointer.
    pub kind: EntryKind,
    /// The value or the pointer to it; empty for a delete.
    pub value: &'a [u8],
}

/// One open file. Share it by `Arc`; everything takes `&self`.
pub struct Reader {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    identity: Identity,
    source: Source,
    cache: Arc<BlockCache>,
    footer: Footer,
    index: Index,
    filter: Option<Filter>,
    properties: Properties,
}

enum Source {
    Mapped(Bytes),
    Positioned(Arc<dyn File>),
}

/// What the index keeps of each block: one of these in the lowest two bits, above it, for a packed one, when it was
/// decoded last. This one was not looked at yet.
const UNKNOWN: u16 = 0;
/// A verified, uncompressed block of a mapped file: readable in place.
const IN_PLACE: u16 = 1;
/// A verified, compressed block of a mapped file.
const PACKED: u16 = 2;
/// A verified block that entered the cache.
const CACHED: u16 = 3;
const STATE_BITS: u32 = 2;
const STATE_MASK: u16 = 3;

/// Cache lines at the front of a block that are asked for at once: restarts and keys of a typical block.
const FRONT_LINES: usize = 8;

/// The longest block that is decoded into memory that a thread keeps.
const SCRATCH_CONTENT_MAX: usize = 64 * 1024;

thread_local! {
    /// Where point reads decode blocks. Taken while in use, so that a read within a read finds none and makes its own.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// Reads of mapped blocks by this thread.
    static READS: Cell<u32> = const { Cell::new(0) };
}

/// Of how many reads of mapped blocks one looks whether the block is in memory. Asking the system each time would cost
/// more than the read.
const READS_PER_LOOK: u32 = 61;

/// A block's content.
enum Content<'a> {
    /// Within the map.
    InPlace(&'a [u8]),
    Owned(Bytes),
    /// Verified and compressed: the stored content, and the length once decompressed.
    Packed(&'a [u8], usize),
}

/// A version that was found.
struct Hit<'a> {
    trailer: u64,
    kind: EntryKind,
    value: &'a [u8],
    /// What the value is a part of, unless it is the thread's memory.
    owner: Option<&'a Bytes>,
}

impl Reader {
    /// Opens the file of `identity` in `dir`. [`esker_base::ErrorKind::Corruption`] if it is missing, its length or
    /// its id differ, or header, footer, index, filter or properties are damaged; data blocks are not looked at.
    /// [`esker_base::ErrorKind::Unsupported`] if a newer version wrote it.
    pub fn open(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        identity: &Identity,
        mode: ReadMode,
        cache: Arc<BlockCache>,
    ) -> Result<Reader> {
        let path = dir.join(FileKind::Sstable.name(identity.number));
        let damaged = |offset: u64, what: &str| Error::corruption(&path, offset, what);
        let file = match fs.open(&path, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(damaged(0, "the sstable is missing"));
            }
            Err(error) => return Err(Error::io("open", &path, error)),
        };
        // A map is measured itself: what it does not cover must not be touched.
        let (source, len) = match mode {
            ReadMode::Mapped => {
                let map = file.map().map_err(|error| Error::io("map", &path, error))?;
                let len = map.len() as u64;
                (Source::Mapped(map), len)
            }
            ReadMode::Positioned => {
                let len = file.len().map_err(|error| Error::io("stat", &path, error))?;
                (Source::Positioned(file), len)
            }
        };
        if len != identity.len {
            return Err(damaged(len.min(identity.len), "the sstable's length is not what it was"));
        }
        if len < (HEADER_LEN + FOOTER_LEN + 2 * BLOCK_TRAILER_LEN) as u64 {
            return Err(damaged(len, "the file is too short for an sstable"));
        }
        let defect = |offset: u64, defect: Defect| defect_error(&path, offset, defect);

        let header = source.read(&path, 0, HEADER_LEN)?;
        let header = header.first_chunk().expect("read as long as a header");
        let file_id = format::decode_header(header).map_err(|d| defect(0, d))?;
        if file_id != identity.file_id {
            return Err(damaged(24, "this is another sstable than the one of that number"));
        }
        let footer_at = len - FOOTER_LEN as u64;
        let footer = source.read(&path, footer_at, FOOTER_LEN)?;
        let footer = footer.first_chunk().expect("read as long as a footer");
        let footer = Footer::decode(file_id, len, footer).map_err(|d| defect(footer_at, d))?;

        // The sections tile the space up to the footer: one read fetches all.
        let start = footer.index.offset;
        let sections = source.read(&path, start, (footer_at - start) as usize)?;
        let section = |handle: BlockHandle| {
            let from = (handle.offset - start) as usize;
            let stored = &sections[from..from + handle.len as usize];
            match format::open_block(file_id, handle.offset, stored) {
                Ok((Compression::None, content, _)) => Ok(content),
                Ok(_) => Err(damaged(handle.offset, "a section is compressed")),
                Err(d) => Err(defect(handle.offset, d)),
            }
        };
        let index = section(footer.index)?;
        let index = Index::decode(index, start).map_err(|d| defect(footer.index.offset, d))?;
        let filter = match footer.filter.is_absent() {
            true => None,
            false => Filter::decode(section(footer.filter)?)
                .map_err(|d| defect(footer.filter.offset, d))?,
        };
        let properties = Properties::decode(section(footer.properties)?)
            .map_err(|d| defect(footer.properties.offset, d))?;

        drop(sections);
        let fs = fs.clone();
        let identity = *identity;
        Ok(Reader { fs, path, identity, source, cache, footer, index, filter, properties })
    }

    /// The newest version of `user_key` in this file that a reader at `seq` may see.
    /// [`esker_base::ErrorKind::Corruption`] if the block that would hold it is damaged.
    pub fn get(&self, user_key: &[u8], seq: SeqNo) -> Result<Option<Found>> {
        self.get_hashed(user_key, key_hash(user_key), seq)
    }

    /// As [`Reader::get`], with the key's hash computed by the caller, once for many files.
    pub fn get_hashed(&self, user_key: &[u8], hash: KeyHash, seq: SeqNo) -> Result<Option<Found>> {
        self.get_owned(user_key, hash, seq, true)
    }

    /// As [`Reader::get_hashed`], for a key that was announced with [`Reader::announce`].
    pub fn get_announced(
        &self,
        user_key: &[u8],
        hash: KeyHash,
        seq: SeqNo,
    ) -> Result<Option<Found>> {
        self.get_owned(user_key, hash, seq, false)
    }

    fn get_owned(
        &self,
        user_key: &[u8],
        hash: KeyHash,
        seq: SeqNo,
        fetch: bool,
    ) -> Result<Option<Found>> {
        self.find(user_key, hash, seq, fetch, |hit| {
            let value = match hit.owner {
                Some(owner) => owner.slice_ref(hit.value),
                None => Bytes::copy_from_slice(hit.value),
            };
            Found { seq: SeqNo(hit.trailer >> 8), kind: hit.kind, value }
        })
    }

    /// As [`Reader::get_hashed`], handing the value to `use_it` where it stands: no copy, no shared counter touched.
    pub fn get_with<R>(
        &self,
        user_key: &[u8],
        hash: KeyHash,
        seq: SeqNo,
        use_it: impl FnOnce(FoundRef<'_>) -> R,
    ) -> Result<Option<R>> {
        self.find(user_key, hash, seq, true, |hit| {
            use_it(FoundRef { seq: SeqNo(hit.trailer >> 8), kind: hit.kind, value: hit.value })
        })
    }

    /// Asks for the memory that a read of a key with this hash looks at first; a hint.
    pub fn prefetch(&self, hash: KeyHash) {
        if let Some(filter) = &self.filter {
            filter.prefetch(hash);
        }
    }

    /// Starts to fetch the block that may hold a version of `user_key` that a reader at `seq` may see; a hint. For who
    /// is about to read several keys and would otherwise wait for each.
    pub fn announce(&self, user_key: &[u8], seq: SeqNo) {
        let Some(at) = self.index.find(user_key, seq.0 << 8 | 0xff) else { return };
        let handle = self.index.handle(at);
        let cached = || self.cache.holds(&self.cache_key(handle.offset));
        match &self.source {
            Source::Mapped(map) => {
                let stored = &map[handle.offset as usize..handle.end() as usize];
                prefetch::front(stored, FRONT_LINES);
                if self.is_cold(stored) && !(self.index.state(at) == CACHED && cached()) {
                    memory::will_need(stored);
                }
            }
            Source::Positioned(file) => {
                if !cached() {
                    file.advise(handle.offset, u64::from(handle.len), Advice::WillNeed);
                }
            }
        }
    }

    /// Whether mapped blocks have to be expected not to be in memory. Looks at this one from time to time.
    #[inline]
    fn is_cold(&self, stored: &[u8]) -> bool {
        let reads = READS.get().wrapping_add(1);
        READS.set(reads);
        if reads.is_multiple_of(READS_PER_LOOK) && !memory::is_resident(stored) {
            self.cache.set_cold();
        }
        self.cache.is_cold()
    }

    #[inline]
    fn find<R>(
        &self,
        user_key: &[u8],
        hash: KeyHash,
        seq: SeqNo,
        fetch: bool,
        use_it: impl FnOnce(Hit<'_>) -> R,
    ) -> Result<Option<R>> {
        if !self.may_contain_hash(hash) {
            return Ok(None);
        }
        // As in a seek key: above every kind of that sequence.
        let trailer_max = seq.0 << 8 | 0xff;
        let Some(at) = self.index.find(user_key, trailer_max) else { return Ok(None) };
        let key = (user_key, trailer_max);
        match (self.block(at, true, fetch)?, &self.source) {
            (Content::InPlace(content), Source::Mapped(map)) => {
                self.search(at, content, Some(map), key, use_it)
            }
            (Content::InPlace(content), _) => self.search(at, content, None, key, use_it),
            (Content::Owned(content), _) => self.search(at, &content, Some(&content), key, use_it),
            (Content::Packed(stored, len), _) => {
                let admitted = self.admits(at);
                if !admitted && len <= SCRATCH_CONTENT_MAX {
                    return self.search_packed(at, stored, len, key, use_it);
                }
                let content = self.unpack(at, stored, len)?;
                if admitted {
                    self.enter(at, &content);
                }
                self.search(at, &content, Some(&content), key, use_it)
            }
        }
    }

    /// Looks for a key and the highest trailer in the content of block `at`, which is a part of `owner`.
    #[inline]
    fn search<R>(
        &self,
        at: usize,
        content: &[u8],
        owner: Option<&Bytes>,
        (user_key, trailer_max): (&[u8], u64),
        use_it: impl FnOnce(Hit<'_>) -> R,
    ) -> Result<Option<R>> {
        let search = || {
            let layout = Layout::parse(content)?;
            let block = layout.of(content);
            let Some(hit) = block.search(user_key, trailer_max)? else { return Ok(None) };
            let (kind, value) = (kind_of(hit.trailer)?, &block.values[hit.value]);
            check_value(kind, value)?;
            Ok(Some((hit.trailer, kind, value)))
        };
        match search() {
            Ok(Some((trailer, kind, value))) => {
                Ok(Some(use_it(Hit { trailer, kind, value, owner })))
            }
            Ok(None) => Ok(None),
            Err(defect) => Err(self.block_defect(at, defect)),
        }
    }

    /// As [`Reader::search`] for a block that is not decoded yet; decodes no more than it needs.
    fn search_packed<R>(
        &self,
        at: usize,
        stored: &[u8],
        len: usize,
        (user_key, trailer_max): (&[u8], u64),
        use_it: impl FnOnce(Hit<'_>) -> R,
    ) -> Result<Option<R>> {
        let mut scratch = SCRATCH.take();
        if scratch.len() < len + SLACK_LEN {
            scratch.resize(len + SLACK_LEN, 0);
        }
        let mut search = || {
            let mut decoder = Decoder::new(stored, len);
            decoder.decode_until(len.min(Layout::HEADER_LEN), &mut scratch)?;
            let layout = Layout::parse(&scratch[..len])?;
            decoder.decode_until(layout.keys_end, &mut scratch)?;
            // The values are not there yet, but the search does not look at them.
            let hit = layout.of(&scratch[..len]).search(user_key, trailer_max)?;
            let Some(hit) = hit else { return Ok(None) };
            let value = layout.keys_end + hit.value.start..layout.keys_end + hit.value.end;
            decoder.decode_until(value.end, &mut scratch)?;
            let kind = kind_of(hit.trailer)?;
            check_value(kind, &scratch[value.clone()])?;
            Ok(Some((hit.trailer, kind, value)))
        };
        let result = match search() {
            Ok(Some((trailer, kind, value))) => {
                Ok(Some(use_it(Hit { trailer, kind, value: &scratch[value], owner: None })))
            }
            Ok(None) => Ok(None),
            Err(defect) => Err(self.block_defect(at, defect)),
        };
        SCRATCH.set(scratch);
        result
    }

    /// False only if no version of `user_key` is in the file. Looks at memory only.
    pub fn may_contain(&self, user_key: &[u8]) -> bool {
        self.may_contain_hash(key_hash(user_key))
    }

    /// As [`Reader::may_contain`], with the key's hash.
    pub fn may_contain_hash(&self, hash: KeyHash) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.may_contain(hash))
    }

    /// What the file says about itself.
    pub fn properties(&self) -> &Properties {
        &self.properties
    }

    /// What the file was opened as.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where the file stands.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of memory that the reader holds for index and filter; data blocks are the cache's.
    pub fn memory_bytes(&self) -> usize {
        self.index.memory_bytes() + self.filter.as_ref().map_or(0, Filter::memory_bytes)
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    pub(crate) fn footer(&self) -> &Footer {
        &self.footer
    }

    pub(crate) fn fs(&self) -> &Arc<dyn Fs> {
        &self.fs
    }

    /// The error for a defect of block `at`.
    pub(crate) fn block_defect(&self, at: usize, defect: Defect) -> Error {
        defect_error(&self.path, self.index.handle(at).offset, defect)
    }

    pub(crate) fn is_mapped(&self) -> bool {
        matches!(self.source, Source::Mapped(_))
    }

    /// Where the data blocks end.
    pub(crate) fn blocks_end(&self) -> u64 {
        self.footer.index.offset
    }

    /// A handle for reading by position; `None` if the name is gone, when only a map is left.
    pub(crate) fn file_for_cursor(&self) -> Option<Arc<dyn File>> {
        match &self.source {
            Source::Mapped(_) => self.fs.open(&self.path, OpenMode::Read).ok(),
            Source::Positioned(file) => Some(file.clone()),
        }
    }

    /// `len` bytes of the file from `offset`, which the caller has held against the file's length.
    pub(crate) fn read_from(&self, file: &dyn File, offset: u64, len: usize) -> Result<Bytes> {
        read_exact(file, &self.path, offset, len)
    }

    /// Verifies the stored bytes of block `at` and decodes them; a slice of them if they are not compressed.
    pub(crate) fn decode_block(&self, at: usize, stored: &Bytes) -> Result<Bytes> {
        let defect = |defect| self.block_defect(at, defect);
        let offset = self.index.handle(at).offset;
        match format::open_block(self.identity.file_id, offset, stored).map_err(defect)? {
            (Compression::None, content, _) => Ok(stored.slice(..content.len())),
            (Compression::Lz4, content, len) => {
                Ok(Bytes::from(format::decompress(content, len).map_err(defect)?))
            }
        }
    }

    /// Asks for the front of block `at` (below the index's count), where it is mapped; a hint.
    pub(crate) fn prefetch_block(&self, at: usize) {
        if let Source::Mapped(map) = &self.source {
            let handle = self.index.handle(at);
            prefetch::front(&map[handle.offset as usize..handle.end() as usize], FRONT_LINES);
        }
    }

    /// The content of block `at` (below the index's count) as owned bytes, for a cursor.
    pub(crate) fn block_bytes(&self, at: usize, fill_cache: bool) -> Result<Bytes> {
        match (self.block(at, fill_cache, true)?, &self.source) {
            (Content::InPlace(content), Source::Mapped(map)) => Ok(map.slice_ref(content)),
            (Content::InPlace(content), _) => Ok(Bytes::copy_from_slice(content)),
            (Content::Owned(content), _) => Ok(content),
            (Content::Packed(stored, len), _) => {
                let admitted = fill_cache && self.admits(at);
                let content = self.unpack(at, stored, len)?;
                if admitted {
                    self.enter(at, &content);
                }
                Ok(content)
            }
        }
    }

    fn cache_key(&self, offset: u64) -> BlockKey {
        let mixed = esker_base::mutant!("sstable_cache_key_without_file");
        let file_id = if mixed { FileId::default() } else { self.identity.file_id };
        BlockKey { file_id, offset }
    }

    /// Whether a packed block that is about to be decoded is worth a place in the cache.
    fn admits(&self, at: usize) -> bool {
        let now = self.cache.missed(&self.cache_key(self.index.handle(at).offset));
        if self.cache.has_room() {
            return true;
        }
        let (now, state) = (now << STATE_BITS >> STATE_BITS, self.index.state(at));
        let since = now.wrapping_sub(state >> STATE_BITS) << STATE_BITS >> STATE_BITS;
        if state & STATE_MASK == PACKED && since <= 1 {
            return true;
        }
        self.index.set_state(at, PACKED | now << STATE_BITS);
        false
    }

    fn unpack(&self, at: usize, stored: &[u8], len: usize) -> Result<Bytes> {
        let content = format::decompress(stored, len);
        content.map(Bytes::from).map_err(|defect| self.block_defect(at, defect))
    }

    fn enter(&self, at: usize, content: &Bytes) {
        self.cache.insert(self.cache_key(self.index.handle(at).offset), content.clone());
        self.index.set_state(at, CACHED);
    }

    /// The content of block `at`; without a map it enters the cache if `fill_cache`. `fetch` if nobody asked for its
    /// memory yet.
    #[inline]
    fn block(&self, at: usize, fill_cache: bool, fetch: bool) -> Result<Content<'_>> {
        let handle = self.index.handle(at);
        let state = self.index.state(at) & STATE_MASK;
        let Source::Mapped(map) = &self.source else { return self.read_in(at, fill_cache) };
        let stored = &map[handle.offset as usize..handle.end() as usize];
        if state == CACHED
            && let Some(content) = self.cache.get(&self.cache_key(handle.offset))
        {
            return Ok(Content::Owned(content));
        }
        if fetch {
            prefetch::front(stored, FRONT_LINES);
            if self.is_cold(stored) && memory::spans_pages(stored) {
                // Each page would be a fault and a read of its own.
                memory::will_need(stored);
            }
        }
        if state == IN_PLACE {
            return Ok(Content::InPlace(&stored[..stored.len() - BLOCK_TRAILER_LEN]));
        }
        let opened = match state {
            UNKNOWN => format::open_block(self.identity.file_id, handle.offset, stored),
            _ => format::open_verified(stored),
        };
        match opened.map_err(|defect| self.block_defect(at, defect))? {
            (Compression::None, content, _) => {
                self.index.set_state(at, IN_PLACE);
                Ok(Content::InPlace(content))
            }
            (Compression::Lz4, content, len) => Ok(Content::Packed(content, len)),
        }
    }

    /// Takes a block of a file without a map from the cache, or reads, verifies and decodes it.
    fn read_in(&self, at: usize, fill_cache: bool) -> Result<Content<'_>> {
        let handle = self.index.handle(at);
        let key = self.cache_key(handle.offset);
        if let Some(content) = self.cache.get(&key) {
            return Ok(Content::Owned(content));
        }
        self.cache.missed(&key);
        let stored = self.source.read(&self.path, handle.offset, handle.len as usize)?;
        let content = self.decode_block(at, &stored)?;
        if fill_cache {
            self.cache.insert(key, content.clone());
        }
        Ok(Content::Owned(content))
    }
}

impl Source {
    /// `len` bytes from `offset`, which the caller has held against the file's length.
    fn read(&self, path: &Path, offset: u64, len: usize) -> Result<Bytes> {
        match self {
            Source::Mapped(map) => {
                let from = offset as usize;
                Ok(map.slice(from..from + len))
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

pub(crate) fn defect_error(path: &Path, offset: u64, defect: Defect) -> Error {
    match defect {
        Defect::Damaged(what) => Error::corruption(path, offset, what),
        Defect::Unsupported(what) => Error::unsupported(path, what),
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("path", &self.path).finish_non_exhaustive()
    }
}
