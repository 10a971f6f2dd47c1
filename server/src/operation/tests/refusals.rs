//! What is refused, in which order and in which words.

use super::*;

#[test]
fn a_value_of_an_expression_that_is_none_is_told_with_its_key() {
    let empty =
        "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes";
    for (value, why) in [
        (r#"{"N":"NaN"}"#, "The parameter cannot be converted to a numeric value: NaN"),
        ("{}", empty),
        ("null", empty),
        (r#"{"L":[{"M":{"a":{}}}]}"#, empty),
        (
            r#"{"S":"a","N":"1"}"#,
            "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the \
             supported datatypes",
        ),
        (
            r#"{"NULL":false}"#,
            "One or more parameter values were invalid: Null attribute value types must have the value of true",
        ),
    ] {
        let body = |expression: &str, key: &str| {
            format!(
                r#"{{"TableName":"T","{key}":{{"a":{{}}}},"{expression}":"x",
                    "ExpressionAttributeValues":{{":u":{{"S":"u"}},":v":{value},":w":{{}}}}}}"#
            )
        };
        let expected = format!(
            "ValidationException: ExpressionAttributeValues contains invalid value: {why} for key :v"
        );
        let condition = body("ConditionExpression", "Key");
        let of_write = if why.starts_with("Supplied") {
            expected.clone()
        } else {
            format!("ValidationException: 1 validation error detected: {why}")
        };
        assert_eq!(
            refusal::<crate::operation::PutItem>(&condition.replace("Key", "Item")),
            of_write
        );
        assert_eq!(refusal::<crate::operation::DeleteItem>(&condition), of_write);
        assert_eq!(refusal::<crate::operation::UpdateItem>(&condition), of_write);
        assert_eq!(
            refusal::<crate::operation::UpdateItem>(&body("UpdateExpression", "Key")),
            of_write
        );
        let filter = body("FilterExpression", "ExclusiveStartKey");
        assert_eq!(refusal::<crate::operation::Scan>(&filter), expected);
        assert_eq!(refusal::<crate::operation::Query>(&filter), expected);
    }
    // A wrong JSON type ends the reading, as elsewhere.
    let body = r#"{"TableName":"T","Key":{},"ConditionExpression":"x","ExpressionAttributeValues":{":v":{"N":1}}}"#;
    assert!(refusal::<crate::operation::UpdateItem>(body).starts_with("SerializationException"));
}

#[test]
fn names_and_values_are_looked_at_before_other_values() {
    let body =
        |expressions: &str| format!(r#"{{"TableName":"T","Key":{{"a":{{}}}}{expressions}}}"#);
    let one = "ValidationException: 1 validation error detected:";
    let without =
        format!("{one} ExpressionAttributeValues can only be specified when using expressions");
    let values = body(r#","ExpressionAttributeValues":{":v":{}}"#);
    assert_eq!(refusal::<crate::operation::UpdateItem>(&values), without);
    assert_eq!(refusal::<crate::operation::DeleteItem>(&values), without);
    assert_eq!(refusal::<crate::operation::PutItem>(&values.replace("Key", "Item")), without);
    for (placeholders, expected) in [
        (r##""ExpressionAttributeNames":{}"##, "ExpressionAttributeNames must not be empty"),
        (
            r##""ExpressionAttributeNames":{"a":"b"}"##,
            "ExpressionAttributeNames contains invalid key: Syntax error; key: \"a\"",
        ),
        (
            r##""ExpressionAttributeNames":{"#a":"b"},"ExpressionAttributeValues":{}"##,
            "ExpressionAttributeValues must not be empty",
        ),
        (
            r##""ExpressionAttributeValues":{":a":{},"b":{"S":"x"}}"##,
            "ExpressionAttributeValues contains invalid key: Syntax error; key: \"b\"",
        ),
        (r##""ExpressionAttributeNames":{"#a":"b"}"##, "Supplied AttributeValue is empty"),
    ] {
        let body = body(&format!(r#","ConditionExpression":"x",{placeholders}"#));
        let expected = if expected.ends_with("must not be empty") {
            format!("{one} {expected}")
        } else {
            format!("ValidationException: {expected}")
        };
        for found in [
            refusal::<crate::operation::DeleteItem>(&body),
            refusal::<crate::operation::UpdateItem>(&body),
        ] {
            assert!(found.starts_with(&expected), "{found}");
        }
        let found = refusal::<crate::operation::PutItem>(&body.replace("Key\"", "Item\""));
        assert!(found.starts_with(&expected), "{found}");
    }
    let names = r#","ProjectionExpression":"a","ExpressionAttributeNames":{}"#;
    assert!(
        refusal::<crate::operation::GetItem>(&body(names))
            .contains("ExpressionAttributeNames must not be")
    );
}

#[test]
fn missing_and_unknown_values_are_reported_together() {
    assert_eq!(
        refusal::<crate::operation::PutItem>("{}"),
        "ValidationException: 2 validation errors detected: Value null at 'tableName' failed to satisfy \
         constraint: Member must not be null; Value null at 'item' failed to satisfy constraint: Member \
         must not be null"
    );
    assert_eq!(
        refusal::<crate::operation::GetItem>(
            r#"{"TableName":"T","Key":{},"ReturnConsumedCapacity":"x"}"#
        ),
        "ValidationException: 1 validation error detected: Value 'x' at 'returnConsumedCapacity' failed to \
         satisfy constraint: Member must satisfy enum value set: [INDEXES, TOTAL, NONE]"
    );
    assert!(refusal::<crate::operation::DescribeTable>("{}").contains("Value null at 'tableName'"));
    assert!(
        refusal::<crate::operation::BatchGetItem>(r#"{"RequestItems":{"T":{}}}"#)
            .contains("Value null at 'requestItems.T.member.keys'")
    );
    assert!(
        refusal::<crate::operation::BatchWriteItem>(
            r#"{"RequestItems":{"T":[{"PutRequest":{}}]}}"#
        )
        .contains("Value null at 'requestItems.T.member.1.member.putRequest.item'")
    );
    assert!(
        refusal::<crate::operation::BatchWriteItem>(r#"{"RequestItems":{"T":[{}]}}"#)
            .contains("more than one datatypes set")
    );
}

#[test]
fn types_are_checked_before_values() {
    let body = r#"{"Item":{"a":{}},"ReturnValues":5}"#;
    assert_eq!(
        refusal::<crate::operation::PutItem>(body),
        "SerializationException: NUMBER_VALUE cannot be converted to String"
    );
    // A bad attribute value is reported only once nothing else is missing.
    assert!(refusal::<crate::operation::PutItem>(r#"{"Item":{"a":{}}}"#).contains("'tableName'"));
    assert!(
        refusal::<crate::operation::PutItem>(r#"{"TableName":"T","Item":{"a":{}}}"#)
            .contains("Supplied AttributeValue is empty")
    );
}

#[test]
fn malformed_bodies_are_serialization_exceptions() {
    for body in
        ["", "{", "[]", "null", "5", "\"x\"", "{\"a\"}", "{} {}", "{\"a\":01}", "\u{feff}{}"]
    {
        assert!(
            refusal::<crate::operation::ListTables>(body).starts_with("SerializationException"),
            "{body}"
        );
    }
    let invalid = json::read::<ListTablesRequest>(b"{\"a\":\"\xff\"}");
    assert!(invalid.unwrap_err().to_string().starts_with("SerializationException"));
}

#[test]
fn names_of_expressions_need_an_expression() {
    let body = r##"{"TableName":"T","Key":{},"ExpressionAttributeNames":{"#a":"b"}}"##;
    assert!(
        refusal::<crate::operation::GetItem>(body)
            .contains("can only be specified when using expressions")
    );
}

#[test]
fn an_empty_name_is_told_before_the_expression_that_uses_it() {
    let body = r##"{"TableName":"T","KeyConditionExpression":"#a !","ExpressionAttributeNames":{"#a":""}}"##;
    assert!(
        refusal::<crate::operation::Query>(body)
            .contains("invalid value: Empty attribute name for key #a")
    );
}

#[test]
fn kinds_of_parameters_are_told_apart_over_the_whole_batch() {
    let body = r#"{"RequestItems":{"T":{"Keys":[{}],"AttributesToGet":["a"]},"U":{"Keys":[{}],"ProjectionExpression":"a"}}}"#;
    assert!(
        refusal::<crate::operation::BatchGetItem>(body)
            .contains("Non-expression parameters: {AttributesToGet}")
    );
    for write in ["{}", r#"{"PutRequest":{"Item":{}},"DeleteRequest":{"Key":{}}}"#] {
        let body = format!(r#"{{"RequestItems":{{"T":[{write}]}}}}"#);
        assert!(
            refusal::<crate::operation::BatchWriteItem>(&body)
                .contains("more than one datatypes set")
        );
    }
}

#[test]
fn an_operator_that_is_none_is_told_where_there_may_be_one() {
    let query = |more: &str| {
        let body = format!(r#"{{"TableName":"T","ConditionalOperator":"X",{more}}}"#);
        refusal::<crate::operation::Query>(&body)
    };
    assert!(query(r#""KeyConditionExpression":"p = :p""#).contains("{ConditionalOperator}"));
    assert!(query(r#""QueryFilter":{}"#).contains("cannot be used without Filter or Expected"));
    let null = r#"{"ComparisonOperator":"NULL"}"#;
    let two = format!(r#""QueryFilter":{{"a":{null},"b":{null}}}"#);
    assert!(query(&two).ends_with("Member must satisfy enum value set: [ALL, OR]"));
}
