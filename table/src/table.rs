//! A table that is open: its catalog record, its keyspace, its indexes and its counts. Made by CreateTable and
//! at open, shared by every operation on the table. Counts change here and nowhere else.
//!
//! **Counts.** A write's batch carries the table's new counts, as absolute numbers. They are
//! computed and the batch is put in line under the counter's lock, so the line has them in the
//! order in which they build on each other; and as the engine commits in line order and recovers a
//! prefix of it, the counts on disk are always those of the items on disk. The lock is not held
//! while the commit is under way, so writes share syncs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use esker::{Batch, Db, Durability, Keyspace, PendingCommit, mutant};
use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::catalog::{self, TableRecord};
use crate::error::{Result, TableError};
use crate::index::{Index, IndexUnits};
use crate::key_schema::TableKey;
use crate::message;
use crate::schema::TableDescription;
use crate::settings::Settings;
use crate::throttle::Buckets;

/// How many items there are, and the sum of their logical sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) items: u64,
    pub(crate) bytes: u64,
}

/// The counts of a table and of each of its indexes, these with their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TableCounts {
    pub(crate) table: Counts,
    pub(crate) indexes: Vec<(u32, Counts)>,
}

/// How a write changes the counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CountsDelta {
    pub(crate) items: i64,
    pub(crate) bytes: i64,
}

impl CountsDelta {
    /// What replacing an item of one size by one of another changes; `None` is no item.
    pub(crate) fn of(old_bytes: Option<u32>, new_bytes: Option<u32>) -> Self {
        let items = |size: Option<u32>| i64::from(size.is_some());
        let bytes = |size: Option<u32>| i64::from(size.unwrap_or(0));
        Self {
            items: items(new_bytes) - items(old_bytes),
            bytes: bytes(new_bytes) - bytes(old_bytes),
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.items += other.items;
        self.bytes += other.bytes;
    }

    fn negated(self) -> Self {
        Self { items: -self.items, bytes: -self.bytes }
    }
}

/// How writes change the counts of a table and of each of its indexes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TableDelta {
    pub(crate) table: CountsDelta,
    /// By the ids of the indexes; those that are not there do not change.
    pub(crate) indexes: Vec<(u32, CountsDelta)>,
    /// Bytes by the hashes of item collections, in a table with local indexes. They are not counts, and in no batch.
    pub(crate) collections: Vec<(u64, i64)>,
}

impl TableDelta {
    /// Adds what a write changes in an index.
    pub(crate) fn add_of_index(&mut self, index_id: u32, delta: CountsDelta) {
        match self.indexes.iter_mut().find(|(id, _)| *id == index_id) {
            Some((_, sum)) => sum.add(delta),
            None => self.indexes.push((index_id, delta)),
        }
    }

    fn is_none(&self) -> bool {
        let none = CountsDelta::default();
        self.table == none && self.indexes.iter().all(|(_, index)| *index == none)
    }

    fn negated(&self) -> Self {
        Self {
            table: self.table.negated(),
            indexes: self.indexes.iter().map(|(id, delta)| (*id, delta.negated())).collect(),
            collections: Vec::new(),
        }
    }
}

impl Counts {
    fn changed_by(self, delta: CountsDelta) -> Self {
        Self {
            items: self.items.saturating_add_signed(delta.items),
            bytes: self.bytes.saturating_add_signed(delta.bytes),
        }
    }
}

impl TableCounts {
    /// The counts of an index; none where it is not known.
    pub(crate) fn of_index(&self, index_id: u32) -> Counts {
        let known = self.indexes.iter().find(|(id, _)| *id == index_id);
        known.map_or(Counts::default(), |(_, counts)| *counts)
    }

    fn changed_by(&self, delta: &TableDelta) -> Self {
        let mut changed =
            Self { table: self.table.changed_by(delta.table), indexes: self.indexes.clone() };
        for (id, delta) in &delta.indexes {
            // One that is being deleted is not counted any more.
            if let Some((_, counts)) = changed.indexes.iter_mut().find(|(known, _)| known == id) {
                *counts = counts.changed_by(*delta);
            }
        }
        changed
    }
}

/// What readers are told of counts: only what is committed.
pub(crate) struct Published {
    items: AtomicU64,
    bytes: AtomicU64,
}

impl Published {
    pub(crate) fn new(counts: Counts) -> Self {
        Self { items: AtomicU64::new(counts.items), bytes: AtomicU64::new(counts.bytes) }
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            items: self.items.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn add(&self, delta: CountsDelta) {
        // Wrapping addition of a two's complement number is signed addition.
        self.items.fetch_add(delta.items.cast_unsigned(), Ordering::Relaxed);
        self.bytes.fetch_add(delta.bytes.cast_unsigned(), Ordering::Relaxed);
    }
}

/// An open table, with the indexes that it has now. A table that gets or loses one is followed by
/// another, which shares everything else: see [`Table::latest`].
pub(crate) struct Table {
    pub(crate) name: String,
    /// As it was when the table was opened: what UpdateTable changes is in the settings.
    pub(crate) record: TableRecord,
    pub(crate) key: TableKey,
    pub(crate) items: Keyspace,
    /// In the order of the record, without those that are being deleted.
    pub(crate) indexes: Vec<Index>,
    shared: Arc<Shared>,
    successor: OnceLock<Arc<Table>>,
}

/// What a table and those that follow it have in common.
struct Shared {
    /// Taken after item locks, several in the order of table ids; the engine's line comes after it.
    counter: Mutex<Counter>,
    published: Published,
    /// Replaced by UpdateTable. A leaf.
    settings: RwLock<Arc<Settings>>,
    buckets: Buckets,
}

/// Guards the counts of everything that is in line, and whether the table takes writes.
pub(crate) struct Counter {
    in_line: TableCounts,
    deleted: bool,
}

impl Table {
    pub(crate) fn new(
        name: String,
        record: TableRecord,
        items: Keyspace,
        index_entries: Vec<Keyspace>,
        counts: TableCounts,
        settings: Settings,
    ) -> Result<Self> {
        let kept = record.kept_indexes()?;
        let indexes: Vec<Index> = (kept.into_iter().zip(index_entries))
            .map(|((index, shape), entries)| {
                let counts = counts.of_index(index.index_id);
                Index::new(index.clone(), shape, entries, counts)
            })
            .collect();
        let key = record.table_key()?;
        let published = Published::new(counts.table);
        let counts = TableCounts { table: counts.table, indexes: counts_of(&indexes) };
        let counter = Mutex::new(Counter { in_line: counts, deleted: false });
        let settings = RwLock::new(Arc::new(settings));
        let buckets = Buckets::default();
        let shared = Arc::new(Shared { counter, published, settings, buckets });
        Ok(Self { name, key, record, items, indexes, shared, successor: OnceLock::new() })
    }

    /// What is to follow this table when its record changes; `added` is the keyspace of an index that
    /// comes, which is the record's last. Nothing changes before [`Table::follow`].
    pub(crate) fn successor(&self, record: TableRecord, added: Option<Keyspace>) -> Result<Self> {
        let mut added = added.into_iter();
        let mut indexes = Vec::with_capacity(record.indexes.len());
        for (index, shape) in record.kept_indexes()? {
            let known = self.indexes.iter().find(|known| known.id() == index.index_id);
            indexes.push(match (known, known.is_none().then(|| added.next()).flatten()) {
                (Some(known), _) => known.with_record(index.clone()),
                (None, Some(entries)) => {
                    Index::new(index.clone(), shape, entries, Counts::default())
                }
                (None, None) => return Err(TableError::internal(message::KEYSPACE_MISSING)),
            });
        }
        Ok(Self {
            name: self.name.clone(),
            key: record.table_key()?,
            record,
            items: self.items.clone(),
            indexes,
            shared: Arc::clone(&self.shared),
            successor: OnceLock::new(),
        })
    }

    /// Has this table be followed by its [`Table::successor`]. Only under the control lock, when the
    /// catalog has the record; so it cannot fail.
    pub(crate) fn follow(&self, next: Self) -> Arc<Self> {
        let next = Arc::new(next);
        self.shared.counter.lock().keep_indexes(&next.indexes);
        let is_first = self.successor.set(Arc::clone(&next)).is_ok();
        debug_assert!(is_first, "a table is followed once, under the control lock");
        next
    }

    /// The table as it is now, if it was followed by another. A write asks this when it has locked its
    /// items: from then on until they are unlocked it may go on with what it is told. Whoever follows
    /// a table waits until all items that were locked at that moment are unlocked, and then knows that
    /// every write goes by the new one.
    pub(crate) fn latest(&self) -> Option<&Arc<Self>> {
        let mut latest = self.successor.get()?;
        while let Some(next) = latest.successor.get() {
            latest = next;
        }
        Some(latest)
    }

    /// The index of a name.
    ///
    /// # Errors
    /// `Validation` if there is none, or none yet.
    pub(crate) fn index(&self, name: &str) -> Result<&Index> {
        match self.indexes.iter().find(|index| index.record.name == name) {
            None => Err(TableError::validation(message::index_not_found(name))),
            Some(index) if index.is_being_filled() => {
                Err(TableError::validation(message::index_being_filled(name)))
            }
            Some(index) => Ok(index),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.record.table_id
    }

    pub(crate) fn local_indexes(&self) -> impl Iterator<Item = &Index> {
        self.indexes.iter().filter(|index| !index.shape.is_global)
    }

    /// The committed bytes of the items and of their entries in local indexes.
    pub(crate) fn collected_bytes(&self) -> u64 {
        let local: u64 = self.local_indexes().map(|index| index.counts().bytes).sum();
        self.shared.published.counts().bytes + local
    }

    /// What may be used of it.
    pub(crate) fn buckets(&self) -> &Buckets {
        &self.shared.buckets
    }

    /// The indexes that a write used, and how many units of each. One that came after the write began is in a later table
    /// only.
    pub(crate) fn used_indexes(&self, units: &IndexUnits) -> impl Iterator<Item = (&Index, f64)> {
        units.iter().filter_map(|(id, units)| {
            self.indexes.iter().find(|index| index.id() == *id).map(|index| (index, *units))
        })
    }

    /// The counts of what is committed.
    fn counts(&self) -> TableCounts {
        TableCounts { table: self.shared.published.counts(), indexes: counts_of(&self.indexes) }
    }

    pub(crate) fn describe(&self, now_ms: u64) -> TableDescription {
        let mut of_record = self.record.describe(&self.name, &self.counts());
        for index in self.indexes.iter().filter(|index| index.is_being_filled()) {
            let shown = (of_record.global_secondary_indexes.iter_mut())
                .find(|shown| shown.index_name == index.record.name);
            if let Some(shown) = shown {
                shown.backfilling = Some(index.is_backfilling());
            }
        }
        self.settings().describe(&self.record, of_record, now_ms)
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.shared.settings.read())
    }

    /// Only under the control lock, once the catalog has them.
    pub(crate) fn set_settings(&self, settings: Settings) {
        *self.shared.settings.write() = Arc::new(settings);
    }

    /// Locks the counts for a write, unless the table was deleted.
    pub(crate) fn lock_counter(&self) -> Result<MutexGuard<'_, Counter>> {
        let counter = self.shared.counter.lock();
        if counter.deleted {
            return Err(TableError::not_found(message::TABLE_NOT_FOUND));
        }
        Ok(counter)
    }

    /// Says that a write is committed.
    pub(crate) fn publish(&self, delta: &TableDelta) {
        if delta.is_none() {
            return;
        }
        self.shared.published.add(delta.table);
        // Of several writes in one commit, later ones may know indexes that the first does not.
        let latest = self.latest().map_or(self, Arc::as_ref);
        for (id, delta) in &delta.indexes {
            if let Some(index) = latest.indexes.iter().find(|index| index.id() == *id) {
                index.publish(*delta);
            }
        }
    }

    /// Takes back the counts of a write that failed. Writes behind it in line may carry counts that
    /// include it, so the right ones are put in line behind them. If that fails as well, the next
    /// write brings them.
    pub(crate) fn withdraw(&self, db: &Db, catalog: &Keyspace, delta: &TableDelta) {
        if delta.is_none() || mutant!("items_failed_write_counted") {
            return;
        }
        let mut counter = self.shared.counter.lock();
        counter.in_line = counter.in_line.changed_by(&delta.negated());
        if !counter.deleted {
            let mut batch = db.batch();
            catalog::put_counts(&mut batch, catalog, self.id(), &counter.in_line);
            drop(db.submit(batch));
        }
    }

    /// Puts the deletion of the table in line; no write follows it.
    pub(crate) fn submit_deletion(&self, db: &Db, catalog: &Keyspace) -> Result<PendingCommit> {
        let mut counter = self.lock_counter()?;
        let mut batch = db.batch();
        catalog::delete_table(&mut batch, catalog, &self.name, self.id());
        // The keyspace goes durably after it, whatever the default of writes.
        let pending = db.submit_with(batch, Durability::Sync)?;
        counter.deleted = true;
        Ok(pending)
    }

    /// The deletion failed: the table takes writes again.
    pub(crate) fn revive(&self) {
        self.shared.counter.lock().deleted = false;
    }
}

fn counts_of(indexes: &[Index]) -> Vec<(u32, Counts)> {
    indexes.iter().map(|index| (index.id(), index.counts())).collect()
}

impl Counter {
    /// Counts these indexes and no others.
    fn keep_indexes(&mut self, indexes: &[Index]) {
        let of_index = |index: &Index| (index.id(), self.in_line.of_index(index.id()));
        self.in_line.indexes = indexes.iter().map(of_index).collect();
    }

    /// The counts with a change; put into a batch unless nothing changes.
    pub(crate) fn put_changed(
        &self,
        batch: &mut Batch,
        catalog: &Keyspace,
        table_id: u64,
        delta: &TableDelta,
    ) -> TableCounts {
        let counts = self.in_line.changed_by(delta);
        if !delta.is_none() && !mutant!("items_counts_not_stored") {
            catalog::put_counts(batch, catalog, table_id, &counts);
        }
        counts
    }

    /// The batch is in line.
    pub(crate) fn set(&mut self, counts: TableCounts) {
        self.in_line = counts;
    }
}
