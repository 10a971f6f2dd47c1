//! Whether an index has what its table says it should, for verification and repair. What is right is
//! what the items say; an index can always be made again from them.

use bytes::Bytes;
use esker::{Db, Durability, Keyspace, KeyspaceOptions};

use super::{entries, with_item};
use crate::Item;
use crate::catalog::{self, IndexRecord, TableRecord};
use crate::error::Result;
use crate::index::IndexShape;
use crate::item::EncodedItem;
use crate::key_codec::{
    base_key, decode_global_index_key, decode_local_index_key, local_index_base_key,
};
use crate::message;
use crate::schema::{ProjectionType, ScalarAttributeType, TableStatus};
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
    /// Whether its keyspace is not there, as after a repair that found no file of it.
    pub is_missing: bool,
}

/// An entry that [`correct_indexes`] deletes or overwrites. It may be the only thing that is left of
/// its item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplacedEntry<'d> {
    /// The table's name.
    pub table: &'d str,
    /// The index's name.
    pub index: &'d str,
    /// The index's keyspace.
    pub keyspace: &'d str,
    /// Its stored key.
    pub key: &'d [u8],
    /// Its stored value.
    pub value: &'d [u8],
    /// What it holds of its item, if that can be read and has the item's key.
    pub item: Option<Item>,
    /// Whether the table has an item with that key of which everything can be read. If not, the entry is all that is
    /// left of it.
    pub has_item: bool,
    /// Whether the index holds whole items.
    pub is_whole: bool,
}

/// The indexes that do not have what their tables say. Reads everything.
///
/// # Errors
/// As of [`super::verify`].
pub fn stale_indexes(db: &Db) -> Result<Vec<StaleIndex>> {
    each_index(db, |_| Ok(None), |_, _| Ok(()))
}

/// Calls `on_entry` for every entry that [`correct_indexes`] would delete or overwrite, so that it can
/// be kept elsewhere first. Those of an index come one after the other. Reads everything.
///
/// # Errors
/// As of [`super::verify`].
pub fn replaced_entries(db: &Db, mut on_entry: impl FnMut(&ReplacedEntry<'_>)) -> Result<()> {
    let tell = |place: &Place<'_>, difference: Difference| {
        let Some(value) = difference.present else { return Ok(()) };
        let item = EncodedItem::from_bytes(value.clone()).and_then(|item| item.decode()).ok();
        let table_key = place.record.table_key()?;
        let key_of = |item: &Item| {
            let (partition, sort) = table_key.of_stored(item).ok()?;
            Some(base_key(&partition, sort.as_ref()))
        };
        let stored_under = item.as_ref().and_then(key_of);
        let living = match (&stored_under, &place.items) {
            (Some(key), Some(items)) => items.get(key)?,
            _ => None,
        };
        // Whole: a single attribute that cannot be read is one that the entry may still have.
        let can_be_read = |living| EncodedItem::from_bytes(living).and_then(|item| item.decode());
        on_entry(&ReplacedEntry {
            table: place.table,
            index: &place.index.name,
            keyspace: &place.keyspace,
            key: &difference.key,
            value: &value,
            item: item.filter(|_| stored_under.is_some()),
            has_item: living.is_some_and(|living| can_be_read(living).is_ok()),
            is_whole: place.index.projection_type == ProjectionType::All,
        });
        Ok(())
    };
    each_index(db, |_| Ok(None), tell).map(drop)
}

/// Makes the indexes what their tables say, as they may not be where a repair had to give up items or
/// entries, and says which were not. The tables must not be open; counts are corrected after this.
/// What it deletes and overwrites is gone: see [`replaced_entries`].
///
/// # Errors
/// As of [`super::verify`], and whatever [`Db::write`] answers, as `Internal`.
pub fn correct_indexes(db: &Db) -> Result<Vec<StaleIndex>> {
    let mut batch = db.batch();
    let correct = |place: &Place<'_>, difference: Difference| {
        let entries = place.entries.as_ref().expect("invariant: made where it was not there");
        match difference.right {
            Some(value) => batch.put(entries, &difference.key, &value),
            None => batch.delete(entries, &difference.key),
        }
        if batch.encoded_bytes() >= BATCH_BYTES {
            db.write_with(std::mem::replace(&mut batch, db.batch()), Durability::Sync)?;
        }
        Ok(())
    };
    let make = |name: &str| Ok(Some(db.create_keyspace(name, KeyspaceOptions::default())?));
    let found = each_index(db, make, correct)?;
    if !batch.is_empty() {
        db.write_with(batch, Durability::Sync)?;
    }
    Ok(found)
}

/// The tables whose items have no keyspace, as after a repair that found no file of it: it was empty,
/// or everything of it is lost. Until it is made again, no table can be opened.
///
/// # Errors
/// As of [`super::verify`].
pub fn tables_without_keyspace(db: &Db) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in entries(db)? {
        if db.existing_keyspace(&catalog::items_keyspace(entry.record.table_id))?.is_none() {
            found.push(entry.name);
        }
    }
    Ok(found)
}

/// Makes the keyspaces that [`tables_without_keyspace`] misses; indexes and counts are corrected after
/// this. The tables must not be open.
///
/// # Errors
/// As of [`super::verify`], and whatever [`Db::create_keyspace`] answers, as `Internal`.
pub fn make_keyspaces(db: &Db) -> Result<()> {
    for entry in entries(db)? {
        db.keyspace(&catalog::items_keyspace(entry.record.table_id))?;
    }
    Ok(())
}

/// Where a difference is.
struct Place<'p> {
    table: &'p str,
    record: &'p TableRecord,
    /// As of `entries`.
    items: Option<Keyspace>,
    index: &'p IndexRecord,
    keyspace: String,
    /// `None` where the keyspace is not there.
    entries: Option<Keyspace>,
}

/// Calls `on_difference` for every difference of every index; those that have any, or no keyspace,
/// for which `make` is called.
fn each_index(
    db: &Db,
    make: impl Fn(&str) -> Result<Option<Keyspace>>,
    mut on_difference: impl FnMut(&Place<'_>, Difference) -> Result<()>,
) -> Result<Vec<StaleIndex>> {
    let mut found = Vec::new();
    for entry in entries(db)? {
        let table_id = entry.record.table_id;
        let items = db.existing_keyspace(&catalog::items_keyspace(table_id))?;
        for index in entry.record.indexes.iter().filter(|index| index.is_kept()) {
            let keyspace = catalog::index_keyspace(table_id, index.index_id);
            let existing = db.existing_keyspace(&keyspace)?;
            let is_missing = existing.is_none();
            let entries = existing.map_or_else(|| make(&keyspace), |there| Ok(Some(there)))?;
            let (table, record, items) = (&entry.name, &entry.record, items.clone());
            let place = Place { table, record, items, index, keyspace, entries };
            let mut count = 0;
            let (items, entries) = (place.items.as_ref(), place.entries.as_ref());
            let compared = IndexOfTable { record, index, items, entries };
            compared.differences(|difference| {
                count += 1;
                on_difference(&place, difference)
            })?;
            if count > 0 || is_missing {
                let (table, index) = (entry.name.clone(), index.name.clone());
                found.push(StaleIndex { table, index, entries: count, is_missing });
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
    /// What it has there.
    present: Option<Bytes>,
    pub(super) what: &'static str,
}

/// An index beside its table.
pub(super) struct IndexOfTable<'t> {
    pub(super) record: &'t TableRecord,
    pub(super) index: &'t IndexRecord,
    /// `None` for those whose keyspace is not there, as if it were empty.
    pub(super) items: Option<&'t Keyspace>,
    pub(super) entries: Option<&'t Keyspace>,
}

impl IndexOfTable<'_> {
    /// Calls `on_difference` for each entry that is missing, wrong, or of no item; what the index has.
    /// One that is being created may not have every entry yet.
    /// An item that does not decode has no entry: it is the table's trouble.
    pub(super) fn differences(
        &self,
        mut on_difference: impl FnMut(Difference) -> Result<()>,
    ) -> Result<Counts> {
        let shapes = self.record.index_shapes()?.into_iter().zip(&self.record.indexes);
        let own = shapes.filter(|(_, index)| index.index_id == self.index.index_id);
        let Some(shape) = own.map(|(shape, _)| shape).next() else { return Ok(Counts::default()) };
        for stored in self.items.into_iter().flat_map(Keyspace::iter) {
            let (base_key, value) = stored?;
            let Ok(item) = EncodedItem::from_bytes(value) else { continue };
            let Ok(Some(right)) = shape.entry_of(&base_key, item.view()) else { continue };
            let present =
                self.entries.map(|entries| entries.get(&right.key)).transpose()?.flatten();
            let what = match &present {
                None if self.index.status == TableStatus::Creating => continue,
                None => message::ENTRY_MISSING,
                Some(value) if value[..] != right.value[..] => message::ENTRY_DIFFERS,
                Some(_) => continue,
            };
            on_difference(Difference { key: right.key, right: Some(right.value), present, what })?;
        }
        let mut counts = Counts::default();
        for stored in self.entries.into_iter().flat_map(Keyspace::iter) {
            let (key, value) = stored?;
            counts = with_item(counts, &value);
            // One that is in its place but differs was told above.
            if !self.is_of_an_item(&shape, &key)? {
                let what = message::ENTRY_WITHOUT_ITEM;
                let (key, present) = (key.to_vec(), Some(value));
                on_difference(Difference { key, right: None, present, what })?;
            }
        }
        Ok(counts)
    }

    /// Whether there is an item whose entry has this key.
    fn is_of_an_item(&self, shape: &IndexShape, key: &[u8]) -> Result<bool> {
        let Ok(base_key) = self.base_key(shape, key) else { return Ok(false) };
        let Some(items) = self.items else { return Ok(false) };
        let Some(value) = items.get(&base_key)? else { return Ok(false) };
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
