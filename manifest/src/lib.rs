//! Esker's record of which files exist.
//!
//! A [`Version`] is an immutable picture of the database: keyspaces, the levels of their sstables,
//! the live segments of the write-ahead log. An [`Edit`] is a change of it. A [`ManifestLog`] keeps
//! a picture and the edits since on disk; [`recover()`] reads them back. The engine calls this
//! crate under its own locks; nothing here locks, starts threads or deletes a file that an older
//! picture names.

#![forbid(unsafe_code)]

pub mod edit;
pub mod format;
pub mod log;
pub mod recover;
pub mod salvage;
pub mod version;

pub use edit::{AddedFile, AddedValueFile, Edit, MovedFile, RemovedFile, WalEnd};
pub use log::ManifestLog;
pub use recover::{Recovered, recover};
pub use salvage::{Remains, salvage};
pub use version::{
    ClosedSeal, Compression, FileMeta, KeyspaceMeta, KeyspaceState, LEVEL_COUNT, Shutdown,
    StrategyKind, ValueFileMeta, Version, WalSegmentMeta,
};
