//! Query on the wire.

use esker_table::Item;
use esker_table::operation::{
    ExpressionAttributeNames, QueryRequest, QueryResponse, check_parameters,
};
use serde::Serialize;
use serde::de::MapAccess;

use super::constraint::Constraints;
use super::legacy::{self, ByName, ConditionIn};
use super::shared::{
    CapacityOut, RETURN_CONSUMED_CAPACITY, SELECT, placeholders, serialize_members,
};
use super::{Blocking, Operation};
use crate::error::WireError;
use crate::json::{self, Decoded, ItemOut, ItemsOut, Members};
use crate::service::{Outcome, Service};

/// Query.
pub(crate) struct Query;

/// Its members.
#[derive(Default)]
pub(crate) struct Input {
    table_name: Option<String>,
    index_name: Option<String>,
    key_condition_expression: Option<String>,
    filter_expression: Option<String>,
    projection_expression: Option<String>,
    names: Option<ExpressionAttributeNames>,
    values: Option<json::ExpressionValues>,
    scan_index_forward: Option<bool>,
    limit: Option<i32>,
    exclusive_start_key: Option<Decoded<Item>>,
    consistent_read: Option<bool>,
    select: Option<String>,
    return_consumed_capacity: Option<String>,
    key_conditions: Option<ByName<ConditionIn>>,
    query_filter: Option<ByName<ConditionIn>>,
    conditional_operator: Option<String>,
    attributes_to_get: Option<Vec<String>>,
}

impl Members for Input {
    const NAME: &'static str = "QueryInput";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "TableName" => self.table_name = json::text(map)?,
            "IndexName" => self.index_name = json::text(map)?,
            "KeyConditionExpression" => self.key_condition_expression = json::text(map)?,
            "FilterExpression" => self.filter_expression = json::text(map)?,
            "ProjectionExpression" => self.projection_expression = json::text(map)?,
            "ExpressionAttributeNames" => self.names = json::text_map(map)?,
            "ExpressionAttributeValues" => self.values = json::expression_values(map)?,
            "ScanIndexForward" => self.scan_index_forward = json::flag(map)?,
            "Limit" => self.limit = json::integer(map)?,
            "ExclusiveStartKey" => self.exclusive_start_key = json::item(map)?,
            "ConsistentRead" => self.consistent_read = json::flag(map)?,
            "Select" => self.select = json::text(map)?,
            "ReturnConsumedCapacity" => self.return_consumed_capacity = json::text(map)?,
            "KeyConditions" => self.key_conditions = json::structure_map(map)?,
            "QueryFilter" => self.query_filter = json::structure_map(map)?,
            "ConditionalOperator" => self.conditional_operator = json::text(map)?,
            "AttributesToGet" => self.attributes_to_get = json::texts(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

serialize_members!(Output, QueryResponse, |response, writer| {
    writer
        .optional("Items", response.items.as_deref().map(ItemsOut))?
        .member("Count", response.count)?
        .member("ScannedCount", response.scanned_count)?
        .optional("LastEvaluatedKey", response.last_evaluated_key.as_ref().map(ItemOut))?
        .optional("ConsumedCapacity", response.consumed_capacity.as_ref().map(CapacityOut))?
});

impl Operation for Query {
    type Input = Input;
    type Request = QueryRequest;
    type Response = QueryResponse;

    fn request(input: Input) -> Result<Self::Request, WireError> {
        let mut checks = Constraints::default();
        let table_name = checks.required(input.table_name, "tableName");
        let select = checks.choice(input.select.as_deref(), "select", SELECT);
        let return_consumed_capacity = checks.choice(
            input.return_consumed_capacity.as_deref(),
            "returnConsumedCapacity",
            RETURN_CONSUMED_CAPACITY,
        );
        let joined =
            legacy::joined(input.conditional_operator.as_ref(), input.query_filter.as_ref());
        checks.not_empty(input.attributes_to_get.as_ref(), "attributesToGet");
        let query_filter = legacy::conditions(&mut checks, input.query_filter, "queryFilter");
        let key_conditions = legacy::conditions(&mut checks, input.key_conditions, "keyConditions");
        checks.check()?;
        // Only its own expression may not stand beside it.
        let has_key_conditions =
            key_conditions.is_some() && input.key_condition_expression.is_some();
        check_parameters(
            &[
                ("AttributesToGet", input.attributes_to_get.is_some()),
                ("QueryFilter", query_filter.is_some()),
                ("ConditionalOperator", joined.is_some()),
                ("KeyConditions", has_key_conditions),
            ],
            &[
                ("ProjectionExpression", input.projection_expression.is_some()),
                ("FilterExpression", input.filter_expression.is_some()),
                ("KeyConditionExpression", input.key_condition_expression.is_some()),
            ],
            joined,
        )?;
        let conditional_operator =
            legacy::conditional_operator(input.conditional_operator.as_deref())?;
        let values = placeholders(
            input.names.as_ref(),
            input.values,
            &[
                ("FilterExpression", input.filter_expression.is_some()),
                ("KeyConditionExpression", input.key_condition_expression.is_some()),
                ("ProjectionExpression", input.projection_expression.is_some()),
            ],
        )?;
        Ok(QueryRequest {
            table_name,
            index_name: input.index_name,
            key_condition_expression: input.key_condition_expression,
            filter_expression: input.filter_expression,
            projection_expression: input.projection_expression,
            key_conditions: key_conditions.transpose()?,
            query_filter: query_filter.transpose()?,
            conditional_operator,
            attributes_to_get: input.attributes_to_get,
            expression_attribute_names: input.names,
            expression_attribute_values: values,
            scan_index_forward: input.scan_index_forward,
            limit: input.limit,
            exclusive_start_key: input.exclusive_start_key.transpose()?,
            consistent_read: input.consistent_read,
            select,
            return_consumed_capacity,
        })
    }

    fn response(response: &Self::Response) -> impl Serialize {
        Output(response)
    }
}

impl Blocking for Query {
    fn call(service: &dyn Service, request: Self::Request) -> Outcome<Self::Response> {
        service.query(request)
    }
}
