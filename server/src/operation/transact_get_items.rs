//! TransactGetItems on the wire.

use esker_table::Item;
use esker_table::operation::{
    ExpressionAttributeNames, TransactGet, TransactGetItemsRequest, TransactGetItemsResponse,
    check_action_count,
};
use serde::de::MapAccess;
use serde::{Serialize, Serializer};

use super::constraint::Constraints;
use super::shared::{
    CapacitiesOut, RETURN_CONSUMED_CAPACITY, Writer, placeholders, serialize_members,
};
use super::{Blocking, Operation};
use crate::error::WireError;
use crate::json::{self, Decoded, ItemOut, Members};
use crate::service::{Outcome, Service};

/// TransactGetItems.
pub(crate) struct TransactGetItems;

/// Its members.
#[derive(Default)]
pub(crate) struct Input {
    transact_items: Option<Vec<Action>>,
    return_consumed_capacity: Option<String>,
}

impl Members for Input {
    const NAME: &'static str = "TransactGetItemsInput";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "TransactItems" => self.transact_items = json::list(map)?,
            "ReturnConsumedCapacity" => self.return_consumed_capacity = json::text(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Action {
    get: Option<Get>,
}

impl Members for Action {
    const NAME: &'static str = "TransactGetItem";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "Get" => self.get = json::structure(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Get {
    table_name: Option<String>,
    key: Option<Decoded<Item>>,
    projection_expression: Option<String>,
    names: Option<ExpressionAttributeNames>,
}

impl Members for Get {
    const NAME: &'static str = "Get";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "TableName" => self.table_name = json::text(map)?,
            "Key" => self.key = json::item(map)?,
            "ProjectionExpression" => self.projection_expression = json::text(map)?,
            "ExpressionAttributeNames" => self.names = json::text_map(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

serialize_members!(Output, TransactGetItemsResponse, |response, writer| {
    writer
        .member("Responses", response.responses.iter().map(ResponseOut).collect::<Vec<_>>())?
        .optional("ConsumedCapacity", response.consumed_capacity.as_deref().map(CapacitiesOut))?
});

/// `ItemResponse`.
struct ResponseOut<'a>(&'a Option<Item>);

impl Serialize for ResponseOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Writer::start(serializer)?.optional("Item", self.0.as_ref().map(ItemOut))?.end()
    }
}

impl Operation for TransactGetItems {
    type Input = Input;
    type Request = TransactGetItemsRequest;
    type Response = TransactGetItemsResponse;

    fn request(input: Input) -> Result<Self::Request, WireError> {
        let mut checks = Constraints::default();
        if let Some(actions) = &input.transact_items {
            check_action_count(actions.len())?;
        }
        let actions = checks.required(input.transact_items, "transactItems");
        let mut wanted = Vec::with_capacity(actions.len());
        for (position, action) in (1..).zip(actions) {
            let path = format!("transactItems.{position}.member.get");
            let Some(mut get) = checks.required(action.get.map(Some), &path) else { continue };
            let key = checks.required(get.key.take().map(Some), &format!("{path}.key"));
            let table_name = checks.required(get.table_name.take(), &format!("{path}.tableName"));
            wanted.push((table_name, key, get));
        }
        let return_consumed_capacity = checks.choice(
            input.return_consumed_capacity.as_deref(),
            "returnConsumedCapacity",
            RETURN_CONSUMED_CAPACITY,
        );
        checks.check()?;
        let mut transact_items = Vec::with_capacity(wanted.len());
        for (table_name, key, get) in wanted {
            // Names without an expression are names that none uses, which is told later.
            placeholders(get.names.as_ref(), None, &[("ProjectionExpression", true)])?;
            transact_items.push(TransactGet {
                table_name,
                key: key.transpose()?.unwrap_or_default(),
                projection_expression: get.projection_expression,
                expression_attribute_names: get.names,
            });
        }
        Ok(TransactGetItemsRequest { transact_items, return_consumed_capacity })
    }

    fn response(response: &Self::Response) -> impl Serialize {
        Output(response)
    }
}

impl Blocking for TransactGetItems {
    fn call(service: &dyn Service, request: Self::Request) -> Outcome<Self::Response> {
        service.transact_get_items(request)
    }
}
