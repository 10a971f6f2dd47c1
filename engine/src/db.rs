//! The database handle.

use std::path::Path;
use std::sync::Arc;

use esker_base::{Error, ErrorKind, Result};
use esker_manifest::{Edit, KeyspaceMeta, StrategyKind};

use crate::background::BackgroundStep;
use crate::commit::group::in_doubt;
use crate::commit::queue::PendingCommit;
use crate::core::Core;
use crate::keyspace::{Keyspace, KeyspaceInner};
use crate::metrics::Metrics;
use crate::options::{CompactionStrategy, check_keyspace_name};
use crate::verify::VerifyReport;
use crate::view::{Levels, View};
use crate::{Batch, Builder, Durability, KeyspaceOptions, Snapshot, Transaction};

/// An open database: named keyspaces of ordered keys and values, one log, one commit sequence. A cheap clone.
///
/// Durable by default: a write that returned has been synced. Closed when the last handle (of the database or of a
/// keyspace) is dropped, or by [`Db::close`], which reports what a drop cannot.
///
/// ```
/// # fn main() -> esker::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path();
/// let db = esker::Db::open(path)?;
/// let users = db.keyspace("users")?;
/// users.put(b"alice", b"engineer")?;
///
/// let mut batch = db.batch();
/// batch.put(&users, b"bob", b"architect");
/// batch.delete(&users, b"alice");
/// db.write(batch)?;
///
/// assert_eq!(users.get(b"alice")?, None);
/// db.close()
/// # }
/// ```
#[derive(Clone)]
pub struct Db {
    pub(crate) handle: Arc<DbHandle>,
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("path", &self.path()).finish_non_exhaustive()
    }
}

/// Closes the database when the last handle goes.
#[derive(Debug)]
pub(crate) struct DbHandle {
    pub(crate) core: Arc<Core>,
}

impl Drop for DbHandle {
    fn drop(&mut self) {
        // Nobody is left to be told; whoever wants to know calls `close`.
        let _ = self.core.close();
    }
}

/// A change of the manifest that failed may be there after the next open.
pub(crate) fn told_in_doubt(error: Error) -> Error {
    if error.kind() == ErrorKind::ReadOnly { in_doubt(error) } else { error }
}

impl Db {
    /// Opens the database in `dir` with the default options, creating it if there is none.
    ///
    /// # Errors
    /// `Locked` if it is open elsewhere; `Corruption` or `Unsupported` naming the file, with the directory left as it
    /// was; `Io` and `NoSpace` from the file system.
    pub fn open(dir: impl AsRef<Path>) -> Result<Db> {
        Db::builder().open(dir)
    }

    /// Opens with other than the default options.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The keyspace called `name` (1 to 255 bytes), created with the default options if there is none.
    ///
    /// # Errors
    /// As of [`Db::write`], if it has to be created.
    pub fn keyspace(&self, name: &str) -> Result<Keyspace> {
        match self.existing_keyspace(name)? {
            Some(keyspace) => Ok(keyspace),
            None => self.create_or_get(name, KeyspaceOptions::default()),
        }
    }

    /// The keyspace called `name`, if there is one.
    pub fn existing_keyspace(&self, name: &str) -> Result<Option<Keyspace>> {
        self.core().check_open()?;
        Ok(self.core().keyspaces.named(name).map(|inner| self.handle_of(inner)))
    }

    /// Creates the keyspace `name`.
    ///
    /// # Errors
    /// `InvalidArgument` if there is one already.
    pub fn create_keyspace(&self, name: &str, options: KeyspaceOptions) -> Result<Keyspace> {
        if self.existing_keyspace(name)?.is_some() {
            return Err(Error::invalid(format!("a keyspace called {name:?} exists already")));
        }
        self.create_or_get(name, options)
    }

    fn create_or_get(&self, name: &str, options: KeyspaceOptions) -> Result<Keyspace> {
        check_keyspace_name(name)?;
        let core = self.core();
        core.check_writable()?;
        // Creating and dropping happen under the log's lock, so the registry and the manifest cannot disagree.
        let _log = core.log.lock();
        core.check_still_open()?;
        if let Some(inner) = core.keyspaces.named(name) {
            return Ok(self.handle_of(inner));
        }
        let id = core.manifest.lock().version.next_keyspace;
        let (strategy, fifo_max_bytes) = match options.strategy {
            CompactionStrategy::Leveled => (StrategyKind::Leveled, 0),
            CompactionStrategy::Tiered => (StrategyKind::Tiered, 0),
            CompactionStrategy::Fifo { size_bytes_max } => (StrategyKind::Fifo, size_bytes_max),
        };
        let compression = match options.compress {
            true => esker_manifest::Compression::Lz4,
            false => esker_manifest::Compression::None,
        };
        let mut meta = KeyspaceMeta::new(id, name);
        (meta.strategy, meta.fifo_max_bytes) = (strategy, fifo_max_bytes);
        meta.compression = compression;
        if strategy != StrategyKind::Fifo {
            meta.large_value_bytes = options.large_value_bytes.map_or(0, |bytes| bytes.max(1));
        }
        let edit = Edit { created_keyspaces: vec![meta.clone()], ..Edit::default() };
        core.edit(edit).map_err(told_in_doubt)?;
        let inner = Arc::new(KeyspaceInner::new(Arc::new(meta), Levels::default()));
        core.keyspaces.insert(Arc::clone(&inner));
        Ok(self.handle_of(inner))
    }

    fn handle_of(&self, inner: Arc<KeyspaceInner>) -> Keyspace {
        Keyspace { db: Arc::clone(&self.handle), inner }
    }

    /// The names of all keyspaces, sorted.
    pub fn keyspaces(&self) -> Result<Vec<String>> {
        self.core().check_open()?;
        Ok(self.core().keyspaces.names())
    }

    /// Drops a keyspace and everything in it, durably. Handles on it fail with `NotFound` from then on; iterators over it
    /// go on to their end. Its files are removed in the background.
    ///
    /// # Errors
    /// `NotFound` if there is none of that name; `Indeterminate` if the disk failed amid the drop: the keyspace refuses
    /// further use, and the next open shows whether it is there.
    pub fn drop_keyspace(&self, name: &str) -> Result<()> {
        let core = self.core();
        core.check_writable()?;
        let log = core.log.lock();
        core.check_still_open()?;
        let Some(inner) = core.keyspaces.named(name) else {
            return Err(Error::new(ErrorKind::NotFound, format!("no keyspace called {name:?}")));
        };
        inner.set_dropped(true);
        let edit = Edit { dropped_keyspaces: vec![inner.id()], ..Edit::default() };
        if let Err(error) = core.edit(edit) {
            inner.set_dropped(core.health.cause().is_some());
            return Err(told_in_doubt(error));
        }
        core.keyspaces.remove(&inner);
        core.metrics.memtable_bytes.sub(inner.set_accounted(0));
        inner.replace_view(|view| {
            view.levels.0.iter().flatten().for_each(|file| file.set_obsolete());
            view.levels.values().retire(|_| true);
            let frozen: usize = view.frozen.iter().map(|table| table.memory_bytes()).sum();
            core.metrics.frozen_bytes.sub(frozen as u64);
            View::empty()
        });
        drop(log);
        core.background.wake();
        Ok(())
    }

    /// A batch of nothing, to be filled and written.
    pub fn batch(&self) -> Batch {
        Batch::new()
    }

    /// Commits a batch: all of it or nothing, with the default durability.
    ///
    /// # Errors
    /// `Indeterminate` if the disk failed while it was written or synced: it may be there after the next open. After any
    /// other error nothing happened, and never will: `InvalidArgument` and `NotFound` for the batch, `NoSpace` while the
    /// disk is full, `ReadOnly` after an earlier failure, `Io` for a failed write behind which the log goes on.
    pub fn write(&self, batch: Batch) -> Result<()> {
        self.core().write(batch, self.core().options.durability)
    }

    /// As [`Db::write`]; calls `in_line` once the batch's place in the order of commits is fixed, and before the wait for
    /// it. Who takes a lock so that batches are committed in the order in which they were made can release it there,
    /// and others share the sync. Not called where the batch is refused before. `in_line` should do little, and neither
    /// panic nor use the database: commits may be waiting for this thread. The batch is left with its memory, to be cleared
    /// and filled again, unless it had to be handed to another thread.
    ///
    /// # Errors
    /// As of [`Db::write`].
    pub fn write_ordered(&self, batch: &mut Batch, in_line: impl FnOnce()) -> Result<()> {
        self.core().write_ordered(batch, self.core().options.durability, in_line)
    }

    /// As [`Db::write_ordered`], with a durability of its own.
    ///
    /// # Errors
    /// As of [`Db::write`].
    pub fn write_ordered_with(
        &self,
        batch: &mut Batch,
        durability: Durability,
        in_line: impl FnOnce(),
    ) -> Result<()> {
        self.core().write_ordered(batch, durability, in_line)
    }

    /// Commits a batch with a durability of its own; errors as of [`Db::write`].
    pub fn write_with(&self, batch: Batch, durability: Durability) -> Result<()> {
        self.core().write(batch, durability)
    }

    /// Puts a batch in line with the default durability and returns at once; wait for the result, or await it.
    ///
    /// # Errors
    /// `Busy` when too much is in line already.
    pub fn submit(&self, batch: Batch) -> Result<PendingCommit> {
        self.submit_with(batch, self.core().options.durability)
    }

    /// As [`Db::submit`], with a durability of its own.
    pub fn submit_with(&self, batch: Batch, durability: Durability) -> Result<PendingCommit> {
        self.core().check_batch(&batch)?;
        self.core().queue.submit(self.core(), batch, durability, None)
    }

    /// A consistent view of the whole database as of now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::take(&self.core().snapshots)
    }

    /// Begins an optimistic, serialisable transaction.
    pub fn transaction(&self) -> Result<Transaction> {
        self.core().check_open()?;
        Ok(Transaction::begin(&self.handle))
    }

    /// Makes every acknowledged write durable, the Buffered and Volatile ones too. Where that fails with `Indeterminate`,
    /// those are still visible, and the next open shows which of them were kept.
    pub fn sync(&self) -> Result<()> {
        self.core().write(Batch::new(), Durability::Sync)
    }

    /// Writes everything in memory to sstables; returns when they are durable.
    pub fn flush(&self) -> Result<()> {
        let result = self.core().flush();
        self.core().background.wake();
        result
    }

    /// Merges the files of every keyspace as far as possible; see [`Keyspace::compact`].
    pub fn compact(&self) -> Result<()> {
        let keyspaces = self.core().keyspaces.all();
        keyspaces.iter().try_for_each(|keyspace| self.core().compact_keyspace(keyspace))
    }

    /// Makes an independent, writable copy of the database in the new directory `target`, as of one moment in the commit
    /// sequence at or after the call. Sstables are hard-linked where the file system can, so it takes little time and
    /// space; writes go on meanwhile. The copy has an identity of its own.
    ///
    /// # Errors
    /// `InvalidArgument` if `target` exists and is not an empty directory; `ReadOnly` if the database has failed, because
    /// the log may then lack what was acknowledged, or was opened read-only. A read-only database needs no checkpoint:
    /// while it is open nobody can write, so a plain copy of the directory is one. What was made before an error is
    /// removed.
    pub fn checkpoint(&self, target: impl AsRef<Path>) -> Result<()> {
        self.core().checkpoint(target.as_ref())
    }

    /// Reads every byte of every file and checks checksums, order and agreement with the manifest. Blocks for as long as
    /// reading takes; reads and writes go on.
    pub fn verify(&self) -> Result<VerifyReport> {
        self.core().verify()
    }

    /// The counters and gauges as of now.
    pub fn metrics(&self) -> Metrics {
        self.core().collect_metrics()
    }

    /// Whether `other` is a handle on the same open database.
    pub fn is_same(&self, other: &Db) -> bool {
        Arc::ptr_eq(&self.handle, &other.handle)
    }

    /// The directory it lives in.
    pub fn path(&self) -> &Path {
        &self.core().dir
    }

    /// Whether it was opened with [`crate::Background::Threads`]; layers above then may have threads too.
    pub fn has_background_threads(&self) -> bool {
        self.core().has_threads()
    }

    /// The file system, clock and randomness it was opened with; layers above use no others.
    pub fn world(&self) -> &crate::vfs::World {
        &self.core().world
    }

    /// Runs one step of background work; true if there was something to do. For databases that were opened with
    /// [`crate::Background::Manual`]; harmless otherwise.
    pub fn run_background_step(&self, step: BackgroundStep) -> Result<bool> {
        self.core().background_step(step)
    }

    /// Closes the database: finishes the commits in line, ends the threads, seals the log and releases the lock. Every
    /// handle fails with `Closed` from then on. Closing twice is fine.
    ///
    /// # Errors
    /// What a drop could not report: the log could not be written, synced or sealed. The data is as safe as it was.
    pub fn close(&self) -> Result<()> {
        self.core().close()
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.handle.core
    }
}
