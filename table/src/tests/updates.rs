//! UpdateItem: what it makes, answers and refuses.

use std::collections::BTreeMap;
use std::future::Future;
use std::task::{Context, Poll, Waker};

use super::{Fixture, TABLE, assert_counts_true, create, get, item, put};
use crate::block_on::block_on;
use crate::operation::{
    ReturnConsumedCapacity, ReturnValues, ReturnValuesOnConditionCheckFailure, UpdateItemRequest,
};
use crate::{AttributeValue, Item, TableErrorKind, Tables, message};

fn key() -> Item {
    item([("pk", "a".into())])
}

/// The values that expressions of these tests may use.
fn values(texts: [Option<&str>; 2]) -> Option<Item> {
    let all =
        item([(":n", 5.into()), (":m", 1.into()), (":set", AttributeValue::Ss(vec!["x".into()]))]);
    let is_used = |name: &str| texts.iter().flatten().any(|text| text.contains(name));
    let used: Item = all.into_iter().filter(|(name, _)| is_used(name)).collect();
    (!used.is_empty()).then_some(used)
}

fn request(update: &str, condition: Option<&str>, shown: ReturnValues) -> UpdateItemRequest {
    UpdateItemRequest {
        table_name: TABLE.to_owned(),
        key: key(),
        update_expression: Some(update.to_owned()),
        condition_expression: condition.map(str::to_owned),
        expression_attribute_values: values([Some(update), condition]),
        return_values: Some(shown),
        return_values_on_condition_check_failure: Some(ReturnValuesOnConditionCheckFailure::AllOld),
        ..Default::default()
    }
}

fn update(tables: &Tables, text: &str, shown: ReturnValues) -> Option<Item> {
    tables.update_item(request(text, None, shown)).unwrap().attributes
}

fn refusal(tables: &Tables, text: &str) -> String {
    tables.update_item(request(text, None, ReturnValues::None)).unwrap_err().message().to_owned()
}

fn fixture() -> Fixture {
    let fixture = Fixture::new();
    create(&fixture.tables, TABLE, None);
    fixture
}

#[test]
fn items_are_made_unless_there_is_only_something_to_take_away() {
    let fixture = fixture();
    let tables = &fixture.tables;
    for text in ["REMOVE a", "DELETE a :set", "REMOVE a DELETE b :set"] {
        assert_eq!(update(tables, text, ReturnValues::AllNew), None, "{text}");
        assert_eq!(get(tables, key()), None, "{text}");
    }
    // A path has to lead somewhere all the same.
    for text in ["REMOVE a.b", "REMOVE c, a[0]", "DELETE a.b :set"] {
        assert_eq!(refusal(tables, text), message::INVALID_UPDATE_PATH, "{text}");
    }
    let only_key =
        UpdateItemRequest { table_name: TABLE.to_owned(), key: key(), ..Default::default() };
    tables.update_item(only_key).unwrap();
    assert_eq!(get(tables, key()), Some(key()));
    let made = |id: &str, text: &str| {
        let key = item([("pk", id.into())]);
        tables
            .update_item(UpdateItemRequest {
                key: key.clone(),
                ..request(text, None, ReturnValues::None)
            })
            .unwrap();
        get(tables, key).unwrap()
    };
    assert_eq!(made("b", "SET n = :n REMOVE z"), item([("pk", "b".into()), ("n", 5.into())]));
    assert_eq!(made("c", "ADD n :n"), item([("pk", "c".into()), ("n", 5.into())]));
    assert_counts_true(tables);
}

#[test]
fn all_kinds_of_values_are_answered() {
    let fixture = fixture();
    let tables = &fixture.tables;
    use ReturnValues::{AllNew, AllOld, UpdatedNew, UpdatedOld};
    assert_eq!(update(tables, "SET n = :n", UpdatedOld), None);
    let map = |c: i64| AttributeValue::M(item([("c", c.into()), ("d", 7.into())]));
    let with = |n: i64, c: i64| item([("pk", "a".into()), ("n", n.into()), ("p", map(c))]);
    put(tables, with(1, 2));
    let part = |c: i64| item([("p", AttributeValue::M(item([("c", c.into())])))]);
    assert_eq!(update(tables, "SET p.c = :n", UpdatedNew), Some(part(5)));
    assert_eq!(update(tables, "SET p.c = :m", UpdatedOld), Some(part(5)));
    assert_eq!(update(tables, "ADD n :m", AllOld), Some(with(1, 1)));
    assert_eq!(update(tables, "ADD n :m", AllNew), Some(with(3, 1)));
    assert_eq!(update(tables, "ADD n :m", ReturnValues::None), None);
    assert_eq!(update(tables, "REMOVE n", UpdatedNew), None);
    assert_eq!(update(tables, "SET n = :n REMOVE p.c", UpdatedNew), Some(item([("n", 5.into())])));
    let left = AttributeValue::M(item([("d", 7.into())]));
    assert_eq!(get(tables, key()).unwrap()["p"], left);

    // What is shown of the new item is what is at the paths then.
    let list = |elements: &[i64]| {
        let elements = elements.iter().map(|number| (*number).into()).collect();
        AttributeValue::M(item([("c", AttributeValue::L(elements))]))
    };
    put(tables, item([("pk", "a".into()), ("a", list(&[1, 3, 70]))]));
    assert_eq!(update(tables, "REMOVE a.c[1]", UpdatedNew), Some(item([("a", list(&[70]))])));
    assert_eq!(update(tables, "REMOVE a.c[1]", UpdatedOld), Some(item([("a", list(&[70]))])));
    assert_eq!(update(tables, "SET a.c[100] = :n", UpdatedNew), None);
    assert_eq!(update(tables, "SET a.c[100] = :n", UpdatedOld), None);
    assert_eq!(get(tables, key()).unwrap()["a"], list(&[1, 5, 5]));
    assert_eq!(update(tables, "REMOVE a.c[0]", AllOld).unwrap()["a"], list(&[1, 5, 5]));
    assert_eq!(update(tables, "REMOVE a.c[0]", AllNew).unwrap()["a"], list(&[5]));
    assert_eq!(update(tables, "REMOVE a", UpdatedNew), None);
}

#[test]
fn a_failed_condition_changes_nothing() {
    let fixture = fixture();
    let tables = &fixture.tables;
    let attempt = |text: &str, condition: &str| {
        tables.update_item(request(text, Some(condition), ReturnValues::None))
    };
    let error = attempt("SET n = :n", "attribute_exists(pk)").unwrap_err();
    assert_eq!((error.kind(), error.item()), (TableErrorKind::ConditionalCheckFailed, None));
    assert_eq!(get(tables, key()), None);
    attempt("SET n = :n", "attribute_not_exists(pk)").unwrap();
    let stored = get(tables, key()).unwrap();
    let error = attempt("SET n = :m", "n < :n").unwrap_err();
    assert_eq!(error.item(), Some(&stored));
    attempt("SET n = :m", "n = :n").unwrap();
    assert_eq!(get(tables, key()).unwrap()["n"], 1.into());
    assert_counts_true(tables);
}

#[test]
fn what_is_wrong_is_refused_and_changes_nothing() {
    let fixture = fixture();
    let tables = &fixture.tables;
    let stored = item([("pk", "a".into()), ("s", "x".into())]);
    put(tables, stored.clone());
    let part_of_key = "One or more parameter values were invalid: Cannot update attribute pk. This attribute is part \
                       of the key";
    for text in ["SET pk = :n", "REMOVE pk", "ADD pk :n", "DELETE pk :set", "SET pk.a = :n"] {
        assert_eq!(refusal(tables, text), part_of_key, "{text}");
    }
    assert_eq!(
        refusal(tables, "SET z.a = :n"),
        "The document path provided in the update expression is invalid for update"
    );
    assert_eq!(
        refusal(tables, "ADD s :n"),
        "An operand in the update expression has an incorrect data type"
    );
    let with_value = |text: &str, value: AttributeValue| {
        let request = UpdateItemRequest {
            expression_attribute_values: Some(item([(":v", value)])),
            ..request(text, None, ReturnValues::None)
        };
        tables.update_item(request).map(|_| ()).map_err(|error| error.message().to_owned())
    };
    let large = || AttributeValue::B(vec![0; 300_000]);
    let too_large = "Item size to update has exceeded the maximum allowed size";
    let many: Vec<String> = (0..400).map(|number| format!("m{number} :v")).collect();
    let set = AttributeValue::Bs(vec![vec![0; 300_000]]);
    assert_eq!(with_value(&format!("ADD {}", many.join(",")), set), Err(too_large.to_owned()));
    let of_size = |size: usize| AttributeValue::B(vec![0; size - ":v".len()]);
    assert_eq!(with_value("SET b = :v", of_size(2 << 20)), Err(too_large.to_owned()));
    assert_eq!(
        with_value("SET b = :v", of_size((2 << 20) + 1)),
        Err("ExpressionAttributeValues exceeds max size".to_owned())
    );
    with_value("SET b = :v", large()).unwrap();
    assert_eq!(
        with_value("SET c = :v", large()),
        Err("Item size to update has exceeded the maximum allowed size".to_owned())
    );
    let nested = |levels: usize| {
        (0..levels)
            .fold(AttributeValue::from("x"), |inner, _| AttributeValue::M(item([("k", inner)])))
    };
    with_value("SET d = :v", nested(31)).unwrap();
    assert_eq!(
        with_value("SET d.k.l = :v", nested(30)),
        Err("Nesting Levels have exceeded supported limits".to_owned())
    );
    let unused = UpdateItemRequest {
        expression_attribute_names: Some(BTreeMap::from([("#u".to_owned(), "u".to_owned())])),
        ..request("SET n = :n", None, ReturnValues::None)
    };
    assert_eq!(
        tables.update_item(unused).unwrap_err().message(),
        "Value provided in ExpressionAttributeNames unused in expressions: keys: {#u}"
    );
    assert_counts_true(tables);
}

#[test]
fn counters_lose_no_increment() {
    let fixture = fixture();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    update(&fixture.tables, "ADD n :m", ReturnValues::None);
                }
            });
        }
    });
    assert_eq!(get(&fixture.tables, key()).unwrap()["n"], 200.into());
    assert_counts_true(&fixture.tables);
}

/// Writes that their callers leave alone are made if they had their item's lock, and not at all if they waited for it.
#[test]
fn counters_lose_no_increment_of_dropped_futures() {
    let fixture = fixture();
    let tables = &fixture.tables;
    let mut context = Context::from_waker(Waker::noop());
    let mut begin = || {
        let request = request("ADD n :m", None, ReturnValues::UpdatedNew);
        let mut write = Box::pin(tables.update_item_async(request));
        let progress = write.as_mut().poll(&mut context);
        (write, progress)
    };
    let mut expected = 0;
    for _ in 0..50 {
        let (first, first_progress) = begin();
        let (second, _) = begin();
        let (third, third_progress) = begin();
        drop((first, second));
        // Until the commit of the first one has ended, the second one waits, which is when it is dropped.
        expected += if first_progress.is_pending() { 2 } else { 3 };
        let answered = match third_progress {
            Poll::Ready(answered) => answered,
            Poll::Pending => block_on(third),
        };
        assert_eq!(answered.unwrap().attributes, Some(item([("n", expected.into())])));
    }
    assert_eq!(get(tables, key()).unwrap()["n"], expected.into());
    assert_counts_true(tables);
}

#[test]
fn the_larger_item_is_paid_for() {
    let fixture = fixture();
    let mut large = key();
    large.insert("b".to_owned(), AttributeValue::B(vec![0; 2000]));
    put(&fixture.tables, large);
    let request = UpdateItemRequest {
        return_consumed_capacity: Some(ReturnConsumedCapacity::Total),
        ..request("REMOVE b", None, ReturnValues::None)
    };
    let units = fixture.tables.update_item(request).unwrap().consumed_capacity.unwrap();
    assert_eq!(units.capacity_units, 2.0);
}
