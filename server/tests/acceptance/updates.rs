//! UpdateItem: what it makes of a missing item, in which order it works, and what it answers.

use serde_json::{Value, json};

use crate::wire::{Wire, n, pk, s, update, with};

fn returning(what: &str, body: Value) -> Value {
    with(body, json!({"ReturnValues": what}))
}

#[test]
fn on_a_missing_item() {
    let wire = Wire::with_table("pk=S");
    // Without actions it makes an item of its key alone; what only takes away makes nothing.
    wire.ok("UpdateItem", json!({"TableName": "Tab", "Key": pk("bare")}));
    assert_eq!(wire.get(pk("bare")), pk("bare"));
    wire.update(pk("removed"), "REMOVE a", Value::Null);
    assert_eq!(wire.get(pk("removed")), Value::Null);
    wire.update(pk("deleted"), "DELETE a :v", json!({":v": {"SS": ["x"]}}));
    assert_eq!(wire.get(pk("deleted")), Value::Null);
    let failed = with(
        update(pk("ghost"), "SET a = :v", json!({":v": n("1")})),
        json!({"ConditionExpression": "attribute_exists(pk)"}),
    );
    let refusal = wire.refused("UpdateItem", failed);
    assert_eq!(refusal.kind, "ConditionalCheckFailedException");
    assert_eq!(refusal.body.get("Item"), None);
    assert_eq!(wire.get(pk("ghost")), Value::Null);
    assert_eq!(wire.scan(), [pk("bare")]);
    // In a transaction too.
    let action = |body| json!({"TransactItems": [{"Update": body}]});
    wire.ok("TransactWriteItems", action(update(pk("removed"), "REMOVE a", Value::Null)));
    assert_eq!(wire.get(pk("removed")), Value::Null);
}

#[test]
fn every_action_sees_the_item_as_it_was() {
    let wire = Wire::with_table("pk=S");
    wire.put(json!({"pk": s("a"), "a": s("old"), "l": {"L": [n("0"), n("1"), n("2"), n("3")]}}));
    wire.update(pk("a"), "SET a = :n, b = a", json!({":n": s("new")}));
    let item = wire.get(pk("a"));
    assert_eq!((&item["a"], &item["b"]), (&s("new"), &s("old")));
    // A swap, and indexes of a list as they were before the first is removed.
    wire.update(pk("a"), "SET a = b, b = a REMOVE l[0], l[2]", Value::Null);
    let item = wire.get(pk("a"));
    assert_eq!((&item["a"], &item["b"]), (&s("old"), &s("new")));
    assert_eq!(item["l"], json!({"L": [n("1"), n("3")]}));
}

#[test]
fn a_list_grows_at_its_end() {
    let wire = Wire::with_table("pk=S");
    wire.put(json!({"pk": s("a"), "l": {"L": [n("0"), n("1")]}}));
    wire.update(pk("a"), "SET l[99] = :v", json!({":v": s("x")}));
    assert_eq!(wire.get(pk("a"))["l"], json!({"L": [n("0"), n("1"), s("x")]}));
    // Several beyond the end come in the order of their indexes, not of the expression.
    wire.update(pk("a"), "SET l[20] = :b, l[10] = :a", json!({":a": s("10"), ":b": s("20")}));
    let list = wire.get(pk("a"))["l"]["L"].take();
    assert_eq!(list, json!([n("0"), n("1"), s("x"), s("10"), s("20")]));
    wire.update(pk("a"), "SET l = list_append(:v, l)", json!({":v": {"L": [s("first")]}}));
    assert_eq!(wire.get(pk("a"))["l"]["L"][0], s("first"));
    wire.update(
        pk("a"),
        "SET m = list_append(if_not_exists(m, :none), :v)",
        json!({":none": {"L": []}, ":v": {"L": [n("1")]}}),
    );
    assert_eq!(wire.get(pk("a"))["m"], json!({"L": [n("1")]}));
    // Removing beyond the end is nothing.
    wire.update(pk("a"), "REMOVE m[7]", Value::Null);
    assert_eq!(wire.get(pk("a"))["m"], json!({"L": [n("1")]}));
}

#[test]
fn updated_new_holds_what_was_named() {
    let wire = Wire::with_table("pk=S");
    let item = json!({"pk": s("a"), "p": {"M": {"c": s("1"), "d": s("2")}}, "q": s("3"),
        "l": {"L": [n("0"), n("1"), n("2")]}});
    wire.put(item.clone());
    let updated = |what: &str, expression: &str, values: Value| {
        wire.ok("UpdateItem", returning(what, update(pk("a"), expression, values)))
    };
    let v = |value: Value| json!({":v": value});
    assert_eq!(
        updated("UPDATED_NEW", "SET p.c = :v", v(s("4"))),
        json!({"Attributes": {"p": {"M": {"c": s("4")}}}})
    );
    assert_eq!(
        updated("UPDATED_OLD", "SET p.c = :v", v(s("5"))),
        json!({"Attributes": {"p": {"M": {"c": s("4")}}}})
    );
    assert_eq!(updated("UPDATED_NEW", "REMOVE q", Value::Null), json!({}));
    assert_eq!(updated("UPDATED_OLD", "SET fresh = :v", v(n("1"))), json!({}));
    assert_eq!(
        updated("UPDATED_NEW", "SET l[1] = :v", v(n("9"))),
        json!({"Attributes": {"l": {"L": [n("9")]}}})
    );
    assert_eq!(
        updated("UPDATED_NEW", "ADD total_ :v", v(n("2"))),
        json!({"Attributes": {"total_": n("2")}})
    );
    assert_eq!(updated("NONE", "ADD total_ :v", v(n("2"))), json!({}));
    let old = wire.get(pk("a"));
    assert_eq!(updated("ALL_OLD", "REMOVE p", Value::Null), json!({"Attributes": old}));
    let new = updated("ALL_NEW", "REMOVE l", Value::Null);
    assert_eq!(new, json!({"Attributes": {"pk": s("a"), "total_": n("4"), "fresh": n("1")}}));
    // There is no old one of an item that was not there.
    let body = returning("ALL_OLD", update(pk("b"), "SET x = :v", v(n("1"))));
    assert_eq!(wire.ok("UpdateItem", body), json!({}));
}

#[test]
fn what_cannot_be_done_leaves_the_item() {
    let wire = Wire::with_table("pk=S");
    let item = json!({"pk": s("a"), "n": n("1"), "t": s("x"), "m": {"M": {}}});
    wire.put(item.clone());
    let one = json!({":v": n("1")});
    for (expression, values, part) in [
        ("SET n = nowhere + :v", one.clone(), "does not exist in the item"),
        ("SET n = nowhere", Value::Null, "does not exist in the item"),
        ("SET n = t + :v", one.clone(), "incorrect data type"),
        ("SET nowhere.x = :v", one.clone(), "invalid for update"),
        ("SET t.x = :v", one.clone(), "invalid for update"),
        ("SET m[0] = :v", one.clone(), "invalid for update"),
        ("REMOVE nowhere.x", Value::Null, "invalid for update"),
        ("ADD t :v", one.clone(), "incorrect data type"),
        (
            "SET pk = :v",
            one.clone(),
            "Cannot update attribute pk. This attribute is part of the key",
        ),
        ("REMOVE pk", Value::Null, "part of the key"),
        ("SET n = list_append(n, :v)", json!({":v": {"L": []}}), "incorrect data type"),
        ("SET m = :v, m.x = :v", one.clone(), "Two document paths overlap"),
        ("SET m.x = :v, m[0] = :v", one.clone(), "Two document paths conflict"),
        ("SET n = :v REMOVE n", one.clone(), "Two document paths overlap"),
        ("SET n = :v SET t = :v", one.clone(), "can only be used once"),
        ("SET n = :v, x = :unknown", one.clone(), ":unknown"),
        ("SET n = :v", json!({":v": n("1"), ":w": n("2")}), "unused in expressions: keys: {:w}"),
        ("SET size = :v", one, "reserved keyword: size"),
    ] {
        wire.invalid("UpdateItem", update(pk("a"), expression, values), part);
        assert_eq!(wire.get(pk("a")), item, "{expression}");
    }
}

#[test]
fn the_old_item_comes_with_a_failed_condition_where_it_is_asked_for() {
    let wire = Wire::with_table("pk=S");
    let item = json!({"pk": s("a"), "x": n("1")});
    wire.put(item.clone());
    let condition = json!({"ConditionExpression": "x = :no", "ExpressionAttributeValues": {":no": n("2")},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD"});
    let put = with(json!({"TableName": "Tab", "Item": pk("a")}), condition.clone());
    let key = with(json!({"TableName": "Tab", "Key": pk("a")}), condition);
    let set = with(key.clone(), json!({"UpdateExpression": "SET x = :no"}));
    for (operation, body) in [("PutItem", put), ("DeleteItem", key), ("UpdateItem", set)] {
        let refusal = wire.refused(operation, body);
        assert_eq!(refusal.kind, "ConditionalCheckFailedException");
        assert_eq!(refusal.message, "The conditional request failed");
        assert_eq!(refusal.body["Item"], item);
    }
    assert_eq!(wire.get(pk("a")), item);
}
