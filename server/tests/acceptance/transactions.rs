//! Transactions: whole, once, and refused for the right reason.

use serde_json::{Value, json};

use crate::wire::{Wire, n, pk, s, with};

fn put(key: &str, more: Value) -> Value {
    json!({"Put": {"TableName": "Tab", "Item": with(pk(key), more)}})
}

fn add(key: &str, by: &str) -> Value {
    json!({"Update": {"TableName": "Tab", "Key": pk(key), "UpdateExpression": "ADD n :by",
        "ExpressionAttributeValues": {":by": n(by)}}})
}

fn of(actions: Value, token: &str) -> Value {
    let body = json!({"TransactItems": actions, "ReturnConsumedCapacity": "TOTAL"});
    if token.is_empty() { body } else { with(body, json!({"ClientRequestToken": token})) }
}

#[test]
fn a_replayed_token_reads_and_another_payload_is_a_mismatch_also_after_a_kill() {
    let mut wire = Wire::with_table("pk=S");
    wire.put(json!({"pk": s("b"), "x": s(&"x".repeat(5000))}));
    let actions = || json!([add("a", "1"), {"Delete": {"TableName": "Tab", "Key": pk("b")}}]);
    let first = wire.ok("TransactWriteItems", of(actions(), "token"));
    assert_eq!(
        first["ConsumedCapacity"],
        json!([{"TableName": "Tab", "CapacityUnits": 12.0, "WriteCapacityUnits": 12.0}])
    );
    for killed in [false, true] {
        if killed {
            wire.kill_and_start();
        }
        let again = wire.ok("TransactWriteItems", of(actions(), "token"));
        let consumed = &again["ConsumedCapacity"][0];
        assert!(consumed["ReadCapacityUnits"].as_f64().unwrap() > 0.0, "{consumed}");
        assert_eq!(consumed.get("WriteCapacityUnits"), None);
        let refusal = wire.refused("TransactWriteItems", of(json!([add("a", "2")]), "token"));
        assert_eq!(refusal.kind, "IdempotentParameterMismatchException");
        assert!(!refusal.message.is_empty());
        assert_eq!(wire.get(pk("a"))["n"], n("1"));
    }
    wire.ok("TransactWriteItems", of(actions(), "another"));
    assert_eq!(wire.get(pk("a"))["n"], n("2"));
}

#[test]
fn a_key_of_the_wrong_type_cancels_and_an_empty_one_is_refused() {
    let wire = Wire::with_table("pk=S");
    let wrong = |key: Value| {
        json!([put("a", json!({})), {"Update": {"TableName": "Tab", "Key": {"pk": key},
            "UpdateExpression": "REMOVE x"}}])
    };
    let refusal = wire.refused("TransactWriteItems", of(wrong(n("1")), ""));
    assert_eq!(refusal.codes(), ["None", "ValidationError"]);
    assert!(refusal.message.ends_with("[None, ValidationError]"), "{refusal:?}");
    wire.invalid("TransactWriteItems", of(wrong(s("")), ""), "empty string value. Key: pk");
    let item = json!([{"Put": {"TableName": "Tab", "Item": {"pk": n("1")}}}]);
    assert_eq!(wire.refused("TransactWriteItems", of(item, "")).codes(), ["ValidationError"]);
    let item = json!([{"Put": {"TableName": "Tab", "Item": {"pk": s("")}}}]);
    wire.invalid("TransactWriteItems", of(item, ""), "empty string value");
    assert_eq!(wire.scan(), [] as [Value; 0]);
}

#[test]
fn each_action_has_its_reason_and_none_is_done() {
    let wire = Wire::with_table("pk=S");
    let old = json!({"pk": s("old"), "n": n("1")});
    wire.put(old.clone());
    let once = json!({"Put": {"TableName": "Tab", "Item": pk("old"),
        "ConditionExpression": "attribute_not_exists(pk)", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}});
    let check = json!({"ConditionCheck": {"TableName": "Tab", "Key": pk("absent"),
        "ConditionExpression": "attribute_exists(pk)"}});
    let sum = json!({"Update": {"TableName": "Tab", "Key": pk("sum"), "UpdateExpression": "SET n = n + :n",
        "ExpressionAttributeValues": {":n": n("1")}}});
    let refusal = wire
        .refused("TransactWriteItems", of(json!([put("new", json!({})), once, check, sum]), ""));
    assert_eq!(
        refusal.codes(),
        ["None", "ConditionalCheckFailed", "ConditionalCheckFailed", "ValidationError"]
    );
    let reasons = &refusal.body["CancellationReasons"];
    assert_eq!((&reasons[1]["Item"], reasons[2].get("Item")), (&old, None));
    assert_eq!(reasons[1]["Message"], "The conditional request failed");
    assert_eq!(
        refusal.message,
        "Transaction cancelled, please refer cancellation reasons for specific reasons [None, \
         ConditionalCheckFailed, ConditionalCheckFailed, ValidationError]"
    );
    assert_eq!(wire.scan(), [old]);
}

#[test]
fn a_hundred_actions_on_different_items_and_four_megabytes_are_the_most() {
    let wire = Wire::with_table("pk=S");
    let puts = |count: usize, more: Value| -> Value {
        (0..count).map(|at| put(&format!("{at:03}"), more.clone())).collect()
    };
    wire.ok("TransactWriteItems", of(puts(100, json!({})), ""));
    assert_eq!(wire.scan().len(), 100);
    assert_eq!(
        wire.refused("TransactWriteItems", of(puts(101, json!({})), "")).kind,
        "ValidationException"
    );
    assert_eq!(wire.refused("TransactWriteItems", of(json!([]), "")).kind, "ValidationException");
    let large = json!({"x": s(&"x".repeat(400_000))});
    wire.ok("TransactWriteItems", of(puts(10, large.clone()), ""));
    wire.invalid("TransactWriteItems", of(puts(11, large), ""), "4MB");
    let twice = json!([add("a", "1"), {"ConditionCheck": {"TableName": "Tab", "Key": pk("a"),
        "ConditionExpression": "attribute_exists(pk)"}}]);
    wire.invalid("TransactWriteItems", of(twice, ""), "multiple operations on one item");
    let nowhere = json!([{"Put": {"TableName": "Nowhere", "Item": pk("a")}}]);
    assert_eq!(
        wire.refused("TransactWriteItems", of(nowhere, "")).kind,
        "ResourceNotFoundException"
    );
}

#[test]
fn a_read_answers_each_action_in_its_place() {
    let wire = Wire::with_table("pk=S");
    wire.put(json!({"pk": s("a"), "x": s("y"), "z": n("1")}));
    let get = |key: &str, more: Value| json!({"Get": with(json!({"TableName": "Tab", "Key": pk(key)}), more)});
    let body = json!({"TransactItems": [get("absent", json!({})),
        get("a", json!({"ProjectionExpression": "#z", "ExpressionAttributeNames": {"#z": "z"}}))]});
    let answer = wire.ok("TransactGetItems", body);
    assert_eq!(answer["Responses"], json!([{}, {"Item": {"z": n("1")}}]));
    let wrong = json!({"TransactItems": [{"Get": {"TableName": "Tab", "Key": {"pk": n("1")}}}]});
    assert_eq!(wire.refused("TransactGetItems", wrong).codes(), ["ValidationError"]);
}

#[test]
fn indexes_change_with_the_transaction() {
    let wire = Wire::new();
    wire.create("Tab", "pk=S", &[("by_a", "a=S", "ALL")], &[]);
    let x = || json!({"a": s("x")});
    wire.ok("TransactWriteItems", of(json!([put("1", x()), put("2", x())]), ""));
    let count =
        || wire.ok("Scan", json!({"TableName": "Tab", "IndexName": "by_a"}))["Count"].take();
    assert_eq!(count(), 2);
    let failing = json!([put("3", x()), {"Delete": {"TableName": "Tab", "Key": pk("1"),
        "ConditionExpression": "attribute_not_exists(pk)"}}]);
    assert_eq!(
        wire.refused("TransactWriteItems", of(failing, "")).codes(),
        ["None", "ConditionalCheckFailed"]
    );
    assert_eq!(count(), 2);
}

/// Writers move money between accounts while a reader adds all of it up.
#[test]
fn money_is_neither_made_nor_lost() {
    let wire = Wire::with_table("pk=S");
    let accounts = ["a", "b", "c", "d"];
    for account in accounts {
        wire.put(json!({"pk": s(account), "n": n("100")}));
    }
    let total = |body: &Value| -> Option<i64> {
        let items = body["Responses"].as_array()?;
        let of = |item: &Value| item["Item"]["n"]["N"].as_str().unwrap().parse::<i64>().unwrap();
        Some(items.iter().map(of).sum())
    };
    let all: Vec<Value> = accounts
        .iter()
        .map(|account| json!({"Get": {"TableName": "Tab", "Key": pk(account)}}))
        .collect();
    let read = json!({"TransactItems": all});
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let wire = &wire;
            scope.spawn(move || {
                for round in 0..30 {
                    let (from, to) =
                        (accounts[(writer + round) % 4], accounts[(writer + round + 1) % 4]);
                    let body = of(json!([add(from, "-1"), add(to, "1")]), "");
                    let answer = wire.answer("TransactWriteItems", &body);
                    assert!(
                        answer.status == 200 || answer.body.contains("TransactionConflict"),
                        "{answer:?}"
                    );
                }
            });
        }
        for _ in 0..60 {
            let answer = wire.answer("TransactGetItems", &read);
            match answer.status {
                200 => assert_eq!(total(&answer.body.parse().unwrap()), Some(400)),
                _ => assert!(answer.body.contains("TransactionConflict"), "{answer:?}"),
            }
        }
    });
    assert_eq!(total(&wire.ok("TransactGetItems", read)), Some(400));
}
