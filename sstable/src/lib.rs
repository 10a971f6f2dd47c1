//! Esker's immutable sorted files.
//!
//! A [`Writer`] turns internal entries in ascending order into one file; a [`Reader`] answers point reads and hands
//! out cursors over it; a [`LevelCursor`] reads a run of disjoint files as one. The bytes are specified in
//! [`mod@format`]. Flush and compaction write, the engine reads. Nothing here knows which files exist (the manifest
//! does) or which versions should survive (compaction does).

#![forbid(unsafe_code)]

pub mod format;

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
mod properties;
mod reader;
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
pub use level::{FileSource, LevelCursor};
pub use properties::Properties;
pub use reader::{Found, FoundRef, Identity, ReadMode, Reader};
pub use verify::VerifyReport;
pub use writer::{Summary, Writer, WriterOptions};
