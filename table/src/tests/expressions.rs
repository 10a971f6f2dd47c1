//! Expressions through the operations: filters, projections and conditions, what they cost, and the order in which
//! requests are refused.

use std::collections::BTreeMap;

use super::{Fixture, TABLE, assert_counts_true, create, get, item, put};
use crate::operation::{
    BatchGetItemRequest, DeleteItemRequest, GetItemRequest, KeysAndAttributes, PutItemRequest,
    QueryRequest, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure, ScanRequest, Select,
    UpdateItemRequest,
};
use crate::schema::ScalarAttributeType;
use crate::{AttributeValue, Item, TableErrorKind, Tables};

fn values<const N: usize>(values: [(&str, AttributeValue); N]) -> Option<Item> {
    Some(item(values))
}

fn filled() -> Fixture {
    let fixture = Fixture::new();
    create(&fixture.tables, TABLE, Some(ScalarAttributeType::N));
    for sk in 0..6 {
        put(
            &fixture.tables,
            item([("pk", "p".into()), ("sk", sk.into()), ("odd", (sk % 2 == 1).into())]),
        );
    }
    fixture
}

#[test]
fn filters_leave_out_what_was_read_and_paid() {
    let fixture = filled();
    let tables = &fixture.tables;
    let scan = ScanRequest {
        table_name: TABLE.to_owned(),
        filter_expression: Some("odd = :t".to_owned()),
        projection_expression: Some("sk".to_owned()),
        expression_attribute_values: values([(":t", true.into())]),
        return_consumed_capacity: Some(ReturnConsumedCapacity::Total),
        ..Default::default()
    };
    let page = tables.scan(scan.clone()).unwrap();
    let sk = |number: i64| item([("sk", number.into())]);
    assert_eq!(page.items, Some(vec![sk(1), sk(3), sk(5)]));
    assert_eq!((page.count, page.scanned_count), (3, 6));
    assert_eq!(page.consumed_capacity.unwrap().capacity_units, 0.5);
    // The limit counts what is read.
    let page = tables.scan(ScanRequest { limit: Some(3), ..scan.clone() }).unwrap();
    assert_eq!((page.items, page.count, page.scanned_count), (Some(vec![sk(1)]), 1, 3));
    assert_eq!(page.last_evaluated_key, Some(item([("pk", "p".into()), ("sk", 2.into())])));
    let counted =
        ScanRequest { select: Some(Select::Count), projection_expression: None, ..scan.clone() };
    let page = tables.scan(counted).unwrap();
    assert_eq!((page.items, page.count, page.scanned_count), (None, 3, 6));

    let query = QueryRequest {
        table_name: TABLE.to_owned(),
        key_condition_expression: Some("pk = :p".to_owned()),
        filter_expression: Some("#o <> :t".to_owned()),
        expression_attribute_names: Some(BTreeMap::from([("#o".to_owned(), "odd".to_owned())])),
        expression_attribute_values: values([(":p", "p".into()), (":t", true.into())]),
        ..Default::default()
    };
    let page = tables.query(query.clone()).unwrap();
    assert_eq!((page.count, page.scanned_count), (3, 6));
    let refusal = |query: QueryRequest| tables.query(query).unwrap_err().message().to_owned();
    assert_eq!(
        refusal(QueryRequest {
            filter_expression: Some("#o = :t AND sk > :t2".into()),
            ..query.clone()
        }),
        "Invalid FilterExpression: An expression attribute value used in expression is not defined; \
         attribute value: :t2"
    );
    assert_eq!(
        refusal(QueryRequest {
            filter_expression: Some("#o = :t AND sk <> :t".into()),
            ..query.clone()
        }),
        "Filter Expression can only contain non-primary key attributes: Primary key attribute: sk"
    );
    assert_eq!(
        refusal(QueryRequest { filter_expression: None, ..query.clone() }),
        "Value provided in ExpressionAttributeNames unused in expressions: keys: {#o}"
    );
    let select = |select| {
        let scan = ScanRequest { select: Some(select), ..scan.clone() };
        tables.scan(scan).err().map(|error| error.message().to_owned())
    };
    assert_eq!(select(Select::SpecificAttributes), None);
    assert!(select(Select::Count).unwrap().ends_with("choosing to get only the Count"));
    assert!(select(Select::AllAttributes).unwrap().ends_with("choosing to get ALL_ATTRIBUTES"));
}

#[test]
fn projections_of_single_items() {
    let fixture = filled();
    let tables = &fixture.tables;
    let key = || item([("pk", "p".into()), ("sk", 1.into())]);
    let read = |projection: &str| {
        let request = GetItemRequest {
            table_name: TABLE.to_owned(),
            key: key(),
            projection_expression: Some(projection.to_owned()),
            ..Default::default()
        };
        tables.get_item(request).unwrap().item
    };
    assert_eq!(read("odd"), Some(item([("odd", true.into())])));
    assert_eq!(read("nothing"), Some(Item::new()));
    let wanted = KeysAndAttributes {
        keys: vec![key()],
        projection_expression: Some("#s".to_owned()),
        expression_attribute_names: Some(BTreeMap::from([("#s".to_owned(), "sk".to_owned())])),
        ..Default::default()
    };
    let request = BatchGetItemRequest {
        request_items: BTreeMap::from([(TABLE.to_owned(), wanted)]),
        ..Default::default()
    };
    let found = tables.batch_get_item(request).unwrap().responses;
    assert_eq!(found[TABLE], [item([("sk", 1.into())])]);
    let request = GetItemRequest {
        table_name: TABLE.to_owned(),
        key: key(),
        expression_attribute_names: Some(BTreeMap::from([("#s".to_owned(), "sk".to_owned())])),
        ..Default::default()
    };
    assert_eq!(
        tables.get_item(request).unwrap_err().message(),
        "ExpressionAttributeNames can only be specified when using expressions"
    );
}

fn put_if(tables: &Tables, n: i64, condition: &str) -> Result<(), crate::TableError> {
    let request = PutItemRequest {
        table_name: TABLE.to_owned(),
        item: item([("pk", "a".into()), ("sk", 0.into()), ("n", n.into())]),
        condition_expression: Some(condition.to_owned()),
        expression_attribute_values: condition.contains(':').then(|| item([(":n", n.into())])),
        return_values_on_condition_check_failure: Some(ReturnValuesOnConditionCheckFailure::AllOld),
        ..Default::default()
    };
    tables.put_item(request).map(|_| ())
}

#[test]
fn conditions_hold_writes_back() {
    let fixture = filled();
    let tables = &fixture.tables;
    let key = || item([("pk", "a".into()), ("sk", 0.into())]);
    let error = put_if(tables, 1, "attribute_exists(pk)").unwrap_err();
    assert_eq!(error.kind(), TableErrorKind::ConditionalCheckFailed);
    assert_eq!((error.message(), error.item()), ("The conditional request failed", None));
    assert_eq!(get(tables, key()), None);
    put_if(tables, 1, "attribute_not_exists(pk)").unwrap();
    let stored = get(tables, key()).unwrap();
    let error = put_if(tables, 2, "attribute_not_exists(pk)").unwrap_err();
    assert_eq!(error.item(), Some(&stored));
    put_if(tables, 3, "n < :n").unwrap();
    assert!(put_if(tables, 3, "n < :n").is_err());
    let delete = |condition: &str, n: i64| {
        let request = DeleteItemRequest {
            table_name: TABLE.to_owned(),
            key: key(),
            condition_expression: Some(condition.to_owned()),
            expression_attribute_values: values([(":n", n.into())]),
            ..Default::default()
        };
        tables.delete_item(request).map(|_| ()).map_err(|error| error.item().cloned())
    };
    assert_eq!(delete("n = :n", 2), Err(None));
    assert_eq!(delete("n = :n", 3), Ok(()));
    assert_eq!(delete("n = :n", 3), Err(None));
    assert_counts_true(tables);
}

#[test]
fn one_of_many_conditional_writers_wins() {
    let fixture = filled();
    let wins = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for n in 0..4 {
            let (tables, wins) = (&fixture.tables, &wins);
            scope.spawn(move || {
                let won = put_if(tables, n, "attribute_not_exists(pk)").is_ok();
                wins.fetch_add(usize::from(won), std::sync::atomic::Ordering::SeqCst);
            });
        }
    });
    assert_eq!(wins.into_inner(), 1);
}

#[test]
fn values_are_checked_before_expressions() {
    let fixture = filled();
    let twice = AttributeValue::Ss(vec!["x".to_owned(), "x".to_owned()]);
    let request = ScanRequest {
        table_name: TABLE.to_owned(),
        filter_expression: Some("=".to_owned()),
        expression_attribute_values: values([(":x", twice)]),
        ..Default::default()
    };
    let text = fixture.tables.scan(request).unwrap_err().message().to_owned();
    assert_eq!(
        text,
        "ExpressionAttributeValues contains invalid value: One or more parameter values were invalid: \
         Input collection [\"x\", \"x\"] contains duplicates. for key :x"
    );
}

/// Names and values of expressions are looked at before any other value of the request.
#[test]
fn names_and_values_come_first() {
    let fixture = filled();
    let tables = &fixture.tables;
    let message = |error: crate::TableError| error.message().to_owned();
    let wrong = || item([("", "x".into())]);
    let names = |name: Option<&str>| {
        Some(name.map(|name| (name.to_owned(), "n".to_owned())).into_iter().collect())
    };
    let twice = || AttributeValue::Ss(vec!["x".to_owned(), "x".to_owned()]);
    let when = "can only be specified when using expressions";
    type Names = Option<BTreeMap<String, String>>;
    let cases: [(bool, Names, Option<Item>, String); 8] = [
        (false, names(None), Some(Item::new()), format!("ExpressionAttributeNames {when}")),
        (false, None, Some(Item::new()), format!("ExpressionAttributeValues {when}: ")),
        (true, names(None), Some(Item::new()), "ExpressionAttributeNames must not be empty".into()),
        (true, names(Some("n")), Some(Item::new()), "ExpressionAttributeNames contains inv".into()),
        (
            true,
            names(Some("#n")),
            Some(Item::new()),
            "ExpressionAttributeValues must not be".into(),
        ),
        (true, None, values([(":a", twice()), ("b", 1.into())]), "contains invalid key".into()),
        (true, None, values([(":a", twice())]), "contains invalid value".into()),
        (true, None, None, "Empty attribute name".into()),
    ];
    for (has_expression, names, values, expected) in cases {
        let expression = has_expression.then(|| "=".to_owned());
        let put = PutItemRequest {
            table_name: TABLE.to_owned(),
            item: wrong(),
            condition_expression: expression.clone(),
            expression_attribute_names: names.clone(),
            expression_attribute_values: values.clone(),
            ..Default::default()
        };
        let delete = DeleteItemRequest {
            table_name: TABLE.to_owned(),
            key: wrong(),
            condition_expression: expression.clone(),
            expression_attribute_names: names.clone(),
            expression_attribute_values: values.clone(),
            ..Default::default()
        };
        let update = UpdateItemRequest {
            table_name: TABLE.to_owned(),
            key: wrong(),
            update_expression: expression,
            expression_attribute_names: names,
            expression_attribute_values: values,
            ..Default::default()
        };
        let (of_writes, of_update) = (
            [tables.put_item(put).map(|_| ()), tables.delete_item(delete).map(|_| ())],
            message(tables.update_item(update).unwrap_err()),
        );
        for found in of_writes.map(|found| message(found.unwrap_err())) {
            assert!(found.contains(&expected), "{expected}: {found}");
            assert!(
                !found.contains("Values can only")
                    || found.ends_with(": ConditionExpression is null")
            );
        }
        assert!(of_update.contains(&expected), "{expected}: {of_update}");
        let are_null = ": UpdateExpression and ConditionExpression are null";
        assert!(!of_update.contains("Values can only") || of_update.ends_with(are_null));
    }
}
