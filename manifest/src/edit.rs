//! A change of the picture, as the engine builds it and [`crate::Version::apply`] takes it.
//!
//! The bytes it is stored as live in [`v2`] and never change; this in-memory form may grow.

use std::sync::Arc;

use esker_base::{Epoch, FileNumber, KeyspaceId, LogPosition, SeqNo};

use crate::version::{ClosedSeal, FileMeta, KeyspaceMeta, ValueFileMeta, WalSegmentMeta};

pub mod v2;

/// A file that joins a level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedFile {
    /// Whose file it is.
    pub keyspace: KeyspaceId,
    /// Where it goes, below [`crate::LEVEL_COUNT`].
    pub level: usize,
    /// The file.
    pub file: Arc<FileMeta>,
}

/// A file that leaves a level. The file itself may be deleted once the edit is durable and nobody
/// reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemovedFile {
    /// Whose file it is.
    pub keyspace: KeyspaceId,
    /// Where it is.
    pub level: usize,
    /// Which one.
    pub number: FileNumber,
}

/// A value file that comes, with the sstables of the same edit that point into it. None is ever removed
/// by name: one that no sstable points into any more leaves the picture by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedValueFile {
    /// Whose file it is.
    pub keyspace: KeyspaceId,
    /// The file.
    pub file: Arc<ValueFileMeta>,
}

/// A file that changes its level without being rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MovedFile {
    /// Whose file it is.
    pub keyspace: KeyspaceId,
    /// Which one.
    pub number: FileNumber,
    /// Where it is.
    pub from: usize,
    /// Where it goes.
    pub to: usize,
}

/// The end of a log segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalEnd {
    /// Which segment.
    pub segment: FileNumber,
    /// Where its records end, in bytes. Once set it stays.
    pub ends_at: u64,
    /// The last sequence number in it, where known.
    pub last_seq: Option<SeqNo>,
    /// The segment that continues it; after the edit it must be the next one in the log.
    pub continued_by: Option<FileNumber>,
}

/// A change of a [`crate::Version`]; every part is optional. Parts take effect in this order:
/// `opened`, keyspaces created, keyspaces dropped, files moved, removed, added,
/// value files added and let go, `flushed_through`,
/// log segments removed, added, ended, the counters, `closed`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// A writable open took this epoch, higher than any before. The only edit that a closed picture
    /// accepts.
    pub opened: Option<Epoch>,
    /// New keyspaces, with ids at or above `next_keyspace`.
    pub created_keyspaces: Vec<KeyspaceMeta>,
    /// Keyspaces that go, with all their files.
    pub dropped_keyspaces: Vec<KeyspaceId>,
    /// Files that change their level.
    pub moved_files: Vec<MovedFile>,
    /// Files that go.
    pub removed_files: Vec<RemovedFile>,
    /// Files that come.
    pub added_files: Vec<AddedFile>,
    /// Value files that come.
    pub added_value_files: Vec<AddedValueFile>,
    /// Per keyspace, what is now in files; never lower than before.
    pub flushed_through: Vec<(KeyspaceId, SeqNo)>,
    /// Log segments that are no longer needed.
    pub wal_removed: Vec<FileNumber>,
    /// New log segments, appended in this order.
    pub wal_added: Vec<WalSegmentMeta>,
    /// Log segments whose end is now fixed.
    pub wal_ended: Vec<WalEnd>,
    /// A floor for the next file number. Numbers that the edit names raise the counter by
    /// themselves.
    pub next_file: Option<FileNumber>,
    /// A floor for the next keyspace id. Ids that the edit names raise the counter by themselves.
    pub next_keyspace: Option<KeyspaceId>,
    /// A floor for the last sequence number. Files and `flushed_through` raise it by themselves.
    pub last_seq: Option<SeqNo>,
    /// A floor for what of the log is durable.
    pub wal_synced: Option<LogPosition>,
    /// The database is being closed; this is the log's end.
    pub closed: Option<ClosedSeal>,
}

impl Edit {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Edit::default()
    }
}
