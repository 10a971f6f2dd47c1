//! Requests from JSON to the table layer's types and responses back, without a table: what is read, what is refused
//! and how the refusal is worded.
//! Why this file is long: it is a list of bodies and what each is read as, one operation after the other.

mod legacy;

use std::collections::BTreeMap;

use esker_table::operation::*;
use esker_table::schema::*;
use esker_table::{AttributeValue, Item};

use super::Operation;
use crate::error::WireError;
use crate::json;

fn request<O: Operation>(body: &str) -> Result<O::Request, WireError> {
    O::request(json::read(body.as_bytes())?)
}

fn refusal<O: Operation>(body: &str) -> String {
    match request::<O>(body) {
        Ok(_) => panic!("accepted: {body}"),
        Err(error) => O::refusal(error).to_string(),
    }
}

fn response<O: Operation>(response: &O::Response) -> String {
    String::from_utf8(json::to_bytes(&O::response(response))).unwrap()
}

fn item(name: &str, value: &str) -> Item {
    Item::from([(name.to_owned(), AttributeValue::from(value))])
}

#[test]
fn put_item_is_read() {
    let read = request::<super::PutItem>(
        r#"{"TableName":"T","Item":{"a":{"S":"x"}},"ReturnValues":"ALL_OLD","ReturnConsumedCapacity":"TOTAL",
            "ReturnItemCollectionMetrics":"SIZE","ConditionExpression":null,"Unknown":{"x":[1,2]}}"#,
    );
    let expected = PutItemRequest {
        table_name: "T".to_owned(),
        item: item("a", "x"),
        return_values: Some(ReturnValues::AllOld),
        return_consumed_capacity: Some(ReturnConsumedCapacity::Total),
        ..Default::default()
    };
    assert_eq!(read, Ok(expected));
}

#[test]
fn update_item_goes_both_ways() {
    let read = request::<super::UpdateItem>(
        r##"{"TableName":"T","Key":{"a":{"S":"x"}},"UpdateExpression":"SET #b = :b","ConditionExpression":"#b <> :b",
            "ExpressionAttributeNames":{"#b":"b"},"ExpressionAttributeValues":{":b":{"S":"y"}},
            "ReturnValues":"UPDATED_NEW","ReturnConsumedCapacity":"INDEXES","ReturnItemCollectionMetrics":"NONE",
            "ReturnValuesOnConditionCheckFailure":"ALL_OLD","AttributeUpdates":null}"##,
    );
    let expected = UpdateItemRequest {
        table_name: "T".to_owned(),
        key: item("a", "x"),
        update_expression: Some("SET #b = :b".to_owned()),
        condition_expression: Some("#b <> :b".to_owned()),
        expression_attribute_names: Some(BTreeMap::from([("#b".to_owned(), "b".to_owned())])),
        expression_attribute_values: Some(item(":b", "y")),
        return_values: Some(ReturnValues::UpdatedNew),
        return_consumed_capacity: Some(ReturnConsumedCapacity::Indexes),
        return_values_on_condition_check_failure: Some(ReturnValuesOnConditionCheckFailure::AllOld),
        ..Default::default()
    };
    assert_eq!(read, Ok(expected));
    let shown = UpdateItemResponse { attributes: Some(item("b", "y")), consumed_capacity: None };
    assert_eq!(response::<super::UpdateItem>(&shown), r#"{"Attributes":{"b":{"S":"y"}}}"#);
    assert_eq!(response::<super::UpdateItem>(&UpdateItemResponse::default()), "{}");

    assert_eq!(
        refusal::<super::UpdateItem>(r#"{"TableName":"T","ReturnValues":"NEW"}"#),
        "ValidationException: 2 validation errors detected: Value 'NEW' at 'returnValues' failed to satisfy \
         constraint: Member must satisfy enum value set: [ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]; \
         Value null at 'key' failed to satisfy constraint: Member must not be null"
    );
    // With its key it is told otherwise, and the first of several faults alone.
    let one = "ValidationException: 1 validation error detected: Failed to satisfy constraint: Member must \
        satisfy enum value set: [ALL_OLD, UPDATED_OLD, ALL_NEW, UPDATE_NEW, NONE]";
    let body = r#"{"TableName":"T","Key":{},"ReturnValues":"NEW","ReturnConsumedCapacity":"x"}"#;
    assert_eq!(refusal::<super::UpdateItem>(body), one);
    let with_item = body.replace("Key", "Item");
    assert!(refusal::<super::PutItem>(&with_item).starts_with(
        "ValidationException: 2 validation errors detected: Value 'x' at 'returnConsumedCapacity'"
    ));
    assert!(refusal::<super::UpdateItem>(&body.replace("NEW", "NONE")).starts_with(
        "ValidationException: Value 'x' at 'returnConsumedCapacity' failed to satisfy constraint"
    ));
    assert_eq!(
        refusal::<super::DeleteItem>(r#"{"TableName":"T","Key":{},"ReturnValues":"ALL_NEW"}"#),
        "ValidationException: 1 validation error detected: ReturnValues can only be ALL_OLD or NONE"
    );
}

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
        assert_eq!(refusal::<super::PutItem>(&condition.replace("Key", "Item")), of_write);
        assert_eq!(refusal::<super::DeleteItem>(&condition), of_write);
        assert_eq!(refusal::<super::UpdateItem>(&condition), of_write);
        assert_eq!(refusal::<super::UpdateItem>(&body("UpdateExpression", "Key")), of_write);
        let filter = body("FilterExpression", "ExclusiveStartKey");
        assert_eq!(refusal::<super::Scan>(&filter), expected);
        assert_eq!(refusal::<super::Query>(&filter), expected);
    }
    // A wrong JSON type ends the reading, as elsewhere.
    let body = r#"{"TableName":"T","Key":{},"ConditionExpression":"x","ExpressionAttributeValues":{":v":{"N":1}}}"#;
    assert!(refusal::<super::UpdateItem>(body).starts_with("SerializationException"));
}

#[test]
fn names_and_values_are_looked_at_before_other_values() {
    let body =
        |expressions: &str| format!(r#"{{"TableName":"T","Key":{{"a":{{}}}}{expressions}}}"#);
    let one = "ValidationException: 1 validation error detected:";
    let without =
        format!("{one} ExpressionAttributeValues can only be specified when using expressions");
    let values = body(r#","ExpressionAttributeValues":{":v":{}}"#);
    assert_eq!(refusal::<super::UpdateItem>(&values), without);
    assert_eq!(refusal::<super::DeleteItem>(&values), without);
    assert_eq!(refusal::<super::PutItem>(&values.replace("Key", "Item")), without);
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
        for found in [refusal::<super::DeleteItem>(&body), refusal::<super::UpdateItem>(&body)] {
            assert!(found.starts_with(&expected), "{found}");
        }
        let found = refusal::<super::PutItem>(&body.replace("Key\"", "Item\""));
        assert!(found.starts_with(&expected), "{found}");
    }
    let names = r#","ProjectionExpression":"a","ExpressionAttributeNames":{}"#;
    assert!(
        refusal::<super::GetItem>(&body(names)).contains("ExpressionAttributeNames must not be")
    );
}

#[test]
fn missing_and_unknown_values_are_reported_together() {
    assert_eq!(
        refusal::<super::PutItem>("{}"),
        "ValidationException: 2 validation errors detected: Value null at 'tableName' failed to satisfy \
         constraint: Member must not be null; Value null at 'item' failed to satisfy constraint: Member \
         must not be null"
    );
    assert_eq!(
        refusal::<super::GetItem>(r#"{"TableName":"T","Key":{},"ReturnConsumedCapacity":"x"}"#),
        "ValidationException: 1 validation error detected: Value 'x' at 'returnConsumedCapacity' failed to \
         satisfy constraint: Member must satisfy enum value set: [INDEXES, TOTAL, NONE]"
    );
    assert!(refusal::<super::DescribeTable>("{}").contains("Value null at 'tableName'"));
    assert!(
        refusal::<super::BatchGetItem>(r#"{"RequestItems":{"T":{}}}"#)
            .contains("Value null at 'requestItems.T.member.keys'")
    );
    assert!(
        refusal::<super::BatchWriteItem>(r#"{"RequestItems":{"T":[{"PutRequest":{}}]}}"#)
            .contains("Value null at 'requestItems.T.member.1.member.putRequest.item'")
    );
    assert!(
        refusal::<super::BatchWriteItem>(r#"{"RequestItems":{"T":[{}]}}"#)
            .contains("more than one datatypes set")
    );
}

#[test]
fn types_are_checked_before_values() {
    let body = r#"{"Item":{"a":{}},"ReturnValues":5}"#;
    assert_eq!(
        refusal::<super::PutItem>(body),
        "SerializationException: NUMBER_VALUE cannot be converted to String"
    );
    // A bad attribute value is reported only once nothing else is missing.
    assert!(refusal::<super::PutItem>(r#"{"Item":{"a":{}}}"#).contains("'tableName'"));
    assert!(
        refusal::<super::PutItem>(r#"{"TableName":"T","Item":{"a":{}}}"#)
            .contains("Supplied AttributeValue is empty")
    );
}

#[test]
fn malformed_bodies_are_serialization_exceptions() {
    for body in
        ["", "{", "[]", "null", "5", "\"x\"", "{\"a\"}", "{} {}", "{\"a\":01}", "\u{feff}{}"]
    {
        assert!(refusal::<super::ListTables>(body).starts_with("SerializationException"), "{body}");
    }
    let invalid = json::read::<ListTablesRequest>(b"{\"a\":\"\xff\"}");
    assert!(invalid.unwrap_err().to_string().starts_with("SerializationException"));
}

#[test]
fn names_of_expressions_need_an_expression() {
    let body = r##"{"TableName":"T","Key":{},"ExpressionAttributeNames":{"#a":"b"}}"##;
    assert!(
        refusal::<super::GetItem>(body).contains("can only be specified when using expressions")
    );
}

#[test]
fn an_empty_name_is_told_before_the_expression_that_uses_it() {
    let body = r##"{"TableName":"T","KeyConditionExpression":"#a !","ExpressionAttributeNames":{"#a":""}}"##;
    assert!(
        refusal::<super::Query>(body).contains("invalid value: Empty attribute name for key #a")
    );
}

#[test]
fn kinds_of_parameters_are_told_apart_over_the_whole_batch() {
    let body = r#"{"RequestItems":{"T":{"Keys":[{}],"AttributesToGet":["a"]},"U":{"Keys":[{}],"ProjectionExpression":"a"}}}"#;
    assert!(
        refusal::<super::BatchGetItem>(body)
            .contains("Non-expression parameters: {AttributesToGet}")
    );
    for write in ["{}", r#"{"PutRequest":{"Item":{}},"DeleteRequest":{"Key":{}}}"#] {
        let body = format!(r#"{{"RequestItems":{{"T":[{write}]}}}}"#);
        assert!(refusal::<super::BatchWriteItem>(&body).contains("more than one datatypes set"));
    }
}

#[test]
fn an_operator_that_is_none_is_told_where_there_may_be_one() {
    let query = |more: &str| {
        let body = format!(r#"{{"TableName":"T","ConditionalOperator":"X",{more}}}"#);
        refusal::<super::Query>(&body)
    };
    assert!(query(r#""KeyConditionExpression":"p = :p""#).contains("{ConditionalOperator}"));
    assert!(query(r#""QueryFilter":{}"#).contains("cannot be used without Filter or Expected"));
    let null = r#"{"ComparisonOperator":"NULL"}"#;
    let two = format!(r#""QueryFilter":{{"a":{null},"b":{null}}}"#);
    assert!(query(&two).ends_with("Member must satisfy enum value set: [ALL, OR]"));
}

#[test]
fn create_table_is_read() {
    let body = r##"{"TableName":"T","AttributeDefinitions":[{"AttributeName":"h","AttributeType":"S"},
        {"AttributeName":"r","AttributeType":"N"}],"KeySchema":[{"AttributeName":"h","KeyType":"HASH"},
        {"AttributeName":"r","KeyType":"RANGE"}],"BillingMode":"PROVISIONED","ProvisionedThroughput":
        {"ReadCapacityUnits":5,"WriteCapacityUnits":6.9},"StreamSpecification":{"StreamEnabled":false},
        "Tags":[],"TableClass":"STANDARD"}"##;
    let read = request::<super::CreateTable>(body).unwrap();
    let throughput = ProvisionedThroughput { read_capacity_units: 5, write_capacity_units: 6 };
    assert_eq!(read.provisioned_throughput, Some(throughput));
    assert_eq!(read.key_schema[1].key_type, KeyType::Range);
    assert_eq!(read.attribute_definitions[1].attribute_type, ScalarAttributeType::N);
    let policy =
        r#"{"TableName":"T","AttributeDefinitions":[],"KeySchema":[],"ResourcePolicy":"{}"}"#;
    assert!(refusal::<super::CreateTable>(policy).contains("ResourcePolicy is not supported"));
    let warm = r#"{"TableName":"T","AttributeDefinitions":[],"KeySchema":[],"GlobalSecondaryIndexes":[{"IndexName":
        "idx","KeySchema":[],"Projection":{},"WarmThroughput":{"ReadUnitsPerSecond":1}}]}"#;
    assert!(refusal::<super::CreateTable>(warm).contains("WarmThroughput is not supported"));
    let body = r#"{"TableName":"T","AttributeDefinitions":[{"AttributeName":"h","AttributeType":"X"}],
        "KeySchema":[{"AttributeName":"h"}]}"#;
    let refusal = refusal::<super::CreateTable>(body);
    assert!(
        refusal.contains("Value 'X' at 'attributeDefinitions.1.member.attributeType'"),
        "{refusal}"
    );
    assert!(refusal.contains("Value null at 'keySchema.1.member.keyType'"), "{refusal}");
}

#[test]
fn indexes_of_create_table_are_read() {
    let body = r##"{"TableName":"T","AttributeDefinitions":[],"KeySchema":[],"GlobalSecondaryIndexes":[{"IndexName":"g",
        "KeySchema":[{"AttributeName":"h","KeyType":"HASH"},{"AttributeName":"r","KeyType":"RANGE"}],"Projection":
        {"ProjectionType":"INCLUDE","NonKeyAttributes":["a","b"]},"ProvisionedThroughput":{"ReadCapacityUnits":1,
        "WriteCapacityUnits":2},"WarmThroughput":null}],"LocalSecondaryIndexes":[{"IndexName":"l","KeySchema":
        [{"AttributeName":"h","KeyType":"HASH"}],"Projection":{"ProjectionType":"KEYS_ONLY"}}]}"##;
    let element =
        |name: &str, key_type| KeySchemaElement { attribute_name: name.to_owned(), key_type };
    let global = GlobalSecondaryIndex {
        index_name: "g".to_owned(),
        key_schema: vec![element("h", KeyType::Hash), element("r", KeyType::Range)],
        projection: Projection {
            projection_type: Some(ProjectionType::Include),
            non_key_attributes: Some(vec!["a".to_owned(), "b".to_owned()]),
        },
        provisioned_throughput: Some(ProvisionedThroughput {
            read_capacity_units: 1,
            write_capacity_units: 2,
        }),
    };
    let local = LocalSecondaryIndex {
        index_name: "l".to_owned(),
        key_schema: vec![element("h", KeyType::Hash)],
        projection: Projection {
            projection_type: Some(ProjectionType::KeysOnly),
            non_key_attributes: None,
        },
    };
    let read = request::<super::CreateTable>(body).unwrap();
    assert_eq!(read.global_secondary_indexes, Some(vec![global]));
    assert_eq!(read.local_secondary_indexes, Some(vec![local]));

    let body = r#"{"TableName":"T","AttributeDefinitions":[],"KeySchema":[],"GlobalSecondaryIndexes":[{}],
        "LocalSecondaryIndexes":[{"IndexName":"l","KeySchema":[],"Projection":{"ProjectionType":"SOME"}}]}"#;
    assert_eq!(
        refusal::<super::CreateTable>(body),
        "ValidationException: 4 validation errors detected: Value null at 'globalSecondaryIndexes.1.member.keySchema' \
         failed to satisfy constraint: Member must not be null; Value null at \
         'globalSecondaryIndexes.1.member.projection' failed to satisfy constraint: Member must not be null; Value \
         null at 'globalSecondaryIndexes.1.member.indexName' failed to satisfy constraint: Member must not be null; \
         Value 'SOME' at 'localSecondaryIndexes.1.member.projection.projectionType' failed to satisfy constraint: \
         Member must satisfy enum value set: [ALL, INCLUDE, KEYS_ONLY]"
    );
}

#[test]
fn query_and_scan_are_read() {
    let body = r##"{"TableName":"T","KeyConditionExpression":"#a = :b","ExpressionAttributeNames":{"#a":"h"},
        "ExpressionAttributeValues":{":b":{"S":"x"}},"ScanIndexForward":false,"Limit":7,"Select":"COUNT",
        "ExclusiveStartKey":{"h":{"S":"x"}},"ConsistentRead":true,"IndexName":"i"}"##;
    let read = request::<super::Query>(body).unwrap();
    assert_eq!(read.index_name.as_deref(), Some("i"));
    assert_eq!(read.expression_attribute_names.unwrap()["#a"], "h");
    assert_eq!(read.expression_attribute_values.unwrap(), item(":b", "x"));
    assert_eq!((read.limit, read.select), (Some(7), Some(Select::Count)));
    assert_eq!((read.scan_index_forward, read.consistent_read), (Some(false), Some(true)));
    assert_eq!(read.exclusive_start_key.unwrap(), item("h", "x"));
    let read = request::<super::Scan>(
        r#"{"TableName":"T","IndexName":"i","Segment":1,"TotalSegments":4}"#,
    )
    .unwrap();
    assert_eq!(read.index_name.as_deref(), Some("i"));
    assert_eq!((read.segment, read.total_segments), (Some(1), Some(4)));
}

#[test]
fn responses_are_written_without_what_is_absent() {
    assert_eq!(response::<super::GetItem>(&GetItemResponse::default()), "{}");
    let got = GetItemResponse {
        item: Some(item("a", "x")),
        consumed_capacity: Some(ConsumedCapacity {
            table_name: "T".to_owned(),
            capacity_units: 0.5,
            table: Some(0.5),
            ..Default::default()
        }),
    };
    assert_eq!(
        response::<super::GetItem>(&got),
        r#"{"Item":{"a":{"S":"x"}},"ConsumedCapacity":{"TableName":"T","CapacityUnits":0.5,"Table":{"CapacityUnits":0.5}}}"#
    );
    let counted = ScanResponse { count: 2, scanned_count: 3, ..Default::default() };
    assert_eq!(response::<super::Scan>(&counted), r#"{"Count":2,"ScannedCount":3}"#);
}

#[test]
fn batches_go_both_ways() {
    let writes = vec![WriteRequest::Put(item("a", "x")), WriteRequest::Delete(item("a", "y"))];
    let unprocessed_items = BTreeMap::from([("T".to_owned(), writes)]);
    let answer = BatchWriteItemResponse {
        unprocessed_items: unprocessed_items.clone(),
        consumed_capacity: None,
    };
    let text = response::<super::BatchWriteItem>(&answer);
    let again = text.replace("UnprocessedItems", "RequestItems");
    assert_eq!(request::<super::BatchWriteItem>(&again).unwrap().request_items, unprocessed_items);

    let keys = KeysAndAttributes {
        keys: vec![item("a", "x")],
        consistent_read: Some(true),
        ..Default::default()
    };
    let unprocessed_keys = BTreeMap::from([("T".to_owned(), keys)]);
    let answer = BatchGetItemResponse {
        responses: BTreeMap::from([("T".to_owned(), vec![])]),
        unprocessed_keys: unprocessed_keys.clone(),
        consumed_capacity: None,
    };
    let text = response::<super::BatchGetItem>(&answer);
    assert!(text.starts_with(r#"{"Responses":{"T":[]},"UnprocessedKeys":"#), "{text}");
    let again = text.replace("UnprocessedKeys", "RequestItems");
    assert_eq!(request::<super::BatchGetItem>(&again).unwrap().request_items, unprocessed_keys);
}

#[test]
fn descriptions_have_the_services_members() {
    let table_description = TableDescription {
        table_name: "T".to_owned(),
        table_arn: "arn".to_owned(),
        table_id: "id".to_owned(),
        table_status: TableStatus::Active,
        creation_date_time_ms: 1_700_000_000_123,
        attribute_definitions: vec![AttributeDefinition {
            attribute_name: "h".to_owned(),
            attribute_type: ScalarAttributeType::S,
        }],
        key_schema: vec![KeySchemaElement {
            attribute_name: "h".to_owned(),
            key_type: KeyType::Hash,
        }],
        billing_mode: BillingMode::PayPerRequest,
        provisioned_throughput: ProvisionedThroughput::default(),
        deletion_protection_enabled: false,
        item_count: 3,
        table_size_bytes: 40,
        local_secondary_indexes: vec![],
        global_secondary_indexes: vec![],
        options: TableOptions::default(),
    };
    let text = response::<super::DeleteTable>(&DeleteTableResponse { table_description });
    assert_eq!(
        text,
        r#"{"TableDescription":{"AttributeDefinitions":[{"AttributeName":"h","AttributeType":"S"}],"TableName":"T","KeySchema":[{"AttributeName":"h","KeyType":"HASH"}],"TableStatus":"ACTIVE","CreationDateTime":1700000000.123,"ProvisionedThroughput":{"NumberOfDecreasesToday":0,"ReadCapacityUnits":0,"WriteCapacityUnits":0},"TableSizeBytes":40,"ItemCount":3,"TableArn":"arn","TableId":"id","BillingModeSummary":{"BillingMode":"PAY_PER_REQUEST"},"DeletionProtectionEnabled":false}}"#
    );
}

#[test]
fn descriptions_show_options_where_there_are_any() {
    let description = |options| TableDescription {
        table_name: "T".to_owned(),
        table_arn: "arn".to_owned(),
        table_id: "id".to_owned(),
        table_status: TableStatus::Updating,
        creation_date_time_ms: 1_000,
        attribute_definitions: vec![],
        key_schema: vec![],
        billing_mode: BillingMode::Provisioned,
        provisioned_throughput: ProvisionedThroughput {
            read_capacity_units: 1,
            write_capacity_units: 2,
        },
        deletion_protection_enabled: true,
        item_count: 0,
        table_size_bytes: 0,
        local_secondary_indexes: vec![],
        global_secondary_indexes: vec![],
        options,
    };
    let shown = |options| {
        let table_description = description(options);
        let text = response::<super::UpdateTable>(&UpdateTableResponse { table_description });
        text.split(r#""CreationDateTime":1.0,"#).nth(1).unwrap().to_owned()
    };
    assert_eq!(
        shown(TableOptions::default()),
        r#""ProvisionedThroughput":{"NumberOfDecreasesToday":0,"ReadCapacityUnits":1,"WriteCapacityUnits":2},"TableSizeBytes":0,"ItemCount":0,"TableArn":"arn","TableId":"id","DeletionProtectionEnabled":true}}"#
    );
    let options = TableOptions {
        last_increase_date_time_ms: Some(2_500),
        last_decrease_date_time_ms: Some(3_000),
        number_of_decreases_today: 4,
        last_update_to_pay_per_request_date_time_ms: Some(5_000),
        table_class: Some(TableClassSummary {
            table_class: TableClass::StandardInfrequentAccess,
            last_update_date_time_ms: Some(6_000),
        }),
        sse: Some(SseDescription {
            kms_master_key_arn: Some("key".to_owned()),
            is_updating: false,
        }),
        on_demand_throughput: Some(OnDemandThroughput {
            max_read_request_units: Some(-1),
            max_write_request_units: None,
        }),
        warm_throughput: Some(WarmThroughputDescription {
            read_units_per_second: 7,
            write_units_per_second: 8,
            is_updating: true,
        }),
    };
    assert_eq!(
        shown(options),
        r#""ProvisionedThroughput":{"LastIncreaseDateTime":2.5,"LastDecreaseDateTime":3.0,"NumberOfDecreasesToday":4,"ReadCapacityUnits":1,"WriteCapacityUnits":2},"TableSizeBytes":0,"ItemCount":0,"TableArn":"arn","TableId":"id","BillingModeSummary":{"BillingMode":"PROVISIONED","LastUpdateToPayPerRequestDateTime":5.0},"SSEDescription":{"Status":"ENABLED","SSEType":"KMS","KMSMasterKeyArn":"key"},"TableClassSummary":{"TableClass":"STANDARD_INFREQUENT_ACCESS","LastUpdateDateTime":6.0},"DeletionProtectionEnabled":true,"OnDemandThroughput":{"MaxReadRequestUnits":-1},"WarmThroughput":{"ReadUnitsPerSecond":7,"WriteUnitsPerSecond":8,"Status":"UPDATING"}}}"#
    );
}

#[test]
fn options_of_tables_are_read() {
    let read = request::<super::UpdateTable>(
        r#"{"TableName":"T","BillingMode":"PROVISIONED","ProvisionedThroughput":{"ReadCapacityUnits":1,
            "WriteCapacityUnits":2},"DeletionProtectionEnabled":true,"TableClass":"STANDARD","SSESpecification":
            {"Enabled":true,"SSEType":"KMS","KMSMasterKeyId":"k"},"StreamSpecification":{"StreamEnabled":true,
            "StreamViewType":"KEYS_ONLY"},"OnDemandThroughput":{"MaxReadRequestUnits":-1},"WarmThroughput":
            {"WriteUnitsPerSecond":5},"GlobalSecondaryIndexUpdates":[],"AttributeDefinitions":[{}]}"#,
    );
    let wanted = UpdateTableRequest {
        table_name: "T".to_owned(),
        billing_mode: Some(BillingMode::Provisioned),
        attribute_definitions: None,
        global_secondary_index_updates: Some(vec![]),
        provisioned_throughput: Some(ProvisionedThroughput {
            read_capacity_units: 1,
            write_capacity_units: 2,
        }),
        deletion_protection_enabled: Some(true),
        table_class: Some(TableClass::Standard),
        sse_specification: Some(SseSpecification {
            enabled: Some(true),
            sse_type: Some(SseType::Kms),
            kms_master_key_id: Some("k".to_owned()),
        }),
        stream_specification: Some(StreamSpecification {
            stream_enabled: true,
            stream_view_type: Some(StreamViewType::KeysOnly),
        }),
        on_demand_throughput: Some(OnDemandThroughput {
            max_read_request_units: Some(-1),
            max_write_request_units: None,
        }),
        warm_throughput: Some(WarmThroughput {
            read_units_per_second: None,
            write_units_per_second: Some(5),
        }),
    };
    assert_eq!(read.unwrap(), wanted);
    assert_eq!(
        refusal::<super::UpdateTable>(
            r#"{"BillingMode":"X","ProvisionedThroughput":{},"StreamSpecification":{"StreamViewType":"X"},
                "SSESpecification":{"SSEType":"X"},"TableClass":"X"}"#
        ),
        "ValidationException: 7 validation errors detected: Value null at 'tableName' failed to satisfy constraint: \
         Member must not be null; Value 'X' at 'billingMode' failed to satisfy constraint: Member must satisfy enum \
         value set: [PROVISIONED, PAY_PER_REQUEST]; Value null at 'provisionedThroughput.writeCapacityUnits' failed \
         to satisfy constraint: Member must not be null; Value null at 'provisionedThroughput.readCapacityUnits' \
         failed to satisfy constraint: Member must not be null; Value null at 'streamSpecification.streamEnabled' \
         failed to satisfy constraint: Member must not be null; Value 'X' at 'streamSpecification.streamViewType' \
         failed to satisfy constraint: Member must satisfy enum value set: [OLD_IMAGE, KEYS_ONLY, \
         NEW_AND_OLD_IMAGES, NEW_IMAGE]; Value 'X' at 'sSESpecification.sSEType' failed to satisfy constraint: \
         Member must satisfy enum value set: [AES256, KMS]"
    );
    assert_eq!(
        refusal::<super::UpdateTable>(r#"{"TableName":"T","TableClass":"X"}"#),
        "ValidationException: Invalid table-class parameter provided. Please try again with a valid table-class \
         value: [STANDARD, STANDARD_INFREQUENT_ACCESS]."
    );
    for (member, value) in [
        ("ReplicaUpdates", r#"[{"Create":{"RegionName":"r"}}]"#),
        ("MultiRegionConsistency", r#""STRONG""#),
    ] {
        let refusal =
            refusal::<super::UpdateTable>(&format!(r#"{{"TableName":"T","{member}":{value}}}"#));
        assert!(refusal.contains(member) && refusal.contains("not supported"), "{refusal}");
    }
}

#[test]
fn changes_of_indexes_are_read() {
    let read = request::<super::UpdateTable>(
        r#"{"TableName":"T","AttributeDefinitions":[{"AttributeName":"h","AttributeType":"S"}],
            "GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"g","KeySchema":[{"AttributeName":"h","KeyType":
            "HASH"}],"Projection":{"ProjectionType":"ALL"}}},{"Update":{"IndexName":"u","ProvisionedThroughput":
            {"ReadCapacityUnits":1,"WriteCapacityUnits":2}}},{"Delete":{"IndexName":"d"}}]}"#,
    )
    .unwrap();
    assert_eq!(read.attribute_definitions.unwrap().len(), 1);
    let updates = read.global_secondary_index_updates.unwrap();
    assert_eq!(updates[0].create.as_ref().unwrap().index_name, "g");
    let throughput = updates[1].update.as_ref().unwrap().provisioned_throughput;
    assert_eq!((throughput.read_capacity_units, throughput.write_capacity_units), (1, 2));
    assert_eq!(updates[2].delete.as_deref(), Some("d"));
    let found = refusal::<super::UpdateTable>(
        r#"{"TableName":"T","GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"g"}},{"Delete":{}}]}"#,
    );
    for member in
        ["1.member.create.keySchema", "1.member.create.projection", "2.member.delete.indexName"]
    {
        let wanted = format!("Value null at 'globalSecondaryIndexUpdates.{member}' failed");
        assert!(found.contains(&wanted), "{found}");
    }
    let warm = r#"{"TableName":"T","GlobalSecondaryIndexUpdates":[{"Update":{"IndexName":"g","ProvisionedThroughput":
        {"ReadCapacityUnits":1,"WriteCapacityUnits":2},"WarmThroughput":{"ReadUnitsPerSecond":1}}}]}"#;
    assert!(refusal::<super::UpdateTable>(warm).contains("WarmThroughput is not supported"));
}

#[test]
fn tags_are_read_and_shown() {
    let tags = r#"[{"Key":"b","Value":""},{"Key":"a","Value":"1"}]"#;
    let body =
        format!(r#"{{"TableName":"T","AttributeDefinitions":[],"KeySchema":[],"Tags":{tags}}}"#);
    let read = request::<super::CreateTable>(&body).unwrap().tags.unwrap();
    let text = response::<super::ListTagsOfResource>(&ListTagsOfResourceResponse { tags: read });
    assert_eq!(text, format!(r#"{{"Tags":{tags}}}"#));
    for (tag, wanted) in [
        ("{}", "ValidationException: The Tag Key provided is invalid, Key: null"),
        (r#"{"Key":"k"}"#, "ValidationException: The Tag Value provided is invalid, Value: null"),
    ] {
        assert_eq!(refusal::<super::CreateTable>(&body.replace(tags, &format!("[{tag}]"))), wanted);
    }
    let missing = "ValidationException: Invalid TableArn";
    assert_eq!(refusal::<super::ListTagsOfResource>("{}"), missing);
}

#[test]
fn transactions_are_read() {
    let read = request::<super::TransactWriteItems>(
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
    };
    assert_eq!(read, Ok(expected));
    let read = request::<super::TransactGetItems>(
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
    let written =
        TransactWriteItemsResponse { consumed_capacity: Some(vec![units(CapacityUse::Writes)]) };
    assert_eq!(
        response::<super::TransactWriteItems>(&written),
        r#"{"ConsumedCapacity":[{"TableName":"T","CapacityUnits":4.0,"WriteCapacityUnits":4.0,"Table":{"CapacityUnits":4.0,"WriteCapacityUnits":4.0}}]}"#
    );
    assert_eq!(response::<super::TransactWriteItems>(&Default::default()), "{}");
    let read = TransactGetItemsResponse {
        responses: vec![None, Some(item("a", "x"))],
        consumed_capacity: Some(vec![units(CapacityUse::Reads)]),
    };
    assert_eq!(
        response::<super::TransactGetItems>(&read),
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
            refusal::<super::TransactWriteItems>(body),
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
        let refused = refusal::<super::TransactWriteItems>(&body);
        assert_eq!(refused, format!("ValidationException: {message}"));
    }
    let gets = r#"{"TransactItems":[{},{"Get":{"Key":{}}}],"ReturnConsumedCapacity":"ALL"}"#;
    assert_eq!(
        refusal::<super::TransactGetItems>(gets),
        format!(
            "ValidationException: 3 validation errors detected: {}; {}; Value 'ALL' at 'returnConsumedCapacity' failed to \
             satisfy constraint: Member must satisfy enum value set: [INDEXES, TOTAL, NONE]",
            null("1.member.get"),
            null("2.member.get.tableName"),
        )
    );
    let many = format!(r#"{{"TransactItems":[{}{{}}]}}"#, "{},".repeat(100));
    for refused in
        [refusal::<super::TransactWriteItems>(&many), refusal::<super::TransactGetItems>(&many)]
    {
        assert!(
            refused.ends_with("Member must have length less than or equal to 100"),
            "{refused}"
        );
    }
}

#[test]
fn indexes_are_described_and_charged() {
    let key_schema =
        vec![KeySchemaElement { attribute_name: "h".to_owned(), key_type: KeyType::Hash }];
    let description = |name: &str| GlobalSecondaryIndexDescription {
        index_name: name.to_owned(),
        key_schema: key_schema.clone(),
        projection: Projection {
            projection_type: Some(ProjectionType::Include),
            non_key_attributes: Some(vec!["a".to_owned()]),
        },
        backfilling: None,
        index_status: TableStatus::Active,
        provisioned_throughput: ProvisionedThroughput::default(),
        index_size_bytes: 7,
        item_count: 1,
        index_arn: "arn".to_owned(),
    };
    assert_eq!(
        String::from_utf8(json::to_bytes(&super::index::GlobalOut(&description("g")))).unwrap(),
        r#"{"IndexName":"g","KeySchema":[{"AttributeName":"h","KeyType":"HASH"}],"Projection":{"ProjectionType":"INCLUDE","NonKeyAttributes":["a"]},"IndexStatus":"ACTIVE","ProvisionedThroughput":{"NumberOfDecreasesToday":0,"ReadCapacityUnits":0,"WriteCapacityUnits":0},"IndexSizeBytes":7,"ItemCount":1,"IndexArn":"arn"}"#
    );
    let local = LocalSecondaryIndexDescription {
        index_name: "l".to_owned(),
        key_schema: key_schema.clone(),
        projection: Projection {
            projection_type: Some(ProjectionType::All),
            non_key_attributes: None,
        },
        index_size_bytes: 7,
        item_count: 1,
        index_arn: "arn".to_owned(),
    };
    assert_eq!(
        String::from_utf8(json::to_bytes(&super::index::LocalOut(&local))).unwrap(),
        r#"{"IndexName":"l","KeySchema":[{"AttributeName":"h","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"},"IndexSizeBytes":7,"ItemCount":1,"IndexArn":"arn"}"#
    );
    let consumed_capacity = Some(ConsumedCapacity {
        table_name: "T".to_owned(),
        capacity_units: 3.5,
        table: Some(1.0),
        local_secondary_indexes: Some([("l".to_owned(), 0.5)].into()),
        global_secondary_indexes: Some([("g".to_owned(), 2.0)].into()),
        ..Default::default()
    });
    let put = PutItemResponse { consumed_capacity, ..Default::default() };
    assert_eq!(
        response::<super::PutItem>(&put),
        r#"{"ConsumedCapacity":{"TableName":"T","CapacityUnits":3.5,"Table":{"CapacityUnits":1.0},"LocalSecondaryIndexes":{"l":{"CapacityUnits":0.5}},"GlobalSecondaryIndexes":{"g":{"CapacityUnits":2.0}}}}"#
    );
}
