//! One open file of the real machine.
//!
//! Made by [`super::OsFs`] only. It must never report a short transfer as success, and never map a file for writing.

use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use memmap2::Mmap;
use rustix::io::Errno;

use crate::{Advice, File};

/// An open file of the operating system.
#[derive(Debug)]
pub(super) struct OsFile {
    file: fs::File,
}

impl OsFile {
    pub(super) fn new(file: fs::File) -> OsFile {
        OsFile { file }
    }
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

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        // std's loop goes on after short writes and interruptions.
        self.file.write_all_at(bytes, offset)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if len == 0 {
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
        // On macOS std asks for F_FULLFSYNC here and below: plain fsync stops at the drive's cache there.
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn start_writeback(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
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

    fn map(&self) -> io::Result<Bytes> {
        if self.len()? == 0 {
            // The kernel refuses to map nothing.
            return Ok(Bytes::new());
        }
        // SAFETY: the trait's contract limits `map` to files that nobody changes or truncates any more, so the bytes
        // behind the shared slice never change while it lives. The mapping is private to reading, and owned by the
        // `Bytes`, which keeps it alive for as long as any slice of it exists.
        let map = unsafe { Mmap::map(&self.file)? };
        // A hint; a kernel that does not know it maps all the same.
        let _ = map.advise(memmap2::Advice::Random);
        Ok(Bytes::from_owner(map))
    }
}
