//! Opening and closing.
//!
//! Everything is read and judged before the first byte is written, so a refused directory stays as it was. Then a
//! writable open takes a higher epoch: it copies the log's unproven tail into a segment of its own, starts a manifest
//! that says so, and only then removes what nothing names. Interrupted anywhere, the next open does it again.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use esker_base::names::{self, FileKind, LOCK};
use esker_base::{Error, ErrorKind, FileNumber, LogPosition, Result, SeqNo, mutant};
use esker_manifest::{ClosedSeal, Edit, ManifestLog, Shutdown, Version, WalSegmentMeta};
use esker_sstable::BlockCache;
use esker_vfs::{FileLock, LockMode, World};
use esker_wal::{Outcome, SealInfo, SegmentExpectation};

use crate::Db;
use crate::background::BackgroundState;
use crate::commit::history::History;
use crate::commit::log::{Log, SyncOutside};
use crate::commit::queue::CommitQueue;
use crate::commit::retired::Retired;
use crate::commit::spare::Spare;
use crate::core::{Core, Keyspaces, Manifest, new_file_id};
use crate::db::DbHandle;
use crate::health::Health;
use crate::ingest::Ingests;
use crate::keyspace::KeyspaceInner;
use crate::metrics::{Counter, Counters};
use crate::options::{Background, Options};
use crate::pacing::Pacer;
use crate::replay::{Building, Replay};
use crate::scrub::Scrub;
use crate::snapshot::SnapshotList;
use crate::sync::{AtomicU64, AtomicUsize, Mutex};
use crate::takeover::{Recovered, Takeover, Written};
use crate::view::{Budget, Files, Levels, identity};

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

impl Opening {
    fn recover(self, version: Version, is_new: bool) -> Result<Core> {
        let files = Arc::new(Files {
            fs: Arc::clone(&self.world.fs),
            dir: self.dir.clone(),
            mode: self.options.read_mode,
            cache: Arc::new(BlockCache::new(self.options.cache_bytes(0) as u64)),
            budget: Mutex::new(Budget::new(self.options.cache_bytes(0) as u64)),
            graveyard: Mutex::default(),
        });
        self.check_sstables(&version)?;
        let keyspaces = Keyspaces::default();
        for state in version.keyspaces.values() {
            let levels = Levels::next(&Levels::default(), state, &files);
            keyspaces.insert(Arc::new(KeyspaceInner::new(Arc::clone(&state.meta), levels)));
        }
        let replayed = Replayed::default();
        let (outcome, mut building) = self.replay(&version, &keyspaces, &replayed)?;
        self.check_unlisted_segments(&version)?;
        let restarts = mutant!("recovery_sequence_restarts");
        let flushed = if restarts { SeqNo(0) } else { version.last_seq };
        let last_seq = flushed.max(outcome.last_seq);
        let health = Health::default();
        let takeover = self.takeover();
        let mut from = Recovered { outcome, last_seq, attempts: 0 };
        let written = if self.options.read_only {
            let cause = Error::new(ErrorKind::ReadOnly, "the database was opened read-only");
            health.fail(&cause);
            None
        } else {
            match takeover.run(&version, &mut from, &keyspaces, &mut || building.finish()) {
                Ok(written) => Some(written),
                // A full disk still serves what is on it; a new database has nothing to serve.
                Err(error) if error.kind() == ErrorKind::NoSpace && !is_new => {
                    health.suspend(&error);
                    None
                }
                Err(error) => return Err(error),
            }
        };
        building.finish();
        let (manifest, log, next_file) = match written {
            Some(Written { manifest, version, writer, finished, next_file }) => {
                takeover.remove_unnamed(&version, manifest.number());
                takeover.make_reserve();
                let manifest = Manifest::new(Some(manifest), version);
                let now = self.world.clock.monotonic();
                (manifest, Log::new(Some(writer), last_seq, finished, now), next_file)
            }
            None => {
                let manifest = Manifest::new(None, version);
                let mut log = Log::new(None, last_seq, VecDeque::new(), Duration::ZERO);
                if health.is_suspended() {
                    log.keep_recovered(from);
                }
                (manifest, log, 0)
            }
        };
        let snapshots = Arc::new(SnapshotList::default());
        snapshots.publish(last_seq);
        let core = Core {
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
            retired: Retired::default(),
            spare: Spare::default(),
            sync_outside: SyncOutside::default(),
            replayed,
            scrub: Scrub::default(),
            ingests: Ingests::default(),
            lock: Mutex::new(Some(self.lock)),
        };
        core.settle_memtables();
        Ok(core)
    }

    fn takeover(&self) -> Takeover<'_> {
        Takeover { world: &self.world, dir: &self.dir, options: &self.options }
    }

    /// Checks that every sstable and every value file is there, with the length and the identity that the manifest says.
    fn check_sstables(&self, version: &Version) -> Result<()> {
        for state in version.keyspaces.values() {
            for (_, file) in state.files() {
                esker_sstable::check_identity(&*self.world.fs, &self.dir, &identity(file))?;
            }
            for file in state.value_files.values() {
                let identity = esker_compaction::value_identity(file);
                esker_sstable::check_value_identity(&*self.world.fs, &self.dir, &identity)?;
            }
        }
        Ok(())
    }

    /// Has the memtables filled from the log.
    fn replay(
        &self,
        version: &Version,
        keyspaces: &Keyspaces,
        replayed: &Replayed,
    ) -> Result<(Outcome, Building)> {
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
        let is_threaded = self.options.background == Background::Threads;
        let mut replay = Replay::new(version, keyspaces, &self.dir, replayed, is_threaded);
        let outcome = esker_wal::replay_segments(
            &*self.world.fs,
            &self.dir,
            &expected,
            version.wal_synced,
            |groups| replay.take(groups),
        )?;
        Ok((outcome, replay.building()))
    }

    /// Refuses a log segment that this epoch made, and wrote to, behind the last one that the manifest lists. Its listing
    /// was durable before its first frame, so the last edit of the manifest is lost, although it looks torn; going on
    /// without it would lose acknowledged commits. What an interrupted open leaves is of a higher epoch, what a crash
    /// leaves of a segment that was never listed holds no frame.
    fn check_unlisted_segments(&self, version: &Version) -> Result<()> {
        let last = version.wal.last().map_or(FileNumber(0), |segment| segment.number);
        for name in self.takeover().names()? {
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
        let waits = !mutant!("race_close_does_not_wait");
        let _no_step = waits.then(|| self.background.steps.write());
        let _no_flush = waits.then(|| self.flushing.lock());
        let _no_compaction = waits.then(|| self.compacting.lock());
        let sealed = if self.health.cause().is_none() { self.seal() } else { Ok(()) };
        // A takeover that is under way ends before the lock is given up; none begins any more.
        drop(self.log.lock());
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
        if self.health.is_suspended() {
            // It was opened on a full disk and has written nothing since.
            return Ok(());
        }
        self.write_deferred(&mut log)?;
        if log.writer()?.failure().is_some() {
            // A write failed, and the log has not gone on behind it yet.
            self.resume(&mut log, 0)?;
        }
        let spare = self.spare.hold(|slot| slot.take()).map(|spare| spare.number());
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
