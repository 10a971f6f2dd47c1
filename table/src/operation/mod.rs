//! The operations: one file each, with its request, its response and the
//! method of `Tables` that carries it out. The server decodes JSON into
//! these requests and encodes the responses; programs that embed tables build them directly. Fields
//! that the wire may leave out are `Option`; every request has `Default`, so that
//! `..Default::default()` fills in the rest.

mod batch_get_item;
mod batch_write_item;
mod create_table;
mod delete_item;
mod delete_table;
mod describe_table;
mod get_item;
mod legacy;
mod list_tables;
mod put_item;
mod query;
mod scan;
mod tags;
mod transact_get_items;
mod transact_write_items;
mod update_indexes;
mod update_item;
mod update_table;

use std::collections::BTreeMap;

pub use batch_get_item::{BatchGetItemRequest, BatchGetItemResponse, KeysAndAttributes};
pub use batch_write_item::{BatchWriteItemRequest, BatchWriteItemResponse, WriteRequest};
pub use create_table::{CreateTableRequest, CreateTableResponse};
pub use delete_item::{DeleteItemRequest, DeleteItemResponse};
pub use delete_table::{DeleteTableRequest, DeleteTableResponse};
pub use describe_table::{DescribeTableRequest, DescribeTableResponse};
pub use get_item::{GetItemRequest, GetItemResponse};
pub use legacy::{
    AttributeAction, AttributeUpdates, AttributeValueUpdate, ComparisonOperator, Condition,
    ConditionalOperator, Conditions, Expected, ExpectedAttributeValue,
};
pub use list_tables::{ListTablesRequest, ListTablesResponse};
pub use put_item::{PutItemRequest, PutItemResponse};
pub use query::{QueryRequest, QueryResponse};
pub use scan::{ScanRequest, ScanResponse};
pub use tags::{
    ListTagsOfResourceRequest, ListTagsOfResourceResponse, TagResourceRequest, UntagResourceRequest,
};
pub use transact_get_items::{TransactGet, TransactGetItemsRequest, TransactGetItemsResponse};
pub use transact_write_items::{
    TransactAction, TransactWriteItem, TransactWriteItemsRequest, TransactWriteItemsResponse,
};
pub(crate) use update_item::as_update;
pub use update_item::{UpdateItemRequest, UpdateItemResponse};
pub use update_table::{UpdateTableRequest, UpdateTableResponse};

use crate::error::{Result, TableError};
pub use crate::expression::legacy::check_parameters;
pub use crate::expression::prepare_placeholders;
pub use crate::transaction::check_action_count;
use crate::{AttributeValue, Item, message};

/// `ExpressionAttributeNames`: what each `#name` stands for (the keys include the `#`).
pub type ExpressionAttributeNames = BTreeMap<String, String>;

/// `ExpressionAttributeValues`: what each `:value` stands for (the keys include the `:`).
pub type ExpressionAttributeValues = BTreeMap<String, AttributeValue>;

/// What a write returns of the item. PutItem and DeleteItem accept only `None` and `AllOld`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReturnValues {
    /// Nothing.
    #[default]
    None,
    /// The whole item as it was.
    AllOld,
    /// The updated attributes as they were.
    UpdatedOld,
    /// The whole item as it is now.
    AllNew,
    /// The updated attributes as they are now.
    UpdatedNew,
}

/// What a conditional write whose condition does not hold answers of the item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReturnValuesOnConditionCheckFailure {
    /// Nothing.
    #[default]
    None,
    /// The whole item as it is: [`TableError::item`].
    AllOld,
}

/// Which consumed capacity a response reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReturnConsumedCapacity {
    /// None.
    #[default]
    None,
    /// The sum of each table.
    Total,
    /// The sum of each table, and the table's and each index's own share.
    Indexes,
}

/// Whether a write reports the sizes of the item collections that it changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReturnItemCollectionMetrics {
    /// No.
    #[default]
    None,
    /// Of tables with local indexes.
    Size,
}

/// How large an item collection is: what a table with local indexes, and those, have under one partition key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ItemCollectionMetrics {
    /// The partition key.
    pub item_collection_key: Item,
    /// Between how many gigabytes it is, by estimation.
    pub size_estimate_range_gb: [f64; 2],
}

/// What Query and Scan return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// Every attribute of the items.
    AllAttributes,
    /// The attributes that an index projects.
    AllProjectedAttributes,
    /// The attributes that a projection names.
    SpecificAttributes,
    /// Only how many items there are.
    Count,
}

/// What capacity was used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapacityUse {
    /// Reads.
    Reads,
    /// Writes.
    Writes,
}

/// The capacity that an operation consumed on one table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConsumedCapacity {
    /// The table.
    pub table_name: String,
    /// Units, to the half.
    pub capacity_units: f64,
    /// The share of the table itself, present with `ReturnConsumedCapacity::Indexes`.
    pub table: Option<f64>,
    /// What the units were used for, where that is told: by transactions.
    pub capacity_use: Option<CapacityUse>,
    /// The shares of the local indexes that were used, by name.
    pub local_secondary_indexes: Option<BTreeMap<String, f64>>,
    /// The shares of the global indexes that were used, by name.
    pub global_secondary_indexes: Option<BTreeMap<String, f64>>,
}

/// Whether a PutItem or DeleteItem returns the old item.
fn returns_old(values: Option<ReturnValues>) -> Result<bool> {
    match values.unwrap_or_default() {
        ReturnValues::None => Ok(false),
        ReturnValues::AllOld => Ok(true),
        _ => Err(TableError::validation(message::RETURN_VALUES)),
    }
}

/// Refuses a batch without tables, a table without requests, and more than `most` requests.
/// `lengths` has the number of requests of each table.
fn check_batch(operation: &str, lengths: &[usize], most: usize) -> Result<()> {
    let least = "have length greater than or equal to 1";
    let error = if lengths.is_empty() {
        Some(message::constraint("{}", "requestItems", least))
    } else if lengths.iter().any(|length| *length == 0 || *length > most) {
        let map = format!(
            "satisfy constraint: [Member must have length less than or equal to {most}, \
             Member must {least}]"
        );
        Some(message::map_constraint("requestItems", &map))
    } else {
        None
    };
    if let Some(error) = error {
        return Err(TableError::validation(message::validation_errors(&[error])));
    }
    if lengths.iter().sum::<usize>() > most {
        return Err(TableError::validation(message::batch_too_large(operation)));
    }
    Ok(())
}
