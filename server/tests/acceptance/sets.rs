//! Sets, and the order in which members and names come back.

use serde_json::{Value, json};

use crate::wire::{Wire, n, pk, s};

fn put(value: Value) -> Value {
    json!({"TableName": "Tab", "Item": {"pk": s("a"), "v": value}})
}

#[test]
fn members_come_back_sorted_and_may_be_empty() {
    let wire = Wire::with_table("pk=S");
    for (written, read) in [
        (json!({"SS": ["b", "", "a"]}), json!({"SS": ["", "a", "b"]})),
        (json!({"SS": ["b", "B", "é", "a"]}), json!({"SS": ["B", "a", "b", "é"]})),
        (json!({"BS": ["Yg==", "", "YQ=="]}), json!({"BS": ["", "YQ==", "Yg=="]})),
    ] {
        wire.ok("PutItem", put(written));
        assert_eq!(wire.get(pk("a"))["v"], read);
    }
    // Numbers are told apart by their values.
    wire.ok("PutItem", put(json!({"NS": ["10", "-1", "2.50"]})));
    let mut numbers: Vec<String> =
        serde_json::from_value(wire.get(pk("a"))["v"]["NS"].take()).unwrap();
    numbers.sort();
    assert_eq!(numbers, ["-1", "10", "2.5"]);
}

#[test]
fn a_member_twice_and_no_member_are_refused() {
    let wire = Wire::with_table("pk=S");
    for value in [
        json!({"SS": ["", ""]}),
        json!({"SS": ["a", "b", "a"]}),
        json!({"NS": ["1", "1.0"]}),
        json!({"NS": ["0", "-0"]}),
        json!({"BS": ["YQ==", "YQ=="]}),
    ] {
        wire.invalid("PutItem", put(value.clone()), "contains duplicates");
        wire.invalid("PutItem", put(json!({"L": [value]})), "contains duplicates");
    }
    for value in [json!({"SS": []}), json!({"NS": []}), json!({"BS": []})] {
        wire.invalid("PutItem", put(value.clone()), "empty");
        wire.invalid("PutItem", put(json!({"M": {"a": value}})), "empty");
    }
    assert_eq!(wire.refused("PutItem", put(json!({"SS": [1]}))).kind, "SerializationException");
    wire.invalid("PutItem", put(json!({"SS": [null]})), "");
}

#[test]
fn names_come_back_sorted() {
    let wire = Wire::with_table("pk=S");
    let body = r#"{"TableName":"Tab","Item":{"z":{"S":"1"},"pk":{"S":"a"},"b":{"M":{"y":{"N":"1"},"B":{"N":"2"}}},"B":{"S":"2"},"é":{"S":"3"}}}"#;
    wire.server().ok("PutItem", body);
    let read = wire.server().ok("GetItem", r#"{"TableName":"Tab","Key":{"pk":{"S":"a"}}}"#);
    assert_eq!(
        read,
        r#"{"Item":{"B":{"S":"2"},"b":{"M":{"B":{"N":"2"},"y":{"N":"1"}}},"pk":{"S":"a"},"z":{"S":"1"},"é":{"S":"3"}}}"#
    );
}

#[test]
fn add_and_delete_change_sets_and_an_empty_one_is_gone() {
    let wire = Wire::with_table("pk=S");
    wire.update(pk("a"), "ADD v :v", json!({":v": {"SS": ["b", "a"]}}));
    wire.update(pk("a"), "ADD v :v", json!({":v": {"SS": ["b", "c"]}}));
    assert_eq!(wire.get(pk("a"))["v"], json!({"SS": ["a", "b", "c"]}));
    wire.update(pk("a"), "DELETE v :v", json!({":v": {"SS": ["a", "x"]}}));
    assert_eq!(wire.get(pk("a"))["v"], json!({"SS": ["b", "c"]}));
    wire.update(pk("a"), "DELETE v :v", json!({":v": {"SS": ["b", "c"]}}));
    assert_eq!(wire.get(pk("a")), pk("a"));
    wire.update(pk("a"), "ADD v :v", json!({":v": {"NS": ["1"]}}));
    wire.update(pk("a"), "ADD v :v", json!({":v": {"NS": ["1.0", "2"]}}));
    assert_eq!(wire.get(pk("a"))["v"]["NS"].as_array().unwrap().len(), 2);
    let wrong = crate::wire::update(pk("a"), "ADD v :v", json!({":v": {"SS": ["1"]}}));
    wire.invalid("UpdateItem", wrong, "incorrect data type");
    let wrong = crate::wire::update(pk("a"), "DELETE v :v", json!({":v": n("1")}));
    wire.invalid("UpdateItem", wrong, "Incorrect operand type for operator or function");
}
