//! The log as the commit owner holds it: the writer, what waits to be written, and the segments.
//!
//! The log's lock is held by whoever appends, syncs, rotates, freezes memtables or drops a keyspace. It comes before
//! the manifest's lock and the keyspaces' `change` locks.

use std::collections::VecDeque;

use esker_base::names::FileKind;
use esker_base::{Error, ErrorKind, FileNumber, Result, SeqNo, mutant};
use esker_manifest::{Edit, WalEnd, WalSegmentMeta};
use esker_wal::{
    FinishedSegment, GroupBuilder, Segment, SegmentSpec, Writer, retired_name, segment_size_for,
};

use crate::Durability;
use crate::core::Core;
use crate::takeover::Recovered;

/// A larger group's memory is not kept for the next one.
const IDLE_BYTES_MAX: usize = 2 << 20;

/// The writing end, and what belongs to it.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// `None` in a database that was opened read-only, or on a full disk.
    writer: Option<Writer>,
    /// The last sequence that was given to an operation.
    pub(crate) last_seq: SeqNo,
    /// Acknowledged Volatile groups that are not written yet, in order; during a commit the group itself is last.
    deferred: VecDeque<GroupBuilder>,
    deferred_bytes: usize,
    /// A group that was written, whose memory the next one takes.
    idle: Option<GroupBuilder>,
    /// Segments that take no more writes and still protect unflushed entries, oldest first.
    pub(crate) finished: VecDeque<FinishedSegment>,
    /// The next segment, made ahead of time and listed in the manifest.
    spare: Option<Segment>,
    /// Segments that are listed, but that the log could not be led into.
    unentered: Vec<FileNumber>,
    /// What a takeover starts from, in a database that was opened on a full disk and waits for space.
    recovered: Option<Recovered>,
}

impl Log {
    pub(crate) fn new(
        writer: Option<Writer>,
        last_seq: SeqNo,
        finished: VecDeque<FinishedSegment>,
    ) -> Log {
        Log { writer, last_seq, finished, ..Log::default() }
    }

    pub(crate) fn writer(&mut self) -> Result<&mut Writer> {
        self.writer.as_mut().ok_or_else(read_only)
    }

    pub(crate) fn defer(&mut self, group: GroupBuilder) {
        self.deferred_bytes += group.payload().len();
        self.deferred.push_back(group);
    }

    /// A builder for the next group, to be started.
    pub(crate) fn builder(&mut self) -> GroupBuilder {
        self.idle.take().unwrap_or_default()
    }

    /// Keeps the memory of a group for [`Log::builder`], unless it is much.
    pub(crate) fn recycle(&mut self, group: GroupBuilder) {
        if group.payload().len() <= IDLE_BYTES_MAX {
            self.idle = Some(group);
        }
    }

    /// Segments have left the manifest: they need no sync any more.
    pub(crate) fn forget(&mut self, retired: &[FileNumber]) {
        if let Some(writer) = &mut self.writer {
            writer.forget(retired);
        }
    }

    pub(crate) fn withdraw_last(&mut self) {
        if let Some(group) = self.deferred.pop_back() {
            self.deferred_bytes -= group.payload().len();
        }
    }

    pub(crate) fn deferred_bytes(&self) -> usize {
        self.deferred_bytes
    }

    pub(crate) fn keep_recovered(&mut self, recovered: Recovered) {
        self.recovered = Some(recovered);
    }

    pub(crate) fn take_recovered(&mut self) -> Option<Recovered> {
        self.recovered.take()
    }

    /// Gives up the spare segment; its number.
    pub(crate) fn take_spare(&mut self) -> Option<FileNumber> {
        self.spare.take().map(|spare| spare.number())
    }

    /// The number of segments that hold or will take entries, the spare left out.
    pub(crate) fn segment_count(&self) -> usize {
        self.finished.len() + usize::from(self.writer.is_some())
    }
}

fn read_only() -> Error {
    Error::new(ErrorKind::ReadOnly, "the database was opened read-only")
}

/// Why the deferred groups could not all be written.
pub(crate) struct WriteFailure {
    error: Error,
    /// Whether the group at the front was given to the disk: all of it may be there.
    is_attempted: bool,
}

impl Core {
    /// Writes every deferred group, in order. After a failed write the log goes on in a new segment at the next try, so
    /// that nothing is ever written behind a partial frame.
    pub(crate) fn write_deferred(&self, log: &mut Log) -> Result<()> {
        self.try_write_deferred(log, Durability::Sync).map_err(|failure| failure.error)
    }

    /// Whatever needs no sync now is stored rather than written, where the segment is mapped.
    fn try_write_deferred(
        &self,
        log: &mut Log,
        durability: Durability,
    ) -> std::result::Result<(), WriteFailure> {
        while let Some(group) = log.deferred.front() {
            let len = group.payload().len();
            let unwritten = |error| WriteFailure { error, is_attempted: false };
            self.make_room(log, len).map_err(unwritten)?;
            let Log { writer: Some(writer), deferred, .. } = log else {
                return Err(unwritten(read_only()));
            };
            let group = deferred.front_mut().expect("invariant: checked above, and room adds none");
            let appended = match durability {
                Durability::Sync => writer.append(group),
                Durability::Buffered | Durability::Volatile => writer.append_buffered(group),
            };
            appended.map_err(|error| WriteFailure { error, is_attempted: true })?;
            let written = deferred.pop_front();
            log.deferred_bytes -= len;
            self.metrics.wal_bytes.add_alone(len as u64);
            written.into_iter().for_each(|group| log.recycle(group));
        }
        Ok(())
    }

    /// Writes the group that is being committed, which is the last of the deferred ones, and those before it. An error of
    /// another kind than Indeterminate says that the group will never be there.
    pub(crate) fn write_last(&self, log: &mut Log, durability: Durability) -> Result<()> {
        let Err(failure) = self.try_write_deferred(log, durability) else { return Ok(()) };
        let is_in_doubt = failure.is_attempted && log.deferred.len() == 1;
        // Volatile groups before this one were acknowledged: they stay in line. This one was not.
        if !mutant!("commit_refused_write_kept") {
            log.withdraw_last();
        }
        // Its bytes may be whole, whatever the write said. Once the manifest has the log end before them, they are void.
        if is_in_doubt && self.resume(log, 0).is_err() {
            return Err(Error::indeterminate(&failure.error));
        }
        Err(failure.error)
    }

    /// Makes everything that was written durable. A failure turns the database read-only: what the failed sync left
    /// on disk cannot be known, and a second sync of the same file would lie.
    pub(crate) fn sync_log(&self, log: &mut Log) -> Result<()> {
        let writer = log.writer()?;
        if writer.known_synced() == writer.position() {
            return Ok(());
        }
        let start = self.world.clock.monotonic();
        // A failed write is no failed sync: what stands before it can still be made durable, and the log goes on in
        // another segment with the next write.
        let synced = match writer.failure() {
            None if mutant!("commit_failure_forgotten") => {
                let _ = writer.sync_handle()?.run().map(|through| writer.synced_through(through));
                Ok(())
            }
            None => writer.sync(),
            Some(_) => writer.sync_before_failure().map(|_| ()),
        };
        synced.map_err(|error| self.health.fail(&error))?;
        self.metrics.synced(self.world.clock.monotonic().saturating_sub(start));
        Ok(())
    }

    /// Sees to it that the writer can take a group of `len` bytes.
    fn make_room(&self, log: &mut Log, len: usize) -> Result<()> {
        if log.writer()?.failure().is_some() {
            self.resume(log, len)?;
        }
        while !log.writer()?.fits(len) {
            let next = match log.spare.take() {
                Some(spare) => spare,
                None => {
                    let segment = self.create_segment(len, false)?;
                    self.list_segment(&segment)?;
                    segment
                }
            };
            let number = next.number();
            match log.writer()?.rotate(next) {
                Ok(finished) => log.finished.push_back(finished),
                Err(error) => {
                    log.unentered.push(number);
                    return Err(error);
                }
            }
            self.flush_pinning(log);
            self.background.wake();
        }
        Ok(())
    }

    /// Goes on behind a failed write: syncs what was written before it, and continues in a new segment. The manifest
    /// says where the old one ends, so the partial frame behind that is never read.
    pub(crate) fn resume(&self, log: &mut Log, len: usize) -> Result<()> {
        let end = log.writer()?.sync_before_failure().map_err(|error| self.health.fail(&error))?;
        let next = self.create_segment(len, false)?;
        // Segments made before this one have lower numbers and can no longer follow.
        let spare = log.take_spare();
        let void: Vec<_> = spare.into_iter().chain(log.unentered.drain(..)).collect();
        let edit = Edit {
            wal_added: vec![self.segment_meta(&next)],
            wal_ended: vec![WalEnd {
                segment: end.number,
                ends_at: end.end,
                last_seq: Some(end.last_seq),
                continued_by: Some(next.number()),
            }],
            wal_removed: void.clone(),
            ..Edit::default()
        };
        if let Err(error) = self.edit(edit) {
            log.unentered = void;
            self.bury(FileKind::Wal, self.health.cause().is_none().then_some(next.number()));
            return Err(error);
        }
        self.bury(FileKind::Wal, void);
        log.writer()?.continue_in(next);
        log.finished.push_back(end);
        Ok(())
    }

    /// Makes the next segment ahead of time, so that a rotation need not wait for it; true if it did.
    pub(crate) fn spare_step(&self) -> Result<bool> {
        let wanted = |log: &mut Log| {
            let half = self.options.segment_bytes() / 2;
            // A failed writer goes on in a segment of its own, which a spare listed meanwhile would have to follow.
            let due = |w: &Writer| w.failure().is_none() && w.position().offset > half;
            log.spare.is_none() && log.writer.as_ref().is_some_and(due)
        };
        if !wanted(&mut self.log.lock()) {
            return Ok(false);
        }
        // Zeros pay where the log is synced; elsewhere they only double what is written.
        let is_synced = {
            let mut log = self.log.lock();
            let writer = log.writer()?;
            writer.known_synced().file == writer.position().file
        };
        let segment = self.create_segment(0, is_synced)?;
        let mut log = self.log.lock();
        let current = log.writer()?.position().file;
        if !wanted(&mut log) || segment.number() < current {
            drop(log);
            self.bury(FileKind::Wal, Some(segment.number()));
            return Ok(true);
        }
        self.list_segment(&segment)?;
        log.spare = Some(segment);
        Ok(true)
    }

    /// Adds a new segment to the manifest. If that fails and the manifest certainly does not name it, it is given up.
    fn list_segment(&self, segment: &Segment) -> Result<()> {
        let added = vec![self.segment_meta(segment)];
        self.edit(Edit { wal_added: added, ..Edit::default() }).inspect_err(|_| {
            self.bury(FileKind::Wal, self.health.cause().is_none().then_some(segment.number()));
        })
    }

    /// Makes a segment that can take a group of `len` bytes: of a retired one where there is one. Otherwise, filling it
    /// with zeros takes time now and saves some in every sync: the file system need not record that reserved space is in
    /// use.
    fn create_segment(&self, len: usize, zero_fill: bool) -> Result<Segment> {
        let usual_bytes = self.options.segment_bytes();
        let mut spec = SegmentSpec {
            number: self.next_file_number(),
            file_id: self.new_file_id(),
            epoch: self.manifest.lock().version.epoch,
            size_bytes: usual_bytes.max(segment_size_for(len)),
            zero_fill,
            recycle: None,
            map: self.options.maps_log(),
        };
        let is_usual = spec.size_bytes == usual_bytes;
        if let Some(retired) = is_usual.then(|| self.retired.take()).flatten() {
            spec.recycle = Some(retired);
            match esker_wal::create_segment(&*self.world.fs, &self.dir, &spec) {
                Ok(segment) => {
                    self.retired.made(spec.number);
                    self.metrics.wal_recycled.add(1);
                    return Ok(segment);
                }
                // It may still have its name. The next open removes it, if this cannot.
                Err(_) => {
                    let _ = self.world.fs.remove_file(&self.dir.join(retired_name(retired)));
                }
            }
            spec = SegmentSpec { number: self.next_file_number(), recycle: None, ..spec };
        }
        let segment = esker_wal::create_segment(&*self.world.fs, &self.dir, &spec)?;
        if is_usual {
            self.retired.made(spec.number);
        }
        Ok(segment)
    }

    fn segment_meta(&self, segment: &Segment) -> WalSegmentMeta {
        WalSegmentMeta {
            number: segment.number(),
            file_id: segment.file_id(),
            epoch: segment.epoch(),
            ends_at: None,
            last_seq: None,
        }
    }
}
