//! BatchWriteItem: its request and response.

use std::collections::BTreeMap;

use super::{ConsumedCapacity, ReturnConsumedCapacity};
use crate::Item;

/// One write of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum WriteRequest {
    /// Writes this item.
    Put(Item),
    /// Deletes the item with this key.
    Delete(Item),
}

/// Up to 25 puts and deletes on one or more tables; each is atomic, the whole is not promised to
/// be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchWriteItemRequest {
    /// What to write, by table.
    pub request_items: BTreeMap<String, Vec<WriteRequest>>,
    /// Which capacity to report.
    pub return_consumed_capacity: Option<ReturnConsumedCapacity>,
}

/// What BatchWriteItem did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchWriteItemResponse {
    /// What was not done: ask again with this.
    pub unprocessed_items: BTreeMap<String, Vec<WriteRequest>>,
    /// The capacity used, by table, if it was asked for.
    pub consumed_capacity: Option<Vec<ConsumedCapacity>>,
}
