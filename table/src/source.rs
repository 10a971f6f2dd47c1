//! What a Query or a Scan reads: a table, or one of its indexes. Knows where the entries are, how
//! their keys are made of a request's values, and what of them makes a key that a page can go on
//! from.

use esker::Keyspace;

use crate::error::{Result, TableError};
use crate::expression::condition::BoundCondition;
use crate::expression::key_condition::BoundKeyCondition;
use crate::expression::projection::Parts;
use crate::index::Index;
use crate::key_codec::{
    KeyPart, KeyRange, SortForm, base_key, decode_base_key, decode_global_index_key,
    decode_local_index_key, global_index_key, global_index_prefix, local_index_key,
    partition_prefix,
};
use crate::key_schema::{KeyAttribute, KeyAttributes};
use crate::operation::Select;
use crate::schema::ScalarAttributeType;
use crate::table::Table;
use crate::{Item, message};

/// A table or one of its indexes.
#[derive(Clone, Copy)]
pub(crate) struct Source<'t> {
    pub(crate) table: &'t Table,
    pub(crate) index: Option<&'t Index>,
}

/// A key that a page goes on from, by its values.
struct Position<'k> {
    hash: Vec<KeyPart<'k>>,
    range: Vec<KeyPart<'k>>,
    /// The table's own key.
    base: (KeyPart<'k>, Option<KeyPart<'k>>),
}

impl<'t> Source<'t> {
    /// The table, or the index of a name.
    ///
    /// # Errors
    /// `Validation` if there is no such index, or if a consistent read of a global one is asked for.
    pub(crate) fn new(
        table: &'t Table,
        index_name: Option<&str>,
        consistent_read: Option<bool>,
    ) -> Result<Self> {
        let index = index_name.map(|name| table.index(name)).transpose()?;
        if consistent_read == Some(true) && index.is_some_and(|index| index.shape.is_global) {
            return Err(TableError::validation(message::CONSISTENT_READ_OF_GLOBAL_INDEX));
        }
        Ok(Self { table, index })
    }

    /// The key by which the entries are found.
    pub(crate) fn attributes(self) -> KeyAttributes<'t> {
        self.index.map_or_else(|| self.table.key.attributes(), |index| index.shape.attributes())
    }

    pub(crate) fn entries(self) -> &'t Keyspace {
        self.index.map_or(&self.table.items, |index| &index.entries)
    }

    /// Refuses a filter that looks into an attribute of the key, which is never a document.
    pub(crate) fn check_scalars(self, filter: Option<&BoundCondition<'_>>) -> Result<()> {
        let Some(filter) = filter else { return Ok(()) };
        let found = match filter.looks_into_one_of(&self.table.key.names()) {
            Some(name) => Some(("Key", name)),
            None => filter.looks_into_one_of(&self.attributes().names()).map(|n| ("IndexKey", n)),
        };
        match found {
            Some((kind, name)) => Err(TableError::validation(message::key_not_scalar(kind, name))),
            None => Ok(()),
        }
    }

    /// Whether whole items have to be read from the table, because a local index does not hold what
    /// is asked for.
    ///
    /// # Errors
    /// `Validation` if a global index does not hold it.
    pub(crate) fn fetches(self, select: Option<Select>, parts: Option<&Parts<'_>>) -> Result<bool> {
        let Some(index) = self.index else { return Ok(false) };
        let wants_all = select == Some(Select::AllAttributes) && !index.shape.holds_all();
        let names = parts.into_iter().flat_map(Parts::names);
        let missing: Vec<&str> = names.filter(|name| !index.shape.holds(name)).collect();
        if index.shape.is_global {
            let name = &index.record.name;
            let refuse = |text: String| Err(TableError::validation(text));
            if wants_all {
                return refuse(message::all_of_global_index(name));
            }
            if !missing.is_empty() {
                return refuse(message::not_projected(name, &missing));
            }
        }
        Ok(wants_all || !missing.is_empty())
    }

    /// Refuses the filter of a Query that names what its index does not hold, of local indexes too. That
    /// of a Scan is judged by what the index holds, as the service does it.
    ///
    /// # Errors
    /// `Validation`.
    pub(crate) fn check_filter(self, filter: &BoundCondition<'_>) -> Result<()> {
        let Some(index) = self.index else { return Ok(()) };
        let missing: Vec<&str> =
            filter.names().into_iter().filter(|name| !index.shape.holds(name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let text = message::filter_not_projected(&index.record.name, &missing);
        Err(TableError::validation(text))
    }

    /// The keys of the entries that a condition chooses.
    pub(crate) fn range(self, condition: &BoundKeyCondition<'_>) -> KeyRange {
        let (prefix, form) = match self.index {
            Some(index) if index.shape.is_global => {
                let prefix = global_index_prefix(&condition.hash, &condition.leading);
                (prefix, SortForm::Delimited)
            }
            index => {
                let form = if index.is_some() { SortForm::Delimited } else { SortForm::Raw };
                (partition_prefix(&condition.hash[0]), form)
            }
        };
        match &condition.sort {
            Some(sort) => sort.range(&prefix, form),
            None if self.is_one_item() => {
                // Without a sort key, the prefix is the one key of the partition.
                let end = Some([&prefix[..], &[0]].concat());
                KeyRange { start: prefix, end }
            }
            None => KeyRange::prefix(prefix),
        }
    }

    /// Whether a partition has one item at most.
    fn is_one_item(self) -> bool {
        self.index.is_none() && self.table.key.sort.is_none()
    }

    /// The key of an entry as a `LastEvaluatedKey` shows it: with the index's attributes and the
    /// table's.
    pub(crate) fn key_item(self, key: &[u8]) -> Result<Item> {
        let base_sort = self.base_sort_type();
        let Some(index) = self.index else {
            return Ok(self.table.key.to_item(decode_base_key(key, base_sort)?));
        };
        let name = |attribute: &KeyAttribute| attribute.name.clone();
        let attributes = index.shape.attributes();
        let types = index.shape.range_types();
        let mut item = Item::new();
        match (&types[..], base_sort) {
            (&[index_sort], Some(base_sort)) if !index.shape.is_global => {
                let key = decode_local_index_key(key, index_sort, base_sort)?;
                let base = (key.partition, Some(key.base_sort));
                item.extend(self.table.key.to_item(base));
                item.insert(name(&attributes.range[0]), key.index_sort.into_value());
            }
            _ => {
                let key = decode_global_index_key(key, attributes.hash.len(), &types)?;
                item.extend(self.table.key.to_item(decode_base_key(key.base_key, base_sort)?));
                let parts = key.hash.into_iter().chain(key.range);
                item.extend(attributes.all().map(name).zip(parts.map(KeyPart::into_value)));
            }
        }
        Ok(item)
    }

    /// Under which key the item of an index's entry is stored in the table.
    pub(crate) fn base_key_of(self, key: &[u8]) -> Result<Vec<u8>> {
        let item = self.key_item(key)?;
        let (partition, sort) = self.table.key.of_stored(&item)?;
        Ok(base_key(&partition, sort.as_ref()))
    }

    fn base_sort_type(self) -> Option<ScalarAttributeType> {
        self.table.key.sort.as_ref().map(|attribute| attribute.scalar_type)
    }

    /// An `ExclusiveStartKey` of a Scan as a stored key.
    pub(crate) fn start_of_scan(self, key: &Item) -> Result<Vec<u8>> {
        if let Some(index) = self.index {
            // Told of any attribute of a wrong type, before it is told that one is missing.
            let attributes = index.shape.attributes().all();
            for attribute in attributes.chain(self.table.key.attributes().all()) {
                let Some(value) = key.get(&attribute.name) else { continue };
                if KeyPart::from_value(value).map(|part| part.scalar_type())
                    != Some(attribute.scalar_type)
                {
                    return Err(TableError::validation(message::index_key_type_mismatch(
                        &attribute.name,
                        attribute.scalar_type.as_str(),
                        value.type_name(),
                        &index.record.name,
                    )));
                }
            }
        }
        let position = self.position(key)?;
        Ok(self.stored(&position.hash, &position.range, &position.base))
    }

    /// An `ExclusiveStartKey` of a Query as a stored key.
    ///
    /// # Errors
    /// `Validation` also if the key is none that the query could have answered.
    pub(crate) fn start_of_query(
        self,
        key: &Item,
        condition: &BoundKeyCondition<'_>,
        range: &KeyRange,
    ) -> Result<Vec<u8>> {
        let refuse = |text: &str| Err(TableError::validation(text));
        let position = self.position(key);
        let Position { hash, range: sort, base } =
            position.map_err(|_| TableError::validation(message::START_KEY))?;
        let pairs = || hash.iter().zip(&condition.hash);
        let others = hash.len() - 1;
        if pairs().take(others).any(|(part, wanted)| part != wanted) {
            return refuse(message::AT_MOST_ONE_ROW);
        }
        // As it would be in the partition that is queried: are its other values in the range?
        let base_there = match self.index {
            Some(index) if index.shape.is_global => base.clone(),
            _ => (condition.hash[0].clone(), base.1.clone()),
        };
        if !self.is_one_item() && !range.contains(&self.stored(&condition.hash, &sort, &base_there))
        {
            return refuse(message::START_KEY_RANGE);
        }
        if pairs().any(|(part, wanted)| part != wanted) {
            return refuse(match (&condition.sort, self.is_one_item()) {
                (Some(_), _) => message::AT_MOST_ONE_ROW,
                (None, true) => message::START_KEY_OF_ONE_ITEM,
                (None, false) => message::START_KEY_OUTSIDE,
            });
        }
        Ok(self.stored(&hash, &sort, &base))
    }

    /// The values of a request's key, which has the attributes of the table's key and of the
    /// index's, and no others.
    fn position<'k>(self, key: &'k Item) -> Result<Position<'k>> {
        let Some(index) = self.index else {
            let (partition, sort) = (self.table.key.of_key(key)).map_err(|error| {
                TableError::validation(message::start_key_invalid(error.message()))
            })?;
            let (hash, range) = (vec![partition.clone()], sort.clone().into_iter().collect());
            return Ok(Position { hash, range, base: (partition, sort) });
        };
        let invalid = || TableError::validation(message::START_KEY);
        let own = index.shape.attributes();
        let table = self.table.key.attributes();
        let mut names: Vec<&str> = own.names();
        names.extend(table.names());
        names.sort_unstable();
        names.dedup();
        if key.len() != names.len() {
            return Err(invalid());
        }
        let part = |attribute: &KeyAttribute| -> Result<KeyPart<'k>> {
            let value = key.get(&attribute.name).ok_or_else(invalid)?;
            attribute.part(value, || message::START_KEY.to_owned())
        };
        let base =
            (part(&self.table.key.partition)?, self.table.key.sort.as_ref().map(part).transpose()?);
        let hash = own.hash.iter().map(part).collect::<Result<_>>()?;
        let range = own.range.iter().map(part).collect::<Result<_>>()?;
        Ok(Position { hash, range, base })
    }

    /// Under which key an entry with these values is stored.
    fn stored(
        self,
        hash: &[KeyPart<'_>],
        range: &[KeyPart<'_>],
        (partition, sort): &(KeyPart<'_>, Option<KeyPart<'_>>),
    ) -> Vec<u8> {
        match (self.index, range, sort) {
            (None, ..) => base_key(partition, sort.as_ref()),
            (Some(index), [index_sort], Some(sort)) if !index.shape.is_global => {
                local_index_key(partition, index_sort, sort)
            }
            (Some(_), ..) => global_index_key(hash, range, &base_key(partition, sort.as_ref())),
        }
    }
}
