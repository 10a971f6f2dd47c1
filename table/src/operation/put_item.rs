//! PutItem: its request and response.

use super::{ConsumedCapacity, ReturnConsumedCapacity, ReturnValues};
use crate::Item;

/// Writes an item, replacing the one with the same key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PutItemRequest {
    /// The table's name.
    pub table_name: String,
    /// The item, with its key attributes.
    pub item: Item,
    /// `None` or `AllOld`.
    pub return_values: Option<ReturnValues>,
    /// Which capacity to report.
    pub return_consumed_capacity: Option<ReturnConsumedCapacity>,
}

/// What PutItem did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PutItemResponse {
    /// The replaced item, with `AllOld` and where there was one.
    pub attributes: Option<Item>,
    /// The capacity used, if it was asked for.
    pub consumed_capacity: Option<ConsumedCapacity>,
}
