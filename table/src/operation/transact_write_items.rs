//! TransactWriteItems: its request, its response and what it does.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{
    CapacityUse, ConsumedCapacity, ExpressionAttributeNames, ExpressionAttributeValues,
    ItemCollectionMetrics, ReturnConsumedCapacity, ReturnItemCollectionMetrics,
    ReturnValuesOnConditionCheckFailure,
};
use crate::block_on::block_on;
use crate::capacity::{Transacted, read_units, write_units};
use crate::error::{Result, TableError};
use crate::expression::condition::ConditionExpression;
use crate::expression::update::UpdateExpression;
use crate::expression::{Placeholders, condition, prepare_placeholders, update};
use crate::item::NewItem;
use crate::key_codec::stored_key;
use crate::schema::check::{check_table_names, plain_name};
use crate::transaction::token::{Record, check_token, payload_hash};
use crate::transaction::{
    Action, Change, Committed, Targets, Volume, check_action_count, token_mismatch,
};
use crate::validate::prepare_item;
use crate::write::{Check, Waiting};
use crate::{Item, Tables, message};

/// One action of a write transaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TransactWriteItem {
    /// The table's name.
    pub table_name: String,
    /// What is done to which item.
    pub action: TransactAction,
    /// What must hold of the item as it is, or of its absence. A condition check has one.
    pub condition_expression: Option<String>,
    /// What the expressions' `#names` stand for.
    pub expression_attribute_names: Option<ExpressionAttributeNames>,
    /// What the expressions' `:values` stand for.
    pub expression_attribute_values: Option<ExpressionAttributeValues>,
    /// What is answered of the item where the condition does not hold.
    pub return_values_on_condition_check_failure: Option<ReturnValuesOnConditionCheckFailure>,
}

/// What an action does to its item. Keys have the key attributes, and no others.
#[derive(Clone, Debug, PartialEq)]
pub enum TransactAction {
    /// Writes this item, replacing the one with the same key.
    Put(Item),
    /// Changes the item with this key, or makes one where there is none.
    Update {
        /// The item's key.
        key: Item,
        /// How it is changed.
        update_expression: String,
    },
    /// Deletes the item with this key, if there is one.
    Delete(Item),
    /// Only checks the condition of the item with this key.
    ConditionCheck(Item),
}

impl Default for TransactAction {
    fn default() -> Self {
        Self::Put(Item::new())
    }
}

/// Writes up to 100 items of one or more tables, all of them or none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TransactWriteItemsRequest {
    /// What to do, to each item at most once.
    pub transact_items: Vec<TransactWriteItem>,
    /// Of 1 to 36 characters: a request that is sent again with it within ten minutes does nothing.
    pub client_request_token: Option<String>,
    /// Which capacity to report.
    pub return_consumed_capacity: Option<ReturnConsumedCapacity>,
    /// Whether to report the size of the item collection.
    pub return_item_collection_metrics: Option<ReturnItemCollectionMetrics>,
}

/// What TransactWriteItems did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TransactWriteItemsResponse {
    /// The capacity used, by table, if it was asked for: of writes, or where the token was known, of
    /// reads.
    pub consumed_capacity: Option<Vec<ConsumedCapacity>>,
    /// The sizes of the collections of its items by table, if they were asked for, of tables with local indexes.
    pub item_collection_metrics: Option<BTreeMap<String, Vec<ItemCollectionMetrics>>>,
}

/// The expressions of an action.
#[derive(Default)]
struct Parsed {
    update: Option<Arc<UpdateExpression>>,
    condition: Option<Arc<ConditionExpression>>,
}

/// An action that is sound as far as the request alone shows.
struct Sound<'r> {
    request: &'r TransactWriteItem,
    /// Logical bytes of what it brings.
    size_bytes: usize,
    change: Change<'r>,
    check: Option<Check<'r>>,
}

impl Tables {
    /// Writes up to 100 items, 4 MB together, all of them or none. With a token it does so once, however
    /// often it is called within ten minutes, and also if the process or the machine fails meanwhile.
    /// Returns when the writes are as durable as the database's default says.
    ///
    /// # Errors
    /// `TransactionCanceled` with a reason for each action: a condition that does not hold, a wrong key, an item too
    /// large, an item that another transaction is writing; `Validation` for what else is wrong with the request;
    /// `IdempotentParameterMismatch` and `TransactionInProgress`; `ResourceNotFound` if there is no such table.
    pub fn transact_write_items(
        &self,
        request: TransactWriteItemsRequest,
    ) -> Result<TransactWriteItemsResponse> {
        block_on(self.transact_write_items_as(request, Waiting::Blocks))
    }

    /// As [`Tables::transact_write_items`], without blocking on the commit.
    ///
    /// # Errors
    /// As [`Tables::transact_write_items`].
    pub async fn transact_write_items_async(
        &self,
        request: TransactWriteItemsRequest,
    ) -> Result<TransactWriteItemsResponse> {
        self.transact_write_items_as(request, Waiting::Polls).await
    }

    async fn transact_write_items_as(
        &self,
        mut request: TransactWriteItemsRequest,
        waiting: Waiting,
    ) -> Result<TransactWriteItemsResponse> {
        let items = &mut request.transact_items;
        check_action_count(items.len())?;
        let token = request.client_request_token.as_deref();
        token.map_or(Ok(()), check_token)?;
        check_members(items)?;
        let mut parsed: Vec<Parsed> = items.iter().map(|_| Parsed::default()).collect();
        let names: Vec<String> =
            items.iter().map(|item| plain_name(&item.table_name).to_owned()).collect();
        let asked = request.return_consumed_capacity;
        let now_ms = self.db().world().clock.wall_ms();
        let sound = sound(items, &mut parsed)?;
        // Of what has been checked: its sets are in order, in whatever order they were sent.
        let requests = sound.iter().map(|sound| sound.request);
        let payload = token.map(|token| (token, payload_hash(requests)));
        let ongoing = self.transactions().begin(payload)?;
        let mut token_write = None;
        if let Some((token, payload_hash)) = payload {
            match self.tokens().find(self.db(), token, now_ms)? {
                Some(record) if record.payload_hash != payload_hash => return Err(token_mismatch()),
                Some(record) => {
                    let consumed_capacity = replayed(&names, &record).consumed(asked);
                    return Ok(TransactWriteItemsResponse {
                        consumed_capacity,
                        ..Default::default()
                    });
                }
                None => {
                    let write = self.tokens().prepare(self.db(), token, now_ms)?;
                    token_write = Some((payload_hash, write));
                }
            }
        }
        let actions = self.actions(sound)?;
        let reports = request.return_item_collection_metrics.is_some();
        let targets = actions.iter().filter(|action| reports && action.is_write());
        let targets: Vec<_> = targets
            .filter_map(|action| Some((Arc::clone(&action.table), action.key.clone().ok()?)))
            .collect();
        let committed = self.commit_transaction(actions, ongoing, token_write, waiting).await?;
        let item_collection_metrics = self.collections_metrics(
            request.return_item_collection_metrics,
            targets.iter().map(|(table, key)| (&**table, &key[..])),
        );
        let mut capacity = Transacted::new(CapacityUse::Writes);
        for (name, Committed { table, sizes: (old, new), index_units }) in
            names.iter().zip(committed)
        {
            capacity.add_write(name, write_units(old.into(), new.into()), table, index_units);
        }
        let consumed_capacity = capacity.consumed(asked);
        Ok(TransactWriteItemsResponse { consumed_capacity, item_collection_metrics })
    }

    /// Holds the actions against their tables.
    fn actions<'r>(&self, sound: Vec<Sound<'r>>) -> Result<Vec<Action<'r>>> {
        let mut targets = Targets::default();
        let mut volume = Volume::default();
        let mut actions = Vec::with_capacity(sound.len());
        for Sound { request, size_bytes, change, check } in sound {
            let found = self.lookup(&request.table_name)?;
            let table = found.table()?;
            let values = match &request.action {
                TransactAction::Put(item) => table.key.of_item(item),
                TransactAction::Update { key, .. }
                | TransactAction::Delete(key)
                | TransactAction::ConditionCheck(key) => table.key.of_key(key),
            };
            let key = values.map(|(partition, sort)| stored_key(&partition, sort.as_ref()));
            if let Ok(key) = &key {
                targets.add(table.id(), key)?;
            }
            volume.add(size_bytes as u64)?;
            actions.push(Action { table: Arc::clone(table), key, check, change });
        }
        for action in &mut actions {
            if let Err(error) = &action.key
                && message::is_empty_key(error.message())
            {
                return Err(error.clone());
            }
            if let Change::Update { update, .. } = &action.change
                && action.key.is_ok()
                && let Some(name) = update.changes_one_of(&action.table.key.names())
            {
                action.key = Err(TableError::validation(message::key_update(name)));
            }
        }
        Ok(actions)
    }
}

/// Checks the names of the tables, and that condition checks have a condition.
fn check_members(items: &[TransactWriteItem]) -> Result<()> {
    let member = |position: usize, item: &TransactWriteItem, member: &str| {
        let action = match &item.action {
            TransactAction::Put(_) => "put",
            TransactAction::Update { .. } => "update",
            TransactAction::Delete(_) => "delete",
            TransactAction::ConditionCheck(_) => "conditionCheck",
        };
        format!("transactItems.{position}.member.{action}.{member}")
    };
    for (position, item) in (1..).zip(items) {
        if matches!(item.action, TransactAction::ConditionCheck(_))
            && item.condition_expression.is_none()
        {
            let missing = message::missing(&member(position, item, "conditionExpression"));
            return Err(TableError::validation(message::validation_errors(&[missing])));
        }
    }
    check_table_names(
        (1..).zip(items).map(|(position, item)| {
            (item.table_name.as_str(), member(position, item, "tableName"))
        }),
    )
}

/// Checks each action as far as that is possible without its table, and sorts its sets.
fn sound<'r>(
    items: &'r mut [TransactWriteItem],
    parsed: &'r mut [Parsed],
) -> Result<Vec<Sound<'r>>> {
    items.iter_mut().zip(parsed).map(|(item, parsed)| sound_action(item, parsed)).collect()
}

fn sound_action<'r>(item: &'r mut TransactWriteItem, parsed: &'r mut Parsed) -> Result<Sound<'r>> {
    // Names and values without any expression are let pass, unlike those of single writes.
    prepare_placeholders(
        item.expression_attribute_names.as_ref(),
        item.expression_attribute_values.as_mut(),
        &[("ConditionExpression", true)],
    )?;
    let mut new = None;
    let size_bytes = match &mut item.action {
        TransactAction::Put(item) => new.insert(NewItem::encode(item)?).logical_size() as usize,
        TransactAction::Update { key, update_expression } => {
            let key_bytes = prepare_item(key)?;
            parsed.update = update(Some(update_expression))?;
            let values = item.expression_attribute_values.iter().flatten();
            key_bytes + values.map(|(_, value)| value.size_bytes()).sum::<usize>()
        }
        TransactAction::Delete(key) | TransactAction::ConditionCheck(key) => prepare_item(key)?,
    };
    parsed.condition = condition(item.condition_expression.as_deref())?;
    let (request, parsed) = (&*item, &*parsed);
    let mut placeholders = Placeholders::new(
        request.expression_attribute_names.as_ref(),
        request.expression_attribute_values.as_ref(),
    )?;
    let update = parsed.update.as_ref().map(|update| update.bind(&mut placeholders)).transpose()?;
    let check = (parsed.condition.as_ref())
        .map(|condition| condition.bind(&mut placeholders))
        .transpose()?
        .map(|condition| Check::new(condition, request.return_values_on_condition_check_failure));
    if parsed.update.is_some() || parsed.condition.is_some() {
        placeholders.check_all_used()?;
    }
    let change = match (&request.action, new, update) {
        (_, Some(new), _) => Change::Put(new),
        (TransactAction::Update { key, .. }, _, Some(update)) => {
            let only_takes_away = update.only_takes_away();
            Change::Update { key, update, only_takes_away }
        }
        (TransactAction::ConditionCheck(_), ..) => Change::Nothing,
        _ => Change::Delete,
    };
    Ok(Sound { request, size_bytes, change, check })
}

/// What it costs to find that a token is known: reads of the items.
fn replayed<'n>(names: &'n [String], record: &Record) -> Transacted<'n> {
    let mut capacity = Transacted::new(CapacityUse::Reads);
    for (name, size) in names.iter().zip(&record.sizes) {
        capacity.add(name, read_units((*size).into(), Some(true)));
    }
    capacity
}
