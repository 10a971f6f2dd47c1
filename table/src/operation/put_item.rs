//! PutItem: its request, its response and what it does.

use std::sync::Arc;

use super::{
    ConditionalOperator, ConsumedCapacity, Expected, ExpressionAttributeNames,
    ExpressionAttributeValues, ItemCollectionMetrics, ReturnConsumedCapacity,
    ReturnItemCollectionMetrics, ReturnValues, ReturnValuesOnConditionCheckFailure, returns_old,
};
use crate::block_on::block_on;
use crate::error::Result;
use crate::expression::condition::BoundCondition;
use crate::expression::legacy::{check_parameters, prepare_expected};
use crate::expression::{Placeholders, condition, prepare_placeholders};
use crate::item::NewItem;
use crate::key_codec::stored_key;
use crate::throttle::{Resource, Use};
use crate::write::{Check, Granted, ItemWrite, Waiting, Written};
use crate::{Item, Tables, capacity};

/// Writes an item, replacing the one with the same key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PutItemRequest {
    /// The table's name.
    pub table_name: String,
    /// The item, with its key attributes.
    pub item: Item,
    /// What must hold of the item as it is, or of its absence.
    pub condition_expression: Option<String>,
    /// What the expression's `#names` stand for.
    pub expression_attribute_names: Option<ExpressionAttributeNames>,
    /// What the expression's `:values` stand for.
    pub expression_attribute_values: Option<ExpressionAttributeValues>,
    /// What must hold of attributes of the item as it is, without an expression.
    pub expected: Option<Expected>,
    /// Whether all that is expected must hold, or one of it.
    pub conditional_operator: Option<ConditionalOperator>,
    /// What is answered of the item where the condition does not hold.
    pub return_values_on_condition_check_failure: Option<ReturnValuesOnConditionCheckFailure>,
    /// `None` or `AllOld`.
    pub return_values: Option<ReturnValues>,
    /// Which capacity to report.
    pub return_consumed_capacity: Option<ReturnConsumedCapacity>,
    /// Whether to report the size of the item collection.
    pub return_item_collection_metrics: Option<ReturnItemCollectionMetrics>,
}

/// What PutItem did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PutItemResponse {
    /// The replaced item, with `AllOld` and where there was one.
    pub attributes: Option<Item>,
    /// The capacity used, if it was asked for.
    pub consumed_capacity: Option<ConsumedCapacity>,
    /// The size of the item's collection, if it was asked for and the table has local indexes.
    pub item_collection_metrics: Option<ItemCollectionMetrics>,
}

impl Tables {
    /// Writes an item, replacing the one with the same key. Returns when the write is as durable as
    /// the database's default says.
    ///
    /// # Errors
    /// `ConditionalCheckFailed`; `TransactionConflict` where a transaction is writing the item; `Validation` for a wrong item or key; `ResourceNotFound` if there is no such table.
    pub fn put_item(&self, request: PutItemRequest) -> Result<PutItemResponse> {
        block_on(self.put_item_as(request, Waiting::Blocks))
    }

    /// As [`Tables::put_item`], without blocking on the commit.
    ///
    /// # Errors
    /// As [`Tables::put_item`].
    pub async fn put_item_async(&self, request: PutItemRequest) -> Result<PutItemResponse> {
        self.put_item_as(request, Waiting::Polls).await
    }

    async fn put_item_as(
        &self,
        mut request: PutItemRequest,
        waiting: Waiting,
    ) -> Result<PutItemResponse> {
        let found = self.lookup(&request.table_name)?;
        let wants_old = returns_old(request.return_values)?;
        let joined =
            request.conditional_operator.map(|_| request.expected.iter().flatten().count());
        check_parameters(
            &[("Expected", request.expected.is_some()), ("ConditionalOperator", joined.is_some())],
            &[("ConditionExpression", request.condition_expression.is_some())],
            joined,
        )?;
        prepare_placeholders(
            request.expression_attribute_names.as_ref(),
            request.expression_attribute_values.as_mut(),
            &[("ConditionExpression", request.condition_expression.is_some())],
        )?;
        let new = NewItem::encode(&mut request.item)?;
        let new_bytes = u64::from(new.logical_size());
        prepare_expected(request.expected.as_mut())?;
        let expected =
            BoundCondition::of_expected(request.expected.as_ref(), request.conditional_operator)?;
        let condition = condition(request.condition_expression.as_deref())?;
        let mut placeholders = Placeholders::new(
            request.expression_attribute_names.as_ref(),
            request.expression_attribute_values.as_ref(),
        )?;
        let check = (condition.as_ref())
            .map(|condition| condition.bind(&mut placeholders))
            .transpose()?
            .or(expected)
            .map(|condition| {
                Check::new(condition, request.return_values_on_condition_check_failure)
            });
        placeholders.check_all_used()?;
        let table = found.table()?;
        let (partition, sort) = table.key.of_item(&request.item)?;
        let key = stored_key(&partition, sort.as_ref());
        self.transactions().refuse_conflict(table.id(), &key)?;
        self.admit(Resource::table(table), Use::Write)?;
        let mut writes = [ItemWrite {
            table: Arc::clone(table),
            key,
            new: Some(new),
            check,
            granted: Granted::Nothing,
        }];
        let mut written = self.commit(&mut writes, wants_old, waiting).await?;
        let Written { old, index_units } =
            written.pop().expect("invariant: what was written is answered");
        let old_bytes = old.as_ref().map_or(0, |old| u64::from(old.size_bytes));
        let units = capacity::write_units(old_bytes, new_bytes);
        Ok(PutItemResponse {
            attributes: old.and_then(|old| old.item),
            consumed_capacity: capacity::consumed_by_write(
                request.return_consumed_capacity,
                table,
                units,
                &index_units,
            ),
            item_collection_metrics: self.collection_metrics(
                request.return_item_collection_metrics,
                table,
                &writes[0].key,
            ),
        })
    }
}
