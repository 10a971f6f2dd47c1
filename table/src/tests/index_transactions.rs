//! Indexes in transactions, and by the parameters from before expressions.

use super::indexes::{assert_sound, scan, task, tasks, units};
use super::*;
use crate::operation::{
    AttributeAction, AttributeValueUpdate, CapacityUse, ComparisonOperator, Condition,
    ConsumedCapacity, ReturnConsumedCapacity, TransactAction, TransactWriteItem,
    TransactWriteItemsRequest, TransactWriteItemsResponse, UpdateItemRequest,
};
use crate::{TableError, TableErrorKind};

fn action(action: TransactAction) -> TransactWriteItem {
    TransactWriteItem { table_name: TABLE.to_owned(), action, ..Default::default() }
}

fn worked(pk: &str, sk: i64, worker: &str) -> Item {
    task(pk, sk, &[("worker", worker.into())])
}

fn set_worker(pk: &str, sk: i64, worker: AttributeValue) -> TransactWriteItem {
    TransactWriteItem {
        expression_attribute_values: Some(item([(":w", worker)])),
        ..action(TransactAction::Update {
            key: task(pk, sk, &[]),
            update_expression: "SET worker = :w".to_owned(),
        })
    }
}

fn write(
    tables: &Tables,
    transact_items: Vec<TransactWriteItem>,
    token: Option<&str>,
) -> Result<TransactWriteItemsResponse, TableError> {
    tables.transact_write_items(TransactWriteItemsRequest {
        transact_items,
        client_request_token: token.map(str::to_owned),
        return_consumed_capacity: Some(ReturnConsumedCapacity::Indexes),
        ..Default::default()
    })
}

#[test]
fn a_transaction_changes_entries_with_its_items() {
    let fixture = tasks();
    let tables = &fixture.tables;
    put(tables, worked("a", 1, "ada"));
    put(tables, worked("a", 2, "bob"));
    put(tables, worked("a", 3, "eve"));
    let actions = vec![
        set_worker("a", 1, "cleo".into()),
        action(TransactAction::Delete(task("a", 2, &[]))),
        TransactWriteItem {
            condition_expression: Some("attribute_exists(worker)".to_owned()),
            ..action(TransactAction::ConditionCheck(task("a", 3, &[])))
        },
        action(TransactAction::Put(task("b", 1, &[("worker", "dan".into()), ("due", 5.into())]))),
        action(TransactAction::Put(task("b", 2, &[]))),
    ];
    let consumed = write(tables, actions.clone(), Some("once")).unwrap().consumed_capacity;
    // Every action costs the table two units; of the index keys one is changed, one taken away, and one added to each of
    // two indexes.
    let expected = units(15.0, 10.0, &[("by_due", 1.0)], &[("by_worker", 4.0)]);
    let expected =
        expected.map(|e| ConsumedCapacity { capacity_use: Some(CapacityUse::Writes), ..e });
    assert_eq!(consumed, expected.map(|expected| vec![expected]));
    let workers = [
        worked("a", 1, "cleo"),
        task("b", 1, &[("worker", "dan".into()), ("due", 5.into())]),
        worked("a", 3, "eve"),
    ];
    let sorted = || {
        let mut found = scan(tables, "by_worker");
        found.sort_by_key(|item| format!("{:?}", item["worker"]));
        found
    };
    assert_eq!(sorted(), workers);
    assert_eq!(scan(tables, "by_due"), [task("b", 1, &[("due", 5.into())])]);
    // The second time does nothing, to indexes neither.
    put(tables, worked("a", 1, "zoe"));
    let again = write(tables, actions, Some("once")).unwrap().consumed_capacity.unwrap();
    assert_eq!(again[0].global_secondary_indexes, None);
    assert_eq!(again[0].capacity_use, Some(CapacityUse::Reads));
    assert_eq!(sorted()[2], worked("a", 1, "zoe"));
    assert_sound(tables);
    let fixture = fixture.reopened();
    assert_eq!(scan(&fixture.tables, "by_worker").len(), 3);
    assert_sound(&fixture.tables);
}

#[test]
fn a_cancelled_transaction_leaves_no_entry() {
    let fixture = tasks();
    let tables = &fixture.tables;
    put(tables, worked("a", 1, "ada"));
    let failing = TransactWriteItem {
        condition_expression: Some("attribute_exists(pk)".to_owned()),
        ..action(TransactAction::ConditionCheck(task("nobody", 1, &[])))
    };
    let actions = |last: TransactWriteItem| {
        vec![
            action(TransactAction::Put(worked("a", 2, "bob"))),
            set_worker("a", 1, "cleo".into()),
            set_worker("c", 1, "cleo".into()),
            last,
        ]
    };
    let error = write(tables, actions(failing), None).unwrap_err();
    assert_eq!(error.cancellation_reasons()[3].code, "ConditionalCheckFailed");
    for (wrong, code) in [
        (action(TransactAction::Put(task("d", 1, &[("worker", 5.into())]))), "ValidationError"),
        (set_worker("d", 1, AttributeValue::Null), "ValidationError"),
    ] {
        let error = write(tables, actions(wrong), None).unwrap_err();
        let reason = &error.cancellation_reasons()[3];
        assert_eq!(reason.code, code);
        let text = reason.message.as_deref().unwrap();
        assert!(text.contains("Type mismatch for Index Key worker Expected: S"), "{text}");
    }
    // An empty value is told as an error of the request.
    for wrong in [action(TransactAction::Put(worked("d", 1, ""))), set_worker("d", 1, "".into())] {
        let error = write(tables, actions(wrong), None).unwrap_err();
        assert_eq!(error.kind(), TableErrorKind::Validation);
        assert!(error.message().contains("cannot contain an empty string value"), "{error}");
    }
    assert_eq!(scan(tables, "by_worker"), [worked("a", 1, "ada")]);
    assert_eq!(describe(tables).item_count, 1);
    assert_sound(tables);
}

fn condition(operator: ComparisonOperator, values: &[AttributeValue]) -> Condition {
    Condition { comparison_operator: operator, attribute_value_list: values.to_vec() }
}

fn legacy_query(index: &str, conditions: &[(&str, Condition)]) -> QueryRequest {
    let conditions = conditions.iter().map(|(name, c)| ((*name).to_owned(), c.clone()));
    QueryRequest {
        table_name: TABLE.to_owned(),
        index_name: Some(index.to_owned()),
        key_conditions: Some(conditions.collect()),
        ..Default::default()
    }
}

#[test]
fn parameters_from_before_expressions_go_by_the_key_of_the_index() {
    use ComparisonOperator::{Eq, Ge, Lt};
    let fixture = tasks();
    let tables = &fixture.tables;
    for n in 1..=4i64 {
        let more = [("status", "open".into()), ("due", n.into()), ("title", "t".into())];
        put(tables, task("a", n, &more));
    }
    let open = condition(Eq, &["open".into()]);
    let found = |request| {
        let items = tables.query(request).unwrap().items.unwrap();
        items.iter().map(|item| item["sk"].clone()).collect::<Vec<_>>()
    };
    let late = condition(Ge, &[3.into()]);
    let conditions = [("status", open.clone()), ("due", late.clone())];
    assert_eq!(found(legacy_query("by_status", &conditions)), [3.into(), 4.into()]);
    let local = [("pk", condition(Eq, &["a".into()])), ("due", condition(Lt, &[2.into()]))];
    assert_eq!(found(legacy_query("by_due", &local)), [1.into()]);
    // A filter may have the table's key, and not the index's.
    let filtered = |name: &str| QueryRequest {
        query_filter: Some([(name.to_owned(), condition(Eq, &[2.into()]))].into()),
        ..legacy_query("by_status", &conditions[..1])
    };
    assert_eq!(found(filtered("sk")), [2.into()]);
    let refused = |request| tables.query(request).unwrap_err().message().to_owned();
    assert!(refused(filtered("due")).contains("due"), "{}", refused(filtered("due")));
    let of_table = [("status", open.clone()), ("sk", late)];
    assert_eq!(
        refused(legacy_query("by_status", &of_table)),
        "Query condition missed key schema element: due"
    );
    assert_eq!(
        refused(legacy_query("by_status", &[("pk", open)])),
        "Query condition missed key schema element: status"
    );
    let names = |names: &[&str]| QueryRequest {
        attributes_to_get: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        ..legacy_query("by_status", &conditions)
    };
    let titles = tables.query(names(&["title"])).unwrap().items.unwrap();
    assert_eq!(titles, vec![item([("title", "t".into())]); 2]);
    assert!(refused(names(&["title", "worker"])).contains("worker"));
    // Of a key with several attributes as many can be given as there may be conditions.
    put(
        tables,
        task(
            "p",
            1,
            &[
                ("country", "fr".into()),
                ("city", "nice".into()),
                ("street", "rue".into()),
                ("house", 1.into()),
            ],
        ),
    );
    let eq = |text: &str| condition(Eq, &[text.into()]);
    let place = [("country", eq("fr")), ("city", eq("nice"))];
    assert_eq!(found(legacy_query("by_place", &place)), [1.into()]);
    let skipped = [("country", eq("fr")), ("street", eq("rue"))];
    assert!(refused(legacy_query("by_place", &skipped)).contains("city"));
}

#[test]
fn updates_from_before_expressions_keep_the_indexes() {
    let fixture = tasks();
    let tables = &fixture.tables;
    let update = |worker: AttributeValue| {
        let update =
            AttributeValueUpdate { action: Some(AttributeAction::Put), value: Some(worker) };
        tables.update_item(UpdateItemRequest {
            table_name: TABLE.to_owned(),
            key: task("a", 1, &[]),
            attribute_updates: Some([("worker".to_owned(), update)].into()),
            ..Default::default()
        })
    };
    update("ada".into()).unwrap();
    assert_eq!(scan(tables, "by_worker"), [worked("a", 1, "ada")]);
    update("bob".into()).unwrap();
    assert_eq!(scan(tables, "by_worker"), [worked("a", 1, "bob")]);
    for wrong in ["".into(), 5.into(), AttributeValue::Null] {
        assert_eq!(update(wrong).unwrap_err().kind(), TableErrorKind::Validation);
    }
    assert_eq!(scan(tables, "by_worker"), [worked("a", 1, "bob")]);
    assert_sound(tables);
}
