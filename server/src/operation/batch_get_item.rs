//! BatchGetItem on the wire.

use std::collections::BTreeMap;

use esker_table::Item;
use esker_table::operation::{
    BatchGetItemRequest, BatchGetItemResponse, ExpressionAttributeNames, KeysAndAttributes,
    check_parameters,
};
use serde::de::MapAccess;
use serde::{Serialize, Serializer};

use super::constraint::Constraints;
use super::shared::{
    CapacitiesOut, RETURN_CONSUMED_CAPACITY, Writer, placeholders, serialize_members,
};
use super::{Blocking, Operation};
use crate::error::WireError;
use crate::json::{self, Decoded, ItemsOut, Members};
use crate::service::{Outcome, Service};

/// BatchGetItem.
pub(crate) struct BatchGetItem;

/// Its members.
#[derive(Default)]
pub(crate) struct Input {
    request_items: Option<BTreeMap<String, Option<Keys>>>,
    return_consumed_capacity: Option<String>,
}

impl Members for Input {
    const NAME: &'static str = "BatchGetItemInput";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "RequestItems" => self.request_items = json::structure_map(map)?,
            "ReturnConsumedCapacity" => self.return_consumed_capacity = json::text(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Keys {
    keys: Option<Decoded<Vec<Item>>>,
    consistent_read: Option<bool>,
    projection_expression: Option<String>,
    names: Option<ExpressionAttributeNames>,
    attributes_to_get: Option<Vec<String>>,
}

impl Members for Keys {
    const NAME: &'static str = "KeysAndAttributes";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "Keys" => self.keys = json::items(map)?,
            "ConsistentRead" => self.consistent_read = json::flag(map)?,
            "ExpressionAttributeNames" => self.names = json::text_map(map)?,
            "ProjectionExpression" => self.projection_expression = json::text(map)?,
            "AttributesToGet" => self.attributes_to_get = json::texts(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

serialize_members!(Output, BatchGetItemResponse, |response, writer| {
    writer
        .member("Responses", ResponsesOut(&response.responses))?
        .member("UnprocessedKeys", UnprocessedOut(&response.unprocessed_keys))?
        .optional("ConsumedCapacity", response.consumed_capacity.as_deref().map(CapacitiesOut))?
});

struct ResponsesOut<'a>(&'a BTreeMap<String, Vec<Item>>);

impl Serialize for ResponsesOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(table, items)| (table, ItemsOut(items))))
    }
}

struct UnprocessedOut<'a>(&'a BTreeMap<String, KeysAndAttributes>);

impl Serialize for UnprocessedOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(table, keys)| (table, KeysOut(keys))))
    }
}

struct KeysOut<'a>(&'a KeysAndAttributes);

impl Serialize for KeysOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Writer::start(serializer)?
            .member("Keys", ItemsOut(&self.0.keys))?
            .optional("AttributesToGet", self.0.attributes_to_get.as_ref())?
            .optional("ProjectionExpression", self.0.projection_expression.as_ref())?
            .optional("ExpressionAttributeNames", self.0.expression_attribute_names.as_ref())?
            .optional("ConsistentRead", self.0.consistent_read)?
            .end()
    }
}

impl Operation for BatchGetItem {
    type Input = Input;
    type Request = BatchGetItemRequest;
    type Response = BatchGetItemResponse;

    fn request(input: Input) -> Result<Self::Request, WireError> {
        let mut checks = Constraints::default();
        let tables = checks.required(input.request_items, "requestItems");
        let mut wanted = Vec::with_capacity(tables.len());
        for (table, keys) in tables {
            let mut keys = keys.unwrap_or_default();
            let path = format!("requestItems.{table}.member");
            let list = checks.required(keys.keys.take().map(Some), &format!("{path}.keys"));
            checks.not_empty(keys.attributes_to_get.as_ref(), &format!("{path}.attributesToGet"));
            wanted.push((table, list, keys));
        }
        let return_consumed_capacity = checks.choice(
            input.return_consumed_capacity.as_deref(),
            "returnConsumedCapacity",
            RETURN_CONSUMED_CAPACITY,
        );
        checks.check()?;
        // Of the whole request, not of each table.
        let has_any = |has: fn(&Keys) -> bool| wanted.iter().any(|(.., keys)| has(keys));
        check_parameters(
            &[("AttributesToGet", has_any(|keys| keys.attributes_to_get.is_some()))],
            &[("ProjectionExpression", has_any(|keys| keys.projection_expression.is_some()))],
            None,
        )?;
        let mut request_items = BTreeMap::new();
        for (table, list, keys) in wanted {
            let expressions = [("ProjectionExpression", keys.projection_expression.is_some())];
            placeholders(keys.names.as_ref(), None, &expressions)?;
            let wanted = KeysAndAttributes {
                keys: list.transpose()?.unwrap_or_default(),
                projection_expression: keys.projection_expression,
                attributes_to_get: keys.attributes_to_get,
                expression_attribute_names: keys.names,
                consistent_read: keys.consistent_read,
            };
            request_items.insert(table, wanted);
        }
        Ok(BatchGetItemRequest { request_items, return_consumed_capacity })
    }

    fn response(response: &Self::Response) -> impl Serialize {
        Output(response)
    }
}

impl Blocking for BatchGetItem {
    fn call(service: &dyn Service, request: Self::Request) -> Outcome<Self::Response> {
        service.batch_get_item(request)
    }
}
