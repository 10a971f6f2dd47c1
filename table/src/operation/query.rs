//! Query: its request and response.

use super::{
    ConsumedCapacity, ExpressionAttributeNames, ExpressionAttributeValues, ReturnConsumedCapacity,
    Select,
};
use crate::Item;

/// Reads the items of one partition in the order of their sort keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueryRequest {
    /// The table's name.
    pub table_name: String,
    /// Which items: the partition key's equality, and at most one condition on the sort key.
    pub key_condition_expression: Option<String>,
    /// What the expression's `#names` stand for.
    pub expression_attribute_names: Option<ExpressionAttributeNames>,
    /// What the expression's `:values` stand for.
    pub expression_attribute_values: Option<ExpressionAttributeValues>,
    /// False reads backward; true when absent.
    pub scan_index_forward: Option<bool>,
    /// At most so many items: 1 or more.
    pub limit: Option<i32>,
    /// The key after which to continue.
    pub exclusive_start_key: Option<Item>,
    /// Whether the read is charged as a consistent one; every read here is.
    pub consistent_read: Option<bool>,
    /// `AllAttributes` or `Count`.
    pub select: Option<Select>,
    /// Which capacity to report.
    pub return_consumed_capacity: Option<ReturnConsumedCapacity>,
}

/// One page of items.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueryResponse {
    /// The items; absent with `Select::Count`.
    pub items: Option<Vec<Item>>,
    /// How many items matched.
    pub count: u32,
    /// How many items were read.
    pub scanned_count: u32,
    /// Where the next page starts; absent when there is none.
    pub last_evaluated_key: Option<Item>,
    /// The capacity used, if it was asked for.
    pub consumed_capacity: Option<ConsumedCapacity>,
}
