//! Requests as bytes: compression and checksums, wrong JSON, the order in which errors are told, and the parameters
//! from before there were expressions.

use std::io::{Read, Write};

use flate2::read::GzDecoder;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};

use crate::support::{exchange, post, post_bytes, request};
use crate::wire::{Wire, n, pk, s, with};

const HEAD: &str = "X-Amz-Target: DynamoDB_20120810.GetItem\r\nAuthorization: x\r\n";

#[test]
fn the_checksum_covers_the_bytes_that_were_sent() {
    let wire = Wire::with_table("pk=S");
    let text = "compressible ".repeat(1000);
    wire.put(json!({"pk": s("a"), "x": s(&text)}));
    let body = json!({"TableName": "Tab", "Key": pk("a")}).to_string();
    let mut stream = wire.server().connect();
    for encoding in ["", "gzip", "identity"] {
        let head = format!("{HEAD}Accept-Encoding: {encoding}\r\n");
        let answer = exchange(&mut stream, &post(&head, &body)).unwrap();
        let checksum: u32 = answer.header("x-amz-crc32").unwrap().parse().unwrap();
        assert_eq!(checksum, crc32fast::hash(&answer.bytes));
        let compressed = answer.header("content-encoding") == Some("gzip");
        assert_eq!(compressed, encoding == "gzip");
        let mut read = answer.body.clone();
        if compressed {
            assert!(answer.bytes.len() < text.len() / 2);
            GzDecoder::new(&answer.bytes[..]).read_to_string(&mut read).unwrap();
        }
        assert_eq!(read.parse::<Value>().unwrap()["Item"]["x"], s(&text));
    }
    // Of an error as well.
    let answer = exchange(&mut stream, &request("GetItem", "{}")).unwrap();
    assert_eq!(answer.header("x-amz-crc32").unwrap(), crc32fast::hash(&answer.bytes).to_string());
}

#[test]
fn requests_may_be_compressed() {
    let wire = Wire::with_table("pk=S");
    let body = json!({"TableName": "Tab", "Key": pk("a")}).to_string();
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(body.as_bytes()).unwrap();
    let mut deflate = ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    deflate.write_all(body.as_bytes()).unwrap();
    let mut stream = wire.server().connect();
    for (encoding, bytes) in
        [("gzip", gzip.finish().unwrap()), ("deflate", deflate.finish().unwrap())]
    {
        let head = format!("{HEAD}Content-Encoding: {encoding}\r\n");
        let answer = exchange(&mut stream, &post_bytes(&head, &bytes)).unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "{}"), "{encoding}");
    }
}

#[test]
fn wrong_json_is_never_an_internal_error() {
    let wire = Wire::with_table("pk=S");
    let deep =
        format!("{{\"TableName\":\"Tab\",\"Key\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"x\"",
        "{\"TableName\":7}",
        "{\"TableName\":[\"Tab\"]}",
        "{\"TableName\":\"Tab\",\"Key\":[]}",
        "{\"TableName\":\"Tab\",\"Key\":{\"pk\":\"a\"}}",
        "{\"TableName\":\"Tab\",\"Key\":{\"pk\":{\"S\":[]}}}",
        "{\"TableName\":\"Tab\",\"Key\":{\"pk\":{\"B\":7}}}",
        "{\"TableName\":\"Tab\",\"ConsistentRead\":\"x\",\"Key\":{\"pk\":{\"S\":\"a\"}}}",
        "{\"TableName\":\"Tab\",\"Key\":{\"pk\":{\"S\":\"\\ud800\"}}}",
        "{\"TableName\":\"Tab\"}}",
        deep.as_str(),
    ] {
        let answer = wire.server().call("GetItem", body);
        assert_eq!(answer.status, 400, "{body:.100}: {answer:?}");
        assert!(answer.body.contains("Exception"), "{body:.100}: {answer:?}");
    }
    // A wrong type is told before a wrong value.
    let both = json!({"TableName": "!", "Limit": 0, "Select": 7});
    assert_eq!(wire.refused("Scan", both).kind, "SerializationException");
}

#[test]
fn errors_of_members_are_told_together_before_anything_is_looked_up() {
    let wire = Wire::new();
    let refusal =
        wire.refused("PutItem", json!({"ReturnValues": "SOME", "ReturnConsumedCapacity": "x"}));
    assert_eq!(refusal.kind, "ValidationException");
    assert!(refusal.message.starts_with("4 validation errors detected: "), "{refusal:?}");
    for part in ["'tableName'", "'item'", "[ALL_OLD, UPDATED_OLD", "'returnConsumedCapacity'"] {
        assert!(refusal.message.contains(part), "{refusal:?}");
    }
    // Then values, then expressions, and only then the table.
    let item = |value: Value, condition: &str| json!({"TableName": "Nowhere", "Item": {"pk": s("a"), "v": value}, "ConditionExpression": condition});
    wire.invalid("PutItem", item(n("x"), "=="), "cannot be converted to a numeric value");
    wire.invalid("PutItem", item(n("1"), "=="), "Invalid ConditionExpression: Syntax error");
    let refusal = wire.refused("PutItem", item(n("1"), "attribute_exists(pk)"));
    assert_eq!(refusal.kind, "ResourceNotFoundException");
}

#[test]
fn old_and_new_parameters_do_not_mix() {
    let wire = Wire::with_table("pk=S");
    let expected = json!({"Expected": {"x": {"Exists": false}}});
    let condition = json!({"ConditionExpression": "attribute_not_exists(x)"});
    let mixed = "Can not use both expression and non-expression parameters in the same request";
    let put = json!({"TableName": "Tab", "Item": pk("a")});
    wire.ok("PutItem", with(put.clone(), expected.clone()));
    wire.invalid("PutItem", with(with(put, expected), condition), mixed);
    let get = json!({"TableName": "Tab", "Key": pk("a"), "AttributesToGet": ["pk"], "ProjectionExpression": "pk"});
    wire.invalid("GetItem", get, mixed);
    let query = json!({"TableName": "Tab", "KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": s("a")},
        "KeyConditions": {"pk": {"ComparisonOperator": "EQ", "AttributeValueList": [s("a")]}}});
    wire.invalid("Query", query, mixed);
    let scan = json!({"TableName": "Tab", "FilterExpression": "pk = :p", "ExpressionAttributeValues": {":p": s("a")},
        "ScanFilter": {"x": {"ComparisonOperator": "NULL"}}});
    wire.invalid("Scan", scan, mixed);
    let update = json!({"TableName": "Tab", "Key": pk("a"), "UpdateExpression": "REMOVE x",
        "AttributeUpdates": {"y": {"Action": "DELETE"}}});
    wire.invalid("UpdateItem", update, mixed);
}

#[test]
fn parameters_from_before_expressions_do_their_work() {
    let wire = Wire::with_table("pk=S");
    let key = json!({"TableName": "Tab", "Key": pk("a")});
    let updates = |updates: Value| {
        with(key.clone(), json!({"AttributeUpdates": updates, "ReturnValues": "ALL_NEW"}))
    };
    let new = wire.ok(
        "UpdateItem",
        updates(json!({"n": {"Action": "ADD", "Value": n("2")},
        "s": {"Value": s("x")}, "ss": {"Action": "ADD", "Value": {"SS": ["a", "b"]}}})),
    );
    let item = json!({"pk": s("a"), "n": n("2"), "s": s("x"), "ss": {"SS": ["a", "b"]}});
    assert_eq!(new["Attributes"], item);
    let new = wire.ok(
        "UpdateItem",
        updates(json!({"n": {"Action": "ADD", "Value": n("-5")},
        "s": {"Action": "DELETE"}, "ss": {"Action": "DELETE", "Value": {"SS": ["a"]}}})),
    );
    assert_eq!(new["Attributes"], json!({"pk": s("a"), "n": n("-3"), "ss": {"SS": ["b"]}}));
    let filter = |operator: &str, values: Value| {
        let condition =
            json!({"n": {"ComparisonOperator": operator, "AttributeValueList": values}});
        wire.ok("Scan", json!({"TableName": "Tab", "ScanFilter": condition}))["Count"]
            .as_u64()
            .unwrap()
    };
    assert_eq!((filter("LT", json!([n("0")])), filter("GT", json!([n("0")]))), (1, 0));
    assert_eq!(
        (filter("BETWEEN", json!([n("-4"), n("-2")])), filter("IN", json!([n("1")]))),
        (1, 0)
    );
    let refusal = wire.refused("DeleteItem", with(key.clone(),
        json!({"Expected": {"n": {"Value": n("0")}, "ss": {"Exists": false}}, "ConditionalOperator": "OR"})));
    assert_eq!(refusal.kind, "ConditionalCheckFailedException");
    wire.ok("DeleteItem", with(key, json!({"Expected": {"n": {"Value": n("-3")}}})));
    assert_eq!(wire.scan(), [] as [Value; 0]);
}
