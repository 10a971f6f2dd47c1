//! The names of an ingest's files before they are installed: temporary ones, which an open removes and a repair passes.
//!
//! Their sequence numbers lie ahead of those of commits that come before the ingest. A repair without a manifest takes
//! every sstable that it finds, so under its own name an unfinished ingest would come back above what was acknowledged
//! after it was given up. `install.rs` gives the files their names.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use esker_base::names::{FileKind, TEMPORARY_SUFFIX};
use esker_base::{Error, FileNumber, Result};
use esker_vfs::{File, FileLock, Fs, LockMode, Metadata, OpenMode};

use crate::core::Core;

/// A file system on which every file has a temporary name. Names are not made durable.
#[derive(Debug)]
struct Staged(Arc<dyn Fs>);

fn staged(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY_SUFFIX);
    name.into()
}

impl Fs for Staged {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.0.open(&staged(path), mode)
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.0.create_new(&staged(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(&staged(from), &staged(to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.remove_file(&staged(path))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.hard_link(&staged(from), &staged(to))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.0.metadata(&staged(path))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.0.create_dir_all(dir)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.remove_dir(dir)
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &Path, mode: LockMode) -> io::Result<Box<dyn FileLock>> {
        self.0.lock(path, mode)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.0.free_space(path)
    }
}

impl Core {
    /// Where an ingest's files are written, and read, before they are installed.
    pub(super) fn staged_fs(&self) -> Arc<dyn Fs> {
        Arc::new(Staged(Arc::clone(&self.world.fs)))
    }

    /// Gives the files their own names, durably. After an error they may have either.
    pub(super) fn unstage(&self, files: &[(FileKind, FileNumber)]) -> Result<()> {
        let fs = &*self.world.fs;
        // Values before the sstables that point to them.
        for (kind, number) in files.iter().rev() {
            let path = self.dir.join(kind.name(*number));
            fs.rename(&staged(&path), &path).map_err(|error| Error::io("rename", &path, error))?;
        }
        fs.sync_dir(&self.dir).map_err(|error| Error::io("sync", &self.dir, error))
    }

    /// Removes files that nothing names, under either name. What cannot be removed is left to the next open.
    pub(super) fn remove_uninstalled(&self, files: Vec<(FileKind, FileNumber)>) {
        for (kind, number) in files {
            let path = self.dir.join(kind.name(number));
            let _ = self.world.fs.remove_file(&staged(&path));
            let _ = self.world.fs.remove_file(&path);
        }
    }
}
