//! Scan: its request and response.

use super::{ConsumedCapacity, ReturnConsumedCapacity, Select};
use crate::Item;

/// Reads every item of a table, or of one segment of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScanRequest {
    /// The table's name.
    pub table_name: String,
    /// Which segment, from 0; together with `total_segments`.
    pub segment: Option<i32>,
    /// How many segments there are: 1 to 1,000,000.
    pub total_segments: Option<i32>,
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
pub struct ScanResponse {
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
