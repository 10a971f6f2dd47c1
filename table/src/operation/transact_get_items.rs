//! TransactGetItems: its request, its response and what it does.

use super::{CapacityUse, ConsumedCapacity, ExpressionAttributeNames, ReturnConsumedCapacity};
use crate::capacity::{TRANSACTION_FACTOR, Transacted, read_units};
use crate::error::{CancellationReason, Result, TableError};
use crate::expression::Placeholders;
use crate::expression::projection;
use crate::expression::projection::{Parts, ProjectionExpression};
use crate::item::EncodedItem;
use crate::key_codec::stored_key;
use crate::schema::check::check_table_names;
use crate::throttle::{Resource, Use};
use crate::transaction::{Targets, Volume, check_action_count};
use crate::validate::prepare_item;
use crate::{Item, Tables};

/// One item of a read transaction: the service's `Get`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TransactGet {
    /// The table's name.
    pub table_name: String,
    /// The key attributes, and no others.
    pub key: Item,
    /// Which parts of the item are answered.
    pub projection_expression: Option<String>,
    /// What the expression's `#names` stand for.
    pub expression_attribute_names: Option<ExpressionAttributeNames>,
}

/// Reads up to 100 items of one or more tables, all as of one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TransactGetItemsRequest {
    /// What to read.
    pub transact_items: Vec<TransactGet>,
    /// Which capacity to report.
    pub return_consumed_capacity: Option<ReturnConsumedCapacity>,
}

/// The items, in the order of the request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TransactGetItemsResponse {
    /// The items; `None` where there is none, or nothing of what was asked for.
    pub responses: Vec<Option<Item>>,
    /// The capacity used, by table, if it was asked for.
    pub consumed_capacity: Option<Vec<ConsumedCapacity>>,
}

impl Tables {
    /// Reads up to 100 items, 4 MB together, all as of one moment. A transaction that is under way is not seen, and
    /// never makes this fail, as it may at the service.
    ///
    /// # Errors
    /// `TransactionCanceled` for a wrong key; `Validation` for what else is wrong with the request; `ResourceNotFound`
    /// if there is no such table.
    pub fn transact_get_items(
        &self,
        mut request: TransactGetItemsRequest,
    ) -> Result<TransactGetItemsResponse> {
        let gets = &mut request.transact_items;
        check_action_count(gets.len())?;
        check_table_names((1..).zip(&*gets).map(|(position, get)| {
            let member = format!("transactItems.{position}.member.get.tableName");
            (get.table_name.as_str(), member)
        }))?;
        gets.iter_mut().try_for_each(|get| prepare_item(&mut get.key).map(|_| ()))?;
        let mut projections = Vec::with_capacity(gets.len());
        for get in &*gets {
            let projection = projection(get.projection_expression.as_deref())?;
            parts(projection.as_deref(), get)?;
            projections.push(projection);
        }
        let mut reasons = Vec::with_capacity(gets.len());
        let mut reads = Vec::with_capacity(gets.len());
        for get in &*gets {
            let found = self.lookup(&get.table_name)?;
            let table = found.table()?;
            reasons.push(match table.key.of_key(&get.key) {
                Ok((partition, sort)) => match self.admit(Resource::table(table), Use::Read) {
                    Ok(()) => {
                        reads.push((table.clone(), stored_key(&partition, sort.as_ref())));
                        CancellationReason::none()
                    }
                    Err(error) => CancellationReason::of(error)?,
                },
                Err(error) => CancellationReason::of(error)?,
            });
        }
        if reads.len() < reasons.len() {
            return Err(TableError::transaction_canceled(reasons));
        }
        let mut targets = Targets::default();
        reads.iter().try_for_each(|(table, key)| targets.add(table.id(), key))?;
        let snapshot = self.db().snapshot();
        let mut volume = Volume::default();
        let mut capacity = Transacted::new(CapacityUse::Reads);
        let mut responses = Vec::with_capacity(reads.len());
        for ((get, projection), (table, key)) in gets.iter().zip(&projections).zip(&reads) {
            let stored = if esker::mutant!("items_transaction_reads_latest") {
                table.items.get(key)?
            } else {
                table.items.get_at(&snapshot, key)?
            };
            let stored = stored.map(EncodedItem::from_bytes).transpose()?;
            let size = stored.as_ref().map_or(0, |item| u64::from(item.logical_size()));
            volume.add(size)?;
            let units = read_units(size, Some(true));
            self.charge(Resource::table(table), Use::Read, TRANSACTION_FACTOR * units);
            capacity.add(&table.name, units);
            let item = match (parts(projection.as_deref(), get)?, stored) {
                (_, None) => None,
                (None, Some(stored)) => Some(stored.decode()?),
                (Some(parts), Some(stored)) => {
                    Some(parts.of_view(stored.view())?).filter(|item| !item.is_empty())
                }
            };
            responses.push(item);
        }
        let consumed_capacity = capacity.consumed(request.return_consumed_capacity);
        Ok(TransactGetItemsResponse { responses, consumed_capacity })
    }
}

/// What an action wants of its item.
fn parts<'r>(
    projection: Option<&'r ProjectionExpression>,
    get: &'r TransactGet,
) -> Result<Option<Parts<'r>>> {
    let mut placeholders = Placeholders::new(get.expression_attribute_names.as_ref(), None)?;
    let parts = projection.map(|projection| projection.bind(&mut placeholders)).transpose()?;
    placeholders.check_all_used()?;
    Ok(parts)
}
