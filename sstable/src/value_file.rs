//! Value files: large values, stored apart from the sstables that point to them, so that a merge copies a pointer where
//! it would have copied the value.
//!
//! Flush and compaction write them through [`ValueWriter`], in the order of keys; the engine reads one value at a time
//! through [`ValueReader`]. The bytes are specified in [`mod@format`]. Nothing here knows which values are still
//! referenced: that is the manifest's.

pub mod format;

mod reader;
mod salvage;
mod seen;
mod writer;

#[cfg(test)]
mod tests;

pub use format::ValuePointer;
pub use reader::{ValueReader, check_value_identity, identify_values};
pub use salvage::ValueSalvage;
pub use writer::{ValueSummary, ValueWriter};
