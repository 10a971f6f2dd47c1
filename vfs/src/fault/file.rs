//! An open file whose calls fail as the rules say.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::rule::{Fault, Rules, Verdict};
use crate::{Advice, Call, File, WriteMap};

/// A file opened through a [`super::FaultFs`].
#[derive(Debug)]
pub(super) struct FaultFile {
    inner: Arc<dyn File>,
    path: PathBuf,
    rules: Arc<Rules>,
}

impl FaultFile {
    pub(super) fn new(inner: Arc<dyn File>, path: PathBuf, rules: Arc<Rules>) -> FaultFile {
        FaultFile { inner, path, rules }
    }

    fn judge(&self, call: Call) -> Verdict {
        self.rules.judge(call, &[&self.path])
    }
}

impl File for FaultFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let half = buffer.len() / 2;
        match self.judge(Call::ReadAt) {
            Verdict::Strike(Fault::FailHalfway(failure)) => {
                self.inner.read_at(&mut buffer[..half], offset)?;
                Err(failure.error())
            }
            Verdict::Strike(Fault::Short) => {
                let first = self.inner.read_at(&mut buffer[..half], offset)?;
                if first < half {
                    return Ok(first);
                }
                Ok(half + self.inner.read_at(&mut buffer[half..], offset + half as u64)?)
            }
            verdict => verdict.whole(|| self.inner.read_at(buffer, offset)),
        }
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        match self.judge(Call::WriteAllAt) {
            Verdict::Strike(Fault::FailHalfway(failure)) => {
                self.inner.write_all_at(first, offset)?;
                Err(failure.error())
            }
            Verdict::Strike(Fault::Short) => {
                self.inner.write_all_at(first, offset)?;
                self.inner.write_all_at(second, offset + first.len() as u64)
            }
            verdict => verdict.whole(|| self.inner.write_all_at(bytes, offset)),
        }
    }

    fn write_durably_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        // Written twice, so that what fails halfway does, and only the range is made durable.
        self.write_all_at(bytes, offset)?;
        self.judge(Call::SyncData).whole(|| self.inner.write_durably_at(bytes, offset))
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.judge(Call::Truncate).whole(|| self.inner.truncate(len))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.judge(Call::Allocate).whole(|| self.inner.allocate(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.judge(Call::SyncData).whole(|| self.inner.sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.judge(Call::SyncAll).whole(|| self.inner.sync_all())
    }

    fn start_writeback(&self, offset: u64, len: u64) -> io::Result<()> {
        self.judge(Call::StartWriteback).whole(|| self.inner.start_writeback(offset, len))
    }

    fn advise(&self, offset: u64, len: u64, advice: Advice) {
        self.inner.advise(offset, len, advice);
    }

    fn len(&self) -> io::Result<u64> {
        self.judge(Call::Len).whole(|| self.inner.len())
    }

    fn map_for_writes(&self, len: u64) -> io::Result<Option<Box<dyn WriteMap>>> {
        let map = self.judge(Call::MapForWrites).whole(|| self.inner.map_for_writes(len))?;
        let (path, rules) = (self.path.clone(), Arc::clone(&self.rules));
        Ok(map.map(|inner| Box::new(FaultMap { inner, path, rules }) as Box<dyn WriteMap>))
    }

    fn map(&self) -> io::Result<Bytes> {
        self.judge(Call::Map).whole(|| self.inner.map())
    }
}

/// A map whose stores fail as writes do.
#[derive(Debug)]
struct FaultMap {
    inner: Box<dyn WriteMap>,
    path: PathBuf,
    rules: Arc<Rules>,
}

impl WriteMap for FaultMap {
    fn store(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        match self.rules.judge(Call::Store, &[&self.path]) {
            Verdict::Strike(Fault::FailHalfway(failure)) => {
                self.inner.store(first, offset)?;
                Err(failure.error())
            }
            Verdict::Strike(Fault::Short) => {
                self.inner.store(first, offset)?;
                self.inner.store(second, offset + first.len() as u64)
            }
            verdict => verdict.whole(|| self.inner.store(bytes, offset)),
        }
    }
}
