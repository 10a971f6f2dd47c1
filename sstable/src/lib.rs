//! Esker's immutable sorted files.
//!
//! A [`Writer`] turns internal entries in ascending order into one file; a [`Reader`] answers point reads and hands
//! out cursors over it; a [`LevelCursor`] reads a run of disjoint files as one. The bytes are specified in
//! [`mod@format`]. Flush and compaction write, the engine reads. Nothing here knows which files exist (the manifest
//! does) or which versions should survive (compaction does).
//!
//! ```
//! use std::path::Path;
//! use std::sync::Arc;
//!
//! use esker_base::{EntryKind, FileId, FileNumber, SeqNo, key};
//! use esker_sstable::{BlockCache, Identity, ReadMode, Reader, Writer, WriterOptions};
//! use esker_vfs::{Fs, simulated::SimulatedFs};
//!
//! # fn main() -> esker_base::Result<()> {
//! let fs: Arc<dyn Fs> = Arc::new(SimulatedFs::new());
//! let dir = Path::new("/");
//! let (number, id) = (FileNumber(1), FileId([7; 16]));
//! let mut writer = Writer::create(fs.clone(), dir, number, id, WriterOptions::default())?;
//! writer.add(&key::encode(b"apple", SeqNo(4), EntryKind::Put), b"green")?;
//! writer.add(&key::encode(b"apple", SeqNo(2), EntryKind::Put), b"red")?;
//! let summary = writer.finish()?;
//!
//! let cache = Arc::new(BlockCache::new(8 << 20));
//! let reader = Reader::open(&fs, dir, &Identity::from(&summary), ReadMode::Mapped, cache)?;
//! let old = reader.get(b"apple", SeqNo(3))?.expect("there is a version as old");
//! assert_eq!((old.seq, &old.value[..]), (SeqNo(2), &b"red"[..]));
//! assert!(reader.get(b"apple", SeqNo(1))?.is_none());
//! # Ok(())
//! # }
//! ```

#![deny(unsafe_code)]

pub mod format;

mod ahead;
mod block;
mod block_builder;
mod block_cursor;
mod cache;
mod cursor;
mod filter;
mod identity;
mod index;
mod inspect;
mod level;
mod lz4;
mod point_read;
mod prefetch;
mod properties;
mod readahead;
mod reader;
mod salvage;
mod stored;
pub mod value_file;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

pub use cache::{BlockCache, CacheMetrics};
pub use cursor::SstableCursor;
pub use filter::{FilterKind, KeyHash, key_hash};
pub use format::Compression;
pub use identity::check_identity;
pub use inspect::BlockInfo;
pub use level::{FileSource, LevelCursor, Run};
pub use point_read::{Found, FoundRef};
pub use properties::Properties;
pub use reader::{Identity, ReadMode, Reader};
pub use salvage::{LostBlocks, Salvage, identify, salvage};
pub use value_file::{
    ValuePointer, ValueReader, ValueSalvage, ValueSummary, ValueWriter, check_value_identity,
    identify_values,
};
pub use verify::{VerifiedPiece, VerifyReport};
pub use writer::{Summary, Writer, WriterOptions};
