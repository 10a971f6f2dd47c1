//! Taking a database over for writing: a higher epoch, the log's unproven tail in a segment of its own, and a manifest
//! that says so. `open` does it once everything was read and judged. Where the disk was too full for it, the database
//! serves what it read, and this is tried again before every write and by the background threads, until there is space.
//!
//! Nothing is removed before the new manifest is durable, but what an attempt itself made.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use esker_base::names::{self, FileKind, RESERVE, TEMPORARY_SUFFIX};
use esker_base::{Epoch, Error, ErrorKind, FileNumber, KeyspaceId, Result, SeqNo, mutant};
use esker_manifest::{ManifestLog, Shutdown, Version, WalSegmentMeta};
use esker_vfs::{OpenMode, World};
use esker_wal::{FinishedSegment, Outcome, SEGMENT_LEN_MAX, SegmentSpec, Writer};

use crate::commit::log::Log;
use crate::commit::spare::SMALL_SEGMENT_BYTES;
use crate::core::{Core, Keyspaces, Manifest, new_file_id};
use crate::keyspace::KeyspaceInner;
use crate::options::{Background, Options};

/// Space given up when the disk is full, so that the new manifest and log segment of an open find room.
const RESERVE_BYTES: u64 = 1 << 20;

/// The log segment that an open on a full disk makes do with.
const FULL_DISK_SEGMENT_BYTES: u64 = 64 << 10;

/// What was read of the log, which a takeover starts from.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) outcome: Outcome,
    pub(crate) last_seq: SeqNo,
    /// How often a takeover was tried.
    pub(crate) attempts: u64,
}

/// What a takeover has made durable.
pub(crate) struct Written {
    pub(crate) manifest: ManifestLog,
    pub(crate) version: Version,
    pub(crate) writer: Writer,
    pub(crate) finished: VecDeque<FinishedSegment>,
    pub(crate) next_file: u64,
}

/// Where to take over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Takeover<'a> {
    pub(crate) world: &'a World,
    pub(crate) dir: &'a Path,
    pub(crate) options: &'a Options,
}

impl Takeover<'_> {
    /// Takes a new epoch. On a full disk the reserve is given up and a smaller segment made. Adds to `from.attempts`.
    /// `filled` returns once the memtables hold what was replayed, which is needed only behind the copying.
    pub(crate) fn run(
        &self,
        version: &Version,
        from: &mut Recovered,
        keyspaces: &Keyspaces,
        filled: &mut dyn FnMut(),
    ) -> Result<Written> {
        let segment_bytes = self.options.segment_bytes().min(SMALL_SEGMENT_BYTES);
        match self.attempt(version, from, keyspaces, filled, segment_bytes) {
            Err(error) if error.kind() == ErrorKind::NoSpace => {
                // If it cannot be removed, the second attempt fails as the first did.
                let _ = self.world.fs.remove_file(&self.dir.join(RESERVE));
                let small = segment_bytes.min(FULL_DISK_SEGMENT_BYTES);
                self.attempt(version, from, keyspaces, filled, small)
            }
            result => result,
        }
    }

    fn attempt(
        &self,
        version: &Version,
        from: &mut Recovered,
        keyspaces: &Keyspaces,
        filled: &mut dyn FnMut(),
        segment_bytes: u64,
    ) -> Result<Written> {
        from.attempts += 1;
        let Recovered { outcome, last_seq, attempts } = &*from;
        let last_seq = *last_seq;
        let mut next_file = version.next_file.0.max(self.highest_number()? + 1);
        let mut take = || {
            next_file += 1;
            FileNumber(next_file - 1)
        };
        // An attempt that failed may have left its manifest the live one after a power cut. The log segments of the next
        // attempt are then of an epoch that it does not know, and not its own lost ones.
        let epoch = Epoch(version.epoch.max(outcome.epoch).0 + attempts);
        // The first segment takes the whole tail, so that there is one to make and to sync.
        let segment_bytes = segment_bytes.saturating_add(esker_wal::tail_bytes(outcome));
        let segment_bytes = segment_bytes.next_multiple_of(4096).min(SEGMENT_LEN_MAX);
        // A small segment is filled in any case, so that stores to it are proven on the simulated disk.
        let is_small = segment_bytes <= FULL_DISK_SEGMENT_BYTES;
        let mut spec_for = |size_min: u64| {
            Ok(SegmentSpec {
                number: take(),
                file_id: new_file_id(self.world),
                epoch,
                size_bytes: segment_bytes.max(size_min),
                zero_fill: is_small || self.options.background == Background::Threads,
                recycle: None,
                map: self.options.maps_log(),
            })
        };
        let fs = &*self.world.fs;
        let tail = esker_wal::rewrite_tail(fs, self.dir, outcome, last_seq, &mut spec_for)?;
        filled();
        let mut next = version.clone();
        next.epoch = epoch;
        next.shutdown = Shutdown::Open;
        next.last_seq = last_seq;
        let (wal, finished) = self.live_segments(version, outcome, &tail, keyspaces, epoch);
        next.wal = wal;
        next.wal_synced = tail.writer.known_synced();
        if mutant!("recovery_log_removed_early") {
            self.remove_unnamed(&next, FileNumber(0));
        }
        if mutant!("recovery_keyspace_id_reused") {
            let last = next.keyspaces.keys().last().copied();
            next.next_keyspace = last.map_or(KeyspaceId(1), |last| last.next());
        }
        let number = take();
        next.next_file = FileNumber(next_file);
        let id = new_file_id(self.world);
        let manifest = ManifestLog::create(self.world, self.dir, number, id, &next);
        let manifest = manifest.inspect_err(|_| self.give_up(number, &tail))?;
        Ok(Written { manifest, version: next, writer: tail.writer, finished, next_file })
    }

    /// Removes the log segments of an attempt whose manifest is certainly not the live one: it is gone too.
    fn give_up(&self, manifest: FileNumber, tail: &esker_wal::RewrittenTail) {
        let fs = &*self.world.fs;
        let is_gone = |path: PathBuf| fs.exists(&path).is_ok_and(|exists| !exists);
        if !is_gone(self.dir.join(FileKind::Manifest.name(manifest))) {
            return;
        }
        let finished = tail.finished.iter().map(|(segment, _)| segment.number);
        for number in finished.chain([tail.writer.segment().number()]) {
            let _ = fs.remove_file(&self.dir.join(FileKind::Wal.name(number)));
        }
    }

    /// The segments that the new manifest lists, and those of them that are finished: the old ones that still hold
    /// something unflushed, up to the cut, then those that the tail was copied into.
    fn live_segments(
        &self,
        version: &Version,
        outcome: &Outcome,
        tail: &esker_wal::RewrittenTail,
        keyspaces: &Keyspaces,
        epoch: Epoch,
    ) -> (Vec<WalSegmentMeta>, VecDeque<FinishedSegment>) {
        let first_of = |keyspace: &Arc<KeyspaceInner>| {
            let view = keyspace.view_guard();
            let tables = std::iter::once(&view.active).chain(&view.frozen);
            tables.filter_map(|table| table.first_seq()).min()
        };
        let unflushed = keyspaces.all().iter().filter_map(first_of).min();
        let is_needed = |last_seq: SeqNo| unflushed.is_some_and(|first| last_seq >= first);
        let mut wal = Vec::new();
        let mut finished = VecDeque::new();
        for old in &outcome.segments {
            let known = version.wal.iter().find(|segment| segment.number == old.number);
            if old.number > tail.cut.file || !is_needed(old.last_seq) {
                continue;
            }
            let is_cut = old.number == tail.cut.file && !mutant!("wal_old_end_kept");
            let end = if is_cut { tail.cut.offset } else { old.end };
            wal.push(WalSegmentMeta {
                number: old.number,
                file_id: old.file_id,
                epoch: known.map_or(version.epoch, |segment| segment.epoch),
                ends_at: Some(end),
                last_seq: Some(old.last_seq),
            });
            finished.push_back(FinishedSegment { number: old.number, end, last_seq: old.last_seq });
        }
        for (segment, spec) in &tail.finished {
            wal.push(WalSegmentMeta {
                number: segment.number,
                file_id: spec.file_id,
                epoch,
                ends_at: Some(segment.end),
                last_seq: Some(segment.last_seq),
            });
            finished.push_back(*segment);
        }
        let current = tail.writer.segment();
        wal.push(WalSegmentMeta {
            number: current.number(),
            file_id: current.file_id(),
            epoch,
            ends_at: None,
            last_seq: None,
        });
        (wal, finished)
    }

    pub(crate) fn names(&self) -> Result<Vec<String>> {
        self.world.fs.list(self.dir).map_err(|error| Error::io("list", self.dir, error))
    }

    /// The highest number of any file, named by the manifest or not: none is used twice.
    fn highest_number(&self) -> Result<u64> {
        let names = self.names()?;
        let numbers = names.iter().map(|name| name.strip_suffix(TEMPORARY_SUFFIX).unwrap_or(name));
        Ok(numbers.filter_map(names::parse).map(|(_, number)| number.0).max().unwrap_or(0))
    }

    /// Removes what the durable manifest does not name: earlier manifests, orphans, unfinished files. Foreign names stay.
    /// What cannot be removed is left to the next open.
    pub(crate) fn remove_unnamed(&self, version: &Version, manifest: FileNumber) {
        let mut live: BTreeSet<(FileKind, FileNumber)> = BTreeSet::new();
        live.extend(version.live_sstables().into_iter().map(|number| (FileKind::Sstable, number)));
        live.extend(version.live_value_files().into_iter().map(|n| (FileKind::Values, n)));
        live.extend(version.wal.iter().map(|segment| (FileKind::Wal, segment.number)));
        live.insert((FileKind::Manifest, manifest));
        for name in self.names().unwrap_or_default() {
            let is_dead = match names::parse(&name) {
                Some(file) => !live.contains(&file),
                None => name.strip_suffix(TEMPORARY_SUFFIX).is_some_and(is_ours),
            };
            if is_dead {
                let _ = self.world.fs.remove_file(&self.dir.join(&name));
            }
        }
    }

    /// Reserves space for the next open, if there is any and not enough is reserved yet.
    pub(crate) fn make_reserve(&self) {
        let path = self.dir.join(RESERVE);
        let file = match self.world.fs.create_new(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.world.fs.open(&path, OpenMode::ReadWrite)
            }
            result => result,
        };
        // After a crash the name may be there without the space.
        let made = file.and_then(|file| {
            if file.len()? < RESERVE_BYTES {
                file.allocate(RESERVE_BYTES)?;
                file.sync_all()?;
            }
            Ok(())
        });
        if made.is_err() {
            let _ = self.world.fs.remove_file(&path);
        }
    }
}

/// Whether an unfinished file's final name is one of ours.
fn is_ours(name: &str) -> bool {
    names::parse(name).is_some() || name == names::CURRENT
}

/// Whether a takeover that failed with `error` can be tried again: the disk is full, or too many files are open.
fn may_pass(error: &Error) -> bool {
    let source = std::error::Error::source(error);
    let source = source.and_then(|source| source.downcast_ref::<io::Error>());
    error.kind() == ErrorKind::NoSpace || source.is_some_and(esker_vfs::is_out_of_files)
}

impl Core {
    /// Makes a database that was opened on a full disk take writes, if there is space now. None of the core's locks from
    /// `log` on may be held.
    pub(crate) fn resume_writes(&self) -> Result<()> {
        let mut log = self.log.lock();
        // Somebody else may have done it, or closed the database, meanwhile.
        self.health.check_open()?;
        let Some(mut from) = log.take_recovered() else { return self.health.check_writable() };
        let takeover = Takeover { world: &self.world, dir: &self.dir, options: &self.options };
        let mut manifest = self.manifest.lock();
        match takeover.run(&manifest.version, &mut from, &self.keyspaces, &mut || {}) {
            Ok(written) => {
                let Written { manifest: new, version, writer, finished, next_file } = written;
                takeover.remove_unnamed(&version, new.number());
                takeover.make_reserve();
                *manifest = Manifest::new(Some(new), version);
                let now = self.world.clock.monotonic();
                *log = Log::new(Some(writer), from.last_seq, finished, now);
                self.next_file.store(next_file, Ordering::Release);
                self.health.resume();
                drop((manifest, log));
                self.background.wake();
                Ok(())
            }
            Err(error) if may_pass(&error) => {
                self.health.suspend(&error);
                log.keep_recovered(from);
                Err(error)
            }
            // What another failure left on the disk is for the next open to find out.
            Err(error) => Err(self.health.fail(&error)),
        }
    }
}
