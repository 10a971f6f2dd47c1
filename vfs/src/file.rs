//! One open file.

use std::fmt::Debug;
use std::io;

use bytes::Bytes;

/// How a range of a file will be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// From front to back: read ahead.
    Sequential,
    /// Here and there: do not read ahead.
    Random,
    /// Soon: fetch it now.
    WillNeed,
    /// Not again: the cache may drop it.
    DontNeed,
}

/// One read of a batch of reads; see [`File::read_batch`].
#[derive(Debug)]
pub struct ReadRequest<'a> {
    /// Where to start, in bytes.
    pub offset: u64,
    /// What to fill.
    pub buffer: &'a mut [u8],
}

/// A part of a file as memory to write to; see [`File::map_for_writes`]. It keeps the file open.
pub trait WriteMap: Debug + Send + Sync {
    /// Writes all of `bytes` at `offset`, inside what was mapped. What it did is to everybody else, and to a later sync of
    /// the file, a write as by [`File::write_all_at`]; on an error any part may have been written.
    fn store(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
}

/// An open file. Positioned reads and writes only; every method may be called from several threads
/// at once. Interrupted calls (`EINTR`) and short transfers are retried inside.
///
/// A write is durable only after a later successful [`File::sync_data`] or [`File::sync_all`]; the
/// file's *name* only after [`crate::Fs::sync_dir`] on its directory.
pub trait File: Debug + Send + Sync {
    /// Fills as much of `buffer` as the file holds from `offset` on; less than the whole only at
    /// the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Fills all of `buffer` or fails with [`io::ErrorKind::UnexpectedEof`].
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if self.read_at(buffer, offset)? == buffer.len() {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the file ends before the bytes that were asked for",
        ))
    }

    /// Performs several exact reads, overlapped where the system can.
    fn read_batch(&self, requests: &mut [ReadRequest<'_>]) -> io::Result<()> {
        requests
            .iter_mut()
            .try_for_each(|request| self.read_exact_at(request.buffer, request.offset))
    }

    /// Writes all of `bytes` at `offset`; a gap before it reads as zeros. On an error any part may
    /// have been written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// As [`File::write_all_at`], and durable when it returns, with whatever else was written to that range. What was
    /// written elsewhere in the file need not be. To a trace and to injected faults it is a write and a sync of data.
    ///
    /// Only inside what an earlier sync has made the file's length.
    fn write_durably_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)?;
        self.sync_data()
    }

    /// Makes the file exactly `len` bytes long.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Reserves space for the first `len` bytes and extends the file to that length with zeros.
    /// Where the file system cannot reserve, only the length changes. A full disk is an error.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Makes content and length durable (`fdatasync`).
    fn sync_data(&self) -> io::Result<()>;

    /// Makes content and all metadata durable (`fsync`).
    fn sync_all(&self) -> io::Result<()>;

    /// Starts writing a range back, without waiting and without any promise of durability; smooths
    /// the later sync.
    fn start_writeback(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Tells the system how a range will be read. A hint: failures are ignored.
    fn advise(&self, offset: u64, len: u64, advice: Advice);

    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// The first `len` bytes as memory to write to, for many small writes without a system call each; `None` where that is
    /// not safe or not possible, and the caller writes as ever. `len` is at most the file's length.
    ///
    /// Only for a file that nobody truncates while the map lives; it may grow. A store makes pages ready ahead of it by a call
    /// (`MADV_POPULATE_WRITE` on Linux), as far as the 64 KiB, at multiples of that, that it ends in, and returns what that
    /// says: where no block can be had, on a full disk, or a page cannot be read, it is an error, and no end of the process.
    /// It may come only at writeback, as for any write, so space is to be reserved before, by [`File::allocate`] or by
    /// writes. A page that was ready and has left memory since is fetched again by the store itself: if the device fails
    /// then, the process ends.
    ///
    /// Stores and [`File::write_all_at`] to the same file are seen by each other, by reads and by syncs in the order in
    /// which one thread makes them, whichever bytes they touch: where a file held other bytes before, its user writes
    /// zeros by a call ahead of the stores. A store makes pages ready ahead of it, up to 64 KiB, so what is not written
    /// whole by calls may be read from the disk first.
    fn map_for_writes(&self, len: u64) -> io::Result<Option<Box<dyn WriteMap>>> {
        let _ = len;
        Ok(None)
    }

    /// The whole file as memory that stays valid after the file handle is dropped. Only for files
    /// that nobody changes or truncates any more. On the real machine an unreadable sector then
    /// ends the process on access.
    fn map(&self) -> io::Result<Bytes>;
}
