//! Transactions: what is read, what is answered, and what is told of several missing members.

use super::*;

#[test]
fn transactions_are_read() {
    let read = request::<crate::operation::TransactWriteItems>(
        r##"{"TransactItems":[{"Put":{"TableName":"T","Item":{"a":{"S":"x"}},"Key":{"a":{"S":"no"}}}},
            {"Update":{"TableName":"T","Key":{"a":{"S":"y"}},"UpdateExpression":"SET #b = :b","ExpressionAttributeNames":
            {"#b":"b"},"ExpressionAttributeValues":{":b":{"S":"z"}}},"Put":null},{"Delete":{"TableName":"U","Key":{"a":{"S":
            "z"}},"ConditionExpression":"b = c","ReturnValuesOnConditionCheckFailure":"ALL_OLD","Unknown":[]}},
            {"ConditionCheck":{"TableName":"T","Key":{"a":{"S":"w"}},"ConditionExpression":"b = c"}}],
            "ClientRequestToken":"t","ReturnConsumedCapacity":"TOTAL","ReturnItemCollectionMetrics":"SIZE"}"##,
    );
    let action = |table: &str, action| TransactWriteItem {
        table_name: table.to_owned(),
        action,
        ..Default::default()
    };
    let condition_expression = Some("b = c".to_owned());
    let update_expression = "SET #b = :b".to_owned();
    let expected = TransactWriteItemsRequest {
        transact_items: vec![
            action("T", TransactAction::Put(item("a", "x"))),
            TransactWriteItem {
                expression_attribute_names: Some([("#b".to_owned(), "b".to_owned())].into()),
                expression_attribute_values: Some(item(":b", "z")),
                ..action("T", TransactAction::Update { key: item("a", "y"), update_expression })
            },
            TransactWriteItem {
                condition_expression: condition_expression.clone(),
                return_values_on_condition_check_failure: Some(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                ),
                ..action("U", TransactAction::Delete(item("a", "z")))
            },
            TransactWriteItem {
                condition_expression,
                ..action("T", TransactAction::ConditionCheck(item("a", "w")))
            },
        ],
        client_request_token: Some("t".to_owned()),
        return_consumed_capacity: Some(ReturnConsumedCapacity::Total),
        return_item_collection_metrics: Some(ReturnItemCollectionMetrics::Size),
    };
    assert_eq!(read, Ok(expected));
    let read = request::<crate::operation::TransactGetItems>(
        r##"{"TransactItems":[{"Get":{"TableName":"T","Key":{"a":{"S":"x"}},"ProjectionExpression":"#b",
            "ExpressionAttributeNames":{"#b":"b"}}}],"ReturnConsumedCapacity":"NONE"}"##,
    );
    let get = TransactGet {
        table_name: "T".to_owned(),
        key: item("a", "x"),
        projection_expression: Some("#b".to_owned()),
        expression_attribute_names: Some([("#b".to_owned(), "b".to_owned())].into()),
    };
    let expected = TransactGetItemsRequest {
        transact_items: vec![get],
        return_consumed_capacity: Some(ReturnConsumedCapacity::None),
    };
    assert_eq!(read, Ok(expected));
}

#[test]
fn transactions_answer() {
    let units = |capacity_use| ConsumedCapacity {
        table_name: "T".to_owned(),
        capacity_units: 4.0,
        table: Some(4.0),
        capacity_use: Some(capacity_use),
        ..Default::default()
    };
    let written = TransactWriteItemsResponse {
        consumed_capacity: Some(vec![units(CapacityUse::Writes)]),
        ..Default::default()
    };
    assert_eq!(
        response::<crate::operation::TransactWriteItems>(&written),
        r#"{"ConsumedCapacity":[{"TableName":"T","CapacityUnits":4.0,"WriteCapacityUnits":4.0,"Table":{"CapacityUnits":4.0,"WriteCapacityUnits":4.0}}]}"#
    );
    assert_eq!(response::<crate::operation::TransactWriteItems>(&Default::default()), "{}");
    let read = TransactGetItemsResponse {
        responses: vec![None, Some(item("a", "x"))],
        consumed_capacity: Some(vec![units(CapacityUse::Reads)]),
    };
    assert_eq!(
        response::<crate::operation::TransactGetItems>(&read),
        r#"{"Responses":[{},{"Item":{"a":{"S":"x"}}}],"ConsumedCapacity":[{"TableName":"T","CapacityUnits":4.0,"ReadCapacityUnits":4.0,"Table":{"CapacityUnits":4.0,"ReadCapacityUnits":4.0}}]}"#
    );
}

#[test]
fn what_is_missing_in_transactions_is_told_at_once() {
    let null = |path: &str| {
        format!(
            "Value null at 'transactItems.{path}' failed to satisfy constraint: Member must not be null"
        )
    };
    let refused = |body: &str, failures: &[String]| {
        let plural = if failures.len() == 1 { "" } else { "s" };
        assert_eq!(
            refusal::<crate::operation::TransactWriteItems>(body),
            format!(
                "ValidationException: {} validation error{plural} detected: {}",
                failures.len(),
                failures.join("; ")
            )
        );
    };
    refused(
        r#"{"TransactItems":[{},{"Put":{"ReturnValuesOnConditionCheckFailure":"SOME"}}],"ClientRequestToken":""}"#,
        &[
            null("2.member.put.item"),
            null("2.member.put.tableName"),
            "Value 'SOME' at 'transactItems.2.member.put.returnValuesOnConditionCheckFailure' failed to satisfy \
             constraint: Member must satisfy enum value set: [ALL_OLD, NONE]"
                .to_owned(),
            "Value '' at 'clientRequestToken' failed to satisfy constraint: Member must have length greater than or \
             equal to 1"
                .to_owned(),
        ],
    );
    refused(
        r#"{"TransactItems":[{"Update":{}},{"ConditionCheck":{"Key":{},"TableName":"T"}}]}"#,
        &[
            null("1.member.update.key"),
            null("1.member.update.updateExpression"),
            null("1.member.update.tableName"),
            null("2.member.conditionCheck.conditionExpression"),
        ],
    );
    let token = "t".repeat(37);
    refused(
        &format!(r#"{{"TransactItems":[{{}}],"ClientRequestToken":"{token}"}}"#),
        &[format!(
            "Value '{token}' at 'clientRequestToken' failed to satisfy constraint: Member must have length less than or \
             equal to 36"
        )],
    );
    let put = r#""Put":{"TableName":"T","Item":{"a":{}}}"#;
    let delete = r#""Delete":{"TableName":"T","Key":{}}"#;
    for (items, message) in [
        (
            format!("[{{{put}}},{{}}]"),
            "Invalid Request: TransactWriteRequest should contain Delete or Put or Update request",
        ),
        (
            format!("[{{{put},{delete}}}]"),
            "TransactItems can only contain one of Check, Put, Update or Delete",
        ),
        (
            format!("[{{{put}}},{{{delete}}}]"),
            "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
        ),
        (
            "[]".to_owned(),
            "1 validation error detected: Value '[]' at 'transactItems' failed to satisfy constraint: Member must have \
             length greater than or equal to 1",
        ),
    ] {
        let body = format!(r#"{{"TransactItems":{items},"ReturnConsumedCapacity":"TOTAL"}}"#);
        let refused = refusal::<crate::operation::TransactWriteItems>(&body);
        assert_eq!(refused, format!("ValidationException: {message}"));
    }
    let gets = r#"{"TransactItems":[{},{"Get":{"Key":{}}}],"ReturnConsumedCapacity":"ALL"}"#;
    assert_eq!(
        refusal::<crate::operation::TransactGetItems>(gets),
        format!(
            "ValidationException: 3 validation errors detected: {}; {}; Value 'ALL' at 'returnConsumedCapacity' failed to \
             satisfy constraint: Member must satisfy enum value set: [INDEXES, TOTAL, NONE]",
            null("1.member.get"),
            null("2.member.get.tableName"),
        )
    );
    let many = format!(r#"{{"TransactItems":[{}{{}}]}}"#, "{},".repeat(100));
    for refused in [
        refusal::<crate::operation::TransactWriteItems>(&many),
        refusal::<crate::operation::TransactGetItems>(&many),
    ] {
        assert!(
            refused.ends_with("Member must have length less than or equal to 100"),
            "{refused}"
        );
    }
}
