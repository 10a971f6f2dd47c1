//! Scripted failures over any file system.
//!
//! Error sweeps wrap a disk in [`FaultFs`] and make call number k fail, for every k. Without a rule
//! that matches, every call goes through unchanged; a rule must never change what an error-free
//! call returns.
//!
//! ```
//! use std::{path::Path, sync::Arc};
//! use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};
//! use esker_vfs::simulated::SimulatedFs;
//! use esker_vfs::{Call, Fs};
//!
//! let fs = FaultFs::new(Arc::new(SimulatedFs::new()));
//! fs.inject(Rule::new(Fault::Fail(Failure::Io)).on(&Call::SYNCS).suffix(".wal").sticky());
//! let file = fs.create_new(Path::new("1.wal"))?;
//! file.write_all_at(b"hello", 0)?;
//! assert!(file.sync_data().is_err());
//! # Ok::<(), std::io::Error>(())
//! ```

mod file;
mod rule;
#[cfg(test)]
mod tests;

pub use rule::{Failure, Fault, Rule};

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::{Call, File, FileLock, Fs, LockMode, Metadata, OpenMode};
use file::FaultFile;
use rule::{Rules, Verdict};

/// A file system whose calls fail as told. Clones share rules and counters.
#[derive(Clone, Debug)]
pub struct FaultFs {
    inner: Arc<dyn Fs>,
    rules: Arc<Rules>,
}

impl FaultFs {
    /// Wraps a file system; nothing fails yet.
    pub fn new(inner: Arc<dyn Fs>) -> FaultFs {
        FaultFs { inner, rules: Arc::default() }
    }

    /// Adds a rule, which counts its matching calls from now on.
    pub fn inject(&self, rule: Rule) {
        self.rules.add(rule);
    }

    /// Removes all rules.
    pub fn clear(&self) {
        self.rules.clear();
    }

    /// Stops (`false`) or resumes (`true`, as at the start) the rules. While stopped, calls are
    /// still counted here, but not by the rules.
    pub fn arm(&self, armed: bool) {
        self.rules.arm(armed);
    }

    /// How many calls have been made, those that failed included: of every method of [`Fs`] and
    /// [`File`] but [`File::advise`]. A batch counts each of its reads.
    pub fn calls(&self) -> u64 {
        Call::ALL.iter().map(|call| self.rules.calls_of(*call)).sum()
    }

    /// How many calls of one kind have been made.
    pub fn calls_of(&self, call: Call) -> u64 {
        self.rules.calls_of(call)
    }

    /// How many calls a rule has struck.
    pub fn strikes(&self) -> u64 {
        self.rules.strikes()
    }

    fn wrap(&self, path: &Path, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(FaultFile::new(file, path.to_owned(), Arc::clone(&self.rules)))
    }

    fn guarded<T>(
        &self,
        call: Call,
        paths: &[&Path],
        perform: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        self.rules.judge(call, paths).whole(perform)
    }
}

impl Verdict {
    /// Carries out a call that cannot be done by halves.
    fn whole<T>(self, perform: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self {
            Verdict::Pass => perform(),
            Verdict::Strike(Fault::Fail(failure) | Fault::FailHalfway(failure)) => {
                Err(failure.error())
            }
            Verdict::Strike(Fault::FailAfter(failure)) => {
                perform()?;
                Err(failure.error())
            }
            // Implementations retry interrupted and short calls, so the caller sees neither.
            Verdict::Strike(Fault::Interrupt | Fault::Short) => perform(),
            Verdict::Strike(Fault::Delay { clock, duration }) => {
                clock.sleep(duration);
                perform()
            }
        }
    }
}

impl Fs for FaultFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.guarded(Call::Open, &[path], || self.inner.open(path, mode))?;
        Ok(self.wrap(path, file))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self.guarded(Call::CreateNew, &[path], || self.inner.create_new(path))?;
        Ok(self.wrap(path, file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.guarded(Call::Rename, &[from, to], || self.inner.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.guarded(Call::RemoveFile, &[path], || self.inner.remove_file(path))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.guarded(Call::HardLink, &[from, to], || self.inner.hard_link(from, to))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.guarded(Call::List, &[dir], || self.inner.list(dir))
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.guarded(Call::Metadata, &[path], || self.inner.metadata(path))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.guarded(Call::CreateDirAll, &[dir], || self.inner.create_dir_all(dir))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.guarded(Call::RemoveDir, &[dir], || self.inner.remove_dir(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.guarded(Call::SyncDir, &[dir], || self.inner.sync_dir(dir))
    }

    fn lock(&self, path: &Path, mode: LockMode) -> io::Result<Box<dyn FileLock>> {
        self.guarded(Call::Lock, &[path], || self.inner.lock(path, mode))
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.guarded(Call::FreeSpace, &[path], || self.inner.free_space(path))
    }
}
