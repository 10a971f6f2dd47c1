//! Scan on the wire.

use esker_table::Item;
use esker_table::operation::{
    ExpressionAttributeNames, ScanRequest, ScanResponse, check_parameters,
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

/// Scan.
pub(crate) struct Scan;

/// Its members.
#[derive(Default)]
pub(crate) struct Input {
    table_name: Option<String>,
    index_name: Option<String>,
    segment: Option<i32>,
    total_segments: Option<i32>,
    limit: Option<i32>,
    exclusive_start_key: Option<Decoded<Item>>,
    consistent_read: Option<bool>,
    select: Option<String>,
    return_consumed_capacity: Option<String>,
    filter_expression: Option<String>,
    projection_expression: Option<String>,
    names: Option<ExpressionAttributeNames>,
    values: Option<json::ExpressionValues>,
    scan_filter: Option<ByName<ConditionIn>>,
    conditional_operator: Option<String>,
    attributes_to_get: Option<Vec<String>>,
}

impl Members for Input {
    const NAME: &'static str = "ScanInput";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "TableName" => self.table_name = json::text(map)?,
            "IndexName" => self.index_name = json::text(map)?,
            "Segment" => self.segment = json::integer(map)?,
            "TotalSegments" => self.total_segments = json::integer(map)?,
            "Limit" => self.limit = json::integer(map)?,
            "ExclusiveStartKey" => self.exclusive_start_key = json::item(map)?,
            "ConsistentRead" => self.consistent_read = json::flag(map)?,
            "Select" => self.select = json::text(map)?,
            "ReturnConsumedCapacity" => self.return_consumed_capacity = json::text(map)?,
            "FilterExpression" => self.filter_expression = json::text(map)?,
            "ProjectionExpression" => self.projection_expression = json::text(map)?,
            "ExpressionAttributeNames" => self.names = json::text_map(map)?,
            "ExpressionAttributeValues" => self.values = json::expression_values(map)?,
            "ScanFilter" => self.scan_filter = json::structure_map(map)?,
            "ConditionalOperator" => self.conditional_operator = json::text(map)?,
            "AttributesToGet" => self.attributes_to_get = json::texts(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

serialize_members!(Output, ScanResponse, |response, writer| {
    writer
        .optional("Items", response.items.as_deref().map(ItemsOut))?
        .member("Count", response.count)?
        .member("ScannedCount", response.scanned_count)?
        .optional("LastEvaluatedKey", response.last_evaluated_key.as_ref().map(ItemOut))?
        .optional("ConsumedCapacity", response.consumed_capacity.as_ref().map(CapacityOut))?
});

impl Operation for Scan {
    type Input = Input;
    type Request = ScanRequest;
    type Response = ScanResponse;

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
            legacy::joined(input.conditional_operator.as_ref(), input.scan_filter.as_ref());
        checks.not_empty(input.attributes_to_get.as_ref(), "attributesToGet");
        let scan_filter = legacy::conditions(&mut checks, input.scan_filter, "scanFilter");
        checks.check()?;
        check_parameters(
            &[
                ("AttributesToGet", input.attributes_to_get.is_some()),
                ("ScanFilter", scan_filter.is_some()),
                ("ConditionalOperator", joined.is_some()),
            ],
            &[
                ("ProjectionExpression", input.projection_expression.is_some()),
                ("FilterExpression", input.filter_expression.is_some()),
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
                ("ProjectionExpression", input.projection_expression.is_some()),
            ],
        )?;
        Ok(ScanRequest {
            table_name,
            index_name: input.index_name,
            filter_expression: input.filter_expression,
            projection_expression: input.projection_expression,
            scan_filter: scan_filter.transpose()?,
            conditional_operator,
            attributes_to_get: input.attributes_to_get,
            expression_attribute_names: input.names,
            expression_attribute_values: values,
            segment: input.segment,
            total_segments: input.total_segments,
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

impl Blocking for Scan {
    fn call(service: &dyn Service, request: Self::Request) -> Outcome<Self::Response> {
        service.scan(request)
    }
}
