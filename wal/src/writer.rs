//! Appending to the log. The one owner of the write path holds the [`Writer`]; syncs may run elsewhere, on a
//! [`SyncHandle`]. It never writes behind a failed write and never reports a sync that it does not know of.
//!
//! Invariants: **W1** the frames of a segment stand without gaps from its header to the writer's position. **W2** what
//! is known to be synced is a prefix of the log: a segment counts only after all before it. **W3** after a failed
//! write nothing is written to that segment any more; after a failed sync nothing is written at all, and nothing more
//! becomes known to be synced.

use std::path::PathBuf;
use std::sync::Arc;

use esker_base::checksum::Running;
use esker_base::{Error, ErrorKind, FileNumber, LogPosition, Result, SeqNo, mutant};
use esker_vfs::File;

use crate::format::{CONTROL_LEN, FrameKind, HEADER_LEN};
use crate::frame::{self, CHECKSUM_LEN};
use crate::group::GroupBuilder;
use crate::segment::{Segment, zero};

/// Copied groups are written together once they have this many bytes.
const COPY_BYTES: usize = 1 << 20;

/// The writing end of the log.
#[derive(Debug)]
pub struct Writer {
    segment: Segment,
    /// Where the next frame goes in `segment`.
    offset: u64,
    /// Over the checksums of all frames of `segment`.
    checksum: Running,
    last_seq: SeqNo,
    known_synced: LogPosition,
    /// Finished segments that are not known to be synced to their end, in order.
    unsynced: Vec<Unsynced>,
    /// Frames that are not built elsewhere are built here; between calls it holds copied groups alone.
    scratch: Vec<u8>,
    /// Why nothing more may be written.
    failed: Option<Error>,
    /// Whether that was a failed write, behind which the log can go on in another segment.
    failed_in_write: bool,
}

#[derive(Clone, Debug)]
struct Unsynced {
    number: FileNumber,
    file: Arc<dyn File>,
    path: PathBuf,
}

/// A segment that takes no more frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinishedSegment {
    /// Its number.
    pub number: FileNumber,
    /// Where its frames end, in bytes.
    pub end: u64,
    /// The last sequence number in it or before it: the segment can go once everything up to here is flushed.
    pub last_seq: SeqNo,
}

/// The last segment of a cleanly closed log: what the manifest remembers, so that every changed bit shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealInfo {
    /// Its number.
    pub segment: FileNumber,
    /// Its exact length in bytes.
    pub len: u64,
    /// CRC-32 over the checksums of all its frames, the first 4 bytes of each, in order. They cover every byte behind the
    /// header, which has a checksum of its own.
    pub checksum: u32,
    /// The last sequence number of the log.
    pub last_seq: SeqNo,
}

/// One sync of the log, to be run without holding the [`Writer`]; see [`Writer::sync_handle`].
#[derive(Debug)]
pub struct SyncHandle {
    files: Vec<Unsynced>,
    through: LogPosition,
}

impl SyncHandle {
    /// Syncs, segment by segment, everything that was appended before the handle was made, and returns the position to
    /// give to [`Writer::synced_through`]. An error must go to [`Writer::fail`].
    ///
    /// Where several handles run at once, the operating system reports a failed write to only one of those that sync
    /// the same file: none may be taken as successful before all that overlap with it have succeeded.
    pub fn run(&self) -> Result<LogPosition> {
        if !mutant!("wal_sync_skipped") {
            self.files.iter().try_for_each(sync_data)?;
        }
        Ok(self.through)
    }

    /// What the handle covers.
    pub fn through(&self) -> LogPosition {
        self.through
    }
}

impl Writer {
    /// Appends to a fresh segment. `last_seq` is the last sequence number in use before it; `known_synced` is what is
    /// durable of the log: the segment's own start if everything before is.
    pub fn new(segment: Segment, last_seq: SeqNo, known_synced: LogPosition) -> Writer {
        Writer {
            offset: HEADER_LEN as u64,
            segment,
            checksum: Running::new(),
            last_seq,
            known_synced,
            unsynced: Vec::new(),
            scratch: Vec::new(),
            failed: None,
            failed_in_write: false,
        }
    }

    /// Whether a group with a payload of `payload_len` bytes fits into the current segment. Otherwise the caller
    /// rotates, into a larger segment if need be.
    pub fn fits(&self, payload_len: usize) -> bool {
        let Some(padded) = payload_len.checked_add(frame::HEADER_LEN + frame::ALIGNMENT) else {
            return false;
        };
        // `padded` bounds the frame from above; only near the limit is the exact length looked at.
        let room = self.segment.size_bytes.saturating_sub(self.offset + CONTROL_LEN);
        padded as u64 <= room || frame::encoded_len(payload_len) as u64 <= room
    }

    /// Appends a group by one write, and returns the position behind it: the group is durable once that is synced.
    ///
    /// InvalidArgument, with the log as it was, if the group is empty, does not fit or goes back in sequence. After a
    /// failed write the writer is finished: the write may or may not be on disk.
    pub fn append(&mut self, group: &mut GroupBuilder) -> Result<LogPosition> {
        self.append_by(group, false)
    }

    /// As [`Writer::append`], for a group that nobody waits to see synced: where the segment is mapped it is stored there,
    /// without a system call. It survives the end of the process in the same way, and the next sync covers it.
    pub fn append_buffered(&mut self, group: &mut GroupBuilder) -> Result<LogPosition> {
        self.append_by(group, true)
    }

    fn append_by(&mut self, group: &mut GroupBuilder, by_store: bool) -> Result<LogPosition> {
        self.usable()?;
        if group.is_empty() {
            return Err(Error::invalid("an empty group cannot be logged"));
        }
        self.check_room(group.payload().len())?;
        self.check_order(group.first_seq())?;
        let claims_all = mutant!("wal_claims_too_much");
        let synced = if claims_all { self.position() } else { self.known_synced };
        let frame = group.frame((self.segment.place, self.offset), synced);
        if let Err(error) = self.segment.put(frame, self.offset, by_store) {
            if mutant!("wal_goes_on_behind_partial") {
                self.offset += frame.len() as u64;
                return Err(Error::io("write", &self.segment.path, error));
            }
            return Err(self.fail_write(error));
        }
        self.checksum.update(&frame[..CHECKSUM_LEN]);
        self.offset += frame.len() as u64;
        self.last_seq = group.last_seq();
        Ok(self.position())
    }

    /// Appends the payload of a group that was read from the log. It is written with others, at the latest by
    /// [`Writer::write_copies`], which must come before anything else is written.
    pub(crate) fn append_copy(
        &mut self,
        payload: &[u8],
        first_seq: SeqNo,
        last_seq: SeqNo,
    ) -> Result<()> {
        self.usable()?;
        self.check_room(payload.len())?;
        self.check_order(first_seq)?;
        let waiting = self.scratch.len();
        frame::encode(
            self.segment.place,
            self.offset,
            FrameKind::Group as u8,
            self.known_synced,
            payload,
            &mut self.scratch,
        );
        self.checksum.update(&self.scratch[waiting..waiting + CHECKSUM_LEN]);
        self.offset += (self.scratch.len() - waiting) as u64;
        self.last_seq = last_seq;
        if self.scratch.len() >= COPY_BYTES { self.write_copies() } else { Ok(()) }
    }

    /// Writes what [`Writer::append_copy`] has put together.
    pub(crate) fn write_copies(&mut self) -> Result<()> {
        let copies = std::mem::take(&mut self.scratch);
        let start = self.offset - copies.len() as u64;
        let written = self.segment.put(&copies, start, false);
        // So that the sync, which is to come, finds most of the work done.
        let len = copies.len() as u64;
        let written = written.and_then(|()| self.segment.file.start_writeback(start, len));
        if let Err(error) = written {
            return Err(self.fail_write(error));
        }
        self.scratch = copies;
        self.scratch.clear();
        Ok(())
    }

    /// Writes zeros over what is left of the segment, and maps it for writes if `map`.
    pub(crate) fn zero_rest(&mut self, map: bool) -> Result<()> {
        let Segment { file, path, size_bytes, .. } = &self.segment;
        let zeroed = zero(&**file, self.offset, *size_bytes);
        zeroed.map_err(|error| Error::io("write zeros to", path, error))?;
        self.segment.zeros_written();
        if map {
            self.segment.map();
        }
        Ok(())
    }

    /// The caller has made everything durable by itself; the next group comes after `last_seq`.
    pub(crate) fn resume(&mut self, last_seq: SeqNo) {
        self.unsynced.clear();
        self.known_synced = self.position();
        self.last_seq = last_seq;
    }

    /// Finishes the current segment and goes on in `next`, which has a higher number. The finished segment is synced by
    /// the next sync.
    pub fn rotate(&mut self, next: Segment) -> Result<FinishedSegment> {
        self.usable()?;
        if next.number() <= self.segment.number() {
            return Err(Error::invalid(format!(
                "log segment {} cannot follow segment {}",
                next.number(),
                self.segment.number(),
            )));
        }
        self.write_frame(FrameKind::Continue, &next.number().0.to_le_bytes())?;
        let finished = FinishedSegment {
            number: self.segment.number(),
            end: self.offset,
            last_seq: self.last_seq,
        };
        if !mutant!("wal_finished_segment_not_synced") {
            self.unsynced.push(self.current());
        }
        self.checksum = Running::new();
        self.offset = HEADER_LEN as u64;
        self.segment = next;
        Ok(finished)
    }

    /// Makes the current segment longer by as much as it was made with, up to [`crate::GROWTH_MAX`] times that, so that the log
    /// need not wait for the next one; whether it did. Nothing is synced: what is written there is as durable as the next
    /// sync makes it, length included, and a reader asks only for the length that the header says.
    pub fn grow(&mut self) -> bool {
        self.failed.is_none() && self.segment.grow()
    }

    /// After a failed write: makes everything before it durable and says where that ends, so that the manifest can
    /// record it; then [`Writer::continue_in`] goes on. After any other failure, returns that failure.
    pub fn sync_before_failure(&mut self) -> Result<FinishedSegment> {
        if !self.failed_in_write {
            self.usable()?;
            return Err(Error::invalid("the log's writer has not failed"));
        }
        let synced = self.unsynced.iter().try_for_each(sync_data);
        if let Err(error) = synced.and_then(|()| sync_data(&self.current())) {
            self.failed = Some(error.clone());
            self.failed_in_write = false;
            return Err(error);
        }
        self.unsynced.clear();
        self.known_synced = self.position();
        Ok(FinishedSegment {
            number: self.segment.number(),
            end: self.offset,
            last_seq: self.last_seq,
        })
    }

    /// Goes on in `next` behind a failed write, whose partial frame the manifest has cut off: it records the end that
    /// [`Writer::sync_before_failure`] returned, and `next` as the segment that continues it.
    pub fn continue_in(&mut self, next: Segment) {
        assert!(self.failed_in_write, "only a failed write is continued in another segment");
        assert!(next.number() > self.segment.number(), "segment numbers grow");
        self.failed = None;
        self.failed_in_write = false;
        self.checksum = Running::new();
        self.offset = HEADER_LEN as u64;
        self.segment = next;
        self.known_synced = self.position();
    }

    /// Makes everything appended so far durable. After a failure the writer is finished, and what was not known to be
    /// synced may or may not be on disk.
    pub fn sync(&mut self) -> Result<()> {
        let handle = self.sync_handle()?;
        match handle.run() {
            Ok(through) => {
                self.synced_through(through);
                Ok(())
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    /// The same sync as [`Writer::sync`], to be run elsewhere while the writer goes on appending.
    pub fn sync_handle(&self) -> Result<SyncHandle> {
        self.usable()?;
        let mut files = self.unsynced.clone();
        let left_out = self.segment.is_mapped() && mutant!("wal_store_not_synced");
        if self.position() > self.known_synced && self.offset > HEADER_LEN as u64 && !left_out {
            files.push(self.current());
        }
        Ok(SyncHandle { files, through: self.position() })
    }

    /// As [`Writer::sync_handle`], for the finished segments alone: nothing is written to those any more.
    pub fn sync_handle_of_finished(&self) -> Result<SyncHandle> {
        self.usable()?;
        Ok(SyncHandle { files: self.unsynced.clone(), through: self.segment.start() })
    }

    /// Records the success of a [`SyncHandle`]. Syncs that end out of order do no harm; after a failure nothing more
    /// is recorded (W3).
    pub fn synced_through(&mut self, through: LogPosition) {
        assert!(through <= self.position(), "a sync cannot cover what was not appended");
        if self.failed.is_none() && through > self.known_synced {
            self.known_synced = through;
            self.unsynced.retain(|segment| segment.number >= through.file);
        }
    }

    /// Forgets segments that are not part of the log any more: nobody needs them synced, and their files are let go of.
    pub fn forget(&mut self, retired: &[FileNumber]) {
        self.unsynced.retain(|segment| !retired.contains(&segment.number));
    }

    /// How many segments before the current one the next sync covers; their files are open until then.
    pub fn unsynced_segments(&self) -> usize {
        self.unsynced.len()
    }

    /// Records the failure of a [`SyncHandle`] and returns the error that every later call will return: the first.
    pub fn fail(&mut self, error: Error) -> Error {
        // After a failed sync nothing can be known to be durable any more, so the log cannot go on elsewhere either.
        self.failed_in_write = false;
        self.failed.get_or_insert(error).clone()
    }

    fn fail_write(&mut self, error: std::io::Error) -> Error {
        let error = self.fail(Error::io("write", &self.segment.path, error));
        self.failed_in_write = true;
        error
    }

    /// Closes the log cleanly: appends a seal, cuts the segment to its exact length and syncs everything. The writer
    /// then answers Closed.
    pub fn seal(&mut self) -> Result<SealInfo> {
        self.usable()?;
        let last_seq = self.last_seq;
        self.write_frame(FrameKind::Seal, &last_seq.0.to_le_bytes())?;
        // The file is cut below.
        self.segment.unmap();
        if let Err(error) = self.sync_sealed() {
            return Err(self.fail(error));
        }
        self.synced_through(self.position());
        self.failed = Some(Error::new(ErrorKind::Closed, "the log is closed"));
        Ok(SealInfo {
            segment: self.segment.number(),
            len: self.offset,
            checksum: self.checksum.value(),
            last_seq,
        })
    }

    fn sync_sealed(&self) -> Result<()> {
        // The seal is durable before the file is cut behind it: a shorter file without a seal is refused as damage.
        self.unsynced.iter().try_for_each(sync_data)?;
        sync_data(&self.current())?;
        let Segment { file, path, .. } = &self.segment;
        file.truncate(self.offset).map_err(|error| Error::io("truncate", path, error))?;
        file.sync_all().map_err(|error| Error::io("sync", path, error))
    }

    /// Behind the last frame.
    pub fn position(&self) -> LogPosition {
        LogPosition { file: self.segment.number(), offset: self.offset }
    }

    /// What is known to be durable; never behind [`Writer::position`].
    pub fn known_synced(&self) -> LogPosition {
        self.known_synced
    }

    /// The last sequence number appended, or the one given at the start.
    pub fn last_seq(&self) -> SeqNo {
        self.last_seq
    }

    /// The segment being written.
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Why the writer refuses to go on, if it does.
    pub fn failure(&self) -> Option<&Error> {
        self.failed.as_ref()
    }

    fn current(&self) -> Unsynced {
        Unsynced {
            number: self.segment.number(),
            file: self.segment.file.clone(),
            path: self.segment.path.clone(),
        }
    }

    fn usable(&self) -> Result<()> {
        self.failed.as_ref().map_or(Ok(()), |error| Err(error.clone()))
    }

    fn check_room(&self, payload_len: usize) -> Result<()> {
        if self.fits(payload_len) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "a group of {payload_len} bytes does not fit log segment {} of {} bytes at {}",
            self.segment.number(),
            self.segment.size_bytes,
            self.offset,
        )))
    }

    fn check_order(&self, first_seq: SeqNo) -> Result<()> {
        if first_seq > self.last_seq {
            return Ok(());
        }
        let last_seq = self.last_seq;
        Err(Error::invalid(format!("sequence number {first_seq} cannot follow {last_seq}")))
    }

    fn write_frame(&mut self, kind: FrameKind, payload: &[u8]) -> Result<()> {
        self.scratch.clear();
        frame::encode(
            self.segment.place,
            self.offset,
            kind as u8,
            self.known_synced,
            payload,
            &mut self.scratch,
        );
        if let Err(error) = self.segment.put(&self.scratch, self.offset, false) {
            return Err(self.fail_write(error));
        }
        self.checksum.update(&self.scratch[..CHECKSUM_LEN]);
        self.offset += self.scratch.len() as u64;
        self.scratch.clear();
        Ok(())
    }
}

fn sync_data(segment: &Unsynced) -> Result<()> {
    if mutant!("wal_sync_retried") && segment.file.sync_data().is_ok() {
        return Ok(());
    }
    segment.file.sync_data().map_err(|error| Error::io("sync", &segment.path, error))
}

#[cfg(test)]
mod tests;
