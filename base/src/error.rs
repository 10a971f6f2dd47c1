//! The one error type. Its kind tells the caller what to do; its message says what happened and where.
//!
//! Corruption always names the file and the offset. Errors are cheap clones, because one failed sync answers
//! every commit of its group.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The result of everything in Esker that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What the caller can do about an [`Error`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The operating system refused an operation. State is unchanged; retrying may help.
    Io,
    /// The disk is full. State is unchanged; free space and retry.
    NoSpace,
    /// Bytes on disk are not what was written. Restore or repair; the error names file and offset.
    Corruption,
    /// The call itself is wrong (a key too long, an option out of range). Fix the call.
    InvalidArgument,
    /// What was named does not exist (a keyspace that was dropped, a directory that holds no database).
    NotFound,
    /// Another process or handle has the database open. Close it first.
    Locked,
    /// A transaction read something that another commit changed. Run it again.
    Conflict,
    /// The write may or may not have happened: it was given to the disk, and the disk failed before it was certain. It is
    /// not visible now, and may be after the next open; read it then, do not assume either. What a caller is told with
    /// any other kind has not happened and never will.
    Indeterminate,
    /// The database accepts no more writes because of an earlier failure, or was opened read-only. Reads go on.
    ReadOnly,
    /// A queue is full. Retry after waiting for what is under way.
    Busy,
    /// The database was closed.
    Closed,
    /// A file was written by a newer version, with a feature that this one does not know. Upgrade.
    Unsupported,
}

/// What went wrong, where, and why. See [`ErrorKind`] for what to do.
#[derive(Clone)]
pub struct Error(Arc<Repr>);

struct Repr {
    kind: ErrorKind,
    message: String,
    path: Option<PathBuf>,
    offset: Option<u64>,
    source: Option<Source>,
}

enum Source {
    Io(io::Error),
    Error(Error),
}

impl Error {
    /// An error of `kind` that concerns no particular file.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::build(kind, message.into(), None, None, None)
    }

    /// The call is wrong; `message` says how to fix it.
    pub fn invalid(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::InvalidArgument, message)
    }

    /// The bytes of `path` at `offset` are not what was written there.
    pub fn corruption(path: impl AsRef<Path>, offset: u64, message: impl Into<String>) -> Error {
        let path = path.as_ref().to_path_buf();
        Error::build(ErrorKind::Corruption, message.into(), Some(path), Some(offset), None)
    }

    /// `path` needs a feature or a version that this build does not have.
    pub fn unsupported(path: impl AsRef<Path>, message: impl Into<String>) -> Error {
        let path = path.as_ref().to_path_buf();
        Error::build(ErrorKind::Unsupported, message.into(), Some(path), None, None)
    }

    /// The operating system failed `operation` (a verb: "sync", "read") on `path`.
    pub fn io(operation: &str, path: impl AsRef<Path>, source: io::Error) -> Error {
        let kind = match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
            _ => ErrorKind::Io,
        };
        let path = path.as_ref().to_path_buf();
        Error::build(kind, operation.to_string(), Some(path), None, Some(Source::Io(source)))
    }

    /// The database is read-only because of `cause`; every refused write carries it.
    pub fn read_only(cause: &Error) -> Error {
        if cause.kind() == ErrorKind::ReadOnly {
            // It was opened that way: nothing failed, and reopening it the same way would not help.
            return cause.clone();
        }
        let message = "the database is read-only after an earlier failure; reopen it".to_string();
        Error::build(ErrorKind::ReadOnly, message, None, None, Some(Source::Error(cause.clone())))
    }

    /// A write's outcome cannot be known because of `cause`.
    pub fn indeterminate(cause: &Error) -> Error {
        let message = "this write may or may not be there after the database is opened again";
        let source = Some(Source::Error(cause.clone()));
        Error::build(ErrorKind::Indeterminate, message.to_string(), None, None, source)
    }

    fn build(
        kind: ErrorKind,
        message: String,
        path: Option<PathBuf>,
        offset: Option<u64>,
        source: Option<Source>,
    ) -> Error {
        Error(Arc::new(Repr { kind, message, path, offset, source }))
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The file it concerns, where there is one. Always present for corruption.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The byte offset in [`Error::path`], where known. Always present for corruption.
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// Whether the bytes that it is about cannot be had: they are not what was written, the file ends before them, or the
    /// device cannot read them. Any other failure says nothing of the file.
    pub fn is_unreadable(&self) -> bool {
        /// `EIO`, which has no kind of its own.
        const DEVICE_FAILED: i32 = 5;
        match (self.kind(), &self.0.source) {
            (ErrorKind::Corruption, _) => true,
            (ErrorKind::Io, Some(Source::Io(source))) => {
                source.kind() == io::ErrorKind::UnexpectedEof
                    || source.raw_os_error() == Some(DEVICE_FAILED)
            }
            _ => false,
        }
    }

    /// Whether running the same call again may succeed without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind(), ErrorKind::Conflict | ErrorKind::Busy)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let repr = &*self.0;
        match repr.kind {
            ErrorKind::Corruption => write!(f, "corruption: ")?,
            ErrorKind::Io | ErrorKind::NoSpace => write!(f, "cannot ")?,
            _ => {}
        }
        write!(f, "{}", repr.message)?;
        match (&repr.path, repr.offset) {
            (Some(path), Some(offset)) => write!(f, " ({} at byte {offset})", path.display())?,
            (Some(path), None) => write!(f, " {}", path.display())?,
            _ => {}
        }
        match &repr.source {
            Some(Source::Io(source)) => write!(f, ": {source}"),
            Some(Source::Error(source)) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.source {
            Some(Source::Io(source)) => Some(source),
            Some(Source::Error(source)) => Some(source),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corruption_names_file_and_offset() {
        let error = Error::corruption("/db/0000000007.sst", 4096, "block checksum does not match");
        assert_eq!(error.kind(), ErrorKind::Corruption);
        assert_eq!(error.offset(), Some(4096));
        assert_eq!(
            error.to_string(),
            "corruption: block checksum does not match (/db/0000000007.sst at byte 4096)"
        );
    }

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        let full = Error::io("write", "x", io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(full.kind(), ErrorKind::NoSpace);
        let other = Error::io("write", "x", io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(other.kind(), ErrorKind::Io);
    }

    #[test]
    fn what_cannot_be_read_is_told_from_what_passes() {
        let io = |source| Error::io("read", "x", source).is_unreadable();
        assert!(Error::corruption("x", 0, "bytes").is_unreadable());
        assert!(io(io::Error::from_raw_os_error(5)));
        assert!(io(io::ErrorKind::UnexpectedEof.into()));
        assert!(!io(io::Error::from_raw_os_error(24)), "too many open files");
        assert!(!io(io::ErrorKind::PermissionDenied.into()));
        assert!(!io(io::ErrorKind::StorageFull.into()));
        assert!(!Error::unsupported("x", "newer").is_unreadable());
    }

    #[test]
    fn read_only_carries_its_cause() {
        let cause = Error::io("sync", "/db/0000000001.wal", io::Error::other("I/O error"));
        let error = Error::read_only(&cause);
        assert_eq!(error.kind(), ErrorKind::ReadOnly);
        assert!(error.to_string().contains("0000000001.wal"), "{error}");
    }
}
