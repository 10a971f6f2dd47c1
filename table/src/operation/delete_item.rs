//! DeleteItem: its request and response.

use super::{ConsumedCapacity, ReturnConsumedCapacity, ReturnValues};
use crate::Item;

/// Deletes one item by its key; deleting a missing item succeeds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeleteItemRequest {
    /// The table's name.
    pub table_name: String,
    /// The key attributes, and no others.
    pub key: Item,
    /// `None` or `AllOld`.
    pub return_values: Option<ReturnValues>,
    /// Which capacity to report.
    pub return_consumed_capacity: Option<ReturnConsumedCapacity>,
}

/// What DeleteItem did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeleteItemResponse {
    /// The deleted item, with `AllOld` and where there was one.
    pub attributes: Option<Item>,
    /// The capacity used, if it was asked for.
    pub consumed_capacity: Option<ConsumedCapacity>,
}
