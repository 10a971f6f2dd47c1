//! Reads of indexes and batches: what may be asked of them.

use serde_json::{Value, json};

use crate::wire::{Wire, column, n, pk, s, with};

fn indexed() -> Wire {
    let wire = Wire::new();
    let global = [("global", "a=S", "ALL"), ("keys", "a=S", "KEYS_ONLY")];
    wire.create("Tab", "pk=S / sk=N", &global, &[("local", "pk=S / b=N", "KEYS_ONLY")]);
    wire.put(json!({"pk": s("p"), "sk": n("1"), "a": s("x"), "b": n("2"), "c": s("y")}));
    wire
}

fn query(index: &str, condition: &str, value: &str) -> Value {
    json!({"TableName": "Tab", "IndexName": index, "KeyConditionExpression": condition,
        "ExpressionAttributeValues": {":v": s(value)}})
}

#[test]
fn an_unknown_index_is_a_validation_error_and_deleting_it_is_not() {
    let wire = indexed();
    wire.invalid(
        "Query",
        query("nothing", "a = :v", "x"),
        "The table does not have the specified index: nothing",
    );
    wire.invalid(
        "Scan",
        json!({"TableName": "Tab", "IndexName": "nothing"}),
        "does not have the specified index",
    );
    let delete = json!({"TableName": "Tab",
        "GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": "nothing"}}]});
    assert_eq!(wire.refused("UpdateTable", delete).kind, "ResourceNotFoundException");
    let nowhere = with(query("nothing", "a = :v", "x"), json!({"TableName": "Nowhere"}));
    assert_eq!(wire.refused("Query", nowhere).kind, "ResourceNotFoundException");
}

#[test]
fn only_a_local_index_is_read_consistently() {
    let wire = indexed();
    let consistent = json!({"ConsistentRead": true});
    let refused = "Consistent reads are not supported on global secondary indexes";
    wire.invalid("Query", with(query("global", "a = :v", "x"), consistent.clone()), refused);
    let scan =
        |index: &str| json!({"TableName": "Tab", "IndexName": index, "ConsistentRead": true});
    wire.invalid("Scan", scan("global"), refused);
    let found = wire.ok("Query", with(query("local", "pk = :v", "p"), consistent));
    assert_eq!(found["Count"], 1);
    assert_eq!(wire.ok("Scan", scan("local"))["Count"], 1);
}

#[test]
fn an_index_answers_what_it_projects() {
    let wire = indexed();
    let keys = wire.ok("Query", query("keys", "a = :v", "x"));
    assert_eq!(keys["Items"], json!([{"pk": s("p"), "sk": n("1"), "a": s("x")}]));
    let local = wire.ok("Query", query("local", "pk = :v", "p"));
    assert_eq!(local["Items"], json!([{"pk": s("p"), "sk": n("1"), "b": n("2")}]));
    // What a local index does not hold is fetched from the table; of a global one that is refused.
    let all = json!({"Select": "ALL_ATTRIBUTES"});
    let fetched = wire.ok("Query", with(query("local", "pk = :v", "p"), all.clone()));
    assert_eq!(fetched["Items"][0]["c"], s("y"));
    wire.invalid(
        "Query",
        with(query("keys", "a = :v", "x"), all),
        "ALL_ATTRIBUTES is not supported",
    );
    let c = json!({"ProjectionExpression": "c"});
    assert_eq!(
        wire.ok("Query", with(query("local", "pk = :v", "p"), c.clone()))["Items"],
        json!([{"c": s("y")}])
    );
    wire.invalid("Query", with(query("keys", "a = :v", "x"), c), "does not project");
    // A filter of a Query may not name what the index does not hold; a Scan finds it absent.
    let filter = json!({"FilterExpression": "attribute_exists(c)"});
    wire.invalid("Query", with(query("keys", "a = :v", "x"), filter.clone()), "does not project");
    let scan = with(json!({"TableName": "Tab", "IndexName": "keys"}), filter);
    let scanned = wire.ok("Scan", scan);
    assert_eq!((&scanned["Count"], &scanned["ScannedCount"]), (&json!(0), &json!(1)));
}

#[test]
fn a_key_condition_has_its_own_rules() {
    let wire = Wire::with_table("pk=S / sk=S");
    for text in ["", "ab", "abc", "ac", "b"].map(|text| format!("k{text}")) {
        wire.put(json!({"pk": s("p"), "sk": s(&text)}));
    }
    let body = |condition: &str, values: Value| {
        json!({"TableName": "Tab", "KeyConditionExpression": condition,
            "ExpressionAttributeValues": with(json!({":p": s("p")}), values)})
    };
    let found = |condition: &str, values: Value| {
        let answer = wire.ok("Query", body(condition, values));
        column(&answer["Items"], "sk").join(" ")
    };
    assert_eq!(found("begins_with(sk, :v) AND pk = :p", json!({":v": s("kab")})), "kab kabc");
    assert_eq!(found("pk = :p AND sk > :v", json!({":v": s("kab")})), "kabc kac kb");
    assert_eq!(
        found("(pk = :p) AND (sk BETWEEN :v AND :w)", json!({":v": s("kab"), ":w": s("kac")})),
        "kab kabc kac"
    );
    for (condition, values, part) in [
        ("sk = :p", json!({}), "missed key schema element: pk"),
        ("pk = :p AND x = :v", json!({":v": s("a")}), ""),
        ("pk > :p", json!({}), "key condition not supported"),
        ("pk = :p OR sk = :v", json!({":v": s("a")}), "OR"),
        ("pk = :p AND sk <> :v", json!({":v": s("a")}), "<>"),
        ("pk = :p AND sk = :v", json!({":v": n("1")}), "does not match schema type"),
        (
            "pk = :p AND sk > :v AND sk < :w",
            json!({":v": s("a"), ":w": s("b")}),
            "one condition per key",
        ),
        ("pk = :p AND sk = :v", json!({":v": s("")}), "empty string value"),
    ] {
        wire.invalid("Query", body(condition, values), part);
    }
    let filter = json!({"FilterExpression": "sk > :p"});
    wire.invalid("Query", with(body("pk = :p", json!({})), filter), "non-primary key attributes");
}

#[test]
fn a_batch_reads_each_key_once_and_says_nothing_of_what_is_absent() {
    let wire = Wire::with_table("pk=S");
    wire.create("Use", "id=N", &[], &[]);
    wire.put(json!({"pk": s("a"), "x": n("1")}));
    wire.ok("PutItem", json!({"TableName": "Use", "Item": {"id": n("1")}}));
    let batch = json!({"RequestItems": {"Tab": {"Keys": [pk("a"), pk("b")], "ProjectionExpression": "x"},
        "Use": {"Keys": [{"id": n("1")}]}}});
    let answer = wire.ok("BatchGetItem", batch);
    assert_eq!(answer["Responses"], json!({"Tab": [{"x": n("1")}], "Use": [{"id": n("1")}]}));
    assert_eq!(answer["UnprocessedKeys"], json!({}));
    let keys = |count: usize| -> Value {
        let keys: Vec<Value> = (0..count).map(|at| pk(&at.to_string())).collect();
        json!({"RequestItems": {"Tab": {"Keys": keys}}})
    };
    wire.ok("BatchGetItem", keys(100));
    assert_eq!(wire.refused("BatchGetItem", keys(101)).kind, "ValidationException");
    let writes = |count: usize| -> Value {
        let put = |at: usize| json!({"PutRequest": {"Item": pk(&at.to_string())}});
        json!({"RequestItems": {"Tab": (0..count).map(put).collect::<Vec<_>>()}})
    };
    wire.ok("BatchWriteItem", writes(25));
    assert_eq!(wire.refused("BatchWriteItem", writes(26)).kind, "ValidationException");
}

#[test]
fn a_batch_stops_at_sixteen_megabytes_and_names_the_rest() {
    let wire = Wire::with_table("pk=S");
    let name = |at: usize| format!("{at:02}");
    for at in 0..50 {
        wire.put(json!({"pk": s(&name(at)), "x": s(&"x".repeat(400_000))}));
    }
    let mut keys: Vec<Value> = (0..50).map(|at| pk(&name(at))).collect();
    let mut read = 0;
    let mut rounds = 0;
    while !keys.is_empty() {
        let answer = wire.ok("BatchGetItem", json!({"RequestItems": {"Tab": {"Keys": keys}}}));
        let items = answer["Responses"]["Tab"].as_array().unwrap().len();
        assert!(items > 0 && items * 400_000 <= 16 << 20, "{items}");
        read += items;
        rounds += 1;
        let rest = answer["UnprocessedKeys"]["Tab"]["Keys"].as_array().cloned();
        keys = rest.unwrap_or_default();
    }
    assert_eq!((read, rounds), (50, 2));
}
