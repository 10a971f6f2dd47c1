//! Reading the picture back: `CURRENT`, the manifest it names, its snapshot and edits. Called when
//! a database is opened and by tools that inspect one; strictly read-only.
//!
//! # What is a tear and what is corruption
//!
//! Every edit is synced before the next is written, so a crash can harm the last edit only. Damage
//! that no valid frame follows, behind a complete snapshot, is such a tear: it is dropped and its
//! bytes are counted. Everything else is refused: damage with a valid frame behind it, a damaged
//! `CURRENT`, header or snapshot, a file shorter than `CURRENT` says, a valid frame whose content
//! contradicts the picture.
//!
//! A bit flip in the last edit of a database that was not closed looks like a tear. The engine sees
//! what it cost, because the edit was durable before anything relied on it:
//!
//! - files that it dropped may be gone: a picture that names a missing file is refused;
//! - a log record for a keyspace at or above `next_keyspace` was written after a creation that is
//!   lost: corruption, where one below is merely a dropped keyspace's;
//! - a log segment of this database that the picture does not know, and that holds a record, was
//!   written after an addition that is lost: corruption, where an empty one is an orphan.
//!
//! # Closing
//!
//! The engine seals the last log segment (a seal frame, synced) and then appends the `closed` edit.
//! That edit is always the last of its manifest, because an open writes a fresh manifest; so bytes
//! behind it are corruption, never a tear. What an open finds, and what it means:
//!
//! | manifest | log | meaning |
//! |---|---|---|
//! | closed | sealed as the manifest says | a clean close; every bit is vouched for |
//! | closed | anything else: seal and tail vanished, other length, later bytes | refuse |
//! | open | a seal at the very end | `closed` was lost: open; the seal vouches for the log |
//! | open | no seal | not closed: replay decides about the tail |
//!
//! In the third line the process was cut off between sealing and `closed`, or the edit was damaged
//! since. It held only what the log says itself, so nothing is lost, and what was dropped of it is
//! counted in [`Recovered::torn_bytes`]. "Seal and tail both vanished" is caught by the second
//! line: the manifest holds the length, the checksum and the last sequence number, outside the file
//! that lost them. It would take damage to both files to pass.

use std::io;
use std::path::{Path, PathBuf};

use esker_base::frame::{self, Frame, Parsed};
use esker_base::names::{self, CURRENT, FileKind};
use esker_base::{Error, ErrorKind, FileId, FileNumber, LogPosition, Result, mutant};
use esker_vfs::{Fs, OpenMode};

use crate::edit::v2;
use crate::format::{
    CURRENT_LEN, Current, FrameKind, HEADER_LEN, Header, PART_COUNT_MAX, PART_PREFIX_LEN,
};
use crate::version::{Shutdown, Version};

/// The longest manifest that is read, in bytes; a rewritten one is far below.
pub(crate) const MANIFEST_LEN_MAX: u64 = 4 << 30;

/// What [`recover()`] found.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The picture after the last durable edit, checked as a whole.
    pub version: Version,
    /// The manifest it was read from. It stays the live one until [`crate::ManifestLog::create`]
    /// has made another.
    pub number: FileNumber,
    /// That manifest's identity.
    pub file_id: FileId,
    /// How many edits followed the snapshot.
    pub edit_count: u64,
    /// Bytes of a torn last edit that were dropped; 0 after an orderly end.
    pub torn_bytes: u64,
}

/// Reads the picture of the database in `dir`, changing nothing.
///
/// `NotFound` if the directory does not exist or holds no database yet; `Corruption`, naming file
/// and offset, for everything that a crash cannot have caused; `Unsupported` for the formats of a
/// later version; `Io` if reading fails.
pub fn recover(fs: &dyn Fs, dir: &Path) -> Result<Recovered> {
    let current = read_current(fs, dir)?;
    let path = dir.join(FileKind::Manifest.name(current.manifest));
    let content = read_manifest(fs, &path, &current)?;
    let reader = Reader { path, content, current };
    reader.check_header()?;
    let (mut version, at) = reader.snapshot()?;
    let (edit_count, end) = reader.edits(&mut version, at)?;
    let torn_bytes = reader.judge_tail(&version, end)?;
    version.check().map_err(|error| reader.corrupt(end, error.to_string()))?;
    Ok(Recovered {
        version,
        number: current.manifest,
        file_id: current.file_id,
        edit_count,
        torn_bytes,
    })
}

fn read_current(fs: &dyn Fs, dir: &Path) -> Result<Current> {
    let path = dir.join(CURRENT);
    let file = match fs.open(&path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(without_current(fs, dir, &path));
        }
        Err(error) => return Err(Error::io("open", &path, error)),
    };
    // One byte more than it should have, so that a longer file is seen without being read.
    let mut bytes = [0; CURRENT_LEN + 1];
    let read = file.read_at(&mut bytes, 0).map_err(|error| Error::io("read", &path, error))?;
    Current::decode(&bytes[..read], &path)
}

/// The error for a directory without `CURRENT`: no database yet, or one that lost it.
fn without_current(fs: &dyn Fs, dir: &Path, path: &Path) -> Error {
    let names = match fs.list(dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Error::io("list", dir, error),
    };
    // A manifest alone is what a crash leaves before a new database's first CURRENT is durable.
    let holds_data = names
        .iter()
        .any(|name| matches!(names::parse(name), Some((FileKind::Wal | FileKind::Sstable, _))));
    if holds_data {
        return Error::corruption(path, 0, "CURRENT is missing, but the database's files are here");
    }
    Error::new(ErrorKind::NotFound, format!("{} holds no database", dir.display()))
}

fn read_manifest(fs: &dyn Fs, path: &Path, current: &Current) -> Result<Vec<u8>> {
    let file = fs.open(path, OpenMode::Read).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Error::corruption(path, 0, "the manifest that CURRENT names is missing")
        }
        _ => Error::io("open", path, error),
    })?;
    let len = file.len().map_err(|error| Error::io("read", path, error))?;
    if len < current.min_len || len > MANIFEST_LEN_MAX {
        let message = format!("{len} bytes long; CURRENT says at least {}", current.min_len);
        return Err(Error::corruption(path, len, message));
    }
    let too_long = |_| Error::invalid("the manifest does not fit this machine's memory");
    let mut content = vec![0; usize::try_from(len).map_err(too_long)?];
    file.read_exact_at(&mut content, 0).map_err(|error| Error::io("read", path, error))?;
    Ok(content)
}

/// A manifest in memory.
pub(crate) struct Reader {
    pub(crate) path: PathBuf,
    pub(crate) content: Vec<u8>,
    /// The identity that the manifest must have.
    pub(crate) current: Current,
}

impl Reader {
    fn corrupt(&self, offset: u64, message: impl Into<String>) -> Error {
        Error::corruption(&self.path, offset, message)
    }

    fn check_header(&self) -> Result<()> {
        let header = Header::decode(&self.content, &self.path)?;
        let Current { manifest: number, file_id, database_id, .. } = self.current;
        if header != (Header { number, file_id, database_id }) {
            return Err(self.corrupt(24, "this is not the manifest that CURRENT names"));
        }
        Ok(())
    }

    /// The valid frame at `offset`, if its kind and version are known and it claims what it must.
    pub(crate) fn frame(
        &self,
        offset: u64,
    ) -> Result<std::result::Result<(FrameKind, Frame<'_>), &'static str>> {
        let frame = match frame::decode(self.current.file_id, offset, &self.content) {
            Parsed::Frame(frame) => frame,
            Parsed::Blank => return Ok(Err("nothing was written here")),
            Parsed::Damaged(reason) => return Ok(Err(reason)),
        };
        let Ok(kind) = FrameKind::try_from(frame.kind) else {
            return Err(self.unsupported(&frame));
        };
        if frame.version != v2::VERSION {
            return Err(self.unsupported(&frame));
        }
        if frame.synced != (LogPosition { file: self.current.manifest, offset }) {
            return Err(self.corrupt(offset, "the frame claims another place"));
        }
        Ok(Ok((kind, frame)))
    }

    fn unsupported(&self, frame: &Frame<'_>) -> Error {
        let (kind, version, offset) = (frame.kind, frame.version, frame.offset);
        let message = format!("frame kind {kind} version {version} at byte {offset} of");
        Error::unsupported(&self.path, message)
    }

    /// The picture that the manifest starts with, and where its frames end.
    pub(crate) fn snapshot(&self) -> Result<(Version, u64)> {
        let mut at = HEADER_LEN as u64;
        let mut bytes = Vec::new();
        let mut index = 0;
        loop {
            let (kind, frame) = self.frame(at)?.map_err(|reason| self.corrupt(at, reason))?;
            let Some((prefix, part)) = frame.payload.split_first_chunk::<PART_PREFIX_LEN>() else {
                return Err(self.corrupt(at, "a snapshot part without its numbers"));
            };
            let [a, b, c, d, e, f, g, h] = *prefix;
            let (part_index, count) =
                (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
            if kind != FrameKind::Snapshot || part_index != index || index >= count {
                return Err(self.corrupt(at, "a snapshot part was expected here"));
            }
            if count > PART_COUNT_MAX {
                return Err(self.corrupt(at, "too many snapshot parts"));
            }
            bytes.extend_from_slice(part);
            at = frame.end();
            index += 1;
            if index == count {
                break;
            }
        }
        let first = HEADER_LEN as u64;
        let version = v2::decode_snapshot(&bytes).map_err(|reason| self.corrupt(first, reason))?;
        if version.database_id != self.current.database_id {
            return Err(self.corrupt(first, "the snapshot is of another database"));
        }
        version.check().map_err(|error| self.corrupt(first, error.to_string()))?;
        Ok((version, at))
    }

    /// Applies the edits from `at` on; how many there were, and where the first place is that is
    /// none.
    pub(crate) fn edits(&self, version: &mut Version, mut at: u64) -> Result<(u64, u64)> {
        let mut count = 0;
        while let Ok((kind, frame)) = self.frame(at)? {
            if kind != FrameKind::Edit {
                return Err(self.corrupt(at, "a second snapshot"));
            }
            if version.shutdown != Shutdown::Open {
                return Err(self.corrupt(at, "an edit behind the closing one"));
            }
            if mutant!("manifest_last_edit_lost") && self.frame(frame.end())?.is_err() {
                break;
            }
            let edit = v2::decode_edit(frame.payload).map_err(|reason| self.corrupt(at, reason))?;
            version.apply_in_place(&edit).map_err(|error| self.corrupt(at, error.to_string()))?;
            count += 1;
            at = frame.end();
        }
        Ok((count, at))
    }

    /// Decides what stands at `end`, where no valid frame is: the length of a tear (0 if there is
    /// only reserved space, or the manifest was closed), or corruption.
    pub(crate) fn judge_tail(&self, version: &Version, end: u64) -> Result<u64> {
        if let Some(later) = frame::scan(self.current.file_id, end, &self.content).next() {
            let message = format!("damaged, but a later edit at byte {} is whole", later.offset);
            return Err(self.corrupt(end, message));
        }
        let start = usize::try_from(end).unwrap_or(self.content.len()).min(self.content.len());
        let tail = &self.content[start..];
        let torn = tail.iter().rposition(|&byte| byte != 0).map_or(0, |last| last as u64 + 1);
        // Nothing is ever written behind the closing edit, so nothing can be lost there. Reserved space need not read as
        // zeros after a power cut: with data=journal, ext4 shows blocks of files that were removed.
        let is_closed = version.shutdown != Shutdown::Open;
        Ok(if is_closed { 0 } else { torn })
    }
}

#[cfg(test)]
mod tests;
