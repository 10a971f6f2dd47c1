//! What may be the key of an index, on every way an item is written.

use serde_json::{Value, json};

use crate::wire::{Wire, definitions, key_schema, n, pk, s, update, with};

/// `Tab` with an index by `a` and one by `a`, `b`.
fn indexed() -> Wire {
    let wire = Wire::new();
    wire.create("Tab", "pk=S", &[("by_a", "a=S", "ALL"), ("by_ab", "a=S / b=N", "KEYS_ONLY")], &[]);
    wire
}

fn count(wire: &Wire, index: &str) -> u64 {
    let body = json!({"TableName": "Tab", "IndexName": index, "Select": "COUNT"});
    wire.ok("Scan", body)["Count"].as_u64().unwrap()
}

#[test]
fn a_value_that_cannot_be_a_key_is_refused_on_every_way() {
    let wire = indexed();
    wire.put(json!({"pk": s("a"), "a": s("x"), "b": n("1")}));
    for (name, value, part) in [
        ("a", s(""), "empty string value"),
        ("a", json!({"NULL": true}), "Actual: NULL"),
        ("a", n("1"), "Type mismatch for Index Key a Expected: S Actual: N"),
        ("a", json!({"SS": ["x"]}), "Actual: SS"),
        ("b", s("1"), "Type mismatch for Index Key b Expected: N Actual: S"),
        ("b", json!({"BOOL": true}), "Actual: BOOL"),
    ] {
        let put = json!({"TableName": "Tab", "Item": {"pk": s("a"), name: value}});
        let set = update(pk("a"), &format!("SET {name} = :v"), json!({":v": value}));
        wire.invalid("PutItem", put.clone(), part);
        assert_eq!(wire.refused("UpdateItem", set.clone()).kind, "ValidationException");
        let batch = json!({"RequestItems": {"Tab": [{"PutRequest": {"Item": put["Item"]}}]}});
        wire.invalid("BatchWriteItem", batch, part);
        for (action, body) in [("Put", put), ("Update", set)] {
            let body = json!({"TransactItems": [{action: body}]});
            let refusal = wire.refused("TransactWriteItems", body);
            let stopped = ["ValidationException", "TransactionCanceledException"];
            assert!(stopped.contains(&refusal.kind.as_str()), "{refusal:?}");
        }
        let legacy = json!({"TableName": "Tab", "Key": pk("a"),
            "AttributeUpdates": {name: {"Action": "PUT", "Value": value}}});
        assert_eq!(wire.refused("UpdateItem", legacy).kind, "ValidationException");
    }
    // None of them changed anything.
    assert_eq!(wire.scan(), [json!({"pk": s("a"), "a": s("x"), "b": n("1")})]);
    assert_eq!((count(&wire, "by_a"), count(&wire, "by_ab")), (1, 1));
}

#[test]
fn an_item_without_the_key_is_stored_and_not_indexed() {
    let wire = indexed();
    wire.put(json!({"pk": s("none"), "x": s("")}));
    wire.put(json!({"pk": s("half"), "a": s("x")}));
    wire.put(json!({"pk": s("whole"), "a": s("x"), "b": n("1")}));
    assert_eq!((wire.scan().len(), count(&wire, "by_a"), count(&wire, "by_ab")), (3, 2, 1));
    // Taken away by an update, it leaves the index; given back, it returns.
    wire.update(pk("whole"), "REMOVE b", Value::Null);
    assert_eq!((count(&wire, "by_a"), count(&wire, "by_ab")), (2, 0));
    wire.update(pk("half"), "SET b = :b", json!({":b": n("2")}));
    assert_eq!((count(&wire, "by_a"), count(&wire, "by_ab")), (2, 1));
    wire.ok("DeleteItem", json!({"TableName": "Tab", "Key": pk("half")}));
    assert_eq!((count(&wire, "by_a"), count(&wire, "by_ab")), (1, 0));
}

#[test]
fn a_key_that_is_too_long_for_the_index_is_refused() {
    let wire = indexed();
    let put =
        |bytes| json!({"TableName": "Tab", "Item": {"pk": s("a"), "a": s(&"x".repeat(bytes))}});
    wire.ok("PutItem", put(2048));
    wire.invalid("PutItem", put(2049), "2048 bytes");
}

#[test]
fn a_new_index_skips_old_items_of_another_type() {
    let wire = Wire::with_table("pk=S");
    for (key, value) in
        [("good", s("x")), ("number", n("1")), ("empty", s("")), ("null", json!({"NULL": true}))]
    {
        wire.put(json!({"pk": s(key), "a": value}));
    }
    wire.put(pk("absent"));
    let create = json!({"IndexName": "by_a", "KeySchema": key_schema("a=S"),
        "Projection": {"ProjectionType": "ALL"}});
    let answer = wire.ok(
        "UpdateTable",
        json!({"TableName": "Tab", "AttributeDefinitions": definitions(["pk=S", "a=S"].into_iter()),
            "GlobalSecondaryIndexUpdates": [{"Create": create}]}),
    );
    assert_eq!(answer["TableDescription"]["TableStatus"], "UPDATING");
    wire.until_active("Tab");
    let found = wire.ok("Scan", json!({"TableName": "Tab", "IndexName": "by_a"}));
    assert_eq!(found["Items"], json!([{"pk": s("good"), "a": s("x")}]));
    assert_eq!(wire.scan().len(), 5);
    // From now on it is checked, and an old item is corrected by a write of its own.
    let wrong = json!({"TableName": "Tab", "Item": {"pk": s("new"), "a": n("1")}});
    wire.invalid("PutItem", wrong, "Type mismatch for Index Key");
    wire.update(pk("number"), "SET a = :a", json!({":a": s("y")}));
    assert_eq!(count(&wire, "by_a"), 2);
    // One of the others may be changed elsewhere and deleted.
    wire.ok("DeleteItem", json!({"TableName": "Tab", "Key": pk("empty")}));
    assert_eq!((wire.scan().len(), count(&wire, "by_a")), (4, 2));
}

#[test]
fn several_attributes_are_one_key() {
    let wire = Wire::new();
    wire.create("Tab", "pk=S", &[("whole", "a=S b=S / c=N d=N", "ALL")], &[]);
    for (key, c, d) in [("1", "1", "2"), ("2", "1", "1"), ("3", "0", "9")] {
        wire.put(json!({"pk": s(key), "a": s("x"), "b": s("y"), "c": n(c), "d": n(d)}));
    }
    // Lacking one part, each in turn, it is in no index.
    for lacking in ["a", "b", "c", "d"] {
        let mut item =
            json!({"pk": s(lacking), "a": s("x"), "b": s("y"), "c": n("5"), "d": n("5")});
        item.as_object_mut().unwrap().remove(lacking);
        wire.put(item);
    }
    let query = |condition: &str, values: Value| {
        with(
            json!({"TableName": "Tab", "IndexName": "whole", "KeyConditionExpression": condition}),
            json!({"ExpressionAttributeValues": with(json!({":a": s("x"), ":b": s("y")}), values)}),
        )
    };
    let found = |condition: &str, values: Value| {
        let items = wire.ok("Query", query(condition, values))["Items"].take();
        crate::wire::column(&items, "pk").join(",")
    };
    assert_eq!(found("a = :a AND b = :b", json!({})), "3,2,1");
    assert_eq!(found("a = :a AND b = :b AND c = :c", json!({":c": n("1.0")})), "2,1");
    assert_eq!(found("a = :a AND b = :b AND c < :c", json!({":c": n("1")})), "3");
    let values = json!({":c": n("1"), ":d": n("1")});
    assert_eq!(found("d > :d AND c = :c AND b = :b AND a = :a", values.clone()), "1");
    // A RANGE part that is skipped, and one of two HASH parts, are not enough.
    let refused = |condition: &str, values: Value, part: &str| {
        wire.invalid("Query", query(condition, values), part);
    };
    refused("a = :a AND b = :b AND d = :d", json!({":d": n("1")}), "RANGE key attributes c must");
    refused("a = :a AND b = :b AND c > :c AND d = :d", values, "equality");
    let half = json!({"TableName": "Tab", "IndexName": "whole", "KeyConditionExpression": "a = :a",
        "ExpressionAttributeValues": {":a": s("x")}});
    assert_eq!(wire.refused("Query", half).kind, "ValidationException");
    refused("a = :a AND b > :b", json!({}), "HASH key attributes");
}
