//! A table that is open: its catalog record, its keyspace and its counts. Made by CreateTable and
//! at open, shared by every operation on the table. Counts change here and nowhere else.
//!
//! **Counts.** A write's batch carries the table's new counts, as absolute numbers. They are
//! computed and the batch is put in line under the counter's lock, so the line has them in the
//! order in which they build on each other; and as the engine commits in line order and recovers a
//! prefix of it, the counts on disk are always those of the items on disk. The lock is not held
//! while the commit is under way, so writes share syncs.

use std::sync::atomic::{AtomicU64, Ordering};

use esker::{Batch, Db, Durability, Keyspace, PendingCommit, mutant};
use parking_lot::{Mutex, MutexGuard};

use crate::catalog::{self, TableRecord};
use crate::error::{Result, TableError};
use crate::key_schema::TableKey;
use crate::message;
use crate::schema::TableDescription;

/// How many items there are, and the sum of their logical sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) items: u64,
    pub(crate) bytes: u64,
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

    fn is_none(self) -> bool {
        self == Self::default()
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

/// An open table.
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) record: TableRecord,
    pub(crate) key: TableKey,
    pub(crate) items: Keyspace,
    /// Taken after item locks, several in the order of table ids; the engine's line comes after it.
    counter: Mutex<Counter>,
    /// What readers are told: only what is committed.
    published_items: AtomicU64,
    published_bytes: AtomicU64,
}

/// Guards the counts of everything that is in line, and whether the table takes writes.
pub(crate) struct Counter {
    in_line: Counts,
    deleted: bool,
}

impl Table {
    pub(crate) fn new(
        name: String,
        record: TableRecord,
        items: Keyspace,
        counts: Counts,
    ) -> Result<Self> {
        Ok(Self {
            name,
            key: record.table_key()?,
            record,
            items,
            counter: Mutex::new(Counter { in_line: counts, deleted: false }),
            published_items: AtomicU64::new(counts.items),
            published_bytes: AtomicU64::new(counts.bytes),
        })
    }

    pub(crate) fn id(&self) -> u64 {
        self.record.table_id
    }

    /// The counts of what is committed.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            items: self.published_items.load(Ordering::Relaxed),
            bytes: self.published_bytes.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn describe(&self) -> TableDescription {
        self.record.describe(&self.name, self.counts())
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
    pub(crate) fn publish(&self, delta: CountsDelta) {
        if delta.is_none() {
            return;
        }
        // Wrapping addition of a two's complement number is signed addition.
        self.published_items.fetch_add(delta.items.cast_unsigned(), Ordering::Relaxed);
        self.published_bytes.fetch_add(delta.bytes.cast_unsigned(), Ordering::Relaxed);
    }

    /// Takes back the counts of a write that failed. Writes behind it in line may carry counts that
    /// include it, so the right ones are put in line behind them. If that fails as well, the next
    /// write brings them.
    pub(crate) fn withdraw(&self, db: &Db, catalog: &Keyspace, delta: CountsDelta) {
        if delta.is_none() || mutant!("items_failed_write_counted") {
            return;
        }
        let mut counter = self.counter.lock();
        counter.in_line = counter.in_line.changed_by(delta.negated());
        if !counter.deleted {
            let mut batch = db.batch();
            catalog::put_counts(&mut batch, catalog, self.id(), counter.in_line);
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
        delta: CountsDelta,
    ) -> Counts {
        let counts = self.in_line.changed_by(delta);
        if !delta.is_none() && !mutant!("items_counts_not_stored") {
            catalog::put_counts(batch, catalog, table_id, counts);
        }
        counts
    }

    /// The batch is in line.
    pub(crate) fn set(&mut self, counts: Counts) {
        self.in_line = counts;
    }
}
