//! Requests from JSON to the table layer's types and responses back, without a table: what is read, what is refused
//! and how the refusal is worded.
//! Here are single items, queries and batches.

mod legacy;
mod refusals;
mod tables;
mod transactions;

use std::collections::BTreeMap;

use esker_table::operation::*;
use esker_table::schema::*;
use esker_table::{AttributeValue, Item};

use super::{Found, Operation};
use crate::error::WireError;
use crate::json;

fn request<O: Operation>(body: &str) -> Result<O::Request, WireError> {
    O::request(json::read(body.as_bytes())?)
}

fn refusal<O: Operation>(body: &str) -> String {
    match request::<O>(body) {
        Ok(_) => panic!("accepted: {body}"),
        Err(error) => O::refusal(error, Found::Reading).to_string(),
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
        return_item_collection_metrics: Some(ReturnItemCollectionMetrics::Size),
        ..Default::default()
    };
    assert_eq!(read, Ok(expected));
    let metrics = ItemCollectionMetrics {
        item_collection_key: item("a", "x"),
        size_estimate_range_gb: [0.0, 1.0],
    };
    let shown =
        PutItemResponse { item_collection_metrics: Some(metrics.clone()), ..Default::default() };
    let collection = r#"{"ItemCollectionKey":{"a":{"S":"x"}},"SizeEstimateRangeGB":[0.0,1.0]}"#;
    assert_eq!(
        response::<super::PutItem>(&shown),
        format!(r#"{{"ItemCollectionMetrics":{collection}}}"#)
    );
    let item_collection_metrics = Some(BTreeMap::from([("T".to_owned(), vec![metrics])]));
    let shown = TransactWriteItemsResponse { item_collection_metrics, ..Default::default() };
    assert_eq!(
        response::<super::TransactWriteItems>(&shown),
        format!(r#"{{"ItemCollectionMetrics":{{"T":[{collection}]}}}}"#)
    );
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
        return_item_collection_metrics: Some(ReturnItemCollectionMetrics::None),
        return_values_on_condition_check_failure: Some(ReturnValuesOnConditionCheckFailure::AllOld),
        ..Default::default()
    };
    assert_eq!(read, Ok(expected));
    let shown = UpdateItemResponse { attributes: Some(item("b", "y")), ..Default::default() };
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
        ..Default::default()
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
