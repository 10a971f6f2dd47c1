//! Numbers: 38 digits exactly, one spelling, one order.

use serde_json::{Value, json};

use crate::wire::{Wire, column, n, pk, s, update};

fn put(number: &str) -> Value {
    json!({"TableName": "Tab", "Item": {"pk": s("a"), "n": n(number)}})
}

#[test]
fn numbers_are_read_back_in_one_spelling() {
    let wire = Wire::with_table("pk=S");
    let zeros = format!("1{}", "0".repeat(125));
    let tiny = format!("0.{}1", "0".repeat(129));
    for (written, read) in [
        ("1E125", zeros.as_str()),
        ("+.5", "0.5"),
        ("-0", "0"),
        ("0042.1200", "42.12"),
        ("1e-130", &tiny),
        ("-.5e1", "-5"),
        ("5.", "5"),
        ("12345678901234567890.123456789012345678", "12345678901234567890.123456789012345678"),
    ] {
        wire.ok("PutItem", put(written));
        assert_eq!(wire.get(pk("a"))["n"], n(read), "{written}");
    }
}

#[test]
fn what_is_no_number_is_refused() {
    let wire = Wire::with_table("pk=S");
    let digits = "1".repeat(39);
    let not = "cannot be converted to a numeric value";
    for (text, why) in [
        ("0e126", ""),
        (digits.as_str(), "38 significant digits"),
        (" 5", not),
        ("5 ", not),
        ("0x5", not),
        ("NaN", not),
        ("Infinity", not),
        ("1_000", not),
        ("--1", not),
        ("1e", not),
        (".", not),
        ("", not),
        ("1E126", "Number overflow"),
        ("-1E126", "Number overflow"),
        ("1E-131", "Number underflow"),
    ] {
        wire.invalid("PutItem", put(text), why);
        let batch = json!({"RequestItems": {"Tab": [{"PutRequest": {"Item": put(text)["Item"]}}]}});
        wire.invalid("BatchWriteItem", batch, why);
        wire.invalid("UpdateItem", update(pk("a"), "SET n = :n", json!({":n": n(text)})), why);
        let nested = json!({"TableName": "Tab", "Item": {"pk": s("a"), "l": {"L": [n(text)]}}});
        wire.invalid("PutItem", nested, why);
        let set = json!({"TableName": "Tab", "Item": {"pk": s("a"), "s": {"NS": ["1", text]}}});
        wire.invalid("PutItem", set, why);
    }
    assert_eq!(wire.get(pk("a")), Value::Null);
}

#[test]
fn sort_keys_come_in_the_order_of_their_values() {
    let wire = Wire::with_table("pk=S / sk=N");
    let order = ["-1E125", "-1.5", "-1E-130", "0", "1E-130", "1.5", "10"];
    for number in [5, 2, 0, 6, 1, 4, 3].map(|place: usize| order[place]) {
        wire.put(json!({"pk": s("a"), "sk": n(number), "t": s(number)}));
    }
    let query = |forward| {
        let body = json!({"TableName": "Tab", "KeyConditionExpression": "pk = :p",
            "ExpressionAttributeValues": {":p": s("a")}, "ScanIndexForward": forward});
        wire.ok("Query", body)["Items"].take()
    };
    assert_eq!(column(&query(true), "t"), order);
    let mut backward = order;
    backward.reverse();
    assert_eq!(column(&query(false), "t"), backward);
    let between = json!({"TableName": "Tab", "KeyConditionExpression": "pk = :p AND sk BETWEEN :a AND :b",
        "ExpressionAttributeValues": {":p": s("a"), ":a": n("-1.50"), ":b": n("0.0")}});
    assert_eq!(column(&wire.ok("Query", between)["Items"], "t"), ["-1.5", "-1E-130", "0"]);
}

#[test]
fn two_spellings_are_one_key() {
    let wire = Wire::with_table("pk=N");
    let key = |number: &str| json!({"pk": n(number)});
    wire.put(key("1.0"));
    assert_eq!(wire.get(key("1")), key("1"));
    assert_eq!(wire.get(key("10e-1")), key("1"));
    let duplicates = "Provided list of item keys contains duplicates";
    let batch = json!({"RequestItems": {"Tab": {"Keys": [key("1"), key("1.0")]}}});
    wire.invalid("BatchGetItem", batch, duplicates);
    let batch = json!({"RequestItems": {"Tab": [{"PutRequest": {"Item": key("1")}},
        {"DeleteRequest": {"Key": key("1.0")}}]}});
    wire.invalid("BatchWriteItem", batch, duplicates);
    let several = "cannot include multiple operations on one item";
    let get = |number| json!({"Get": {"TableName": "Tab", "Key": key(number)}});
    wire.invalid("TransactGetItems", json!({"TransactItems": [get("1"), get("1.0")]}), several);
    let action = |number| json!({"Delete": {"TableName": "Tab", "Key": key(number)}});
    wire.invalid(
        "TransactWriteItems",
        json!({"TransactItems": [action("1"), action("1.0")]}),
        several,
    );
}

#[test]
fn sums_are_exact_to_38_digits() {
    let wire = Wire::with_table("pk=S");
    let sum = |from: &str, expression: &str, by: &str| {
        wire.ok("PutItem", put(from));
        wire.update(pk("a"), expression, json!({":d": n(by)}));
        wire.get(pk("a"))["n"]["N"].as_str().unwrap().to_owned()
    };
    assert_eq!(sum("0.1", "SET n = n + :d", "0.2"), "0.3");
    let nines = "9".repeat(38);
    assert_eq!(sum(&nines, "ADD n :d", "1"), format!("1{}", "0".repeat(38)));
    assert_eq!(sum("1", "SET n = n - :d", "1.0"), "0");
    assert_eq!(sum("-5", "SET n = :d - n", "1"), "6");
    wire.ok("PutItem", put(&format!("9{}", "0".repeat(125))));
    let body = update(pk("a"), "SET n = n + :d", json!({":d": n("9E125")}));
    let refusal = wire.refused("UpdateItem", body);
    // Not in the envelope: the request alone does not show it.
    assert!(refusal.message.starts_with("Number overflow. "), "{refusal:?}");
}
