//! The parameters from before expressions, through the operations that have them.

use std::collections::BTreeMap;

use super::{Fixture, TABLE, assert_counts_true, create, get, item, put};
use crate::operation::*;
use crate::schema::ScalarAttributeType;
use crate::{AttributeValue, Item, TableErrorKind};

fn key(sk: i64) -> Item {
    item([("pk", "p".into()), ("sk", sk.into())])
}

fn filled() -> Fixture {
    let fixture = Fixture::new();
    create(&fixture.tables, TABLE, Some(ScalarAttributeType::N));
    for sk in 0..4 {
        let mut new = key(sk);
        new.extend(item([("odd", (sk % 2 == 1).into()), ("a.b", sk.into())]));
        put(&fixture.tables, new);
    }
    fixture
}

fn condition(operator: ComparisonOperator, values: &[AttributeValue]) -> Condition {
    Condition { comparison_operator: operator, attribute_value_list: values.to_vec() }
}

fn conditions<const N: usize>(given: [(&str, Condition); N]) -> Option<Conditions> {
    Some(given.into_iter().map(|(name, condition)| (name.to_owned(), condition)).collect())
}

fn equal(value: impl Into<AttributeValue>) -> Condition {
    condition(ComparisonOperator::Eq, &[value.into()])
}

fn expecting(name: &str, value: impl Into<AttributeValue>) -> Expected {
    let value = ExpectedAttributeValue { value: Some(value.into()), ..Default::default() };
    Expected::from([(name.to_owned(), value)])
}

fn updates<const N: usize>(
    given: [(&str, AttributeAction, Option<AttributeValue>); N],
) -> Option<AttributeUpdates> {
    let update = |(name, action, value): (&str, _, _)| {
        (name.to_owned(), AttributeValueUpdate { action: Some(action), value })
    };
    Some(given.into_iter().map(update).collect())
}

#[test]
fn writes_expect_what_they_say() {
    let fixture = filled();
    let tables = &fixture.tables;
    let put_if = |expected: Expected, operator| {
        let mut new = key(1);
        new.extend(item([("odd", true.into()), ("a.b", 1.into())]));
        tables.put_item(PutItemRequest {
            table_name: TABLE.to_owned(),
            item: new,
            expected: Some(expected),
            conditional_operator: operator,
            ..Default::default()
        })
    };
    assert!(put_if(expecting("a.b", 1), None).is_ok());
    assert!(put_if(Expected::new(), None).is_ok());
    let failed = put_if(expecting("a.b", 2), None).unwrap_err();
    assert_eq!(failed.kind(), TableErrorKind::ConditionalCheckFailed);
    let mut two = expecting("a.b", 2);
    two.extend(expecting("odd", true));
    assert!(put_if(two.clone(), Some(ConditionalOperator::Or)).is_ok());
    assert!(put_if(two, Some(ConditionalOperator::And)).is_err());
    // Key attributes may be expected like others.
    assert!(put_if(expecting("pk", "p"), None).is_ok());

    let delete_if = |expected: Expected| {
        tables.delete_item(DeleteItemRequest {
            table_name: TABLE.to_owned(),
            key: key(3),
            expected: Some(expected),
            return_values_on_condition_check_failure: Some(
                ReturnValuesOnConditionCheckFailure::AllOld,
            ),
            ..Default::default()
        })
    };
    let failed = delete_if(expecting("odd", false)).unwrap_err();
    assert_eq!(failed.item().unwrap()["sk"], 3.into());
    assert!(delete_if(expecting("odd", true)).is_ok());
    assert_eq!(get(tables, key(3)), None);
    assert_counts_true(tables);
}

#[test]
fn attributes_are_updated_by_their_names() {
    use AttributeAction::{Add, Delete, Put};
    let fixture = filled();
    let tables = &fixture.tables;
    let update = |sk: i64, attribute_updates, expected| {
        let updated = tables.update_item(UpdateItemRequest {
            table_name: TABLE.to_owned(),
            key: key(sk),
            attribute_updates,
            expected,
            return_values: Some(ReturnValues::UpdatedNew),
            ..Default::default()
        });
        updated.map(|updated| updated.attributes).map_err(|error| error.message().to_owned())
    };
    let all = updates([
        ("a.b", Add, Some(5.into())),
        ("odd", Delete, None),
        ("new", Put, Some("x".into())),
    ]);
    let expected = item([("a.b", 6.into()), ("new", "x".into())]);
    assert_eq!(update(1, all.clone(), Some(expecting("odd", true))), Ok(Some(expected)));
    assert_eq!(
        update(1, all, Some(expecting("odd", true))),
        Err("The conditional request failed".to_owned())
    );
    let mismatch = Err("Type mismatch for attribute to update".to_owned());
    let set = || Some(AttributeValue::Ss(vec!["x".to_owned()]));
    assert_eq!(update(1, updates([("new", Add, Some(1.into()))]), None), mismatch);
    assert_eq!(update(1, updates([("new", Delete, set())]), None), mismatch);
    let list = Some(AttributeValue::L(vec![]));
    assert_eq!(update(1, updates([("new", Add, list)]), None), mismatch);
    assert_eq!(
        update(1, updates([("sk", Delete, None)]), None),
        Err("One or more parameter values were invalid: Cannot update attribute sk. This attribute is part \
             of the key"
            .to_owned())
    );
    // What only deletes makes no item; anything else does, and so does nothing at all.
    assert_eq!(update(9, updates([("a", Delete, None), ("b", Delete, set())]), None), Ok(None));
    assert_eq!(get(tables, key(9)), None);
    assert_eq!(update(9, Some(AttributeUpdates::new()), None), Ok(None));
    assert_eq!(get(tables, key(9)), Some(key(9)));
    assert!(update(10, updates([("n", Add, Some(1.into())), ("a", Delete, None)]), None).is_ok());
    let mut made = key(10);
    made.extend(item([("n", 1.into())]));
    assert_eq!(get(tables, key(10)), Some(made));
    assert_counts_true(tables);
}

#[test]
fn queries_and_scans_without_expressions() {
    use ComparisonOperator::{Gt, Null};
    let fixture = filled();
    let tables = &fixture.tables;
    let query = QueryRequest {
        table_name: TABLE.to_owned(),
        key_conditions: conditions([("pk", equal("p")), ("sk", condition(Gt, &[0.into()]))]),
        query_filter: conditions([("odd", equal(true))]),
        attributes_to_get: Some(vec!["a.b".to_owned(), "nothing".to_owned()]),
        ..Default::default()
    };
    let page = tables.query(query.clone()).unwrap();
    let number = |number: i64| item([("a.b", number.into())]);
    assert_eq!(page.items, Some(vec![number(1), number(3)]));
    assert_eq!((page.count, page.scanned_count), (2, 3));
    let either = QueryRequest {
        query_filter: conditions([("odd", equal(true)), ("x", condition(Null, &[]))]),
        conditional_operator: Some(ConditionalOperator::Or),
        ..query.clone()
    };
    assert_eq!(tables.query(either).unwrap().count, 3);
    // Conditions on the key may stand beside expressions for the rest.
    let with_filter = QueryRequest {
        query_filter: None,
        attributes_to_get: None,
        filter_expression: Some("odd = :t".to_owned()),
        expression_attribute_values: Some(item([(":t", true.into())])),
        ..query.clone()
    };
    assert_eq!(tables.query(with_filter).unwrap().count, 2);

    let refusal = |query: QueryRequest| tables.query(query).unwrap_err().message().to_owned();
    assert_eq!(
        refusal(QueryRequest { query_filter: conditions([("sk", equal(1))]), ..query.clone() }),
        "QueryFilter can only contain non-primary key attributes: Primary key attribute: sk"
    );
    let mixed = "Can not use both expression and non-expression parameters in the same request: \
                 Non-expression parameters: ";
    assert_eq!(
        refusal(QueryRequest {
            key_condition_expression: Some("pk = :p".to_owned()),
            conditional_operator: Some(ConditionalOperator::And),
            ..query.clone()
        }),
        format!(
            "{mixed}{{AttributesToGet, QueryFilter, ConditionalOperator, KeyConditions}} Expression \
             parameters: {{KeyConditionExpression}}"
        )
    );
    assert_eq!(
        refusal(QueryRequest {
            key_conditions: None,
            conditional_operator: Some(ConditionalOperator::And),
            query_filter: None,
            ..query.clone()
        }),
        "ConditionalOperator cannot be used without Filter or Expected"
    );
    assert!(
        refusal(QueryRequest { key_conditions: None, ..query.clone() })
            .starts_with("Either the KeyConditions or KeyConditionExpression parameter must")
    );
    let select = |select| refusal(QueryRequest { select: Some(select), ..query.clone() });
    let unwanted =
        "1 validation error detected: Cannot specify the AttributesToGet when choosing to get ";
    assert_eq!(select(Select::Count), format!("{unwanted}only the Count"));
    assert_eq!(select(Select::AllAttributes), format!("{unwanted}ALL_ATTRIBUTES"));
    assert_eq!(
        select(Select::AllProjectedAttributes),
        format!("{unwanted}ALL_PROJECTED_ATTRIBUTES")
    );
    let specific = QueryRequest { select: Some(Select::SpecificAttributes), ..query };
    assert_eq!(tables.query(specific).unwrap().count, 2);

    // A scan's filter may be about the key.
    let scan = ScanRequest {
        table_name: TABLE.to_owned(),
        scan_filter: conditions([("sk", condition(Gt, &[1.into()])), ("odd", equal(true))]),
        attributes_to_get: Some(vec!["sk".to_owned()]),
        ..Default::default()
    };
    let page = tables.scan(scan.clone()).unwrap();
    assert_eq!(page.items, Some(vec![item([("sk", 3.into())])]));
    assert_eq!((page.count, page.scanned_count), (1, 4));
    let either =
        ScanRequest { conditional_operator: Some(ConditionalOperator::Or), ..scan.clone() };
    assert_eq!(tables.scan(either).unwrap().count, 3);
    let mixed_scan = ScanRequest { projection_expression: Some("a".to_owned()), ..scan };
    assert_eq!(
        tables.scan(mixed_scan).unwrap_err().message(),
        format!(
            "{mixed}{{AttributesToGet, ScanFilter}} Expression parameters: {{ProjectionExpression}}"
        )
    );
}

#[test]
fn attributes_are_read_by_their_names() {
    let fixture = filled();
    let tables = &fixture.tables;
    let read = |names: &[&str]| {
        let request = GetItemRequest {
            table_name: TABLE.to_owned(),
            key: key(2),
            attributes_to_get: Some(names.iter().map(|name| (*name).to_owned()).collect()),
            ..Default::default()
        };
        tables.get_item(request.clone()).map_err(|e| e.message().to_owned()).map(|got| {
            let wanted = KeysAndAttributes {
                keys: vec![key(2), key(7)],
                attributes_to_get: request.attributes_to_get,
                ..Default::default()
            };
            let request_items = BTreeMap::from([(TABLE.to_owned(), wanted)]);
            let batch = BatchGetItemRequest { request_items, ..Default::default() };
            let responses = tables.batch_get_item(batch).unwrap().responses;
            assert_eq!(responses[TABLE], [got.item.clone().unwrap()]);
            got.item.unwrap()
        })
    };
    assert_eq!(read(&["sk", "a.b"]), Ok(item([("sk", 2.into()), ("a.b", 2.into())])));
    assert_eq!(read(&["a", "a.b[0]"]), Ok(Item::new()));
    assert_eq!(
        read(&["x", "y", "x"]).unwrap_err(),
        "One or more parameter values were invalid: Duplicate value in attribute name: x"
    );
    assert_eq!(read(&[""]).unwrap_err(), "Empty attribute name");
    assert_eq!(
        read(&[]).unwrap_err(),
        "1 validation error detected: Value '[]' at 'attributesToGet' failed to satisfy constraint: Member \
         must have length greater than or equal to 1"
    );
    let mixed = KeysAndAttributes {
        keys: vec![key(2)],
        attributes_to_get: Some(vec!["a".to_owned()]),
        projection_expression: Some("a".to_owned()),
        ..Default::default()
    };
    let request = BatchGetItemRequest {
        request_items: BTreeMap::from([(TABLE.to_owned(), mixed)]),
        ..Default::default()
    };
    let refusal = tables.batch_get_item(request).unwrap_err();
    assert!(
        refusal
            .message()
            .ends_with("{AttributesToGet} Expression parameters: {ProjectionExpression}")
    );
}
