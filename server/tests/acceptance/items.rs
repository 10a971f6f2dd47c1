//! How deep, how large and how empty a value may be.

use serde_json::{Value, json};

use crate::wire::{Wire, n, pk, s, update, with};

/// The largest item, in bytes.
const LIMIT: usize = 409_600;

/// A value in so many maps of one key each.
fn in_maps(wrappers: usize) -> Value {
    (0..wrappers).fold(s("x"), |inner, _| json!({"M": {"a": inner}}))
}

fn in_lists(wrappers: usize) -> Value {
    (0..wrappers).fold(s("x"), |inner, _| json!({"L": [inner]}))
}

/// An item of exactly so many bytes: `pk` and `a` are 3, `x` is one more than its value.
fn of_size(bytes: usize) -> Value {
    json!({"pk": s("a"), "x": s(&"x".repeat(bytes - 4))})
}

fn put(item: Value) -> Value {
    json!({"TableName": "Tab", "Item": item})
}

fn transacted(action: &str, body: Value) -> Value {
    json!({"TransactItems": [{action: body}]})
}

#[test]
fn a_value_in_31_maps_is_stored_and_in_32_refused() {
    let wire = Wire::with_table("pk=S");
    for deep in [in_maps as fn(usize) -> Value, in_lists] {
        wire.put(json!({"pk": s("a"), "x": deep(31)}));
        assert_eq!(wire.get(pk("a"))["x"], deep(31));
        let too_deep = json!({"pk": s("b"), "x": deep(32)});
        wire.invalid("PutItem", put(too_deep.clone()), "Nesting Levels have exceeded");
        let batch = json!({"RequestItems": {"Tab": [{"PutRequest": {"Item": too_deep}}]}});
        wire.invalid("BatchWriteItem", batch, "Nesting Levels have exceeded");
        wire.invalid("TransactWriteItems", transacted("Put", put(too_deep)), "Nesting Levels");
        wire.update(pk("c"), "SET x = :v", json!({":v": deep(31)}));
        let body = update(pk("d"), "SET x = :v", json!({":v": deep(32)}));
        assert_eq!(wire.refused("UpdateItem", body).kind, "ValidationException");
        assert_eq!(wire.get(pk("d")), Value::Null);
    }
}

#[test]
fn an_update_cannot_make_an_item_deeper_than_it_may_be() {
    let wire = Wire::with_table("pk=S");
    wire.put(json!({"pk": s("a"), "x": {"M": {}}}));
    wire.update(pk("a"), "SET x.b = :v", json!({":v": in_maps(30)}));
    let body = update(pk("a"), "SET x.c = :v", json!({":v": in_maps(31)}));
    wire.invalid("UpdateItem", body, "Nesting Levels have exceeded supported limits");
    assert_eq!(wire.get(pk("a"))["x"], json!({"M": {"b": in_maps(30)}}));
}

#[test]
fn an_item_of_409600_bytes_is_stored_and_one_byte_more_refused() {
    let wire = Wire::with_table("pk=S");
    let what = "Item size has exceeded the maximum allowed size";
    wire.put(of_size(LIMIT));
    assert_eq!(wire.get(pk("a")), of_size(LIMIT));
    wire.invalid("PutItem", put(of_size(LIMIT + 1)), what);
    let batch =
        |bytes| json!({"RequestItems": {"Tab": [{"PutRequest": {"Item": of_size(bytes)}}]}});
    wire.ok("BatchWriteItem", batch(LIMIT));
    wire.invalid("BatchWriteItem", batch(LIMIT + 1), what);
}

#[test]
fn an_update_is_held_to_the_same_size() {
    let wire = Wire::with_table("pk=S");
    wire.put(of_size(LIMIT - 4));
    // `y` and its value are three bytes, then two more.
    wire.update(pk("a"), "SET y = :v", json!({":v": s("abc")}));
    let body = update(pk("a"), "SET y = :v", json!({":v": s("abcd")}));
    wire.invalid("UpdateItem", body.clone(), "Item size to update has exceeded the maximum");
    let refusal = wire.refused("TransactWriteItems", transacted("Update", body));
    assert_eq!(refusal.codes(), ["ValidationError"]);
    assert_eq!(wire.get(pk("a"))["y"], s("abc"));
}

#[test]
fn a_transaction_is_held_to_the_same_size() {
    let wire = Wire::with_table("pk=S");
    wire.ok("TransactWriteItems", transacted("Put", put(of_size(LIMIT))));
    assert_eq!(wire.get(pk("a")), of_size(LIMIT));
    wire.ok("DeleteItem", json!({"TableName": "Tab", "Key": pk("a")}));
    wire.refused("TransactWriteItems", transacted("Put", put(of_size(LIMIT + 1))));
    assert_eq!(wire.get(pk("a")), Value::Null);
}

#[test]
fn numbers_count_as_the_service_counts_them() {
    let wire = Wire::with_table("pk=S");
    for (number, bytes) in [
        ("-42", 3),
        ("3.14159", 5),
        ("100.5", 4),
        ("-0", 1),
        ("0.000", 1),
        ("1E125", 2),
        ("1E-130", 2),
        ("-1E-130", 3),
        ("99999999999999999999999999999999999999", 20),
    ] {
        // The rest of the item is what the number leaves: exactly as much is stored, a byte more is not.
        let rest = LIMIT - 3 - 1 - bytes - 1;
        let of =
            |rest: usize| put(json!({"pk": s("a"), "n": n(number), "x": s(&"x".repeat(rest))}));
        wire.ok("PutItem", of(rest));
        wire.invalid("PutItem", of(rest + 1), "Item size has exceeded");
    }
}

#[test]
fn other_types_count_as_the_service_counts_them() {
    let wire = Wire::with_table("pk=S");
    for (value, bytes) in [
        (json!({"BOOL": false}), 1),
        (json!({"NULL": true}), 1),
        (json!({"S": "é"}), 2),
        (json!({"B": "AAAA"}), 3),
        (json!({"SS": ["a", "bc"]}), 3),
        (json!({"NS": ["1", "100.5"]}), 6),
        (json!({"L": []}), 3),
        (json!({"L": [s("a"), {"BOOL": true}]}), 3 + 2 + 2),
        (json!({"M": {}}), 3),
        (json!({"M": {"key": s("a")}}), 3 + 3 + 1 + 1),
    ] {
        let rest = LIMIT - 3 - 1 - bytes - 1;
        let of = |rest: usize| put(json!({"pk": s("a"), "v": value, "x": s(&"x".repeat(rest))}));
        wire.ok("PutItem", of(rest));
        wire.invalid("PutItem", of(rest + 1), "Item size has exceeded");
    }
}

#[test]
fn empty_values_are_stored_where_they_are_no_key() {
    let wire = Wire::with_table("pk=S / sk=B");
    let item = json!({"pk": s("a"), "sk": {"B": "AA=="}, "s": s(""), "b": {"B": ""}, "l": {"L": []},
        "m": {"M": {"s": s("")}}});
    wire.put(item.clone());
    assert_eq!(wire.get(json!({"pk": s("a"), "sk": {"B": "AA=="}})), item);
    wire.invalid("PutItem", put(json!({"pk": s(""), "sk": {"B": "AA=="}})), "empty string value");
    wire.invalid("PutItem", put(json!({"pk": s("a"), "sk": {"B": ""}})), "empty binary value");
}

#[test]
fn keys_have_lengths_of_their_own() {
    let wire = Wire::with_table("pk=S / sk=S");
    let item = |pk: usize, sk: usize| json!({"pk": s(&"p".repeat(pk)), "sk": s(&"s".repeat(sk))});
    wire.put(item(2048, 1024));
    assert_eq!(wire.get(item(2048, 1024)), item(2048, 1024));
    wire.invalid("PutItem", put(item(2049, 1)), "exceeded the maximum size limit of2048 bytes");
    wire.invalid("PutItem", put(item(1, 1025)), "exceeded the size limit of 1024 bytes");
    // In bytes, not in characters.
    let wide = json!({"pk": s(&"é".repeat(1025)), "sk": s("s")});
    wire.invalid("PutItem", put(wide), "limit of2048 bytes");
}

#[test]
fn a_null_is_true_and_a_value_has_one_type() {
    let wire = Wire::with_table("pk=S");
    let item = |value: Value| put(json!({"pk": s("a"), "v": value}));
    wire.ok("PutItem", item(json!({"NULL": true})));
    wire.invalid("PutItem", item(json!({"NULL": false})), "must have the value of true");
    wire.invalid("PutItem", item(json!({})), "must contain exactly one of the supported datatypes");
    wire.invalid("PutItem", item(json!({"S": "a", "N": "1"})), "more than one datatypes set");
    for wrong in
        [json!({"S": 1}), json!({"N": 1}), json!({"BOOL": "maybe"}), json!({"L": {}}), json!("a")]
    {
        assert_eq!(wire.refused("PutItem", item(wrong)).kind, "SerializationException");
    }
}

#[test]
fn a_put_replaces_the_whole_item_and_answers_the_old_one() {
    let wire = Wire::with_table("pk=S");
    wire.put(json!({"pk": s("a"), "x": s("old")}));
    let new = json!({"pk": s("a"), "y": s("new")});
    let answer = wire.ok("PutItem", with(put(new.clone()), json!({"ReturnValues": "ALL_OLD"})));
    assert_eq!(answer, json!({"Attributes": {"pk": s("a"), "x": s("old")}}));
    assert_eq!(wire.get(pk("a")), new);
    let other = with(put(new), json!({"ReturnValues": "ALL_NEW"}));
    wire.invalid("PutItem", other, "eturn");
}
