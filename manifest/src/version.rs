//! The picture of a database at one moment: which keyspaces, files and log segments there are.
//!
//! Made by [`crate::recover()`] or by applying an [`Edit`] to an older picture; read by everything
//! that needs to know which files hold what. A picture never changes once it is shared, and this
//! file never looks at the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use esker_base::limits::{COUNTER_MAX, KEYSPACE_COUNT_MAX, KEYSPACE_NAME_LEN_MAX};
use esker_base::names::FileKind;
use esker_base::{
    Epoch, Error, FileId, FileNumber, InternalKey, KeyspaceId, LogPosition, Result, SeqNo,
    ValueReference, ValueReferences, key,
};

use crate::edit::Edit;

mod apply;
#[cfg(test)]
mod tests;

/// How many levels a keyspace has; level 0 receives flushed files, level 6 is the bottom.
pub const LEVEL_COUNT: usize = 7;

/// One sstable: identity, bounds and counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMeta {
    /// The number in the file's name.
    pub number: FileNumber,
    /// The identity in its header.
    pub file_id: FileId,
    /// Length in bytes.
    pub len: u64,
    /// CRC-32 of the whole file; for verify and backup.
    pub checksum: u32,
    /// The first internal key.
    pub smallest: Vec<u8>,
    /// The last internal key.
    pub largest: Vec<u8>,
    /// The lowest sequence number of an entry.
    pub min_seq: SeqNo,
    /// The highest sequence number of an entry.
    pub max_seq: SeqNo,
    /// How many entries, deletes included; at least 1.
    pub entry_count: u64,
    /// How many of them are deletes.
    pub delete_count: u64,
    /// Reserved for ingested files: the sequence number that stands in for that of every entry.
    pub seq_override: Option<SeqNo>,
    /// Wall-clock time of its making, in milliseconds since 1970; never used for ordering.
    pub created_ms: u64,
    /// The value files that entries point into, ascending by number.
    pub values: Vec<ValueReference>,
}

impl FileMeta {
    /// The user key of the first entry.
    pub fn smallest_user_key(&self) -> &[u8] {
        key::user_key(&self.smallest)
    }

    /// The user key of the last entry.
    pub fn largest_user_key(&self) -> &[u8] {
        key::user_key(&self.largest)
    }

    /// Whether the file's bounds meet the user keys from `low` to `high`, both included.
    pub fn overlaps(&self, low: &[u8], high: &[u8]) -> bool {
        self.smallest_user_key() <= high && low <= self.largest_user_key()
    }

    /// The file's name in the database directory.
    pub fn name(&self) -> String {
        FileKind::Sstable.name(self.number)
    }

    /// Refuses bounds and counts that contradict themselves.
    pub fn validate(&self) -> Result<()> {
        let bad = |what: &str| Err(Error::invalid(format!("file {}: {what}", self.number)));
        if InternalKey::decode(&self.smallest).is_none()
            || InternalKey::decode(&self.largest).is_none()
        {
            return bad("a bound is not an internal key");
        }
        if key::compare(&self.smallest, &self.largest).is_gt() {
            return bad("the smallest key is above the largest");
        }
        if self.min_seq > self.max_seq || self.max_seq > SeqNo::MAX {
            return bad("sequence numbers out of order or out of range");
        }
        if self.entry_count == 0 || self.delete_count > self.entry_count {
            return bad("impossible entry counts");
        }
        if self.values.windows(2).any(|pair| pair[0].file >= pair[1].file)
            || self.values.iter().any(|reference| reference.entries == 0)
        {
            return bad("references to value files that are out of order or empty");
        }
        Ok(())
    }
}

/// One value file. It stays in the picture as long as an sstable of its keyspace points into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueFileMeta {
    /// The number in the file's name.
    pub number: FileNumber,
    /// The identity in its header.
    pub file_id: FileId,
    /// Length in bytes.
    pub len: u64,
    /// CRC-32 of the whole file; for verify and backup.
    pub checksum: u32,
    /// How many values were written to it.
    pub record_count: u64,
    /// The total length of their records, in bytes.
    pub record_bytes: u64,
}

/// How a keyspace's files are merged. Stored on disk: never change a number; retired ones stay
/// reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum StrategyKind {
    /// Levels of growing size, each a single sorted run below level 0.
    #[default]
    Leveled = 1,
    /// Runs of similar size merged together.
    Tiered = 2,
    /// Never merged; the oldest files go when the total exceeds a limit.
    Fifo = 3,
}

impl TryFrom<u8> for StrategyKind {
    type Error = u8;

    fn try_from(byte: u8) -> std::result::Result<StrategyKind, u8> {
        match byte {
            1 => Ok(StrategyKind::Leveled),
            2 => Ok(StrategyKind::Tiered),
            3 => Ok(StrategyKind::Fifo),
            other => Err(other),
        }
    }
}

/// How a keyspace's blocks are compressed. Stored on disk: never change a number; retired ones stay
/// reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Compression {
    /// Not at all.
    None = 1,
    /// By lz4, where it saves enough.
    #[default]
    Lz4 = 2,
}

impl TryFrom<u8> for Compression {
    type Error = u8;

    fn try_from(byte: u8) -> std::result::Result<Compression, u8> {
        match byte {
            1 => Ok(Compression::None),
            2 => Ok(Compression::Lz4),
            other => Err(other),
        }
    }
}

/// What a keyspace is and which of its options the files depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyspaceMeta {
    /// Its number; never used again after it is dropped.
    pub id: KeyspaceId,
    /// Its name, 1 to 255 bytes, unique in the database.
    pub name: String,
    /// How its files are merged.
    pub strategy: StrategyKind,
    /// For [`StrategyKind::Fifo`]: the bytes above which the oldest files go, above 0. 0 for the
    /// other strategies.
    pub fifo_max_bytes: u64,
    /// How its blocks and separated values are compressed.
    pub compression: Compression,
    /// Values of at least this many bytes are stored in value files, apart from their keys; 0 for none. Files
    /// are read without it.
    pub large_value_bytes: u32,
}

impl KeyspaceMeta {
    /// A keyspace with the default options.
    pub fn new(id: KeyspaceId, name: impl Into<String>) -> KeyspaceMeta {
        KeyspaceMeta {
            id,
            name: name.into(),
            strategy: StrategyKind::default(),
            fifo_max_bytes: 0,
            compression: Compression::default(),
            large_value_bytes: 0,
        }
    }

    /// Refuses a name out of limits and parameters that contradict the strategy.
    pub fn validate(&self) -> Result<()> {
        if self.name.is_empty() || self.name.len() > KEYSPACE_NAME_LEN_MAX {
            let len = self.name.len();
            return Err(Error::invalid(format!(
                "keyspace name of {len} bytes; 1 to {KEYSPACE_NAME_LEN_MAX} are allowed"
            )));
        }
        if (self.strategy == StrategyKind::Fifo) != (self.fifo_max_bytes > 0) {
            return Err(Error::invalid(format!(
                "keyspace {}: fifo_max_bytes of {} contradicts the strategy {:?}",
                self.name, self.fifo_max_bytes, self.strategy
            )));
        }
        Ok(())
    }
}

/// A keyspace and its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyspaceState {
    /// What it is.
    pub meta: Arc<KeyspaceMeta>,
    /// Exactly [`LEVEL_COUNT`] lists. Level 0: highest `max_seq` first, bounds may overlap; a
    /// reader that found a version at or above the next file's `max_seq` may stop. Deeper levels:
    /// ascending by `smallest`, disjoint by user key.
    pub levels: Vec<Vec<Arc<FileMeta>>>,
    /// The value files that the sstables point into: exactly those.
    pub value_files: BTreeMap<FileNumber, Arc<ValueFileMeta>>,
    /// Every write of this keyspace up to this sequence number is in the files.
    pub flushed_through: SeqNo,
}

impl KeyspaceState {
    /// A keyspace without files.
    pub fn new(meta: Arc<KeyspaceMeta>) -> KeyspaceState {
        KeyspaceState {
            meta,
            levels: vec![Vec::new(); LEVEL_COUNT],
            value_files: BTreeMap::new(),
            flushed_through: SeqNo(0),
        }
    }

    /// Every file with its level, top down.
    pub fn files(&self) -> impl Iterator<Item = (usize, &Arc<FileMeta>)> {
        self.levels
            .iter()
            .enumerate()
            .flat_map(|(level, files)| files.iter().map(move |file| (level, file)))
    }

    /// The total length of the files of `level`, in bytes; 0 for a level that does not exist.
    pub fn level_bytes(&self, level: usize) -> u64 {
        self.levels.get(level).map_or(0, |files| files.iter().map(|file| file.len).sum())
    }

    /// What the sstables reference of each value file: the values that are live. Summed up afresh, so that it
    /// cannot drift.
    pub fn live_values(&self) -> BTreeMap<FileNumber, ValueReference> {
        let mut live = ValueReferences::default();
        for (_, file) in self.files() {
            for reference in &file.values {
                live.add(reference.file, reference.entries, reference.bytes);
            }
        }
        live.list().into_iter().map(|reference| (reference.file, reference)).collect()
    }

    /// The total length of all sstables, in bytes.
    pub fn total_bytes(&self) -> u64 {
        self.files().map(|(_, file)| file.len).sum()
    }

    /// In a level from 1 down, the one file that may hold `user_key`.
    pub fn file_for(&self, level: usize, user_key: &[u8]) -> Option<&Arc<FileMeta>> {
        debug_assert!(level > 0, "level 0 may hold a key in several files");
        let files = self.levels.get(level)?;
        let at = files.partition_point(|file| file.largest_user_key() < user_key);
        files.get(at).filter(|file| file.smallest_user_key() <= user_key)
    }
}

/// One live segment of the write-ahead log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalSegmentMeta {
    /// The number in the file's name.
    pub number: FileNumber,
    /// The identity in its header.
    pub file_id: FileId,
    /// The writable open that made it.
    pub epoch: Epoch,
    /// Where its records end, in bytes; bytes behind are not part of the log. `None` while it is
    /// being written.
    pub ends_at: Option<u64>,
    /// The last sequence number in it, where known.
    pub last_seq: Option<SeqNo>,
}

/// The end of the log as a clean close left it: what an open must find again, bit by bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedSeal {
    /// The last segment.
    pub segment: FileNumber,
    /// Its length in bytes, seal included.
    pub len: u64,
    /// The checksum of those bytes, as the log computes it.
    pub checksum: u32,
    /// The last sequence number ever used.
    pub last_seq: SeqNo,
}

/// Whether the database was closed cleanly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// It is open, or its process ended without closing it.
    Open,
    /// It was closed, and nothing was written since.
    Closed(ClosedSeal),
}

/// A database at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The database's identity; a checkpoint, fork or restore gets a new one.
    pub database_id: [u8; 16],
    /// The last writable open.
    pub epoch: Epoch,
    /// Above every file number in use. Files that no picture names may still have higher numbers.
    pub next_file: FileNumber,
    /// Above every keyspace id that was ever used.
    pub next_keyspace: KeyspaceId,
    /// A floor: no sequence number up to this one may be given out again.
    pub last_seq: SeqNo,
    /// A floor: the log was durable up to here when the last edit was written.
    pub wal_synced: LogPosition,
    /// The live log segments, in log order.
    pub wal: Vec<WalSegmentMeta>,
    /// The keyspaces.
    pub keyspaces: BTreeMap<KeyspaceId, Arc<KeyspaceState>>,
    /// How the last process left it.
    pub shutdown: Shutdown,
}

impl Version {
    /// A database that holds nothing yet.
    pub fn new(database_id: [u8; 16]) -> Version {
        Version {
            database_id,
            epoch: Epoch(0),
            next_file: FileNumber(1),
            next_keyspace: KeyspaceId(1),
            last_seq: SeqNo(0),
            wal_synced: LogPosition::default(),
            wal: Vec::new(),
            keyspaces: BTreeMap::new(),
            shutdown: Shutdown::Open,
        }
    }

    /// The picture after `edit`. `InvalidArgument` if the edit does not fit this picture (a file
    /// added twice or removed without being there, overlap below level 0, an id used again, a
    /// number going back); this picture is unchanged either way.
    pub fn apply(&self, edit: &Edit) -> Result<Version> {
        let mut next = self.clone();
        next.apply_in_place(edit)?;
        Ok(next)
    }

    /// As [`Version::apply`] without the copy; after an error this picture is half changed and must
    /// be thrown away.
    pub fn apply_in_place(&mut self, edit: &Edit) -> Result<()> {
        apply::apply(self, edit)
    }

    /// The keyspace called `name`; a search through all of them.
    pub fn keyspace_named(&self, name: &str) -> Option<&Arc<KeyspaceState>> {
        self.keyspaces.values().find(|keyspace| keyspace.meta.name == name)
    }

    /// The numbers of all sstables that this picture names.
    pub fn live_sstables(&self) -> BTreeSet<FileNumber> {
        self.keyspaces
            .values()
            .flat_map(|keyspace| keyspace.files().map(|(_, file)| file.number))
            .collect()
    }

    /// The numbers of all value files that this picture names.
    pub fn live_value_files(&self) -> BTreeSet<FileNumber> {
        self.keyspaces.values().flat_map(|keyspace| keyspace.value_files.keys().copied()).collect()
    }

    /// Checks every invariant of the whole picture; `InvalidArgument` naming the first that fails.
    pub fn check(&self) -> Result<()> {
        if self.keyspaces.len() > KEYSPACE_COUNT_MAX {
            return Err(Error::invalid(format!("more than {KEYSPACE_COUNT_MAX} keyspaces")));
        }
        let counters = [self.epoch.0, self.next_file.0, self.next_keyspace.0];
        if counters.into_iter().any(|counter| counter > COUNTER_MAX) || self.last_seq > SeqNo::MAX {
            return Err(Error::invalid("a counter out of range"));
        }
        let mut names = BTreeSet::new();
        let mut identities = BTreeMap::new();
        for (&id, keyspace) in &self.keyspaces {
            keyspace.meta.validate()?;
            if keyspace.meta.id != id || id >= self.next_keyspace {
                return Err(Error::invalid(format!("keyspace {id}: its id is out of place")));
            }
            if !names.insert(keyspace.meta.name.as_str()) {
                let name = &keyspace.meta.name;
                return Err(Error::invalid(format!("two keyspaces are called {name}")));
            }
            if keyspace.flushed_through > self.last_seq {
                return Err(Error::invalid(format!(
                    "keyspace {id}: flushed past the last sequence"
                )));
            }
            self.check_files(keyspace, &mut identities)?;
            self.check_value_files(keyspace, &mut identities)?;
        }
        apply::check_wal(self)?;
        if let Some(segment) =
            self.wal.iter().find(|segment| identities.contains_key(&segment.number))
        {
            return Err(Error::invalid(format!(
                "number {} is a log segment and an sstable",
                segment.number
            )));
        }
        Ok(())
    }

    fn check_value_files(
        &self,
        keyspace: &KeyspaceState,
        identities: &mut BTreeMap<FileNumber, (FileId, u64, u32)>,
    ) -> Result<()> {
        apply::check_values(keyspace)?;
        for (&number, file) in &keyspace.value_files {
            let identity = (file.file_id, file.len, file.checksum);
            if file.number != number
                || number >= self.next_file
                || identities.insert(number, identity).is_some()
            {
                return Err(Error::invalid(format!(
                    "value file {number}: its number is out of place or used twice"
                )));
            }
        }
        Ok(())
    }

    fn check_files(
        &self,
        keyspace: &KeyspaceState,
        identities: &mut BTreeMap<FileNumber, (FileId, u64, u32)>,
    ) -> Result<()> {
        let id = keyspace.meta.id;
        if keyspace.levels.len() != LEVEL_COUNT {
            return Err(Error::invalid(format!("keyspace {id}: not {LEVEL_COUNT} levels")));
        }
        let mut seen = BTreeSet::new();
        for (level, file) in keyspace.files() {
            file.validate()?;
            let number = file.number;
            if number >= self.next_file || file.max_seq > self.last_seq {
                return Err(Error::invalid(format!(
                    "file {number}: its number or sequence is above the counters"
                )));
            }
            if !seen.insert(number) {
                return Err(Error::invalid(format!("file {number} is twice in keyspace {id}")));
            }
            // Keyspaces may share a file, but then it is the same file.
            let identity = (file.file_id, file.len, file.checksum);
            if *identities.entry(number).or_insert(identity) != identity {
                return Err(Error::invalid(format!(
                    "file {number} has two identities (level {level} of keyspace {id})"
                )));
            }
        }
        for (level, files) in keyspace.levels.iter().enumerate() {
            let ordered = files.windows(2).all(|pair| match level {
                0 => apply::newer(&pair[0], &pair[1]),
                _ => pair[0].largest_user_key() < pair[1].smallest_user_key(),
            });
            if !ordered {
                return Err(Error::invalid(format!(
                    "keyspace {id}: the files of level {level} are out of order or overlap"
                )));
            }
        }
        Ok(())
    }
}
