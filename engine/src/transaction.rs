//! Optimistic transactions: reads at a snapshot, writes in memory, judged when they commit.
//!
//! Serialisable: a transaction commits only if nothing that it read (keys, absent keys and the scanned parts of ranges)
//! was changed by a commit after its snapshot; so it could as well have run at the moment of its commit.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque, btree_map};
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;
use esker_base::limits::KEY_LEN_MAX;
use esker_base::{Error, KeyspaceId, Result, mutant};

use crate::commit::history::ReadSet;
use crate::cursor::{Bounds, Range};
use crate::db::DbHandle;
use crate::keyspace::Keyspace;
use crate::sync::Mutex;
use crate::{Batch, Durability, Snapshot, Value};

/// A transaction: it reads the database as of its start plus its own writes, and commits all of them or none.
///
/// `commit` fails with [`crate::ErrorKind::Conflict`] if another commit changed what it read: run it again. Transactions
/// that only read never conflict. Dropping one rolls it back. Keep them short: while one is open, recent writes are
/// remembered (up to 16 MiB of keys, then older transactions get Conflict).
///
/// ```
/// # fn main() -> esker::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// let db = esker::Db::open(dir.path())?;
/// let accounts = db.keyspace("accounts")?;
/// accounts.put(b"alice", b"10")?;
/// loop {
///     let mut tx = db.transaction()?;
///     let balance = tx.get(&accounts, b"alice")?.unwrap_or_default();
///     tx.put(&accounts, b"bob", &balance)?;
///     tx.delete(&accounts, b"alice")?;
///     match tx.commit() {
///         Err(error) if error.is_retryable() => continue,
///         other => break other?,
///     }
/// }
/// assert_eq!(accounts.get(b"bob")?.as_deref(), Some(&b"10"[..]));
/// # Ok(())
/// # }
/// ```
pub struct Transaction {
    db: Arc<DbHandle>,
    snapshot: Snapshot,
    reads: Arc<Mutex<ReadSet>>,
    /// By keyspace, so that a range of one can be walked.
    writes: BTreeMap<KeyspaceId, (Keyspace, Overlay)>,
}

/// The transaction's own writes in one keyspace; `None` is a delete.
type Overlay = BTreeMap<Vec<u8>, Option<Bytes>>;

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction").field("snapshot", &self.snapshot).finish_non_exhaustive()
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.db.core.history.end(self.snapshot.seq());
    }
}

impl Transaction {
    pub(crate) fn begin(db: &Arc<DbHandle>) -> Transaction {
        let core = &db.core;
        let mut taken = None;
        let joined = core.history.join(|| {
            let snapshot = Snapshot::take(&core.snapshots);
            taken.insert(snapshot).seq()
        });
        let snapshot = match taken.filter(|_| joined) {
            Some(snapshot) => snapshot,
            None => {
                // Recording starts here: under the log's lock no commit is under way, so none is missed.
                let _log = (!mutant!("race_history_unlocked")).then(|| core.log.lock());
                let snapshot = Snapshot::take(&core.snapshots);
                core.history.begin(snapshot.seq());
                snapshot
            }
        };
        let reads = ReadSet { start: snapshot.seq(), ..ReadSet::default() };
        let reads = Arc::new(Mutex::new(reads));
        Transaction { db: Arc::clone(db), snapshot, reads, writes: BTreeMap::new() }
    }

    /// The value of `key`, with the transaction's own writes.
    pub fn get(&self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        let key = key.as_ref();
        self.check_own(keyspace)?;
        if let Some((_, overlay)) = self.writes.get(&keyspace.id())
            && let Some(own) = overlay.get(key)
        {
            return Ok(own.clone());
        }
        let value = keyspace.get_at(&self.snapshot, key)?;
        if value.is_some() || !mutant!("commit_absent_key_forgotten") {
            self.reads.lock().keys.insert((keyspace.id(), key.to_vec()));
        }
        Ok(value)
    }

    /// Whether `key` has a value, with the transaction's own writes.
    pub fn contains(&self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.get(keyspace, key)?.is_some())
    }

    /// The entries in `range` with the transaction's own writes so far, from either end. What it walks over counts as
    /// read, the gaps too.
    pub fn range<K: AsRef<[u8]>>(
        &self,
        keyspace: &Keyspace,
        range: impl RangeBounds<K>,
    ) -> TransactionRange {
        self.walk(keyspace, Bounds::new(range))
    }

    /// As [`Transaction::range`], over the keys that start with `prefix`.
    pub fn prefix(&self, keyspace: &Keyspace, prefix: impl AsRef<[u8]>) -> TransactionRange {
        self.walk(keyspace, Bounds::prefix(prefix.as_ref()))
    }

    fn walk(&self, keyspace: &Keyspace, bounds: Bounds) -> TransactionRange {
        let base = keyspace.range_at(&self.snapshot, (bounds.start.clone(), bounds.end.clone()));
        let own = self.writes.get(&keyspace.id()).map(|(_, overlay)| overlay);
        let own = own.into_iter().flat_map(|overlay| overlay.iter());
        let own = own.filter(|(key, _)| bounds.contains(key));
        TransactionRange {
            base,
            peeked_front: None,
            peeked_back: None,
            own: own.map(|(key, value)| (Bytes::copy_from_slice(key), value.clone())).collect(),
            marker: ReadMarker {
                reads: Arc::clone(&self.reads),
                keyspace: keyspace.id(),
                bounds,
                front: None,
                back: None,
            },
        }
    }

    /// Sets `key` to `value` when the transaction commits.
    pub fn put(
        &mut self,
        keyspace: &Keyspace,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<()> {
        self.set(keyspace, key.as_ref(), Some(Bytes::copy_from_slice(value.as_ref())))
    }

    /// Removes `key` when the transaction commits.
    pub fn delete(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<()> {
        self.set(keyspace, key.as_ref(), None)
    }

    /// Ids count in one database only, so a keyspace of another could pass for one of this.
    fn check_own(&self, keyspace: &Keyspace) -> Result<()> {
        if Arc::ptr_eq(&self.db, &keyspace.db) {
            return Ok(());
        }
        Err(Error::invalid("the keyspace is of another database than the transaction"))
    }

    fn set(&mut self, keyspace: &Keyspace, key: &[u8], value: Option<Bytes>) -> Result<()> {
        self.check_own(keyspace)?;
        if key.len() > KEY_LEN_MAX {
            let len = key.len();
            return Err(Error::invalid(format!("key of {len} bytes is over {KEY_LEN_MAX}")));
        }
        let (_, overlay) = match self.writes.entry(keyspace.id()) {
            btree_map::Entry::Occupied(entry) => entry.into_mut(),
            btree_map::Entry::Vacant(entry) => entry.insert((keyspace.clone(), Overlay::new())),
        };
        overlay.insert(key.to_vec(), value);
        Ok(())
    }

    /// The snapshot that the transaction reads.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Commits with the database's default durability.
    ///
    /// # Errors
    /// `Conflict` if what it read was changed since it began; nothing was written. Otherwise as of [`crate::Db::write`].
    pub fn commit(self) -> Result<()> {
        let durability = self.db.core.options.durability;
        self.commit_with(durability)
    }

    /// As [`Transaction::commit`], with a durability of its own.
    pub fn commit_with(mut self, durability: Durability) -> Result<()> {
        let mut batch = Batch::new();
        for (keyspace, overlay) in std::mem::take(&mut self.writes).into_values() {
            for (key, value) in overlay {
                match value {
                    Some(value) => batch.put(&keyspace, key, value),
                    None => batch.delete(&keyspace, key),
                }
            }
        }
        if batch.is_empty() && batch.error.is_none() {
            // It read one consistent state, and changed nothing: it could have run at its start.
            return self.db.core.check_open();
        }
        let reads = std::mem::take(&mut *self.reads.lock());
        self.db.core.write_checked(batch, durability, Some(reads))
    }
}

/// The entries of a range as a transaction sees them. Each step extends what the transaction has read.
pub struct TransactionRange {
    base: Range,
    /// An entry of the base that was looked at but not yielded, from the front and from the back.
    peeked_front: Option<(Bytes, Bytes)>,
    peeked_back: Option<(Bytes, Bytes)>,
    own: VecDeque<(Bytes, Option<Bytes>)>,
    marker: ReadMarker,
}

impl std::fmt::Debug for TransactionRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransactionRange").field("base", &self.base).finish_non_exhaustive()
    }
}

/// Records how far a range was read from each end.
struct ReadMarker {
    reads: Arc<Mutex<ReadSet>>,
    keyspace: KeyspaceId,
    bounds: Bounds,
    /// Where the ends' parts stand in the read set, once they have made a step.
    front: Option<usize>,
    back: Option<usize>,
}

impl ReadMarker {
    /// The front has read up to `reached`, or all.
    fn read_front(&mut self, reached: Option<&Bytes>) {
        let end = reached.map_or(self.bounds.end.clone(), |key| Bound::Included(key.to_vec()));
        let part = Bounds { start: self.bounds.start.clone(), end };
        self.front = Some(self.record(self.front, part));
    }

    /// The back has read down to `reached`, or all.
    fn read_back(&mut self, reached: Option<&Bytes>) {
        let start = reached.map_or(self.bounds.start.clone(), |key| Bound::Included(key.to_vec()));
        let part = Bounds { start, end: self.bounds.end.clone() };
        self.back = Some(self.record(self.back, part));
    }

    fn record(&self, at: Option<usize>, part: Bounds) -> usize {
        let mut reads = self.reads.lock();
        match at.and_then(|at| Some((at, reads.ranges.get_mut(at)?))) {
            Some((at, known)) => {
                known.1 = part;
                at
            }
            None => {
                reads.ranges.push((self.keyspace, part));
                reads.ranges.len() - 1
            }
        }
    }
}

impl TransactionRange {
    fn base_front(&mut self) -> Result<Option<(Bytes, Bytes)>> {
        match self.peeked_front.take() {
            Some(entry) => Ok(Some(entry)),
            // What the back has looked at is the last that the front can get.
            None => Ok(self.base.next().transpose()?.or_else(|| self.peeked_back.take())),
        }
    }

    fn base_back(&mut self) -> Result<Option<(Bytes, Bytes)>> {
        match self.peeked_back.take() {
            Some(entry) => Ok(Some(entry)),
            None => Ok(self.base.next_back().transpose()?.or_else(|| self.peeked_front.take())),
        }
    }

    fn step_front(&mut self) -> Result<Option<(Bytes, Bytes)>> {
        loop {
            let base = self.base_front()?;
            let order = match (&base, self.own.front()) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((key, _)), Some((own, _))) => key.cmp(own),
            };
            if order == Ordering::Less {
                return Ok(base);
            }
            if order == Ordering::Greater {
                self.peeked_front = base;
            }
            // The transaction's own write wins over what it overwrites; a delete hides it.
            if let Some((key, Some(value))) = self.own.pop_front() {
                return Ok(Some((key, value)));
            }
        }
    }

    fn step_back(&mut self) -> Result<Option<(Bytes, Bytes)>> {
        loop {
            let base = self.base_back()?;
            let order = match (&base, self.own.back()) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Greater,
                (None, Some(_)) => Ordering::Less,
                (Some((key, _)), Some((own, _))) => key.cmp(own),
            };
            if order == Ordering::Greater {
                return Ok(base);
            }
            if order == Ordering::Less {
                self.peeked_back = base;
            }
            if let Some((key, Some(value))) = self.own.pop_back() {
                return Ok(Some((key, value)));
            }
        }
    }
}

impl Iterator for TransactionRange {
    type Item = Result<(Bytes, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step_front();
        if let Ok(entry) = &step {
            self.marker.read_front(entry.as_ref().map(|(key, _)| key));
        }
        step.transpose()
    }
}

impl DoubleEndedIterator for TransactionRange {
    fn next_back(&mut self) -> Option<Self::Item> {
        let step = self.step_back();
        if let Ok(entry) = &step {
            self.marker.read_back(entry.as_ref().map(|(key, _)| key));
        }
        step.transpose()
    }
}
