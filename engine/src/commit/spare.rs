//! The log's next segment, made and listed ahead of time, and what else the log needs done behind the writers' back: old
//! segments synced before they are many, and space given back once nothing is written. `background` runs
//! [`Core::spare_step`]; the commit owner takes the spare.
//!
//! No sync of a segment and none of the manifest happens here under the log's lock. The slot's lock is held while a
//! segment is listed, so that the numbers of listed segments grow; who holds the log only tries it, and lets the segment
//! in use grow meanwhile.

use std::time::Duration;

use esker_base::names::FileKind;
use esker_base::{FileNumber, LogPosition, Result, SeqNo};
use esker_manifest::Edit;
use esker_wal::{Segment, SegmentSpec, retired_name, segment_size_for};

use crate::commit::log::Log;
use crate::core::Core;
use crate::sync::Mutex;

/// A spare is made when this part of a segment is written. Early, because most of its time goes to syncs.
pub(crate) const SPARE_PART: u64 = 16;

/// The size of a log that has nothing to hold, and of the first segment of every open: small, so that filling it with
/// zeros does not delay the start, and that a small database is small.
pub(crate) const SMALL_SEGMENT_BYTES: u64 = 1 << 20;

/// The next segment is larger or smaller than the last by this factor, which [`esker_wal::GROWTH_MAX`] lets one bridge.
const SIZE_FACTOR: u64 = 4;

/// A segment that would be full sooner than this is followed by a larger one.
const LASTS_MIN: Duration = Duration::from_secs(4);

/// One that would last for longer is followed by a smaller one.
const LASTS_MAX: Duration = Duration::from_secs(60);

/// Finished segments are synced at the latest when the log has so many bytes that are not, and are of memtables that
/// are not frozen: what an open after a crash copies should not take longer than what it reads.
const UNSYNCED_ACTIVE_MAX: u64 = 32 << 20;

/// And so many in all, however large the memtables are: the open copies them into one segment, which the next one reads
/// as one buffer.
pub(crate) const UNSYNCED_BYTES_MAX: u64 = 64 << 20;

/// Where flushing keeps up no more memtables are frozen.
const FROZEN_MAX: u64 = 2;

/// When nothing was logged for so long, what is held ready is given up.
pub(crate) const IDLE_AFTER: Duration = Duration::from_millis(200);

/// The slot for the next segment, which is listed in the manifest while it is here.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    slot: Mutex<Option<Segment>>,
    /// Where the log stood when somebody looked last, and since when. A leaf lock.
    seen: Mutex<(LogPosition, Duration)>,
}

impl Spare {
    /// The spare, unless it is being made or dropped at this moment.
    pub(crate) fn try_take(&self) -> Option<Segment> {
        self.slot.try_lock()?.take()
    }

    /// Runs `change` while no segment is listed by anybody else.
    pub(crate) fn hold<T>(&self, change: impl FnOnce(&mut Option<Segment>) -> T) -> T {
        change(&mut self.slot.lock())
    }

    fn is_there(&self) -> bool {
        self.slot.lock().is_some()
    }
}

impl Core {
    /// Makes the next segment ahead of time, so that a rotation need not wait for it; syncs finished segments where many
    /// are not; gives up what an idle log does not need. True if there was anything to do.
    pub(crate) fn spare_step(&self) -> Result<bool> {
        if self.log_is_idle() {
            return self.settle_log();
        }
        Ok(self.make_due_spare()? | self.sync_finished()?)
    }

    /// Whether an idle log would still have something to give up.
    pub(crate) fn log_settles(&self) -> bool {
        self.spare.is_there() || self.retired.len() > 0 || self.is_oversized(&mut self.log.lock())
    }

    /// Whether nothing was logged for a while.
    fn log_is_idle(&self) -> bool {
        let position = self.log.lock().writer().map(|writer| writer.position());
        let Ok(position) = position else { return false };
        let now = self.world.clock.monotonic();
        let mut seen = self.spare.seen.lock();
        if seen.0 != position {
            *seen = (position, now);
        }
        now.saturating_sub(seen.1) >= IDLE_AFTER
    }

    fn make_due_spare(&self) -> Result<bool> {
        if self.spare.is_there() {
            return Ok(false);
        }
        let (size_bytes, is_synced) = {
            let mut log = self.log.lock();
            if !log.is_spare_due() {
                return Ok(false);
            }
            // Zeros pay where the log is synced; elsewhere they only double what is written.
            let writer = log.writer()?;
            let is_synced = writer.known_synced().file == writer.position().file;
            (self.next_size(&mut log)?, is_synced)
        };
        self.make_spare(size_bytes, is_synced)?;
        Ok(true)
    }

    /// The size of the segment after the current one: as the log is written faster or slower.
    pub(crate) fn next_size(&self, log: &mut Log) -> Result<u64> {
        let usual = self.options.segment_bytes();
        let passed = self.world.clock.monotonic().saturating_sub(log.entered_at).as_nanos();
        let writer = log.writer()?;
        let made = writer.segment().made_bytes();
        let lasts = passed * u128::from(made) / u128::from(writer.position().offset.max(1));
        let size = match lasts {
            soon if soon < LASTS_MIN.as_nanos() => made.saturating_mul(SIZE_FACTOR),
            late if late > LASTS_MAX.as_nanos() => made / SIZE_FACTOR,
            _ => made,
        };
        Ok(size.clamp(usual.min(SMALL_SEGMENT_BYTES), usual))
    }

    /// Makes a segment, lists it and puts it into the slot.
    fn make_spare(&self, size_bytes: u64, zero_fill: bool) -> Result<()> {
        let segment = self.create_segment(size_bytes, zero_fill, true)?;
        self.spare.hold(|slot| {
            // Meanwhile the log may have gone on in a segment that was listed before this one.
            let version = self.manifest.lock().version.clone();
            let last = version.wal.last().map_or(FileNumber(0), |segment| segment.number);
            if slot.is_some() || segment.number() < last {
                self.bury(FileKind::Wal, Some(segment.number()));
                return Ok(());
            }
            self.list_segment(&segment)?;
            *slot = Some(segment);
            Ok(())
        })
    }

    /// Adds a new segment to the manifest. If that fails and the manifest certainly does not name it, it is given up.
    /// Only from within [`Spare::hold`].
    pub(crate) fn list_segment(&self, segment: &Segment) -> Result<()> {
        let added = vec![self.segment_meta(segment)];
        self.edit(Edit { wal_added: added, ..Edit::default() }).inspect_err(|_| {
            self.bury(FileKind::Wal, self.health.cause().is_none().then_some(segment.number()));
        })
    }

    /// Makes a segment: of a retired one where there is one and `may_recycle`. Otherwise, filling it with zeros takes time
    /// now and saves some in every sync: the file system need not record that reserved space is in use.
    pub(crate) fn create_segment(
        &self,
        size_bytes: u64,
        zero_fill: bool,
        may_recycle: bool,
    ) -> Result<Segment> {
        let mut spec = SegmentSpec {
            number: self.next_file_number(),
            file_id: self.new_file_id(),
            epoch: self.manifest.lock().version.epoch,
            size_bytes,
            zero_fill,
            recycle: None,
            map: self.options.maps_log(),
        };
        let is_usual = size_bytes == self.options.segment_bytes();
        if let Some(retired) = (is_usual && may_recycle).then(|| self.retired.take()).flatten() {
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

    /// Syncs the finished segments, if more than a memtable and a half of log, or [`UNSYNCED_ACTIVE_MAX`], is not known to be
    /// synced: an open after a crash copies all of that. What is frozen does not count, up to [`FROZEN_MAX`] memtables and
    /// [`UNSYNCED_BYTES_MAX`] in all: it is flushed next, and its log is recycled without ever having been written to the
    /// device.
    fn sync_finished(&self) -> Result<bool> {
        let memtable = self.options.memtable_bytes() as u64;
        let frozen = self.metrics.frozen_bytes.get().min(FROZEN_MAX * memtable);
        let active = (memtable / 2 * 3).min(UNSYNCED_ACTIVE_MAX);
        let most = (active + frozen).min(UNSYNCED_BYTES_MAX);
        let is_much = |log: &mut Log| log.unsynced_bytes() > most;
        if !is_much(&mut self.log.lock()) {
            return Ok(false);
        }
        self.sync_outside(|log| {
            let is_due = is_much(log);
            let handle = log.writer()?.sync_handle_of_finished()?;
            Ok((is_due && handle.through() > log.writer()?.known_synced()).then_some(handle))
        })
    }

    /// Whether all that was logged is in sstables, and the segment is larger than an empty log's.
    fn is_oversized(&self, log: &mut Log) -> bool {
        let small = self.options.segment_bytes().min(SMALL_SEGMENT_BYTES);
        let deferred = log.deferred_bytes();
        let Ok(writer) = log.writer() else { return false };
        let is_large =
            writer.segment().size_bytes() > small || writer.position().offset > small / 2;
        is_large && deferred == 0 && writer.failure().is_none() && self.first_unflushed().is_none()
    }

    /// The oldest entry in any memtable. The log's lock is held.
    fn first_unflushed(&self) -> Option<SeqNo> {
        let first = |keyspace: &std::sync::Arc<crate::keyspace::KeyspaceInner>| {
            let view = keyspace.view_guard();
            let tables = std::iter::once(&view.active).chain(&view.frozen);
            tables.filter_map(|table| table.first_seq()).min()
        };
        self.keyspaces.all().iter().filter_map(first).min()
    }

    /// Gives up the spare and the retired segments, and goes on in a small segment if all is flushed; true if it did
    /// anything.
    fn settle_log(&self) -> Result<bool> {
        let dropped = self.drop_spare()?;
        let forgot = self.forget_retired();
        let shrunk = self.shrink_log()?;
        Ok(dropped || forgot || shrunk)
    }

    fn drop_spare(&self) -> Result<bool> {
        let dropped = self.spare.hold(|slot| {
            let Some(number) = slot.as_ref().map(Segment::number) else { return Ok(None) };
            self.edit(Edit { wal_removed: vec![number], ..Edit::default() })?;
            *slot = None;
            Ok(Some(number))
        })?;
        self.bury(FileKind::Wal, dropped);
        if dropped.is_some() {
            self.log.lock().asked_for_spare = false;
        }
        Ok(dropped.is_some())
    }

    /// Leads the log into a small segment, if all that it holds is in sstables, and lets go of the others.
    fn shrink_log(&self) -> Result<bool> {
        if !self.is_oversized(&mut self.log.lock()) {
            return Ok(false);
        }
        // As a flush does, which must not take the same segments.
        let _no_flush = self.flushing.lock();
        self.check_still_open()?;
        self.make_spare(self.options.segment_bytes().min(SMALL_SEGMENT_BYTES), false)?;
        let (retired, synced) = {
            let mut log = self.log.lock();
            // Otherwise the spare is for those who write again.
            let goes = self.is_oversized(&mut log);
            let Some(small) = goes.then(|| self.spare.try_take()).flatten() else {
                return Ok(true);
            };
            self.enter(&mut log, small)?;
            // All of them: nothing is in memory, and the log is held.
            let retired: Vec<_> = log.finished.iter().map(|segment| segment.number).collect();
            (retired, log.writer()?.known_synced())
        };
        let removed = retired.clone();
        self.edit(Edit { wal_removed: removed, wal_synced: Some(synced), ..Edit::default() })?;
        self.let_go(&retired);
        Ok(true)
    }

    /// Segments have left the manifest.
    pub(crate) fn let_go(&self, retired: &[FileNumber]) {
        let mut log = self.log.lock();
        log.finished.retain(|segment| !retired.contains(&segment.number));
        log.forget(retired);
        drop(log);
        self.bury(FileKind::Wal, retired.iter().copied());
    }

    /// The size for a group of `len` bytes that finds no spare.
    pub(crate) fn size_now(&self, log: &mut Log, len: usize) -> Result<u64> {
        Ok(self.next_size(log)?.max(segment_size_for(len)))
    }
}
