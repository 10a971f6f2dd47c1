//! Reading an sstable: opening it, point reads, and loading blocks for cursors and verify.
//!
//! The engine's read path and compaction call this through `Arc<Reader>`. Nothing here writes, and nothing is
//! allocated from a length that was not held against the file's own length first.
//!
//! When a block is verified: in mapped mode an uncompressed block on its first touch by this reader and then never
//! again (the pages belong to the system; damage that appears in memory later is not seen); every other block each
//! time it is read into the cache, so again after it was evicted. `verify` looks at everything each time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use esker_base::names::FileKind;
use esker_base::{EntryKind, Error, FileId, FileNumber, Result, SeqNo};
use esker_vfs::{File, Fs, OpenMode};

use crate::block::{Layout, check_value, kind_of};
use crate::cache::{BlockCache, BlockKey};
use crate::filter::{Filter, KeyHash, key_hash};
use crate::format::{
    self, BLOCK_TRAILER_LEN, BlockHandle, Compression, Defect, FOOTER_LEN, Footer, HEADER_LEN,
};
use crate::index::Index;
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
    /// What is known of each block; see [`UNKNOWN`].
    block_states: Box<[AtomicU8]>,
}

enum Source {
    Mapped(Bytes),
    Positioned(Arc<dyn File>),
}

/// A block that was not looked at yet.
const UNKNOWN: u8 = 0;
/// A verified, uncompressed block of a mapped file: readable in place.
const IN_PLACE: u8 = 1;
/// A compressed block, or any block of a file that is not mapped: to be found in the cache.
const CACHED: u8 = 2;

/// A block's content.
pub(crate) enum Content<'a> {
    /// Within the map, at this offset.
    InPlace(&'a [u8], usize),
    Owned(Bytes),
}

impl Content<'_> {
    fn as_slice(&self) -> &[u8] {
        match self {
            Content::InPlace(content, _) => content,
            Content::Owned(content) => content,
        }
    }
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

        let block_states = (0..index.block_count()).map(|_| AtomicU8::new(UNKNOWN)).collect();
        drop(sections);
        let fs = fs.clone();
        let identity = *identity;
        Ok(Reader {
            fs,
            path,
            identity,
            source,
            cache,
            footer,
            index,
            filter,
            properties,
            block_states,
        })
    }

    /// The newest version of `user_key` in this file that a reader at `seq` may see.
    /// [`esker_base::ErrorKind::Corruption`] if the block that would hold it is damaged.
    pub fn get(&self, user_key: &[u8], seq: SeqNo) -> Result<Option<Found>> {
        self.get_hashed(user_key, key_hash(user_key), seq)
    }

    /// As [`Reader::get`], with the key's hash computed by the caller, once for many files.
    pub fn get_hashed(&self, user_key: &[u8], hash: KeyHash, seq: SeqNo) -> Result<Option<Found>> {
        let Some((content, hit)) = self.find(user_key, hash, seq)? else { return Ok(None) };
        let value = match content {
            Content::InPlace(_, at) => match &self.source {
                Source::Mapped(map) => map.slice(at + hit.value.start..at + hit.value.end),
                Source::Positioned(_) => unreachable!("only a map has blocks in place"),
            },
            Content::Owned(content) => content.slice(hit.value),
        };
        Ok(Some(Found { seq: SeqNo(hit.trailer >> 8), kind: hit.kind, value }))
    }

    /// As [`Reader::get_hashed`], handing the value to `use_it` where it stands: no copy, no shared counter touched.
    pub fn get_with<R>(
        &self,
        user_key: &[u8],
        hash: KeyHash,
        seq: SeqNo,
        use_it: impl FnOnce(FoundRef<'_>) -> R,
    ) -> Result<Option<R>> {
        let Some((content, hit)) = self.find(user_key, hash, seq)? else { return Ok(None) };
        let value = &content.as_slice()[hit.value];
        Ok(Some(use_it(FoundRef { seq: SeqNo(hit.trailer >> 8), kind: hit.kind, value })))
    }

    fn find(
        &self,
        user_key: &[u8],
        hash: KeyHash,
        seq: SeqNo,
    ) -> Result<Option<(Content<'_>, VisibleHit)>> {
        if !self.may_contain_hash(hash) {
            return Ok(None);
        }
        // As in a seek key: above every kind of that sequence.
        let trailer_max = seq.0 << 8 | 0xff;
        let Some(at) = self.index.find(user_key, trailer_max) else { return Ok(None) };
        let content = self.block(at, true)?;
        let search = || -> std::result::Result<Option<VisibleHit>, Defect> {
            let layout = Layout::parse(content.as_slice())?;
            let hit = layout.of(content.as_slice()).search(user_key, trailer_max)?;
            hit.map(|hit| {
                let kind = kind_of(hit.trailer)?;
                let value = layout.keys_end + hit.value.start..layout.keys_end + hit.value.end;
                check_value(kind, &content.as_slice()[value.clone()])?;
                Ok(VisibleHit { trailer: hit.trailer, kind, value })
            })
            .transpose()
        };
        let hit = search().map_err(|defect| self.block_defect(at, defect))?;
        Ok(hit.map(|hit| (content, hit)))
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

    /// Bytes of memory that the reader holds for index, filter and block states; data blocks are the cache's.
    pub fn memory_bytes(&self) -> usize {
        self.index.memory_bytes()
            + self.filter.as_ref().map_or(0, Filter::memory_bytes)
            + self.block_states.len()
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

    /// The content of block `at` (below the index's count) as owned bytes, for a cursor.
    pub(crate) fn block_bytes(&self, at: usize, fill_cache: bool) -> Result<Bytes> {
        match (self.block(at, fill_cache)?, &self.source) {
            (Content::InPlace(content, from), Source::Mapped(map)) => {
                Ok(map.slice(from..from + content.len()))
            }
            (Content::InPlace(content, _), _) => Ok(Bytes::copy_from_slice(content)),
            (Content::Owned(content), _) => Ok(content),
        }
    }

    fn block(&self, at: usize, fill_cache: bool) -> Result<Content<'_>> {
        let handle = self.index.handle(at);
        let state = self.block_states[at].load(Ordering::Relaxed);
        if state == IN_PLACE
            && let Source::Mapped(map) = &self.source
        {
            let from = handle.offset as usize;
            let content = &map[from..from + handle.len as usize - BLOCK_TRAILER_LEN];
            return Ok(Content::InPlace(content, from));
        }
        let mixed = esker_base::mutant!("sstable_cache_key_without_file");
        let file_id = if mixed { FileId::default() } else { self.identity.file_id };
        let key = BlockKey { file_id, offset: handle.offset };
        let in_cache = state == CACHED || matches!(self.source, Source::Positioned(_));
        if in_cache && let Some(content) = self.cache.get(&key) {
            return Ok(Content::Owned(content));
        }
        self.load(at, handle, key, fill_cache)
    }

    /// Reads, verifies and decodes a block.
    #[cold]
    fn load(
        &self,
        at: usize,
        handle: BlockHandle,
        key: BlockKey,
        fill_cache: bool,
    ) -> Result<Content<'_>> {
        let defect = |defect| self.block_defect(at, defect);
        let file_id = self.identity.file_id;
        let owned = match &self.source {
            Source::Mapped(map) => {
                let from = handle.offset as usize;
                let stored = &map[from..from + handle.len as usize];
                match format::open_block(file_id, handle.offset, stored).map_err(defect)? {
                    (Compression::None, content, _) => {
                        self.block_states[at].store(IN_PLACE, Ordering::Relaxed);
                        return Ok(Content::InPlace(content, from));
                    }
                    (Compression::Lz4, content, len) => {
                        Bytes::from(format::decompress(content, len).map_err(defect)?)
                    }
                }
            }
            Source::Positioned(file) => {
                let stored = self.read_from(&**file, handle.offset, handle.len as usize)?;
                self.decode_block(at, &stored)?
            }
        };
        self.block_states[at].store(CACHED, Ordering::Relaxed);
        if fill_cache {
            self.cache.insert(key, owned.clone());
        }
        Ok(Content::Owned(owned))
    }
}

/// A hit of a kind that this build reads.
struct VisibleHit {
    trailer: u64,
    kind: EntryKind,
    value: std::ops::Range<usize>,
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
