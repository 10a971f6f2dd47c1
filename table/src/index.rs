//! Secondary indexes: which items an index holds, under which key, and what of them. Writes ask for
//! the entries of the old and the new item and put the difference into their batch; reads and
//! verification ask what an entry should be. An index has exactly one entry for each item that has
//! every attribute of the index's key, and changes in the batch that changes the item.

mod indexed;
pub(crate) mod work;
pub(crate) mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use esker::{Batch, Keyspace, mutant};

use crate::Item;
use crate::capacity;
use crate::catalog::IndexRecord;
use crate::error::Result;
use crate::item::{EncodedItem, ItemView, ValueView};
use crate::key_codec::{
    KeyPart, MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES, global_index_key, local_index_key_of,
};
use crate::key_schema::{KeyAttribute, KeyAttributes, TableKey};
use crate::schema::{
    AttributeDefinition, KeyType, ProjectionType, ScalarAttributeType, TableStatus,
};
use crate::table::{Counts, CountsDelta, Published};
use crate::throttle::Buckets;
pub(crate) use indexed::IndexedAttributes;

/// An index of an open table.
pub(crate) struct Index {
    pub(crate) record: IndexRecord,
    pub(crate) shape: IndexShape,
    pub(crate) entries: Keyspace,
    pub(crate) buckets: Arc<Buckets>,
    published: Arc<Published>,
    /// Whether items from before it are being put into it by now.
    is_backfilling: Arc<AtomicBool>,
}

impl Index {
    pub(crate) fn new(
        record: IndexRecord,
        shape: IndexShape,
        entries: Keyspace,
        counts: Counts,
    ) -> Self {
        let published = Arc::new(Published::new(counts));
        Self {
            record,
            shape,
            entries,
            buckets: Arc::default(),
            published,
            is_backfilling: Arc::default(),
        }
    }

    /// The same index with another record: what it has and the counts are shared.
    pub(crate) fn with_record(&self, record: IndexRecord) -> Self {
        Self {
            record,
            shape: self.shape.clone(),
            entries: self.entries.clone(),
            buckets: Arc::clone(&self.buckets),
            published: Arc::clone(&self.published),
            is_backfilling: Arc::clone(&self.is_backfilling),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.record.index_id
    }

    /// Whether the items from before it are still being put into it.
    pub(crate) fn is_being_filled(&self) -> bool {
        self.record.status == TableStatus::Creating
    }

    pub(crate) fn is_backfilling(&self) -> bool {
        self.is_backfilling.load(Ordering::Relaxed)
    }

    pub(crate) fn set_backfilling(&self) {
        self.is_backfilling.store(true, Ordering::Relaxed);
    }

    /// The counts of what is committed.
    pub(crate) fn counts(&self) -> Counts {
        self.published.counts()
    }

    /// Says that a write is committed.
    pub(crate) fn publish(&self, delta: CountsDelta) {
        self.published.add(delta);
    }
}

/// The key of an index, and what it holds of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexShape {
    pub(crate) is_global: bool,
    hash: Vec<KeyAttribute>,
    range: Vec<KeyAttribute>,
    /// The names of the attributes that it holds, sorted; all of them where there is no list.
    projected: Option<Vec<String>>,
}

/// What an index has for one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) key: Vec<u8>,
    /// What the index holds of the item, in the form of a stored item.
    pub(crate) value: Bytes,
    pub(crate) size_bytes: u32,
}

/// What each index of a table has for one item. Empty where the table has no indexes.
pub(crate) type Entries = Vec<Option<IndexEntry>>;

/// The write units of indexes of a table, by their ids. Empty where it has none.
pub(crate) type IndexUnits = Vec<(u32, f64)>;

impl IndexShape {
    /// The shape of a valid index; `None` where it is not valid.
    pub(crate) fn new(
        record: &IndexRecord,
        definitions: &[AttributeDefinition],
        table_key: &TableKey,
    ) -> Option<Self> {
        let of_type = |key_type: KeyType| {
            let elements = record.key_schema.iter().filter(|e| e.key_type == key_type);
            elements.map(|element| KeyAttribute::new(element, definitions)).collect::<Option<_>>()
        };
        let (hash, range): (Vec<KeyAttribute>, Vec<KeyAttribute>) =
            (of_type(KeyType::Hash)?, of_type(KeyType::Range)?);
        let is_valid_local = hash.len() == 1 && range.len() == 1 && table_key.sort.is_some();
        if hash.is_empty() || !(record.is_global || is_valid_local) {
            return None;
        }
        let projected = match record.projection_type {
            ProjectionType::All => None,
            ProjectionType::KeysOnly | ProjectionType::Include => {
                let keys = hash.iter().chain(&range).chain(table_key.attributes().all());
                let keys = keys.map(|attribute| attribute.name.clone());
                let mut names: Vec<String> =
                    keys.chain(record.non_key_attributes.iter().flatten().cloned()).collect();
                names.sort_unstable();
                names.dedup();
                Some(names)
            }
        };
        Some(Self { is_global: record.is_global, hash, range, projected })
    }

    pub(crate) fn attributes(&self) -> KeyAttributes<'_> {
        KeyAttributes { hash: &self.hash, range: &self.range }
    }

    pub(crate) fn range_types(&self) -> Vec<ScalarAttributeType> {
        self.range.iter().map(|attribute| attribute.scalar_type).collect()
    }

    /// Whether all attributes of an item are in its entry.
    pub(crate) fn holds_all(&self) -> bool {
        self.projected.is_none()
    }

    /// Whether an attribute is in the entries of items that have it.
    pub(crate) fn holds(&self, name: &str) -> bool {
        let is_listed = |names: &Vec<String>| {
            names.binary_search_by(|listed| listed.as_str().cmp(name)).is_ok()
        };
        self.projected.as_ref().is_none_or(is_listed)
    }

    /// What the index has for an item that is stored under `base_key`: nothing, if an attribute of
    /// the index's key is absent, or is nothing that a key can be.
    pub(crate) fn entry_of(
        &self,
        base_key: &[u8],
        item: ItemView<'_>,
    ) -> Result<Option<IndexEntry>> {
        self.entry_with(base_key, item, &mut None)
    }

    /// As [`Self::entry_of`]. `whole` is a copy of the whole item, which all indexes that hold it share; it
    /// is made at the first need.
    fn entry_with(
        &self,
        base_key: &[u8],
        item: ItemView<'_>,
        whole: &mut Option<Bytes>,
    ) -> Result<Option<IndexEntry>> {
        let hash = key_parts(&self.hash, MAX_PARTITION_KEY_BYTES, item)?;
        let range = key_parts(&self.range, MAX_SORT_KEY_BYTES, item)?;
        let (Some(hash), Some(range)) = (hash, range) else { return Ok(None) };
        let key = match &range[..] {
            [sort] if !self.is_global => local_index_key_of(base_key, sort)?,
            _ => global_index_key(&hash, &range, base_key),
        };
        let Some(names) = &self.projected else {
            let copy = || Bytes::copy_from_slice(item.as_bytes());
            let value = whole.get_or_insert_with(copy).clone();
            return Ok(Some(IndexEntry { key, value, size_bytes: item.logical_size() }));
        };
        let mut held = Item::new();
        let mut size = 0;
        for name in names {
            if let Some(value) = item.get(name) {
                let value = value?.decode()?;
                size += name.len() + value.size_bytes();
                held.insert(name.clone(), value);
            }
        }
        let size_bytes =
            u32::try_from(size).expect("invariant: a part is not larger than the whole item");
        let value = EncodedItem::encode_sized(&held, size_bytes).as_bytes().clone();
        Ok(Some(IndexEntry { key, value, size_bytes }))
    }
}

/// The values of some attributes of a key, if all of them are there and can be in a key.
fn key_parts<'i>(
    attributes: &[KeyAttribute],
    most_bytes: usize,
    item: ItemView<'i>,
) -> Result<Option<Vec<KeyPart<'i>>>> {
    let mut parts = Vec::with_capacity(attributes.len());
    let mut size = 0;
    for attribute in attributes {
        let Some(value) = item.get(&attribute.name) else { return Ok(None) };
        let (part, bytes) = match value? {
            ValueView::S(text) => (KeyPart::S(text.into()), text.len()),
            ValueView::N(number) => (KeyPart::N(number), number.size_bytes()),
            ValueView::B(bytes) => (KeyPart::B(bytes.into()), bytes.len()),
            _ => return Ok(None),
        };
        size += bytes;
        if part.scalar_type() != attribute.scalar_type || bytes == 0 || size > most_bytes {
            return Ok(None);
        }
        parts.push(part);
    }
    Ok(Some(parts))
}

/// What each of the indexes has for an item.
pub(crate) fn entries_of(
    indexes: &[Index],
    base_key: &[u8],
    item: ItemView<'_>,
) -> Result<Entries> {
    let mut whole = None;
    indexes.iter().map(|index| index.shape.entry_with(base_key, item, &mut whole)).collect()
}

/// As [`entries_of`], of an item that is written over or deleted; only under its lock. An index that is being filled may
/// not have its entry yet. What is damaged in the item must not keep it from being replaced: an entry that cannot be told
/// stays in its index, where a repair finds it.
pub(crate) fn old_entries_of(
    indexes: &[Index],
    base_key: &[u8],
    item: ItemView<'_>,
) -> Result<Entries> {
    let mut whole = None;
    let mut entries = Entries::new();
    for index in indexes {
        let entry = index.shape.entry_with(base_key, item, &mut whole).unwrap_or(None);
        let is_awaited = index.is_being_filled() && !mutant!("index_filled_taken_for_full");
        entries.push(match entry {
            Some(entry) if is_awaited && !index.entries.contains(&entry.key)? => None,
            entry => entry,
        });
    }
    Ok(entries)
}

/// Puts into a batch what makes one entry of an index another; how that changes the index's counts,
/// and how many write units it costs.
pub(crate) fn put_change(
    batch: &mut Batch,
    entries: &Keyspace,
    old: Option<&IndexEntry>,
    new: Option<&IndexEntry>,
) -> (CountsDelta, f64) {
    let units = |entry: &IndexEntry| capacity::write_units(0, entry.size_bytes.into());
    let units = match (old, new) {
        (None, None) => return (CountsDelta::default(), 0.0),
        (Some(old), Some(new)) if old.key == new.key => {
            if old.value == new.value {
                return (CountsDelta::default(), 0.0);
            }
            units(old).max(units(new))
        }
        (old, new) => {
            let stays = new.is_some() && mutant!("index_old_entry_kept");
            if let Some(old) = old.filter(|_| !stays) {
                batch.delete(entries, &old.key);
            }
            old.map_or(0.0, units) + new.map_or(0.0, units)
        }
    };
    if let Some(new) = new {
        batch.put(entries, &new.key, &new.value);
    }
    let size = |entry: &IndexEntry| entry.size_bytes;
    (CountsDelta::of(old.map(size), new.map(size)), units)
}
