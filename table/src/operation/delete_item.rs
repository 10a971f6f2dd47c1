//! DeleteItem: its request, its response and what it does.

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
use crate::key_codec::stored_key;
use crate::throttle::{Resource, Use};
use crate::validate::prepare_item;
use crate::write::{Check, Granted, ItemWrite, Waiting, Written};
use crate::{Item, Tables, capacity};

/// Deletes one item by its key; deleting a missing item succeeds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeleteItemRequest {
    /// The table's name.
    pub table_name: String,
    /// The key attributes, and no others.
    pub key: Item,
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

/// What DeleteItem did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeleteItemResponse {
    /// The deleted item, with `AllOld` and where there was one.
    pub attributes: Option<Item>,
    /// The capacity used, if it was asked for.
    pub consumed_capacity: Option<ConsumedCapacity>,
    /// The size of the item's collection, if it was asked for and the table has local indexes.
    pub item_collection_metrics: Option<ItemCollectionMetrics>,
}

impl Tables {
    /// Deletes one item by its key; deleting a missing item succeeds. Returns when the write is as
    /// durable as the database's default says.
    ///
    /// # Errors
    /// `ConditionalCheckFailed`; `TransactionConflict` where a transaction is writing the item; `Validation` for a wrong key; `ResourceNotFound` if there is no such table.
    pub fn delete_item(&self, request: DeleteItemRequest) -> Result<DeleteItemResponse> {
        block_on(self.delete_item_as(request, Waiting::Blocks))
    }

    /// As [`Tables::delete_item`], without blocking on the commit.
    ///
    /// # Errors
    /// As [`Tables::delete_item`].
    pub async fn delete_item_async(
        &self,
        request: DeleteItemRequest,
    ) -> Result<DeleteItemResponse> {
        self.delete_item_as(request, Waiting::Polls).await
    }

    async fn delete_item_as(
        &self,
        mut request: DeleteItemRequest,
        waiting: Waiting,
    ) -> Result<DeleteItemResponse> {
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
        prepare_item(&mut request.key)?;
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
        let (partition, sort) = table.key.of_key(&request.key)?;
        let key = stored_key(&partition, sort.as_ref());
        self.transactions().refuse_conflict(table.id(), &key)?;
        self.admit(Resource::table(table), Use::Write)?;
        let mut writes = [ItemWrite {
            table: Arc::clone(table),
            key,
            new: None,
            check,
            granted: Granted::Nothing,
        }];
        let mut written = self.commit(&mut writes, wants_old, waiting).await?;
        let Written { old, index_units } =
            written.pop().expect("invariant: what was written is answered");
        let old_bytes = old.as_ref().map_or(0, |old| u64::from(old.size_bytes));
        let units = capacity::write_units(old_bytes, 0);
        Ok(DeleteItemResponse {
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
