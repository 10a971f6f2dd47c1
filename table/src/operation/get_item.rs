//! GetItem: its request and response.

use super::{ConsumedCapacity, ReturnConsumedCapacity};
use crate::Item;

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
