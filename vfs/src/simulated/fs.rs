//! The file system calls of a simulated disk, with the errors that Linux gives.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use super::SimulatedFs;
use super::disk::{Disk, ROOT, names};
use super::file::{SimulatedFile, SimulatedLock};
use super::pending::{Body, Change, NodeId};
use crate::{Call, File, FileLock, Fs, LockMode, Metadata, OpenMode};

impl SimulatedFs {
    fn handle(&self, disk: &mut Disk, node: NodeId, path: &Path, writable: bool) -> Arc<dyn File> {
        disk.retain_handle(node);
        let shared = Arc::clone(&self.disk);
        Arc::new(SimulatedFile::new(shared, node, path.to_owned(), writable))
    }
}

/// Adds an empty file under a free name.
fn create(disk: &mut Disk, path: &Path) -> io::Result<NodeId> {
    let (dir, name) = disk.lookup_parent(path)?;
    if disk.entry(dir, &name)?.is_some() {
        return Err(Errno::EXIST.into());
    }
    let node = disk.add(Body::file());
    disk.change(Change::Link { dir, name, node })?;
    Ok(node)
}

/// The file at a path; a directory there is an error.
fn lookup_file(disk: &Disk, path: &Path) -> io::Result<NodeId> {
    let node = disk.lookup(path)?;
    if disk.is_dir(node) { Err(Errno::ISDIR.into()) } else { Ok(node) }
}

/// A call's two paths as one, for the trace.
fn both(from: &Path, to: &Path) -> std::path::PathBuf {
    let mut both = from.as_os_str().to_owned();
    both.push(" -> ");
    both.push(to);
    both.into()
}

impl Fs for SimulatedFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk.lock();
        disk.enter(Call::Open, path, 0, 0, &[])?;
        let node = lookup_file(&disk, path)?;
        Ok(self.handle(&mut disk, node, path, mode == OpenMode::ReadWrite))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk.lock();
        disk.enter(Call::CreateNew, path, 0, 0, &[])?;
        let node = create(&mut disk, path)?;
        Ok(self.handle(&mut disk, node, path, true))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.enter(Call::Rename, &both(from, to), 0, 0, &[])?;
        let node = disk.lookup(from)?;
        let (from_dir, from_name) = disk.lookup_parent(from)?;
        let (to_dir, to_name) = disk.lookup_parent(to)?;
        if disk.is_dir(node) {
            let reason = "the simulated disk renames files only";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        match disk.entry(to_dir, &to_name)? {
            // Two names of one file: POSIX leaves both.
            Some(there) if there == node => return Ok(()),
            Some(there) if disk.is_dir(there) => return Err(Errno::ISDIR.into()),
            _ => {}
        }
        if from_dir == to_dir {
            return disk.change(Change::Rename {
                dir: from_dir,
                from: from_name,
                to: to_name,
                node,
            });
        }
        disk.change(Change::Link { dir: to_dir, name: to_name, node })?;
        disk.change(Change::Unlink { dir: from_dir, name: from_name, node })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.enter(Call::RemoveFile, path, 0, 0, &[])?;
        let node = lookup_file(&disk, path)?;
        let (dir, name) = disk.lookup_parent(path)?;
        disk.change(Change::Unlink { dir, name, node })
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.enter(Call::HardLink, &both(from, to), 0, 0, &[])?;
        let node = disk.lookup(from)?;
        let (dir, name) = disk.lookup_parent(to)?;
        if disk.is_dir(node) {
            return Err(Errno::PERM.into());
        }
        if disk.entry(dir, &name)?.is_some() {
            return Err(Errno::EXIST.into());
        }
        disk.change(Change::Link { dir, name, node })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut disk = self.disk.lock();
        disk.enter(Call::List, dir, 0, 0, &[])?;
        let node = disk.lookup(dir)?;
        if !disk.is_dir(node) {
            return Err(Errno::NOTDIR.into());
        }
        Ok(disk.node(node).cached.entries().map(|(name, _)| name.to_string()).collect())
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let mut disk = self.disk.lock();
        disk.enter(Call::Metadata, path, 0, 0, &[])?;
        let node = disk.lookup(path)?;
        let is_dir = disk.is_dir(node);
        let links = if is_dir { 1 } else { disk.links(node) };
        Ok(Metadata { len: disk.node(node).cached.len(), is_dir, links })
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.enter(Call::CreateDirAll, dir, 0, 0, &[])?;
        let mut at = ROOT;
        for name in names(dir)? {
            at = match disk.entry(at, name)? {
                Some(node) => node,
                None => {
                    let node = disk.add(Body::directory());
                    disk.change(Change::Link { dir: at, name: Arc::from(name), node })?;
                    node
                }
            };
        }
        if disk.is_dir(at) { Ok(()) } else { Err(Errno::EXIST.into()) }
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.enter(Call::RemoveDir, dir, 0, 0, &[])?;
        let node = disk.lookup(dir)?;
        let (parent, name) = disk.lookup_parent(dir)?;
        if !disk.is_dir(node) {
            return Err(Errno::NOTDIR.into());
        }
        if disk.node(node).cached.entries().next().is_some() {
            return Err(Errno::NOTEMPTY.into());
        }
        disk.change(Change::Unlink { dir: parent, name, node })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.enter(Call::SyncDir, dir, 0, 0, &[])?;
        let node = disk.lookup(dir)?;
        if !disk.is_dir(node) {
            return Err(Errno::NOTDIR.into());
        }
        disk.sync(node, dir)
    }

    fn lock(&self, path: &Path, mode: LockMode) -> io::Result<Box<dyn FileLock>> {
        let mut disk = self.disk.lock();
        disk.enter(Call::Lock, path, 0, mode as u64, &[])?;
        let node = match lookup_file(&disk, path) {
            Ok(node) => node,
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && mode == LockMode::Exclusive =>
            {
                create(&mut disk, path)?
            }
            Err(error) => return Err(error),
        };
        disk.try_lock(node, mode)?;
        Ok(Box::new(SimulatedLock::new(Arc::clone(&self.disk), node)))
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let mut disk = self.disk.lock();
        disk.enter(Call::FreeSpace, path, 0, 0, &[])?;
        disk.lookup(path)?;
        Ok(disk.free())
    }
}
