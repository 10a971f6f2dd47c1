//! Open files and held locks of a simulated disk.
//!
//! A handle belongs to the disk it was opened on, and dies with its power.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use rustix::io::Errno;

use super::content::Content;
use super::disk::Disk;
use super::pending::{Body, Change, NodeId};
use crate::{Advice, Call, File, FileLock, WriteMap};

/// An open file.
#[derive(Debug)]
pub(super) struct SimulatedFile {
    disk: Arc<Mutex<Disk>>,
    node: NodeId,
    /// As it was opened; later renames do not show.
    path: PathBuf,
    writable: bool,
}

impl SimulatedFile {
    /// Takes over a handle that the caller has counted with [`Disk::retain_handle`].
    pub(super) fn new(
        disk: Arc<Mutex<Disk>>,
        node: NodeId,
        path: PathBuf,
        writable: bool,
    ) -> SimulatedFile {
        SimulatedFile { disk, node, path, writable }
    }

    fn enter(
        &self,
        call: Call,
        offset: u64,
        len: u64,
        bytes: &[u8],
    ) -> io::Result<MutexGuard<'_, Disk>> {
        let mut disk = self.disk.lock();
        disk.enter(call, &self.path, offset, len, bytes)?;
        let writes = matches!(call, Call::WriteAllAt | Call::Truncate | Call::Allocate);
        if writes && !self.writable {
            return Err(Errno::BADF.into());
        }
        Ok(disk)
    }

    fn content<'a>(&self, disk: &'a Disk) -> &'a Content {
        match &disk.node(self.node).cached {
            Body::File(content) => content,
            Body::Directory(_) => unreachable!("only files are opened"),
        }
    }
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        self.disk.lock().release_handle(self.node);
    }
}

impl File for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = self.enter(Call::ReadAt, offset, buffer.len() as u64, &[])?;
        Ok(self.content(&disk).read(buffer, offset))
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.enter(Call::WriteAllAt, offset, bytes.len() as u64, bytes)?;
        // A full disk takes what fits before it refuses.
        let limit = disk.node(self.node).cached.len().saturating_add(disk.free());
        let room = usize::try_from(limit.saturating_sub(offset)).unwrap_or(usize::MAX);
        let fitting = &bytes[..bytes.len().min(room)];
        if !fitting.is_empty() {
            let bytes = Bytes::copy_from_slice(fitting);
            disk.change(Change::Write { file: self.node, offset, bytes })?;
        }
        if fitting.len() < bytes.len() {
            return Err(Errno::NOSPC.into());
        }
        Ok(())
    }

    fn write_durably_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)?;
        let len = bytes.len() as u64;
        let mut disk = self.enter(Call::SyncData, offset, len, &[])?;
        disk.sync_range(self.node, &self.path, offset..offset + len)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut disk = self.enter(Call::Truncate, 0, len, &[])?;
        disk.change(Change::Truncate { file: self.node, len })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut disk = self.enter(Call::Allocate, 0, len, &[])?;
        disk.change(Change::Extend { file: self.node, len })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.enter(Call::SyncData, 0, 0, &[])?.sync(self.node, &self.path)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.enter(Call::SyncAll, 0, 0, &[])?.sync(self.node, &self.path)
    }

    fn start_writeback(&self, offset: u64, len: u64) -> io::Result<()> {
        self.enter(Call::StartWriteback, offset, len, &[]).map(drop)
    }

    fn advise(&self, _offset: u64, _len: u64, _advice: Advice) {}

    fn len(&self) -> io::Result<u64> {
        let disk = self.enter(Call::Len, 0, 0, &[])?;
        Ok(self.content(&disk).len())
    }

    fn map_for_writes(&self, len: u64) -> io::Result<Option<Box<dyn WriteMap>>> {
        let mut disk = self.enter(Call::MapForWrites, 0, len, &[])?;
        if !self.writable || len > self.content(&disk).len() {
            return Err(Errno::INVAL.into());
        }
        disk.retain_handle(self.node);
        let (shared, path) = (Arc::clone(&self.disk), self.path.clone());
        let file = SimulatedFile::new(shared, self.node, path, true);
        Ok(Some(Box::new(SimulatedMap { file, len })))
    }

    fn map(&self) -> io::Result<Bytes> {
        let disk = self.enter(Call::Map, 0, 0, &[])?;
        Ok(Bytes::from(self.content(&disk).to_vec()))
    }
}

/// A map for writes: a handle of its own, whose stores are writes.
#[derive(Debug)]
struct SimulatedMap {
    file: SimulatedFile,
    len: u64,
}

impl WriteMap for SimulatedMap {
    fn store(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > self.len) {
            return Err(Errno::INVAL.into());
        }
        // What the real machine answers with the end of the process.
        let len = self.file.content(&self.file.disk.lock()).len();
        assert!(self.len <= len, "a file was truncated under its map");
        self.file.write_all_at(bytes, offset)
    }
}

/// A held lock.
#[derive(Debug)]
pub(super) struct SimulatedLock {
    disk: Arc<Mutex<Disk>>,
    node: NodeId,
}

impl SimulatedLock {
    /// Takes over a lock taken with [`Disk::try_lock`].
    pub(super) fn new(disk: Arc<Mutex<Disk>>, node: NodeId) -> SimulatedLock {
        SimulatedLock { disk, node }
    }
}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        self.disk.lock().unlock(self.node);
    }
}

impl FileLock for SimulatedLock {}
