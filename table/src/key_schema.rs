//! The key of a table as the operations use it: which attributes, of which types, and how items and
//! requests are held against them. Operations take key values out of items here and nowhere else;
//! those of indexes are looked at in `index.rs`.

use crate::error::{Result, TableError};
use crate::index::{IndexShape, IndexedAttributes};
use crate::key_codec::{KeyPart, MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES};
use crate::schema::{AttributeDefinition, KeySchemaElement, KeyType, ScalarAttributeType};
use crate::{AttributeValue, Item, message};

/// A key attribute with its type and the longest value it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyAttribute {
    pub(crate) name: String,
    pub(crate) scalar_type: ScalarAttributeType,
    pub(crate) key_type: KeyType,
}

/// A table's partition key and sort key, and what the keys of its indexes ask of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableKey {
    pub(crate) partition: KeyAttribute,
    pub(crate) sort: Option<KeyAttribute>,
    indexed: IndexedAttributes,
}

/// The attributes of a key: of a table's, one of each at most, of a global index's up to four.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyAttributes<'k> {
    pub(crate) hash: &'k [KeyAttribute],
    pub(crate) range: &'k [KeyAttribute],
}

impl<'k> KeyAttributes<'k> {
    pub(crate) fn all(self) -> impl Iterator<Item = &'k KeyAttribute> {
        self.hash.iter().chain(self.range)
    }

    pub(crate) fn names(self) -> Vec<&'k str> {
        self.all().map(|attribute| attribute.name.as_str()).collect()
    }
}

/// The key values of one item.
pub(crate) type KeyValues<'a> = (KeyPart<'a>, Option<KeyPart<'a>>);

impl TableKey {
    /// The names of the key attributes.
    pub(crate) fn names(&self) -> Vec<&str> {
        let sort = self.sort.iter().map(|attribute| attribute.name.as_str());
        std::iter::once(self.partition.name.as_str()).chain(sort).collect()
    }

    /// The key of a validated schema; `None` where the schema is not valid.
    pub(crate) fn new(
        schema: &[KeySchemaElement],
        definitions: &[AttributeDefinition],
    ) -> Option<Self> {
        let attribute = |key_type: KeyType| {
            let element = schema.iter().find(|element| element.key_type == key_type)?;
            KeyAttribute::new(element, definitions)
        };
        let sort = attribute(KeyType::Range);
        let indexed = IndexedAttributes::default();
        Some(Self { partition: attribute(KeyType::Hash)?, sort, indexed })
    }

    /// The same, of a table with indexes.
    pub(crate) fn with_indexes<'k>(
        self,
        indexes: impl Iterator<Item = (&'k str, &'k IndexShape)>,
    ) -> Self {
        Self { indexed: IndexedAttributes::new(indexes), ..self }
    }

    pub(crate) fn attributes(&self) -> KeyAttributes<'_> {
        KeyAttributes { hash: std::slice::from_ref(&self.partition), range: self.sort.as_slice() }
    }

    /// What the keys of the indexes ask.
    pub(crate) fn indexed(&self) -> &IndexedAttributes {
        &self.indexed
    }

    /// The key values of an item that is to be written: of one that its indexes take.
    pub(crate) fn of_item<'i>(&self, item: &'i Item) -> Result<KeyValues<'i>> {
        let values = self.of_stored(item)?;
        self.indexed.check(item)?;
        Ok(values)
    }

    /// The key values of an item, whatever its indexes ask.
    pub(crate) fn of_stored<'i>(&self, item: &'i Item) -> Result<KeyValues<'i>> {
        let part = |attribute: &KeyAttribute| {
            let value = item
                .get(&attribute.name)
                .ok_or_else(|| TableError::validation(message::missing_key(&attribute.name)))?;
            attribute.part(value, || {
                message::key_type_mismatch(
                    &attribute.name,
                    attribute.scalar_type.as_str(),
                    value.type_name(),
                )
            })
        };
        Ok((part(&self.partition)?, self.sort.as_ref().map(part).transpose()?))
    }

    /// The key values of a request's `Key`, which holds nothing else.
    pub(crate) fn of_key<'i>(&self, key: &'i Item) -> Result<KeyValues<'i>> {
        let mismatch = || message::KEY_SCHEMA_MISMATCH.to_owned();
        if key.len() != 1 + usize::from(self.sort.is_some()) {
            return Err(TableError::validation(mismatch()));
        }
        let part = |attribute: &KeyAttribute| {
            let value = key.get(&attribute.name);
            let value = value.ok_or_else(|| TableError::validation(mismatch()))?;
            attribute.part(value, mismatch)
        };
        Ok((part(&self.partition)?, self.sort.as_ref().map(part).transpose()?))
    }

    /// Key values as a `Key` or `LastEvaluatedKey` shows them.
    pub(crate) fn to_item(&self, (partition, sort): KeyValues<'_>) -> Item {
        let mut item = Item::from([(self.partition.name.clone(), partition.into_value())]);
        if let Some((attribute, sort)) = self.sort.as_ref().zip(sort) {
            item.insert(attribute.name.clone(), sort.into_value());
        }
        item
    }
}

impl KeyAttribute {
    /// An attribute of a key schema; `None` where it is not defined.
    pub(crate) fn new(
        element: &KeySchemaElement,
        definitions: &[AttributeDefinition],
    ) -> Option<Self> {
        let name = &element.attribute_name;
        let definition = definitions.iter().find(|d| d.attribute_name == *name)?;
        let scalar_type = definition.attribute_type;
        Some(Self { name: name.clone(), scalar_type, key_type: element.key_type })
    }

    /// A key condition's operand as this attribute's value.
    pub(crate) fn condition_part<'v>(&self, value: &'v AttributeValue) -> Result<KeyPart<'v>> {
        self.part(value, || message::CONDITION_TYPE.to_owned())
    }

    /// A value as this attribute's, of the right type, not empty and not too long.
    pub(crate) fn part<'v>(
        &self,
        value: &'v AttributeValue,
        type_error: impl Fn() -> String,
    ) -> Result<KeyPart<'v>> {
        let refuse = |text: String| Err(TableError::validation(text));
        let part = match KeyPart::from_value(value) {
            Some(part) if part.scalar_type() == self.scalar_type => part,
            _ => return refuse(type_error()),
        };
        match &part {
            KeyPart::S(text) if text.is_empty() => {
                return refuse(message::empty_key(&self.name, "string"));
            }
            KeyPart::B(bytes) if bytes.is_empty() => {
                return refuse(message::empty_key(&self.name, "binary"));
            }
            _ => {}
        }
        let size = value.size_bytes();
        match self.key_type {
            KeyType::Hash if size > MAX_PARTITION_KEY_BYTES => {
                refuse(message::HASH_KEY_SIZE.to_owned())
            }
            KeyType::Range if size > MAX_SORT_KEY_BYTES => {
                refuse(message::RANGE_KEY_SIZE.to_owned())
            }
            _ => Ok(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(sort: bool) -> TableKey {
        let definition = |name: &str, attribute_type| AttributeDefinition {
            attribute_name: name.to_owned(),
            attribute_type,
        };
        let element =
            |name: &str, key_type| KeySchemaElement { attribute_name: name.to_owned(), key_type };
        let mut schema = vec![element("pk", KeyType::Hash)];
        if sort {
            schema.push(element("sk", KeyType::Range));
        }
        let definitions =
            [definition("pk", ScalarAttributeType::S), definition("sk", ScalarAttributeType::N)];
        TableKey::new(&schema, &definitions).unwrap()
    }

    fn item(entries: &[(&str, AttributeValue)]) -> Item {
        entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn takes_the_key_out_of_items() {
        let entries = [("pk", "a".into()), ("sk", 5.into()), ("other", true.into())];
        let full = item(&entries);
        let values = key(true).of_item(&full).unwrap();
        assert_eq!(key(true).to_item(values), item(&entries[..2]));
        let only = item(&entries[..2]);
        assert_eq!(key(true).of_key(&only).unwrap(), key(true).of_item(&full).unwrap());
    }

    #[test]
    fn words_what_is_wrong_with_an_item() {
        let error = |entries: &[(&str, AttributeValue)]| {
            key(true).of_item(&item(entries)).unwrap_err().message().to_owned()
        };
        assert_eq!(
            error(&[("pk", "a".into())]),
            "One or more parameter values were invalid: Missing the key sk in the item"
        );
        assert_eq!(
            error(&[("pk", 1.into()), ("sk", 1.into())]),
            "One or more parameter values were invalid: \
             Type mismatch for key pk expected: S actual: N"
        );
        assert_eq!(
            error(&[("pk", "".into()), ("sk", 1.into())]),
            "One or more parameter values are not valid. The AttributeValue for a key attribute \
             cannot contain an empty string value. Key: pk"
        );
        let longest = "k".repeat(2048);
        assert!(key(false).of_item(&item(&[("pk", longest.clone().into())])).is_ok());
        assert_eq!(error(&[("pk", (longest + "k").into())]), message::HASH_KEY_SIZE);
    }

    #[test]
    fn keys_hold_the_key_attributes_and_no_others() {
        for entries in [
            vec![("pk", AttributeValue::from("a"))],
            vec![("pk", "a".into()), ("sk", "wrong type".into())],
            vec![("pk", "a".into()), ("other", 1.into())],
            vec![("pk", "a".into()), ("sk", 1.into()), ("other", 1.into())],
        ] {
            let error = key(true).of_key(&item(&entries)).unwrap_err();
            assert_eq!(error.message(), message::KEY_SCHEMA_MISMATCH, "{entries:?}");
        }
    }
}
