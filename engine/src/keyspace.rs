//! Keyspaces: named, ordered maps that share one log and one commit sequence.

use std::ops::RangeBounds;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use esker_base::{BatchOp, EntryKind, Error, ErrorKind, KeyspaceId, Result, SeqNo, mutant};
use esker_manifest::KeyspaceMeta;
use esker_memtable::Memtable;

use crate::cursor::Range;
use crate::db::DbHandle;
use crate::metrics::Counters;
use crate::sync::{ArcSwap, AtomicBool, AtomicU64, Mutex};
use crate::view::{Levels, View};
use crate::{Durability, Snapshot, Value, cursor, read};

/// What all handles of one keyspace share.
#[derive(Debug)]
pub(crate) struct KeyspaceInner {
    pub(crate) meta: Arc<KeyspaceMeta>,
    /// What readers look at. Loaded without a lock; replaced under `change`.
    view: ArcSwap<View>,
    /// Guards the replacement of `view`. Taken after the commit log and the manifest; a leaf.
    change: Mutex<()>,
    /// Set when the keyspace is dropped, and only unset if that fails.
    dropped: AtomicBool,
    /// The active memtable's bytes as the metrics have them. Changed under the log's lock.
    accounted: AtomicU64,
}

impl KeyspaceInner {
    pub(crate) fn new(meta: Arc<KeyspaceMeta>, levels: Levels) -> KeyspaceInner {
        let view = View {
            active: Arc::new(Memtable::new()),
            frozen: Vec::new(),
            levels: Arc::new(levels),
        };
        KeyspaceInner {
            meta,
            view: ArcSwap::from_pointee(view),
            change: Mutex::new(()),
            dropped: AtomicBool::new(false),
            accounted: AtomicU64::new(0),
        }
    }

    /// Notes how many bytes of the active memtable the metrics count; what they counted before.
    pub(crate) fn set_accounted(&self, bytes: u64) -> u64 {
        self.accounted.swap(bytes, Ordering::Relaxed)
    }

    pub(crate) fn id(&self) -> KeyspaceId {
        self.meta.id
    }

    /// The current view, kept alive by the result.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// The current view for a short look, without touching its reference count.
    pub(crate) fn view_guard(&self) -> arc_swap::Guard<Arc<View>> {
        self.view.load()
    }

    /// Replaces the view by what `change` makes of it.
    pub(crate) fn replace_view(&self, change: impl FnOnce(&View) -> View) {
        let _guard = self.change.lock();
        let next = change(&self.view.load());
        self.view.store(Arc::new(next));
    }

    /// Moves a non-empty active memtable to the frozen ones. Only under the commit log's lock, so that no commit is
    /// half in the old and half in the new.
    pub(crate) fn freeze(&self) -> bool {
        if self.view.load().active.is_empty() {
            return false;
        }
        self.replace_view(|view| {
            let mut frozen = Vec::with_capacity(view.frozen.len() + 1);
            frozen.push(Arc::clone(&view.active));
            frozen.extend(view.frozen.iter().cloned());
            // Keys tend to start alike; the next memtable compares faster if it knows how.
            let next = Memtable::with_common_prefix(view.active.common_prefix());
            View { active: Arc::new(next), frozen, levels: Arc::clone(&view.levels) }
        });
        true
    }

    /// Whether a frozen memtable holds an entry at or below `seq`.
    pub(crate) fn has_frozen_through(&self, seq: SeqNo) -> bool {
        let view = self.view.load();
        view.frozen.last().and_then(|oldest| oldest.first_seq()).is_some_and(|first| first <= seq)
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Acquire)
    }

    pub(crate) fn set_dropped(&self, dropped: bool) {
        self.dropped.store(dropped, Ordering::Release);
    }

    pub(crate) fn check_live(&self) -> Result<()> {
        if self.is_dropped() {
            let message = format!("keyspace {:?} was dropped", self.meta.name);
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        Ok(())
    }
}

/// A named, ordered map of byte keys to byte values. A cheap clone; the database stays open while one lives.
///
/// Keys are 0 to 65,536 bytes, ordered by unsigned bytes; a value must fit into a batch of 64 MiB. Every method fails
/// with `NotFound` once the keyspace is dropped and with `Closed` once the database is.
///
/// ```
/// # fn main() -> esker::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// let db = esker::Db::open(dir.path())?;
/// let users = db.keyspace("users")?;
/// users.put(b"alice", b"engineer")?;
/// assert_eq!(users.get(b"alice")?.as_deref(), Some(&b"engineer"[..]));
/// for entry in users.prefix(b"al") {
///     let (key, value) = entry?;
///     assert_eq!((&key[..], &value[..]), (&b"alice"[..], &b"engineer"[..]));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Keyspace {
    pub(crate) db: Arc<DbHandle>,
    pub(crate) inner: Arc<KeyspaceInner>,
}

impl std::fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyspace").field("name", &self.name()).field("id", &self.id()).finish()
    }
}

impl Keyspace {
    /// The name it was created with.
    pub fn name(&self) -> &str {
        &self.inner.meta.name
    }

    /// Its number, never used again for another keyspace.
    pub fn id(&self) -> KeyspaceId {
        self.inner.id()
    }

    /// Sets `key` to `value`; returns once the write has the database's default durability.
    ///
    /// # Errors
    /// As of [`crate::Db::write`].
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.put_with(key, value, self.db.core.options.durability)
    }

    /// As [`Keyspace::put`], with a durability of its own.
    pub fn put_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        durability: Durability,
    ) -> Result<()> {
        self.write_op(EntryKind::Put, key.as_ref(), value.as_ref(), durability)
    }

    /// Removes `key`; not an error if it is absent.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.write_op(EntryKind::Delete, key.as_ref(), &[], self.db.core.options.durability)
    }

    fn write_op(
        &self,
        kind: EntryKind,
        key: &[u8],
        value: &[u8],
        durability: Durability,
    ) -> Result<()> {
        let op = BatchOp { kind, keyspace: self.id(), key, value };
        self.db.core.write_op(&self.inner, op, durability)
    }

    /// The value of `key`, or `None`.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.look(|view, seq, metrics| read::get(view, key.as_ref(), seq, metrics))
    }

    /// Calls `use_it` on the value of `key` where it lies, without copying it; `None` if the key is absent.
    pub fn get_and<T>(
        &self,
        key: impl AsRef<[u8]>,
        use_it: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>> {
        self.look(|view, seq, metrics| read::get_with(view, key.as_ref(), seq, metrics, use_it))
    }

    /// The values of several keys, all from one moment, in the order asked. Faster than one after the other: what they
    /// need of memory and devices is fetched together.
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value>>> {
        self.look(|view, seq, metrics| read::get_many(view, keys, seq, metrics))
    }

    /// Reads the latest state.
    fn look<T>(&self, read: impl FnOnce(&View, SeqNo, &Counters) -> Result<T>) -> Result<T> {
        self.check()?;
        let before = mutant!("race_sequence_before_view").then(|| self.db.core.snapshots.visible());
        // I1: the view first, the visible sequence second.
        let view = self.inner.view_guard();
        let seq = before.unwrap_or_else(|| self.db.core.snapshots.visible());
        read(&view, seq, &self.db.core.metrics)
    }

    /// The value of `key` as `snapshot` sees it.
    pub fn get_at(&self, snapshot: &Snapshot, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.check_snapshot(snapshot)?;
        let view = self.inner.view_guard();
        read::get(&view, key.as_ref(), snapshot.seq(), &self.db.core.metrics)
    }

    /// Whether `key` has a value.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.get_and(key, |_| ())?.is_some())
    }

    /// The entries whose keys lie in `range`, from either end, as of now.
    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Range {
        let view = self.inner.view();
        let seq = self.db.core.snapshots.visible();
        self.cursor(view, seq, cursor::Bounds::new(range), self.check())
    }

    /// As [`Keyspace::range`], as `snapshot` sees it.
    pub fn range_at<K: AsRef<[u8]>>(
        &self,
        snapshot: &Snapshot,
        range: impl RangeBounds<K>,
    ) -> Range {
        let checked = self.check_snapshot(snapshot);
        self.cursor(self.inner.view(), snapshot.seq(), cursor::Bounds::new(range), checked)
    }

    /// The entries whose keys start with `prefix`, from either end, as of now.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Range {
        let view = self.inner.view();
        let seq = self.db.core.snapshots.visible();
        self.cursor(view, seq, cursor::Bounds::prefix(prefix.as_ref()), self.check())
    }

    /// As [`Keyspace::prefix`], as `snapshot` sees it.
    pub fn prefix_at(&self, snapshot: &Snapshot, prefix: impl AsRef<[u8]>) -> Range {
        let checked = self.check_snapshot(snapshot);
        let bounds = cursor::Bounds::prefix(prefix.as_ref());
        self.cursor(self.inner.view(), snapshot.seq(), bounds, checked)
    }

    /// Every entry, from either end, as of now.
    pub fn iter(&self) -> Range {
        self.range::<&[u8]>(..)
    }

    fn cursor(
        &self,
        view: Arc<View>,
        seq: SeqNo,
        bounds: cursor::Bounds,
        checked: Result<()>,
    ) -> Range {
        self.db.core.metrics.reads.add(1);
        Range::new(view, seq, bounds, checked.err())
    }

    /// Flushes the keyspace and merges all files that it has then into its last level. Blocks; reclaims the space of
    /// overwritten and deleted entries that no snapshot sees. A FIFO keyspace is only flushed.
    pub fn compact(&self) -> Result<()> {
        self.check()?;
        self.db.core.compact_keyspace(&self.inner)
    }

    fn check(&self) -> Result<()> {
        self.db.core.check_open()?;
        self.inner.check_live()
    }

    fn check_snapshot(&self, snapshot: &Snapshot) -> Result<()> {
        self.check()?;
        if !snapshot.is_of(&self.db.core.snapshots) {
            return Err(Error::invalid("the snapshot is of another database"));
        }
        Ok(())
    }
}
