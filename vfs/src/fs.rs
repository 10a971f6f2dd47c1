//! Directories and names.

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use crate::File;

/// What an existing file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// How a lock file is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// Beside other shared holders.
    Shared,
    /// Alone.
    Exclusive,
}

/// What is known of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Length in bytes; 0 for a directory.
    pub len: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// How many names the file has; 1 for a directory.
    pub links: u64,
}

/// A held lock; released when dropped or when the process ends.
pub trait FileLock: Debug + Send + Sync {}

/// A file system. A change of a directory (a created, renamed, linked or removed name) is durable
/// only after a later successful [`Fs::sync_dir`] on that directory.
pub trait Fs: Debug + Send + Sync {
    /// Opens an existing file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// Creates a file for reading and writing; [`io::ErrorKind::AlreadyExists`] if the name is
    /// taken.
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Renames a file, replacing what stood there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Gives a file a second name; [`io::ErrorKind::AlreadyExists`] if that is taken.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// The names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// What stands at a path; [`io::ErrorKind::NotFound`] if nothing.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;

    /// Whether something stands at a path.
    fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Creates a directory and its missing parents; fine if it exists.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes a lock on `path`, creating the file if `mode` is exclusive and it is missing.
    /// [`io::ErrorKind::WouldBlock`] at once if another handle, in this process or another, holds
    /// it the other way.
    fn lock(&self, path: &Path, mode: LockMode) -> io::Result<Box<dyn FileLock>>;

    /// Bytes that an unprivileged writer can still allocate at `path`.
    fn free_space(&self, path: &Path) -> io::Result<u64>;
}

/// Whether a call failed because this process, or the whole machine, has too many files open. Nothing was done then, and
/// the call may be tried again later.
pub fn is_out_of_files(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| errno == Errno::MFILE || errno == Errno::NFILE)
}
