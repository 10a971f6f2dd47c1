//! GetItem: its request, its response and what it does.

use super::{ConsumedCapacity, ReturnConsumedCapacity};
use crate::error::Result;
use crate::item::{EncodedItem, ItemView};
use crate::key_codec::base_key;
use crate::schema::check::table_name;
use crate::validate::prepare_item;
use crate::{Item, Tables, capacity};

/// Reads one item by its key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetItemRequest {
    /// The table's name.
    pub table_name: String,
    /// The key attributes, and no others.
    pub key: Item,
    /// Whether the read is charged as a consistent one; every read here is.
    pub consistent_read: Option<bool>,
    /// Which capacity to report.
    pub return_consumed_capacity: Option<ReturnConsumedCapacity>,
}

/// The item, if there is one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetItemResponse {
    /// The item.
    pub item: Option<Item>,
    /// The capacity used, if it was asked for.
    pub consumed_capacity: Option<ConsumedCapacity>,
}

impl Tables {
    /// Reads one item by its key.
    ///
    /// # Errors
    /// `Validation` for a wrong key; `ResourceNotFound` if there is no such table.
    pub fn get_item(&self, mut request: GetItemRequest) -> Result<GetItemResponse> {
        let name = table_name(&request.table_name)?;
        prepare_item(&mut request.key)?;
        let table = self.table(name)?;
        let (partition, sort) = table.key.of_key(&request.key)?;
        // Decoded where it lies, so that only what the answer holds is copied.
        let read = |bytes: &[u8]| -> Result<(u64, Item)> {
            let stored = ItemView::new(bytes)?;
            Ok((stored.logical_size().into(), stored.decode()?))
        };
        let key = base_key(&partition, sort.as_ref());
        let (size, item) = table.items.get_and(key, read)?.transpose()?.unzip();
        let units = capacity::read_units(size.unwrap_or(0), request.consistent_read);
        Ok(GetItemResponse {
            item,
            consumed_capacity: capacity::consumed(request.return_consumed_capacity, name, units),
        })
    }

    /// As [`Tables::get_item`], but the item stays in its stored form, of which single attributes
    /// can be read: what is in a file or in the cache is not even copied.
    ///
    /// # Errors
    /// As [`Tables::get_item`].
    pub fn get_encoded_item(&self, table: &str, key: &Item) -> Result<Option<EncodedItem>> {
        let table = self.table(table_name(table)?)?;
        let (partition, sort) = table.key.of_key(key)?;
        let stored = table.items.get(base_key(&partition, sort.as_ref()))?;
        stored.map(EncodedItem::from_bytes).transpose()
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::{create, item, open, put};

    #[test]
    fn an_encoded_item_is_what_get_item_decodes() {
        let dir = tempfile::tempdir().unwrap();
        let tables = open(&dir);
        create(&tables, "things", None);
        let stored = item([("pk", "a".into()), ("n", 5.into())]);
        put(&tables, stored.clone());
        let encoded = |key: &str| tables.get_encoded_item("things", &item([("pk", key.into())]));
        for _ in ["memtable", "file"] {
            let found = encoded("a").unwrap().unwrap();
            assert_eq!(found.get("n").unwrap().unwrap(), 5.into());
            assert_eq!(found.decode().unwrap(), stored);
            assert!(encoded("b").unwrap().is_none());
            tables.db().flush().unwrap();
        }
        assert!(tables.get_encoded_item("things", &stored).is_err());
        assert!(tables.get_encoded_item("nothing", &item([("pk", "a".into())])).is_err());
    }
}
