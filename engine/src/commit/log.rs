//! The log as the commit owner holds it: the writer, what waits to be written, and the segments.
//!
//! The log's lock is held by whoever appends, syncs, rotates, freezes memtables or drops a keyspace. It comes before
//! the manifest's lock and the keyspaces' `change` locks.

use std::collections::VecDeque;
use std::time::Duration;

use esker_base::names::FileKind;
use esker_base::{Error, ErrorKind, FileNumber, Result, SeqNo, mutant};
use esker_manifest::{Edit, WalEnd, WalSegmentMeta};
use esker_wal::{FinishedSegment, GroupBuilder, Segment, SyncHandle, Writer};

use crate::Durability;
use crate::commit::spare::SPARE_PART;
use crate::core::Core;
use crate::sync::Mutex;
use crate::takeover::Recovered;

/// A larger group's memory is not kept for the next one.
const IDLE_BYTES_MAX: usize = 2 << 20;

/// The sync that runs without the log's lock; one at a time.
#[derive(Debug, Default)]
pub(crate) struct SyncOutside {
    /// Held by who runs it, from before the log's lock is taken to after its result is known to the log.
    turn: Mutex<()>,
    /// Why one failed. Held while it runs: who synced the log meanwhile waits here to hear of it.
    pub(crate) failure: Mutex<Option<Error>>,
}

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
    /// When the current segment was entered.
    pub(crate) entered_at: Duration,
    /// Whether the background was told that a spare is due.
    pub(crate) asked_for_spare: bool,
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
        now: Duration,
    ) -> Log {
        Log { writer, last_seq, finished, entered_at: now, ..Log::default() }
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

    /// Whether enough of the segment is written to make the next. A failed writer goes on in a segment of its own, which
    /// a spare would have to follow.
    pub(crate) fn is_spare_due(&self) -> bool {
        let is_due = |writer: &Writer| {
            writer.position().offset > writer.segment().made_bytes() / SPARE_PART
                && writer.failure().is_none()
        };
        self.writer.as_ref().is_some_and(is_due)
    }

    /// The bytes of the live log: up to the ends of its segments.
    pub(crate) fn live_bytes(&self) -> u64 {
        let current = self.writer.as_ref().map_or(0, |writer| writer.position().offset);
        self.finished.iter().map(|segment| segment.end).sum::<u64>() + current
    }

    /// About how many of them are not known to be synced.
    pub(crate) fn unsynced_bytes(&self) -> u64 {
        let Some(writer) = &self.writer else { return 0 };
        let (known, position) = (writer.known_synced(), writer.position());
        let all = self.finished.iter().map(|segment| (segment.number, segment.end));
        let all = all.chain([(position.file, position.offset)]);
        let behind = |(number, end): (FileNumber, u64)| match number.cmp(&known.file) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => end.saturating_sub(known.offset),
            std::cmp::Ordering::Greater => end,
        };
        all.map(behind).sum()
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
            if !log.asked_for_spare && log.is_spare_due() {
                log.asked_for_spare = true;
                self.background.wake();
            }
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
        if let Some(cause) = self.health.cause() {
            return Err(Error::read_only(cause));
        }
        if writer.known_synced() == writer.position() {
            return Ok(());
        }
        let start = self.world.clock.monotonic();
        // A failed write is no failed sync: what stands before it can still be made durable, and the log goes on in
        // another segment with the next write.
        let mut through = None;
        let synced = match writer.failure() {
            None if mutant!("commit_failure_forgotten") => {
                let _ = writer.sync_handle()?.run().map(|through| writer.synced_through(through));
                Ok(())
            }
            None => writer.sync_handle()?.run().map(|synced| through = Some(synced)),
            Some(_) => writer.sync_before_failure().map(|_| ()),
        };
        self.judge_sync(log, synced)?;
        // Not before: a sync that failed beside this one may have been told of what this one met.
        if let Some(through) = through {
            log.writer()?.synced_through(through);
        }
        self.metrics.synced(self.world.clock.monotonic().saturating_sub(start));
        Ok(())
    }

    /// Takes a sync that ended well for a success only if none failed that ran at the same time: the system tells but one
    /// of those that sync the same file.
    fn judge_sync(&self, log: &mut Log, synced: Result<()>) -> Result<()> {
        // Waits for the one that is under way: it has the same bytes to write.
        let outside = self.sync_outside.failure.lock().clone();
        let error = match (synced, outside) {
            (Ok(()), None) => return Ok(()),
            (Err(error), _) | (Ok(()), Some(error)) => error,
        };
        let error = log.writer()?.fail(error);
        Err(self.health.fail(&error))
    }

    /// Runs the sync that `choose` asks for without the log's lock, which it is chosen under. True if it asked for one.
    pub(crate) fn sync_outside(
        &self,
        choose: impl FnOnce(&mut Log) -> Result<Option<SyncHandle>>,
    ) -> Result<bool> {
        let _turn = self.sync_outside.turn.lock();
        let mut log = self.log.lock();
        let Some(handle) = choose(&mut log)? else { return Ok(false) };
        let mut failure = self.sync_outside.failure.lock();
        drop(log);
        let start = self.world.clock.monotonic();
        let synced = handle.run();
        *failure = synced.as_ref().err().cloned();
        drop(failure);
        let mut log = self.log.lock();
        let writer = log.writer()?;
        match synced {
            Ok(through) => {
                writer.synced_through(through);
                // Another sync may have been told of what this one met.
                if let Some(error) = writer.failure().filter(|_| self.health.cause().is_some()) {
                    return Err(error.clone());
                }
            }
            Err(error) => {
                let error = writer.fail(error);
                return Err(self.health.fail(&error));
            }
        }
        self.metrics.synced(self.world.clock.monotonic().saturating_sub(start));
        Ok(true)
    }

    /// Sees to it that the writer can take a group of `len` bytes.
    fn make_room(&self, log: &mut Log, len: usize) -> Result<()> {
        if log.writer()?.failure().is_some() {
            self.resume(log, len)?;
        }
        while !log.writer()?.fits(len) {
            match self.spare.try_take() {
                Some(spare) => self.enter(log, spare)?,
                // The spare is on its way, if there is a thread that makes it.
                None if self.has_threads() && log.writer()?.grow() => self.background.wake(),
                None => {
                    let next = self.spare.hold(|slot| match slot.take() {
                        Some(spare) => Ok(spare),
                        None => {
                            let size_bytes = self.size_now(log, len)?;
                            let segment = self.create_segment(size_bytes, false, false)?;
                            self.list_segment(&segment)?;
                            Ok(segment)
                        }
                    })?;
                    self.enter(log, next)?;
                }
            }
        }
        Ok(())
    }

    /// Leads the log into `next`, which is listed.
    pub(crate) fn enter(&self, log: &mut Log, next: Segment) -> Result<()> {
        let number = next.number();
        match log.writer()?.rotate(next) {
            Ok(finished) => log.finished.push_back(finished),
            Err(error) => {
                log.unentered.push(number);
                return Err(error);
            }
        }
        log.entered_at = self.world.clock.monotonic();
        log.asked_for_spare = false;
        self.flush_pinning(log);
        self.background.wake();
        Ok(())
    }

    /// Goes on behind a failed write: syncs what was written before it, and continues in a new segment. The manifest
    /// says where the old one ends, so the partial frame behind that is never read.
    pub(crate) fn resume(&self, log: &mut Log, len: usize) -> Result<()> {
        let synced = log.writer()?.sync_before_failure();
        let (end, synced) = match synced {
            Ok(end) => (Some(end), Ok(())),
            Err(error) => (None, Err(error)),
        };
        self.judge_sync(log, synced)?;
        let end = end.expect("invariant: a failure was returned");
        let (next, void) = self.spare.hold(|slot| {
            let size_bytes = self.size_now(log, len)?;
            let next = self.create_segment(size_bytes, false, false)?;
            // Segments made before this one have lower numbers and can no longer follow.
            let spare = slot.take().map(|spare| spare.number());
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
            match self.edit(edit) {
                Ok(()) => Ok((next, void)),
                Err(error) => {
                    log.unentered = void;
                    let is_unnamed = self.health.cause().is_none();
                    self.bury(FileKind::Wal, is_unnamed.then_some(next.number()));
                    Err(error)
                }
            }
        })?;
        self.bury(FileKind::Wal, void);
        log.writer()?.continue_in(next);
        log.finished.push_back(end);
        log.entered_at = self.world.clock.monotonic();
        log.asked_for_spare = false;
        Ok(())
    }

    pub(crate) fn segment_meta(&self, segment: &Segment) -> WalSegmentMeta {
        WalSegmentMeta {
            number: segment.number(),
            file_id: segment.file_id(),
            epoch: segment.epoch(),
            ends_at: None,
            last_seq: None,
        }
    }
}
