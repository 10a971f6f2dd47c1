//! The limits and the meaning of expressions.

use serde_json::{Value, json};

use crate::wire::{Wire, n, pk, s, with};

/// `Tab` with one item.
fn stored() -> Wire {
    let wire = Wire::with_table("pk=S");
    wire.put(json!({"pk": s("a"), "t": s("\u{1f600}\u{e9}"), "n": n("5"), "l": {"L": [n("1"), s("x")]},
        "m": {"M": {"k": s("v")}}, "b": {"B": "AAAA"}, "ss": {"SS": ["x", "y"]}, "nothing": {"NULL": true}}));
    wire
}

fn filtered(expression: &str, values: Value) -> Value {
    let mut body = json!({"TableName": "Tab", "FilterExpression": expression});
    if values.as_object().is_some_and(|values| !values.is_empty()) {
        body["ExpressionAttributeValues"] = values;
    }
    body
}

fn holds(wire: &Wire, expression: &str, values: Value) -> bool {
    wire.ok("Scan", filtered(expression, values))["Count"] == 1
}

#[test]
fn size_counts_characters_bytes_and_members() {
    let wire = stored();
    for (path, size) in
        [("t", "3"), ("b", "3"), ("l", "2"), ("m", "1"), ("ss", "2"), ("m.k", "1"), ("l[1]", "1")]
    {
        assert!(holds(&wire, &format!("size({path}) = :n"), json!({":n": n(size)})), "{path}");
    }
    // Of a number, and of what is not there, there is none.
    assert!(!holds(&wire, "size(n) >= :n", json!({":n": n("0")})));
    assert!(!holds(&wire, "size(nowhere) >= :n", json!({":n": n("0")})));
}

#[test]
fn an_expression_has_at_most_4096_bytes() {
    let wire = stored();
    // Spaces count; so do all bytes of a character.
    let padded =
        |bytes: usize| format!("attribute_exists({:>1$})", "t", bytes - "attribute_exists()".len());
    assert_eq!(padded(4096).len(), 4096);
    assert!(holds(&wire, &padded(4096), json!({})));
    let what = "Expression size has exceeded the maximum allowed size";
    wire.invalid("Scan", filtered(&padded(4097), json!({})), what);
    let key = json!({"TableName": "Tab", "Key": pk("a")});
    let condition = json!({"ConditionExpression": padded(4097)});
    wire.invalid("DeleteItem", with(key.clone(), condition), what);
    let update = json!({"UpdateExpression": format!("REMOVE {:>4090}", "x")});
    wire.invalid("UpdateItem", with(key.clone(), update), what);
    let projection = json!({"ProjectionExpression": format!("{:>4097}", "x")});
    wire.invalid("GetItem", with(key, projection), what);
    let query = json!({"TableName": "Tab", "KeyConditionExpression": format!("{:>4092} = :p", "pk"),
        "ExpressionAttributeValues": {":p": s("a")}});
    wire.invalid("Query", query, what);
}

#[test]
fn operators_and_operands_are_counted() {
    let wire = stored();
    let many = |count: usize| {
        let parts = vec!["n = :n"; count.div_ceil(2)];
        parts.join(" OR ")
    };
    // 151 comparisons and 150 ORs.
    wire.invalid(
        "Scan",
        filtered(&many(302), json!({":n": n("5")})),
        "too many operators; operator count: 301",
    );
    assert!(holds(&wire, &many(300), json!({":n": n("5")})));
    let among = |count: usize| {
        let names: Vec<String> = (0..count).map(|at| format!(":v{at}")).collect();
        let values: serde_json::Map<String, Value> =
            (0..count).map(|at| (format!(":v{at}"), n(&at.to_string()))).collect();
        filtered(&format!("n IN ({})", names.join(",")), Value::Object(values))
    };
    assert_eq!(wire.ok("Scan", among(100))["Count"], 1);
    wire.invalid("Scan", among(101), "too many operands; number of operands: 101");
}

#[test]
fn and_binds_stronger_than_or_and_not_strongest() {
    let wire = stored();
    let n5 = || json!({":n": n("5")});
    assert!(holds(&wire, "n = :n OR n = :n AND n <> :n", n5()));
    assert!(!holds(&wire, "(n = :n OR n = :n) AND n <> :n", n5()));
    assert!(!holds(&wire, "NOT n = :n AND n = :n", n5()));
    assert!(holds(&wire, "NOT (n = :n AND n <> :n)", n5()));
    wire.invalid("Scan", filtered("((n = :n))", n5()), "redundant parentheses");
}

#[test]
fn comparisons_of_different_types_are_false_and_never_an_error() {
    let wire = stored();
    let values = |value: Value| json!({":v": value});
    for operator in ["=", "<", ">", "<=", ">="] {
        assert!(!holds(&wire, &format!("n {operator} :v"), values(s("5"))), "{operator}");
        assert!(!holds(&wire, &format!("nowhere {operator} :v"), values(s("5"))), "{operator}");
    }
    assert!(holds(&wire, "n <> :v", values(s("5"))));
    assert!(holds(&wire, "n = :v", values(n("5.0"))));
    assert!(holds(&wire, "ss = :v", values(json!({"SS": ["y", "x"]}))));
    assert!(holds(&wire, "nothing = :v", values(json!({"NULL": true}))));
    assert!(holds(&wire, "attribute_type(nothing, :v)", values(s("NULL"))));
    assert!(holds(&wire, "contains(ss, :v)", values(s("x"))));
    assert!(holds(&wire, "contains(l, :v)", values(n("1"))));
    assert!(!holds(&wire, "contains(ss, :v)", values(n("1"))));
    assert!(holds(&wire, "attribute_exists(m.k) AND attribute_not_exists(m.x)", json!({})));
    assert!(holds(&wire, "attribute_not_exists(n.x)", json!({})));
}

#[test]
fn what_is_wrong_with_an_expression_is_told() {
    let wire = stored();
    let one = || json!({":v": n("1")});
    for (expression, values, part) in [
        ("n = :v AND", one(), "Syntax error; token: \"<EOF>\""),
        ("", json!({}), "The expression can not be empty"),
        ("n = :w", one(), "not defined; attribute value: :w"),
        ("#n = :v", one(), "not defined; attribute name: #n"),
        ("name = :v", one(), "reserved keyword: name"),
        ("attribute_type(n, :v)", json!({":v": s("X")}), "Invalid attribute type name found"),
        ("unknown(n, :v)", one(), "Invalid function name; function: unknown"),
        ("size(n)", json!({}), "not allowed to be used this way"),
        ("begins_with(t)", json!({}), "Incorrect number of operands"),
        ("begins_with(t, :v)", one(), "Incorrect operand type"),
        ("n BETWEEN :v AND :w", json!({":v": n("2"), ":w": n("1")}), "upper bound to be greater"),
        ("n BETWEEN :v AND :w", json!({":v": n("2"), ":w": s("1")}), "requires same data type"),
        ("n = n", json!({}), "The first operand must be distinct"),
        ("l[-1] = :v", one(), "Syntax error"),
        (
            "n = :v",
            json!({":v": n("1"), ":x": n("1"), ":y": n("1")}),
            "unused in expressions: keys:",
        ),
    ] {
        wire.invalid("Scan", filtered(expression, values), part);
    }
}

#[test]
fn a_placeholder_may_stand_for_a_name_with_dots() {
    let wire = Wire::with_table("pk=S");
    wire.put(json!({"pk": s("a"), "a.b": n("1"), "a": {"M": {"b": n("2")}}}));
    let body = json!({"TableName": "Tab", "Key": pk("a"), "ProjectionExpression": "#dots, a.b",
        "ExpressionAttributeNames": {"#dots": "a.b"}});
    let item = wire.ok("GetItem", body)["Item"].take();
    assert_eq!(item, json!({"a.b": n("1"), "a": {"M": {"b": n("2")}}}));
}
