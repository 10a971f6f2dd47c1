//! A file of the real machine as memory to write to.
//!
//! Made by `super::file` only. A write of a few bytes costs a microsecond in a system call, a store into the page cache a
//! thirtieth of that. A store cannot return an error: where no page can be had, the kernel ends the process (`SIGBUS`).
//! So pages are made ready some ahead of the first store, by a call that returns errors as errors; and a map is refused
//! where that call is missing, or where the file system does not overwrite in place and a store to space that is long
//! allocated may still find the disk full. What is left: the device or the file system fails while a page that was
//! ready is written back and stored to once more.
#![allow(unsafe_code)]

use std::fs;

#[cfg(target_os = "linux")]
pub(super) use linux::OsMap;
#[cfg(not(target_os = "linux"))]
pub(super) use other::OsMap;

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::ops::Range;

    use memmap2::{Advice, MmapOptions, MmapRaw, UncheckedAdvice};
    use rustix::io::Errno;

    use super::fs;
    use crate::WriteMap;

    /// How much is made ready at a time, in bytes: enough to share the call, little enough that a sync in between does
    /// not write much for nothing.
    const READY_LEN: u64 = 64 << 10;

    /// How much that was stored stays mapped, in bytes, before it is let go of: a log segment would otherwise count as
    /// memory of the process in its whole length.
    const BEHIND_LEN: u64 = 1 << 20;

    /// The magic numbers of the file systems that overwrite allocated blocks in place: ext2 to ext4, tmpfs. Not xfs: a
    /// copy by reflink makes it write elsewhere, and where there is no room for that a store ends the process.
    const IN_PLACE: [u64; 2] = [0xef53, 0x0102_1994];

    /// The start of an open file, mapped for writing.
    #[derive(Debug)]
    pub(in super::super) struct OsMap {
        map: MmapRaw,
        len: u64,
        /// Pages that can be stored to.
        ready: Range<u64>,
    }

    impl OsMap {
        /// Maps the first `len` bytes, which the file has. `None` where stores may fail, or the system is too old.
        pub(in super::super) fn new(file: &fs::File, len: u64) -> Option<OsMap> {
            let kind = rustix::fs::fstatfs(file).ok()?.f_type;
            if !IN_PLACE.contains(&u64::try_from(kind).ok()?) {
                return None;
            }
            let map = MmapOptions::new().len(usize::try_from(len).ok()?).map_raw(file).ok()?;
            let mut map = OsMap { map, len, ready: 0..0 };
            // Shows whether the kernel (5.14) has the call. The first page is written to in any case: it has the header.
            map.make_ready(0, 1).ok()?;
            Some(map)
        }

        /// Sees to it that `from..to`, inside the map, can be stored to.
        #[cold]
        fn make_ready(&mut self, from: u64, to: u64) -> io::Result<()> {
            let start = from - from % READY_LEN;
            let end = to.next_multiple_of(READY_LEN).min(self.len);
            if !(self.ready.start..=self.ready.end).contains(&start) {
                self.ready = start..start;
            }
            let missing = self.ready.end..end.max(self.ready.end);
            let (at, len) = (missing.start as usize, (missing.end - missing.start) as usize);
            self.map.advise_range(Advice::PopulateWrite, at, len)?;
            self.ready.end = missing.end;
            let behind = start.saturating_sub(self.ready.start) as usize;
            if behind as u64 >= BEHIND_LEN {
                // SAFETY: the map is shared with the file, so its pages keep their content in the page cache when they
                // leave this process; nobody holds a reference into it.
                let let_go = unsafe {
                    let at = self.ready.start as usize;
                    self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, at, behind)
                };
                // Only memory would be held longer.
                let _ = let_go;
                self.ready.start = start;
            }
            Ok(())
        }
    }

    impl WriteMap for OsMap {
        fn store(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
            let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= self.len);
            let end = end.ok_or(Errno::INVAL)?;
            if offset < self.ready.start || end > self.ready.end {
                self.make_ready(offset, end)?;
            }
            // SAFETY: `offset..end` lies inside the map, by the check above. No reference into the map exists anywhere,
            // so none can overlap; `&mut self` keeps other stores away. The pages are there: the file is at least as
            // long as the map by the contract of `map_for_writes`, and they were made ready.
            unsafe {
                let target = self.map.as_mut_ptr().add(offset as usize);
                target.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            }
            Ok(())
        }
    }
}

/// Elsewhere nothing makes pages ready, so nothing is mapped.
#[cfg(not(target_os = "linux"))]
mod other {
    use std::io;

    use super::fs;
    use crate::WriteMap;

    /// There is none.
    #[derive(Debug)]
    pub(in super::super) enum OsMap {}

    impl OsMap {
        pub(in super::super) fn new(_file: &fs::File, _len: u64) -> Option<OsMap> {
            None
        }
    }

    impl WriteMap for OsMap {
        fn store(&mut self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
            match *self {}
        }
    }
}
