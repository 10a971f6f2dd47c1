//! Esker's vocabulary: the pure words every other crate speaks, without any input or output.
//!
//! Keys and their one ordering ([`key`]), sequence numbers and entry kinds, batches ([`batch`]), varints,
//! checksums bound to a place ([`checksum`]), the framing that the write-ahead log and the manifest share
//! ([`frame`]), the cursor contract and the merging cursor ([`cursor`], [`merge`]), file names ([`names`]) and
//! the one error type ([`error`]). Every crate above imports this one; it imports none of ours.

#![forbid(unsafe_code)]

pub mod batch;
pub mod checksum;
pub mod cursor;
pub mod error;
pub mod frame;
pub mod ids;
pub mod key;
pub mod limits;
pub mod merge;
pub mod mutants;
pub mod names;
pub mod values;
pub mod varint;

pub use batch::{Batch, BatchOp};
pub use cursor::Cursor;
pub use error::{Error, ErrorKind, Result};
pub use ids::{Epoch, FileId, FileNumber, KeyspaceId, LogPosition, SeqNo};
pub use key::{EntryKind, InternalKey};
pub use values::{ValueReference, ValueReferences};
