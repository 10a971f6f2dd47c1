//! Item collections: what a table with local indexes, and those indexes, have under one partition key. The service keeps
//! them below 10 GB and tells their size where a write asks for it. Tables without local indexes know no collections.
//!
//! Nothing is stored about them. A table whose items and local entries are together below the limit (or below the first
//! gigabyte, where the size is asked for) has no collection that is not; that is told from counts which are in memory. Only
//! beyond that are collections summed up, those that are asked for, and never by whoever asks (`collection/sums.rs`). A
//! write to a collection whose size is not known yet goes through, and is told that the size may be any up to that of the
//! table.
//!
//! Called by the write path (`write.rs`, `transaction/commit.rs`) and by the operations that report sizes.

pub(crate) mod sums;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use self::sums::CollectionId;
use crate::error::{Result, TableError, TableErrorKind};
use crate::index::Index;
use crate::item::{ItemView, NewItem};
use crate::key_codec::{collection_hash, decode_base_key};
use crate::operation::{ItemCollectionMetrics, ReturnItemCollectionMetrics};
use crate::table::Table;
use crate::validate::MAX_ITEM_SIZE_BYTES;
use crate::write::{ItemWrite, OldItem, Written};
use crate::{Item, Tables, message};

/// Bytes of the largest item collection.
pub const MAX_ITEM_COLLECTION_BYTES: u64 = 10 << 30;

const GIGABYTE: u64 = 1 << 30;

impl Tables {
    /// Lowers the limit of item collections, which is [`MAX_ITEM_COLLECTION_BYTES`] at first: a program under test sees
    /// what it will see at 10 GB. It holds for a collection once that is summed up, which a write to it asks for where
    /// the table is larger, and [`Tables::run_index_step`] does. Of all handles on the database.
    pub fn set_item_collection_limit(&self, bytes: u64) {
        self.collections().limit_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Refuses writes that make a collection larger than it may be, where its size is known; the first such write is
    /// told by its position. Only under the item locks. What others have locked at the same time is not counted.
    pub(crate) fn check_collections(
        &self,
        writes: &[ItemWrite<'_>],
        written: &[Written],
    ) -> std::result::Result<(), (usize, TableError)> {
        let limit = self.collections().limit_bytes.load(Ordering::Relaxed);
        let most_of =
            |write: &ItemWrite<'_>| match (write.table.local_indexes().count(), &write.new) {
                (0, _) | (_, None) => 0,
                (locals, Some(new)) => u64::from(new.logical_size()) * (1 + locals as u64),
            };
        // No collection grows by more than this.
        let most: u64 = writes.iter().map(most_of).sum();
        let may_exceed = |bytes: u64| most > 0 && bytes.saturating_add(most) > limit;
        let mut grown: SmallVec<[(CollectionId, i64); 1]> = SmallVec::new();
        for (at, (write, Written { old, .. })) in writes.iter().zip(written).enumerate() {
            let (table, Some(new)) = (&write.table, &write.new) else { continue };
            if most_of(write) == 0 || !may_exceed(table.collected_bytes()) {
                continue;
            }
            let Some(size) =
                self.collection_bytes(table, &write.key).filter(|size| may_exceed(*size))
            else {
                continue;
            };
            let growth = growth(write, new, old.as_ref()).map_err(|error| (at, error))?;
            if growth <= 0 {
                continue;
            }
            let id = (table.id(), collection_hash(&write.key));
            let sum = grown.iter().position(|(known, _)| *known == id).unwrap_or_else(|| {
                grown.push((id, 0));
                grown.len() - 1
            });
            grown[sum].1 += growth;
            if size.saturating_add_signed(grown[sum].1) > limit {
                let kind = TableErrorKind::ItemCollectionSizeLimitExceeded;
                return Err((at, TableError::new(kind, message::COLLECTION_SIZE)));
            }
        }
        Ok(())
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
        let known =
            if of_table < GIGABYTE { Some(of_table) } else { self.collection_bytes(table, key) };
        let range = match known {
            Some(bytes) => [bytes / GIGABYTE, bytes / GIGABYTE + 1],
            // It is anything up to the whole table.
            None => [0, of_table.div_ceil(GIGABYTE)],
        };
        let sort = table.key.sort.as_ref().map(|sort| sort.scalar_type);
        let (partition, _) = decode_base_key(key, sort).ok()?;
        Some(ItemCollectionMetrics {
            item_collection_key: Item::from([(
                table.key.partition.name.clone(),
                partition.into_value(),
            )]),
            size_estimate_range_gb: range.map(|gigabytes| gigabytes as f64),
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
