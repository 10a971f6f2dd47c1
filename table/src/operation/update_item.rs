//! UpdateItem: its request, its response and what it does.

use std::sync::Arc;

use super::{
    AttributeUpdates, ConditionalOperator, ConsumedCapacity, Expected, ExpressionAttributeNames,
    ExpressionAttributeValues, ItemCollectionMetrics, ReturnConsumedCapacity,
    ReturnItemCollectionMetrics, ReturnValues, ReturnValuesOnConditionCheckFailure,
};
use crate::block_on::block_on;
use crate::error::{Result, TableError};
use crate::expression::condition::BoundCondition;
use crate::expression::legacy::{check_parameters, prepare_expected, prepare_updates};
use crate::expression::update::BoundUpdate;
use crate::expression::{Placeholders, condition, prepare_placeholders, update};
use crate::item::NewItem;
use crate::key_codec::stored_key;
use crate::table::Table;
use crate::throttle::{Resource, Use};
use crate::validate::prepare_item;
use crate::write::{Check, Granted, ItemWrite, Updated, Waiting};
use crate::{Item, Tables, capacity, message};

/// Changes an item, or makes one where there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateItemRequest {
    /// The table's name.
    pub table_name: String,
    /// The key attributes, and no others.
    pub key: Item,
    /// How the item is changed. Without it, an item of nothing but its key is made where there is none.
    pub update_expression: Option<String>,
    /// What must hold of the item as it is, or of its absence.
    pub condition_expression: Option<String>,
    /// What the expressions' `#names` stand for.
    pub expression_attribute_names: Option<ExpressionAttributeNames>,
    /// What the expressions' `:values` stand for.
    pub expression_attribute_values: Option<ExpressionAttributeValues>,
    /// How attributes of the item are changed, without an expression.
    pub attribute_updates: Option<AttributeUpdates>,
    /// What must hold of attributes of the item as it is, without an expression.
    pub expected: Option<Expected>,
    /// Whether all that is expected must hold, or one of it.
    pub conditional_operator: Option<ConditionalOperator>,
    /// What is answered of the item where the condition does not hold.
    pub return_values_on_condition_check_failure: Option<ReturnValuesOnConditionCheckFailure>,
    /// What is answered of the item.
    pub return_values: Option<ReturnValues>,
    /// Which capacity to report.
    pub return_consumed_capacity: Option<ReturnConsumedCapacity>,
    /// Whether to report the size of the item collection.
    pub return_item_collection_metrics: Option<ReturnItemCollectionMetrics>,
}

/// What UpdateItem did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateItemResponse {
    /// What was asked for of the item, where there is any of it.
    pub attributes: Option<Item>,
    /// The capacity used, if it was asked for.
    pub consumed_capacity: Option<ConsumedCapacity>,
    /// The size of the item's collection, if it was asked for and the table has local indexes.
    pub item_collection_metrics: Option<ItemCollectionMetrics>,
}

impl Tables {
    /// Changes an item, or makes one where there is none; what only takes away makes none. Returns when the write is as
    /// durable as the database's default says.
    ///
    /// # Errors
    /// `ConditionalCheckFailed`; `TransactionConflict` where a transaction is writing the item; `Validation` for a wrong key or expression, or one that does not fit the item;
    /// `ResourceNotFound` if there is no such table.
    pub fn update_item(&self, request: UpdateItemRequest) -> Result<UpdateItemResponse> {
        block_on(self.update_item_as(request, Waiting::Blocks))
    }

    /// As [`Tables::update_item`], without blocking on the commit.
    ///
    /// # Errors
    /// As [`Tables::update_item`].
    pub async fn update_item_async(
        &self,
        request: UpdateItemRequest,
    ) -> Result<UpdateItemResponse> {
        self.update_item_as(request, Waiting::Polls).await
    }

    async fn update_item_as(
        &self,
        mut request: UpdateItemRequest,
        waiting: Waiting,
    ) -> Result<UpdateItemResponse> {
        let found = self.lookup(&request.table_name)?;
        let joined =
            request.conditional_operator.map(|_| request.expected.iter().flatten().count());
        let expressions = [
            ("UpdateExpression", request.update_expression.is_some()),
            ("ConditionExpression", request.condition_expression.is_some()),
        ];
        check_parameters(
            &[
                ("AttributeUpdates", request.attribute_updates.is_some()),
                ("Expected", request.expected.is_some()),
                ("ConditionalOperator", joined.is_some()),
            ],
            &expressions,
            joined,
        )?;
        prepare_placeholders(
            request.expression_attribute_names.as_ref(),
            request.expression_attribute_values.as_mut(),
            &expressions,
        )?;
        prepare_item(&mut request.key)?;
        prepare_updates(request.attribute_updates.as_mut())?;
        let updates = BoundUpdate::of_updates(request.attribute_updates.as_ref())?;
        prepare_expected(request.expected.as_mut())?;
        let expected =
            BoundCondition::of_expected(request.expected.as_ref(), request.conditional_operator)?;
        let mut placeholders = Placeholders::new(
            request.expression_attribute_names.as_ref(),
            request.expression_attribute_values.as_ref(),
        )?;
        let expression = update(request.update_expression.as_deref())?;
        let update = (expression.as_ref()).map(|u| u.bind(&mut placeholders)).transpose()?;
        let update = update.or(updates);
        let condition = condition(request.condition_expression.as_deref())?;
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
        if let Some(name) = update.as_ref().and_then(|u| u.changes_one_of(&table.key.names())) {
            return Err(TableError::validation(message::key_update(name)));
        }
        self.transactions().refuse_conflict(table.id(), &key)?;
        self.admit(Resource::table(table), Use::Write)?;
        let only_takes_away = update.as_ref().is_some_and(BoundUpdate::only_takes_away);
        let is_legacy = request.attribute_updates.is_some();
        let returned = request.return_values.unwrap_or_default();
        let mut attributes = None;
        // Of the items, only what is answered is kept until the commit has ended.
        let change = |table: &Table, old: Option<Item>| -> Result<Option<NewItem>> {
            if old.is_none()
                && only_takes_away
                && let Some(update) = &update
            {
                // Nothing comes of it, but its paths have to lead somewhere.
                update.apply(request.key)?;
                return Ok(None);
            }
            let of_old = match returned {
                ReturnValues::AllOld => old.clone(),
                ReturnValues::UpdatedOld => old.as_ref().and_then(|old| parts(&update, old)),
                _ => None,
            };
            let indexed = table.key.indexed().values_of(old.as_ref());
            let item = old.unwrap_or(request.key);
            let mut item = match &update {
                Some(update) => update.apply(item).map_err(|error| worded(error, is_legacy))?,
                None => item,
            };
            let new = NewItem::encode(&mut item).map_err(as_update)?;
            table.key.indexed().check_updated(&indexed, &item)?;
            attributes = match returned {
                ReturnValues::AllNew => Some(item),
                ReturnValues::UpdatedNew => parts(&update, &item),
                _ => of_old,
            };
            Ok(Some(new))
        };
        let collection_key = key.clone();
        let write = ItemWrite {
            table: Arc::clone(table),
            key,
            new: None,
            check,
            granted: Granted::Nothing,
        };
        let updated = self.commit_update(write, waiting, change).await?;
        let Updated { old_bytes, new_bytes, index_units } = updated;
        let units =
            capacity::write_units(old_bytes.map_or(0, u64::from), new_bytes.map_or(0, u64::from));
        if new_bytes.is_none() {
            self.charge(Resource::table(table), Use::Write, units);
        }
        Ok(UpdateItemResponse {
            attributes,
            consumed_capacity: capacity::consumed_by_write(
                request.return_consumed_capacity,
                table,
                units,
                &index_units,
            ),
            item_collection_metrics: self.collection_metrics(
                request.return_item_collection_metrics,
                table,
                &collection_key,
            ),
        })
    }
}

/// What an item has at the places that the update names, if it has anything.
fn parts(update: &Option<BoundUpdate<'_>>, item: &Item) -> Option<Item> {
    let parts = update.as_ref()?.parts_of(item);
    (!parts.is_empty()).then_some(parts)
}

/// What does not fit the item is worded in another way where there is no expression.
fn worded(error: TableError, is_legacy: bool) -> TableError {
    match error.message() {
        message::WRONG_OPERAND if is_legacy => TableError::validation(message::legacy::UPDATE_TYPE),
        _ => error,
    }
}

/// What is wrong with an updated item is worded in its own way.
pub(crate) fn as_update(error: TableError) -> TableError {
    TableError::validation(match error.message() {
        message::ITEM_SIZE => message::UPDATED_ITEM_SIZE,
        message::NESTING => message::UPDATED_NESTING,
        other => other,
    })
}
