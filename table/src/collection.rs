//! Item collections: what a table with local indexes, and those indexes, have under one partition key. The service keeps
//! them below 10 GB and tells their size where a write asks for it. Tables without local indexes know no collections.
//!
//! Nothing is stored about them. A table whose items and local entries are together below the limit (or below the first
//! gigabyte, where the size is asked for) has no collection that is not; that is told from counts which are in memory. Only
//! beyond that are the items and entries of one partition summed up, once, and what writes change is added to the sum from
//! then on; so many sums are kept. They are estimates: a write that another one overtakes or that fails may be missing or
//! too many in them.
//!
//! Called by the write path (`write.rs`, `transaction/commit.rs`) and by the operations that report sizes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use esker::Keyspace;
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::error::{Result, TableError, TableErrorKind};
use crate::index::Index;
use crate::item::{ItemView, NewItem};
use crate::key_codec::{collection_hash, collection_prefix, decode_base_key};
use crate::operation::{ItemCollectionMetrics, ReturnItemCollectionMetrics};
use crate::table::Table;
use crate::validate::MAX_ITEM_SIZE_BYTES;
use crate::write::{ItemWrite, OldItem, Written};
use crate::{Item, Tables, message};

/// Bytes of the largest item collection.
pub const MAX_ITEM_COLLECTION_BYTES: u64 = 10 << 30;

const GIGABYTE: u64 = 1 << 30;

/// So many sums are kept; then all are forgotten.
const SUMS_MAX: usize = 1 << 16;

/// Table id and hash of the partition key.
type CollectionId = (u64, u64);

/// The sums that are known, and the limit.
pub(crate) struct Collections {
    limit_bytes: AtomicU64,
    /// A leaf.
    sums: Mutex<BTreeMap<CollectionId, u64>>,
    sums_count: AtomicUsize,
}

impl Default for Collections {
    fn default() -> Self {
        Self {
            limit_bytes: AtomicU64::new(MAX_ITEM_COLLECTION_BYTES),
            sums: Mutex::default(),
            sums_count: AtomicUsize::new(0),
        }
    }
}

impl Collections {
    /// Says what a write changes.
    pub(crate) fn add(&self, table_id: u64, key: &[u8], bytes: i64) {
        if self.sums_count.load(Ordering::Relaxed) == 0 || bytes == 0 {
            return;
        }
        if let Some(sum) = self.sums.lock().get_mut(&(table_id, collection_hash(key))) {
            *sum = sum.saturating_add_signed(bytes);
        }
    }

    fn known(&self, id: CollectionId) -> Option<u64> {
        self.sums.lock().get(&id).copied()
    }

    fn learn(&self, id: CollectionId, bytes: u64) {
        let mut sums = self.sums.lock();
        if sums.len() >= SUMS_MAX {
            sums.clear();
        }
        sums.insert(id, bytes);
        self.sums_count.store(sums.len(), Ordering::Relaxed);
    }
}

impl Tables {
    /// Lowers the limit of item collections, which is [`MAX_ITEM_COLLECTION_BYTES`] at first: a program under test sees
    /// what it will see at 10 GB. Of all handles on the database.
    pub fn set_item_collection_limit(&self, bytes: u64) {
        self.collections().limit_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Refuses writes that make a collection larger than it may be; the first such write is told by its position. Only
    /// under the item locks.
    pub(crate) fn check_collections(
        &self,
        writes: &[ItemWrite<'_>],
        written: &[Written],
    ) -> std::result::Result<(), (usize, TableError)> {
        let limit = self.collections().limit_bytes.load(Ordering::Relaxed);
        let mut most = 0;
        let mut grown: SmallVec<[(CollectionId, i64); 1]> = SmallVec::new();
        for (at, (write, Written { old, .. })) in writes.iter().zip(written).enumerate() {
            let (table, Some(new)) = (&write.table, &write.new) else { continue };
            let locals = table.local_indexes().count() as u64;
            if locals == 0 {
                continue;
            }
            most += u64::from(new.logical_size()) * (1 + locals);
            if table.collected_bytes().saturating_add(most) <= limit {
                continue;
            }
            let checked = || -> Result<()> {
                let growth = growth(write, new, old.as_ref())?;
                if growth <= 0 {
                    return Ok(());
                }
                let id = (table.id(), collection_hash(&write.key));
                let at = grown.iter().position(|(known, _)| *known == id).unwrap_or_else(|| {
                    grown.push((id, 0));
                    grown.len() - 1
                });
                grown[at].1 += growth;
                let size = self.collection_bytes(table, &write.key)?;
                if size.saturating_add_signed(grown[at].1) > limit {
                    let kind = TableErrorKind::ItemCollectionSizeLimitExceeded;
                    return Err(TableError::new(kind, message::COLLECTION_SIZE));
                }
                Ok(())
            };
            let mut checked = checked;
            checked().map_err(|error| (at, error))?;
        }
        Ok(())
    }

    /// The bytes of the collection that a key is in.
    fn collection_bytes(&self, table: &Table, key: &[u8]) -> Result<u64> {
        let id = (table.id(), collection_hash(key));
        if let Some(bytes) = self.collections().known(id) {
            return Ok(bytes);
        }
        let prefix = collection_prefix(key)?;
        let mut bytes = sum(&table.items, prefix)?;
        for index in table.local_indexes() {
            bytes += sum(&index.entries, prefix)?;
        }
        self.collections().learn(id, bytes);
        Ok(bytes)
    }

    /// What a write reports of the collection of its item; nothing of a table without local indexes.
    pub(crate) fn collection_metrics(
        &self,
        asked: Option<ReturnItemCollectionMetrics>,
        table: &Table,
        key: &[u8],
    ) -> Option<ItemCollectionMetrics> {
        if asked.unwrap_or_default() != ReturnItemCollectionMetrics::Size
            || table.local_indexes().next().is_none()
        {
            return None;
        }
        let of_table = table.collected_bytes();
        // The write is made, and must not be told to have failed because its collection cannot be read.
        let bytes = if of_table < GIGABYTE {
            of_table
        } else {
            self.collection_bytes(table, key).unwrap_or(of_table)
        };
        let sort = table.key.sort.as_ref().map(|sort| sort.scalar_type);
        let (partition, _) = decode_base_key(key, sort).ok()?;
        let lower = (bytes / GIGABYTE) as f64;
        Some(ItemCollectionMetrics {
            item_collection_key: Item::from([(
                table.key.partition.name.clone(),
                partition.into_value(),
            )]),
            size_estimate_range_gb: [lower, lower + 1.0],
        })
    }

    /// As [`Self::collection_metrics`], of several writes: each collection once, by table.
    pub(crate) fn collections_metrics<'w>(
        &self,
        asked: Option<ReturnItemCollectionMetrics>,
        writes: impl Iterator<Item = (&'w Table, &'w [u8])>,
    ) -> Option<BTreeMap<String, Vec<ItemCollectionMetrics>>> {
        let mut found: BTreeMap<String, Vec<ItemCollectionMetrics>> = BTreeMap::new();
        for (table, key) in writes {
            let Some(metrics) = self.collection_metrics(asked, table, key) else { continue };
            let of_table = found.entry(table.name.clone()).or_default();
            if of_table.iter().all(|known| known.item_collection_key != metrics.item_collection_key)
            {
                of_table.push(metrics);
            }
        }
        (!found.is_empty()).then_some(found)
    }
}

/// How many bytes a write adds to its collection.
fn growth(write: &ItemWrite<'_>, new: &NewItem, old: Option<&OldItem>) -> Result<i64> {
    let view = ItemView::new(new.as_bytes())?;
    let mut growth = i64::from(new.logical_size()) - old.map_or(0, |old| old.size_bytes.into());
    for (at, index) in write.table.indexes.iter().enumerate() {
        if index.shape.is_global {
            continue;
        }
        let new = index.shape.entry_of(&write.key, view)?;
        growth += new.map_or(0, |entry| i64::from(entry.size_bytes));
        growth -= old.map_or(0, |old| i64::from(old.entry_bytes(at)));
    }
    Ok(growth)
}

/// Refuses an item that is, together with what the local indexes hold of it, larger than an item may be. `refusal` is
/// what the service says of the item alone.
pub(crate) fn check_item_with_entries(
    indexes: &[Index],
    key: &[u8],
    new: &NewItem,
    refusal: &str,
) -> Result<()> {
    let locals = indexes.iter().filter(|index| !index.shape.is_global);
    let count = locals.clone().count();
    if count == 0 || new.logical_size() as usize * (1 + count) <= MAX_ITEM_SIZE_BYTES {
        return Ok(());
    }
    let view = ItemView::new(new.as_bytes())?;
    let mut size = new.logical_size() as usize;
    for index in locals {
        size += index.shape.entry_of(key, view)?.map_or(0, |entry| entry.size_bytes as usize);
    }
    if size > MAX_ITEM_SIZE_BYTES {
        return Err(TableError::validation(refusal));
    }
    Ok(())
}

/// The logical bytes of all items or entries with a prefix.
fn sum(keyspace: &Keyspace, prefix: &[u8]) -> Result<u64> {
    keyspace.prefix(prefix).try_fold(0, |bytes, entry| {
        let (_, value) = entry?;
        Ok(bytes + u64::from(ItemView::new(&value)?.logical_size()))
    })
}
