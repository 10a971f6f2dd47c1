//! Projections: which part of an item comes back.

use serde_json::{Value, json};

use crate::wire::{Wire, n, pk, s};

fn stored() -> Wire {
    let wire = Wire::with_table("pk=S");
    wire.put(json!({"pk": s("a"), "n": n("5"), "l": {"L": [n("0"), n("1"), {"M": {"x": s("y"), "z": s("w")}}]},
        "m": {"M": {"j": {"M": {"k": s("v"), "o": s("p")}}}}}));
    wire
}

fn get(expression: &str) -> Value {
    json!({"TableName": "Tab", "Key": pk("a"), "ProjectionExpression": expression})
}

#[test]
fn only_what_is_named_comes_back() {
    let wire = stored();
    for (expression, item) in [
        ("n", json!({"n": n("5")})),
        ("m.j.k", json!({"m": {"M": {"j": {"M": {"k": s("v")}}}}})),
        ("l[2].x, l[0]", json!({"l": {"L": [n("0"), {"M": {"x": s("y")}}]}})),
        ("l[2], l[0]", json!({"l": {"L": [n("0"), {"M": {"x": s("y"), "z": s("w")}}]}})),
        ("absent, n.x, l[9], m.x.y, pk", json!({"pk": s("a")})),
    ] {
        assert_eq!(wire.ok("GetItem", get(expression)), json!({"Item": item}), "{expression}");
    }
}

#[test]
fn an_item_of_which_nothing_is_wanted_is_there_and_empty() {
    let wire = stored();
    assert_eq!(wire.ok("GetItem", get("absent")), json!({"Item": {}}));
    let absent = json!({"TableName": "Tab", "Key": pk("b"), "ProjectionExpression": "absent"});
    assert_eq!(wire.ok("GetItem", absent), json!({}));
    let scan = json!({"TableName": "Tab", "ProjectionExpression": "absent"});
    let answer = wire.ok("Scan", scan);
    assert_eq!((&answer["Items"], &answer["Count"]), (&json!([{}]), &json!(1)));
}

#[test]
fn paths_that_overlap_are_refused() {
    let wire = stored();
    wire.invalid("GetItem", get("m, m.j"), "Two document paths overlap");
    wire.invalid("GetItem", get("n, n"), "Two document paths overlap");
    wire.invalid("GetItem", get("l[0], l.x"), "Two document paths conflict");
    wire.invalid("GetItem", get("n,"), "Syntax error");
    wire.invalid("GetItem", get("abort"), "reserved keyword: abort");
}
