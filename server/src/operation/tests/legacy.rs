//! The parameters from before expressions: what is read of them, and the order in which they are refused.

use super::*;
use crate::operation::{
    BatchGetItem, DeleteItem, GetItem, Operation, PutItem, Query, Scan, UpdateItem,
};

const OPERATORS: &str = "[IN, NULL, BETWEEN, LT, NOT_CONTAINS, EQ, GT, NOT_NULL, NE, LE, BEGINS_WITH, GE, \
                         CONTAINS]";

fn values(values: &[&str]) -> Vec<AttributeValue> {
    values.iter().map(|value| (*value).into()).collect()
}

#[test]
fn writes_are_read() {
    let body = r#"{"TableName":"T","Key":{"a":{"S":"x"}},"ConditionalOperator":"OR","Expected":{
        "a.b":{"Value":{"S":"v"},"Exists":true},"c":{"Exists":false,"Value":null},
        "d":{"ComparisonOperator":"BETWEEN","AttributeValueList":[{"S":"e"},{"S":"f"}]},"g":null},
        "AttributeUpdates":{"h":{"Value":{"S":"i"}},"j":{"Action":"DELETE"},"k":{"Action":"ADD","Value":{"N":"1"}}}}"#;
    let none = ExpectedAttributeValue::default;
    let expected = Expected::from([
        (
            "a.b".to_owned(),
            ExpectedAttributeValue { value: Some("v".into()), exists: Some(true), ..none() },
        ),
        ("c".to_owned(), ExpectedAttributeValue { exists: Some(false), ..none() }),
        (
            "d".to_owned(),
            ExpectedAttributeValue {
                comparison_operator: Some(ComparisonOperator::Between),
                attribute_value_list: Some(values(&["e", "f"])),
                ..none()
            },
        ),
        ("g".to_owned(), none()),
    ]);
    let update = |action, value| AttributeValueUpdate { action, value };
    let updates = AttributeUpdates::from([
        ("h".to_owned(), update(None, Some("i".into()))),
        ("j".to_owned(), update(Some(AttributeAction::Delete), None)),
        ("k".to_owned(), update(Some(AttributeAction::Add), Some(1.into()))),
    ]);
    let read = request::<UpdateItem>(body).unwrap();
    assert_eq!(read.attribute_updates, Some(updates));
    assert_eq!(read.expected.as_ref(), Some(&expected));
    assert_eq!(read.conditional_operator, Some(ConditionalOperator::Or));
    let read = request::<DeleteItem>(body).unwrap();
    assert_eq!(
        (read.expected.as_ref(), read.conditional_operator),
        (Some(&expected), Some(ConditionalOperator::Or))
    );
    let read = request::<PutItem>(&body.replace("Key", "Item")).unwrap();
    assert_eq!(
        (read.expected, read.conditional_operator),
        (Some(expected), Some(ConditionalOperator::Or))
    );
}

#[test]
fn reads_are_read() {
    let body = r#"{"TableName":"T","ConditionalOperator":"AND","AttributesToGet":["a","b.c"],
        "KeyConditions":{"h":{"ComparisonOperator":"EQ","AttributeValueList":[{"S":"x"}]}},
        "QueryFilter":{"f":{"ComparisonOperator":"NULL"},"g":{"ComparisonOperator":"IN","AttributeValueList":[{"S":"x"},{"S":"y"}]}}}"#;
    let condition = |comparison_operator, list: &[&str]| Condition {
        comparison_operator,
        attribute_value_list: values(list),
    };
    let filter = Conditions::from([
        ("f".to_owned(), condition(ComparisonOperator::Null, &[])),
        ("g".to_owned(), condition(ComparisonOperator::In, &["x", "y"])),
    ]);
    let names = Some(vec!["a".to_owned(), "b.c".to_owned()]);
    let read = request::<Query>(body).unwrap();
    let key = Conditions::from([("h".to_owned(), condition(ComparisonOperator::Eq, &["x"]))]);
    assert_eq!(read.key_conditions, Some(key));
    assert_eq!(read.query_filter.as_ref(), Some(&filter));
    assert_eq!(read.conditional_operator, Some(ConditionalOperator::And));
    assert_eq!(read.attributes_to_get, names);
    let read = request::<Scan>(&body.replace("QueryFilter", "ScanFilter")).unwrap();
    assert_eq!((read.scan_filter, read.attributes_to_get), (Some(filter), names.clone()));
    let get = r#"{"TableName":"T","Key":{},"AttributesToGet":["a","b.c"]}"#;
    assert_eq!(request::<GetItem>(get).unwrap().attributes_to_get, names);

    // What is left of a batch asks for the same attributes again.
    let keys = KeysAndAttributes { attributes_to_get: names, ..Default::default() };
    let unprocessed_keys = BTreeMap::from([("T".to_owned(), keys)]);
    let answer = BatchGetItemResponse { unprocessed_keys, ..Default::default() };
    let again = response::<BatchGetItem>(&answer).replace("UnprocessedKeys", "RequestItems");
    assert_eq!(request::<BatchGetItem>(&again).unwrap().request_items, answer.unprocessed_keys);
}

#[test]
fn names_of_operators_and_actions_are_checked_first() {
    let one = "ValidationException: 1 validation error detected: ";
    let expected = r#"{"TableName":"T","Item":{"a":{}},"Expected":{"b":{"ComparisonOperator":"eq"}},"ConditionExpression":"x"}"#;
    assert_eq!(
        refusal::<PutItem>(expected),
        format!(
            "{one}Value 'eq' at 'expected.b.member.comparisonOperator' failed to satisfy constraint: Member \
             must satisfy enum value set: {OPERATORS}"
        )
    );
    let update = r#"{"TableName":"T","Key":{},"AttributeUpdates":{"b":{"Action":"SET"}}}"#;
    assert_eq!(
        refusal::<UpdateItem>(update),
        format!("{one}Member must satisfy enum value set: [ADD, DELETE, PUT]' for Action")
    );
    let query = r#"{"TableName":"T","KeyConditions":{"b":{"AttributeValueList":[{}]}},"ConditionalOperator":"or"}"#;
    assert_eq!(
        refusal::<Query>(query),
        format!(
            "{one}Value null at 'keyConditions.b.member.comparisonOperator' failed to satisfy constraint: \
             Member must not be null"
        )
    );
    let empty = |path: &str| {
        format!(
            "{one}Value '[]' at '{path}' failed to satisfy constraint: Member must have length greater \
             than or equal to 1"
        )
    };
    let names = r#"{"TableName":"T","Key":{},"AttributesToGet":[]}"#;
    assert_eq!(refusal::<GetItem>(names), empty("attributesToGet"));
    assert_eq!(refusal::<Query>(names), empty("attributesToGet"));
    assert_eq!(refusal::<Scan>(names), empty("attributesToGet"));
    let batch = r#"{"RequestItems":{"T":{"Keys":[],"AttributesToGet":[]}}}"#;
    assert_eq!(refusal::<BatchGetItem>(batch), empty("requestItems.T.member.attributesToGet"));
}

#[test]
fn both_kinds_of_parameters_are_refused_before_any_value_is_looked_at() {
    fn mixed<O: Operation>(body: &str, parameters: &str, expressions: &str) {
        let body = body.replacen('{', r#"{"TableName":"T","Item":{"a":{}},"Key":{"a":{}},"#, 1);
        assert_eq!(
            refusal::<O>(&body).replace("1 validation error detected: ", ""),
            format!(
                "ValidationException: Can not use both expression and non-expression parameters in the same \
                 request: Non-expression parameters: {{{parameters}}} Expression parameters: {{{expressions}}}"
            )
        );
    }
    let write = r#"{"Expected":{},"ConditionExpression":"","ExpressionAttributeNames":{},"ExpressionAttributeValues":{}}"#;
    mixed::<PutItem>(write, "Expected", "ConditionExpression");
    mixed::<DeleteItem>(write, "Expected", "ConditionExpression");
    mixed::<UpdateItem>(write, "Expected", "ConditionExpression");
    let update = r#"{"AttributeUpdates":{"b":{"Value":{}}},"ConditionalOperator":"OR","UpdateExpression":""}"#;
    mixed::<UpdateItem>(update, "AttributeUpdates, ConditionalOperator", "UpdateExpression");
    let get = r#"{"AttributesToGet":["a","a"],"ProjectionExpression":""}"#;
    mixed::<GetItem>(get, "AttributesToGet", "ProjectionExpression");
    mixed::<Query>(get, "AttributesToGet", "ProjectionExpression");
    mixed::<Scan>(get, "AttributesToGet", "ProjectionExpression");
    let key = r#"{"KeyConditions":{},"KeyConditionExpression":""}"#;
    mixed::<Query>(key, "KeyConditions", "KeyConditionExpression");
    let filter = r#"{"KeyConditions":{},"QueryFilter":{},"ScanFilter":{},"ConditionalOperator":"AND","FilterExpression":""}"#;
    mixed::<Query>(filter, "QueryFilter, ConditionalOperator", "FilterExpression");
    mixed::<Scan>(filter, "ScanFilter, ConditionalOperator", "FilterExpression");
    let alone =
        r#"{"TableName":"T","Item":{"a":{}},"Expected":{"a":{}},"ConditionalOperator":"AND"}"#;
    assert!(refusal::<PutItem>(alone).ends_with("Filter or Expected has two or more elements"));

    let values = r#"{"TableName":"T","Key":{},"Expected":{"a":{"Value":{}}}}"#;
    assert!(refusal::<DeleteItem>(values).contains("Supplied AttributeValue is empty"));
    let values = values.replace(r#"{"Value":{}}"#, r#"{"AttributeValueList":[{"N":"x"}]}"#);
    assert!(refusal::<DeleteItem>(&values).contains("cannot be converted to a numeric value: x"));
    let wrong_type = values.replace("[{\"N\":\"x\"}]", "5");
    assert!(refusal::<DeleteItem>(&wrong_type).starts_with("SerializationException"));
}
