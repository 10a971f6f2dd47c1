//! An open sstable: opening it, and what it says about itself.
//!
//! The engine's read path and compaction hold it as `Arc<Reader>`. Point reads are in `point_read.rs`, getting at
//! blocks is in `stored.rs`. Nothing here writes, and nothing is allocated from a length that was not held against
//! the file's own length first.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use esker_base::names::FileKind;
use esker_base::{Error, FileId, FileNumber, Result};
use esker_vfs::{Fs, OpenMode};

use crate::cache::BlockCache;
use crate::filter::{Filter, KeyHash, key_hash};
use crate::format::{
    self, BLOCK_TRAILER_LEN, BlockHandle, Compression, Defect, FOOTER_LEN, Footer, HEADER_LEN,
};
use crate::index::Index;
use crate::properties::Properties;
use crate::stored::Source;
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

/// One open file. Share it by `Arc`; everything takes `&self`.
pub struct Reader {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    identity: Identity,
    pub(crate) source: Source,
    pub(crate) cache: Arc<BlockCache>,
    footer: Footer,
    index: Index,
    pub(crate) filter: Option<Filter>,
    properties: Properties,
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
                (Source::mapped(map), len)
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
        source.will_need(start..footer_at);
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

    /// False only if no version of `user_key` is in the file. Looks at memory only.
    pub fn may_contain(&self, user_key: &[u8]) -> bool {
        self.may_contain_hash(key_hash(user_key))
    }

    /// As [`Reader::may_contain`], with the key's hash.
    #[inline]
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

    /// Where the data blocks end.
    pub(crate) fn blocks_end(&self) -> u64 {
        self.footer.index.offset
    }
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
