//! Edits and snapshots as they are stored: version 2. No field may be added, removed, reordered or
//! retyped; a change of the in-memory types gets a version 3. Version 1, which knew no value files,
//! was never released and is not read.
//!
//! The bytes are bincode 2's standard configuration (integers as little-endian varints, lengths
//! first, options and enums tagged) over the structures below, field by field, with nothing behind.
//! Decoding is bounded by a byte limit and never trusts a length; the numbers are checked when they
//! become in-memory types.

use std::sync::Arc;

use esker_base::limits::FRAME_PAYLOAD_MAX;
use esker_base::{Epoch, FileId, FileNumber, KeyspaceId, LogPosition, SeqNo, ValueReference};
use serde::{Deserialize, Serialize};

use super::{AddedFile, AddedValueFile, Edit, MovedFile, RemovedFile, WalEnd};
use crate::version::{
    ClosedSeal, Compression, FileMeta, KeyspaceMeta, KeyspaceState, LEVEL_COUNT, Shutdown,
    StrategyKind, ValueFileMeta, Version, WalSegmentMeta,
};

/// The version byte of frames with these payloads.
pub const VERSION: u8 = 2;

/// The largest snapshot, all parts together, in bytes.
pub const SNAPSHOT_LEN_MAX: usize = 1 << 30;

/// Why stored bytes are not an edit or a snapshot; for a message.
pub type Reason = &'static str;

/// An edit's bytes. Fails if they would not fit one frame.
pub fn encode_edit(edit: &Edit) -> Result<Vec<u8>, Reason> {
    let config = bincode::config::standard().with_limit::<FRAME_PAYLOAD_MAX>();
    let bytes = bincode::serde::encode_to_vec(EditV2::from(edit), config)
        .map_err(|_| "the edit cannot be encoded")?;
    within(bytes, FRAME_PAYLOAD_MAX, "the edit does not fit one frame")
}

/// The edit in `bytes`.
pub fn decode_edit(bytes: &[u8]) -> Result<Edit, Reason> {
    let config = bincode::config::standard().with_limit::<FRAME_PAYLOAD_MAX>();
    let (edit, used): (EditV2, usize) = bincode::serde::borrow_decode_from_slice(bytes, config)
        .map_err(|_| "the edit does not decode")?;
    if used != bytes.len() {
        return Err("there are bytes behind the edit");
    }
    Edit::try_from(edit)
}

/// A snapshot's bytes. Fails if they would exceed [`SNAPSHOT_LEN_MAX`].
pub fn encode_snapshot(version: &Version) -> Result<Vec<u8>, Reason> {
    let config = bincode::config::standard().with_limit::<SNAPSHOT_LEN_MAX>();
    let bytes = bincode::serde::encode_to_vec(SnapshotV2::from(version), config)
        .map_err(|_| "the snapshot cannot be encoded")?;
    within(bytes, SNAPSHOT_LEN_MAX, "the snapshot is too large")
}

fn within(bytes: Vec<u8>, len_max: usize, reason: Reason) -> Result<Vec<u8>, Reason> {
    if bytes.len() > len_max { Err(reason) } else { Ok(bytes) }
}

/// The picture in `bytes`; not yet checked as a whole, see [`Version::check`].
pub fn decode_snapshot(bytes: &[u8]) -> Result<Version, Reason> {
    let config = bincode::config::standard().with_limit::<SNAPSHOT_LEN_MAX>();
    let (snapshot, used): (SnapshotV2, usize) =
        bincode::serde::borrow_decode_from_slice(bytes, config)
            .map_err(|_| "the snapshot does not decode")?;
    if used != bytes.len() {
        return Err("there are bytes behind the snapshot");
    }
    Version::try_from(snapshot)
}

#[derive(Serialize, Deserialize)]
struct EditV2 {
    opened: Option<u64>,
    created_keyspaces: Vec<KeyspaceV2>,
    dropped_keyspaces: Vec<u64>,
    /// Keyspace, file, from level, to level.
    moved_files: Vec<(u64, u64, u8, u8)>,
    /// Keyspace, level, file.
    removed_files: Vec<(u64, u8, u64)>,
    /// Keyspace, level, file.
    added_files: Vec<(u64, u8, FileV2)>,
    /// Keyspace, sequence.
    flushed_through: Vec<(u64, u64)>,
    /// Keyspace, value file.
    added_value_files: Vec<(u64, ValueFileV2)>,
    wal_removed: Vec<u64>,
    wal_added: Vec<SegmentV2>,
    wal_ended: Vec<WalEndV2>,
    next_file: Option<u64>,
    next_keyspace: Option<u64>,
    last_seq: Option<u64>,
    /// File, offset.
    wal_synced: Option<(u64, u64)>,
    closed: Option<SealV2>,
}

#[derive(Serialize, Deserialize)]
struct SnapshotV2 {
    database_id: [u8; 16],
    epoch: u64,
    next_file: u64,
    next_keyspace: u64,
    last_seq: u64,
    /// File, offset.
    wal_synced: (u64, u64),
    wal: Vec<SegmentV2>,
    keyspaces: Vec<KeyspaceStateV2>,
    /// Absent while the database is open.
    closed: Option<SealV2>,
}

#[derive(Serialize, Deserialize)]
struct KeyspaceV2 {
    id: u64,
    #[serde(deserialize_with = "text")]
    name: String,
    /// A [`StrategyKind`].
    strategy: u8,
    fifo_max_bytes: u64,
    /// A [`Compression`].
    compression: u8,
    large_value_bytes: u32,
}

/// A text, looked at where it stands and then copied. Decoded as a `String` it would be given the room that its length
/// claims before anybody knows whether there are so many bytes.
fn text<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    <&str>::deserialize(from).map(str::to_owned)
}

#[derive(Serialize, Deserialize)]
struct KeyspaceStateV2 {
    meta: KeyspaceV2,
    flushed_through: u64,
    /// From level 0 down, in the level's order.
    levels: Vec<Vec<FileV2>>,
    /// Ascending by number.
    value_files: Vec<ValueFileV2>,
}

#[derive(Serialize, Deserialize)]
struct ValueFileV2 {
    number: u64,
    file_id: [u8; 16],
    len: u64,
    checksum: u32,
    record_count: u64,
    record_bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct FileV2 {
    number: u64,
    file_id: [u8; 16],
    len: u64,
    checksum: u32,
    smallest: Vec<u8>,
    largest: Vec<u8>,
    min_seq: u64,
    max_seq: u64,
    entry_count: u64,
    delete_count: u64,
    seq_override: Option<u64>,
    created_ms: u64,
    /// Value file, entries, bytes; ascending by file.
    values: Vec<(u64, u64, u64)>,
}

#[derive(Serialize, Deserialize)]
struct SegmentV2 {
    number: u64,
    file_id: [u8; 16],
    epoch: u64,
    ends_at: Option<u64>,
    last_seq: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct WalEndV2 {
    segment: u64,
    ends_at: u64,
    last_seq: Option<u64>,
    continued_by: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct SealV2 {
    segment: u64,
    len: u64,
    checksum: u32,
    last_seq: u64,
}

impl From<&Edit> for EditV2 {
    fn from(edit: &Edit) -> EditV2 {
        EditV2 {
            opened: edit.opened.map(|epoch| epoch.0),
            created_keyspaces: edit.created_keyspaces.iter().map(KeyspaceV2::from).collect(),
            dropped_keyspaces: edit.dropped_keyspaces.iter().map(|id| id.0).collect(),
            moved_files: edit
                .moved_files
                .iter()
                .map(|m| (m.keyspace.0, m.number.0, level_byte(m.from), level_byte(m.to)))
                .collect(),
            removed_files: edit
                .removed_files
                .iter()
                .map(|r| (r.keyspace.0, level_byte(r.level), r.number.0))
                .collect(),
            added_files: edit
                .added_files
                .iter()
                .map(|a| (a.keyspace.0, level_byte(a.level), FileV2::from(&*a.file)))
                .collect(),
            flushed_through: edit.flushed_through.iter().map(|(id, seq)| (id.0, seq.0)).collect(),
            added_value_files: edit
                .added_value_files
                .iter()
                .map(|a| (a.keyspace.0, ValueFileV2::from(&*a.file)))
                .collect(),
            wal_removed: edit.wal_removed.iter().map(|number| number.0).collect(),
            wal_added: edit.wal_added.iter().map(SegmentV2::from).collect(),
            wal_ended: edit.wal_ended.iter().map(WalEndV2::from).collect(),
            next_file: edit.next_file.map(|number| number.0),
            next_keyspace: edit.next_keyspace.map(|id| id.0),
            last_seq: edit.last_seq.map(|seq| seq.0),
            wal_synced: edit.wal_synced.map(|position| (position.file.0, position.offset)),
            closed: edit.closed.as_ref().map(SealV2::from),
        }
    }
}

impl TryFrom<EditV2> for Edit {
    type Error = Reason;

    fn try_from(edit: EditV2) -> Result<Edit, Reason> {
        let file = |(keyspace, at, file): (u64, u8, FileV2)| {
            let (keyspace, level, file) = (KeyspaceId(keyspace), level(at)?, Arc::new(file.into()));
            Ok(AddedFile { keyspace, level, file })
        };
        let removed = |(keyspace, at, number)| {
            let (keyspace, level, number) = (KeyspaceId(keyspace), level(at)?, FileNumber(number));
            Ok(RemovedFile { keyspace, level, number })
        };
        let moved = |(keyspace, number, from, to)| {
            let (keyspace, number) = (KeyspaceId(keyspace), FileNumber(number));
            Ok(MovedFile { keyspace, number, from: level(from)?, to: level(to)? })
        };
        Ok(Edit {
            opened: edit.opened.map(Epoch),
            created_keyspaces: all(edit.created_keyspaces, KeyspaceMeta::try_from)?,
            dropped_keyspaces: edit.dropped_keyspaces.into_iter().map(KeyspaceId).collect(),
            moved_files: all(edit.moved_files, moved)?,
            removed_files: all(edit.removed_files, removed)?,
            added_files: all(edit.added_files, file)?,
            flushed_through: edit
                .flushed_through
                .into_iter()
                .map(|(id, seq)| (KeyspaceId(id), SeqNo(seq)))
                .collect(),
            added_value_files: edit
                .added_value_files
                .into_iter()
                .map(|(id, file)| AddedValueFile {
                    keyspace: KeyspaceId(id),
                    file: Arc::new(file.into()),
                })
                .collect(),
            wal_removed: edit.wal_removed.into_iter().map(FileNumber).collect(),
            wal_added: edit.wal_added.into_iter().map(WalSegmentMeta::from).collect(),
            wal_ended: edit.wal_ended.into_iter().map(WalEnd::from).collect(),
            next_file: edit.next_file.map(FileNumber),
            next_keyspace: edit.next_keyspace.map(KeyspaceId),
            last_seq: edit.last_seq.map(SeqNo),
            wal_synced: edit.wal_synced.map(position),
            closed: edit.closed.map(ClosedSeal::from),
        })
    }
}

impl From<&Version> for SnapshotV2 {
    fn from(version: &Version) -> SnapshotV2 {
        let closed = match &version.shutdown {
            Shutdown::Open => None,
            Shutdown::Closed(seal) => Some(SealV2::from(seal)),
        };
        SnapshotV2 {
            database_id: version.database_id,
            epoch: version.epoch.0,
            next_file: version.next_file.0,
            next_keyspace: version.next_keyspace.0,
            last_seq: version.last_seq.0,
            wal_synced: (version.wal_synced.file.0, version.wal_synced.offset),
            wal: version.wal.iter().map(SegmentV2::from).collect(),
            keyspaces: version.keyspaces.values().map(|k| KeyspaceStateV2::from(&**k)).collect(),
            closed,
        }
    }
}

impl TryFrom<SnapshotV2> for Version {
    type Error = Reason;

    fn try_from(snapshot: SnapshotV2) -> Result<Version, Reason> {
        let mut keyspaces = std::collections::BTreeMap::new();
        for stored in snapshot.keyspaces {
            let state = KeyspaceState::try_from(stored)?;
            if keyspaces.insert(state.meta.id, Arc::new(state)).is_some() {
                return Err("a keyspace id is there twice");
            }
        }
        Ok(Version {
            database_id: snapshot.database_id,
            epoch: Epoch(snapshot.epoch),
            next_file: FileNumber(snapshot.next_file),
            next_keyspace: KeyspaceId(snapshot.next_keyspace),
            last_seq: SeqNo(snapshot.last_seq),
            wal_synced: position(snapshot.wal_synced),
            wal: snapshot.wal.into_iter().map(WalSegmentMeta::from).collect(),
            keyspaces,
            shutdown: snapshot
                .closed
                .map_or(Shutdown::Open, |seal| Shutdown::Closed(ClosedSeal::from(seal))),
        })
    }
}

impl From<&KeyspaceMeta> for KeyspaceV2 {
    fn from(meta: &KeyspaceMeta) -> KeyspaceV2 {
        KeyspaceV2 {
            id: meta.id.0,
            name: meta.name.clone(),
            strategy: meta.strategy as u8,
            fifo_max_bytes: meta.fifo_max_bytes,
            compression: meta.compression as u8,
            large_value_bytes: meta.large_value_bytes,
        }
    }
}

impl TryFrom<KeyspaceV2> for KeyspaceMeta {
    type Error = Reason;

    fn try_from(stored: KeyspaceV2) -> Result<KeyspaceMeta, Reason> {
        Ok(KeyspaceMeta {
            id: KeyspaceId(stored.id),
            name: stored.name,
            strategy: StrategyKind::try_from(stored.strategy).map_err(|_| "unknown strategy")?,
            fifo_max_bytes: stored.fifo_max_bytes,
            compression: Compression::try_from(stored.compression)
                .map_err(|_| "unknown compression")?,
            large_value_bytes: stored.large_value_bytes,
        })
    }
}

impl From<&KeyspaceState> for KeyspaceStateV2 {
    fn from(state: &KeyspaceState) -> KeyspaceStateV2 {
        let level = |files: &Vec<Arc<FileMeta>>| files.iter().map(|f| FileV2::from(&**f)).collect();
        KeyspaceStateV2 {
            meta: KeyspaceV2::from(&*state.meta),
            flushed_through: state.flushed_through.0,
            levels: state.levels.iter().map(level).collect(),
            value_files: state.value_files.values().map(|f| ValueFileV2::from(&**f)).collect(),
        }
    }
}

impl TryFrom<KeyspaceStateV2> for KeyspaceState {
    type Error = Reason;

    fn try_from(stored: KeyspaceStateV2) -> Result<KeyspaceState, Reason> {
        if stored.levels.len() != LEVEL_COUNT {
            return Err("a keyspace with another number of levels");
        }
        let level = |files: Vec<FileV2>| files.into_iter().map(|f| Arc::new(f.into())).collect();
        let mut value_files = std::collections::BTreeMap::new();
        for stored in stored.value_files {
            let file = Arc::new(ValueFileMeta::from(stored));
            if value_files.insert(file.number, file).is_some() {
                return Err("a value file is there twice");
            }
        }
        Ok(KeyspaceState {
            value_files,
            meta: Arc::new(KeyspaceMeta::try_from(stored.meta)?),
            levels: stored.levels.into_iter().map(level).collect(),
            flushed_through: SeqNo(stored.flushed_through),
        })
    }
}

impl From<&FileMeta> for FileV2 {
    fn from(file: &FileMeta) -> FileV2 {
        FileV2 {
            number: file.number.0,
            file_id: file.file_id.0,
            len: file.len,
            checksum: file.checksum,
            smallest: file.smallest.clone(),
            largest: file.largest.clone(),
            min_seq: file.min_seq.0,
            max_seq: file.max_seq.0,
            entry_count: file.entry_count,
            delete_count: file.delete_count,
            seq_override: file.seq_override.map(|seq| seq.0),
            created_ms: file.created_ms,
            values: file.values.iter().map(|r| (r.file.0, r.entries, r.bytes)).collect(),
        }
    }
}

impl From<FileV2> for FileMeta {
    fn from(stored: FileV2) -> FileMeta {
        FileMeta {
            number: FileNumber(stored.number),
            file_id: FileId(stored.file_id),
            len: stored.len,
            checksum: stored.checksum,
            smallest: stored.smallest,
            largest: stored.largest,
            min_seq: SeqNo(stored.min_seq),
            max_seq: SeqNo(stored.max_seq),
            entry_count: stored.entry_count,
            delete_count: stored.delete_count,
            seq_override: stored.seq_override.map(SeqNo),
            created_ms: stored.created_ms,
            values: stored
                .values
                .into_iter()
                .map(|(file, entries, bytes)| ValueReference {
                    file: FileNumber(file),
                    entries,
                    bytes,
                })
                .collect(),
        }
    }
}

impl From<&ValueFileMeta> for ValueFileV2 {
    fn from(file: &ValueFileMeta) -> ValueFileV2 {
        ValueFileV2 {
            number: file.number.0,
            file_id: file.file_id.0,
            len: file.len,
            checksum: file.checksum,
            record_count: file.record_count,
            record_bytes: file.record_bytes,
        }
    }
}

impl From<ValueFileV2> for ValueFileMeta {
    fn from(stored: ValueFileV2) -> ValueFileMeta {
        ValueFileMeta {
            number: FileNumber(stored.number),
            file_id: FileId(stored.file_id),
            len: stored.len,
            checksum: stored.checksum,
            record_count: stored.record_count,
            record_bytes: stored.record_bytes,
        }
    }
}

impl From<&WalSegmentMeta> for SegmentV2 {
    fn from(segment: &WalSegmentMeta) -> SegmentV2 {
        SegmentV2 {
            number: segment.number.0,
            file_id: segment.file_id.0,
            epoch: segment.epoch.0,
            ends_at: segment.ends_at,
            last_seq: segment.last_seq.map(|seq| seq.0),
        }
    }
}

impl From<SegmentV2> for WalSegmentMeta {
    fn from(stored: SegmentV2) -> WalSegmentMeta {
        WalSegmentMeta {
            number: FileNumber(stored.number),
            file_id: FileId(stored.file_id),
            epoch: Epoch(stored.epoch),
            ends_at: stored.ends_at,
            last_seq: stored.last_seq.map(SeqNo),
        }
    }
}

impl From<&WalEnd> for WalEndV2 {
    fn from(end: &WalEnd) -> WalEndV2 {
        WalEndV2 {
            segment: end.segment.0,
            ends_at: end.ends_at,
            last_seq: end.last_seq.map(|seq| seq.0),
            continued_by: end.continued_by.map(|number| number.0),
        }
    }
}

impl From<WalEndV2> for WalEnd {
    fn from(stored: WalEndV2) -> WalEnd {
        WalEnd {
            segment: FileNumber(stored.segment),
            ends_at: stored.ends_at,
            last_seq: stored.last_seq.map(SeqNo),
            continued_by: stored.continued_by.map(FileNumber),
        }
    }
}

impl From<&ClosedSeal> for SealV2 {
    fn from(seal: &ClosedSeal) -> SealV2 {
        SealV2 {
            segment: seal.segment.0,
            len: seal.len,
            checksum: seal.checksum,
            last_seq: seal.last_seq.0,
        }
    }
}

impl From<SealV2> for ClosedSeal {
    fn from(stored: SealV2) -> ClosedSeal {
        ClosedSeal {
            segment: FileNumber(stored.segment),
            len: stored.len,
            checksum: stored.checksum,
            last_seq: SeqNo(stored.last_seq),
        }
    }
}

fn position((file, offset): (u64, u64)) -> LogPosition {
    LogPosition { file: FileNumber(file), offset }
}

/// A level that does not exist becomes one that decoding refuses too.
fn level_byte(level: usize) -> u8 {
    u8::try_from(level).unwrap_or(u8::MAX)
}

fn level(byte: u8) -> Result<usize, Reason> {
    let level = usize::from(byte);
    if level < LEVEL_COUNT { Ok(level) } else { Err("a level that does not exist") }
}

fn all<S, T>(stored: Vec<S>, convert: impl Fn(S) -> Result<T, Reason>) -> Result<Vec<T>, Reason> {
    stored.into_iter().map(convert).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn state(id: u64) -> KeyspaceState {
        KeyspaceState::new(Arc::new(KeyspaceMeta::new(KeyspaceId(id), format!("k{id}"))))
    }

    fn with_keyspace() -> Version {
        let mut version = Version::new([1; 16]);
        version.keyspaces.insert(KeyspaceId(1), Arc::new(state(1)));
        version
    }

    #[test]
    fn an_edit_that_does_not_fit_a_frame_is_refused() {
        let named = |len| Edit {
            created_keyspaces: vec![KeyspaceMeta::new(KeyspaceId(1), "x".repeat(len))],
            ..Edit::default()
        };
        let most = FRAME_PAYLOAD_MAX - encode_edit(&named(1 << 20)).unwrap().len() + (1 << 20);
        assert_eq!(encode_edit(&named(most)).unwrap().len(), FRAME_PAYLOAD_MAX);
        assert!(encode_edit(&named(most + 1)).unwrap_err().contains("does not fit"));
    }

    #[test]
    fn bytes_that_are_cut_off_or_go_on_are_refused() {
        let edit = Edit { last_seq: Some(SeqNo(7)), ..Edit::default() };
        assert!(edit != Edit::default() && Edit::default().is_empty() && !edit.is_empty());
        let mut bytes = encode_edit(&edit).unwrap();
        assert_eq!(decode_edit(&bytes).unwrap(), edit);
        for len in 0..bytes.len() {
            assert!(decode_edit(&bytes[..len]).unwrap_err().contains("does not decode"), "{len}");
        }
        bytes.push(0);
        assert!(decode_edit(&bytes).unwrap_err().contains("behind the edit"));
        let mut bytes = encode_snapshot(&with_keyspace()).unwrap();
        assert_eq!(decode_snapshot(&bytes).unwrap(), with_keyspace());
        for len in 0..bytes.len() {
            assert!(decode_snapshot(&bytes[..len]).is_err(), "{len}");
        }
        bytes.push(0);
        assert!(decode_snapshot(&bytes).unwrap_err().contains("behind the snapshot"));
    }

    /// A length of 4 GiB in place of any byte is refused before anything is allocated for it.
    #[test]
    fn lengths_beyond_the_bytes_are_refused() {
        let bytes = encode_snapshot(&with_keyspace()).unwrap();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad.splice(at..=at, [0xfc, 0xff, 0xff, 0xff, 0xff]);
            if let Ok(version) = decode_snapshot(&bad) {
                assert!(version != with_keyspace(), "{at}");
            }
        }
    }

    #[test]
    fn numbers_that_mean_nothing_are_refused() {
        let decoded = |snapshot: &SnapshotV2| {
            let bytes = bincode::serde::encode_to_vec(snapshot, bincode::config::standard());
            decode_snapshot(&bytes.unwrap())
        };
        let good = || SnapshotV2::from(&with_keyspace());
        assert_eq!(decoded(&good()).unwrap(), with_keyspace());
        type Spoil = fn(&mut SnapshotV2);
        let cases: &[(Spoil, &str)] = &[
            (|s| s.keyspaces.push(KeyspaceStateV2::from(&state(1))), "twice"),
            (|s| drop(s.keyspaces[0].levels.pop()), "number of levels"),
            (|s| s.keyspaces[0].levels.push(Vec::new()), "number of levels"),
            (|s| s.keyspaces[0].meta.strategy = 0, "unknown strategy"),
            (|s| s.keyspaces[0].meta.strategy = 4, "unknown strategy"),
            (|s| s.keyspaces[0].meta.compression = 0, "unknown compression"),
            (|s| s.keyspaces[0].meta.compression = 3, "unknown compression"),
        ];
        for (at, (spoil, why)) in cases.iter().enumerate() {
            let mut bad = good();
            spoil(&mut bad);
            let found = decoded(&bad).unwrap_err();
            assert!(found.contains(why), "{at}: {found}");
        }
        // A level that does not exist, in each place of an edit that names one.
        let step =
            |from, to| MovedFile { keyspace: KeyspaceId(1), number: FileNumber(2), from, to };
        let removed = |level| RemovedFile { keyspace: KeyspaceId(1), level, number: FileNumber(2) };
        for edit in [
            Edit { moved_files: vec![step(LEVEL_COUNT, 1)], ..Edit::default() },
            Edit { moved_files: vec![step(1, LEVEL_COUNT)], ..Edit::default() },
            Edit { removed_files: vec![removed(LEVEL_COUNT)], ..Edit::default() },
            Edit { removed_files: vec![removed(1 << 40)], ..Edit::default() },
        ] {
            let found = decode_edit(&encode_edit(&edit).unwrap()).unwrap_err();
            assert!(found.contains("level that does not exist"), "{found}");
        }
    }
}
