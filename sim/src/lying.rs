//! File systems that break their promises: syncs that do nothing and say they did, reads that return something else.
//!
//! Planted under the checks by their own tests: a check that cannot see such a disk could not see an engine that forgets
//! to sync either.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use esker::vfs::{Advice, File, FileLock, Fs, LockMode, Metadata, OpenMode, World, WriteMap};

/// What is lied about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Directory syncs do nothing.
    Directories,
    /// Syncs of files whose path contains this do nothing.
    Files(&'static str),
    /// A bit of what is read from sstables and value files is wrong.
    Reads,
}

/// A file system over another that skips some syncs, or falsifies reads.
#[derive(Clone, Debug)]
pub struct LyingFs {
    inner: Arc<dyn Fs>,
    lie: Lie,
}

impl LyingFs {
    /// Puts the lie between a world and its disk.
    pub fn under(world: World, lie: Lie) -> World {
        World { fs: Arc::new(LyingFs { inner: Arc::clone(&world.fs), lie }), ..world }
    }

    fn wrap(&self, path: &Path, file: Arc<dyn File>) -> Arc<dyn File> {
        let (name, lie) = (path.to_string_lossy(), self.lie);
        match lie {
            Lie::Files(part) if name.contains(part) => Arc::new(LyingFile { inner: file, lie }),
            Lie::Reads if name.contains(".sst") || name.contains(".val") => {
                Arc::new(LyingFile { inner: file, lie })
            }
            _ => file,
        }
    }
}

impl Fs for LyingFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(self.wrap(path, self.inner.open(path, mode)?))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.wrap(path, self.inner.create_new(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.hard_link(from, to)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.inner.metadata(path)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.lie == Lie::Directories { Ok(()) } else { self.inner.sync_dir(dir) }
    }

    fn lock(&self, path: &Path, mode: LockMode) -> io::Result<Box<dyn FileLock>> {
        self.inner.lock(path, mode)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.inner.free_space(path)
    }
}

/// A file that is never synced, or read wrongly.
#[derive(Debug)]
struct LyingFile {
    inner: Arc<dyn File>,
    lie: Lie,
}

impl File for LyingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = self.inner.read_at(buffer, offset)?;
        if self.lie == Lie::Reads
            && let Some(middle) = buffer.get_mut(count / 2)
        {
            *middle ^= 1;
        }
        Ok(count)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.inner.write_all_at(bytes, offset)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.inner.truncate(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.inner.allocate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.lie == Lie::Reads {
            return self.inner.sync_data();
        }
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        if self.lie == Lie::Reads {
            return self.inner.sync_all();
        }
        Ok(())
    }

    fn start_writeback(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.start_writeback(offset, len)
    }

    fn advise(&self, offset: u64, len: u64, advice: Advice) {
        self.inner.advise(offset, len, advice);
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn map_for_writes(&self, len: u64) -> io::Result<Option<Box<dyn WriteMap>>> {
        self.inner.map_for_writes(len)
    }

    fn map(&self) -> io::Result<Bytes> {
        self.inner.map()
    }
}
