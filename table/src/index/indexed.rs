//! What the keys of a table's indexes ask of an item that is to be written: where an attribute of
//! such a key is there, it has the key's type, is not empty and not too long. An item without it is
//! fine, and is not in that index.

use super::IndexShape;
use crate::error::{Result, TableError};
use crate::key_codec::{KeyPart, MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES};
use crate::key_schema::KeyAttribute;
use crate::{AttributeValue, Item, message};

/// The key attributes of a table's indexes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IndexedAttributes {
    /// In the order of the indexes' names, in which the service tells what is wrong.
    indexes: Vec<IndexedKey>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct IndexedKey {
    index_name: String,
    hash: Vec<KeyAttribute>,
    range: Vec<KeyAttribute>,
}

impl IndexedAttributes {
    pub(crate) fn new<'k>(indexes: impl Iterator<Item = (&'k str, &'k IndexShape)>) -> Self {
        let key = |(name, shape): (&str, &IndexShape)| IndexedKey {
            index_name: name.to_owned(),
            hash: shape.attributes().hash.to_vec(),
            range: shape.attributes().range.to_vec(),
        };
        let mut indexes: Vec<IndexedKey> = indexes.map(key).collect();
        indexes.sort_by(|a, b| a.index_name.cmp(&b.index_name));
        Self { indexes }
    }

    /// Refuses an item with a value that an index cannot have in its key.
    pub(crate) fn check(&self, item: &Item) -> Result<()> {
        let refused = |index: &str, attribute: &KeyAttribute, value: &AttributeValue| {
            let empty = |kind: &str| message::empty_index_key(&attribute.name, kind, index);
            refusal(index, attribute, value, empty)
        };
        for IndexedKey { index_name, hash, range } in &self.indexes {
            for attribute in hash.iter().chain(range) {
                if let Some(value) = item.get(&attribute.name) {
                    refused(index_name, attribute, value)?;
                }
            }
            check_sizes(index_name, hash, range, item)?;
        }
        Ok(())
    }

    /// The values that an item has for the keys of indexes; what [`Self::check_updated`] compares.
    pub(crate) fn values_of(&self, item: Option<&Item>) -> Item {
        let Some(item) = item else { return Item::new() };
        let keys = self.indexes.iter().flat_map(|key| key.hash.iter().chain(&key.range));
        let value = |attribute: &KeyAttribute| {
            Some((attribute.name.clone(), item.get(&attribute.name)?.clone()))
        };
        keys.filter_map(value).collect()
    }

    /// As [`Self::check`], of an item that an update has changed: only of what it has changed, because
    /// an item may be older than an index that does not take it.
    pub(crate) fn check_updated(&self, old_values: &Item, item: &Item) -> Result<()> {
        for IndexedKey { index_name, hash, range } in &self.indexes {
            let mut is_changed = false;
            for attribute in hash.iter().chain(range) {
                let Some(value) = item.get(&attribute.name) else { continue };
                if old_values.get(&attribute.name) != Some(value) {
                    is_changed = true;
                    refusal(index_name, attribute, value, message::empty_updated_index_key)?;
                }
            }
            if is_changed {
                check_sizes(index_name, hash, range, item)?;
            }
        }
        Ok(())
    }
}

/// Refuses a value that cannot be in the key of an index.
fn refusal(
    index: &str,
    attribute: &KeyAttribute,
    value: &AttributeValue,
    empty: impl Fn(&str) -> String,
) -> Result<()> {
    let refuse = |text: String| Err(TableError::validation(text));
    match KeyPart::from_value(value) {
        Some(part) if part.scalar_type() == attribute.scalar_type => match part {
            KeyPart::S(text) if text.is_empty() => refuse(empty("string")),
            KeyPart::B(bytes) if bytes.is_empty() => refuse(empty("binary")),
            _ => Ok(()),
        },
        _ => refuse(message::index_key_type_mismatch(
            &attribute.name,
            attribute.scalar_type.as_str(),
            value.type_name(),
            index,
        )),
    }
}

/// Refuses a key that is too long. Each part is held to the limit of its kind whatever else the item has. The parts of a
/// kind also share the limit, but only an item that has all of the key is in the index.
fn check_sizes(
    index: &str,
    hash: &[KeyAttribute],
    range: &[KeyAttribute],
    item: &Item,
) -> Result<()> {
    let refuse = |text: String| Err(TableError::validation(text));
    let mut is_whole = true;
    let mut sums = [0, 0];
    let kinds = [(hash, MAX_PARTITION_KEY_BYTES), (range, MAX_SORT_KEY_BYTES)];
    for ((attributes, most), sum) in kinds.into_iter().zip(&mut sums) {
        for attribute in attributes {
            let Some(value) = item.get(&attribute.name) else {
                is_whole = false;
                continue;
            };
            let size = value.size_bytes();
            if size > most {
                return refuse(message::index_key_size(&attribute.name, size, most, index));
            }
            *sum += size;
        }
    }
    if is_whole && sums[0] > MAX_PARTITION_KEY_BYTES {
        return refuse(message::HASH_KEY_SIZE.to_owned());
    }
    if is_whole && sums[1] > MAX_SORT_KEY_BYTES {
        return refuse(message::RANGE_KEY_SIZE.to_owned());
    }
    Ok(())
}
