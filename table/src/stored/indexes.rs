//! Whether an index has what its table says it should, for verification and repair. What is right is
//! what the items say; an index can always be made again from them.

use bytes::Bytes;
use esker::{Db, Durability, Keyspace, KeyspaceOptions};

use super::{entries, with_item};
use crate::catalog::{self, IndexRecord, TableRecord};
use crate::error::Result;
use crate::index::IndexShape;
use crate::item::EncodedItem;
use crate::key_codec::{decode_global_index_key, decode_local_index_key, local_index_base_key};
use crate::message;
use crate::schema::ScalarAttributeType;
use crate::table::Counts;

/// A correction is committed when it has so many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// An index that does not have what its table says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleIndex {
    /// The table's name.
    pub table: String,
    /// The index's name.
    pub index: String,
    /// How many entries are missing, wrong, or of no item.
    pub entries: u64,
}

/// The indexes that do not have what their tables say. Reads everything.
///
/// # Errors
/// As of [`super::verify`].
pub fn stale_indexes(db: &Db) -> Result<Vec<StaleIndex>> {
    each_index(db, |db, name| Ok(db.existing_keyspace(name)?), |_| Ok(()))
}

/// Makes the indexes what their tables say, as they may not be where a repair had to give up items or
/// entries, and says which were not. The tables must not be open; counts are corrected after this.
///
/// # Errors
/// As of [`super::verify`], and whatever [`Db::write`] answers, as `Internal`.
pub fn correct_indexes(db: &Db) -> Result<Vec<StaleIndex>> {
    let keyspace = |db: &Db, name: &str| {
        let existing = db.existing_keyspace(name)?;
        let create = || Ok(db.create_keyspace(name, KeyspaceOptions::default())?);
        existing.map_or_else(create, Ok).map(Some)
    };
    let mut batch = db.batch();
    let correct = |(entries, difference): (&Keyspace, Difference)| {
        match difference.right {
            Some(value) => batch.put(entries, &difference.key, &value),
            None => batch.delete(entries, &difference.key),
        }
        if batch.encoded_bytes() >= BATCH_BYTES {
            db.write_with(std::mem::replace(&mut batch, db.batch()), Durability::Sync)?;
        }
        Ok(())
    };
    let found = each_index(db, keyspace, correct)?;
    if !batch.is_empty() {
        db.write_with(batch, Durability::Sync)?;
    }
    Ok(found)
}

/// Calls `on_difference` for every difference of every index; those that have any. An index without a
/// keyspace counts as one that differs in nothing.
fn each_index(
    db: &Db,
    keyspace: impl Fn(&Db, &str) -> Result<Option<Keyspace>>,
    mut on_difference: impl FnMut((&Keyspace, Difference)) -> Result<()>,
) -> Result<Vec<StaleIndex>> {
    let mut found = Vec::new();
    for entry in entries(db)? {
        let table_id = entry.record.table_id;
        let Some(items) = db.existing_keyspace(&catalog::items_keyspace(table_id))? else {
            continue;
        };
        for index in &entry.record.indexes {
            let name = catalog::index_keyspace(table_id, index.index_id);
            let Some(entries) = keyspace(db, &name)? else { continue };
            let (record, mut count) = (&entry.record, 0);
            let compared = IndexOfTable { record, index, items: &items, entries: &entries };
            compared.differences(|difference| {
                count += 1;
                on_difference((&entries, difference))
            })?;
            if count > 0 {
                let (table, index) = (entry.name.clone(), index.name.clone());
                found.push(StaleIndex { table, index, entries: count });
            }
        }
    }
    Ok(found)
}

/// Something that an index should have, or should not.
pub(super) struct Difference {
    pub(super) key: Vec<u8>,
    /// What it should have there.
    right: Option<Bytes>,
    pub(super) what: &'static str,
}

/// An index beside its table.
pub(super) struct IndexOfTable<'t> {
    pub(super) record: &'t TableRecord,
    pub(super) index: &'t IndexRecord,
    pub(super) items: &'t Keyspace,
    pub(super) entries: &'t Keyspace,
}

impl IndexOfTable<'_> {
    /// Calls `on_difference` for each entry that is missing, wrong, or of no item; what the index has.
    /// An item that does not decode has no entry: it is the table's trouble.
    pub(super) fn differences(
        &self,
        mut on_difference: impl FnMut(Difference) -> Result<()>,
    ) -> Result<Counts> {
        let shapes = self.record.index_shapes()?.into_iter().zip(&self.record.indexes);
        let own = shapes.filter(|(_, index)| index.index_id == self.index.index_id);
        let Some(shape) = own.map(|(shape, _)| shape).next() else { return Ok(Counts::default()) };
        for stored in self.items.iter() {
            let (base_key, value) = stored?;
            let Ok(item) = EncodedItem::from_bytes(value) else { continue };
            let Ok(Some(right)) = shape.entry_of(&base_key, item.view()) else { continue };
            let what = match self.entries.get(&right.key)? {
                None => message::ENTRY_MISSING,
                Some(value) if value[..] != right.value[..] => message::ENTRY_DIFFERS,
                Some(_) => continue,
            };
            on_difference(Difference { key: right.key, right: Some(right.value), what })?;
        }
        let mut counts = Counts::default();
        for stored in self.entries.iter() {
            let (key, value) = stored?;
            counts = with_item(counts, &value);
            // One that is in its place but differs was told above.
            if !self.is_of_an_item(&shape, &key)? {
                let what = message::ENTRY_WITHOUT_ITEM;
                on_difference(Difference { key: key.to_vec(), right: None, what })?;
            }
        }
        Ok(counts)
    }

    /// Whether there is an item whose entry has this key.
    fn is_of_an_item(&self, shape: &IndexShape, key: &[u8]) -> Result<bool> {
        let Ok(base_key) = self.base_key(shape, key) else { return Ok(false) };
        let Some(value) = self.items.get(&base_key)? else { return Ok(false) };
        let Ok(item) = EncodedItem::from_bytes(value) else { return Ok(false) };
        let entry = shape.entry_of(&base_key, item.view());
        Ok(entry.is_ok_and(|entry| entry.is_some_and(|entry| entry.key == key)))
    }

    fn base_key(&self, shape: &IndexShape, key: &[u8]) -> Result<Vec<u8>> {
        let types = shape.range_types();
        let table_key = self.record.table_key()?;
        let sort: Option<ScalarAttributeType> = table_key.sort.map(|sort| sort.scalar_type);
        match (&types[..], sort) {
            (&[index_sort], Some(sort)) if !shape.is_global => {
                Ok(local_index_base_key(&decode_local_index_key(key, index_sort, sort)?))
            }
            _ => {
                let hash_count = shape.attributes().hash.len();
                Ok(decode_global_index_key(key, hash_count, &types)?.base_key.to_vec())
            }
        }
    }
}
