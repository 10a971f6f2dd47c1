//! PutItem on the wire.

use std::sync::Arc;

use esker_table::Item;
use esker_table::operation::{
    ExpressionAttributeNames, PutItemRequest, PutItemResponse, check_parameters,
};
use serde::Serialize;
use serde::de::MapAccess;

use super::constraint::Constraints;
use super::legacy::{self, ByName, ExpectedIn};
use super::shared::{
    COLLECTION_METRICS, CapacityOut, CollectionOut, RETURN_CONSUMED_CAPACITY,
    RETURN_ITEM_COLLECTION_METRICS, RETURN_VALUES_ON_FAILURE, placeholders, serialize_members,
};
use super::{Awaited, Found, Operation, single_write};
use crate::error::WireError;
use crate::json::{self, Decoded, ItemOut, Members};
use crate::service::{Pending, Service};

/// PutItem.
pub(crate) struct PutItem;

/// Its members.
#[derive(Default)]
pub(crate) struct Input {
    table_name: Option<String>,
    item: Option<Decoded<Item>>,
    return_values: Option<String>,
    return_consumed_capacity: Option<String>,
    return_item_collection_metrics: Option<String>,
    return_values_on_failure: Option<String>,
    condition_expression: Option<String>,
    names: Option<ExpressionAttributeNames>,
    values: Option<json::ExpressionValues>,
    expected: Option<ByName<ExpectedIn>>,
    conditional_operator: Option<String>,
}

impl Members for Input {
    const NAME: &'static str = "PutItemInput";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "TableName" => self.table_name = json::text(map)?,
            "Item" => self.item = json::item(map)?,
            "ReturnValues" => self.return_values = json::text(map)?,
            "ReturnConsumedCapacity" => self.return_consumed_capacity = json::text(map)?,
            "ReturnItemCollectionMetrics" => {
                self.return_item_collection_metrics = json::text(map)?;
            }
            "ReturnValuesOnConditionCheckFailure" => {
                self.return_values_on_failure = json::text(map)?;
            }
            "ExpressionAttributeNames" => self.names = json::text_map(map)?,
            "ExpressionAttributeValues" => self.values = json::expression_values(map)?,
            "ConditionExpression" => self.condition_expression = json::text(map)?,
            "Expected" => self.expected = json::structure_map(map)?,
            "ConditionalOperator" => self.conditional_operator = json::text(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

serialize_members!(Output, PutItemResponse, |response, writer| {
    writer
        .optional("Attributes", response.attributes.as_ref().map(ItemOut))?
        .optional("ConsumedCapacity", response.consumed_capacity.as_ref().map(CapacityOut))?
        .optional(
            COLLECTION_METRICS,
            response.item_collection_metrics.as_ref().map(CollectionOut),
        )?
});

impl Operation for PutItem {
    type Input = Input;
    type Request = PutItemRequest;
    type Response = PutItemResponse;

    fn request(input: Input) -> Result<Self::Request, WireError> {
        let mut checks = Constraints::default();
        let table_name = checks.required(input.table_name, "tableName");
        let item = checks.required(input.item.map(Some), "item");
        let return_consumed_capacity = checks.choice(
            input.return_consumed_capacity.as_deref(),
            "returnConsumedCapacity",
            RETURN_CONSUMED_CAPACITY,
        );
        let return_values =
            single_write::return_values(&mut checks, input.return_values.as_deref());
        let return_item_collection_metrics = checks.choice(
            input.return_item_collection_metrics.as_deref(),
            "returnItemCollectionMetrics",
            RETURN_ITEM_COLLECTION_METRICS,
        );
        let return_values_on_condition_check_failure = checks.choice(
            input.return_values_on_failure.as_deref(),
            "returnValuesOnConditionCheckFailure",
            RETURN_VALUES_ON_FAILURE,
        );
        let joined = legacy::joined(input.conditional_operator.as_ref(), input.expected.as_ref());
        let expected = legacy::expected(&mut checks, input.expected);
        checks.check()?;
        check_parameters(
            &[("Expected", expected.is_some()), ("ConditionalOperator", joined.is_some())],
            &[("ConditionExpression", input.condition_expression.is_some())],
            joined,
        )?;
        let conditional_operator =
            legacy::conditional_operator(input.conditional_operator.as_deref())?;
        let values = placeholders(
            input.names.as_ref(),
            input.values,
            &[("ConditionExpression", input.condition_expression.is_some())],
        )?;
        let item = item.transpose()?.unwrap_or_default();
        Ok(PutItemRequest {
            table_name,
            item,
            condition_expression: input.condition_expression,
            expression_attribute_names: input.names,
            expression_attribute_values: values,
            expected: expected.transpose()?,
            conditional_operator,
            return_values_on_condition_check_failure,
            return_values,
            return_consumed_capacity,
            return_item_collection_metrics,
        })
    }

    fn response(response: &Self::Response) -> impl Serialize {
        Output(response)
    }

    fn refusal(error: WireError, found: Found) -> WireError {
        single_write::worded(error, found)
    }
}

impl Awaited for PutItem {
    fn start(service: Arc<dyn Service>, request: Self::Request) -> Pending<Self::Response> {
        service.put_item_async(request)
    }
}
