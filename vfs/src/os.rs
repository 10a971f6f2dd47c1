//! The real machine: its files, its clock, its randomness.
//!
//! Called through [`crate::World::real`] by everything that is not a test. The one place of the
//! engine's crates that may name `std::fs`, `std::time` and `thread::sleep`. It must never hide an
//! error of a write or a sync, and never retry a sync that failed: after such a failure the kernel
//! may have dropped the pages it could not write.
#![allow(clippy::disallowed_methods)]

mod file;
mod map;
pub mod memory;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::{Clock, File, FileLock, Fs, LockMode, Metadata, OpenMode, Random};
use file::OsFile;

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsFs;

impl Fs for OsFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let write = mode == OpenMode::ReadWrite;
        let file = fs::OpenOptions::new().read(true).write(write).open(path)?;
        Ok(Arc::new(OsFile::new(file)))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(OsFile::new(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        // A name that is not UTF-8 is none of ours; it is listed all the same, so that the
        // directory is not taken for empty.
        let mut names = fs::read_dir(dir)?
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<String>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let metadata = fs::metadata(path)?;
        let is_dir = metadata.is_dir();
        if is_dir {
            return Ok(Metadata { len: 0, is_dir, links: 1 });
        }
        Ok(Metadata { len: metadata.len(), is_dir, links: metadata.nlink() })
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path, mode: LockMode) -> io::Result<Box<dyn FileLock>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        if mode == LockMode::Exclusive {
            options.write(true).create(true).truncate(false);
        }
        let file = options.open(path)?;
        // flock belongs to the open file description, so two handles of one process exclude each
        // other too, and the kernel lets go of it when the process dies.
        match mode {
            LockMode::Shared => file.try_lock_shared(),
            LockMode::Exclusive => file.try_lock(),
        }
        .map_err(|error| match error {
            fs::TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::WouldBlock, "the lock is held elsewhere")
            }
            fs::TryLockError::Error(error) => error,
        })?;
        Ok(Box::new(OsLock { file }))
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// A lock held through an open file.
#[derive(Debug)]
struct OsLock {
    file: fs::File,
}

impl FileLock for OsLock {}

impl Drop for OsLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that another thread is just starting holds a copy of the descriptor,
        // and the lock with it, until it runs its program. If this fails, closing still does what it can.
        let _ = self.file.unlock();
    }
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug)]
pub struct OsClock {
    start: Instant,
}

impl OsClock {
    /// A clock whose monotonic time starts now, at zero.
    pub fn new() -> OsClock {
        OsClock { start: Instant::now() }
    }
}

impl Default for OsClock {
    fn default() -> OsClock {
        OsClock::new()
    }
}

impl Clock for OsClock {
    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn wall_ms(&self) -> u64 {
        // A clock set before 1970 reads as 1970: nothing is ordered by it.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    #[cfg(target_os = "linux")]
    fn fill(&self, bytes: &mut [u8]) {
        let mut filled = 0;
        while filled < bytes.len() {
            let flags = rustix::rand::GetRandomFlags::empty();
            match rustix::rand::getrandom(&mut bytes[filled..], flags) {
                Ok(count) => filled += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => unreachable!("invariant: every Linux since 3.17 has this: {error}"),
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn fill(&self, bytes: &mut [u8]) {
        use std::io::Read;
        fs::File::open("/dev/urandom")
            .and_then(|mut source| source.read_exact(bytes))
            .expect("invariant: every Unix has /dev/urandom");
    }
}
