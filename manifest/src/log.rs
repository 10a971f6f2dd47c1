//! The manifest on disk: a snapshot, then one durable frame per edit, and the swap of `CURRENT`.
//!
//! Called by the engine under the lock that guards its picture: one log, one writer. A log is only
//! ever created, never continued after a restart: what a restarted process reads may be in the page
//! cache without being on disk, so a writable open writes a fresh manifest and leaves the old one
//! untouched until `CURRENT` names the new one. Nothing here deletes a manifest that `CURRENT`
//! named; that is the engine's, once the new one is durable.
//!
//! A new database is created by [`ManifestLog::create`] before its first log segment: a directory
//! with segments or sstables but without `CURRENT` is refused by [`crate::recover()`], one with a
//! manifest alone is a creation that a crash cut short.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use esker_base::frame;
use esker_base::names::{CURRENT, FileKind, TEMPORARY_SUFFIX};
use esker_base::{Error, FileId, FileNumber, LogPosition, Result, mutant};
use esker_vfs::{File, Fs, World};

use crate::edit::{Edit, v2};
use crate::format::{
    Current, FrameKind, HEADER_LEN, Header, PART_COUNT_MAX, PART_LEN, PART_PREFIX_LEN,
};
use crate::version::{Shutdown, Version};

/// Space for edits that a new manifest reserves, in bytes: about eighty flushes, and an open on a
/// full disk.
pub const RESERVE_BYTES: u64 = 16 * 1024;

/// The most by which a manifest grows at once, in bytes.
const GROWTH_MAX_BYTES: u64 = 1 << 20;

/// A live manifest, open for appending.
#[derive(Debug)]
pub struct ManifestLog {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    live: Live,
    /// Set by the first failure that leaves the disk in doubt; answers every later call.
    failure: Option<Error>,
}

/// The file that `CURRENT` names.
#[derive(Debug)]
struct Live {
    file: Arc<dyn File>,
    path: PathBuf,
    header: Header,
    /// Where the next frame goes.
    end: u64,
    /// The length of the file; the space behind `end` is reserved and zero.
    allocated: u64,
    closed: bool,
}

/// Why a new manifest did not become the live one.
struct CreateFailure {
    error: Error,
    /// `CURRENT` may name the new manifest, now or after a crash.
    in_doubt: bool,
}

impl From<Error> for CreateFailure {
    fn from(error: Error) -> CreateFailure {
        CreateFailure { error, in_doubt: false }
    }
}

impl ManifestLog {
    /// Writes `version` as the manifest `number` of `dir` and makes it the live one, durably.
    /// `number` and `file_id` must never have been used; `number` need not be below the version's
    /// `next_file`.
    ///
    /// After an error it is unknown which manifest is live: the caller must not append to an older
    /// one (see [`ManifestLog::rewrite`] for replacing one while it is in use).
    pub fn create(
        world: &World,
        dir: &Path,
        number: FileNumber,
        file_id: FileId,
        version: &Version,
    ) -> Result<ManifestLog> {
        let live = create_live(&*world.fs, dir, number, file_id, version)
            .map_err(|failure| failure.error)?;
        Ok(ManifestLog { fs: world.fs.clone(), dir: dir.to_path_buf(), live, failure: None })
    }

    /// Starts over with a fresh manifest that holds `version`, which must be the picture after
    /// every appended edit. After an error this log goes on as it was and may be tried again,
    /// unless [`ManifestLog::failure`] says that the swap itself is in doubt.
    pub fn rewrite(
        &mut self,
        number: FileNumber,
        file_id: FileId,
        version: &Version,
    ) -> Result<()> {
        self.check_usable()?;
        match create_live(&*self.fs, &self.dir, number, file_id, version) {
            Ok(live) => {
                self.live = live;
                Ok(())
            }
            Err(failure) => {
                if failure.in_doubt {
                    self.failure = Some(failure.error.clone());
                }
                Err(failure.error)
            }
        }
    }

    /// Appends `edit` and makes it durable: one write and one sync.
    ///
    /// An edit over a frame's limit is refused, and so is any edit after a `closed` one. A disk
    /// that is full when more space has to be reserved is an error that changes nothing. Any other
    /// failure leaves unknown whether the edit is durable: from then on every call returns that
    /// error, nothing that the edit drops may be deleted, and the database must be reopened.
    pub fn append(&mut self, edit: &Edit) -> Result<()> {
        self.check_usable()?;
        let payload = v2::encode_edit(edit).map_err(Error::invalid)?;
        let mut bytes = Vec::new();
        push_frame(&self.live.header, self.live.end, FrameKind::Edit, &payload, &mut bytes);
        let end = self.live.end + bytes.len() as u64;
        if end > self.live.allocated {
            self.extend(end)?;
        }
        let live = &mut self.live;
        let written = live
            .file
            .write_all_at(&bytes, live.end)
            .map_err(|error| Error::io("write", &live.path, error))
            .and_then(|()| {
                if mutant!("manifest_edit_not_synced") {
                    return Ok(());
                }
                live.file.sync_data().map_err(|error| Error::io("sync", &live.path, error))
            });
        if let Err(error) = written {
            self.failure = Some(error.clone());
            return Err(error);
        }
        live.end = end;
        live.closed = edit.closed.is_some();
        Ok(())
    }

    /// The number of the live manifest.
    pub fn number(&self) -> FileNumber {
        self.live.header.number
    }

    /// The bytes written to the live manifest, without the reserve; the engine rewrites it when
    /// this has grown large.
    pub fn size_bytes(&self) -> u64 {
        self.live.end
    }

    /// The failure that every call answers with, if there was one.
    pub fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    fn check_usable(&self) -> Result<()> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.live.closed {
            return Err(Error::invalid(
                "the manifest is closed; a new one starts at the next open",
            ));
        }
        Ok(())
    }

    /// Reserves space for at least `needed` bytes and lets `CURRENT` know the new length.
    fn extend(&mut self, needed: u64) -> Result<()> {
        let growth = self.live.allocated.clamp(RESERVE_BYTES, GROWTH_MAX_BYTES);
        let len = needed.max(self.live.allocated.saturating_add(growth));
        let path = &self.live.path;
        self.live.file.allocate(len).map_err(|error| Error::io("extend", path, error))?;
        if let Err(error) = self.live.file.sync_all() {
            let error = Error::io("sync", path, error);
            self.failure = Some(error.clone());
            return Err(error);
        }
        match swap_current(&*self.fs, &self.dir, &self.live.header, len) {
            Ok(()) => {
                self.live.allocated = len;
                Ok(())
            }
            Err(failure) => {
                if failure.in_doubt {
                    self.failure = Some(failure.error.clone());
                }
                Err(failure.error)
            }
        }
    }
}

fn create_live(
    fs: &dyn Fs,
    dir: &Path,
    number: FileNumber,
    file_id: FileId,
    version: &Version,
) -> std::result::Result<Live, CreateFailure> {
    version.check()?;
    let header = Header { number, file_id, database_id: version.database_id };
    let content = image(&header, version)?;
    let end = content.len() as u64;
    let allocated = end + RESERVE_BYTES;
    let path = dir.join(FileKind::Manifest.name(number));
    let file = write_file(fs, &path, &content, allocated)?;
    let placed = fs
        .rename(&temporary(&path), &path)
        .map_err(|error| Error::io("rename", temporary(&path), error))
        .and_then(|()| if mutant!("manifest_dir_not_synced") { Ok(()) } else { sync_dir(fs, dir) });
    if let Err(error) = placed {
        // Best effort: whatever stays is a manifest that nothing names, and the next open removes
        // it.
        let _ = fs.remove_file(&temporary(&path)).or_else(|_| fs.remove_file(&path));
        return Err(error.into());
    }
    if let Err(failure) = swap_current(fs, dir, &header, allocated) {
        if !failure.in_doubt {
            let _ = fs.remove_file(&path);
        }
        return Err(failure);
    }
    let closed = version.shutdown != Shutdown::Open;
    Ok(Live { file, path, header, end, allocated, closed })
}

/// The header and the snapshot's frames.
fn image(header: &Header, version: &Version) -> Result<Vec<u8>> {
    let snapshot = v2::encode_snapshot(version).map_err(Error::invalid)?;
    let count = snapshot.len().div_ceil(PART_LEN) as u32;
    debug_assert!((1..=PART_COUNT_MAX).contains(&count), "bounded by SNAPSHOT_LEN_MAX");
    let mut content = header.encode().to_vec();
    let mut payload = Vec::with_capacity(PART_PREFIX_LEN + snapshot.len().min(PART_LEN));
    for (index, part) in snapshot.chunks(PART_LEN).enumerate() {
        payload.clear();
        payload.extend_from_slice(&(index as u32).to_le_bytes());
        payload.extend_from_slice(&count.to_le_bytes());
        payload.extend_from_slice(part);
        let offset = content.len() as u64;
        push_frame(header, offset, FrameKind::Snapshot, &payload, &mut content);
    }
    debug_assert!(content.len() > HEADER_LEN);
    Ok(content)
}

fn push_frame(header: &Header, offset: u64, kind: FrameKind, payload: &[u8], out: &mut Vec<u8>) {
    let synced = LogPosition { file: header.number, offset };
    frame::encode(header.file_id, offset, kind as u8, v2::VERSION, synced, payload, out);
}

/// Points `CURRENT` at a manifest that is durable under its name.
fn swap_current(
    fs: &dyn Fs,
    dir: &Path,
    header: &Header,
    min_len: u64,
) -> std::result::Result<(), CreateFailure> {
    let Header { number: manifest, file_id, database_id } = *header;
    let current = Current { manifest, file_id, database_id, min_len };
    let path = dir.join(CURRENT);
    let bytes = current.encode();
    write_file(fs, &path, &bytes, bytes.len() as u64)?;
    fs.rename(&temporary(&path), &path)
        .map_err(|error| Error::io("rename", temporary(&path), error))
        .and_then(|()| match mutant!("manifest_current_dir_not_synced") {
            true => Ok(()),
            false => sync_dir(fs, dir),
        })
        .map_err(|error| CreateFailure { error, in_doubt: true })
}

fn sync_dir(fs: &dyn Fs, dir: &Path) -> Result<()> {
    fs.sync_dir(dir).map_err(|error| Error::io("sync", dir, error))
}

/// Writes and syncs a file under the temporary name of `path`; removed again on failure.
fn write_file(fs: &dyn Fs, path: &Path, content: &[u8], len: u64) -> Result<Arc<dyn File>> {
    let path = temporary(path);
    match fs.remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::io("remove", &path, error));
        }
        _ => {}
    }
    let file = fs.create_new(&path).map_err(|error| Error::io("create", &path, error))?;
    let written = file
        .allocate(len)
        .map_err(|error| Error::io("extend", &path, error))
        .and_then(|()| {
            file.write_all_at(content, 0).map_err(|error| Error::io("write", &path, error))
        })
        .and_then(|()| {
            if mutant!("manifest_file_not_synced") { Ok(()) } else { file.sync_all() }
                .map_err(|error| Error::io("sync", &path, error))
        });
    match written {
        Ok(()) => Ok(file),
        Err(error) => {
            let _ = fs.remove_file(&path);
            Err(error)
        }
    }
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(TEMPORARY_SUFFIX);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
