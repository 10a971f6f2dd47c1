//! Query: its request, its response and what it does.

use super::{
    ConditionalOperator, Conditions, ConsumedCapacity, ExpressionAttributeNames,
    ExpressionAttributeValues, ReturnConsumedCapacity, Select,
};
use crate::error::{Result, TableError};
use crate::expression::condition::BoundCondition;
use crate::expression::key_condition::BoundKeyCondition;
use crate::expression::legacy::{check_parameters, prepare_conditions};
use crate::expression::projection::Parts;
use crate::expression::{Placeholders, filter, key_condition, prepare_placeholders, projection};
use crate::page::{PageRequest, check_limit, counts_only, read_page};
use crate::schema::check::{check_index_name, item_table_name};
use crate::source::Source;
use crate::throttle::{Resource, Use};
use crate::{Item, Tables, message};

/// Reads the items of one partition in the order of their sort keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueryRequest {
    /// The table's name.
    pub table_name: String,
    /// The index that is read, by its own key, instead of the table.
    pub index_name: Option<String>,
    /// Which items: the partition key's equality, and at most one condition on the sort key; of
    /// an index with more of both, the equality of all of the first, and of any of the second before the last condition.
    pub key_condition_expression: Option<String>,
    /// Which of the items that are read are answered.
    pub filter_expression: Option<String>,
    /// Which parts of the items are answered.
    pub projection_expression: Option<String>,
    /// Which items, without an expression: as `key_condition_expression`.
    pub key_conditions: Option<Conditions>,
    /// Which of the items that are read are answered, without an expression.
    pub query_filter: Option<Conditions>,
    /// Whether all conditions of the filter must hold, or one of them.
    pub conditional_operator: Option<ConditionalOperator>,
    /// Which attributes of the items are answered, without an expression.
    pub attributes_to_get: Option<Vec<String>>,
    /// What the expressions' `#names` stand for.
    pub expression_attribute_names: Option<ExpressionAttributeNames>,
    /// What the expressions' `:values` stand for.
    pub expression_attribute_values: Option<ExpressionAttributeValues>,
    /// False reads backward; true when absent.
    pub scan_index_forward: Option<bool>,
    /// At most so many items: 1 or more.
    pub limit: Option<i32>,
    /// The key after which to continue.
    pub exclusive_start_key: Option<Item>,
    /// Whether the read is charged as a consistent one; every read here is. Refused on a global
    /// index.
    pub consistent_read: Option<bool>,
    /// What is answered of the items.
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

impl QueryRequest {
    fn check_parameters(&self) -> Result<()> {
        let joined = self.conditional_operator.map(|_| self.query_filter.iter().flatten().count());
        // Only its own expression may not stand beside it.
        let has_key_conditions =
            self.key_conditions.is_some() && self.key_condition_expression.is_some();
        check_parameters(
            &[
                ("AttributesToGet", self.attributes_to_get.is_some()),
                ("QueryFilter", self.query_filter.is_some()),
                ("ConditionalOperator", joined.is_some()),
                ("KeyConditions", has_key_conditions),
            ],
            &[
                ("ProjectionExpression", self.projection_expression.is_some()),
                ("FilterExpression", self.filter_expression.is_some()),
                ("KeyConditionExpression", self.key_condition_expression.is_some()),
            ],
            joined,
        )
    }
}

impl Tables {
    /// Reads one page of the items of a partition, in the order of their sort keys: up to the
    /// limit, and up to 1 MB.
    ///
    /// # Errors
    /// `Validation` for a wrong request; `ResourceNotFound` if there is no such table.
    pub fn query(&self, mut request: QueryRequest) -> Result<QueryResponse> {
        let name = item_table_name(&request.table_name)?;
        let limit = check_limit(request.limit)?;
        request.check_parameters()?;
        let index_name = request.index_name.as_deref();
        index_name.map_or(Ok(()), check_index_name)?;
        prepare_placeholders(
            request.expression_attribute_names.as_ref(),
            request.expression_attribute_values.as_mut(),
            &[
                ("FilterExpression", request.filter_expression.is_some()),
                ("KeyConditionExpression", request.key_condition_expression.is_some()),
                ("ProjectionExpression", request.projection_expression.is_some()),
            ],
        )?;
        let names = request.expression_attribute_names.as_ref();
        let values = request.expression_attribute_values.as_ref();
        prepare_conditions(request.query_filter.as_mut())?;
        let query_filter =
            BoundCondition::of_filter(request.query_filter.as_ref(), request.conditional_operator)?;
        let attributes = Parts::of_names(request.attributes_to_get.as_ref())?;
        prepare_conditions(request.key_conditions.as_mut())?;
        request.key_conditions.as_ref().map_or(Ok(()), BoundKeyCondition::check_conditions)?;
        let mut placeholders = Placeholders::new(names, values)?;
        let filter = filter(request.filter_expression.as_deref())?;
        let filter = filter.as_ref().map(|filter| filter.bind(&mut placeholders)).transpose()?;
        let count_only = counts_only(
            request.select,
            request.projection_expression.is_some(),
            request.attributes_to_get.is_some(),
            index_name.is_some(),
        )?;
        if request.key_condition_expression.is_none() && request.key_conditions.is_none() {
            return Err(TableError::validation(message::NO_KEY_CONDITION));
        }
        let expression = key_condition(request.key_condition_expression.as_deref())?;
        let projection = projection(request.projection_expression.as_deref())?;
        let parts = projection.as_ref().map(|p| p.bind(&mut placeholders)).transpose()?;
        let parts = parts.or(attributes);
        let table = self.table(name)?;
        let source = Source::new(&table, index_name, request.consistent_read)?;
        let key = source.attributes();
        let condition = match (&expression, &request.key_conditions) {
            (Some(expression), _) => expression.bind(&mut placeholders, key)?,
            (None, Some(conditions)) => BoundKeyCondition::of_conditions(conditions, key)?,
            (None, None) => return Err(TableError::validation(message::NO_KEY_CONDITION)),
        };
        placeholders.check_all_used()?;
        let key_names = key.names();
        if let Some(name) = filter.as_ref().and_then(|f| f.names_one_of(&key_names)) {
            return Err(TableError::validation(message::key_in_filter(name)));
        }
        source.check_scalars(filter.as_ref())?;
        if let Some(name) = query_filter.as_ref().and_then(|f| f.names_one_of(&key_names)) {
            return Err(TableError::validation(message::legacy::key_in_filter(name)));
        }
        let filter = filter.or(query_filter);
        filter.as_ref().map_or(Ok(()), |filter| source.check_filter(filter))?;
        let fetches = source.fetches(request.select, parts.as_ref())?;
        let range = source.range(&condition);
        let start_after = (request.exclusive_start_key.as_ref())
            .map(|key| source.start_of_query(key, &condition, &range))
            .transpose()?;
        let forward = request.scan_index_forward.unwrap_or(true);
        let request_page = PageRequest {
            range,
            start_after,
            forward,
            limit,
            filter: filter.as_ref(),
            parts: parts.as_ref(),
            count_only,
            fetches,
            consistent_read: request.consistent_read,
        };
        self.admit(Resource::source(source), Use::Read)?;
        let page = read_page(self.db(), source, request_page)?;
        page.charge(self, source, request.consistent_read);
        let asked = request.return_consumed_capacity;
        Ok(QueryResponse {
            consumed_capacity: page.consumed(source, asked, request.consistent_read),
            items: page.items,
            count: page.count,
            scanned_count: page.scanned_count,
            last_evaluated_key: page.last_key,
        })
    }
}
