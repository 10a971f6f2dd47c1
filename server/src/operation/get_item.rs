//! GetItem on the wire.

use esker_table::Item;
use esker_table::operation::{
    ExpressionAttributeNames, GetItemRequest, GetItemResponse, check_parameters,
};
use serde::Serialize;
use serde::de::MapAccess;

use super::constraint::Constraints;
use super::shared::{CapacityOut, RETURN_CONSUMED_CAPACITY, placeholders, serialize_members};
use super::{Blocking, Operation};
use crate::error::WireError;
use crate::json::{self, Decoded, ItemOut, Members};
use crate::service::{Outcome, Service};

/// GetItem.
pub(crate) struct GetItem;

/// Its members.
#[derive(Default)]
pub(crate) struct Input {
    table_name: Option<String>,
    key: Option<Decoded<Item>>,
    consistent_read: Option<bool>,
    return_consumed_capacity: Option<String>,
    projection_expression: Option<String>,
    names: Option<ExpressionAttributeNames>,
    attributes_to_get: Option<Vec<String>>,
}

impl Members for Input {
    const NAME: &'static str = "GetItemInput";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "TableName" => self.table_name = json::text(map)?,
            "Key" => self.key = json::item(map)?,
            "ConsistentRead" => self.consistent_read = json::flag(map)?,
            "ReturnConsumedCapacity" => self.return_consumed_capacity = json::text(map)?,
            "ExpressionAttributeNames" => self.names = json::text_map(map)?,
            "ProjectionExpression" => self.projection_expression = json::text(map)?,
            "AttributesToGet" => self.attributes_to_get = json::texts(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

serialize_members!(Output, GetItemResponse, |response, writer| {
    writer
        .optional("Item", response.item.as_ref().map(ItemOut))?
        .optional("ConsumedCapacity", response.consumed_capacity.as_ref().map(CapacityOut))?
});

impl Operation for GetItem {
    type Input = Input;
    type Request = GetItemRequest;
    type Response = GetItemResponse;

    fn request(input: Input) -> Result<Self::Request, WireError> {
        let mut checks = Constraints::default();
        let table_name = checks.required(input.table_name, "tableName");
        let key = checks.required(input.key.map(Some), "key");
        let return_consumed_capacity = checks.choice(
            input.return_consumed_capacity.as_deref(),
            "returnConsumedCapacity",
            RETURN_CONSUMED_CAPACITY,
        );
        checks.not_empty(input.attributes_to_get.as_ref(), "attributesToGet");
        checks.check()?;
        let expressions = [("ProjectionExpression", input.projection_expression.is_some())];
        let has_names = input.attributes_to_get.is_some();
        check_parameters(&[("AttributesToGet", has_names)], &expressions, None)?;
        placeholders(input.names.as_ref(), None, &expressions)?;
        Ok(GetItemRequest {
            table_name,
            key: key.transpose()?.unwrap_or_default(),
            projection_expression: input.projection_expression,
            attributes_to_get: input.attributes_to_get,
            expression_attribute_names: input.names,
            consistent_read: input.consistent_read,
            return_consumed_capacity,
        })
    }

    fn response(response: &Self::Response) -> impl Serialize {
        Output(response)
    }
}

impl Blocking for GetItem {
    fn call(service: &dyn Service, request: Self::Request) -> Outcome<Self::Response> {
        service.get_item(request)
    }
}
