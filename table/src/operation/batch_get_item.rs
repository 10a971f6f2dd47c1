//! BatchGetItem: its request, its response and what it does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{ConsumedCapacity, ExpressionAttributeNames, ReturnConsumedCapacity, check_batch};
use crate::error::{Result, TableError};
use crate::expression::legacy::check_parameters;
use crate::expression::projection::Parts;
use crate::expression::{parts, projection};
use crate::item::EncodedItem;
use crate::key_codec::base_key;
use crate::schema::check::table_name;
use crate::table::Table;
use crate::throttle::{Resource, Use};
use crate::validate::prepare_item;
use crate::{Item, Tables, capacity, message};

const KEYS_MAX: usize = 100;
/// Logical bytes of the items in a response.
const RESPONSE_BYTES_MAX: u64 = 16 << 20;

/// The items wanted of one table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeysAndAttributes {
    /// The keys, each with the key attributes and no others.
    pub keys: Vec<Item>,
    /// Which parts of the items are answered.
    pub projection_expression: Option<String>,
    /// Which attributes of the items are answered, without an expression.
    pub attributes_to_get: Option<Vec<String>>,
    /// What the expression's `#names` stand for.
    pub expression_attribute_names: Option<ExpressionAttributeNames>,
    /// Whether the reads are charged as consistent ones; every read here is.
    pub consistent_read: Option<bool>,
}

impl KeysAndAttributes {
    fn check_parameters(&self) -> Result<()> {
        check_parameters(
            &[("AttributesToGet", self.attributes_to_get.is_some())],
            &[("ProjectionExpression", self.projection_expression.is_some())],
            None,
        )
    }
}

/// Reads up to 100 items of one or more tables.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchGetItemRequest {
    /// What to read, by table.
    pub request_items: BTreeMap<String, KeysAndAttributes>,
    /// Which capacity to report.
    pub return_consumed_capacity: Option<ReturnConsumedCapacity>,
}

/// The items that exist, up to 16 MB of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchGetItemResponse {
    /// The items, by table; a table of which none was found has an empty list.
    pub responses: BTreeMap<String, Vec<Item>>,
    /// What did not fit into the response: ask again with this.
    pub unprocessed_keys: BTreeMap<String, KeysAndAttributes>,
    /// The capacity used, by table, if it was asked for.
    pub consumed_capacity: Option<Vec<ConsumedCapacity>>,
}

/// The keys of one table, ready to be read.
struct TableReads {
    /// The table as the request names it, and the plain name.
    given: String,
    name: String,
    table: Arc<Table>,
    wanted: KeysAndAttributes,
    keys: Vec<Vec<u8>>,
}

impl Tables {
    /// Reads up to 100 items of one or more tables. What would make the response larger than 16 MB
    /// is answered as unprocessed, and so is what there is no capacity for, unless that is all of it.
    ///
    /// # Errors
    /// `Validation` for a wrong request or a key that occurs twice; `ResourceNotFound` if there is
    /// no such table.
    pub fn batch_get_item(&self, request: BatchGetItemRequest) -> Result<BatchGetItemResponse> {
        let lengths: Vec<usize> = request.request_items.values().map(|r| r.keys.len()).collect();
        check_batch("BatchGetItem", &lengths, KEYS_MAX)?;
        let mut reads = Vec::with_capacity(lengths.len());
        for (given, mut wanted) in request.request_items {
            let name = table_name(&given)?.to_owned();
            wanted.check_parameters()?;
            wanted.keys.iter_mut().try_for_each(|key| prepare_item(key).map(|_| ()))?;
            let projection = projection(wanted.projection_expression.as_deref())?;
            parts(projection.as_deref(), wanted.expression_attribute_names.as_ref())?;
            Parts::of_names(wanted.attributes_to_get.as_ref())?;
            reads.push((given, name, wanted));
        }
        let reads: Vec<TableReads> = (reads.into_iter())
            .map(|(given, name, wanted)| self.table_reads(given, name, wanted))
            .collect::<Result<_>>()?;
        let mut response = BatchGetItemResponse::default();
        let mut consumed = Vec::new();
        let mut total_bytes = 0;
        let mut refusal = None;
        let mut is_any_read = false;
        for read in reads {
            let mut units = 0.0;
            let mut found = Vec::new();
            let mut left = Vec::new();
            let projection = projection(read.wanted.projection_expression.as_deref())?;
            let names = read.wanted.expression_attribute_names.as_ref();
            let attributes = Parts::of_names(read.wanted.attributes_to_get.as_ref())?;
            let parts = parts(projection.as_deref(), names)?.or(attributes);
            for (key, stored_key) in read.wanted.keys.into_iter().zip(read.keys) {
                if total_bytes >= RESPONSE_BYTES_MAX {
                    left.push(key);
                    continue;
                }
                let resource = Resource::table(&read.table);
                if let Err(error) = self.admit(resource, Use::Read) {
                    refusal.get_or_insert(error);
                    left.push(key);
                    continue;
                }
                is_any_read = true;
                let stored = read.table.items.get(stored_key)?;
                let stored = stored.map(EncodedItem::from_bytes).transpose()?;
                let size = stored.as_ref().map_or(0, |item| u64::from(item.logical_size()));
                if total_bytes + size > RESPONSE_BYTES_MAX {
                    // Nothing behind it is read either, so that large items are not put off for
                    // ever.
                    total_bytes = RESPONSE_BYTES_MAX;
                    left.push(key);
                    continue;
                }
                total_bytes += size;
                let used = capacity::read_units(size, read.wanted.consistent_read);
                self.charge(resource, Use::Read, used);
                units += used;
                let answered = |item: EncodedItem| match &parts {
                    Some(parts) => parts.of_view(item.view()),
                    None => item.decode(),
                };
                found.extend(stored.map(answered).transpose()?);
            }
            consumed.extend(capacity::consumed(
                request.return_consumed_capacity,
                &read.name,
                units,
            ));
            if !left.is_empty() {
                let rest = KeysAndAttributes { keys: left, ..read.wanted };
                response.unprocessed_keys.insert(read.given.clone(), rest);
            }
            response.responses.insert(read.given, found);
        }
        if let Some(refusal) = refusal.filter(|_| !is_any_read) {
            return Err(refusal);
        }
        response.consumed_capacity = (!consumed.is_empty()).then_some(consumed);
        Ok(response)
    }

    fn table_reads(
        &self,
        given: String,
        name: String,
        wanted: KeysAndAttributes,
    ) -> Result<TableReads> {
        let table = self.table(&name)?;
        let mut keys = Vec::with_capacity(wanted.keys.len());
        for key in &wanted.keys {
            let (partition, sort) = table.key.of_key(key)?;
            keys.push(base_key(&partition, sort.as_ref()));
        }
        if keys.iter().collect::<BTreeSet<_>>().len() < keys.len() {
            return Err(TableError::validation(message::BATCH_DUPLICATES));
        }
        Ok(TableReads { given, name, table, wanted, keys })
    }
}
