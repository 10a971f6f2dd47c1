//! TransactWriteItems on the wire.

use std::marker::PhantomData;
use std::sync::Arc;

use esker_table::Item;
use esker_table::operation::{
    ExpressionAttributeNames, ReturnValuesOnConditionCheckFailure, TransactAction,
    TransactWriteItem, TransactWriteItemsRequest, TransactWriteItemsResponse, check_action_count,
};
use serde::Serialize;
use serde::de::MapAccess;

use super::constraint::Constraints;
use super::shared::{
    COLLECTION_METRICS, CapacitiesOut, CollectionsOut, RETURN_CONSUMED_CAPACITY,
    RETURN_ITEM_COLLECTION_METRICS, RETURN_VALUES_ON_FAILURE, placeholders, serialize_members,
};
use super::{Awaited, Operation};
use crate::error::WireError;
use crate::json::{self, Decoded, Members};
use crate::message;
use crate::service::{Pending, Service};

/// Characters of a token.
const TOKEN_LEN_MAX: usize = 36;

/// TransactWriteItems.
pub(crate) struct TransactWriteItems;

/// Its members.
#[derive(Default)]
pub(crate) struct Input {
    transact_items: Option<Vec<Actions>>,
    client_request_token: Option<String>,
    return_consumed_capacity: Option<String>,
    return_item_collection_metrics: Option<String>,
}

impl Members for Input {
    const NAME: &'static str = "TransactWriteItemsInput";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "TransactItems" => self.transact_items = json::list(map)?,
            "ClientRequestToken" => self.client_request_token = json::text(map)?,
            "ReturnConsumedCapacity" => self.return_consumed_capacity = json::text(map)?,
            "ReturnItemCollectionMetrics" => {
                self.return_item_collection_metrics = json::text(map)?;
            }
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

/// What was sent for one action: one of these, if all is well. In boxes, because a list may have many that are empty.
#[derive(Default)]
struct Actions {
    condition_check: Option<Box<Action<Check>>>,
    put: Option<Box<Action<Put>>>,
    delete: Option<Box<Action<Delete>>>,
    update: Option<Box<Action<Update>>>,
}

impl Members for Actions {
    const NAME: &'static str = "TransactWriteItem";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "ConditionCheck" => self.condition_check = json::structure(map)?.map(Box::new),
            "Put" => self.put = json::structure(map)?.map(Box::new),
            "Delete" => self.delete = json::structure(map)?.map(Box::new),
            "Update" => self.update = json::structure(map)?.map(Box::new),
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

/// What the actions differ in.
trait Kind: Default {
    /// The structure's name in the service model.
    const NAME: &'static str;
    /// The member that holds it, in paths.
    const PATH: &'static str;
    /// The member that has the item or its key.
    const ITEM: &'static str;
    /// That, in paths.
    const ITEM_PATH: &'static str;
    const HAS_UPDATE: bool = false;
    const NEEDS_CONDITION: bool = false;

    fn action(item: Item, update_expression: String) -> TransactAction;
}

macro_rules! kinds {
    ($($kind:ident $name:literal $path:literal $item:literal $item_path:literal
        { $($constant:ident)* } $action:expr;)*) => {
        $(
            #[derive(Default)]
            struct $kind;

            impl Kind for $kind {
                const NAME: &'static str = $name;
                const PATH: &'static str = $path;
                const ITEM: &'static str = $item;
                const ITEM_PATH: &'static str = $item_path;
                $(const $constant: bool = true;)*

                fn action(item: Item, update_expression: String) -> TransactAction {
                    let action: fn(Item, String) -> TransactAction = $action;
                    action(item, update_expression)
                }
            }
        )*
    };
}

kinds! {
    Put "Put" "put" "Item" "item" {} |item, _| TransactAction::Put(item);
    Update "Update" "update" "Key" "key" { HAS_UPDATE }
        |key, update_expression| TransactAction::Update { key, update_expression };
    Delete "Delete" "delete" "Key" "key" {} |key, _| TransactAction::Delete(key);
    Check "ConditionCheck" "conditionCheck" "Key" "key" { NEEDS_CONDITION }
        |key, _| TransactAction::ConditionCheck(key);
}

/// One action as it was sent.
#[derive(Default)]
struct Action<K> {
    table_name: Option<String>,
    item: Option<Decoded<Item>>,
    update_expression: Option<String>,
    condition_expression: Option<String>,
    names: Option<ExpressionAttributeNames>,
    values: Option<json::ExpressionValues>,
    return_values_on_failure: Option<String>,
    _kind: PhantomData<K>,
}

impl<K: Kind> Members for Action<K> {
    const NAME: &'static str = K::NAME;

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "TableName" => self.table_name = json::text(map)?,
            "ConditionExpression" => self.condition_expression = json::text(map)?,
            "ExpressionAttributeNames" => self.names = json::text_map(map)?,
            "ExpressionAttributeValues" => self.values = json::expression_values(map)?,
            "ReturnValuesOnConditionCheckFailure" => {
                self.return_values_on_failure = json::text(map)?;
            }
            "UpdateExpression" if K::HAS_UPDATE => self.update_expression = json::text(map)?,
            _ if name == K::ITEM => self.item = json::item(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

/// An action of which nothing is missing.
struct Wanted {
    item: Option<Decoded<Item>>,
    action: fn(Item, String) -> TransactAction,
    table_name: String,
    update_expression: String,
    condition_expression: Option<String>,
    names: Option<ExpressionAttributeNames>,
    values: Option<json::ExpressionValues>,
    on_failure: Option<ReturnValuesOnConditionCheckFailure>,
}

impl<K: Kind> Action<K> {
    fn wanted(self, position: usize, checks: &mut Constraints) -> Wanted {
        let path = |member: &str| format!("transactItems.{position}.member.{}.{member}", K::PATH);
        let item = checks.required(self.item.map(Some), &path(K::ITEM_PATH));
        let update_expression = if K::HAS_UPDATE {
            checks.required(self.update_expression, &path("updateExpression"))
        } else {
            String::new()
        };
        let table_name = checks.required(self.table_name, &path("tableName"));
        if K::NEEDS_CONDITION {
            let condition = self.condition_expression.as_ref();
            checks.required(condition.map(|_| ()), &path("conditionExpression"));
        }
        let on_failure = checks.choice(
            self.return_values_on_failure.as_deref(),
            &path("returnValuesOnConditionCheckFailure"),
            RETURN_VALUES_ON_FAILURE,
        );
        Wanted {
            item,
            action: K::action,
            table_name,
            update_expression,
            condition_expression: self.condition_expression,
            names: self.names,
            values: self.values,
            on_failure,
        }
    }
}

impl Actions {
    /// All that were sent.
    fn wanted(self, position: usize, checks: &mut Constraints) -> Vec<Wanted> {
        let check = self.condition_check.map(|check| check.wanted(position, checks));
        let put = self.put.map(|put| put.wanted(position, checks));
        let delete = self.delete.map(|delete| delete.wanted(position, checks));
        let update = self.update.map(|update| update.wanted(position, checks));
        [check, put, delete, update].into_iter().flatten().collect()
    }
}

impl Wanted {
    fn write_item(self) -> Result<TransactWriteItem, WireError> {
        // Names and values without an expression are let pass.
        let values =
            placeholders(self.names.as_ref(), self.values, &[("ConditionExpression", true)])?;
        let item = self.item.transpose()?.unwrap_or_default();
        Ok(TransactWriteItem {
            table_name: self.table_name,
            action: (self.action)(item, self.update_expression),
            condition_expression: self.condition_expression,
            expression_attribute_names: self.names,
            expression_attribute_values: values,
            return_values_on_condition_check_failure: self.on_failure,
        })
    }
}

serialize_members!(Output, TransactWriteItemsResponse, |response, writer| {
    writer
        .optional("ConsumedCapacity", response.consumed_capacity.as_deref().map(CapacitiesOut))?
        .optional(COLLECTION_METRICS, response.item_collection_metrics.as_ref().map(CollectionsOut))?
});

impl Operation for TransactWriteItems {
    type Input = Input;
    type Request = TransactWriteItemsRequest;
    type Response = TransactWriteItemsResponse;

    fn request(input: Input) -> Result<Self::Request, WireError> {
        let mut checks = Constraints::default();
        if let Some(actions) = &input.transact_items {
            check_action_count(actions.len())?;
        }
        let actions = checks.required(input.transact_items, "transactItems");
        let wanted: Vec<Vec<Wanted>> = (1..)
            .zip(actions)
            .map(|(position, actions)| actions.wanted(position, &mut checks))
            .collect();
        let token = input.client_request_token;
        checks.length(token.as_deref(), "clientRequestToken", TOKEN_LEN_MAX);
        let return_consumed_capacity = checks.choice(
            input.return_consumed_capacity.as_deref(),
            "returnConsumedCapacity",
            RETURN_CONSUMED_CAPACITY,
        );
        let return_item_collection_metrics = checks.choice(
            input.return_item_collection_metrics.as_deref(),
            "returnItemCollectionMetrics",
            RETURN_ITEM_COLLECTION_METRICS,
        );
        checks.check()?;
        let mut sent = Vec::with_capacity(wanted.len());
        for actions in wanted {
            let mut actions = actions.into_iter();
            match (actions.next(), actions.next()) {
                (Some(action), None) => sent.push(action),
                (None, _) => return Err(WireError::validation(message::TRANSACT_NO_ACTION)),
                _ => return Err(WireError::validation(message::TRANSACT_SEVERAL_ACTIONS)),
            }
        }
        let transact_items = sent.into_iter().map(Wanted::write_item).collect::<Result<_, _>>()?;
        Ok(TransactWriteItemsRequest {
            transact_items,
            client_request_token: token,
            return_consumed_capacity,
            return_item_collection_metrics,
        })
    }

    fn response(response: &Self::Response) -> impl Serialize {
        Output(response)
    }
}

impl Awaited for TransactWriteItems {
    fn start(service: Arc<dyn Service>, request: Self::Request) -> Pending<Self::Response> {
        service.transact_write_items_async(request)
    }
}
