//! TransactWriteItems and TransactGetItems: all or nothing, reasons, tokens, conflicts and limits.

use std::pin::pin;
use std::task::{Context, Waker};

use super::*;
use crate::item_lock::{ItemLocks, Stripes};
use crate::operation::{
    BatchWriteItemRequest, CapacityUse, ExpressionAttributeValues, ReturnConsumedCapacity,
    ReturnValuesOnConditionCheckFailure, TransactAction, TransactGet, TransactGetItemsRequest,
    TransactGetItemsResponse, TransactWriteItem, TransactWriteItemsRequest, UpdateItemRequest,
    WriteRequest,
};
use crate::{TableError, TableErrorKind};

const OTHERS: &str = "others";

/// A database with two tables.
fn fixture() -> Fixture {
    let fixture = Fixture::new();
    create(&fixture.tables, TABLE, None);
    create(&fixture.tables, OTHERS, Some(ScalarAttributeType::N));
    fixture
}

pub(super) fn key(id: &str) -> Item {
    item([("pk", id.into())])
}

fn other_key(id: &str, number: i64) -> Item {
    item([("pk", id.into()), ("sk", number.into())])
}

pub(super) fn action(action: TransactAction) -> TransactWriteItem {
    TransactWriteItem { table_name: TABLE.to_owned(), action, ..Default::default() }
}

fn checked(act: TransactAction, condition: &str) -> TransactWriteItem {
    TransactWriteItem {
        condition_expression: Some(condition.to_owned()),
        return_values_on_condition_check_failure: Some(ReturnValuesOnConditionCheckFailure::AllOld),
        ..action(act)
    }
}

fn in_others(item: TransactWriteItem) -> TransactWriteItem {
    TransactWriteItem { table_name: OTHERS.to_owned(), ..item }
}

pub(super) fn add(id: &str, n: i64) -> TransactWriteItem {
    TransactWriteItem {
        expression_attribute_values: Some(item([(":n", n.into())])),
        ..action(update(id, "ADD n :n"))
    }
}

fn update(id: &str, expression: &str) -> TransactAction {
    TransactAction::Update { key: key(id), update_expression: expression.to_owned() }
}

pub(super) fn request(
    transact_items: Vec<TransactWriteItem>,
    token: Option<&str>,
) -> TransactWriteItemsRequest {
    TransactWriteItemsRequest {
        transact_items,
        client_request_token: token.map(str::to_owned),
        return_consumed_capacity: Some(ReturnConsumedCapacity::Total),
        ..Default::default()
    }
}

/// Carries a transaction out; the units of each table, and what they were used for.
fn write(
    tables: &Tables,
    transact_items: Vec<TransactWriteItem>,
    token: Option<&str>,
) -> Result<Vec<(String, f64, CapacityUse)>, TableError> {
    let response = tables.transact_write_items(request(transact_items, token))?;
    let units = response.consumed_capacity.unwrap().into_iter();
    Ok(units.map(|c| (c.table_name, c.capacity_units, c.capacity_use.unwrap())).collect())
}

fn refusal(tables: &Tables, transact_items: Vec<TransactWriteItem>) -> TableError {
    write(tables, transact_items, None).unwrap_err()
}

/// Codes and messages.
fn reasons(error: &TableError) -> Vec<(&str, &str)> {
    assert_eq!(error.kind(), TableErrorKind::TransactionCanceled, "{error}");
    error
        .cancellation_reasons()
        .iter()
        .map(|reason| (reason.code.as_str(), reason.message.as_deref().unwrap_or("")))
        .collect()
}

fn read(
    tables: &Tables,
    transact_items: Vec<TransactGet>,
) -> Result<TransactGetItemsResponse, TableError> {
    tables.transact_get_items(TransactGetItemsRequest {
        transact_items,
        return_consumed_capacity: Some(ReturnConsumedCapacity::Indexes),
    })
}

fn wanted(table: &str, key: Item) -> TransactGet {
    TransactGet { table_name: table.to_owned(), key, ..Default::default() }
}

#[test]
fn all_actions_or_none_are_done() {
    let fixture = fixture();
    let tables = &fixture.tables;
    put(tables, item([("pk", "counted".into()), ("n", 1.into())]));
    put(tables, item([("pk", "gone".into())]));
    put(tables, item([("pk", "looked at".into()), ("t", "x".repeat(1100).into())]));
    let actions = || {
        vec![
            in_others(action(TransactAction::Put(other_key("new", 1)))),
            add("counted", 4),
            action(TransactAction::Delete(key("gone"))),
            checked(TransactAction::ConditionCheck(key("looked at")), "attribute_exists(t)"),
            action(update("absent", "REMOVE n")),
        ]
    };
    let mut failing = actions();
    failing.push(checked(TransactAction::Put(key("counted 2")), "attribute_exists(pk)"));
    let error = refusal(tables, failing);
    assert_eq!(
        error.message(),
        "Transaction cancelled, please refer cancellation reasons for specific reasons \
         [None, None, None, None, None, ConditionalCheckFailed]"
    );
    assert_eq!(describe(tables).item_count, 3);
    assert_eq!(get(tables, key("counted")).unwrap()["n"], 1.into());

    let units = write(tables, actions(), None).unwrap();
    // The check of 1.1 KB costs 4, the others 2 each.
    let writes = CapacityUse::Writes;
    assert_eq!(units, [(OTHERS.to_owned(), 2.0, writes), (TABLE.to_owned(), 10.0, writes)]);
    assert_eq!(get(tables, key("counted")).unwrap()["n"], 5.into());
    assert_eq!(get(tables, key("gone")), None);
    assert_eq!(get(tables, key("absent")), None);
    assert_eq!(describe(tables).item_count, 2);
    assert_counts_true(tables);
    let found = read(tables, vec![wanted(OTHERS, other_key("new", 1))]).unwrap();
    assert_eq!(found.responses, [Some(other_key("new", 1))]);
}

#[test]
fn reasons_say_what_stopped_each_action() {
    let fixture = fixture();
    let tables = &fixture.tables;
    let old = item([("pk", "a".into()), ("text", "x".into())]);
    put(tables, old.clone());
    put(tables, item([("pk", "large".into()), ("b", vec![0u8; 409_000].into())]));
    let value =
        |value: AttributeValue| Some(ExpressionAttributeValues::from([(":v".into(), value)]));
    let wrong_type = item([("pk", 5.into())]);
    let error = refusal(
        tables,
        vec![
            action(TransactAction::Put(key("fine"))),
            checked(TransactAction::ConditionCheck(key("a")), "attribute_not_exists(pk)"),
            action(TransactAction::Put(wrong_type.clone())),
            action(TransactAction::Delete(wrong_type)),
            TransactWriteItem {
                expression_attribute_values: value(1.into()),
                ..action(update("b", "SET pk = :v"))
            },
            TransactWriteItem {
                expression_attribute_values: value("x".repeat(1000).into()),
                ..action(update("large", "SET more = :v"))
            },
            action(update("c", "SET x = y")),
            TransactWriteItem {
                return_values_on_condition_check_failure: None,
                ..checked(TransactAction::Delete(key("d")), "attribute_exists(pk)")
            },
        ],
    );
    assert_eq!(
        reasons(&error),
        [
            ("None", ""),
            ("ConditionalCheckFailed", "The conditional request failed"),
            (
                "ValidationError",
                "One or more parameter values were invalid: Type mismatch for key pk expected: S actual: N"
            ),
            ("ValidationError", "The provided key element does not match the schema"),
            (
                "ValidationError",
                "One or more parameter values were invalid: Cannot update attribute pk. This attribute is part of the key"
            ),
            ("ValidationError", "Item size to update has exceeded the maximum allowed size"),
            (
                "ValidationError",
                "The provided expression refers to an attribute that does not exist in the item"
            ),
            ("ConditionalCheckFailed", "The conditional request failed"),
        ]
    );
    let items: Vec<_> = error.cancellation_reasons().iter().map(|r| r.item.as_ref()).collect();
    assert_eq!(items[1], Some(&old));
    assert!(items.iter().enumerate().all(|(at, item)| at == 1 || item.is_none()));
    assert_eq!(describe(tables).item_count, 2);
}

#[test]
fn what_is_wrong_with_the_request_is_told_first() {
    let fixture = fixture();
    let tables = &fixture.tables;
    let put_of = |id: &str| action(TransactAction::Put(key(id)));
    let nowhere = TransactWriteItem { table_name: "nowhere".to_owned(), ..put_of("a") };
    let no_name = TransactWriteItem { table_name: "!!".to_owned(), ..put_of("a") };
    let failing = checked(TransactAction::ConditionCheck(key("a")), "attribute_exists(pk)");
    let unused = TransactWriteItem {
        expression_attribute_values: Some(item([(":v", 1.into())])),
        ..failing.clone()
    };
    let large = |id: &str| {
        action(TransactAction::Put(item([("pk", id.into()), ("b", vec![0u8; 400_000].into())])))
    };
    let too_large =
        action(TransactAction::Put(item([("pk", "a".into()), ("b", vec![0u8; 409_600].into())])));
    let count = |most: &str| {
        format!(
            "1 validation error detected: Value at 'transactItems' failed to satisfy constraint: Member must have length \
             {most}"
        )
    };
    let one_item = "Transaction request cannot include multiple operations on one item";
    for (actions, message) in [
        (
            vec![],
            "1 validation error detected: Value '[]' at 'transactItems' failed to satisfy constraint: Member must have \
             length greater than or equal to 1"
                .to_owned(),
        ),
        (
            (0..101).map(|n| put_of(&n.to_string())).collect(),
            count("less than or equal to 100"),
        ),
        (
            vec![nowhere.clone(), no_name],
            "2 validation errors detected: Value '!!' at 'transactItems.2.member.put.tableName' failed to satisfy \
             constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; Value '!!' at \
             'transactItems.2.member.put.tableName' failed to satisfy constraint: Member must have length greater than \
             or equal to 3"
                .to_owned(),
        ),
        (
            vec![nowhere.clone(), unused],
            "Value provided in ExpressionAttributeValues unused in expressions: keys: {:v}".to_owned(),
        ),
        (vec![nowhere.clone(), too_large], "Item size has exceeded the maximum allowed size".to_owned()),
        (
            vec![nowhere.clone(), action(update("b", ""))],
            "Invalid UpdateExpression: The expression can not be empty;".to_owned(),
        ),
        (
            vec![TransactWriteItem { condition_expression: None, ..failing.clone() }],
            "1 validation error detected: Value null at 'transactItems.1.member.conditionCheck.conditionExpression' \
             failed to satisfy constraint: Member must not be null"
                .to_owned(),
        ),
        (vec![nowhere, failing.clone()], "Requested resource not found".to_owned()),
        (vec![put_of("a"), action(TransactAction::Put(key(""))), failing.clone()], one_item.to_owned()),
        (
            vec![action(TransactAction::Put(key(""))), failing.clone()],
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty \
             string value. Key: pk"
                .to_owned(),
        ),
        (
            (0..11).map(|n| large(&n.to_string())).collect(),
            "Collection size of items exceeded, which can also be caused by the aggregate size of the items in the \
             transaction exceeding the 4MB limit"
                .to_owned(),
        ),
    ] {
        let error = refusal(tables, actions);
        assert_eq!(error.message(), message);
        assert_ne!(error.kind(), TableErrorKind::TransactionCanceled);
    }
    // Names and values that no expression can use are let pass, where there is none.
    let idle = TransactWriteItem {
        expression_attribute_names: Some([("#a".to_owned(), "a".to_owned())].into()),
        ..put_of("idle")
    };
    write(tables, vec![idle], None).unwrap();
    let hundred = (0..100).map(|n| put_of(&n.to_string())).collect();
    write(tables, hundred, None).unwrap();
    write(tables, (0..10).map(|n| large(&n.to_string())).collect(), None).unwrap();
    // What updates make of large items counts as well.
    write(tables, vec![large("10")], None).unwrap();
    let error = refusal(tables, (0..11).map(|n| add(&n.to_string(), 1)).collect());
    assert_eq!(error.kind(), TableErrorKind::Validation);
    assert_counts_true(tables);
}

#[test]
fn read_transactions_answer_in_order() {
    let fixture = fixture();
    let tables = &fixture.tables;
    let stored = item([("pk", "a".into()), ("n", 1.into()), ("t", "x".repeat(5000).into())]);
    put(tables, stored.clone());
    let projected = |expression: &str| TransactGet {
        projection_expression: Some(expression.to_owned()),
        ..wanted(TABLE, key("a"))
    };
    for (get, answer) in [
        (wanted(TABLE, key("a")), Some(stored.clone())),
        (projected("n"), Some(item([("n", 1.into())]))),
        (projected("absent"), None),
    ] {
        let gets = vec![wanted(OTHERS, other_key("absent", 1)), get];
        let response = read(tables, gets).unwrap();
        assert_eq!(response.responses, [None, answer]);
        let units: Vec<_> = response.consumed_capacity.unwrap();
        let units: Vec<_> =
            units.iter().map(|c| (c.table_name.as_str(), c.capacity_units, c.table)).collect();
        assert_eq!(units, [(OTHERS, 2.0, Some(2.0)), (TABLE, 4.0, Some(4.0))]);
    }
    let error = read(tables, vec![wanted(TABLE, key("")), wanted(TABLE, key("a"))]).unwrap_err();
    assert_eq!(
        reasons(&error),
        [
            (
                "ValidationError",
                "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an \
                 empty string value. Key: pk"
            ),
            ("None", ""),
        ]
    );
    let unused = TransactGet {
        expression_attribute_names: Some([("#a".to_owned(), "a".to_owned())].into()),
        ..wanted(TABLE, key("a"))
    };
    for (gets, message) in [
        (
            vec![wanted("nowhere", key("a")), wanted("!!!", key("a"))],
            "1 validation error detected: ",
        ),
        (vec![wanted("nowhere", key("a")), projected("")], "Invalid ProjectionExpression: "),
        (vec![wanted("nowhere", key("a"))], "Requested resource not found"),
        (vec![unused], "Value provided in ExpressionAttributeNames unused in expressions"),
        (
            vec![wanted(TABLE, key("a")), projected("n")],
            "Transaction request cannot include multiple operations on one item",
        ),
        (vec![], "1 validation error detected: Value '[]' at 'transactItems'"),
    ] {
        let error = read(tables, gets).unwrap_err();
        assert!(error.message().starts_with(message), "{error}");
    }
    for n in 0..11 {
        put(tables, item([("pk", n.to_string().into()), ("b", vec![0u8; 400_000].into())]));
    }
    let all = |count: usize| (0..count).map(|n| wanted(TABLE, key(&n.to_string()))).collect();
    assert_eq!(read(tables, all(10)).unwrap().responses.len(), 10);
    assert!(read(tables, all(11)).unwrap_err().message().contains("4MB"));
}

#[test]
fn a_token_does_its_actions_once() {
    let mut fixture = fixture();
    let actions = |n| vec![add("a", n), action(TransactAction::Delete(key("b")))];
    put(&fixture.tables, item([("pk", "b".into()), ("t", "x".repeat(4096).into())]));
    let once = write(&fixture.tables, actions(1), Some("token")).unwrap();
    assert_eq!(once, [(TABLE.to_owned(), 2.0 + 10.0, CapacityUse::Writes)]);
    for _ in ["as it is", "reopened"] {
        let again = write(&fixture.tables, actions(1), Some("token")).unwrap();
        assert_eq!(again, [(TABLE.to_owned(), 2.0 + 4.0, CapacityUse::Reads)]);
        let error = write(&fixture.tables, actions(2), Some("token")).unwrap_err();
        assert_eq!(error.kind(), TableErrorKind::IdempotentParameterMismatch);
        assert_eq!(get(&fixture.tables, key("a")).unwrap()["n"], 1.into());
        fixture = fixture.reopened();
    }
    let tables = &fixture.tables;
    write(tables, actions(1), Some("token 2")).unwrap();
    assert_eq!(get(tables, key("a")).unwrap()["n"], 2.into());
    // One that begins like another is another.
    write(tables, actions(1), Some("toke")).unwrap();
    assert_eq!(get(tables, key("a")).unwrap()["n"], 3.into());
    for (token, least) in [(String::new(), "greater than or equal to 1"), ("t".repeat(37), "less")]
    {
        let error = write(tables, actions(1), Some(&token)).unwrap_err();
        assert!(error.message().contains("'clientRequestToken'"), "{error}");
        assert!(error.message().contains(least), "{error}");
    }
    write(tables, actions(1), Some(&"\u{e9}".repeat(36))).unwrap();
}

#[test]
fn a_token_of_what_was_cancelled_is_free() {
    let fixture = fixture();
    let tables = &fixture.tables;
    let actions = || vec![checked(TransactAction::Put(key("a")), "attribute_not_exists(pk)")];
    put(tables, key("a"));
    assert!(write(tables, actions(), Some("t")).is_err());
    delete(tables, key("a"));
    write(tables, actions(), Some("t")).unwrap();
    // The condition does not hold any more, but is not asked again.
    write(tables, actions(), Some("t")).unwrap();
    assert!(write(tables, actions(), None).is_err());
    // A transaction that changes nothing has a token too.
    let check = |condition| vec![checked(TransactAction::ConditionCheck(key("a")), condition)];
    write(tables, check("attribute_exists(pk)"), Some("c")).unwrap();
    delete(tables, key("a"));
    write(tables, check("attribute_exists(pk)"), Some("c")).unwrap();
    // The order of the members of a set is none of its content.
    let of = |members: [&str; 2]| {
        let set = AttributeValue::Ss(members.map(str::to_owned).to_vec());
        vec![action(TransactAction::Put(item([("pk", "set".into()), ("s", set)])))]
    };
    write(tables, of(["x", "y"]), Some("s")).unwrap();
    write(tables, of(["y", "x"]), Some("s")).unwrap();
}

/// Begins a transaction that cannot end yet, and calls `meanwhile`.
fn under_way(
    tables: &Tables,
    ids: &[&str],
    request: TransactWriteItemsRequest,
    meanwhile: impl FnOnce(),
) {
    let found = tables.table(TABLE).unwrap();
    let stripe = |id: &&str| {
        let item = key(id);
        let (partition, sort) = found.key.of_key(&item).unwrap();
        let key = crate::key_codec::stored_key(&partition, sort.as_ref());
        ItemLocks::stripe_of(found.id(), &key)
    };
    let stripes: Stripes = ids.iter().map(stripe).collect();
    let guard = crate::block_on::block_on(tables.locks().clone().lock(stripes));
    let mut transaction = pin!(tables.transact_write_items_async(request));
    let mut context = Context::from_waker(Waker::noop());
    assert!(transaction.as_mut().poll(&mut context).is_pending());
    meanwhile();
    drop(guard);
    crate::block_on::block_on(transaction).unwrap();
}

#[test]
fn what_meets_a_transaction_is_refused() {
    let fixture = fixture();
    let tables = &fixture.tables;
    put(tables, item([("pk", "a".into()), ("n", 1.into())]));
    let kind = |result: Result<(), TableError>| result.unwrap_err().kind();
    let actions = vec![add("a", 1), add("b", 1)];
    let replay = request(actions.clone(), Some("t"));
    under_way(tables, &["a", "b"], replay.clone(), || {
        let one = |id| item([("pk", AttributeValue::from(id))]);
        let put = PutItemRequest { table_name: TABLE.into(), item: one("a"), ..Default::default() };
        let delete =
            DeleteItemRequest { table_name: TABLE.into(), key: one("b"), ..Default::default() };
        let update =
            UpdateItemRequest { table_name: TABLE.into(), key: one("a"), ..Default::default() };
        let conflict = TableErrorKind::TransactionConflict;
        assert_eq!(kind(tables.put_item(put).map(|_| ())), conflict);
        assert_eq!(kind(tables.delete_item(delete).map(|_| ())), conflict);
        assert_eq!(kind(tables.update_item(update).map(|_| ())), conflict);
        let error = refusal(tables, vec![add("c", 1), add("b", 1)]);
        assert_eq!(
            reasons(&error),
            [("None", ""), ("TransactionConflict", "Transaction is ongoing for the item")]
        );
        // What was cancelled holds nothing.
        write(tables, vec![add("c", 1)], None).unwrap();
        let again = tables.transact_write_items(replay.clone()).map(|_| ());
        assert_eq!(kind(again), TableErrorKind::TransactionInProgress);
        let other = tables.transact_write_items(request(vec![add("c", 1)], Some("t")));
        assert_eq!(kind(other.map(|_| ())), TableErrorKind::IdempotentParameterMismatch);
        // Readers see what was before it.
        let gets = vec![wanted(TABLE, key("a")), wanted(TABLE, key("b"))];
        let found = read(tables, gets).unwrap().responses;
        assert_eq!(found[0].as_ref().unwrap()["n"], 1.into());
        assert_eq!(found[1], None);
    });
    put(tables, item([("pk", "b".into()), ("n", 5.into())]));
    assert_eq!(get(tables, key("a")).unwrap()["n"], 2.into());
    tables.transact_write_items(replay).unwrap();
    assert_eq!(get(tables, key("a")).unwrap()["n"], 2.into());
}

#[test]
fn a_transaction_that_nobody_waits_for_is_whole_all_the_same() {
    let fixture = fixture();
    let tables = &fixture.tables;
    let mut context = Context::from_waker(Waker::noop());
    let mut last = None;
    for _ in 0..50 {
        let actions = vec![add("a", 1), add("b", 1), action(TransactAction::Put(key("c")))];
        let mut transaction = Box::pin(tables.transact_write_items_async(request(actions, None)));
        let _ = transaction.as_mut().poll(&mut context);
        drop(transaction);
        // A batch waits for its end, where a single write would be refused.
        let delete = WriteRequest::Delete(key("c"));
        tables
            .batch_write_item(BatchWriteItemRequest {
                request_items: [(TABLE.to_owned(), vec![delete])].into(),
                ..Default::default()
            })
            .unwrap();
        let both = [get(tables, key("a")), get(tables, key("b"))];
        let [a, b] = both.map(|item| item.map(|item| item["n"].clone()));
        assert_eq!(a, b);
        last = a;
    }
    assert!(last.is_some(), "none was under way");
    assert_counts_true(tables);
}
