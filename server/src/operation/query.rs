//! Query on the wire.

use esker_table::Item;
use esker_table::operation::{ExpressionAttributeNames, QueryRequest, QueryResponse};
use serde::Serialize;
use serde::de::MapAccess;

use super::constraint::{Constraints, Unsupported, or_unsupported};
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
    unsupported: Unsupported,
}

impl Members for Input {
    const NAME: &'static str = "QueryInput";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "TableName" => self.table_name = json::text(map)?,
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
            _ => or_unsupported!(
                self,
                name,
                map,
                [
                    "AttributesToGet",
                    "ConditionalOperator",
                    "IndexName",
                    "KeyConditions",
                    "QueryFilter",
                ]
            ),
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
        checks.check()?;
        input.unsupported.check()?;
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
            key_condition_expression: input.key_condition_expression,
            filter_expression: input.filter_expression,
            projection_expression: input.projection_expression,
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
