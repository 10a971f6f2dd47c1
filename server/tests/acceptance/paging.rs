//! Pages: where they end, how one goes on, and that nothing is lost or seen twice.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::wire::{Wire, column, n, pk, s, with};

/// `Tab` by `pk`, `sk` with an index by `a`, `b` and a local one by `b`.
fn indexed() -> Wire {
    let wire = Wire::new();
    wire.create(
        "Tab",
        "pk=S / sk=N",
        &[("by_ab", "a=S / b=N", "ALL")],
        &[("by_b", "pk=S / b=N", "ALL")],
    );
    wire
}

fn query(index: &str, condition: &str, values: Value) -> Value {
    let body = json!({"TableName": "Tab", "KeyConditionExpression": condition, "ExpressionAttributeValues": values});
    if index.is_empty() { body } else { with(body, json!({"IndexName": index})) }
}

/// Every page of a request, until none follows.
fn pages(wire: &Wire, operation: &str, body: Value) -> Vec<Value> {
    let mut pages = Vec::new();
    let mut from = json!({});
    loop {
        let page = wire.ok(operation, with(body.clone(), from.clone()));
        let key = page.get("LastEvaluatedKey").cloned();
        pages.push(page);
        assert!(pages.len() < 1000, "it does not end");
        match key {
            Some(key) => from = json!({"ExclusiveStartKey": key}),
            None => return pages,
        }
    }
}

fn items(pages: &[Value]) -> Vec<Value> {
    pages.iter().flat_map(|page| page["Items"].as_array().unwrap().clone()).collect()
}

#[test]
fn items_tied_on_their_index_key_are_each_paged_once() {
    let wire = indexed();
    for at in 0..5 {
        let hash = format!("p{at}");
        wire.put(json!({"pk": s(&hash), "sk": n("1"), "a": s("x"), "b": n("7")}));
    }
    let values = json!({":a": s("x"), ":b": n("7")});
    for forward in [true, false] {
        let more = json!({"Limit": 1, "ScanIndexForward": forward});
        let body = with(query("by_ab", "a = :a AND b = :b", values.clone()), more);
        let pages = pages(&wire, "Query", body);
        let items = Value::from(items(&pages));
        let seen: BTreeSet<&str> = column(&items, "pk").into_iter().collect();
        assert_eq!((items.as_array().unwrap().len(), seen.len()), (5, 5));
        for page in pages.iter().filter(|page| !page["Items"].as_array().unwrap().is_empty()) {
            let Some(key) = page.get("LastEvaluatedKey") else { continue };
            let item = page["Items"][0].as_object().unwrap();
            assert_eq!(key.as_object().unwrap(), item, "the keys of the index and of the table");
        }
    }
    let scanned =
        pages(&wire, "Scan", json!({"TableName": "Tab", "IndexName": "by_ab", "Limit": 1}));
    assert_eq!(items(&scanned).len(), 5);
}

#[test]
fn a_page_goes_on_after_an_item_that_is_gone() {
    let wire = indexed();
    for at in 0..6 {
        wire.put(
            json!({"pk": s("p"), "sk": n(&at.to_string()), "a": s("x"), "b": n(&at.to_string())}),
        );
    }
    for (index, condition, values) in [
        ("", "pk = :v", json!({":v": s("p")})),
        ("by_ab", "a = :v", json!({":v": s("x")})),
        ("by_b", "pk = :v", json!({":v": s("p")})),
    ] {
        let body = with(query(index, condition, values), json!({"Limit": 2}));
        let first = wire.ok("Query", body.clone());
        let start = first["LastEvaluatedKey"].clone();
        let last = first["Items"][1].clone();
        assert_eq!(last["sk"], n("1"));
        wire.ok(
            "DeleteItem",
            json!({"TableName": "Tab", "Key": {"pk": last["pk"], "sk": last["sk"]}}),
        );
        let second = wire.ok("Query", with(body, json!({"ExclusiveStartKey": start})));
        assert_eq!(column(&second["Items"], "sk"), ["2", "3"]);
        wire.put(last);
    }
    let scan = json!({"TableName": "Tab", "ExclusiveStartKey": {"pk": s("p"), "sk": n("3.5")}});
    assert_eq!(column(&wire.ok("Scan", scan)["Items"], "sk"), ["4", "5"]);
}

#[test]
fn a_start_key_that_does_not_fit_is_refused() {
    let wire = indexed();
    wire.put(json!({"pk": s("p"), "sk": n("1"), "a": s("x"), "b": n("1")}));
    let key = json!({"pk": s("p"), "sk": n("1")});
    let scan = |key: Value| json!({"TableName": "Tab", "ExclusiveStartKey": key});
    wire.ok("Scan", scan(key.clone()));
    let starting = "The provided starting key is invalid";
    for wrong in [
        with(key.clone(), json!({"extra": s("x")})),
        json!({"pk": s("p")}),
        json!({"pk": s("p"), "sk": s("1")}),
        json!({"pk": s("p"), "other": n("1")}),
        json!({"pk": s(""), "sk": n("1")}),
    ] {
        assert_eq!(
            wire.refused("Scan", scan(wrong.clone())).kind,
            "ValidationException",
            "{wrong}"
        );
        let body =
            with(query("", "pk = :p", json!({":p": s("p")})), json!({"ExclusiveStartKey": wrong}));
        assert_eq!(wire.refused("Query", body).kind, "ValidationException", "{wrong}");
    }
    // An index wants both keys, and no more.
    let of_index = with(key.clone(), json!({"a": s("x"), "b": n("1")}));
    let from = |key: Value| {
        with(query("by_ab", "a = :a", json!({":a": s("x")})), json!({"ExclusiveStartKey": key}))
    };
    wire.ok("Query", from(of_index.clone()));
    wire.invalid("Query", from(key), starting);
    wire.invalid("Query", from(with(of_index, json!({"extra": s("x")}))), starting);
    let elsewhere = json!({"ExclusiveStartKey": {"pk": s("q"), "sk": n("1")}});
    wire.invalid(
        "Query",
        with(query("", "pk = :p", json!({":p": s("p")})), elsewhere),
        "outside query boundaries",
    );
}

#[test]
fn a_start_key_of_another_segment_is_refused() {
    let wire = Wire::with_table("pk=S");
    for at in 0..40 {
        wire.put(pk(&at.to_string()));
    }
    let segment =
        |segment: u32| json!({"TableName": "Tab", "Segment": segment, "TotalSegments": 4});
    let mut seen = 0;
    for of in 0..4 {
        let pages = pages(&wire, "Scan", with(segment(of), json!({"Limit": 3})));
        let items = items(&pages);
        seen += items.len();
        for item in items {
            let from = json!({"ExclusiveStartKey": item});
            wire.ok("Scan", with(segment(of), from.clone()));
            for other in (0..4).filter(|other| *other != of) {
                wire.invalid("Scan", with(segment(other), from.clone()), "correct Segment");
            }
        }
    }
    assert_eq!(seen, 40, "each item is in one segment");
    wire.invalid(
        "Scan",
        json!({"TableName": "Tab", "Segment": 4, "TotalSegments": 4}),
        "zero-based",
    );
    wire.invalid(
        "Scan",
        json!({"TableName": "Tab", "Segment": 0}),
        "TotalSegments parameter is required",
    );
}

#[test]
fn a_filter_that_matches_nothing_is_paid_and_paged() {
    let wire = Wire::with_table("pk=S / sk=N");
    for at in 0..5 {
        wire.put(json!({"pk": s("p"), "sk": n(&at.to_string()), "x": s(&"x".repeat(4000))}));
    }
    let filter = json!({"FilterExpression": "attribute_exists(nothing)", "Limit": 3,
        "ReturnConsumedCapacity": "TOTAL", "ConsistentRead": true});
    let scan = with(json!({"TableName": "Tab"}), filter.clone());
    let query = with(query("", "pk = :p", json!({":p": s("p")})), filter);
    for (operation, body) in [("Scan", scan), ("Query", query)] {
        let page = wire.ok(operation, body.clone());
        assert_eq!((&page["Count"], &page["ScannedCount"]), (&json!(0), &json!(3)));
        assert_eq!(page["Items"], json!([]));
        assert_eq!(page["LastEvaluatedKey"], json!({"pk": s("p"), "sk": n("2")}));
        assert_eq!(page["ConsumedCapacity"]["CapacityUnits"], 3.0);
        let from = json!({"ExclusiveStartKey": page["LastEvaluatedKey"]});
        let rest = wire.ok(operation, with(body, from));
        assert_eq!((&rest["ScannedCount"], rest.get("LastEvaluatedKey")), (&json!(2), None));
    }
}

#[test]
fn a_page_holds_a_megabyte_before_its_filter() {
    let wire = Wire::with_table("pk=S / sk=N");
    for at in 0..30 {
        wire.put(json!({"pk": s("p"), "sk": n(&at.to_string()), "x": s(&"x".repeat(100_000))}));
    }
    let all = query("", "pk = :p", json!({":p": s("p")}));
    let filter = json!({"FilterExpression": "sk_ <> :p", "Select": "COUNT"});
    for body in [all.clone(), with(all.clone(), filter)] {
        let pages = pages(&wire, "Query", body);
        let scanned: Vec<u64> =
            pages.iter().map(|page| page["ScannedCount"].as_u64().unwrap()).collect();
        assert_eq!(
            scanned,
            [11, 11, 8],
            "the item that reaches the megabyte is the last of its page"
        );
    }
    let counted = wire.ok("Query", with(all, json!({"Select": "COUNT"})));
    assert_eq!((&counted["Count"], counted.get("Items")), (&json!(11), None));
}

#[test]
fn a_limit_that_ends_with_the_last_item_says_that_more_may_follow() {
    let wire = Wire::with_table("pk=S / sk=N");
    for at in 0..3 {
        wire.put(json!({"pk": s("p"), "sk": n(&at.to_string())}));
    }
    let body = query("", "pk = :p", json!({":p": s("p")}));
    let exact = wire.ok("Query", with(body.clone(), json!({"Limit": 3})));
    assert_eq!(exact["LastEvaluatedKey"], json!({"pk": s("p"), "sk": n("2")}));
    let from = json!({"Limit": 3, "ExclusiveStartKey": exact["LastEvaluatedKey"]});
    let empty = wire.ok("Query", with(body.clone(), from));
    assert_eq!((&empty["Count"], empty.get("LastEvaluatedKey")), (&json!(0), None));
    assert_eq!(wire.ok("Query", with(body, json!({"Limit": 4}))).get("LastEvaluatedKey"), None);
}
