//! BatchGetItem: its request and response.

use std::collections::BTreeMap;

use super::{ConsumedCapacity, ReturnConsumedCapacity};
use crate::Item;

/// The items wanted of one table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeysAndAttributes {
    /// The keys, each with the key attributes and no others.
    pub keys: Vec<Item>,
    /// Whether the reads are charged as consistent ones; every read here is.
    pub consistent_read: Option<bool>,
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
