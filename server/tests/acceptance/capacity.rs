//! What reads and writes cost, to the half unit.

use serde_json::{Value, json};

use crate::wire::{Wire, n, pk, s, update, with};

fn asked(body: Value) -> Value {
    with(body, json!({"ReturnConsumedCapacity": "INDEXES"}))
}

fn units(wire: &Wire, operation: &str, body: Value) -> Value {
    wire.ok(operation, asked(body))["ConsumedCapacity"].take()
}

/// A capacity as `INDEXES` shows it.
fn shown(total: f64, table: f64, indexes: Value) -> Value {
    let capacity =
        json!({"TableName": "Tab", "CapacityUnits": total, "Table": {"CapacityUnits": table}});
    match indexes.as_object().is_some_and(|indexes| !indexes.is_empty()) {
        true => with(capacity, json!({"GlobalSecondaryIndexes": indexes})),
        false => capacity,
    }
}

fn indexed() -> Wire {
    let wire = Wire::new();
    wire.create("Tab", "pk=S", &[("by_a", "a=S", "ALL"), ("by_b", "b=S", "KEYS_ONLY")], &[]);
    wire
}

#[test]
fn a_changed_index_key_costs_two_units_and_an_identical_overwrite_none() {
    let wire = indexed();
    let put = |item: Value| units(&wire, "PutItem", json!({"TableName": "Tab", "Item": item}));
    let one = json!({"CapacityUnits": 1.0});
    let two = json!({"CapacityUnits": 2.0});
    let first = json!({"pk": s("k"), "a": s("x"), "b": s("y")});
    assert_eq!(put(first.clone()), shown(3.0, 1.0, json!({"by_a": one, "by_b": one})));
    assert_eq!(put(first.clone()), shown(1.0, 1.0, json!({})));
    // The key of one index, which the other does not hold.
    let moved = with(first.clone(), json!({"b": s("z")}));
    assert_eq!(put(moved.clone()), shown(4.0, 1.0, json!({"by_a": one, "by_b": two})));
    // An attribute that only one of them holds.
    let noted = with(moved, json!({"note": s("n")}));
    assert_eq!(put(noted), shown(2.0, 1.0, json!({"by_a": one})));
    let set = |expression: &str, values: Value| {
        units(&wire, "UpdateItem", update(pk("k"), expression, values))
    };
    assert_eq!(set("SET a = :v", json!({":v": s("w")})), shown(3.0, 1.0, json!({"by_a": two})));
    assert_eq!(set("SET a = :v", json!({":v": s("w")})), shown(1.0, 1.0, json!({})));
    // Out of an index is one, and so is its delete.
    assert_eq!(set("REMOVE a", Value::Null), shown(2.0, 1.0, json!({"by_a": one})));
    let delete = units(&wire, "DeleteItem", json!({"TableName": "Tab", "Key": pk("k")}));
    assert_eq!(delete, shown(2.0, 1.0, json!({"by_b": one})));
    let absent = units(&wire, "DeleteItem", json!({"TableName": "Tab", "Key": pk("k")}));
    assert_eq!(absent, shown(1.0, 1.0, json!({})));
}

#[test]
fn a_write_costs_the_larger_of_the_old_and_the_new_item() {
    let wire = Wire::with_table("pk=S");
    let total = |answer: Value| answer["CapacityUnits"].as_f64().unwrap();
    let put = |bytes: usize| {
        let item = json!({"pk": s("k"), "x": s(&"x".repeat(bytes - 4))});
        total(units(&wire, "PutItem", json!({"TableName": "Tab", "Item": item})))
    };
    assert_eq!((put(1024), put(1025), put(3000), put(10), put(10)), (1.0, 2.0, 3.0, 3.0, 1.0));
    put(2500);
    let set = update(pk("k"), "REMOVE x", Value::Null);
    assert_eq!(total(units(&wire, "UpdateItem", set)), 3.0);
    put(4097);
    let refused = asked(
        json!({"TableName": "Tab", "Key": pk("k"), "ConditionExpression": "attribute_exists(nowhere)"}),
    );
    assert_eq!(wire.refused("DeleteItem", refused).kind, "ConditionalCheckFailedException");
    let delete = json!({"TableName": "Tab", "Key": pk("k")});
    assert_eq!(total(units(&wire, "DeleteItem", delete)), 5.0);
}

#[test]
fn reads_cost_half_a_unit_for_each_four_kilobytes() {
    let wire = Wire::with_table("pk=S");
    for (key, bytes) in [("a", 4096), ("b", 4097), ("c", 10)] {
        wire.put(json!({"pk": s(key), "x": s(&"x".repeat(bytes - 4))}));
    }
    let get = |key: &str, consistent: bool| {
        let body = json!({"TableName": "Tab", "Key": pk(key), "ConsistentRead": consistent});
        units(&wire, "GetItem", body)["CapacityUnits"].as_f64().unwrap()
    };
    assert_eq!((get("a", false), get("a", true)), (0.5, 1.0));
    assert_eq!((get("b", false), get("b", true)), (1.0, 2.0));
    assert_eq!((get("absent", false), get("absent", true)), (0.5, 1.0));
    // What a projection leaves out is paid; a scan is rounded as a whole, a batch item by item.
    let projected = json!({"TableName": "Tab", "Key": pk("b"), "ProjectionExpression": "pk"});
    assert_eq!(units(&wire, "GetItem", projected)["CapacityUnits"], 1.0);
    assert_eq!(units(&wire, "Scan", json!({"TableName": "Tab"}))["CapacityUnits"], 1.5);
    let keys = json!({"RequestItems": {"Tab": {"Keys": [pk("a"), pk("b"), pk("c"), pk("d")]}}});
    assert_eq!(units(&wire, "BatchGetItem", keys)[0]["CapacityUnits"], 2.5);
    let get = |key: &str| json!({"Get": {"TableName": "Tab", "Key": pk(key)}});
    let gets = json!({"TransactItems": [get("b"), get("c"), get("d")]});
    assert_eq!(units(&wire, "TransactGetItems", gets)[0]["CapacityUnits"], 8.0);
}

#[test]
fn only_what_is_asked_for_is_told() {
    let wire = indexed();
    let put = |what: Value| {
        let body = json!({"TableName": "Tab", "Item": {"pk": s("k"), "a": s("x"), "n": n("1")}});
        wire.ok("PutItem", with(body, what))
    };
    assert_eq!(put(json!({})), json!({}));
    assert_eq!(put(json!({"ReturnConsumedCapacity": "NONE"})), json!({}));
    let total = put(json!({"ReturnConsumedCapacity": "TOTAL"}));
    assert_eq!(total, json!({"ConsumedCapacity": {"TableName": "Tab", "CapacityUnits": 1.0}}));
    assert_eq!(
        wire.refused(
            "PutItem",
            json!({"TableName": "Tab", "Item": pk("k"),
        "ReturnConsumedCapacity": "ALL"})
        )
        .kind,
        "ValidationException"
    );
    // A query of an index is charged to the index.
    let query = json!({"TableName": "Tab", "IndexName": "by_a", "KeyConditionExpression": "a = :a",
        "ExpressionAttributeValues": {":a": s("x")}});
    let half = json!({"CapacityUnits": 0.5});
    assert_eq!(units(&wire, "Query", query), shown(0.5, 0.0, json!({"by_a": half})));
}
