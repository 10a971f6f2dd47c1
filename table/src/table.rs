//! A table that is open: its catalog record, its keyspace, its indexes and its counts. Made by CreateTable and
//! at open, shared by every operation on the table. Counts change here and nowhere else.
//!
//! **Counts.** A write's batch carries the table's new counts, as absolute numbers. They are
//! computed and the batch is put in line under the counter's lock, so the line has them in the
//! order in which they build on each other; and as the engine commits in line order and recovers a
//! prefix of it, the counts on disk are always those of the items on disk. The lock is not held
//! while the commit is under way, so writes share syncs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use esker::{Batch, Db, Durability, Keyspace, PendingCommit, mutant};
use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::catalog::{self, TableRecord};
use crate::error::{Result, TableError};
use crate::index::Index;
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
    /// Empty, or one for each index of the table.
    pub(crate) indexes: Vec<CountsDelta>,
}

impl TableDelta {
    fn is_none(&self) -> bool {
        let none = CountsDelta::default();
        self.table == none && self.indexes.iter().all(|index| *index == none)
    }

    fn negated(&self) -> Self {
        Self {
            table: self.table.negated(),
            indexes: self.indexes.iter().map(|index| index.negated()).collect(),
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
    fn changed_by(&self, delta: &TableDelta) -> Self {
        let mut changed =
            Self { table: self.table.changed_by(delta.table), indexes: self.indexes.clone() };
        for ((_, counts), delta) in changed.indexes.iter_mut().zip(&delta.indexes) {
            *counts = counts.changed_by(*delta);
        }
        changed
    }
}

/// An open table.
pub(crate) struct Table {
    pub(crate) name: String,
    /// As it was when the table was opened: what UpdateTable changes is in the settings.
    pub(crate) record: TableRecord,
    pub(crate) key: TableKey,
    pub(crate) items: Keyspace,
    /// In the order of the record.
    pub(crate) indexes: Vec<Index>,
    /// Taken after item locks, several in the order of table ids; the engine's line comes after it.
    counter: Mutex<Counter>,
    /// Replaced by UpdateTable. A leaf.
    settings: RwLock<Arc<Settings>>,
    pub(crate) buckets: Buckets,
    /// What readers are told: only what is committed.
    published_items: AtomicU64,
    published_bytes: AtomicU64,
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
        let shapes = record.index_shapes()?.into_iter();
        let counted = record.indexes.iter().zip(&counts.indexes);
        let indexes = (counted.zip(shapes).zip(index_entries))
            .map(|(((index, (_, counts)), shape), entries)| {
                Index::new(index.clone(), shape, entries, *counts)
            })
            .collect();
        Ok(Self {
            name,
            key: record.table_key()?,
            record,
            items,
            indexes,
            published_items: AtomicU64::new(counts.table.items),
            published_bytes: AtomicU64::new(counts.table.bytes),
            counter: Mutex::new(Counter { in_line: counts, deleted: false }),
            buckets: Buckets::default(),
            settings: RwLock::new(Arc::new(settings)),
        })
    }

    /// The index of a name.
    ///
    /// # Errors
    /// `Validation` if there is none.
    pub(crate) fn index(&self, name: &str) -> Result<&Index> {
        (self.indexes.iter().find(|index| index.record.name == name))
            .ok_or_else(|| TableError::validation(message::index_not_found(name)))
    }

    pub(crate) fn id(&self) -> u64 {
        self.record.table_id
    }

    /// The counts of what is committed.
    fn counts(&self) -> TableCounts {
        let index = |index: &Index| (index.record.index_id, index.counts());
        TableCounts {
            table: Counts {
                items: self.published_items.load(Ordering::Relaxed),
                bytes: self.published_bytes.load(Ordering::Relaxed),
            },
            indexes: self.indexes.iter().map(index).collect(),
        }
    }

    pub(crate) fn describe(&self, now_ms: u64) -> TableDescription {
        self.settings().describe(self.record.describe(&self.name, &self.counts()), now_ms)
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read())
    }

    /// Only under the control lock, once the catalog has them.
    pub(crate) fn set_settings(&self, settings: Settings) {
        *self.settings.write() = Arc::new(settings);
    }

    /// Locks the counts for a write, unless the table was deleted.
    pub(crate) fn lock_counter(&self) -> Result<MutexGuard<'_, Counter>> {
        let counter = self.counter.lock();
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
        // Wrapping addition of a two's complement number is signed addition.
        self.published_items.fetch_add(delta.table.items.cast_unsigned(), Ordering::Relaxed);
        self.published_bytes.fetch_add(delta.table.bytes.cast_unsigned(), Ordering::Relaxed);
        for (index, delta) in self.indexes.iter().zip(&delta.indexes) {
            index.publish(*delta);
        }
    }

    /// Takes back the counts of a write that failed. Writes behind it in line may carry counts that
    /// include it, so the right ones are put in line behind them. If that fails as well, the next
    /// write brings them.
    pub(crate) fn withdraw(&self, db: &Db, catalog: &Keyspace, delta: &TableDelta) {
        if delta.is_none() || mutant!("items_failed_write_counted") {
            return;
        }
        let mut counter = self.counter.lock();
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
        self.counter.lock().deleted = false;
    }
}

impl Counter {
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
