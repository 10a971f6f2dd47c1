//! What all parts of an open database share, and the order of its locks.
//!
//! Locks, outermost first; a thread takes them only downwards:
//!
//! | lock | guards |
//! |---|---|
//! | `steps` | steps of background work share it; who closes takes it alone, so that none is under way then |
//! | `ingests.installing` | that one ingest at a time is installed |
//! | the gate | that one ingest at a time keeps commits from coming; the owner of the log waits for it with nothing held |
//! | `queue` | the line of commits and who owns the log; held while slots are looked at, never with any other |
//! | `flushing`, `compacting` | that one flush, one compaction runs at a time |
//! | `sync_outside.turn` | that one sync of the log at a time runs without the log's lock |
//! | `log` | the log's writer and segments; freezing memtables; dropping keyspaces |
//! | `ingests.merging` | what a compaction makes; held by an ingest while it chooses levels and until its files are in them |
//! | `spare` | the log's next segment, and the order in which segments are listed |
//! | `manifest` | the manifest and the version that it describes; the order of view changes that follow edits |
//! | `keyspaces` | the registry of keyspaces |
//! | a keyspace's `change` | the replacement of its view |
//! | `history` | recent writes and open transactions; held while a transaction takes its snapshot |
//! | `scrub` | where the scrubbing is; a thread that holds it takes `keyspaces` and a file's leaves |
//! | `snapshots`, `graveyard`, `retired`, `sync_outside.failure`, slots, `budget`, `ingests.stamps`, pipes | leaves |

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use esker_base::names::FileKind;
use esker_base::{BatchOp, Error, ErrorKind, FileId, FileNumber, KeyspaceId, Result, mutant};
use esker_manifest::{Edit, ManifestLog, Version};
use esker_vfs::{FileLock, World};

use crate::background::BackgroundState;
use crate::commit::history::{History, ReadSet};
use crate::commit::log::{Log, SyncOutside};
use crate::commit::queue::CommitQueue;
use crate::commit::retired::Retired;
use crate::commit::spare::Spare;
use crate::health::Health;
use crate::ingest::Ingests;
use crate::keyspace::KeyspaceInner;
use crate::metrics::Counters;
use crate::open::Replayed;
use crate::options::{Background, Options};
use crate::pacing::Pacer;
use crate::scrub::Scrub;
use crate::snapshot::SnapshotList;
use crate::sync::{AtomicU64, AtomicUsize, Mutex, RwLock};
use crate::view::Files;
use crate::{Batch, Durability};

/// An open database.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) world: World,
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) queue: CommitQueue,
    pub(crate) flushing: Mutex<()>,
    pub(crate) compacting: Mutex<()>,
    pub(crate) log: Mutex<Log>,
    pub(crate) manifest: Mutex<Manifest>,
    pub(crate) keyspaces: Keyspaces,
    pub(crate) snapshots: Arc<SnapshotList>,
    pub(crate) history: History,
    pub(crate) files: Arc<Files>,
    pub(crate) health: Health,
    pub(crate) pacer: Pacer,
    pub(crate) metrics: Counters,
    pub(crate) background: BackgroundState,
    /// While above 0, removed files stay on disk: a checkpoint is linking them.
    pub(crate) file_pins: AtomicUsize,
    pub(crate) next_file: AtomicU64,
    pub(crate) retired: Retired,
    pub(crate) spare: Spare,
    pub(crate) sync_outside: SyncOutside,
    pub(crate) replayed: Replayed,
    pub(crate) scrub: Scrub,
    pub(crate) ingests: Ingests,
    /// Held until the database is closed.
    pub(crate) lock: Mutex<Option<Box<dyn FileLock>>>,
}

/// The manifest and the picture it describes.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// `None` in a database that was opened read-only, or on a full disk.
    pub(crate) log: Option<ManifestLog>,
    pub(crate) version: Arc<Version>,
    /// The length of the live manifest when it was started: its snapshot alone.
    first_bytes: u64,
    /// Whether the database has given up the directory: nothing is written to it any more.
    pub(crate) is_released: bool,
}

/// A manifest is started afresh when it has grown to this and to several times its first length.
const MANIFEST_BYTES_MAX: u64 = 4 << 20;

/// How many times its first length a manifest may have. Only several times more edits than snapshot are worth a rewrite.
const MANIFEST_GROWTH_MAX: u64 = 4;

impl Manifest {
    pub(crate) fn new(log: Option<ManifestLog>, version: Version) -> Manifest {
        let first_bytes = log.as_ref().map_or(0, ManifestLog::size_bytes);
        Manifest { log, version: Arc::new(version), first_bytes, is_released: false }
    }
}

impl Core {
    pub(crate) fn check_open(&self) -> Result<()> {
        self.health.check_open()
    }

    /// As [`Core::check_open`], for who waited for a lock under which the database may have been closed.
    pub(crate) fn check_still_open(&self) -> Result<()> {
        if mutant!("race_closed_unchecked") { Ok(()) } else { self.check_open() }
    }

    /// Whether writes are taken; if a full disk is why not, looks whether there is space now. None of the locks from
    /// `log` on may be held.
    pub(crate) fn check_writable(&self) -> Result<()> {
        match self.health.check_writable() {
            Err(error) if self.health.is_suspended() => {
                // A failure that came meanwhile is told too.
                if self.health.cause().is_some() { Err(error) } else { self.resume_writes() }
            }
            result => result,
        }
    }

    /// Whether the database runs threads of its own.
    pub(crate) fn has_threads(&self) -> bool {
        self.options.background == Background::Threads
    }

    /// Commits a batch and waits for it.
    pub(crate) fn write(&self, batch: Batch, durability: Durability) -> Result<()> {
        self.write_checked(batch, durability, None)
    }

    /// Commits one operation on `keyspace`, whose handle is this database's, and waits for it.
    pub(crate) fn write_op(
        &self,
        keyspace: &Arc<KeyspaceInner>,
        op: BatchOp<'_>,
        durability: Durability,
    ) -> Result<()> {
        self.check_writable()?;
        keyspace.check_live()?;
        self.queue.write_op(self, keyspace, op, durability).map(|_| ())
    }

    /// As [`Core::write`]; see [`crate::Db::write_ordered`].
    pub(crate) fn write_ordered(
        &self,
        batch: &mut Batch,
        durability: Durability,
        in_line: impl FnOnce(),
    ) -> Result<()> {
        self.check_batch(batch)?;
        self.queue.write_ordered(self, batch, durability, in_line).map(|_| ())
    }

    /// As [`Core::write`], for a transaction that read `reads`.
    pub(crate) fn write_checked(
        &self,
        batch: Batch,
        durability: Durability,
        reads: Option<ReadSet>,
    ) -> Result<()> {
        self.check_batch(&batch)?;
        self.queue.write(self, batch, durability, reads).map(|_| ())
    }

    /// What can be said about a batch before it waits in line.
    pub(crate) fn check_batch(&self, batch: &Batch) -> Result<()> {
        self.check_writable()?;
        if let Some(error) = &batch.error {
            return Err(error.clone());
        }
        for keyspace in &batch.keyspaces {
            keyspace.check_live()?;
            let known = self.keyspaces.get(keyspace.id());
            if !known.is_some_and(|known| Arc::ptr_eq(&known, keyspace)) {
                return Err(Error::invalid("the batch names a keyspace of another database"));
            }
        }
        Ok(())
    }

    pub(crate) fn next_file_number(&self) -> FileNumber {
        FileNumber(self.next_file.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn new_file_id(&self) -> FileId {
        new_file_id(&self.world)
    }

    /// Makes `edit` durable and part of the version.
    pub(crate) fn edit(&self, edit: Edit) -> Result<()> {
        self.edit_and(edit, |_| {})
    }

    /// Makes `edit` durable, then calls `install` on the new version, before any other edit. A failure that leaves the
    /// manifest in doubt turns the database read-only, and nothing is deleted.
    pub(crate) fn edit_and(&self, mut edit: Edit, install: impl FnOnce(&Version)) -> Result<()> {
        self.check_writable_or_closing()?;
        let mut manifest = self.manifest.lock();
        if manifest.is_released {
            self.check_still_open()?;
        }
        edit.next_file = Some(FileNumber(self.next_file.load(Ordering::Relaxed)));
        let version = manifest.version.apply(&edit)?;
        let Some(log) = &mut manifest.log else {
            self.health.check_writable()?;
            return Err(Error::new(ErrorKind::ReadOnly, "the database was opened read-only"));
        };
        if let Err(error) = log.append(&edit) {
            if mutant!("manifest_edit_applied_early") {
                manifest.version = Arc::new(version);
                install(&manifest.version);
                return Err(error);
            }
            if log.failure().is_some() {
                return Err(self.health.fail(&error));
            }
            return Err(error);
        }
        manifest.version = Arc::new(version);
        install(&manifest.version);
        self.rewrite_large_manifest(&mut manifest);
        Ok(())
    }

    /// While the database closes, the last edits still pass; after a failure none do.
    fn check_writable_or_closing(&self) -> Result<()> {
        self.health.cause().map_or(Ok(()), |cause| Err(Error::read_only(cause)))
    }

    /// Starts a fresh manifest when the old one is mostly history. Failing to is no harm, unless it leaves in doubt
    /// which manifest is live.
    fn rewrite_large_manifest(&self, manifest: &mut Manifest) {
        let Manifest { log: Some(log), version, first_bytes, .. } = manifest else { return };
        let most = MANIFEST_BYTES_MAX.max(first_bytes.saturating_mul(MANIFEST_GROWTH_MAX));
        if log.size_bytes() < most {
            return;
        }
        let (old, number) = (log.number(), self.next_file_number());
        match log.rewrite(number, self.new_file_id(), version) {
            Ok(()) => {
                *first_bytes = log.size_bytes();
                self.bury(FileKind::Manifest, Some(old));
            }
            Err(error) if log.failure().is_some() => {
                self.health.fail(&error);
            }
            Err(_) => self.metrics.background_errors.add(1),
        }
    }

    /// As [`Core::bury`], for files of several kinds.
    pub(crate) fn bury_all(&self, files: Vec<(FileKind, FileNumber)>) {
        self.files.graveyard.lock().extend(files);
    }

    /// Hands files that nothing names any more to the clean-up step. Only after the edit that dropped them is durable.
    pub(crate) fn bury(&self, kind: FileKind, numbers: impl IntoIterator<Item = FileNumber>) {
        let mut graveyard = self.files.graveyard.lock();
        graveyard.extend(numbers.into_iter().map(|number| (kind, number)));
    }
}

/// A fresh random identity.
pub(crate) fn new_file_id(world: &World) -> FileId {
    let mut id = FileId::default();
    world.random.fill(&mut id.0);
    id
}

/// The keyspaces by id and by name.
#[derive(Debug, Default)]
pub(crate) struct Keyspaces(RwLock<Registry>);

#[derive(Debug, Default)]
struct Registry {
    by_id: BTreeMap<KeyspaceId, Arc<KeyspaceInner>>,
    by_name: BTreeMap<String, KeyspaceId>,
}

impl Keyspaces {
    pub(crate) fn get(&self, id: KeyspaceId) -> Option<Arc<KeyspaceInner>> {
        self.0.read().by_id.get(&id).cloned()
    }

    pub(crate) fn named(&self, name: &str) -> Option<Arc<KeyspaceInner>> {
        let registry = self.0.read();
        registry.by_name.get(name).and_then(|id| registry.by_id.get(id)).cloned()
    }

    /// All keyspaces in the order of their ids.
    pub(crate) fn all(&self) -> Vec<Arc<KeyspaceInner>> {
        self.0.read().by_id.values().cloned().collect()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.read().by_name.keys().cloned().collect()
    }

    pub(crate) fn insert(&self, keyspace: Arc<KeyspaceInner>) {
        let mut registry = self.0.write();
        registry.by_name.insert(keyspace.meta.name.clone(), keyspace.id());
        registry.by_id.insert(keyspace.id(), keyspace);
    }

    pub(crate) fn remove(&self, keyspace: &KeyspaceInner) {
        let mut registry = self.0.write();
        registry.by_name.remove(&keyspace.meta.name);
        registry.by_id.remove(&keyspace.id());
    }
}
