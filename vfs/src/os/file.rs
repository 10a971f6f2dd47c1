//! One open file of the real machine.
//!
//! Made by [`super::OsFs`] only. It must never report a short transfer as success. Unsafe code is here (one mapping for
//! reading, one system call), in `map.rs` (mapping for writes) and in `memory.rs`.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use memmap2::Mmap;
use rustix::io::Errno;

use super::map::OsMap;
#[cfg(target_os = "linux")]
use crate::ReadRequest;
use crate::{Advice, File, WriteMap};

/// An open file of the operating system.
#[derive(Debug)]
pub(super) struct OsFile {
    file: fs::File,
}

impl OsFile {
    pub(super) fn new(file: fs::File) -> OsFile {
        OsFile { file }
    }

    /// Fills the whole buffer without waiting for the device, or says that it could not.
    #[cfg(target_os = "linux")]
    fn read_if_cached(&self, request: &mut ReadRequest<'_>) -> bool {
        let len = request.buffer.len();
        let mut buffers = [io::IoSliceMut::new(request.buffer)];
        let flags = rustix::io::ReadWriteFlags::NOWAIT;
        // A file system that cannot tell, an interruption or part of the bytes: the waiting read
        // sorts it out.
        rustix::io::preadv2(&self.file, &mut buffers, request.offset, flags) == Ok(len)
    }
}

/// Starts writing a range back.
#[cfg(target_os = "linux")]
fn start_writeback(file: &fs::File, offset: u64, len: u64) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let invalid = |_| io::Error::from(Errno::INVAL);
    let offset = libc::off64_t::try_from(offset).map_err(invalid)?;
    let len = libc::off64_t::try_from(len).map_err(invalid)?;
    if len == 0 {
        // The kernel reads length zero as "to the end of the file"; ours means nothing at all.
        return Ok(());
    }
    // SAFETY: the descriptor is open, because the caller borrows the file that owns it; the call
    // takes numbers only.
    let result = unsafe {
        libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE)
    };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // A file system without it loses smoothness, nothing else.
        Some(libc::ENOSYS | libc::EINVAL | libc::ESPIPE | libc::EINTR) => Ok(()),
        _ => Err(error),
    }
}

/// Elsewhere there is no such call; the sync writes everything.
#[cfg(not(target_os = "linux"))]
fn start_writeback(_file: &fs::File, _offset: u64, _len: u64) -> io::Result<()> {
    Ok(())
}

impl File for OsFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    #[cfg(target_os = "linux")]
    fn read_batch(&self, requests: &mut [ReadRequest<'_>]) -> io::Result<()> {
        if let [request] = requests {
            return self.read_exact_at(request.buffer, request.offset);
        }
        // What is cached is taken at once; for the rest the kernel starts all fetches before the
        // first is waited for.
        let mut missed = Vec::new();
        for (index, request) in requests.iter_mut().enumerate() {
            if !self.read_if_cached(request) {
                self.advise(request.offset, request.buffer.len() as u64, Advice::WillNeed);
                missed.push(index);
            }
        }
        missed.into_iter().try_for_each(|index| {
            let request = &mut requests[index];
            self.read_exact_at(request.buffer, request.offset)
        })
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        // std's loop goes on after short writes and interruptions.
        self.file.write_all_at(bytes, offset)
    }

    /// The kernel writes these pages back and waits for them, and leaves the file's others as they are.
    #[cfg(target_os = "linux")]
    fn write_durably_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            let buffers = [io::IoSlice::new(&bytes[written..])];
            let flags = rustix::io::ReadWriteFlags::DSYNC;
            match rustix::io::pwritev2(&self.file, &buffers, offset + written as u64, flags) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                // A file system that cannot: the whole file, then.
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                    self.write_all_at(bytes, offset)?;
                    return self.sync_data();
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        // Apple's emulation sets the length, and so would cut a longer file.
        if len == 0 || cfg!(target_vendor = "apple") && self.len()? >= len {
            return Ok(());
        }
        loop {
            let flags = rustix::fs::FallocateFlags::empty();
            match rustix::fs::fallocate(&self.file, flags, 0, len) {
                Ok(()) => break,
                Err(Errno::INTR) => {}
                // The file system cannot reserve; the length is still promised.
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => break,
                Err(error) => return Err(error.into()),
            }
        }
        if self.len()? < len {
            self.file.set_len(len)?;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        // On macOS std asks for F_FULLFSYNC here and below: plain fsync stops at the drive's cache
        // there.
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn start_writeback(&self, offset: u64, len: u64) -> io::Result<()> {
        start_writeback(&self.file, offset, len)
    }

    fn advise(&self, offset: u64, len: u64, advice: Advice) {
        #[cfg(not(target_vendor = "apple"))]
        {
            let advice = match advice {
                Advice::Sequential => rustix::fs::Advice::Sequential,
                Advice::Random => rustix::fs::Advice::Random,
                Advice::WillNeed => rustix::fs::Advice::WillNeed,
                Advice::DontNeed => rustix::fs::Advice::DontNeed,
            };
            // The kernel reads length zero as "to the end of the file"; ours means nothing at all.
            if let Some(len) = NonZeroU64::new(len) {
                let _ = rustix::fs::fadvise(&self.file, offset, Some(len), advice);
            }
        }
        #[cfg(target_vendor = "apple")]
        let _ = (offset, len, advice);
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn map_for_writes(&self, len: u64) -> io::Result<Option<Box<dyn WriteMap>>> {
        if len == 0 || self.len()? < len {
            return Err(Errno::INVAL.into());
        }
        Ok(OsMap::new(&self.file, len).map(|map| Box::new(map) as Box<dyn WriteMap>))
    }

    fn map(&self) -> io::Result<Bytes> {
        if self.len()? == 0 {
            // The kernel refuses to map nothing.
            return Ok(Bytes::new());
        }
        // SAFETY: the trait's contract limits `map` to files that nobody changes or truncates any
        // more, so the bytes behind the shared slice never change while it lives. The mapping is
        // private to reading, and owned by the `Bytes`, which keeps it alive for as long as any
        // slice of it exists.
        let map = unsafe { Mmap::map(&self.file)? };
        // A hint; a kernel that does not know it maps all the same.
        let _ = map.advise(memmap2::Advice::Random);
        Ok(Bytes::from_owner(map))
    }
}
