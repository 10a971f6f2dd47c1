//! Opening and closing.
//!
//! Everything is read and judged before the first byte is written, so a refused directory stays as it was. Then a
//! writable open takes a higher epoch: it copies the log's unproven tail into a segment of its own, starts a manifest
//! that says so, and only then removes what nothing names. Interrupted anywhere, the next open does it again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use esker_base::limits::BATCH_LEN_MAX;
use esker_base::names::{self, FileKind, LOCK, RESERVE, TEMPORARY_SUFFIX};
use esker_base::{
    Epoch, Error, ErrorKind, FileNumber, KeyspaceId, LogPosition, Result, SeqNo, batch, mutant,
};
use esker_manifest::{ClosedSeal, Edit, ManifestLog, Shutdown, Version, WalSegmentMeta};
use esker_sstable::BlockCache;
use esker_vfs::{FileLock, LockMode, OpenMode, World};
use esker_wal::{
    FinishedSegment, Group, Outcome, SealInfo, SegmentExpectation, SegmentSpec, Writer,
};

use crate::Db;
use crate::background::BackgroundState;
use crate::commit::history::History;
use crate::commit::log::Log;
use crate::commit::queue::CommitQueue;
use crate::core::{Core, Keyspaces, Manifest, new_file_id};
use crate::db::DbHandle;
use crate::health::Health;
use crate::keyspace::KeyspaceInner;
use crate::metrics::{Counter, Counters};
use crate::options::{Background, Options};
use crate::pacing::Pacer;
use crate::scrub::Scrub;
use crate::snapshot::SnapshotList;
use crate::sync::{AtomicU64, AtomicUsize, Mutex};
use crate::view::{Files, Levels, identity};

/// Space given up when the disk is full, so that the new manifest and log segment of an open find room.
const RESERVE_BYTES: u64 = 1 << 20;

/// The log segment that an open on a full disk makes do with.
const SMALL_SEGMENT_BYTES: u64 = 64 << 10;

/// The first log segment of every open: small, so that filling it with zeros does not delay the start. The next one is
/// made in the background, in full size.
const FIRST_SEGMENT_BYTES: u64 = 4 << 20;

pub(crate) fn open(world: World, dir: PathBuf, options: Options) -> Result<Db> {
    if !options.read_only && options.create_if_missing {
        create_dir(&world, &dir)?;
    }
    let lock = take_lock(&world, &dir, options.read_only)?;
    let (version, is_new) = match esker_manifest::recover(&*world.fs, &dir) {
        Ok(recovered) => (recovered.version, false),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if options.read_only || !options.create_if_missing {
                return Err(error);
            }
            (create(&world, &dir)?, true)
        }
        Err(error) => return Err(error),
    };
    let opening = Opening { world, dir, options, lock };
    let core = Arc::new(opening.recover(version, is_new)?);
    core.update_pressure();
    if !core.options.read_only {
        // Threads that did start hold the database and its lock until they are ended.
        core.start_threads().inspect_err(|_| drop(core.close()))?;
    }
    Ok(Db { handle: Arc::new(DbHandle { core }) })
}

/// Makes a directory and its missing parents, durably: each new name is synced in the directory that it stands in.
pub(crate) fn create_dir(world: &World, dir: &Path) -> Result<()> {
    let mut missing = Vec::new();
    let mut at = Some(dir);
    while let Some(path) = at.filter(|path| !path.as_os_str().is_empty()) {
        if world.fs.exists(path).map_err(|error| Error::io("look at", path, error))? {
            break;
        }
        missing.push(path);
        at = path.parent();
    }
    if missing.is_empty() {
        return Ok(());
    }
    world.fs.create_dir_all(dir).map_err(|error| Error::io("create directory", dir, error))?;
    missing.into_iter().try_for_each(|path| sync_parent(world, path))
}

pub(crate) fn is_denied(error: &Error) -> bool {
    let source = std::error::Error::source(error);
    let source = source.and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| source.kind() == io::ErrorKind::PermissionDenied)
}

/// Makes the name `path` durable. A relative path of one part stands in the working directory.
pub(crate) fn sync_parent(world: &World, path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    world.fs.sync_dir(parent).map_err(|error| Error::io("sync", parent, error))
}

/// Makes the manifest of a new database. It comes before every other file: files without a manifest are the ruins of a
/// database, and opening refuses them.
fn create(world: &World, dir: &Path) -> Result<Version> {
    // Whoever made the directory may not have made its name durable. Not every parent may be read by everybody; then
    // that is their part.
    match sync_parent(world, dir) {
        Err(error) if !is_denied(&error) => return Err(error),
        _ => {}
    }
    let mut id = [0; 16];
    world.random.fill(&mut id);
    let mut version = Version::new(id);
    let number = version.next_file;
    version.next_file = number.next();
    ManifestLog::create(world, dir, number, new_file_id(world), &version)?;
    Ok(version)
}

pub(crate) fn take_lock(world: &World, dir: &Path, read_only: bool) -> Result<Box<dyn FileLock>> {
    let path = dir.join(LOCK);
    let mode = if read_only { LockMode::Shared } else { LockMode::Exclusive };
    world.fs.lock(&path, mode).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            let message = format!("{} is open in another process or handle", dir.display());
            Error::new(ErrorKind::Locked, message)
        }
        io::ErrorKind::NotFound => {
            Error::new(ErrorKind::NotFound, format!("{} holds no database", dir.display()))
        }
        _ => Error::io("lock", &path, error),
    })
}

struct Opening {
    world: World,
    dir: PathBuf,
    options: Options,
    lock: Box<dyn FileLock>,
}

/// What an open took from the log.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    pub(crate) groups: Counter,
    /// Those that no sstable held yet.
    pub(crate) entries: Counter,
}

/// What a writable open has made durable.
struct Written {
    manifest: ManifestLog,
    version: Version,
    writer: Writer,
    finished: VecDeque<FinishedSegment>,
    next_file: u64,
}

impl Opening {
    fn recover(self, version: Version, is_new: bool) -> Result<Core> {
        let files = Arc::new(Files {
            fs: Arc::clone(&self.world.fs),
            dir: self.dir.clone(),
            mode: self.options.read_mode,
            cache: Arc::new(BlockCache::new(self.options.cache_bytes() as u64)),
            cache_bytes: self.options.cache_bytes() as u64,
            open_bytes: Mutex::default(),
            graveyard: Mutex::default(),
        });
        self.check_sstables(&version)?;
        let keyspaces = Keyspaces::default();
        for state in version.keyspaces.values() {
            let levels = Levels::next(&Levels::default(), state, &files);
            keyspaces.insert(Arc::new(KeyspaceInner::new(Arc::clone(&state.meta), levels)));
        }
        let replayed = Replayed::default();
        let outcome = self.replay(&version, &keyspaces, &replayed)?;
        self.check_unlisted_segments(&version)?;
        let restarts = mutant!("recovery_sequence_restarts");
        let flushed = if restarts { SeqNo(0) } else { version.last_seq };
        let last_seq = flushed.max(outcome.last_seq);
        let health = Health::default();
        let written = if self.options.read_only {
            let cause = Error::new(ErrorKind::ReadOnly, "the database was opened read-only");
            health.fail(&cause);
            None
        } else {
            match self.write(&version, &outcome, &keyspaces, last_seq) {
                Ok(written) => Some(written),
                // A full disk still serves what is on it; a new database has nothing to serve.
                Err(error) if error.kind() == ErrorKind::NoSpace && !is_new => {
                    health.fail(&error);
                    None
                }
                Err(error) => return Err(error),
            }
        };
        let (manifest, log, next_file) = match written {
            Some(Written { manifest, version, writer, finished, next_file }) => {
                self.remove_unnamed(&version, manifest.number());
                self.make_reserve();
                let manifest = Manifest::new(Some(manifest), version);
                (manifest, Log::new(Some(writer), last_seq, finished), next_file)
            }
            None => {
                let manifest = Manifest::new(None, version);
                (manifest, Log::new(None, last_seq, VecDeque::new()), 0)
            }
        };
        let snapshots = Arc::new(SnapshotList::default());
        snapshots.publish(last_seq);
        let core = Core {
            epoch: manifest.version.epoch,
            world: self.world,
            dir: self.dir,
            options: self.options,
            queue: CommitQueue::default(),
            flushing: Mutex::default(),
            compacting: Mutex::default(),
            log: Mutex::new(log),
            manifest: Mutex::new(manifest),
            keyspaces,
            snapshots,
            history: History::default(),
            files,
            health,
            pacer: Pacer::default(),
            metrics: Counters::default(),
            background: BackgroundState::default(),
            file_pins: AtomicUsize::new(0),
            next_file: AtomicU64::new(next_file),
            replayed,
            scrub: Scrub::default(),
            lock: Mutex::new(Some(self.lock)),
        };
        core.settle_memtables();
        Ok(core)
    }

    /// Checks that every sstable is there, with the length and the identity that the manifest says.
    fn check_sstables(&self, version: &Version) -> Result<()> {
        for state in version.keyspaces.values() {
            for (_, file) in state.files() {
                esker_sstable::check_identity(&*self.world.fs, &self.dir, &identity(file))?;
            }
        }
        Ok(())
    }

    /// Fills the memtables from the log.
    fn replay(
        &self,
        version: &Version,
        keyspaces: &Keyspaces,
        replayed: &Replayed,
    ) -> Result<Outcome> {
        let sealed = match &version.shutdown {
            Shutdown::Open => None,
            Shutdown::Closed(seal) => Some(SealInfo {
                segment: seal.segment,
                len: seal.len,
                checksum: seal.checksum,
                last_seq: seal.last_seq,
            }),
        };
        let expected = |segment: &WalSegmentMeta| SegmentExpectation {
            number: segment.number,
            file_id: segment.file_id,
            ends_at: segment.ends_at,
            sealed: sealed.filter(|seal| seal.segment == segment.number),
            optional: false,
        };
        let expected: Vec<_> = version.wal.iter().map(expected).collect();
        let mut targets: BTreeMap<KeyspaceId, (Arc<KeyspaceInner>, SeqNo)> = BTreeMap::new();
        for state in version.keyspaces.values() {
            if let Some(inner) = keyspaces.get(state.meta.id) {
                targets.insert(state.meta.id, (inner, state.flushed_through));
            }
        }
        let fill = |group: Group<'_>| {
            replayed.groups.add(1);
            self.fill(&group, version, &targets, replayed)
        };
        esker_wal::replay(&*self.world.fs, &self.dir, &expected, version.wal_synced, fill)
    }

    fn fill(
        &self,
        group: &Group<'_>,
        version: &Version,
        targets: &BTreeMap<KeyspaceId, (Arc<KeyspaceInner>, SeqNo)>,
        replayed: &Replayed,
    ) -> Result<()> {
        let malformed = || {
            let newest = version.wal.last().map_or(FileNumber(0), |segment| segment.number);
            let path = self.dir.join(FileKind::Wal.name(newest));
            let seq = group.first_seq;
            Error::corruption(path, 0, format!("the log's group at sequence {seq} is malformed"))
        };
        for ops in group.batches() {
            let mut seq = ops.first_seq;
            let end = SeqNo(ops.first_seq.0 + u64::from(ops.op_count));
            for op in batch::ops(ops.bytes) {
                let op = op.filter(|op| seq < end && op.value.len() <= BATCH_LEN_MAX);
                let op = op.ok_or_else(malformed)?;
                match targets.get(&op.keyspace) {
                    Some((keyspace, flushed_through)) if seq > *flushed_through => {
                        keyspace.view_guard().active.insert(op.key, seq, op.kind, op.value);
                        replayed.entries.add(1);
                    }
                    // Flushed already, or of a keyspace that was dropped since: ids are never reused.
                    Some(_) => {}
                    None if op.keyspace < version.next_keyspace => {}
                    None => return Err(malformed()),
                }
                seq = seq.next();
                if mutant!("recovery_batch_halved") {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Refuses a log segment that this epoch made, and wrote to, behind the last one that the manifest lists. Its listing
    /// was durable before its first frame, so the last edit of the manifest is lost, although it looks torn; going on
    /// without it would lose acknowledged commits. What an interrupted open leaves is of a higher epoch, what a crash
    /// leaves of a segment that was never listed holds no frame.
    fn check_unlisted_segments(&self, version: &Version) -> Result<()> {
        let last = version.wal.last().map_or(FileNumber(0), |segment| segment.number);
        for name in self.names()? {
            let Some((FileKind::Wal, number)) = names::parse(&name) else { continue };
            if number <= last {
                continue;
            }
            match esker_wal::look_at(&*self.world.fs, &self.dir, number)? {
                Some((header, true)) if header.epoch == version.epoch => {
                    let message =
                        "this log segment holds commits, but the manifest does not list it";
                    return Err(Error::corruption(self.dir.join(name), 0, message));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes a new epoch. On a full disk the reserve is given up and a smaller segment made.
    fn write(
        &self,
        version: &Version,
        outcome: &Outcome,
        keyspaces: &Keyspaces,
        last_seq: SeqNo,
    ) -> Result<Written> {
        let segment_bytes = self.options.segment_bytes().min(FIRST_SEGMENT_BYTES);
        match self.try_write(version, outcome, keyspaces, last_seq, segment_bytes) {
            Err(error) if error.kind() == ErrorKind::NoSpace => {
                // If it cannot be removed, the second attempt fails as the first did.
                let _ = self.world.fs.remove_file(&self.dir.join(RESERVE));
                let small = segment_bytes.min(SMALL_SEGMENT_BYTES);
                self.try_write(version, outcome, keyspaces, last_seq, small)
            }
            result => result,
        }
    }

    fn try_write(
        &self,
        version: &Version,
        outcome: &Outcome,
        keyspaces: &Keyspaces,
        last_seq: SeqNo,
        segment_bytes: u64,
    ) -> Result<Written> {
        let mut next_file = version.next_file.0.max(self.highest_number()? + 1);
        let mut take = || {
            next_file += 1;
            FileNumber(next_file - 1)
        };
        let epoch = version.epoch.max(outcome.epoch).next();
        let mut spec_for = |size_min: u64| {
            Ok(SegmentSpec {
                number: take(),
                file_id: new_file_id(&self.world),
                epoch,
                size_bytes: segment_bytes.max(size_min),
                zero_fill: self.options.background == Background::Threads,
                recycle: None,
            })
        };
        let fs = &*self.world.fs;
        let tail = esker_wal::rewrite_tail(fs, &self.dir, outcome, last_seq, &mut spec_for)?;
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
        let id = new_file_id(&self.world);
        let manifest = ManifestLog::create(&self.world, &self.dir, number, id, &next)?;
        Ok(Written { manifest, version: next, writer: tail.writer, finished, next_file })
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
        let unflushed =
            keyspaces.all().iter().filter_map(|k| k.view_guard().active.first_seq()).min();
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

    fn names(&self) -> Result<Vec<String>> {
        self.world.fs.list(&self.dir).map_err(|error| Error::io("list", &self.dir, error))
    }

    /// The highest number of any file, named by the manifest or not: none is used twice.
    fn highest_number(&self) -> Result<u64> {
        let names = self.names()?;
        let numbers = names.iter().map(|name| name.strip_suffix(TEMPORARY_SUFFIX).unwrap_or(name));
        Ok(numbers.filter_map(names::parse).map(|(_, number)| number.0).max().unwrap_or(0))
    }

    /// Removes what the durable manifest does not name: earlier manifests, orphans, unfinished files. Foreign names stay.
    /// What cannot be removed is left to the next open.
    fn remove_unnamed(&self, version: &Version, manifest: FileNumber) {
        let mut live: BTreeSet<(FileKind, FileNumber)> = BTreeSet::new();
        live.extend(version.live_sstables().into_iter().map(|number| (FileKind::Sstable, number)));
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
    fn make_reserve(&self) {
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

impl Core {
    /// Accounts for what replay put into the memtables, and freezes the full ones.
    fn settle_memtables(&self) {
        let log = self.log.lock();
        for keyspace in self.keyspaces.all() {
            self.account(&keyspace);
            if keyspace.view_guard().active.memory_bytes() >= self.options.memtable_bytes() {
                self.freeze(&log, &keyspace);
            }
        }
    }

    /// Closes the database; the second call does nothing.
    pub(crate) fn close(&self) -> Result<()> {
        self.queue.close(self);
        if !self.health.close() {
            return Ok(());
        }
        self.stop_threads();
        // Work that other threads have under way ends before the lock is given up; `cancelled` makes it end soon. Whoever
        // waits for one of these locks looks whether the database is open once it has it.
        let _no_step = self.background.steps.write();
        let _no_flush = self.flushing.lock();
        let _no_compaction = self.compacting.lock();
        let sealed = if self.health.cause().is_none() { self.seal() } else { Ok(()) };
        if sealed.is_ok() {
            // Files whose edit is durable can go; the next open would do it.
            self.clean_up_step();
        }
        self.manifest.lock().is_released = true;
        drop(self.lock.lock().take());
        sealed
    }

    /// Seals the log and says so in the manifest, after which a changed bit of the closed database is detected or
    /// harmless: damage to the record of the closing itself only makes the next open a recovery.
    fn seal(&self) -> Result<()> {
        let mut log = self.log.lock();
        self.write_deferred(&mut log)?;
        let spare = log.take_spare();
        let seal = log.writer()?.seal().map_err(|error| self.health.fail(&error))?;
        let end = LogPosition { file: seal.segment, offset: seal.len };
        self.edit(Edit {
            wal_removed: spare.into_iter().collect(),
            wal_synced: Some(end),
            closed: Some(ClosedSeal {
                segment: seal.segment,
                len: seal.len,
                checksum: seal.checksum,
                last_seq: seal.last_seq,
            }),
            ..Edit::default()
        })?;
        self.bury(FileKind::Wal, spare);
        Ok(())
    }
}
